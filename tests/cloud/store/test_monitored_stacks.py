"""A flue-gas monitor beside the fuel of its stack: the mass comes from the signed record, the lock minds it."""

from decimal import Decimal
from typing import Any

import pytest

from cloud import accounts, activities, cross_checks, subjects
from cloud.accounting import library
from cloud.store import Store
from protocols import modbus
from protocols.errors import ConfigError, LockedError
from tests.cloud import tables

HOUR, QUARTER = 3_600_000, 900_000
DAY = "2026-10-03"
PROFILE = tables.profile(
    "stack-monitor",
    """\
points = [
  { id = "co2_mass_rate", fc = 3, address = 0, type = "u32", unit = "kg/h", kind = "rate" },
  { id = "moisture", fc = 3, address = 2, type = "u16", unit = "%", kind = "gauge" },
]
""",
    medium="flue-gas",
    period="15m",
    proof=("01 03 00 00 00 03 05 CB", "01 03 06 00 00 30 39 00 0B E9 48"),
).encode()
SITE = tables.site(tables.device("K-01", "stack-monitor", 'role = "flue-gas"\n')).encode()
SUBJECT = tables.SCHEMA + tables.subject(
    "S-1",
    """\
[[subject.monitor]]
stack = "DA001"
device = "K-01"
lines = {lines}
uncertainty = "{spread}"
document = "comparison 2026-09"
{more}
""",
    site="plant-7",
)
COAL = tables.activity_file("S-1", tables.coal("100 t", DAY, "2026-10-04"))
MADE = Decimal("242.101")
"""t CO2 of the coal: 100 x 24.5 x 0.0275 x 0.98 x 44/12."""


@pytest.fixture
def stack(make_box: Any, store: Store) -> Any:
    """A gateway with a monitor, from the midnight on that begins the day."""
    box = make_box(site=SITE, profile=PROFILE, utc=accounts.period_of(DAY).start)
    box.enrol(store, box.utc)
    return box


def measure(store: Store, box: Any, rate: int, hours: int = 25) -> None:
    """The next hours, a sample of so many kg/h each quarter."""
    body = bytes([1, 3, 6]) + rate.to_bytes(4) + (11).to_bytes(2)
    reply = body + modbus.crc(body).to_bytes(2, "little")
    times = list(range(0, HOUR, QUARTER))
    store.append([box.block(HOUR, [box.chunk(0, times, [reply] * 4)]) for _ in range(hours)], box.utc + 1000)


def closed(store: Store, box: Any, lines: str = '["24-01"]', spread: str = "5", more: str = "") -> Any:
    """The day's account, two days later."""
    source = SUBJECT.format(lines=lines, spread=spread, more=more)
    now = accounts.period_of(DAY).end + 24 * HOUR
    subjects.take(store, "s.toml", source.encode(), by="x", now=now)
    activities.declare(store, "a.toml", COAL.encode(), by="x", now=now)
    return accounts.close(store, library.build(), "S-1", accounts.period_of(DAY), now)


def ids(store: Store, version: Any) -> list[tuple[str, str]]:
    found = cross_checks.findings(store, version.content)
    return [(one.id, one.severity) for one in found if one.id.startswith("flue-gas")]


@pytest.mark.parametrize(
    ("rate", "expected"), [(10_000, []), (11_000, [("flue-gas", "warn")]), (12_500, [("flue-gas", "block")])]
)
def test_measured_mass_comes_from_the_record(store: Store, stack: Any, rate: int, expected: Any) -> None:
    """10 t/h is 240 t beside 242.1 t; U95 of the coal is 3.2 %, of the monitor 5 %."""
    measure(store, stack, rate)
    version = closed(store, stack)
    (found,) = cross_checks.stacks(store, version.content)
    assert found.measured is not None and found.measured.tonnes == Decimal(rate) * 24 / 1000 and not found.missing
    assert abs(found.calculated.tonnes - MADE) < Decimal("0.001")
    assert ids(store, version) == expected


def test_a_stack_that_says_otherwise_is_not_locked(store: Store, stack: Any) -> None:
    measure(store, stack, 20_000)
    version = closed(store, stack)
    with pytest.raises(LockedError, match=r"check\.flue-gas: DA001"):
        accounts.lock(store, version.reference, ["Li", "Wang"], stack.utc, closure="exceptions")


def test_what_was_not_measured_makes_the_mass_wide_and_too_little_is_no_comparison(store: Store, stack: Any) -> None:
    """71 of 96 quarters of an hour at 20 t/h: 480 t, 125 t of it as uncertain as they are large, and 5 % of all."""
    measure(store, stack, 20_000, 18)
    version = closed(store, stack)
    (found,) = cross_checks.stacks(store, version.content)
    assert found.measured is not None and found.measured.half is not None
    assert abs(found.missing - Decimal(25) / 96) < Decimal("1e-9")
    assert abs(found.measured.tonnes - 480) < Decimal("1e-9")
    assert abs(found.measured.half**2 - (24**2 + 125**2)) < Decimal("1e-6")
    assert ids(store, version) == [("flue-gas", "warn")]
    assert ids(store, closed(store, stack, more=f'gateway = "{"0" * 32}"')) == [("flue-gas-missing", "warn")]


def test_a_monitor_that_is_bound_wrongly_is_named(store: Store, stack: Any) -> None:
    measure(store, stack, 10_000)
    version = closed(store, stack, lines='["24-02"]')
    (found,) = cross_checks.findings(store, version.content)
    assert (found.id, found.severity) == ("unmatched", "block") and "24-02" in found.figures["text"]
    assert not cross_checks.stacks(store, version.content)
    with pytest.raises(ConfigError, match=r"monitor\[0\]\.lines"):
        closed(store, stack, lines="[]")
    with pytest.raises(ConfigError, match=r"monitor\[1\]\.stack"):
        twice = '[[subject.monitor]]\nstack = "DA001"\ndevice = "K-02"\nlines = ["24-01"]\nuncertainty = "5"\n'
        closed(store, stack, more=twice + 'document = "x"')
    with pytest.raises(ConfigError, match=r"monitor\[0\]\.uncertainty"):
        closed(store, stack, spread="-1")
