"""What each standard lets a master say without changing anything: knows the permitted functions from the standards and
shares no code with us. What it cannot judge is not permitted.
"""

from collections.abc import Callable


class Forbidden(AssertionError):
    """A request that may not leave the box, or that nobody can vouch for."""


def permit(condition: bool, raw: bytes, why: str) -> None:
    if not condition:
        raise Forbidden(f"{why}: {raw.hex(' ')}")


def judge_modbus_pdu(pdu: bytes, raw: bytes) -> None:
    """Modbus application protocol 1.1b3: 01 02 03 04 with address and count; 2B with MEI type 0E, read device id."""
    reads = pdu[0] in (1, 2, 3, 4) and len(pdu) == 5
    identifies = pdu[:2] == b"\x2b\x0e" and len(pdu) == 4 and pdu[2] in (1, 2, 3, 4)
    permit(reads or identifies, raw, f"function {pdu[0]:02X} is no read")


def judge_modbus_rtu(raw: bytes) -> None:
    """Modbus over serial line 1.02: unit 1..247 (not the broadcast 0), CRC low byte first."""
    permit(len(raw) >= 4, raw, "too short")
    register = 0xFFFF
    for byte in raw[:-2]:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
    permit(register == raw[-2] | raw[-1] << 8, raw, "CRC")
    permit(raw[0] != 0, raw, "a broadcast")
    judge_modbus_pdu(raw[1:-2], raw)


def judge_modbus_tcp(raw: bytes) -> None:
    """Modbus messaging on TCP/IP 1.0b: protocol id 0, a length that fits."""
    permit(len(raw) >= 8 and raw[2:4] == b"\0\0" and int.from_bytes(raw[4:6], "big") == len(raw) - 6, raw, "header")
    judge_modbus_pdu(raw[7:], raw)


def judge_dlt645(raw: bytes, functions: dict[int, tuple[int, ...]]) -> None:
    """The frame of both editions; ``functions``: the data lengths a function may have."""
    body = raw.lstrip(b"\xfe")
    permit(len(body) >= 12 and body[0] == body[7] == 0x68 and body[-1] == 0x16, raw, "no frame")
    permit(body[9] == len(body) - 12 and sum(body[:-2]) & 0xFF == body[-2], raw, "length or checksum")
    permit(body[8] in functions and body[9] in functions[body[8]], raw, f"control {body[8]:02X}, {body[9]} data bytes")


def judge_dlt645_2007(raw: bytes) -> None:
    """DL/T 645-2007: read 11 (identifier; with blocks; with blocks and time), follow-up 12, read address 13."""
    judge_dlt645(raw, {0x11: (4, 5, 10), 0x12: (5,), 0x13: (0,)})


def judge_dlt645_1997(raw: bytes) -> None:
    """DL/T 645-1997: read 01, follow-up 02, both with a two-byte identifier."""
    judge_dlt645(raw, {0x01: (2,), 0x02: (2,)})


def judge_cjt188(raw: bytes) -> None:
    """CJ/T 188: read 01, read address 03; identifier and serial, and never an identifier that is written."""
    body = raw.lstrip(b"\xfe")
    permit(len(body) == 16 and body[0] == 0x68 and body[-1] == 0x16 and body[10] == 3, raw, "no frame of a read")
    permit(sum(body[:-2]) & 0xFF == body[-2], raw, "checksum")
    permit(body[9] in (0x01, 0x03), raw, f"control {body[9]:02X}")
    permit(0xA0 not in body[11:13], raw, "an identifier of the A0 group, which is written")


def judge_mbus(raw: bytes) -> None:
    """EN 13757-2: REQ_UD2 (5B, 7B) to one meter; EN 13757-3: the selection of a meter, SND_UD to FD with CI 52."""
    if raw[:1] == b"\x10":
        permit(len(raw) == 5 and raw[4] == 0x16 and (raw[1] + raw[2]) & 0xFF == raw[3], raw, "no short frame")
        permit(raw[1] in (0x5B, 0x7B) and raw[2] not in (0xFE, 0xFF), raw, f"C {raw[1]:02X} to {raw[2]}")
        return
    permit(len(raw) == 17 and raw[:4] == b"\x68\x0b\x0b\x68" and raw[-1] == 0x16, raw, "no frame of a selection")
    permit(sum(raw[4:-2]) & 0xFF == raw[-2], raw, "checksum")
    permit(raw[4] in (0x53, 0x73) and raw[5:7] == b"\xfd\x52", raw, f"C {raw[4]:02X} with CI {raw[6]:02X}")


def judge_hj212(raw: bytes) -> None:
    """HJ 212-2017: 9014 (your data came), 2031 2051 2061 (history); one command in one packet."""
    permit(raw[:2] == b"##" and raw[2:6].isdigit() and raw.endswith(b"\r\n"), raw, "no packet")
    segment = raw[6:-6]
    permit(len(segment) == int(raw[2:6]), raw, "length")
    permit(segment.count(b"CP=&&") == 1 and segment.endswith(b"&&") and segment.count(b"&&") == 2, raw, "content")
    head, _, content = segment[:-2].partition(b"CP=&&")
    items = [item.partition(b"=") for item in head.rstrip(b";").split(b";")]
    named = [name for name, _, _ in items]
    permit(len(named) == len(set(named)) and b"CN" not in content.replace(b";", b",").split(b","), raw, "a name twice")
    command = {name: value for name, _, value in items}.get(b"CN")
    permit(command in (b"9014", b"2031", b"2051", b"2061"), raw, f"command {command!r}")
    times = {part.partition(b"=")[0] for part in content.split(b",") if part}
    permit(times <= {b"BeginTime", b"EndTime"}, raw, "content of a command")


Judge = Callable[[bytes], None]
JUDGES: dict[str, Judge] = {
    "modbus-rtu": judge_modbus_rtu,
    "modbus-tcp": judge_modbus_tcp,
    "dlt645": judge_dlt645_2007,
    "dlt645-1997": judge_dlt645_1997,
    "cjt188": judge_cjt188,
    "mbus": judge_mbus,
    "hj212": judge_hj212,
}
