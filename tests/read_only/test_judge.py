"""The judge of requests must see a planted write: as a frame, in a driver's plan, and in a builder."""

import pytest

from protocols import (
    hj212,
    modbus,
)
from tests.read_only.builders import Builder, build
from tests.read_only.drivers import DRIVERS, Held, sweep
from tests.read_only.judge import JUDGES, Forbidden


def dlt645_frame(control: int, data: bytes) -> bytes:
    body = b"\x68\x01\0\0\0\0\0\x68" + bytes([control, len(data)]) + data
    return b"\xfe" * 4 + body + bytes([sum(body) & 0xFF, 0x16])


def cjt188_frame(control: int, data: bytes) -> bytes:
    body = b"\x68\x10\x01\0\0\0\0\0\0" + bytes([control, len(data)]) + data
    return body + bytes([sum(body) & 0xFF, 0x16])


def short(control: int) -> bytes:
    return bytes([0x10, control, 1, control + 1 & 0xFF, 0x16])


def long(body: bytes) -> bytes:
    return bytes([0x68, len(body), len(body), 0x68]) + body + bytes([sum(body) & 0xFF, 0x16])


WRITES: dict[str, list[bytes]] = {
    "modbus-rtu": [
        modbus.frame_rtu(1, bytes([function]) + b"\0\1\0\1") for function in range(128) if function not in (1, 2, 3, 4)
    ]
    + [modbus.frame_rtu(1, b"\x2b\x0d\1\0"), modbus.frame_rtu(0, b"\3\0\1\0\1")],
    "modbus-tcp": [modbus.frame_tcp(1, 1, bytes([function]) + b"\0\1\0\1") for function in (5, 6, 8, 15, 16, 22, 23)],
    "dlt645": [
        dlt645_frame(control, data)
        for control in (3, 8, *range(0x14, 0x1E), 0x91)
        for data in (b"", b"\x33" * 4, b"\x33" * 12)
    ],
    "dlt645-1997": [dlt645_frame(control, b"\x33" * 2) for control in (4, 0x0A, 0x0C, 0x0F, 0x10)],
    "cjt188": [
        cjt188_frame(control, data) for control in (4, 9, 0x15, 0x16) for data in (b"\xa0\x17\0", b"\x17\xa0\0\x55")
    ]
    + [cjt188_frame(1, b"\x17\xa0\0")],
    "mbus": [
        short(0x40),
        short(0x5A),
        long(b"\x53\x01\x50"),
        long(b"\x73\xfd\x51" + bytes(8)),
        long(b"\x73\x01\x52" + bytes(8)),
    ],
    "hj212": [
        hj212.frame(f"QN=20261125120000000;ST=32;CN={cn};PW=1;MN=A;Flag=5;CP=&&&&")
        for cn in ("1012", "1072", "3011", "3012", "3019", "9013", "2011")
    ]
    + [hj212.frame("QN=1;ST=32;CN=2031;PW=1;MN=x;CN=3011;Flag=5;CP=&&&&")],
}


@pytest.mark.parametrize("protocol", JUDGES)
def test_a_planted_write_is_seen(protocol: str) -> None:
    """Positive control: as a frame, in a driver's plan, and in a builder."""
    for raw in WRITES[protocol]:
        with pytest.raises(Forbidden):
            JUDGES[protocol](raw)
    held = next(iter(DRIVERS.values()))
    with pytest.raises(Forbidden):
        sweep(Held("planted", held.driver, held.judge), more=(WRITES[protocol][0],))
    with pytest.raises(Forbidden):
        build(Builder(JUDGES[protocol], lambda raw: raw, {}), {"raw": WRITES[protocol][-1]})
