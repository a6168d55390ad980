"""An M-Bus frame as a technician reads it: the records say themselves what they are, so no profile is needed."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from protocols import mbus
from protocols.errors import Damaged, Impossible, Refused
from protocols.explained import Explained, refusal, rest
from protocols.recogniser import quote

if TYPE_CHECKING:
    from protocols.mbus_records import Record

MEDIA = {
    0x00: "other",
    0x01: "oil",
    0x02: "electricity",
    0x03: "gas",
    0x04: "heat",
    0x05: "steam",
    0x06: "warm water",
    0x07: "water",
    0x08: "heat cost allocator",
    0x0A: "cold (outlet)",
    0x0B: "cold (inlet)",
    0x0C: "heat (inlet)",
    0x0D: "heat and cold",
    0x15: "hot water",
    0x16: "cold water",
}
"""The medium byte of a telegram's header."""

SHORTENED = {"instantaneous": "", "maximum": "_max", "minimum": "_min", "error": "_error"}


def explain(raw: bytes) -> Explained:
    """The frame in these bytes: a question, an acknowledgement, or a telegram with all its records; ProtocolError."""
    if raw == bytes([mbus.ACK]):
        return _told("", "E5") | {"note": "acknowledgement"}
    if raw[:1] == bytes([mbus.SHORT]):
        return _short(raw)
    if raw[:1] == bytes([mbus.LONG]) and len(raw) > mbus.OVERHEAD and raw[4] & mbus.FROM_MASTER:
        return _from_master(raw)
    frames = mbus.replies(raw) if _several(raw) else (mbus.decode(raw),)
    told = _told(str(frames[-1].address), f"{frames[-1].control:02X}")
    try:
        return told | _telegrams(frames)
    except ModuleNotFoundError:
        return told | {"note": "pip install 'tanmeter[mbus]' tells the records"} | rest(frames[-1].data)
    except Refused as error:
        return told | {"error": refusal(str(error), error.reason)}


def likely(raw: bytes) -> bool:
    """Whether a broken line was meant to be such a frame."""
    if raw[:1] == bytes([mbus.SHORT]):
        return len(raw) == 5 and raw[-1] == mbus.END and raw[1] in (0x40, 0x5B, 0x7B, 0x5A, 0x7A)
    return len(raw) > mbus.OVERHEAD and raw[0] == raw[3] == mbus.LONG and abs(len(raw) - mbus.OVERHEAD - raw[1]) <= 3


def strict(raw: bytes) -> Explained:
    """As ``explain``, but nothing of so few bytes that noise would do as well; Damaged."""
    if len(raw) < 5:
        raise Damaged(f"{len(raw)} bytes {quote(raw)}, expected an M-Bus frame")
    return explain(raw)


def _several(raw: bytes) -> bool:
    """Whether more follows a whole telegram, or it follows the acknowledgement of a selection: an answer on record."""
    length = mbus.OVERHEAD + raw[1] if len(raw) > 1 else 0
    return raw[:1] == bytes([mbus.ACK]) or raw[length : length + 1] == bytes([mbus.LONG])


def _telegrams(frames: Sequence[mbus.Frame]) -> Explained:
    """What the telegrams of one answer say: the last as a whole, of those before it what it does not say again."""
    from protocols import mbus_records  # here, because the library behind it is not on every box

    *earlier, last = [mbus_records.telegram(frame) for frame in frames]
    records = {record.key: record for telegram in (*earlier, last) for record in telegram.records}
    told: Explained = {"identifier": last.identification}
    told["values"] = [
        *_named({"manufacturer": last.manufacturer, "version": str(last.version)}),
        *_named({"medium": MEDIA.get(last.medium, f"{last.medium:02X}"), "access": str(last.access)}),
        *_named({"status": f"{last.status:02X}"}),
        *(_record(record) for record in records.values()),
    ]
    if earlier:
        told["skipped"] = len(earlier)
    if last.more:
        told["note"] = "more telegrams follow"
    return told | rest(last.makers)


def _told(address: str, control: str) -> Explained:
    return {"address": address, "control": control, "identifier": None, "values": []}


def _named(texts: dict[str, str]) -> list[Explained]:
    return [{"name": name, "value": text, "unit": ""} for name, text in texts.items()]


def _short(raw: bytes) -> Explained:
    """A short frame: a question, or the reset of a link."""
    if len(raw) != 5 or raw[4] != mbus.END:
        raise Damaged(
            f"{quote(raw)}, expected five bytes from 10 to 16",
            at=len(raw) if len(raw) < 5 else 4,
            found="-" if len(raw) < 5 else f"{raw[4]:02X}",
            expected="16",
            cause="cause.mbus.truncated" if len(raw) < 5 else None,
        )
    mbus.check_sum(raw, 1)
    names = {0x40: "SND_NKE", 0x5A: "REQ_UD1", 0x7A: "REQ_UD1", 0x5B: "REQ_UD2", 0x7B: "REQ_UD2"}
    return _told(str(raw[2]), f"{raw[1]:02X}") | {"identifier": names.get(raw[1])}


def _from_master(raw: bytes) -> Explained:
    """A long frame to a meter: a selection, or what only others send."""
    mbus.check_shape(raw)
    mbus.check_sum(raw, 4)
    told = _told(str(raw[5]), f"{raw[4]:02X}")
    if raw[6] == 0x52 and len(raw) == 17:
        return told | {"identifier": raw[10:6:-1].hex().upper(), "note": "selection of a meter by its number"}
    return told | {"note": f"to a meter, CI {raw[6]:02X}"} | rest(raw[7:-2])


def _record(record: "Record") -> Explained:
    """One record: its quantity with what tells it from others of its kind, its value, its bytes."""
    parts = [record.name or "unknown", SHORTENED[record.function]]
    for letter, number in (("s", record.storage), ("t", record.tariff), ("u", record.subunit)):
        parts.append(f"_{letter}{number}" if number else "")
    told: Explained = {"name": "".join(parts), "value": None, "unit": record.unit, "record": record.key}
    if not record.plain:
        told["note"] = "the extensions of its VIF change what it is"
    try:
        told["value"] = _shown(record.number()) if record.numeric else record.text()
    except Impossible as error:
        told |= {"raw": record.data[::-1].hex().upper(), "note": str(error)}
    return told


def _shown(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"
