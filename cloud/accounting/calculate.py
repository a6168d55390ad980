"""Entries in, emission lines out: a pure function of method, activity, parameters and factors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from msgspec import UNSET
from msgspec.structs import replace

from cloud.accounting import blocks, gwp, prepared, standing
from cloud.accounting.block import ITEM, Block, Slot
from cloud.accounting.factors import Factor, resolve
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import PLACES, Activity, Line, Used
from cloud.accounting.method import GRID, Method, Row
from cloud.accounting.parameters import Parameter, copied
from cloud.accounting.reductions import Ledger, claim
from cloud.accounting.sameness import named
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC, Unit, unit
from protocols.errors import ActivityError, FactorError, MethodError, UnitError

DRAFT_METHOD = "method.draft"
DRAFT_FACTOR = "factor.draft"
ESTIMATED = "activity.estimated"
UNPROVED = "parameter.unproved"
"""A measured parameter of which only a document's name is known."""
UNDOCUMENTED = "activity.undocumented"
"""A declared amount of which no document's digest is known: it stands on a word."""
WORLD = Decimal("1e18")
"""t of a gas: more than the atmosphere holds of any but nitrogen. What comes to it is a slip or an attack."""
BALANCES = frozenset({"STOCK", "GRID-LOSS"})
"""Blocks whose part of a year may be below 0: what was billed or stored in one month is used in another."""
NEAR, FAR = frozenset({"NCV", "CC", "HV", "rho"}), 5
"""What of one fuel or material is much the same wherever it comes from; and what is too far from its default."""
OFTEN = 4
"""A source that is met more often than this is worth preparing: it costs what three lines do."""


Bound = tuple[Used, Unit, tuple[str, ...]]
"""What a binding resolves to, its unit, and why it is provisional."""
Days = tuple[date | None, date | None]
"""What it is valid for: half open, open where None."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A row for one item and year with all that does not depend on the entry.

    ``refused``: why a symbol has no value of its own, for whoever does not bring one; ``limits``: days of those whose
    validity ends; ``makers``: by symbol and unit of an only activity, and whether it is a word alone, what makes its
    lines in bulk, or how often it was met so far; ``days``: those that were checked.
    """

    row: Row
    block: Block
    gas: str
    leaf: str
    bound: Mapping[str, Bound]
    potential: Decimal
    refused: Mapping[str, FactorError]
    limits: Mapping[str, Days]
    makers: dict[tuple[str, str, bool], prepared.Make | int] = field(default_factory=dict)
    days: dict[tuple[date, date], tuple[str, str]] = field(default_factory=dict)


Sources = dict[tuple[str, str, int], _Source]
"""Row, item and year -> what was worked out of it."""
Known = dict[tuple[str, ...], Sources]
"""What was worked out of a method under grid factors, region, basis and GWP set: the same for every subject."""


def lines(
    method: Method, entries: Iterable[Entry], programme: Programme, shared: Known | None = None
) -> Iterator[Line]:
    """A line for each entry, in order. ActivityError, UnitError, FactorError and MethodError say what does not fit.

    ``shared``: where many accounts are drawn up in a row, what is worked out for one of them serves the others.
    """
    context = (
        method.sha256,
        method.under,
        programme.factors.sha256,
        programme.region,
        programme.basis,
        programme.gwp_set,
        programme.engine,
    )
    known = {} if shared is None else shared.setdefault(context, {})
    seen: dict[tuple[str, str, str], list[tuple[date, date]]] = {}
    ledger = Ledger()
    taken: _Taken = {}
    for entry in entries:
        _apart(entry, seen.setdefault((entry.row, entry.item, entry.label), []))
        key = (entry.row, entry.item, entry.start.year)
        if key not in known:
            known[key] = _source(method, entry, programme)
        source = known[key]
        if source.row.instead_of:
            _once(source.row, entry, taken)
        line = _in_bulk(method, source, entry, programme) or _line(method, source, entry, programme)
        if line.class_ == "reduction":
            claim(ledger, line)
        yield line


def _in_bulk(method: Method, source: _Source, entry: Entry, programme: Programme) -> Line | None:
    """The line of a source that has been met before with the same only activity; None where the long way is due."""
    if len(entry.given) != 1 or (source.row.proof and not named(entry.proof)):
        return None
    [(symbol, own)] = entry.given.items()
    key = (symbol, own.quantity.unit.text, own.word)
    make = source.makers.get(key, 0)
    if isinstance(make, int):
        if make < OFTEN:
            source.makers[key] = make + 1
            return None
        make = source.makers[key] = _maker(method, source, entry, programme) or _NEVER
    if make is _NEVER:
        return None
    span = (entry.start, entry.end)
    days = source.days.get(span)
    if days is None:
        _dated(source, entry)
        days = source.days[span] = prepared.days(*span)
    return make(programme.subject, entry.label, days, _activity(symbol, own), entry.supplier, entry.proof)


def _maker(method: Method, source: _Source, entry: Entry, programme: Programme) -> prepared.Make | None:
    """What makes this source's lines in bulk, after the pattern of a line made the long way; None where none can."""
    [(symbol, own)] = entry.given.items()
    slot = source.block.slot(symbol)
    if slot.kind != "activity" or slot.low != 0 or slot.high is not None:
        return None
    values, *_ = _inputs(source, entry)
    plain_, estimated = (
        _line(method, source, replace(entry, given={symbol: replace(own, estimated=share)}), programme)
        for share in (Decimal(0), Decimal(1))
    )
    return prepared.maker(source.block.formula, values, own.quantity.unit, plain_, estimated)


def _never(*_: object) -> None:
    """Of a source whose lines are only made the long way."""


_NEVER: prepared.Make = _never
_Taken = dict[tuple[str, str], list[tuple[date, date]]]
"""Row and label -> days it was reckoned for."""


def _apart(entry: Entry, spans: list[tuple[date, date]]) -> None:
    """ActivityError where the same source has been reckoned over some of these days."""
    if any(start < entry.end and entry.start < end for start, end in spans):
        raise ActivityError(
            f"{entry.name}: found it twice from {entry.start} on, expected once (a label tells two of one kind apart)"
        )
    spans.append((entry.start, entry.end))


def _once(row: Row, entry: Entry, taken: _Taken) -> None:
    """ActivityError where the same thing was reckoned by another row over some of these days."""
    for other in row.instead_of:
        for start, end in taken.get((other, entry.label), ()):
            if start < entry.end and entry.start < end:
                raise ActivityError(
                    f"{entry.name}: found it beside {other}, which reckons the same thing in another way; "
                    "expected one of them (a label tells two things apart)"
                )
    taken.setdefault((row.row, entry.label), []).append((entry.start, entry.end))


def _source(method: Method, entry: Entry, programme: Programme) -> _Source:
    row = method.row(entry.row)
    if row.status == "RETIRED":
        instead = method.retired.get(row.row, "another row")
        raise MethodError(f"method {method.id}: found the row {row.row} retired, expected {instead}, in its place")
    if row.needs_item() and entry.item not in (items := method.items(row)):
        raise ActivityError(f"{entry.name}: found the item {entry.item!r}, expected one of {', '.join(items)}")
    if not row.needs_item() and entry.item:
        raise ActivityError(f"{entry.name}: found the item {entry.item!r}, expected none")
    gas = entry.item if row.gas == ITEM else row.gas
    bound, refused, limits = {}, {}, {}
    for name, reference in row.bind.items():
        try:
            bound[name], days = _used(method, reference, entry, programme, name)
        except FactorError as error:
            refused[name] = error
            continue
        if days != (None, None):
            limits[name] = days
    return _Source(
        row=row,
        block=blocks.block(row.block),
        gas=gas,
        leaf=_leaf(method, row, entry.item),
        bound=bound,
        potential=gwp.potential(programme.gwp_set or method.gwp, gas),
        refused=refused,
        limits=limits,
    )


def _used(method: Method, reference: str, entry: Entry, programme: Programme, symbol: str) -> tuple[Bound, Days]:
    """What a binding resolves to, and the days it is valid for; FactorError."""
    if reference == GRID:
        choice = resolve(programme.factors, programme.basis, programme.region, entry.start.year)
        factor = choice.factor
        used = _snapshot(symbol, factor, factor.value, "tCO2/MWh", factor.notice)
        return (used, unit("tCO2/MWh"), choice.reasons), (factor.valid_from, factor.valid_until)
    found = method.parameter(reference, entry.item or None)
    amount = found.quantity
    used = _snapshot(symbol, found, amount.value, amount.unit.text, found.document)
    reasons = (DRAFT_FACTOR,) * standing.provisional(found.status)
    return (used, amount.unit, reasons), (found.valid_from, found.valid_until)


def _snapshot(symbol: str, found: Factor | Parameter, value: Decimal, text: str, document: str) -> Used:
    """A factor or parameter as a line keeps it; where it stands in for another one, or was adopted, with that."""
    return Used(
        symbol=symbol,
        value=value,
        unit=text,
        tier=found.tier,
        id=found.id,
        key=found.id,
        status=found.status,
        document=document,
        uncertainty=found.uncertainty,
        set_sha256=found.sha256 if found.imported else UNSET,
        over=found.over or UNSET,
        adoption=found.adoption or UNSET,
    )


def _leaf(method: Method, row: Row, item: str) -> str:
    if isinstance(row.leaf, str):
        return row.leaf
    known = method.items(row)[item]
    for name in (item, known.phase or ""):
        if name in row.leaf:
            return row.leaf[name]
    raise MethodError(f"row {row.row}: found no leaf for {item} ({known.phase}), expected one in {sorted(row.leaf)}")


def _line(method: Method, source: _Source, entry: Entry, programme: Programme) -> Line:
    row, block = source.row, source.block
    _dated(source, entry)
    if row.proof and not named(entry.proof):
        raise ActivityError(f"{entry.name}: found no proof, expected the certificate or contract it rests on")
    values, activities, used, reasons = _inputs(source, entry)
    mass = _mass(entry, block, block.formula.value(values))
    tco2e = ARITHMETIC.multiply(mass, source.potential)
    if standing.provisional(row.status) or standing.provisional(method.status):
        reasons[DRAFT_METHOD] = None
    return Line(
        id=entry.name,
        subject=programme.subject,
        start=entry.start.isoformat(),
        end=entry.end.isoformat(),
        method=method.id,
        edition=method.edition,
        method_sha256=method.sha256,
        row=row.row,
        item=entry.item,
        label=entry.label,
        block=block.id,
        formula=block.formula.text(),
        sign=row.sign,
        gas=source.gas,
        class_=row.class_,
        leaf=source.leaf,
        report=row.report,
        activities=activities,
        parameters=used,
        mass=plain(mass),
        gwp_set=programme.gwp_set or method.gwp,
        gwp=source.potential,
        tco2e=plain(tco2e if row.sign == 1 else tco2e.copy_negate()),
        reasons=tuple(reasons),
        engine=programme.engine,
        supplier=entry.supplier,
        proof=entry.proof,
        adoptions=tuple(dict.fromkeys(by for one in (method.id, row.row) if (by := method.adopted.get(one)))) or UNSET,
    )


def _mass(entry: Entry, block: Block, exact: Decimal) -> Decimal:
    """A mass as lines have it; ActivityError for one that no world could emit, or that is less than nothing.

    What is taken off has a row of its own with a sign: steam of 2.8 kJ/kg is a slip, not a reduction.
    """
    if exact < 0 and block.id not in BALANCES:
        raise ActivityError(f"{entry.name}: found {exact:.6g} t, expected 0 or more: its values do not go together")
    if exact.copy_abs() >= WORLD:
        raise ActivityError(f"{entry.name}: found {exact:.2E} t, expected less than {WORLD:.0E} t")
    return exact.quantize(PLACES, context=ARITHMETIC)


Inputs = tuple[dict[str, Decimal], tuple[Activity, ...], tuple[Used, ...], dict[str, None]]


def _inputs(source: _Source, entry: Entry) -> Inputs:
    """Every symbol's coherent number, what it came from, and what keeps the line provisional."""
    block, given = source.block, entry.given
    for name in given:
        block.slot(name)
    variant = _variant(source, entry)
    values: dict[str, Decimal] = {}
    activities: list[Activity] = []
    used: list[Used] = []
    reasons: dict[str, None] = {}
    for slot in block.slots:
        own = given.get(slot.name)
        if own is not None:
            values[slot.name] = own.quantity.unit.coherent(own.quantity.value)
            _bounded(source, entry, slot, own)
            if own.estimated:
                reasons[ESTIMATED] = None
            if slot.kind == "activity":
                activities.append(_activity(slot.name, own))
                reasons |= {UNDOCUMENTED: None} if own.word else {}
            else:
                used.append(_measured(slot.name, own))
                reasons |= {} if own.proved else {UNPROVED: None}
        elif slot.name in source.bound:
            one, known, why = source.bound[slot.name]
            values[slot.name] = known.coherent(one.value)
            used.append(one)
            reasons.update(dict.fromkeys(why))
        elif slot.name in source.refused:
            raise source.refused[slot.name]
        elif slot.default is not None and slot.name not in source.row.given:
            values[slot.name] = slot.default
            used.append(_default(slot, variant, source.gas))
        else:
            raise ActivityError(f"{entry.name}: found no {slot.name} ({slot.en}), expected it in {slot.units[0]}")
    if "CC" in given and "NCV" in values and copied(values["NCV"], values["CC"]):
        raise ActivityError(f"{entry.name}: found CC = NCV/1000, expected the carbon content, not a copy of the heat")
    return values, tuple(activities), tuple(used), reasons


def _variant(source: _Source, entry: Entry) -> int:
    """Which units of its block's symbols an entry is in; UnitError names its values that are in none."""
    dimensions = {name: one.quantity.unit.dimension for name, one in entry.given.items()}
    for name, (_, known, _) in source.bound.items():
        dimensions.setdefault(name, known.dimension)
    try:
        return source.block.variant(dimensions, source.gas)
    except UnitError as error:
        raise UnitError(f"{entry.name}: {_misfit(source, entry)}") from error


def _misfit(source: _Source, entry: Entry) -> str:
    """Which values are in no unit that goes with the others and with the row's own parameters, and what would do."""
    block, fixed = source.block, {name: one.dimension for name, (_, one, _) in source.bound.items()}
    fixed = {name: dimension for name, dimension in fixed.items() if name not in entry.given}
    fitting = [one for one in range(block.variants) if block.fits(one, fixed, source.gas)]
    found, expected = [], []
    for name, own in entry.given.items():
        units = dict.fromkeys(block.slot(name).unit(variant, source.gas) for variant in fitting)
        if len(entry.given) == 1 or own.quantity.unit.dimension not in {one.dimension for one in units}:
            found.append(f"{name} = {_told(own)}")
            expected.append(f"{name} in {' or '.join(one.text for one in units)}")
    if not found:
        found = [f"{name} = {_told(own)}" for name, own in entry.given.items()]
        expected = ["units of one state (all by mass or all by volume)"]
    return f"found {', '.join(found)}, expected {', '.join(expected)}"


def _told(own: Given) -> str:
    unit_ = own.quantity.unit.text
    return f"{own.quantity.value} {'without a unit' if unit_ == '1' else unit_}"


def _activity(name: str, own: Given) -> Activity:
    amount, unit_ = own.quantity.value, own.quantity.unit.text
    return Activity(name, amount, unit_, own.grade, own.reference, own.sha256, own.by, own.uncertainty, own.estimated)


def _measured(name: str, own: Given) -> Used:
    """A parameter that the subject measured itself: it stands on its own document, and is a draft on its name alone."""
    if not own.reference:
        raise ActivityError(f"{name}: found a measured value without a document, expected the report it comes from")
    reference = own.reference
    return Used(
        symbol=name,
        value=own.quantity.value,
        unit=own.quantity.unit.text,
        tier="measured",
        id=reference,
        key=f"{reference}#{own.sha256}:{name}",
        status="REVIEWED" if own.proved else "DRAFT",
        document=reference,
        uncertainty=own.uncertainty,
    )


def _default(slot: Slot, variant: int, gas: str) -> Used:
    assert slot.default is not None
    text = slot.unit(variant, gas).text
    return Used(slot.name, slot.default, text, "formula", "formula", f"formula:{slot.name}", "REVIEWED", "", Decimal(0))


def _bounded(source: _Source, entry: Entry, slot: Slot, own: Given) -> None:
    """ActivityError for what is outside the slot's bounds, and for heat or carbon that is not near the item's default.

    No two samples of one fuel are a factor of FAR apart: 38.93 MJ/Nm3 written as GJ/1e4Nm3 is a slip.
    """
    coherent = own.quantity.unit.coherent(own.quantity.value)
    if coherent < slot.low or (slot.high is not None and coherent > slot.high):
        expected = f"at least {slot.low}" if slot.high is None else f"from {slot.low} to {slot.high}"
        found = f"{own.quantity.value} {own.quantity.unit.text}"
        raise ActivityError(f"{entry.name}: found {slot.name} = {found}, expected {expected}")
    if slot.name in NEAR and slot.name in source.bound:
        usual, known, _ = source.bound[slot.name]
        near = known.coherent(usual.value)
        if near and not near <= coherent * FAR <= near * FAR * FAR:
            found = f"{own.quantity.value} {own.quantity.unit.text}"
            expected = f"it within a factor of {FAR} of {usual.value} {usual.unit}, the default of this item"
            raise ActivityError(f"{entry.name}: found {slot.name} = {found}, expected {expected}")


def _dated(source: _Source, entry: Entry) -> None:
    if entry.start >= entry.end:
        raise ActivityError(f"{entry.name}: found it from {entry.start} to {entry.end}, expected an end after it")
    if GRID in source.row.bind.values() and entry.start.year != (entry.end - timedelta(days=1)).year:
        raise ActivityError(
            f"{entry.name}: found it across a new year, expected it cut there: each year has its factor"
        )
    for name, days in source.limits.items():
        if name not in entry.given:
            standing.valid(source.bound[name][0].id, days, entry.start, entry.end)
