"""A CJ/T 188 frame as a technician reads it: the meaning of its fields by the standard, without any profile."""

from decimal import Decimal

from protocols import cjt188
from protocols.cjt188_answer import DECIMALS, LAYOUTS, Answer, Number, Units, battery_low, valve
from protocols.cjt188_damage import begins, damage
from protocols.cjt188_units import UNITS
from protocols.errors import Damaged, Impossible
from protocols.explained import Explained, refusal, rest

KINDS = {
    0x10: "cold water",
    0x11: "hot water",
    0x12: "drinking water",
    0x13: "reclaimed water",
    0x20: "heat",
    0x21: "cold",
    0x22: "heat and cold",
    0x30: "gas",
    0x40: "electricity or other",
    cjt188.ANY_TYPE: "any",
}
"""What a meter type says; makers use other numbers of the same ten too."""

VALVE = {0: "open", 1: "closed", 3: "abnormal"}
PLAIN_UNITS = {"temp_supply": "°C", "temp_return": "°C", "hours": "h"}

Value = dict[str, object]


def explain(raw: bytes) -> Explained:
    """The frame in these bytes; when there is none, what is wrong with what looks like one."""
    found = cjt188.Parser().feed(raw)
    if not found:
        raise damage(raw)
    frame, own = next(((frame, own) for frame, own in found if frame.control & cjt188.REPLY), found[0])
    told = _frame(frame)
    if len(found) > 1:
        told["skipped"] = len(found) - 1
    tail = raw[raw.index(own) + len(own) :]
    if len(found) == 1 and len(tail) == 2:
        told["note"] = f"{tail.hex(' ').upper()} behind the frame: signal strength, as radio heads append it"
    return told


def exactly(raw: bytes) -> Explained:
    """As ``explain``, but the whole line must be one frame; Damaged says where it is not."""
    try:
        return _frame(cjt188.decode(raw))
    except Damaged:
        raise damage(raw) from None


def likely(raw: bytes) -> bool:
    """Whether a broken line was meant to be such a frame."""
    return bool(begins(raw))


def _frame(frame: cjt188.Frame) -> Explained:
    kind = KINDS.get(frame.meter_type) or KINDS.get(frame.meter_type & 0xF0) or "unknown"
    told: Explained = {"address": frame.address, "control": f"{frame.control:02X}", "identifier": None, "values": []}
    told["meter_type"] = f"{frame.meter_type:02X} {kind}"
    if frame.control & cjt188.REPLY and frame.control & cjt188.ERROR:
        return told | {"error": refusal(cjt188.refusal(frame), cjt188.error_word(frame))}
    identifier = cjt188.identifier_of(frame)
    if len(frame.data) < 3 or not identifier:
        return told | rest(frame.data)
    told |= {"identifier": identifier, "serial": f"{frame.data[2]:02X}"}
    if frame.control == cjt188.READ_ADDRESS | cjt188.REPLY and identifier == cjt188.ADDRESS:
        return told | {"values": [_value("communication_address", frame.address)]} | rest(frame.data[3:])
    if frame.control == cjt188.READ | cjt188.REPLY and identifier == cjt188.READING and len(frame.data) - 3 in LAYOUTS:
        return told | _answer(frame.data[3:])
    return told | rest(frame.data[3:])


def _answer(data: bytes) -> Explained:
    """Every field of an answer to 901F; units before their numbers only where that reads and the standard does not."""
    units: Units = "before" if not _reads(data, "after") and _reads(data, "before") else "after"
    answer = Answer.of(data, units)
    told: Explained = {"values": [*map(_number, answer.numbers.values()), *_state(answer)]}
    if units == "before":
        told["note"] = "unit codes stand before their numbers (option units = before)"
    return told


def _reads(data: bytes, units: Units) -> bool:
    """Whether every number is one, with a unit code that is one or a field that is filled."""
    try:
        answer = Answer.of(data, units)
        return all(number.value is None or number.code in (None, *UNITS) for number in answer.numbers.values())
    except Impossible:
        return False


def _number(number: Number) -> Value:
    """A number in the unit it was sent in, with the decimals of the standard."""
    unit = UNITS.get(number.code) if number.code is not None else None
    told = _value(number.name, None, PLAIN_UNITS.get(number.name, unit.symbol if unit else ""))
    try:
        raw = number.value
    except Impossible as error:
        return told | {"raw": number.raw.hex().upper(), "note": str(error)}
    if raw is not None:
        quantity = next(layout[number.name] for layout in LAYOUTS.values() if number.name in layout)
        told["value"] = f"{Decimal(raw * (unit.times if unit else 1)).scaleb(-DECIMALS[quantity]):f}"
    if number.code is not None and unit is None:
        told["note"] = f"unit code {number.code:02X} is none of CJ/T 188"
    elif unit and unit.times != 1:
        told["note"] = f"sent in {unit.name}: its decimals differ by maker, compare with the dial"
    return told


def _state(answer: Answer) -> list[Value]:
    clock, status = answer.told_clock(), answer.status
    told = _value("clock", None if clock is None else clock.isoformat())
    if clock is None and set(answer.clock) - {0x00, 0xFF, 0x99}:
        told["raw"] = answer.clock.hex().upper()
    return [
        told,
        _value("valve", VALVE.get(valve(status, mirrored=False), "undefined")),
        _value("battery_low", str(battery_low(status, mirrored=False))),
        _value("status", status.hex().upper()) | _mirrored(status),
    ]


def _mirrored(status: bytes) -> Value:
    """What the status says where a maker has mirrored its first byte, if that is something else."""
    said = valve(status, mirrored=True), battery_low(status, mirrored=True)
    if not any(said):
        return {}
    shown = f"valve {VALVE.get(said[0], 'undefined')}, battery_low {said[1]}"
    return {"note": f"with the mirrored layout of some makers (option status = mirrored): {shown}"}


def _value(name: str, value: str | None, unit: str = "") -> Value:
    return {"name": name, "value": value, "unit": unit}
