"""DL/T 645: how a field is written, and what it says as text; the same in both editions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

from protocols.dlt645_value import filled, value
from protocols.errors import Impossible
from protocols.recogniser import quote

SEPARATOR = 0xAA
"""Parts items of a block in some meters; no byte of BCD is AA."""

Shown = dict[str, object]
"""One field as ``tanmeter decode`` tells it: name, value (text or null), unit, and what else there is to say."""


@dataclass(frozen=True, slots=True)
class Format:
    """One field. ``digits`` is its picture, highest byte first, two characters a byte: ``X`` number, ``N`` digits that
    are no number, ``C`` ASCII, ``B`` bits, ``YYMMDD`` and the like a date or time. ``bits``: names from bit 0 on.
    """

    digits: str
    unit: str
    signed: bool
    name: str
    bits: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Bytes on the wire."""
        return len(self.digits.replace(".", "")) // 2


def fields(data: bytes, forms: Sequence[Format]) -> tuple[list[Shown], bytes]:
    """Every field that the data hold, in order, and what is left; one that does not fit is null, with its bytes.

    A single field takes all there is: meters exist that send a byte more or less than the table says.
    """
    if len(forms) == 1:
        return [told(data, forms[0])], b""
    shown: list[Shown] = []
    at = 0
    for form in forms:
        at = _behind_separators(data, at, form)
        if at >= len(data) and shown:
            break
        field = data[at : at + form.width]
        shown.append(told(field, form))
        at += len(field)
    return shown, data[at:].lstrip(bytes([SEPARATOR]))


def told(field: bytes, form: Format) -> Shown:
    """One field; with ``raw`` and ``note`` when it does not fit its form, with ``flags`` where it holds named bits."""
    shown: Shown = {"name": form.name, "value": None, "unit": form.unit}
    try:
        shown["value"] = show(field, form)
    except Impossible as error:
        return shown | {"raw": field.hex().upper(), "note": str(error)}
    if form.bits and shown["value"] is not None:
        word = int.from_bytes(field, "little")
        shown["flags"] = [name for bit, name in enumerate(form.bits) if name and word >> bit & 1]
    return shown


def show(field: bytes, form: Format) -> str | None:
    """A field's content as text: numbers as decimals, dates and times as ISO 8601; None when it is filled.

    Impossible when the bytes do not fit the picture.
    """
    if len(field) != form.width:
        raise Impossible(f"{len(field)} bytes {quote(field)}, expected {form.width} for {form.digits}")
    if filled(field):
        return None
    kind = form.digits[0]
    if kind == "X":
        number = value(field, form.digits, form.signed)
        return None if number is None else _plain(number)
    if kind == "C":
        return field[::-1].decode("ascii", "backslashreplace").strip("\0 ")
    text = field[::-1].hex().upper()
    if kind != "B" and not text.isdecimal():
        raise Impossible(f"{quote(field)} is not BCD, expected {form.digits}")
    return moment(text, form.digits) if kind in "YMDh" else text


def moment(text: str, picture: str) -> str | None:
    """ISO 8601 of digits by their picture; None for all zeros, which meters send where nothing has happened yet."""
    part = {letter: int(text[picture.index(letter * 2) :][:2]) for letter in "YMDhms" if letter * 2 in picture}
    if "M" in part and not any(part.values()):
        return None
    try:
        day = date(2000 + part.get("Y", 0), part["M"], part["D"]).isoformat() if "M" in part else ""
        clock = time(part["h"], part.get("m", 0), part.get("s", 0)) if "h" in part else None
    except ValueError as error:
        raise Impossible(f"{text} as {picture}: {error}") from None
    if day and "Y" not in part:
        day = day[5:]
    hour = "" if clock is None else clock.isoformat("seconds" if "s" in part else "minutes")
    return "T".join(filter(None, (day, hour)))


def _plain(number: Decimal) -> str:
    return format(number, "f")


def _behind_separators(data: bytes, at: int, form: Format) -> int:
    """Where the field begins: separators are passed over, except before text and bits, which may hold them."""
    while at < len(data) and data[at] == SEPARATOR and form.digits[0] not in "CB":
        at += 1
    return at
