"""The same activity again: under another method, or taken back out of the lines that were made from it. Pure."""

from collections.abc import Iterable
from datetime import date

from msgspec.structs import replace

from cloud.accounting import blocks, days, offsets
from cloud.accounting import period as periods
from cloud.accounting.calculate import UNDOCUMENTED, Known
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Inventory
from cloud.accounting.library import Library
from cloud.accounting.line import Activity, Line, Used
from cloud.accounting.method import Method, Row
from cloud.accounting.subject import ZONE, Subject
from cloud.accounting.units import Quantity, unit
from protocols.errors import MethodError


def redrawn(
    content: Inventory, subject: Subject, method: Method, library: Library, shared: Known | None = None
) -> Inventory:
    """The inventory drawn up anew from the activity of its own lines: what changed is factor or method, never activity.

    By the engine that drew it up: a newer one tells what these lines do not hold. The same reasons stay in the order in
    which they were. The errors are those of ``draw``.
    """
    told = {offsets.BEYOND, days.LEFT_OUT, *(reason for line in content.lines for reason in line.reasons)}
    drawn = Drawn(
        entries=tuple(map(entry, content.lines)),
        through=periods.instant(content.period.through),
        coverage=content.coverage,
        filled=content.filled,
        reasons=tuple(reason for reason in content.reasons if reason not in told),
    )
    period = periods.parse(content.period.id, ZONE)
    found = draw(
        subject, method, period, library, drawn,
        subject_sha256=content.subject_sha256, shared=shared, engine=content.engine,
    )  # fmt: skip
    return replace(found, reasons=content.reasons) if set(found.reasons) == set(content.reasons) else found


def entry(line: Line) -> Entry:
    """What a line was made from: its activity, and the parameters that were measured for it."""
    word = UNDOCUMENTED in line.reasons
    given = {one.symbol: _activity(one, proved=not word) for one in line.activities}
    given |= {one.symbol: _measured(one) for one in line.parameters if one.given}
    first, last = date.fromisoformat(line.start), date.fromisoformat(line.end)
    return Entry(line.row, first, last, given, line.item, line.label, line.supplier, line.proof)


def _activity(one: Activity, *, proved: bool) -> Given:
    amount = Quantity(one.value, unit(one.unit))
    return Given(amount, one.grade, one.reference, one.sha256, one.by, one.uncertainty, one.estimated, proved)


def _measured(one: Used) -> Given:
    sha256 = one.key.removeprefix(f"{one.document}#").removesuffix(f":{one.symbol}")
    quantity = Quantity(one.value, unit(one.unit))
    proved = one.status == "REVIEWED"
    return Given(quantity, "declared", one.document, sha256, uncertainty=one.uncertainty, proved=proved)


def entries(found: Iterable[Entry], before: Method, after: Method) -> list[Entry]:
    """The entries of one method as entries of another; MethodError where no row, or more than one, counts the same."""
    return [replace(entry, row=_row(entry, before.row(entry.row), after).row) for entry in found]


def _row(entry: Entry, row: Row, after: Method) -> Row:
    fitting = [one for one in after.rows.values() if _alike(row, one) and _takes(entry, one, after)]
    named = [one for one in fitting if one.zh == row.zh] or fitting
    if len(named) != 1:
        found = " and ".join(one.row for one in named) or "none"
        what = f"{row.row} ({row.zh}{', ' + entry.item if entry.item else ''})"
        raise MethodError(f"method {after.id}: found {found}, expected one row that counts what {what} counts")
    return named[0]


def _alike(row: Row, other: Row) -> bool:
    return (row.block, row.gas, row.sign, row.class_) == (other.block, other.gas, other.sign, other.class_)


def _takes(entry: Entry, row: Row, after: Method) -> bool:
    """Whether a row may be of this item, and gets every symbol either from the entry or from its own bindings."""
    if row.needs_item() != bool(entry.item) or (entry.item and entry.item not in after.items(row)):
        return False
    slots = blocks.block(row.block).slots
    return all(slot.name in (*entry.given, *row.bind) or slot.default is not None for slot in slots)
