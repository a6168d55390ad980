"""Lines as the accounts make them, with what a test cares about set; and a small city that accounts are issued in."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud import subjects
from cloud.accounting import calculate, factors, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.units import quantity
from cloud.store import Store
from tests.cloud.accounting.small_city import SUBJECTS, City

MakeLine = Callable[..., Line]


@pytest.fixture(scope="session")
def power_line() -> Line:
    """1000 MWh bought in June 2025 by S-1 after the general guideline."""
    given = {"AD": Given(quantity("1000 MWh"), "metered", "meter:aa/M-1/p/x/y", uncertainty=Decimal("1"))}
    entry = Entry("24-08", date(2025, 6, 1), date(2025, 7, 1), given)
    (line,) = calculate.lines(method.get("ndrc-24-2015"), [entry], Programme("S-1", factors.builtin()))
    return line


@pytest.fixture(scope="session")
def make_line(power_line: Line) -> MakeLine:
    """A line of ``subject`` with this many tCO2e; ``class_``, ``leaf``, ``supplier`` and the like as asked."""

    def make(subject: str, tco2e: str, **changes: Any) -> Line:
        size = Decimal(tco2e)
        reading = msgspec.structs.replace(power_line.activities[0], reference=f"meter:0f/M-{subject}/energy/a/b")
        changes.setdefault("activities", (reading,))
        return msgspec.structs.replace(
            power_line,
            subject=subject,
            tco2e=size,
            mass=abs(size),
            gwp=Decimal(1),
            sign=-1 if size < 0 else 1,
            **changes,
        )

    return make


@pytest.fixture
def city(full: Any, tmp_path: Path) -> Iterator[City]:
    """A city of a test's own, in which nothing is declared or issued yet."""
    full[0].store.back_up(tmp_path / "collector.db")
    with Store(tmp_path / "collector.db", full[0].key) as store:
        subjects.take(store, "city.toml", SUBJECTS.encode(), by="周", now=full[0].now)
        yield City(store, full[0].now)
