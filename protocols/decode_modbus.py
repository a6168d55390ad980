"""A Modbus frame as a technician reads it: registers as words, coils as bits, without any profile."""

from protocols import modbus, modbus_faults, modbus_identification
from protocols.errors import Damaged
from protocols.explained import Explained, refusal, rest
from protocols.recogniser import quote


def explain_rtu(raw: bytes) -> Explained:
    """The frame of a serial line in these bytes; Damaged with the place and the likely cause of what is wrong."""
    try:
        return _pdu(*modbus.split_rtu(raw), 1)
    except Damaged as error:
        raise modbus_faults.serial(raw, error) from error


def explain_tcp(raw: bytes) -> Explained:
    """The TCP frame in these bytes; Damaged with the place and the likely cause of what is wrong."""
    try:
        _, unit, pdu = modbus.split_tcp(raw)
    except Damaged as error:
        raise modbus_faults.network(raw, error) from error
    return _pdu(unit, pdu, 7)


def known_tcp(raw: bytes) -> Explained:
    """As ``explain_tcp``, of the functions we know only: without a checksum a broken serial frame passes too easily."""
    if len(raw) > 7 and raw[7] & ~modbus.EXCEPTION not in (*modbus.MOST, modbus_identification.FUNCTION):
        raise Damaged(f"function {raw[7]:02X}, expected 01 to 04 or 2B: {quote(raw)}")
    return explain_tcp(raw)


def likely_rtu(raw: bytes) -> bool:
    """Whether a broken line was meant to be a serial frame."""
    return len(raw) >= 4 and bool(raw[0]) and raw[1] & ~modbus.EXCEPTION in modbus.MOST


def likely_tcp(raw: bytes) -> bool:
    """Whether a broken line was meant to be a TCP frame."""
    return len(raw) >= 9 and raw[2:4] == b"\0\0" and raw[7] & ~modbus.EXCEPTION in modbus.MOST


def _pdu(unit: int, pdu: bytes, start: int) -> Explained:
    """A request, a reply or an exception; a request where the bytes could be both. ``start``: the function's byte."""
    function = pdu[0]
    told: Explained = {"address": str(unit), "control": f"{function:02X}", "identifier": None, "values": []}
    if function & modbus.EXCEPTION:
        if len(pdu) != 2:
            raise Damaged(f"exception of {len(pdu)} bytes {quote(pdu)}, expected 2")
        return told | {"error": refusal(modbus.refusal(unit, function ^ modbus.EXCEPTION, pdu[1]), pdu[1])}
    if pdu[:2] == bytes([modbus_identification.FUNCTION, modbus_identification.INTERFACE]):
        return told | _identification(pdu)
    if function not in modbus.MOST:
        return told | rest(pdu[1:])
    try:
        asked = modbus.parse_pdu(unit, pdu)
        return told | {"identifier": f"{function:02X}:{asked.address:04X}+{asked.count}"}
    except Damaged as error:
        return told | {"values": _words(pdu, error, start)}


def _identification(pdu: bytes) -> Explained:
    """What a device says it is, or the question for it."""
    told: Explained = {"identifier": f"2B:0E:{pdu[2]:02X}" if len(pdu) > 2 else "2B:0E"}
    if len(pdu) == 4:
        return told
    found = modbus_identification.objects(pdu)
    names = modbus_identification.OBJECTS
    told["values"] = [
        {"name": names.get(number, f"object_{number:02x}"), "value": text, "unit": ""}
        for number, text in sorted(found.objects.items())
    ]
    return told if found.following is None else told | {"note": f"more follows from object {found.following:02X}"}


def _words(pdu: bytes, no_request: Damaged, start: int) -> list[dict[str, object]]:
    """Registers as words, coils as bits, unsigned and without meaning: that is in a profile."""
    count, data = (pdu[1], pdu[2:]) if len(pdu) > 1 else (0, b"")
    if not data or count != len(data):
        message = f"neither a request ({no_request}) nor a reply: byte count {count}, expected {len(data)}"
        raise modbus_faults.content(pdu, Damaged(message), start)
    if pdu[0] in (1, 2):
        bits = [byte >> bit & 1 for byte in data for bit in range(8)]
        return [{"name": f"bit_{index}", "value": str(bit), "unit": ""} for index, bit in enumerate(bits)]
    if count % 2:
        raise Damaged(f"byte count {count}, expected an even number: registers are words")
    words = [int.from_bytes(data[at : at + 2]) for at in range(0, count, 2)]
    return [{"name": f"word_{index}", "value": str(word), "unit": ""} for index, word in enumerate(words)]
