"""One frame as a technician reads it: ``tanmeter decode``. No profile, no request needed; hex in, a JSON object out."""

import re
from collections.abc import Callable

from protocols import dlt645, modbus
from protocols.dlt645_identifiers import Format, describe, show
from protocols.errors import Damaged, Impossible, ProtocolError, Refused
from protocols.recogniser import quote

Explained = dict[str, object]


def explain(line: str, protocol: str = "auto") -> Explained:
    """What one frame says. ``line``: hex, spaced or not, ``0x`` allowed; ``protocol``: one of PROTOCOLS.

    ``ok`` true: the frame is good. Then ``protocol``, ``address``, ``control`` (hex; the function for Modbus),
    ``identifier`` (DL/T 645: DI3 first; a Modbus request: function:address+count in hex:hex+decimal; else null) and
    ``values``, a list of {name, value, unit}. A value is text, a number in plain decimal, or null when the meter
    filled it with FF; one that does not fit its form is null with ``raw`` and ``note``. A meter's refusal (D1, Modbus
    exception) is a good frame: ``values`` is empty and ``error`` is {code, reason, message}. ``data`` holds the
    bytes of a content nobody described. DL/T 645 frames are also found behind noise; of several in a line the first
    that comes from a meter is told (before it goes the echo of the question) and ``skipped`` counts the others.

    ``ok`` false: ``protocol`` (null when ``auto`` found none that fits) and ``error`` {code, message}; the message
    names the check that failed, what came and what was expected.
    """
    try:
        raw = _from_hex(line)
    except Damaged as error:
        return _bad(None if protocol == "auto" else protocol, error)
    if protocol == "auto":
        return _auto(raw)
    try:
        return {"ok": True, "protocol": protocol} | _READERS[protocol](raw)
    except ProtocolError as error:
        return _bad(protocol, error)


def _bad(protocol: str | None, error: ProtocolError) -> Explained:
    return {"ok": False, "protocol": protocol, "error": {"code": error.code, "message": str(error)}}


def _from_hex(line: str) -> bytes:
    """Bytes of a line; separators are white space and ``,:;-``, and ``0x`` may stand before any of them."""
    tokens = re.sub("0[xX]", " ", line).replace("\ufeff", "").translate(_SEPARATORS).split()
    text = "".join(token.zfill(2) if len(token) == 1 else token for token in tokens)
    if wrong := re.search("[^0-9a-fA-F]", text):
        raise Damaged(f"character {wrong.group()!r}, expected hex digits")
    if len(text) % 2 or not text:
        raise Damaged(f"{len(text)} hex digits, expected two for each byte of a frame")
    return bytes.fromhex(text)


_SEPARATORS = str.maketrans(",:;-\"'[]", " " * 8)


def _auto(raw: bytes) -> Explained:
    """The first protocol whose structure and checksum the whole line has; then DL/T 645 behind noise."""
    failures = {}
    for protocol, reader in (*_STRICT, ("dlt645", _dlt645)):
        try:
            return {"ok": True, "protocol": protocol} | reader(raw)
        except ProtocolError as error:
            failures[protocol] = error
    likely = _likely(raw)
    if likely:
        return _bad(likely, failures[likely])
    return _bad(None, Damaged("; ".join(f"{name}: {error}" for name, error in failures.items())))


def _tcp_read(raw: bytes) -> Explained:
    """As _tcp, of the functions we know only: without a checksum a broken serial frame would pass too easily."""
    if len(raw) > 7 and raw[7] & ~modbus.EXCEPTION not in modbus.MOST:
        raise Damaged(f"function {raw[7]:02X}, expected 01 to 04: {quote(raw)}")
    return _tcp(raw)


def _likely(raw: bytes) -> str | None:
    """The protocol a broken frame was meant to be, so that the message is about that one."""
    if _header(raw) is not None:
        return "dlt645"
    if len(raw) >= 9 and raw[2:4] == b"\0\0" and raw[7] & ~modbus.EXCEPTION in modbus.MOST:
        return "modbus-tcp"
    if len(raw) >= 4 and raw[0] and raw[1] & ~modbus.EXCEPTION in modbus.MOST:
        return "modbus-rtu"
    return None


# ---- DL/T 645 ----


def _dlt645(raw: bytes) -> Explained:
    """The frame in these bytes; when there is none, what is wrong with what looks like one."""
    frames = [frame for frame, _ in dlt645.Parser().feed(raw)]
    if not frames:
        return _dlt645_exactly(raw[_header(raw) or 0 :])
    chosen = next((frame for frame in frames if frame.control & dlt645.REPLY), frames[0])
    skipped: Explained = {"skipped": len(frames) - 1} if len(frames) > 1 else {}
    return _frame(chosen) | skipped


def _dlt645_exactly(raw: bytes) -> Explained:
    return _frame(dlt645.decode(raw))


def _header(raw: bytes) -> int | None:
    """Where the first 68 stands that has its second 68 seven bytes on."""
    return next((at for at in range(len(raw) - 7) if raw[at] == raw[at + 7] == dlt645.START), None)


def _frame(frame: dlt645.Frame) -> Explained:
    old = frame.control & dlt645.FUNCTION in (1, 2)
    told: Explained = {"address": frame.address, "control": f"{frame.control:02X}", "identifier": None, "values": []}
    if old:
        told["note"] = "DL/T 645-1997"
    if frame.control & dlt645.REPLY and frame.control & dlt645.ERROR:
        return told | _refused_dlt645(frame)
    if frame.control == 0x93 and len(frame.data) == 6:
        return told | _fields(frame.data, (Format("N" * 12, "", False, "communication_address"),))
    if old and len(frame.data) >= 2:
        return told | {"identifier": frame.data[1::-1].hex().upper()} | _data(frame.data[2:])
    if frame.control & dlt645.FUNCTION not in (0x11, 0x12) or len(frame.data) < 4:
        return told | _data(frame.data)
    return told | _identified(frame)


def _data(data: bytes) -> Explained:
    return {"data": data.hex().upper()} if data else {}


def _identified(frame: dlt645.Frame) -> Explained:
    """A read and its answer: the identifier and, from the meter, what it holds."""
    identifier, data = dlt645.identifier_of(frame), frame.data[4:]
    told: Explained = {"identifier": identifier}
    if not frame.control & dlt645.REPLY:
        return told | _data(data)
    if frame.control & dlt645.MORE:
        told["note"] = "more frames follow"
    forms = describe(identifier)
    if not forms or frame.control & dlt645.FUNCTION == 0x12:
        return told | _data(data)
    return told | _fields(data, forms)


def _refused_dlt645(frame: dlt645.Frame) -> Explained:
    if not frame.data:
        raise Damaged(f"control {frame.control:02X} without data, expected an error word")
    return {"error": _refusal(dlt645.refusal(frame), frame.data[0])}


def _fields(data: bytes, forms: tuple[Format, ...]) -> Explained:
    """Every field that the data holds, in order; one that does not fit is null with its bytes and the reason."""
    values: list[dict[str, object]] = []
    position = 0
    for form in forms:
        # Width from the length of the reply, not from the table: meters exist that send a byte more or less.
        field = data[position:] if len(forms) == 1 else data[position : position + form.width]
        if not field and values:
            break
        values.append(_field(field, form))
        position += len(field)
    told: Explained = {"values": values}
    return told | _data(data[position:])


def _field(field: bytes, form: Format) -> dict[str, object]:
    told: dict[str, object] = {"name": form.name, "value": None, "unit": form.unit}
    try:
        told["value"] = show(field, form)
    except Impossible as error:
        told |= {"raw": field.hex().upper(), "note": str(error)}
    return told


# ---- Modbus ----


def _rtu(raw: bytes) -> Explained:
    unit, pdu = modbus.split_rtu(raw)
    return _pdu(unit, pdu)


def _tcp(raw: bytes) -> Explained:
    _, unit, pdu = modbus.split_tcp(raw)
    return _pdu(unit, pdu)


def _pdu(unit: int, pdu: bytes) -> Explained:
    """A request, a reply or an exception; a request where the bytes could be both."""
    function = pdu[0]
    told: Explained = {"address": str(unit), "control": f"{function:02X}", "identifier": None, "values": []}
    if function & modbus.EXCEPTION:
        if len(pdu) != 2:
            raise Damaged(f"exception of {len(pdu)} bytes {quote(pdu)}, expected 2")
        return told | {"error": _refusal(modbus.refusal(unit, function ^ modbus.EXCEPTION, pdu[1]), pdu[1])}
    if function not in modbus.MOST:
        return told | _data(pdu[1:])
    try:
        asked = modbus.parse_pdu(unit, pdu)
        return told | {"identifier": f"{function:02X}:{asked.address:04X}+{asked.count}"}
    except Damaged as error:
        return told | {"values": _words(pdu, error)}


def _words(pdu: bytes, no_request: Damaged) -> list[dict[str, object]]:
    """Registers as words, coils as bits, unsigned and without meaning: that is in a profile."""
    count, data = (pdu[1], pdu[2:]) if len(pdu) > 1 else (0, b"")
    if not data or count != len(data):
        raise Damaged(f"neither a request ({no_request}) nor a reply: byte count {count}, expected {len(data)}")
    if pdu[0] in (1, 2):
        bits = [byte >> bit & 1 for byte in data for bit in range(8)]
        return [{"name": f"bit_{index}", "value": str(bit), "unit": ""} for index, bit in enumerate(bits)]
    if count % 2:
        raise Damaged(f"byte count {count}, expected an even number: registers are words")
    words = [int.from_bytes(data[at : at + 2]) for at in range(0, count, 2)]
    return [{"name": f"word_{index}", "value": str(word), "unit": ""} for index, word in enumerate(words)]


def _refusal(message: str, reason: int) -> dict[str, object]:
    return {"code": Refused.code, "reason": reason, "message": message}


_READERS: dict[str, Callable[[bytes], Explained]] = {"modbus-rtu": _rtu, "modbus-tcp": _tcp, "dlt645": _dlt645}

_STRICT = (("dlt645", _dlt645_exactly), ("modbus-rtu", _rtu), ("modbus-tcp", _tcp_read))
"""The readers that want the whole line to be their frame, surest first."""

PROTOCOLS = ("auto", *sorted(_READERS))
"""What ``explain`` takes as protocol."""
