"""The invented city in a store: Table 1 has its figures, and its baselines rest on accounts that are there."""

from collections.abc import Iterator

import pytest

from cloud import accounts, config, factor_shelf, indicators
from cloud.accounting.inventory import Version
from cloud.city import City
from cloud.pages import city as page
from cloud.store import Store
from simulator import town

NOW = 1_795_692_000_000
"""2026-11-26, UTC ms."""
PERIOD = accounts.period_of("2026-10")


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Version]]]:
    folder = tmp_path_factory.mktemp("town")
    with config.open_store(folder, config.create_key(folder)) as store:
        yield store, town.bring(store, factor_shelf.library(store), 1, ("2026-10",), NOW)


def test_the_four_indicators_of_table_1_are_there_for_the_city_and_its_districts(
    brought: tuple[Store, list[Version]],
) -> None:
    city = City(brought[0])
    for boundary in ("C-01", "D-01", "D-02", "D-03", "D-04"):
        found = page.view(city, NOW, page.Ask(boundary, "2026-10", "total"), "en")
        assert found.bridge is not None and found.bridge.net > 0 and found.missing == ()
        assert found.table1 is not None
        [per], (year, before) = found.table1.intensities, found.table1.changes
        assert per.value is not None and (per.unit, per.name, per.why) == ("tCO2e/person", "per head", "")
        assert year.share is not None and -0.1 < year.share < 0 and year.why == "", boundary
        assert before.share is None and before.why == "there is no account of the period before"


def test_a_baseline_is_the_account_of_the_year_before_with_its_digest(brought: tuple[Store, list[Version]]) -> None:
    store, newest = brought
    city = City(store)
    for name in town.FROZEN:
        [baseline] = city.subject(name).baseline
        then = accounts.get(store, baseline.document).content
        assert (then.digest, f"{then.totals.total:f}", then.period.id) == (baseline.sha256, baseline.tco2e, "2025-10")
        now = next(one.content for one in newest if one.content.subject == name)
        found = indicators.card(city, name, PERIOD).reduction
        assert found.tco2e == then.totals.total - now.totals.total and found.reasons == ()
    table1 = page.view(city, NOW, page.Ask("C-01", "2026-10", "total"), "en").table1
    assert table1 is not None and table1.frozen == len(town.FROZEN) and table1.ledger > 1000
    own = [indicators.card(city, name, PERIOD).reduction.tco2e for name in town.FROZEN]
    assert table1.saved == sum(one for one in own if one is not None)
