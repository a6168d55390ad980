"""Flows of an account: through its meters and those below them, with what nobody counted by itself; never made up."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cloud import accounts, activities, factor_shelf, subjects, submeters
from cloud.accounting import flow
from cloud.accounting.branch import Branch
from cloud.accounting.flow import Middle
from cloud.accounting.inventory import Version
from cloud.accounting.line import Line
from tests.cloud import tables

HTML = {"accept": "text/html"}
DAY = "2026-10-03"
WORKS = tables.works(f"{tables.energy('M-01')}, {tables.energy('M-04')}, MORE")


@pytest.fixture(scope="module")
def works(full: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A copy of the collector with real signed blocks, to have accounts in."""
    with full[0].copied(tmp_path_factory.mktemp("flow")) as found:
        yield found


def account(house: Any, more: str = "") -> Version:
    subjects.take(house.store, "works.toml", WORKS.replace("MORE", more).encode(), by="w", now=house.now)
    return accounts.close(house.store, factor_shelf.library(None), "WORKS", accounts.period_of(DAY), house.now)


def told(house: Any, version: Version, of: str = "carbon") -> dict[str, Any]:
    answer = house.client.get(f"/v1/accounts/{version.reference}/flow?of={of}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def between(found: dict[str, Any], source: str, target: str) -> Decimal:
    return sum((Decimal(one["value"]) for one in found["flows"]
                if one["source"].endswith(source) and one["target"].endswith(target)), Decimal(0))  # fmt: skip


def test_the_meters_that_the_signed_site_file_names_stand_in_the_middle_and_the_rest_by_itself(
    works: Any, midnight: int
) -> None:
    version = account(works)
    found = told(works, version)
    meters = {one["meter"].split("/")[1]: one["name"]["zh"] for one in found["nodes"] if one["column"] == "meter"}
    assert meters == {"M-01": "M-01 总进线", "M-02": "M-02 办公楼", "M-03": "M-03 空压站", "M-04": "M-04 二路进线"}
    (balance,) = found["meters"]
    (line,) = [one for one in version.content.lines if one.label == "M-01"]
    counted = {one.symbol: one.value for one in line.activities}["AD"]
    assert Decimal(balance["counted"]) == counted
    assert Decimal(balance["counted"]) == Decimal(balance["below"]) + Decimal(balance["rest"])
    gateway = bytes.fromhex(balance["meter"].partition("/")[0])
    (booked,) = works.store.sums(gateway, [("M-03", "energy_import")], midnight, midnight + 86_400_000)
    assert booked.consumption > 0
    assert between(found, "M-01/energy_import", "M-03/energy_import") == pytest.approx(
        line.tco2e * booked.consumption / counted, rel=Decimal("1e-9")
    )


@pytest.mark.parametrize("of", ["carbon", "energy", "electricity"])
def test_nothing_is_lost_or_made_on_the_way(works: Any, of: str) -> None:
    version = account(works)
    found = told(works, version, of)
    for node in found["nodes"]:
        into, out = (sum(Decimal(one["value"]) for one in found["flows"] if one[side] == node["id"])
                     for side in ("target", "source"))  # fmt: skip
        assert into == out or not into or node["id"] == "total", node
    total = between(found, "", "total")
    kwh = sum(one.value for line in version.content.lines for one in line.activities if one.symbol == "AD")
    assert total == {"carbon": version.content.totals.total, "electricity": kwh}.get(of, total) > 0
    assert between(found, "M-01/energy_import", "") > between(found, "rest:", "") >= 0
    assert between(found, "", "M-02/energy_import") < between(found, "", "M-01/energy_import")


def test_a_meter_below_that_has_no_data_is_named_and_is_no_zero(works: Any) -> None:
    more = '{ device = "M-77", point = "energy_import", row = "24-08", symbol = "AD", role = "sub",'
    found = told(works, account(works, more + ' of = "M-01.energy_import", label = "x" },\n'))
    assert [one.split("/")[1] for one in found["meters"][0]["unknown"]] == ["M-77"]
    assert not [one for one in found["nodes"] if "M-77" in one["id"]]


def test_the_subject_file_hangs_meters_below_a_main_one_too_and_none_twice(works: Any) -> None:
    """M-02 is below M-01 by the signed site file already; M-04 is so by the subject file alone."""
    subs = "".join(
        f'{{ device = "{name}", point = "energy_import", row = "24-08", symbol = "AD", role = "sub",'
        f' of = "M-01.energy_import", label = "{name}" }},\n'
        for name in ("M-02", "M-04")
    )
    whole = tables.works(f"{tables.energy('M-01')}, {subs}")
    subjects.take(works.store, "works.toml", whole.encode(), by="w", now=works.now)
    version = accounts.close(works.store, factor_shelf.library(None), "WORKS", accounts.period_of(DAY), works.now)
    found = told(works, version)
    below = [one["target"].split("/")[1] for one in found["flows"] if one["source"].endswith("M-01/energy_import")]
    assert sorted(one for one in below if one.startswith("M-")) == ["M-02", "M-03", "M-04"]
    assert between(found, "", "total") == version.content.totals.total


def tree(line: Line, *below: tuple[str, str | None]) -> dict[str, Branch]:
    (activity,) = [one for one in line.activities if one.grade == "metered"]
    own = tuple(Branch("aa", name, "e", "", None if kwh is None else Decimal(kwh), "kWh", True) for name, kwh in below)
    return {line.digest: Branch("aa", "MAIN", "e", "", activity.value, activity.unit, True, own)}


def test_what_meters_below_counted_more_than_the_one_above_stands_beside_the_total(works: Any) -> None:
    version = account(works)
    line = version.content.lines[0]
    whole = next(one.value for one in line.activities)
    found = flow.diagram([line], Middle(tree(line, ("A", f"{whole}"), ("B", "1"))))
    flows = {(one.source, one.target): one.amount for one in found.flows}
    assert flows["class:indirect", "total"] == line.tco2e
    assert flows["class:indirect", "over"] == flows["meter:aa/MAIN/e", "meter:aa/B/e"] > 0
    assert not [node for node in found.nodes if node.column == "rest"]


def test_a_rest_is_one_flow_and_a_filled_meter_makes_it_an_estimate(works: Any) -> None:
    line = account(works).content.lines[0]
    trees = tree(line, ("A", "1"), ("B", None))
    (main,) = trees.values()
    gappy = {line.digest: replace(main, below=(replace(main.below[0], measured=False), main.below[1]))}
    for given, standing in ((trees, "measured"), (gappy, "estimated")):
        found = flow.diagram([line], Middle(given))
        rests = [one for one in found.flows if one.target.startswith("rest:")]
        assert [one.standing for one in rests] == [standing]
        a = next(one for one in found.flows if one.target == "meter:aa/A/e")
        assert a.amount + rests[0].amount == line.tco2e
        assert a.standing == standing and "meter:aa/B/e" not in {node.id for node in found.nodes}


def test_a_main_meter_with_time_of_which_nothing_is_known_is_not_drawn_as_measured(works: Any) -> None:
    """The record begins with the 3rd of October: of a month before that little is known, of its day all."""
    day = told(works, account(works))
    assert {one["standing"] for one in day["flows"] if "M-04" in one["target"]} == {"measured"}
    library = factor_shelf.library(None)
    month = accounts.close(works.store, library, "WORKS", accounts.period_of("2026-10"), works.now)
    assert {one["standing"] for one in told(works, month)["flows"] if "M-0" in one["target"]} == {"estimated"}


@pytest.mark.parametrize(("lang", "said"), [("zh", "未计量（M-01）"), ("en", "unmetered (M-01)")])
def test_the_page_says_how_it_adds_up_and_each_flow_leads_to_its_line_or_meter(
    works: Any, lang: str, said: str
) -> None:
    version = account(works)
    text = html.unescape(works.client.get(f"/accounts/{version.reference}/flow?lang={lang}", headers=HTML).text)
    assert said in text and "办公楼" in text
    rest = Decimal(told(works, version)["meters"][0]["rest"])
    assert f"{rest:,.2f}".replace(",", "\u202f") in text
    hrefs = set(re.findall(r'data-(?:source-|target-)?href="([^"]+)"', text))
    assert any(one.startswith("/meters/") for one in hrefs) and any("/lines/" in one for one in hrefs)
    for href in hrefs:
        assert works.client.get(href.partition("#")[0], headers=HTML).status_code == 200, href


def test_an_account_without_meters_below_says_how_to_name_them(town: Any) -> None:
    version = accounts.get(town.store, "A-E-08-2026-10")
    assert submeters.trees(town.store, version) == {}
    text = town.client.get(f"/accounts/{version.reference}/flow?lang=zh", headers=HTML).text
    assert "parent" in text and "未计量" not in text.partition("<table")[2]


MAIN = 'metering = [{ class = "indirect_electricity", mode = "MAIN_WITH_BREAKDOWN" }]\n'


def tenant(name: str, share: str = "") -> str:
    member = f'membership = [{{ of = "PARK", from = 2020-01-01{share} }}]\n'
    return tables.subject(name, member, zh=f"租户{name}", en=f"Tenant {name}")


def power(name: str, mwh: str) -> bytes:
    bill = tables.entry("24-08", "2026-09-01", "2026-10-01", f'AD = "{mwh} MWh"\ndocument = "bill"')
    return tables.activity_file(name, bill).encode()


@pytest.mark.parametrize(("other", "rest"), [("60", "0.1"), ("120", "-0.2")])
def test_the_members_behind_a_main_meter_of_a_park_stand_below_it_with_their_share(
    house: Any, other: str, rest: str
) -> None:
    """100 MWh at the park's main meter, 60 of one tenant, 50 % of the other; the rest is nobody's."""
    park = tables.subject("PARK", MAIN, kind="park", category="park")
    file = tables.subject_file(park, tenant("T-1"), tenant("T-2", ', share = "0.5"'))
    subjects.take(house.store, "park.toml", file.encode(), by="w", now=house.now)
    library, month = factor_shelf.library(None), accounts.period_of("2026-09")
    for name, amount in (("PARK", "100"), ("T-1", "60"), ("T-2", "60" if other == "60" else other)):
        activities.declare(house.store, name, power(name, amount), by="w", now=house.now)
        version = accounts.close(house.store, library, name, month, house.now)
    version = accounts.get(house.store, "A-PARK-2026-09")
    found, whole = told(house, version), version.content.totals.total
    assert {one["subject"]: one["name"]["en"] for one in found["nodes"] if one["column"] == "member"} == {
        "T-1": "Tenant T-1", "T-2": "Tenant T-2"
    }  # fmt: skip
    assert between(found, "whole:indirect_electricity", "member:T-1") == whole * Decimal("0.6")
    left = between(found, "whole:indirect_electricity", "rest:whole:indirect_electricity")
    assert left - between(found, "", "over") == whole * Decimal(rest)
    assert between(found, "", "total") == whole
    page = html.unescape(house.client.get(f"/accounts/{version.reference}/flow?lang=zh", headers=HTML).text)
    assert "租户T-2" in page and "/accounts/A-T-1-2026-09%401" in page
    assert told(house, version, "energy")["flows"]
