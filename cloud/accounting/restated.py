"""The same activity under another method: each entry on the row there that counts the same thing in the same way."""

from collections.abc import Iterable
from dataclasses import replace

from cloud.accounting import blocks
from cloud.accounting.calculate import Entry
from cloud.accounting.method import Method, Row
from protocols.errors import MethodError


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
