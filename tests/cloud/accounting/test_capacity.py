"""An amount that meter or plant cannot let through: told in a source's first period, without any other."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cloud import accounts, activities, cross_checks, factor_shelf, subjects
from cloud.accounting import capacity, subject_file
from cloud.accounting import method as methods
from cloud.accounting.line import Line
from cloud.accounting.subject import Subject
from protocols.errors import ConfigError, LockedError, UnitError
from tests.cloud import tables

HEAD = tables.subject_file(tables.subject("S-1"))
BOILER = 'capacity = [{ row = "24-01", item = "natural_gas", symbol = "FC", most = "0.2 1e4Nm3", document = "d" }]\n'
GAS = tables.activity_file("S-1", tables.fuel("natural_gas", "AMOUNT", "2023-06-01", "2023-07-01"))


def plant(text: str) -> Subject:
    """The subject of a file, held against its method."""
    found = subject_file.read("s", (HEAD + text).encode()).subjects["S-1"]
    subject_file.bind(found, methods.get("ndrc-24-2015"))
    return found


@pytest.mark.parametrize(("amount", "told"), [("100 1e4Nm3", False), ("100000 1e4Nm3", True), ("1000000 Nm3", False)])
def test_the_very_first_bill_is_held_against_what_is_installed(house: Any, amount: str, told: bool) -> None:
    """100 units of ten thousand Nm3 over 720 h, of 144 that fit; written a thousand times as many it cannot be."""
    subjects.take(house.store, "s.toml", (HEAD + BOILER).encode(), by="demo", now=house.now)
    activities.declare(house.store, "a.toml", GAS.replace("AMOUNT", amount).encode(), by="demo", now=house.now)
    june = accounts.period_of("2023-06")
    version = accounts.close(house.store, factor_shelf.library(None), "S-1", june, house.now)
    found = [one for one in cross_checks.findings(house.store, version.content) if one.id == "capacity"]
    assert [one.about for one in found] == (["24-01/natural_gas"] if told else [])
    if not told:
        return
    assert (found[0].figures["found"], found[0].figures["most"]) == ("100000 1e4Nm3", "144 1e4Nm3")
    names = ["Li", "Wang"]
    with pytest.raises(LockedError, match=r"check\.capacity: 24-01/natural_gas"):
        accounts.lock(house.store, version.reference, names, house.now, closure="exceptions")
    said = '[[accepted]]\nline = "24-01/natural_gas"\nsymbol = "FC"\nvalue = "100000 1e4Nm3"\nreason = "tank filled"\n'
    file = f'schema = 1\nsubject = "S-1"\nperiod = "2023-06"\n{said}'
    cross_checks.take(house.store, "c.toml", file.encode(), by="Li", now=house.now)
    locked = accounts.lock(house.store, version.reference, names, house.now, closure="exceptions")
    assert any("100000 1e4Nm3 (Li: tank filled)" in one for one in locked.exceptions)


def test_a_meter_is_held_against_its_own_ceiling(make_line: Callable[..., Line]) -> None:
    """A register taken a thousand times too large: 720 h at 2 MWh are 1440 MWh, and no more."""
    meter = 'meter = [{ device = "M-01", point = "energy_import", row = "24-08", symbol = "AD", ceiling = "2 MWh" }]\n'
    line = make_line("S-1", "1")
    read = msgspec.structs.replace(
        line.activities[0], symbol="AD", unit="MWh", value=Decimal(1440), reference="meter:0f/M-01/energy_import/a/b"
    )
    line = msgspec.structs.replace(line, row="24-08", activities=(read,))
    assert list(capacity.beyond([line], plant(meter))) == []
    over = msgspec.structs.replace(line, activities=(msgspec.structs.replace(read, value=Decimal(1440_000)),))
    (found,) = capacity.beyond([over], plant(meter))
    assert found.figures["hourly"] == "2 MWh" and found.severity == "block"
    assert list(capacity.beyond([over], plant(""))) == []
    both = msgspec.structs.replace(line, activities=(read, msgspec.structs.replace(read, value=Decimal("0.001"))))
    assert len(list(capacity.beyond([both], plant(meter)))) == 1, "two parts of a line are one amount"


def test_a_label_bounds_its_own_line_and_a_bound_of_another_kind_is_told(make_line: Callable[..., Line]) -> None:
    one = 'capacity = [{ row = "24-08", label = "north", symbol = "AD", most = "1 MWh", document = "d" }]\n'
    line = make_line("S-1", "1")
    used = msgspec.structs.replace(line.activities[0], symbol="AD", unit="MWh", value=Decimal(721), reference="bill")
    line = msgspec.structs.replace(line, row="24-08", label="south", activities=(used,))
    assert list(capacity.beyond([line], plant(one))) == []
    assert len(list(capacity.beyond([msgspec.structs.replace(line, label="north")], plant(one)))) == 1
    with pytest.raises(UnitError):
        list(
            capacity.beyond(
                [msgspec.structs.replace(line, label="north", activities=(msgspec.structs.replace(used, unit="t"),))],
                plant(one),
            )
        )


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (BOILER.replace("24-01", "24-99"), "24-99"),
        (BOILER.replace('"FC"', '"XY"'), "XY"),
        (BOILER.replace("natural_gas", "no_gas"), "no_gas"),
        (BOILER.replace("0.2 1e4Nm3", "0.2 MWh"), "0.2 MWh"),
        (BOILER.replace("0.2 1e4Nm3", "0 1e4Nm3"), "more than 0"),
    ],
)
def test_a_capacity_that_bounds_nothing_is_refused(held: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plant(held)
