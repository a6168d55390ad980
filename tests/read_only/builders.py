"""Every public builder of a protocol, with the arguments it may be given and the judge of what it makes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from protocols import (
    cjt188,
    dlt645,
    dlt645_1997,
    dlt645_load,
    hj212,
    hj212_requests,
    mbus,
    modbus,
    modbus_identification,
)
from protocols.dlt645_edition import Edition, Question
from protocols.errors import ProtocolError
from tests.read_only.judge import (
    Forbidden,
    Judge,
    judge_cjt188,
    judge_dlt645,
    judge_dlt645_1997,
    judge_dlt645_2007,
    judge_hj212,
    judge_mbus,
    judge_modbus_rtu,
    judge_modbus_tcp,
)


@dataclass(frozen=True)
class Builder:
    """Something public that makes a request out of arguments, or refuses them; with arguments that fit."""

    judge: Judge
    build: Callable[..., bytes | None]
    arguments: dict[str, st.SearchStrategy[Any]]
    fitting: tuple[Any, ...] = ()


anything = st.integers(-1, 0x1FF)
numbers = st.one_of(st.integers(-2, 0x10002), st.sampled_from([0, 1, 125, 126, 2000, 0xFFFF]))
meters = st.one_of(
    st.sampled_from(["AA" * 6, "99" * 6, "000000000001", "AA" * 7, "12345678901234"]),
    st.text("0123456789A", max_size=14),
    st.text(max_size=14),
)
controls = st.one_of(st.sampled_from([0x01, 0x02, 0x11, 0x12, 0x13, 0x14, 0x1A, 0x08]), anything)
identifiers = st.one_of(
    st.sampled_from(["00010000", "9010", "06000001"]), st.text("0123456789ABCDEF", max_size=8), st.text(max_size=8)
)
texts = st.one_of(
    st.sampled_from(["32", "123456", "A" * 24, "x;CN=3011", "1;CN=3012;CP=&&&&"]),
    st.text(max_size=30),
)
framings = st.sampled_from(["rtu", "modbus-tcp"])


def framed(unit: int, function: int, address: int, count: int, tcp: bool) -> bytes:
    asked = modbus.Request(unit, function, address, count)
    return asked.tcp() if tcp else asked.rtu()


def either(raw: bytes) -> None:
    """Modbus in the framing that fits."""
    try:
        judge_modbus_tcp(raw)
    except Forbidden:
        judge_modbus_rtu(raw)


def any_edition(raw: bytes) -> None:
    """The reading functions of DL/T 645, whatever they ask: a length that fits none is refused by every meter."""
    judge_dlt645(raw, dict.fromkeys((0x01, 0x02, 0x11, 0x12, 0x13), tuple(range(256))))


def question(address: str, control: int, identifier: str, tail: bytes) -> bytes:
    return Question(address, control, identifier, tail).to_bytes()


def edition(address: str, identifier: str, read: int, follow: int, width: int) -> bytes:
    return Edition("any", read, follow, width, numbered=True, find=read).read_request(address, identifier)


def history(st_: str, password: str, mn: str, version: int, cn: str, qn: str, begin: str, end: str) -> bytes:
    return hj212_requests.history(hj212_requests.Asker(st_, password, mn, version), cn, qn, begin, end)


def acknowledged(segment: str) -> bytes | None:
    return hj212_requests.acknowledgement(hj212.decode(hj212.frame(segment)))


segments = st.builds(
    lambda parts, tail: ";".join(parts) + tail,
    st.lists(
        st.one_of(
            st.sampled_from(
                ["QN=20261125120000000", "ST=32", "CN=2011", "CN=3011", "PW=123456", "MN=A1", "Flag=5", "Flag=9"]
            ),
            st.builds(lambda name, value: f"{name}={value}", st.sampled_from(["QN", "PW", "MN", "CN", "Flag"]), texts),
        ),
        max_size=8,
    ),
    st.sampled_from([";CP=&&&&", ";CP=&&DataTime=20261125120000;a01001-Rtd=1&&", ""]),
)

BUILDERS: dict[str, Builder] = {
    "modbus.Request": Builder(
        either,
        framed,
        {"unit": anything, "function": anything, "address": numbers, "count": numbers, "tcp": st.booleans()},
        (1, 3, 0, 10, False),
    ),
    "modbus_identification.request": Builder(
        either,
        modbus_identification.request,
        {"unit": anything, "framing": framings, "code": st.integers(-1, 6), "first": anything},
        (1, "rtu", 1, 0),
    ),
    "modbus_identification.identify": Builder(
        either,
        lambda unit, framing, code: next(modbus_identification.identify(unit, framing, code)),
        {"unit": anything, "framing": framings, "code": st.integers(-1, 6)},
        (1, "rtu", 2),
    ),
    "mbus.Request": Builder(
        judge_mbus,
        lambda address, second, identification: mbus.Request(address, second, identification).to_bytes(),
        {
            "address": anything,
            "second": st.booleans(),
            "identification": st.one_of(st.just(""), st.text("0123456789", max_size=9), texts),
        },
        (1, True, ""),
    ),
    "dlt645.read_request": Builder(
        judge_dlt645_2007,
        dlt645.read_request,
        {"address": meters, "identifier": identifiers},
        ("000000000001", "00010000"),
    ),
    "dlt645.address_request": Builder(
        judge_dlt645_2007,
        dlt645.address_request,
        {"among": meters},
        ("AA" * 6,),
    ),
    "dlt645_1997.read_request": Builder(
        judge_dlt645_1997,
        dlt645_1997.read_request,
        {"address": meters, "identifier": identifiers},
        ("000000000001", "9010"),
    ),
    "dlt645_edition.Question": Builder(
        any_edition,
        question,
        {"address": meters, "control": controls, "identifier": identifiers, "tail": st.binary(max_size=12)},
        ("000000000001", 0x11, "00010000", b""),
    ),
    "dlt645_edition.Edition": Builder(
        any_edition,
        edition,
        {
            "address": meters,
            "identifier": identifiers,
            "read": controls,
            "follow": controls,
            "width": st.integers(0, 5),
        },
        ("000000000001", "9010", 0x01, 0x02, 2),
    ),
    "dlt645_load.load_request": Builder(
        judge_dlt645_2007,
        dlt645_load.load_request,
        {
            "address": meters,
            "identifier": st.sampled_from(["06000000", "06000001", "06010002", "00010000"]),
            "count": anything,
            "since": st.one_of(st.none(), st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1))),
        },
        ("000000000001", "06000001", 1, datetime(2026, 11, 25)),
    ),
    "cjt188.read_request": Builder(
        judge_cjt188,
        cjt188.read_request,
        {"meter_type": anything, "address": meters, "order": st.sampled_from(["901F", "1F90"]), "serial": anything},
        (0x10, "12345678901234", "901F", 1),
    ),
    "cjt188.address_request": Builder(
        judge_cjt188,
        cjt188.address_request,
        {"meter_type": anything, "address": meters, "order": st.sampled_from(["901F", "1F90"]), "serial": anything},
        (0xAA, "AA" * 7, "1F90", 1),
    ),
    "hj212_requests.history": Builder(
        judge_hj212,
        history,
        {name: st.one_of(st.just("A1"), texts) for name in ("st_", "password", "mn")}
        | {name: st.one_of(st.just("2" * 14), st.just("1" * 14), texts) for name in ("begin", "end")}
        | {"qn": st.one_of(st.just("2" * 17), texts), "version": st.integers(0, 3)}
        | {"cn": st.one_of(st.sampled_from(["2031", "2051", "2061"]), st.sampled_from(["3011", "1012"]), texts)},
        ("32", "123456", "A1", "2" * 14, "2" * 14, "2" * 17, 1, "2031"),
    ),
    "hj212_requests.acknowledgement": Builder(
        judge_hj212,
        acknowledged,
        {"segment": segments},
        ("QN=20261125120000000;ST=32;CN=2011;PW=123456;MN=A1;Flag=5;CP=&&&&",),
    ),
}


def build(builder: Builder, arguments: dict[str, Any]) -> bool:
    """Whether a request came out; Forbidden for one that does anything but read."""
    try:
        raw = builder.build(**arguments)
    except (ProtocolError, ValueError):
        return False
    if raw is not None:
        builder.judge(raw)
    return raw is not None
