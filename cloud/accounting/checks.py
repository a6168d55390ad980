"""Cross-checks (多元数据校核): one figure against another that knows the same thing from elsewhere.

Each returns a finding where the two do not go together, else None. What cannot be compared is a finding too: a check
that was not made never looks like one that was passed. Figures are texts with their units; ``id`` names the message
``check.<id>`` and what to do, ``check.<id>.do``. A finding that blocks stands against a lock; one that is open against
a complete one, and a lock with exceptions names it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting import plausible
from cloud.accounting.bounds import Bounds, Limit, along
from cloud.accounting.line import Line
from cloud.accounting.units import ARITHMETIC, Quantity, unit
from drivers.quantity import EXACT
from protocols.errors import UnitError

Severity = Literal["warn", "open", "block"]
SHOWN = Decimal("0.001")
_ZERO, _HUNDRED = Decimal(0), Decimal(100)


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not go together. ``about``: the line, meter, stack or product; ``figures`` fill the message's gaps."""

    id: str
    severity: Severity
    about: str
    figures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mass in t and how wide it is, U95 in percent; None where that is not known."""

    tonnes: Decimal
    percent: Decimal | None

    @property
    def half(self) -> Decimal | None:
        """U95 in t."""
        if self.percent is None:
            return None
        return ARITHMETIC.divide(ARITHMETIC.multiply(abs(self.tonnes), self.percent), _HUNDRED)


@dataclass(frozen=True, slots=True)
class Stocks:
    """What lay there at the start, came in, and lay there at the end."""

    opening: Quantity
    bought: Quantity
    closing: Quantity


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack, two ways to its mass: the calculated one counts, the measured one is its control. Never added.

    ``measured`` is None where too little of the time was; ``missing``: the share of it that was not.
    """

    id: str
    calculated: Estimate
    measured: Estimate | None
    missing: Decimal = _ZERO

    @property
    def en(self) -> Decimal | None:
        """The En score of the two; None where it cannot be told."""
        return None if self.measured is None else en_score(self.measured, self.calculated)


def en_score(first: Estimate, second: Estimate) -> Decimal | None:
    """|a - b| / sqrt(Ua^2 + Ub^2); None where one of them is of unknown width or both are exact."""
    if first.half is None or second.half is None:
        return None
    variance = ARITHMETIC.add(
        ARITHMETIC.multiply(first.half, first.half), ARITHMETIC.multiply(second.half, second.half)
    )
    if not variance:
        return None
    return ARITHMETIC.divide(abs(first.tonnes - second.tonnes), ARITHMETIC.sqrt(variance))


def flue_gas(stack: Stack, bounds: Bounds) -> Finding | None:
    """Measured against calculated mass of a stack by their En score: above 1 warns, above 2 blocks a lock."""
    if stack.measured is None:
        return Finding("flue-gas-missing", "warn", stack.id, {"missing": _told(stack.missing * 100, "%")})
    figures = {
        "measured": _told(stack.measured.tonnes, "tCO2"),
        "calculated": _told(stack.calculated.tonnes, "tCO2"),
    }
    if stack.en is None:
        return Finding("flue-gas-unknown", "warn", stack.id, figures)
    return _beyond("flue-gas", stack.id, stack.en, bounds.en, {**figures, "en": _told(stack.en, "")})


def bill(meter: str, metered: Quantity, billed: Quantity, bounds: Bounds) -> Finding | None:
    """A bill against the meter over the same days."""
    return _apart("bill", meter, metered, billed, bounds.bill)


def stock(item: str, held: Stocks, used: Quantity, bounds: Bounds) -> Finding | None:
    """Opening + bought - closing against what was used."""
    gone = EXACT.subtract(EXACT.add(held.opening.to(used.unit), held.bought.to(used.unit)), held.closing.to(used.unit))
    return _apart("stock", item, used, Quantity(gone, used.unit), bounds.stock)


def carbon(process: str, inputs: Iterable[Quantity], outputs: Iterable[Quantity], bounds: Bounds) -> Finding | None:
    """Carbon into a process against carbon out of it (products, waste, and what was emitted), all in tC."""
    tonne = unit("tC")
    went_in = Quantity(_sum(one.to(tonne) for one in inputs), tonne)
    came_out = Quantity(_sum(one.to(tonne) for one in outputs), tonne)
    return _apart("carbon", process, went_in, came_out, bounds.carbon)


def heat_rate(plant: str, fuel: Quantity, sent_out: Quantity, bounds: Bounds) -> Finding | None:
    """Heat of the fuel for a MWh sent out: less than 3.6 GJ is impossible, outside the usual band somebody looks."""
    energy, power = fuel.to(unit("GJ")), sent_out.to(unit("MWh"))
    figures = {"fuel": _told(energy, "GJ"), "power": _told(power, "MWh")}
    if power <= 0:
        return Finding("heat-rate-none", "warn", plant, figures)
    rate, limit = ARITHMETIC.divide(energy, power), bounds.heat_rate
    figures |= {"rate": _told(rate, "GJ/MWh"), "low": str(limit.low), "high": str(limit.high)}
    if rate < limit.least:
        return Finding("heat-rate-impossible", "block", plant, figures)
    return None if limit.low <= rate <= limit.high else Finding("heat-rate", "warn", plant, figures)


def steam(meter: str, mpa: Decimal, celsius: Decimal, enthalpy: Decimal, bounds: Bounds) -> Finding | None:
    """Enthalpy (kJ/kg) of superheated steam: no less than dry saturated at its absolute pressure (MPa), no more than
    thin steam of its temperature has. Both limits from the tables, straight between their points.
    """
    low, high = along(bounds.saturated, mpa), along(bounds.superheated, celsius)
    figures = {"pressure": _told(mpa, "MPa"), "temperature": _told(celsius, "℃"), "enthalpy": _told(enthalpy, "kJ/kg")}
    if low is None or high is None:
        return Finding("steam-outside", "warn", meter, figures)
    off = max(low - enthalpy, enthalpy - high)
    figures |= {"low": _told(low, "kJ/kg"), "high": _told(high, "kJ/kg")}
    return _beyond("steam", meter, ARITHMETIC.divide(off * 100, enthalpy), bounds.steam, figures)


def oxygen(stack: str, fuel: str, co2: Decimal, o2: Decimal, bounds: Bounds) -> Finding | None:
    """CO2 in dry flue gas (percent) against the most there can be beside the oxygen: CO2max x (1 - O2 / 20.95)."""
    figures = {"co2": _told(co2, "%"), "o2": _told(o2, "%")}
    if fuel not in bounds.flue:
        return Finding("oxygen-unknown", "warn", stack, {**figures, "fuel": fuel})
    left = ARITHMETIC.divide(bounds.oxygen.air - o2, bounds.oxygen.air)
    most = ARITHMETIC.multiply(bounds.flue[fuel], max(_ZERO, left))
    figures["most"] = _told(most, "%")
    if co2 <= most:
        return None
    return _beyond("oxygen", stack, _percent(co2, most), bounds.oxygen, figures)


def composites(lines: Iterable[Line], bounds: Bounds) -> Iterator[Finding]:
    """What a unit of fuel makes in a line against what is published for it: a copied or mistyped factor shows here."""
    for line in lines:
        published = bounds.published.get(line.item)
        amount = next((one for one in line.activities if one.symbol == "FC"), None)
        if published is None or amount is None or line.gas != "CO2" or not amount.value:
            continue
        _, _, each = published.unit.partition("/")
        try:
            used = Quantity(amount.value, unit(amount.unit)).to(unit(each))
        except UnitError:
            continue
        found = ARITHMETIC.divide(line.mass, used)
        figures = {"found": _told(found, published.unit), "published": _told(published.value, published.unit)}
        if (
            one := _beyond("composite", line.id, _percent(found, published.value), bounds.composite, figures)
        ) is not None:
            yield one


def ranges(lines: Iterable[Line]) -> Iterator[Finding]:
    """Parameters outside the range that a guideline prints beside its recommended value."""
    for doubt in plausible.doubts(lines):
        one = doubt.range
        figures = {"found": doubt.found, "low": one.low, "high": one.high}
        told = {name: f"{value:f} {one.unit}".removesuffix(" 1") for name, value in figures.items()}
        yield Finding("range", "warn", doubt.line.id, {"symbol": one.symbol, **told})


def consumption(band: str, used: Quantity, made: Quantity, bounds: Bounds) -> Finding | None:
    """What a product took against the band of its trade."""
    held = bounds.band(band)
    above, _, below = held.unit.partition("/")
    amount = made.to(unit(below))
    if amount <= 0:
        return Finding("consumption-none", "warn", band, {"used": _told(used.value, used.unit.text)})
    found = ARITHMETIC.divide(used.to(unit(above)), amount)
    if held.low <= found <= held.high:
        return None
    figures = {"found": _told(found, held.unit), "low": str(held.low), "high": str(held.high)}
    return Finding("consumption", "warn", band, figures)


def blocking(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What stands against any lock, by name."""
    return _named(findings, "block")


def open_(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What stands against a complete lock, by name."""
    return _named(findings, "open")


def _named(findings: Iterable[Finding], severity: Severity) -> tuple[str, ...]:
    return tuple(f"check.{one.id}: {one.about}" for one in findings if one.severity == severity)


def _apart(id: str, about: str, first: Quantity, second: Quantity, limit: Limit) -> Finding | None:
    """Two figures of one thing, in the first one's unit; beyond the limit in percent of it."""
    other = second.to(first.unit)
    figures = {"first": _told(first.value, first.unit.text), "second": _told(other, first.unit.text)}
    if not first.value:
        return None if not other else Finding(id, "block", about, {**figures, "percent": "∞"})
    percent = _percent(other, first.value)
    return _beyond(id, about, percent, limit, {**figures, "percent": _told(percent, "%")})


def _beyond(id: str, about: str, found: Decimal, limit: Limit, figures: Mapping[str, str]) -> Finding | None:
    if found <= limit.warn:
        return None
    return Finding(id, "block" if found > limit.block else "warn", about, figures)


def _percent(found: Decimal, expected: Decimal) -> Decimal:
    """How far off, in percent of what was expected; beyond every limit where that is 0."""
    if not expected:
        return Decimal("Infinity") if found else _ZERO
    return ARITHMETIC.divide(abs(found - expected) * 100, abs(expected))


def _told(value: Decimal, text: str) -> str:
    shown = value if value.is_infinite() else value.quantize(SHOWN).normalize()
    return f"{shown:f} {text}".strip() if not value.is_infinite() else f"∞ {text}".strip()


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total
