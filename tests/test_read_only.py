"""Nothing that leaves a box writes, freezes, clears, switches or resets.

Every request that any driver of any profile can produce, and every public builder of a protocol, goes through a judge
that knows the permitted functions from the standards and shares no code with us. What it cannot judge is not permitted.
"""

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers import builtin, identify, pieces, profile_file
from drivers.driver import Driver, driver
from drivers.site import Device, Stack
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
from protocols.errors import ConfigError, ProtocolError

ROOT = Path(__file__).parent.parent


# ---- the judge: what each standard lets a master say without changing anything


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


# ---- every driver of every profile


ADDRESSES = {
    "modbus": ("1", "247"),
    "dlt645": ("1", "123456789012"),
    "dlt645-1997": ("1", "12345", "123456789012"),
    "cjt188": ("1", "12345678901234"),
    "mbus": ("0", "250", "12345678"),
    "hj212": ("A" * 24,),
}


@dataclass(frozen=True)
class Held:
    """A driver with the judge of its wire, and its profile's proofs."""

    name: str
    driver: Driver
    judge: Judge


def made() -> Iterator[Held]:
    """Every profile that comes with us, at every kind of address, in every framing."""
    for name in builtin.builtin_ids():
        profile = profile_file.load(builtin.builtin(name), name)
        framings = ("rtu", "modbus-tcp") if profile.protocol == "modbus" else ("rtu",)
        for address, framing in itertools.product(ADDRESSES[profile.protocol], framings):
            device = Device(id="M", profile=name, port="p", address=address, stack=Stack(area_m2=Decimal(12)))  # type: ignore[arg-type]
            try:
                held = driver(device, profile, framing)  # type: ignore[arg-type]
            except ConfigError:
                continue
            judge = {"modbus": "modbus-rtu" if framing == "rtu" else "modbus-tcp"}.get(
                profile.protocol, profile.protocol
            )
            yield Held(f"{name} {address} {framing}", held, JUDGES[judge])


DRIVERS = {held.name: held for held in made()}


def asked(held: Driver) -> Iterator[bytes]:
    """All that a driver can be made to ask first: its plan in every wording, the pieces of every read, what the meter
    froze, what tells its model.
    """
    for query in held.queries():
        yield from query.wordings
        if query.request:
            yield from smaller(held, query.request)
    history = getattr(held, "history", None)
    if history is not None:
        yield from (request for _, request in history(62, 48, 12))
    if (question := identify.request(held)) is not None:
        yield question


def smaller(held: Driver, request: bytes) -> Iterator[bytes]:
    cut = pieces.cut(held, request)
    yield from pieces.plain(held, request)
    for piece in cut.pieces if cut is not None else ():
        yield piece
        yield from smaller(held, piece)


def sweep(held: Held, more: tuple[bytes, ...] = ()) -> int:
    """How many requests of a driver were judged; Forbidden."""
    count = 0
    for request in (*asked(held.driver), *more):
        if request:  # a logger that speaks unasked is asked nothing
            held.judge(request)
            count += 1
    return count


def test_every_profile_has_a_driver_here() -> None:
    assert {name.split()[0] for name in DRIVERS} == set(builtin.builtin_ids())


@pytest.mark.parametrize("name", DRIVERS)
def test_no_driver_asks_for_anything_but_a_read(name: str) -> None:
    held = DRIVERS[name]
    sweep(held)
    for query in held.driver.queries():
        if query.request:
            assert next(held.driver.read(query.request)) == query.request, "what is yielded is what was planned"


def more_follows(request: bytes, data: bytes, number: int) -> bytes:
    """A DL/T 645 reply that says there is more (2007: B1 and B2; 1997: A1 and A2), from the meter that was asked."""
    body = request.lstrip(b"\xfe")
    new = body[8] >= 0x10
    width = 4 if new else 2
    tail = bytes([number + 0x33 & 0xFF]) if number and new else b""
    inner = body[10 : 10 + width] + data + tail
    frame = body[:8] + bytes([(body[8] & 0xF0 | (2 if number else 1)) | 0xA0, len(inner)]) + inner
    return frame + bytes([sum(frame) & 0xFF, 0x16])


replies = st.one_of(
    st.binary(max_size=40),
    st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=17),
    st.integers(0, 7),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(DRIVERS)), st.data())
def test_no_answer_makes_a_driver_ask_for_anything_but_a_read(name: str, data: st.DataObject) -> None:
    """Random bytes, the proofs of the profile, broken, and answers that go on and on."""
    held = DRIVERS[name]
    requests = [request for request in asked(held.driver) if request]
    if not requests:
        return
    request, drawn = data.draw(st.sampled_from(requests)), data.draw(replies)
    for reply in told(held.driver, request, drawn):
        try:
            follow = held.driver.follow_up(request, reply)
        except ProtocolError:
            continue
        if follow is not None:
            held.judge(follow)


def told(held: Driver, request: bytes, drawn: bytes | list[bytes] | int) -> Iterator[bytes]:
    """What a meter may have said so far, in growing order."""
    proofs = [bytes.fromhex(proof.response) for proof in held.profile.proof] if held.profile.protocol != "hj212" else []
    if isinstance(drawn, bytes):
        yield drawn
    elif isinstance(drawn, int):
        for response in proofs:
            yield response
            yield response[: len(response) - drawn]
            yield response + response
    elif held.profile.protocol.startswith("dlt645"):
        so_far = b""
        for number, data in enumerate(drawn):
            so_far += more_follows(request, data, number)
            yield so_far


# ---- every public builder, with whatever arguments


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


@pytest.mark.parametrize("name", BUILDERS)
def test_no_arguments_make_a_builder_build_anything_but_a_read(name: str) -> None:
    builder = BUILDERS[name]
    assert build(builder, dict(zip(builder.arguments, builder.fitting, strict=True))), "these fit"

    @settings(max_examples=200, deadline=None)
    @given(st.fixed_dictionaries(builder.arguments))
    def swept(arguments: dict[str, Any]) -> None:
        build(builder, arguments)

    swept()


ENCODES = {
    "modbus.frame_rtu",
    "modbus.frame_tcp",
    "dlt645_frame.Frame.to_bytes",
    "cjt188.Frame.to_bytes",
    "mbus.Frame.to_bytes",
    "hj212.frame",
}
"""What puts any content into a frame: for the builders, and for simulated meters; see below who may call it."""
UNDER_ANOTHER_NAME = {
    "modbus.Request.pdu": "modbus.Request",
    "modbus.Request.rtu": "modbus.Request",
    "modbus.Request.tcp": "modbus.Request",
    "dlt645_edition.Question.to_bytes": "dlt645_edition.Question",
    "dlt645_edition.Edition.read_request": "dlt645_edition.Edition",
    "mbus.Request.to_bytes": "mbus.Request",
}
BY_THE_DRIVERS = {"dlt645_edition.Edition.pending"}
"""Swept through the follow-ups of every driver."""
TAKES_APART = {"feed", "received", "payload", "payload_rtu", "payload_tcp", "unseparated", "checksum"}


def makes_bytes() -> Iterator[str]:
    """Everything public in the protocols that returns or yields bytes."""
    for path in sorted((ROOT / "protocols").glob("*.py")):
        bodies = [("", ast.parse(path.read_text("utf-8")).body)]
        for prefix, body in bodies:
            for node in body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bodies.append((f"{node.name}.", node.body))
                elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                    returns = ast.unparse(node.returns)
                    if returns in ("bytes", "bytes | None") or returns.startswith("Generator[bytes"):
                        yield f"{path.stem}.{prefix}{node.name}"


def test_every_builder_of_every_protocol_is_swept() -> None:
    found = {name for name in makes_bytes() if name.rpartition(".")[2] not in TAKES_APART}
    known = set(BUILDERS) | set(UNDER_ANOTHER_NAME) | BY_THE_DRIVERS | ENCODES
    assert found <= known, "sweep these: add them to BUILDERS"


# ---- no room builds frames by itself, and one place sends


ENCODERS = ("Frame", "frame", "frame_rtu", "frame_tcp", "Question", "Edition")
"""What encodes any frame: for the protocols themselves, and for simulated meters. No other room may call it."""


COMPOSES_REPLIES = {"drivers/compose.py"}
"""Where the answers of proof frames are made up."""


def encodes(path: Path) -> Iterator[str]:
    """Calls of an encoder that comes from a protocol's module."""
    tree = ast.parse(path.read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module is not None]
    ours = {
        name.asname or name.name for node in imports if str(node.module).startswith("protocols") for name in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            owner, name = called, getattr(called, "id", "")
            if isinstance(called, ast.Attribute):
                owner, name = called.value, called.attr
            if name in ENCODERS and getattr(owner, "id", "") in ours:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"


@pytest.mark.parametrize("room", ["drivers", "edge", "provisioning"])
def test_no_room_above_the_protocols_encodes_a_frame(room: str) -> None:
    paths = [path for path in (ROOT / room).rglob("*.py") if str(path.relative_to(ROOT)) not in COMPOSES_REPLIES]
    assert [found for path in paths for found in encodes(path)] == []


# ---- the judge itself: it must see a planted write


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
