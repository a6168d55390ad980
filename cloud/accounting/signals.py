"""What early warning listens to (碳排放预警): each signal a level of its own kind, with the figures that made it. Pure.

    quota, target  emitted so far over the even path of the year, with the days that are left at this pace; days that
                   have no account count with the mean of those that have
    ewma, cusum    drift of an intensity from the same months of the year before, or while these are not held from where
                   it was: small shifts early, in units of its own spread
    missing        what is not held of what is due, or fills gaps
    uncertainty    how much wider the account is than the one before
    flue-gas       measured against calculated mass
    shared         subjects that count one meter, as gateways are set up now

A signal that cannot be given is None: it neither raises a warning nor clears one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal

import msgspec

from cloud.accounting.subject import Target
from cloud.accounting.units import ARITHMETIC
from drivers import toml
from drivers.quantity import EXACT
from protocols.errors import ConfigError

Kind = Literal["quota", "target", "ewma", "cusum", "missing", "uncertainty", "flue-gas", "shared"]
KINDS: tuple[Kind, ...] = ("quota", "target", "ewma", "cusum", "missing", "uncertainty", "flue-gas", "shared")
LEAST = 6
"""Periods that say where an intensity was, before anything can be said of its drift."""
SHOWN = Decimal("0.001")
HALF_ROOT_PI = Decimal("0.88622692545")
_ZERO, _ONE = Decimal(0), Decimal(1)


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"raise_": "raise"}):
    """Where a warning is raised, cleared and critical. ``weight``, ``limit``: of a chart (lambda and L, or k and h)."""

    raise_: Decimal
    clear: Decimal
    critical: Decimal
    weight: Decimal = Decimal(0)
    limit: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Signal:
    """How far something has come, in the unit of its kind's levels; ``about``: the target, the product, the meter."""

    kind: Kind
    subject: str
    about: str
    level: Decimal
    figures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Burn:
    """A year's target: emitted up to (not including) ``day``, the even path, and how long it lasts at this pace.

    ``expected``: emitted, with the days that have no account at the mean of those that have: what was left out never
    makes a quota last longer. ``days_left`` is None where nothing was emitted; 0 when it is used up. ``year_left``:
    days that the year has left.
    """

    target: Target
    day: date
    emitted: Decimal
    expected: Decimal
    path: Decimal
    days_left: int | None
    year_left: int

    @property
    def ratio(self) -> Decimal | None:
        """Expected over the path; None on the first day, or of a target of nothing that nothing was emitted under."""
        if self.path:
            return ARITHMETIC.divide(self.expected, self.path)
        return Decimal("Infinity") if self.expected > 0 and not Decimal(self.target.tco2e) else None


def levels(source: bytes | None = None) -> Mapping[Kind, Level]:
    """The levels by kind, built in or out of a file; ConfigError where clear is not below raise."""
    return _builtin() if source is None else _read(source)


@cache
def _builtin() -> Mapping[Kind, Level]:
    return _read(files("cloud.accounting").joinpath("warning_levels.toml").read_bytes())


def _read(source: bytes) -> Mapping[Kind, Level]:
    tables = toml.parse(source, "warning levels")
    if tables.pop("schema", None) != 1 or set(tables) != set(KINDS):
        raise ConfigError("warning levels", ", ".join(tables) or "nothing", f"schema 1 and {', '.join(KINDS)}")
    found: dict[Kind, Level] = {}
    for kind in KINDS:
        level = toml.convert(tables[kind], Level, f"warning levels: {kind}")
        if not _ZERO <= level.clear < level.raise_ < level.critical:
            raise ConfigError(f"warning levels: {kind}", f"clear {level.clear}", "clear below raise below critical")
        found[kind] = level
    return found


def burn_down(target: Target, emitted: Decimal, day: date, expected: Decimal | None = None) -> Burn:
    """Where a year's target stands: ``emitted`` is of its year up to ``day`` (within it, or the day after it).

    ``expected``: as in a burn, where some of these days have no account.
    """
    first, last = date(target.year, 1, 1), date(target.year + 1, 1, 1)
    day = min(max(day, first), last)
    gone, whole = (day - first).days, (last - first).days
    amount = Decimal(target.tco2e)
    path = ARITHMETIC.divide(EXACT.multiply(amount, Decimal(gone)), Decimal(whole))
    used = emitted if expected is None else expected
    left: int | None = None
    if used >= amount:
        left = 0
    elif used > 0 and gone:
        pace = ARITHMETIC.divide(used, Decimal(gone))
        left = int(ARITHMETIC.divide(amount - used, pace).to_integral_value(ROUND_FLOOR))
    return Burn(target, day, emitted, used, path, left, (last - day).days)


def burning(subject: str, burn: Burn) -> Signal | None:
    """The signal of a target; None on the first day of its year."""
    ratio = burn.ratio
    if ratio is None:
        return None
    kind: Kind = "quota" if burn.target.kind == "quota" else "target"
    used_up = "" if burn.days_left is None else str(burn.day + timedelta(days=min(burn.days_left, 36500)))
    figures = {
        "emitted": _told(burn.emitted) + ("" if burn.expected == burn.emitted else f" (≈ {_told(burn.expected)})"),
        "amount": burn.target.tco2e,
        "path": _told(burn.path),
        "days": "–" if burn.days_left is None else str(burn.days_left),
        "until": used_up or "–",
        "year": str(burn.target.year),
    }
    return Signal(kind, subject, str(burn.target.year), ratio, figures)


def drift(
    subject: str,
    about: str,
    values: Sequence[Decimal],
    reference: int = LEAST,
    before: Sequence[Decimal | None] = (),
) -> tuple[Signal, ...]:
    """EWMA and CUSUM of an intensity, oldest first. ``before``: of each value what the same month of the year before
    had, None where that is not held.

    Where the newest and at least ``reference`` values have one, the differences are charted, so that no season is
    taken for a drift. Else the first ``reference`` values say where it was: empty while there are no more than these,
    or where they do not spread at all and nothing moved.
    """
    pairs = [(value, was) for value, was in zip(values, before, strict=False) if was is not None]
    if reference >= LEAST and len(pairs) >= reference and before[-1] is not None:
        distances = _from_last_year([EXACT.subtract(value, was) for value, was in pairs], values, reference)
        figures = {"before": f"{before[-1]:.4g}", "last": f"{values[-1]:.4g}"}
        return _charted(subject, about, distances, figures)
    if reference < LEAST or len(values) <= reference:
        return ()
    mean, spread = _spread(values[:reference])
    after = values[reference:]
    if not spread:
        if all(value == mean for value in after):
            return ()
        spread = _least_spread(mean)
    distances = [ARITHMETIC.divide(value - mean, spread) for value in after]
    return _charted(subject, about, distances, {"mean": f"{mean:.4g}", "last": f"{values[-1]:.4g}"})


def _charted(subject: str, about: str, distances: Sequence[Decimal], figures: Mapping[str, str]) -> tuple[Signal, ...]:
    known = levels()
    charts: dict[Kind, Decimal] = {
        "ewma": ewma(distances, known["ewma"]),
        "cusum": cusum(distances, known["cusum"]),
    }
    return tuple(
        Signal(kind, subject, about, abs(found), {**figures, "direction": "+" if found > 0 else "-"})
        for kind, found in charts.items()
    )


def _from_last_year(moved: Sequence[Decimal], values: Sequence[Decimal], reference: int) -> list[Decimal]:
    """How far from no change at all, in units of the spread of the first ``reference`` differences.

    The spread is that of a chart of individual values, by what lies between each and the next: two draws of a normal
    spread s are 2 s / sqrt(pi) apart in the mean. A step that all of them share does not widen it.
    """
    apart = [abs(EXACT.subtract(after, first)) for first, after in pairwise(moved[:reference])]
    spread = ARITHMETIC.divide(ARITHMETIC.multiply(sum(apart, _ZERO), HALF_ROOT_PI), Decimal(len(apart)))
    return [ARITHMETIC.divide(one, spread or _least_spread(_spread(values)[0])) for one in moved]


def _least_spread(mean: Decimal) -> Decimal:
    """What stands for the spread of a reference that has none: a thousandth of it."""
    return max(ARITHMETIC.multiply(abs(mean), Decimal("0.001")), Decimal("1e-12"))


def ewma(distances: Sequence[Decimal], level: Level) -> Decimal:
    """Exponentially weighted mean of standard distances over its own limit, signed: beyond 1 it has moved."""
    mean = _ZERO
    rest = EXACT.subtract(_ONE, level.weight)
    for distance in distances:
        mean = ARITHMETIC.add(ARITHMETIC.multiply(level.weight, distance), ARITHMETIC.multiply(rest, mean))
    settled = EXACT.subtract(_ONE, ARITHMETIC.power(rest, 2 * len(distances)))
    variance = ARITHMETIC.multiply(ARITHMETIC.divide(level.weight, 2 - level.weight), settled)
    return ARITHMETIC.divide(mean, ARITHMETIC.multiply(level.limit, ARITHMETIC.sqrt(variance)))


def cusum(distances: Sequence[Decimal], level: Level) -> Decimal:
    """The greater of the upward and downward sums over h, signed."""
    up = down = _ZERO
    for distance in distances:
        up = max(_ZERO, ARITHMETIC.add(up, distance - level.weight))
        down = max(_ZERO, ARITHMETIC.subtract(down, distance + level.weight))
    return ARITHMETIC.divide(up if up >= down else -down, level.limit)


def missing(subject: str, about: str, held: int, due: int, estimated: Decimal) -> Signal | None:
    """What is not held of the readings due, or the share of the emissions that fills gaps: the greater."""
    if not due and not estimated:
        return None
    lost = ARITHMETIC.divide(Decimal(max(0, due - held)), Decimal(due)) if due else _ZERO
    figures = {"held": str(held), "due": str(due), "lost": _percent(lost), "estimated": _percent(estimated)}
    return Signal("missing", subject, about, max(lost, estimated), figures)


def wider(subject: str, about: str, now: Decimal | None, before: Decimal | None) -> Signal | None:
    """How much wider an account is than the one before (both U95, percent); None where one of them has no width."""
    if now is None or not before:
        return None
    return Signal(
        "uncertainty", subject, about, ARITHMETIC.divide(now, before), {"now": str(now), "before": str(before)}
    )


def flue_gas(subject: str, stack: str, score: Decimal | None) -> Signal | None:
    """The En score of a stack."""
    return None if score is None else Signal("flue-gas", subject, stack, score, {"en": _told(score)})


def shared(subject: str, meter: str, counting: int, figures: Mapping[str, str]) -> Signal:
    """How many subjects count a meter: one is as it should be."""
    return Signal("shared", subject, meter, Decimal(counting), figures)


def _spread(values: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """Mean and standard deviation of a sample."""
    count = Decimal(len(values))
    mean = ARITHMETIC.divide(sum(values, _ZERO), count)
    squares = sum((ARITHMETIC.multiply(value - mean, value - mean) for value in values), _ZERO)
    return mean, ARITHMETIC.sqrt(ARITHMETIC.divide(squares, count - 1))


def _told(value: Decimal) -> str:
    return f"{value.quantize(SHOWN).normalize():f}" if value.is_finite() else "∞"


def _percent(share: Decimal) -> str:
    return _told(share * 100)
