"""Which meters of a gateway count for what, under the configurations in force, and what their registers moved."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting.electricity import PURCHASED, Increment, Mark, MeterRole
from cloud.intervals import Interval, Register
from drivers.installation import Installation
from drivers.quantity import EXACT
from drivers.slots import slots
from protocols.errors import AccountError

ENERGY = "energy_import"
"""The point that holds the energy drawn from the grid; every profile of an electricity meter calls it so."""
KILOWATT_HOURS = {"kWh": Decimal(1), "Wh": Decimal("0.001"), "MWh": Decimal(1000)}
"""What a register counts, in kWh: an account multiplies by it as by a ratio."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A gateway's signed configurations: by number, and the number a block was made under.

    ``numbers`` are those in force over the period: each that a block booked in it names; where there is none, that of
    the newest block before it, or the first of all. A configuration that no block used is in force nowhere.
    """

    gateway: str
    numbers: frozenset[int]
    installation: Callable[[int], Installation]
    number_at: Callable[[int, int], int]


def increments(held: Configured, intervals: Iterable[Interval]) -> tuple[list[MeterRole], list[Increment]]:
    """A gateway's electricity meters over a stretch of its record, and what each moved.

    Every meter of a configuration in force is there, heard or not. What one moved counts for the role it had under the
    configuration that the block of its opening register names, so that a later configuration cannot reach back.
    AccountError for an energy in no unit of it.
    """
    own = sorted((entry for entry in intervals if entry.point == ENERGY), key=lambda entry: (entry.device, entry.start))
    roles = _roles(held, own)
    meters = {meter: None for number in sorted(held.numbers) for meter in roles[number].values()}
    found = []
    for entry in own:
        meter = roles[_number(held, entry.register_start)].get(entry.device)
        if meter is not None:
            meters[meter] = None
            found.append(_increment(meter, entry))
    return sorted(meters, key=lambda meter: (meter.role != PURCHASED, meter.device, meter.role)), found


def _roles(held: Configured, own: Sequence[Interval]) -> dict[int, dict[str, MeterRole]]:
    """Device id -> meter, for each configuration in force and each that these intervals rest on."""
    numbers = held.numbers | {_number(held, entry.register_start) for entry in own}
    return {number: _meters(held, number) for number in sorted(numbers)}


def _meters(held: Configured, number: int) -> dict[str, MeterRole]:
    installation = held.installation(number)
    return {
        device.id: MeterRole(held.gateway, device.id, ENERGY, device.role)
        for device in installation.site.device
        if installation.profiles[device.profile].medium == "electricity"
    }


def _number(held: Configured, register: Register) -> int:
    return held.number_at(register.epoch, register.seq)


def _increment(meter: MeterRole, entry: Interval) -> Increment:
    factor = KILOWATT_HOURS.get(entry.unit)
    if factor is None:
        known = ", ".join(KILOWATT_HOURS)
        raise AccountError(f"{meter.device}.{entry.point}: found the unit {entry.unit!r}, expected one of {known}")
    until, expected = _known(entry)
    return Increment(
        meter=meter,
        start=entry.start,
        end=entry.end,
        until=until,
        opening=_mark(entry.register_start),
        closing=_mark(entry.register_end),
        rolled=entry.rolled,
        multiplier=EXACT.multiply(entry.multiplier, factor),
        kwh=None if entry.consumption is None else EXACT.multiply(entry.consumption, factor),
        quality="suspect" if entry.quality == "absent" else entry.quality,
        readings=entry.readings,
        expected=expected,
    )


def _known(entry: Interval) -> tuple[int, int]:
    """How far an interval is known, and the readings due up to there.

    To its end, once a later reading closed it. Else to its newest reading.
    """
    if entry.closed or not entry.expected:
        return entry.end, entry.expected
    until = max(entry.start, entry.position)
    return until, entry.expected - len(slots(entry.period_ms, until + 1, entry.end))


def _mark(register: Register) -> Mark:
    return Mark(register.value, register.at, register.epoch, register.seq)
