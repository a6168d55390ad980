"""What changed between two inventories, source by source: activity, factor, method and boundary, exactly.

A line is made again step by step: the newer activity under the older parameters and method; then the newer parameters;
then the newer method (formula, sign, GWP). Each step is rounded as a line is, so the steps add up to the difference of
the two lines, and their sums to the difference of the totals. A source that is in one of them only is boundary where
the subject file has changed, method where another method counts it, and else activity that came late or was withdrawn.
Only what enters the total counts; a factor of the grid that is of another year is ``vintage``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting import replayed
from cloud.accounting.inventory import Difference, Effect, Inventory, part
from cloud.accounting.line import Line
from cloud.accounting.statement import plain
from cloud.accounting.units import Dimension, unit
from drivers.quantity import EXACT

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Steps:
    """The effects of one source, tCO2e; ``vintage`` is within ``factor``."""

    activity: Decimal = _ZERO
    factor: Decimal = _ZERO
    vintage: Decimal = _ZERO
    method: Decimal = _ZERO
    boundary: Decimal = _ZERO

    @property
    def moved(self) -> bool:
        return any((self.activity, self.factor, self.method, self.boundary))


def difference(before: Inventory, after: Inventory) -> Difference:
    """What ``after`` says beyond ``before``, tCO2e of their totals."""
    across = before.method != after.method
    old, new = _lines(before, across), _lines(after, across)
    names = list(dict.fromkeys((*new, *old)))
    steps = {name: _steps(old.get(name), new.get(name), before, after) for name in names}
    found = [one for one in steps.values() if one.moved or one.vintage]
    effects = [
        Effect(_id(new.get(name) or old[name]), *map(plain, (one.activity, one.factor, one.method, one.boundary)))
        for name, one in steps.items()
        if one.moved
    ]
    effects.sort(key=lambda one: (-abs(one.activity + one.factor + one.method + one.boundary), one.id))
    return Difference(
        total=plain(EXACT.subtract(after.totals.total, before.totals.total)),
        activity=_sum(one.activity for one in found),
        factor=_sum(one.factor for one in found),
        vintage=_sum(one.vintage for one in found),
        method=_sum(one.method for one in found),
        boundary=_sum(one.boundary for one in found),
        effects=tuple(effects),
    )


def _lines(content: Inventory, across: bool) -> dict[str, Line]:
    """What enters the total, by a name that is the same in both where the source is.

    ``across`` methods rows have other numbers: there a source is known by its formula, what it is of, and its label.
    """
    found: dict[str, Line] = {}
    for line in content.lines:
        if part(line.class_) not in ("memo", "reduction"):
            name = _id(line)
            if across:
                name = "/".join((line.block, line.item, line.label, line.gas, str(line.sign), line.start))
                while name in found:
                    name += "+"
            found[name] = line
    return found


def _id(line: Line) -> str:
    return f"{line.id}@{line.start}"


def _alone(tco2e: Decimal, before: Inventory, after: Inventory) -> _Steps:
    """Of a source that only one of them has, by what it adds."""
    if before.method != after.method:
        return _Steps(method=tco2e)
    if before.subject_sha256 != after.subject_sha256:
        return _Steps(boundary=tco2e)
    return _Steps(activity=tco2e)


def _steps(old: Line | None, new: Line | None, before: Inventory, after: Inventory) -> _Steps:
    if old is None or new is None:
        return _alone(EXACT.subtract(new.tco2e if new else _ZERO, old.tco2e if old else _ZERO), before, after)
    if old == new:
        return _Steps()
    if _republished(old, new):
        return _Steps(factor=EXACT.subtract(new.tco2e, old.tco2e))
    first, last = replayed.values(old), replayed.values(new)
    if _form(old) != _form(new):
        return _Steps(method=EXACT.subtract(new.tco2e, old.tco2e))
    activity = {one.symbol for one in (*old.activities, *new.activities)}
    grid = {one.symbol for line in (old, new) for one in line.parameters if one.grid}
    used = {**first, **{name: value for name, value in last.items() if name in activity}}
    alike = (old.gwp, old.sign) == (new.gwp, new.sign)

    def at(values: Mapping[str, Decimal]) -> Decimal:
        """The older line at these values; where one of the two lines says it already, it is not worked again."""
        if values == first:
            return old.tco2e
        return new.tco2e if alike and values == last else replayed.tonnes(old, values)

    with_activity = at(used)
    used |= {name: value for name, value in last.items() if name not in grid}
    with_parameters = at(used)
    with_grid = at(last)
    return _Steps(
        activity=EXACT.subtract(with_activity, old.tco2e),
        factor=EXACT.subtract(with_grid, with_activity),
        vintage=EXACT.subtract(with_grid, with_parameters) if _vintage(old) != _vintage(new) else _ZERO,
        method=EXACT.subtract(new.tco2e, with_grid),
    )


def _republished(old: Line, new: Line) -> bool:
    """Whether the lines differ by the values of the same factors alone: no step but that one moves them."""
    return (
        (old.formula, old.gas, old.gwp, old.sign) == (new.formula, new.gas, new.gwp, new.sign)
        and old.activities == new.activities
        and [(one.id, one.symbol, one.unit) for one in old.parameters]
        == [(one.id, one.symbol, one.unit) for one in new.parameters]
        and any(one.value != other.value for one, other in zip(old.parameters, new.parameters, strict=True))
    )


def _form(line: Line) -> tuple[str, str, Mapping[str, Dimension]]:
    """What must be alike for the values of one line to be put into the formula of the other."""
    return line.formula, line.gas, {one.symbol: unit(one.unit).dimension for one in replayed.named(line)}


def _vintage(line: Line) -> tuple[str, ...]:
    return tuple(one.id for one in line.parameters if one.grid)


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = EXACT.add(total, value)
    return plain(total)
