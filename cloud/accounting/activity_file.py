"""An activity file: what a subject used and made, in TOML (or JSON) with the method's own symbols and units.

    schema = 1
    subject = "某水泥厂"

    [[activity]]
    row = "08-01"
    item = "bituminous"
    FC = "1250.4 t"
    NCV = { value = "21.9 GJ/t", document = "化验报告 2025-06", uncertainty = "1.5" }

A value is a quantity, or a table of it and what it rests on. ``replaces`` in the head names, by its digest, a file
that this one stands instead of. ``beside = true`` in an entry says that it is a source of its own beside what a meter
or another file counts of its row and item on these days. ``proof`` is the name of a certificate, a range of them as
``certificates`` has it, or a list of both; each certificate counts once in the city, whatever stands beside it. One of
green power is of 1 MWh; what is no certificate says with ``covers = "400 MWh"`` what it is of. In JSON days are texts.
ActivityError names the place that does not fit.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from cloud.accounting import blocks, certificates
from cloud.accounting.given import Entry, Given
from cloud.accounting.line import Grade
from cloud.accounting.method import Method
from cloud.accounting.sameness import named
from cloud.accounting.units import quantity, unit
from drivers import toml
from protocols.errors import ActivityError, UnitError

MOST_BYTES = 4 << 20
"""Some twenty thousand entries; more of one subject in one file is a mistake, or somebody who wears the reader out."""
_HEAD = {"schema", "subject", "method", "region", "basis", "replaces", "activity"}
_ABOUT = {"row", "item", "label", "document", "sha256", "by", "supplier", "proof", "covers", "from", "until", "beside"}
_TEXTS = _ABOUT - {"proof", "covers", "from", "until", "beside"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VALUE = {"value", "document", "sha256", "by", "uncertainty", "estimated"}


@dataclass(frozen=True, slots=True)
class ActivityFile:
    """What the file says beside its entries; "" where it says nothing."""

    subject: str
    method: str
    region: str
    basis: str
    replaces: str
    sha256: str
    activity: tuple[Mapping[str, Any], ...]


def read(name: str, source: bytes) -> ActivityFile:
    """The file's head and its raw entries."""
    if len(source) > MOST_BYTES:
        raise ActivityError(f"{name}: found {len(source)} bytes, expected {MOST_BYTES} at most: cut it by month")
    tables = _json(source, name) if source.lstrip()[:1] == b"{" else toml.parse(source, name)
    _known(tables, _HEAD, name)
    if tables.get("schema") != 1:
        raise ActivityError(f"{name}: found schema {tables.get('schema')!r}, expected 1")
    activity = tables.get("activity")
    if not isinstance(activity, list) or not all(isinstance(one, dict) for one in activity) or not activity:
        raise ActivityError(f"{name}: found no [[activity]], expected at least one")
    texts = {key: _text(tables.get(key, ""), f"{name}: {key}") for key in _HEAD - {"schema", "activity"}}
    if not texts["subject"]:
        raise ActivityError(f"{name}: found no subject, expected the name of the enterprise, park or community")
    return ActivityFile(**texts, sha256=hashlib.sha256(source).hexdigest(), activity=tuple(activity))


def entries(
    name: str,
    file: ActivityFile,
    method: Method,
    start: date,
    end: date,
    *,
    grade: Grade = "declared",
    by: str = "",
) -> Iterator[Entry]:
    """Its entries under a method, over ``start`` up to ``end`` where they do not say their own days.

    ``by``: who declared or signed the file, where an entry does not say it.
    """
    for index, table in enumerate(file.activity):
        where = f"{name}: activity[{index}]"
        about = {key: _text(table.get(key, ""), f"{where}.{key}") for key in _TEXTS}
        if not about["row"]:
            raise ActivityError(f"{where}: found no row, expected one of {', '.join(method.rows)}")
        block = blocks.block(method.row(about["row"]).block)
        symbols = {slot.name for slot in block.slots}
        _known(table, _ABOUT | symbols, where)
        about["by"] = about["by"] or by
        given = {
            key: _given(value, about, file, grade, f"{where}.{key}") for key, value in table.items() if key in symbols
        }
        yield Entry(
            row=about["row"],
            start=_day(table.get("from", start), f"{where}.from"),
            end=_day(table.get("until", end), f"{where}.until"),
            given=given,
            item=about["item"],
            label=about["label"],
            supplier=about["supplier"],
            proof=_proof(table.get("proof", ""), f"{where}.proof"),
            file=file.sha256,
            beside=_flag(table.get("beside", False), f"{where}.beside"),
            covers=_mwh(table["covers"], f"{where}.covers") if "covers" in table else None,
        )


def _given(value: Any, about: Mapping[str, str], file: ActivityFile, grade: Grade, where: str) -> Given:
    table = {"value": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not isinstance(table.get("value"), str):
        raise ActivityError(f"{where}: found {value!r}, expected a quantity like '1000 t', or a table with it as value")
    _known(table, _VALUE, where)
    try:
        amount = quantity(table["value"])
    except UnitError as error:
        raise ActivityError(f"{where}: {error}") from error
    document = _text(table.get("document", about["document"]), f"{where}.document")
    sha256 = _digest(table.get("sha256", about["sha256"]), f"{where}.sha256")
    return Given(
        quantity=amount,
        grade=grade,
        reference=document,
        sha256=sha256 or file.sha256,
        by=_text(table.get("by", about["by"]), f"{where}.by"),
        uncertainty=_number(table.get("uncertainty"), f"{where}.uncertainty", Decimal(1000)),
        estimated=_number(table.get("estimated"), f"{where}.estimated", Decimal(1)) or Decimal(0),
        proved=grade == "imported" or bool(sha256),
    )


def _known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ActivityError(f"{where}: found {key!r}, expected {toml.one_of(sorted(keys), key)}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ActivityError(f"{where}: found {value!r}, expected a text")
    return value


def _proof(value: Any, where: str) -> str:
    """The certificates of an entry as a line has them; "" for none. Two names in one text would hide one of them."""
    if isinstance(value, str) and not named(value):
        return ""
    found = [_text(one, where).strip() for one in (value if isinstance(value, list) else [value])]
    known = certificates.Used[str]()
    for text in found:
        if certificates.several(text):
            raise ActivityError(f'{where}: found several names in {text!r}, expected a list: write ["…", "…"]')
        for name in certificates.each_named(text) or [""]:
            if not name or any(True for _ in known.of(name)):
                raise ActivityError(f"{where}: found {value!r}, expected names in it, each once")
            known.add(name, text)
    if not found:
        raise ActivityError(f"{where}: found an empty list, expected a name in it, or no proof")
    return certificates.joined(found)


def _mwh(value: Any, where: str) -> Decimal:
    try:
        found = quantity(_text(value, where)).to(unit("MWh"))
    except UnitError as error:
        raise ActivityError(f"{where}: {error}") from error
    if found <= 0:
        raise ActivityError(f"{where}: found {value!r}, expected more than nothing")
    return found


def _digest(value: Any, where: str) -> str:
    text = _text(value, where)
    if text and _SHA256.fullmatch(text) is None:
        raise ActivityError(f"{where}: found {value!r}, expected the SHA-256 of the document in 64 hex digits")
    return text


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ActivityError(f"{where}: found {value!r}, expected true or false")
    return value


def _day(value: Any, where: str) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise ActivityError(f"{where}: found {value!r}, expected a day like 2025-06-01") from error
    if type(value) is not date:
        raise ActivityError(f"{where}: found {value!r}, expected a day like 2025-06-01")
    return value


def _json(source: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(source, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise ActivityError(f"{name}: {error}, expected TOML or JSON") from error
    if not isinstance(found, dict):
        raise ActivityError(f"{name}: found {type(found).__name__}, expected one JSON object")
    return found


def _number(value: Any, where: str, most: Decimal) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(value if isinstance(value, str) else "")
    except InvalidOperation as error:
        raise ActivityError(f"{where}: found {value!r}, expected a number in quotation marks, like '1.5'") from error
    if not number.is_finite() or not 0 <= number <= most:
        raise ActivityError(f"{where}: found {value!r}, expected a number from 0 to {most}")
    return number
