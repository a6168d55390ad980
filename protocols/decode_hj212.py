"""An HJ 212 packet as a person reads it: every field with what it means, its unit by the standard, and its mark."""

from protocols import hj212
from protocols.errors import Damaged
from protocols.explained import Explained
from protocols.hj212 import Field, Packet, Said
from protocols.hj212_codes import COMMANDS, FIELDS, MARKS, REQUEST_ANSWERS, RESULTS, SYSTEMS, TOTAL, factor

EDITIONS = {hj212.V2005: "HJ/T 212-2005", hj212.V2017: "HJ 212-2017"}
LATER = "later than HJ 212-2017"
FLAG = "Flag"
WORDS = {"QnRtn": REQUEST_ANSWERS, "ExeRtn": RESULTS, "CN": COMMANDS}


def explain(raw: bytes) -> Explained:
    """What a packet says, CR LF or not, also behind other bytes; Damaged when there is none.

    ``address`` is MN, ``control`` CN, ``identifier`` QN (null in packets of 2005); ``header`` holds every header field
    as sent, ``command`` and ``system`` the meaning of CN and ST. Each of ``values`` has ``name`` and ``value`` as sent,
    ``unit`` of the standard (empty where it has none: the site may use another), ``flag`` (the mark of its factor, null
    when it came without one) and ``meaning``.
    """
    packet, skipped = _whole(raw)
    said = packet.said()
    told: Explained = {
        "address": packet.mn,
        "control": packet.cn,
        "identifier": packet.qn or None,
        "header": dict(packet.header),
        "command": COMMANDS.get(packet.cn, ""),
        "system": SYSTEMS.get(packet.head("ST"), ""),
        "edition": EDITIONS.get(packet.version, LATER),
        "wants_answer": packet.wants_answer,
        "values": [_value(said, field) for field in packet.fields],
    }
    if packet.part is not None:
        told["part"] = list(packet.part)
    return told | ({"skipped": skipped} if skipped else {})


def exactly(raw: bytes) -> Explained:
    """As ``explain``, but the packet is all there is."""
    hj212.decode(raw)
    return explain(raw)


def likely(raw: bytes) -> bool:
    """Whether these bytes were meant to be a packet."""
    at = raw.find(hj212.MARK)
    return b"CP=&&" in raw or (at >= 0 and raw[at + 2 : at + hj212.HEAD].isdigit())


def _whole(raw: bytes) -> tuple[Packet, int]:
    """The packet in these bytes, the first of several, and how many others there are."""
    try:
        return hj212.decode(raw), 0
    except Damaged:
        begin = raw.find(hj212.MARK)
        if begin == raw.rfind(hj212.MARK) == 0:
            raise  # it is the only beginning, and what is wrong with it is said
        if found := hj212.Parser().feed(raw):
            return found[0].packet, len(found) - 1
        return hj212.decode(raw[max(0, begin) :]), 0


def _value(said: Said, field: Field) -> Explained:
    known = factor(field.item)
    marks = said[field.item].get(FLAG, ()) if field.item else ()
    return {
        "name": field.key,
        "value": field.text or None,
        "unit": "" if known is None or field.name not in FIELDS else _unit(known.unit, known.total, field.name),
        "flag": marks[0] if marks else None,
        "meaning": _meaning(field, known.name if known is not None else ""),
    }


def _unit(unit: str, total: str, name: str) -> str:
    """The unit of a field; none of what is no measured value."""
    if name in (FLAG, "EFlag", "SampleTime"):
        return ""
    return total if name == TOTAL else unit


def _meaning(field: Field, name: str) -> str:
    """In words, as far as the codes are known."""
    if not field.item:
        return WORDS.get(field.name, {}).get(field.text, "")
    words = [name, FIELDS.get(field.name, ""), MARKS.get(field.text, "") if field.name == FLAG else ""]
    return ", ".join(word for word in words if word)
