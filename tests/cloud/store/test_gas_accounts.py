"""A gas meter with pressure and temperature beside its counter: from signed blocks to normal cubic metres."""

from decimal import Decimal
from typing import Any

import pytest

from cloud import accounts, metering, subjects
from cloud.accounting import feeds
from cloud.accounting import library as libraries
from cloud.accounting import period as periods
from cloud.accounting.conditions import Conditions
from cloud.accounting.subject import ZONE
from cloud.gauges import conditions
from cloud.store import Store
from protocols import modbus
from protocols.errors import ActivityError, ConfigError, UnitError
from tests.cloud import tables

QUARTER = 900_000
PROFILE = tables.profile(
    "gas-meter",
    """\
points = [
  { id = "volume", fc = 3, address = 0, type = "u32", unit = "m3", kind = "counter", scale = 0.01, modulus = 1000000 },
  { id = "pressure", fc = 3, address = 2, type = "u16", unit = "kPa", kind = "gauge", max = 1000 },
  { id = "temperature", fc = 3, address = 3, type = "i16", unit = "℃", kind = "gauge", scale = 0.1 },
]
""",
    medium="gas",
    period="60s",
    proof=("01 03 00 00 00 04 44 09", "01 03 08 00 00 30 39 01 2C 01 11 77 D1"),
).encode()
SITE = tables.site(tables.device("G-01", "gas-meter")).encode()
SUBJECT = tables.SCHEMA + tables.subject(
    "S-GAS",
    """\
[[subject.meter]]
device = "G-01"
point = "volume"
row = "24-01"
item = "natural_gas"
symbol = "FC"
{how}
""",
    site="plant-7",
)
MEASURED = 'pressure = "pressure"\ntemperature = "temperature"\natmosphere_kpa = "100"\nceiling = "1000 Nm3"'


def answer(volume: int, pressure: int) -> bytes:
    body = bytes([1, 3, 8]) + volume.to_bytes(4) + pressure.to_bytes(2) + (273).to_bytes(2)
    return body + modbus.crc(body).to_bytes(2, "little")


@pytest.fixture
def gas(make_box: Any, store: Store) -> Any:
    """A gateway whose meter counts a m3 a minute at 400 kPa and 27.3 ℃; in its fourth quarter without pressure."""

    box = make_box(site=SITE, profile=PROFILE)
    box.enrol(store, box.utc)
    times = list(range(50, QUARTER, 60_000))
    for quarter in range(8):
        replies = [answer(100_000 + 100 * (15 * quarter + index), 2000 if quarter == 3 else 300) for index in range(15)]
        store.append([box.block(QUARTER, [box.chunk(0, times, replies)])], box.utc + 1000)
    return box


def drawn(store: Store, gas: Any, how: str) -> Any:
    subjects.take(store, "s.toml", SUBJECT.format(how=how).encode(), by="x", now=gas.utc)
    first, after = periods.day_of(gas.utc - 8 * QUARTER, ZONE), periods.day_of(gas.utc + 96 * QUARTER, ZONE)
    period = accounts.period_of(f"{first.id}--{after.id}")
    return accounts.live(store, libraries.build(), "S-GAS", period, gas.utc).content


def held(store: Store, gas: Any) -> Any:
    subject = subjects.get(store, "S-GAS").subject
    (gateway,) = metering.gateways(store, subject, subject.meter[0])
    return gateway, subject.meter[0]


def test_conditions_are_the_means_of_what_was_signed(store: Store, gas: Any) -> None:
    drawn(store, gas, MEASURED)
    gateway, meter = held(store, gas)
    start = gas.utc - 8 * QUARTER
    found = conditions(store, gateway, meter, start, gas.utc)
    assert set(found) == {start + index * QUARTER for index in range(8) if index != 3}
    assert set(found.values()) == {Conditions(Decimal(400), Decimal("300.45"))}


def test_a_volume_becomes_normal_where_it_was_measured_and_the_ceiling_where_it_was_not(store: Store, gas: Any) -> None:
    content = drawn(store, gas, MEASURED)
    gateway, _ = held(store, gas)
    rows = store.series(gateway.id, "G-01", "volume", 0, gas.utc)
    unknown = gas.utc - 5 * QUARTER
    known = sum(row.consumption for row in rows if row.start != unknown)
    normal = known * 400 * Decimal("273.15") / (Decimal("101.325") * Decimal("300.45"))
    (line,) = content.lines
    amount = line.activities[0]
    filled = sum(gap.value for gap in content.filled)
    assert amount.unit == "Nm3" and abs(amount.value - filled - normal) < Decimal("1e-6")
    assert 0 < amount.estimated < 1
    assert any(gap.value == 250 and gap.rule == "ceiling" for gap in content.filled)
    assert feeds.place(amount.reference).device == "G-01"


def test_a_declared_factor_works_as_well(store: Store, gas: Any) -> None:
    content = drawn(store, gas, 'normal = { value = "3.6 Nm3/m3", document = "contract" }')
    rows = store.series(gas.id, "G-01", "volume", 0, gas.utc)
    moved = sum(row.consumption for row in rows)
    assert content.lines[0].activities[0].value == moved * Decimal("3.6")
    assert content.reasons[0] == "account.open"


def test_a_volume_as_it_flowed_is_never_taken_for_a_normal_one(store: Store, gas: Any) -> None:
    with pytest.raises(UnitError, match="FC"):
        drawn(store, gas, "")
    with pytest.raises(ConfigError, match="ceiling"):
        drawn(store, gas, MEASURED.replace('ceiling = "1000 Nm3"', ""))
    swapped = (
        MEASURED.replace('"pressure"', '"x"').replace('"temperature"', '"pressure"').replace('"x"', '"temperature"')
    )
    with pytest.raises(ActivityError, match="found the unit"):
        drawn(store, gas, swapped)
