"""Which meter feeds which row: metered amounts in, entries of an account out, with what is open in them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal

from cloud.accounting import period as periods
from cloud.accounting.electricity import ESTIMATED_EDGE, MISSING, OPEN, SUSPECT
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Filled
from cloud.accounting.metered import Metered
from cloud.accounting.period import Period
from cloud.accounting.statement import Coverage, plain
from cloud.accounting.subject import ZONE, Fixed, Meter
from cloud.accounting.units import ARITHMETIC, Quantity, quantity, unit
from protocols.errors import ActivityError

SQRT3 = ARITHMETIC.sqrt(Decimal(3))
UNCERTAINTY_PLACES = Decimal("1e-4")
METER = "meter:"
"""How the reference of a metered value begins: ``meter:<gateway>/<device>/<point>/<from>/<until>``."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What one meter of a gateway (hex) came to over [start, end) (UTC ms), a part of the period in one year."""

    meter: Meter
    gateway: str
    start: int
    end: int
    found: Metered

    @property
    def label(self) -> str:
        """What tells this source from others of its row and item."""
        return self.meter.label or self.meter.device

    @property
    def line(self) -> str:
        """The id of the line it feeds."""
        return "/".join(part for part in (self.meter.row, self.meter.item, self.label) if part)

    @property
    def reference(self) -> str:
        """The increments it rests on, by meter and instants."""
        place = f"{self.gateway}/{self.meter.device}/{self.meter.point}"
        return f"{METER}{place}/{periods.stamp(self.start, ZONE)}/{periods.stamp(self.end, ZONE)}"


@dataclass(frozen=True, slots=True)
class Place:
    """What the reference of a metered value names."""

    gateway: str
    device: str
    point: str
    start: int
    end: int


def place(reference: str) -> Place | None:
    """The increments a reference names; None when it names no meter."""
    parts = reference.removeprefix(METER).split("/")
    if not reference.startswith(METER) or len(parts) != 5:
        return None
    gateway, device, point, start, end = parts
    return Place(gateway, device, point, periods.instant(start), periods.instant(end))


def parts(meter: Meter, period: Period) -> Iterator[tuple[int, int]]:
    """The parts of a period (UTC ms) over which a meter feeds its row: cut at years and where it begins or ends."""
    since = periods.midnight(meter.since, ZONE) if meter.since else period.start
    until = periods.midnight(meter.until, ZONE) if meter.until else period.end
    for _, start, end in period.years():
        first, last = max(start, since), min(end, until)
        if first < last:
            yield first, last


def entries(fed: Iterable[Fed]) -> list[Entry]:
    """An entry for each source and part of the period; meters of one source and part give its symbols together.

    A source of which nothing is known has no entry: what is not known is not zero.
    """
    sources: dict[tuple[str, str, str, int, int], list[Fed]] = {}
    for one in fed:
        if one.found.amount is not None:
            key = (one.meter.row, one.meter.item, one.label, one.start, one.end)
            sources.setdefault(key, []).append(one)
    return [_entry(own) for own in sources.values()]


def filled(fed: Iterable[Fed]) -> tuple[Filled, ...]:
    """Every gap, with what it was filled with."""
    return tuple(
        Filled(
            line=one.line,
            symbol=one.meter.symbol,
            meter=f"{one.gateway}/{one.meter.device}/{one.meter.point}",
            start=periods.stamp(gap.start, ZONE),
            end=periods.stamp(gap.end, ZONE),
            rule=gap.rule,
            value=gap.amount,
            unit=one.found.unit,
        )
        for one in fed
        for gap in one.found.gaps
    )


def reasons(fed: Sequence[Fed], period: Period, through: int) -> Iterator[str]:
    """Why the metered part is provisional, as message ids."""
    if through < period.end:
        yield OPEN
    if any(not one.found.whole for one in fed):
        yield MISSING
    if any(event.cause == "DATA_ERROR" for one in fed for event in one.found.events):
        yield SUSPECT
    if any(one.found.edge for one in fed):
        yield ESTIMATED_EDGE


def coverage(fed: Iterable[Fed]) -> Coverage:
    """Readings held of those due."""
    counts = [(one.found.readings, one.found.expected) for one in fed]
    return Coverage(sum(readings for readings, _ in counts), sum(expected for _, expected in counts))


def _entry(own: Sequence[Fed]) -> Entry:
    head = own[0]
    given: dict[str, Given] = {}
    for one in own:
        if one.meter.symbol in given:
            name = f"{one.line}.{one.meter.symbol}"
            raise ActivityError(f"{name}: found two meters, expected one (a label tells two of one kind apart)")
        given[one.meter.symbol] = _metered(one)
        for name, fixed in one.meter.given.items():
            given[name] = fixed_value(fixed)
    return Entry(
        row=head.meter.row,
        start=_day(head.start),
        end=_day(head.end),
        given=given,
        item=head.meter.item,
        label=head.label,
        supplier=next((one.meter.supplier for one in own if one.meter.supplier), ""),
    )


def _metered(one: Fed) -> Given:
    assert one.found.amount is not None, "a source without an amount has no entry"
    return Given(
        quantity=Quantity(one.found.amount, unit(one.found.unit)),
        grade="metered",
        reference=one.reference,
        sha256=one.found.sha256,
        uncertainty=uncertainty(one.meter.class_),
        estimated=one.found.estimated,
        proved=True,
    )


def uncertainty(accuracy: str) -> Decimal | None:
    """U95 in percent of a meter whose greatest error is its class, spread evenly: 2 a / sqrt(3), rounded up."""
    if not accuracy:
        return None
    half = ARITHMETIC.divide(ARITHMETIC.multiply(Decimal(2), Decimal(accuracy)), SQRT3)
    return plain(half.quantize(UNCERTAINTY_PLACES, rounding=ROUND_CEILING))


def fixed_value(fixed: Fixed) -> Given:
    """What a subject file says beside a meter: declared, and proved by its document's digest alone."""
    spread = None if fixed.uncertainty is None else Decimal(fixed.uncertainty)
    return Given(
        quantity(fixed.value), "declared", fixed.document, fixed.sha256, uncertainty=spread, proved=bool(fixed.sha256)
    )


def _day(at: int) -> date:
    return periods.day(at, ZONE)
