"""What an inventory adds up to, and what its names are."""

import itertools
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cloud.accounting import inventory
from cloud.accounting import method as methods
from cloud.accounting.activity_file import entries, read
from cloud.accounting.calculate import lines
from cloud.accounting.factors import builtin
from cloud.accounting.given import Programme
from cloud.accounting.line import Line
from protocols.errors import UnknownNameError

ACTIVITY = b"""
schema = 1
subject = "S-1"
[[activity]]
row = "24-01"
item = "natural_gas"
FC = "10 1e4Nm3"
[[activity]]
row = "24-03"
item = "deep_anaerobic_lagoon"
W = "1000 m3"
COD_in = "2 kgCOD/m3"
COD_out = "0.2 kgCOD/m3"
[[activity]]
row = "24-08"
AD = "1000 MWh"
[[activity]]
row = "24-10"
proof = "GEC-001..GEC-200"
proved = "200 MWh"
purchased = "1000 MWh"
[[activity]]
row = "24-07"
Q = "1 1e4Nm3"
V = "1"
"""


@pytest.fixture(scope="module")
def made() -> list[Line]:
    method = methods.get("ndrc-24-2015")
    file = read("activity.toml", ACTIVITY)
    span = date(2023, 6, 1), date(2023, 7, 1)
    return list(lines(method, entries("activity.toml", file, method, *span), Programme("S-1", builtin())))


def test_the_total_is_direct_fixed_indirect_and_offset(made: list[Line]) -> None:
    found = inventory.totals(made)
    assert found.indirect == Decimal("530.6")
    assert found.offset == Decimal("-106.12")
    assert found.fixed == Decimal("-19.7")
    assert found.total == found.direct + found.indirect + found.offset + found.fixed
    assert sum(found.by_gas.values()) == found.total
    assert sum(found.by_leaf.values()) == found.total


def test_memo_and_reduction_lines_never_enter_the_total(made: list[Line]) -> None:
    aside = [msgspec.structs.replace(made[0], class_=name) for name in ("memo", "reduction")]
    before, after = inventory.totals(made), inventory.totals([*made, *aside])
    assert (after.total, after.by_gas) == (before.total, before.by_gas)
    assert after.memo == after.reduction == made[0].tco2e
    assert sum(after.by_leaf.values()) == before.total + made[0].tco2e


def test_the_order_of_lines_changes_no_sum(made: list[Line]) -> None:
    assert len({msgspec.json.encode(inventory.totals(order)) for order in itertools.permutations(made)}) == 1


def test_a_share_of_an_estimate_counts_by_size_and_never_rounds_down(made: list[Line]) -> None:
    third = Decimal(1) / 3
    filled = msgspec.structs.replace(
        made[2], activities=(msgspec.structs.replace(made[2].activities[0], estimated=third),)
    )
    assert inventory.estimated([filled]) == Decimal("0.333334")
    assert inventory.estimated(made) == inventory.estimated([]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A-S-0012-2026-11@2", ("A-S-0012-2026-11", 2)),
        ("A-S-0012-2026", ("A-S-0012-2026", None)),
        ("A-P.1-2026-12-15--2027-01-15", ("A-P.1-2026-12-15--2027-01-15", None)),
    ],
)
def test_a_reference_names_an_account_and_perhaps_a_version(text: str, expected: tuple[str, int | None]) -> None:
    assert inventory.parse_reference(text) == expected


@pytest.mark.parametrize("text", ["E-S-1-2026-11", "A-S-1", "A-S-1-2026-11@0", "A-S-1-2026-11@", "A--2026-11", ""])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError):
        inventory.parse_reference(text)
