"""The API of accounts: versions, lines, explanations, differences, corrections and exports, over a real store."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloud import accounts, activities, subjects
from cloud.accounting import library as libraries
from cloud.accounting.inventory import inventory_from
from cloud.evidence import account_check
from tests.cloud import tables

DAY = "2026-10-03"
NAME = f"A-S-DEMO-{DAY}"
PLACE = 'place = { lon = "113.3", lat = "23.1" }\nmembership = [{ of = "P-01", from = 2026-01-01 }]\n'
SUBJECTS = tables.subject_file(
    tables.subject("S-DEMO", PLACE + tables.meter("M-01"), site="S-DEMO"),
    tables.subject("P-01", zh="P", en="P", kind="park", category="park", method=""),
).encode()
GAS = tables.activity_file(
    "S-DEMO", tables.fuel("natural_gas", "10 1e4Nm3", DAY, "2026-10-04", 'label = "=boiler"')
).encode()


@pytest.fixture(scope="module")
def house(full: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A collector with an account in two versions, the first of them locked."""
    folder: Path = tmp_path_factory.mktemp("accounts")
    full[0].store.back_up(folder / "collector.db")
    found = type(full[0])(folder, full[0].now)
    store, library, period = found.store, libraries.build(), accounts.period_of(DAY)
    subjects.take(store, "s.toml", SUBJECTS, by="周", now=found.now)
    first = accounts.close(store, library, "S-DEMO", period, found.now)
    accounts.lock(store, first.reference, ["王", "李"], found.now + 1, closure="exceptions")
    activities.declare(store, "gas.toml", GAS, by="王工", now=found.now + 2)
    accounts.close(store, library, "S-DEMO", period, found.now + 3)
    yield found
    found.close()


def get(house: Any, path: str, **parameters: Any) -> Any:
    response = house.client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def test_accounts_are_listed_with_how_they_stand(house: Any) -> None:
    page = get(house, "/v1/accounts")
    (one,) = page["data"]
    assert (one["id"], one["version"], one["state"], one["supersedes"]) == (NAME, 2, "provisional", 1)
    assert page["has_more"] is False
    assert get(house, "/v1/accounts", cursor=page["next_cursor"])["data"] == []
    assert get(house, "/v1/accounts", state="locked")["data"] == []
    assert get(house, "/v1/accounts", subject="P-01")["data"] == []
    assert get(house, "/v1/accounts", period=DAY)["data"] == [one]


def test_an_account_has_its_totals_and_every_version_it_had(house: Any) -> None:
    found = get(house, f"/v1/accounts/{NAME}")
    states = [(version["version"], version["state"], version["locked_by"]) for version in found["versions"]]
    assert states == [(1, "superseded", ["王", "李"]), (2, "provisional", [])]
    assert Decimal(found["total"]["value"]) == Decimal(found["totals"]["direct"]) + Decimal(found["totals"]["indirect"])
    first = get(house, f"/v1/accounts/{NAME}@1")
    assert first["digest"] != found["digest"] and first["closure"] == "exceptions" and first["exceptions"]


def test_an_account_that_nobody_closed_is_shown_as_it_stands(house: Any) -> None:
    found = get(house, "/v1/accounts/A-S-DEMO-2026-10-04")
    assert (found["open"], found["version"], found["reasons"][0]) == (True, 0, "account.open")
    assert get(house, "/v1/accounts/A-S-DEMO-2026-10-04/lines")["data"][0]["row"] == "24-08"


def test_factors_are_told_with_their_standing_and_who_signed(house: Any) -> None:
    drafts = get(house, "/v1/factors", set="ndrc-24-2015-fuels", status="DRAFT")["data"]
    assert drafts and {row["status"] for row in drafts} == {"DRAFT"} and {row["tier"] for row in drafts} == {"default"}
    assert {row["uncertainty"] for row in drafts} == {None}
    grid = get(house, "/v1/factors/cn.grid.national@2023")
    assert (grid["value"], grid["status"], grid["gas"], grid["signed"]) == ("0.5306", "TRANSCRIBED", "CO2", [])
    for path in ("/v1/factors?set=nothing", "/v1/factors/nothing:at-all"):
        refused = house.client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (404, "FAC-701")


def test_lines_are_worked_and_can_be_chosen(house: Any) -> None:
    whole = get(house, f"/v1/accounts/{NAME}/lines")["data"]
    assert [line["row"] for line in whole] == ["24-01", "24-08"]
    assert whole[0]["worked"] == "10 1e4Nm3 · 389.31 GJ/1e4Nm3 · 0.0153 tC/GJ · 0.99 · 44/12"
    assert get(house, f"/v1/accounts/{NAME}/lines", leaf="industry.direct.gas")["data"] == whole[:1]
    assert get(house, f"/v1/accounts/{NAME}/lines", **{"class": "indirect_electricity"})["data"] == whole[1:]


def test_explain_goes_down_to_registers_and_their_blocks(house: Any) -> None:
    found = get(house, f"/v1/accounts/{NAME}/explain", line="24-08")
    (line,) = found["lines"]
    first = line["increments"][0]["first"]
    assert house.client.get(first["block"]).json()["verified"] is True
    assert found["difference"]["activity"] == found["difference"]["total"]
    evidence = line["increments"][0]["statements"][0]["evidence"]
    assert house.client.get(evidence).headers["content-type"] == "application/zip"
    assert house.client.get(f"/v1/accounts/{NAME}/explain?line=24-99").status_code == 404
    assert house.client.get(f"/v1/accounts/{NAME}/lines?class=nonsense").status_code == 422


def test_a_difference_is_split_and_needs_something_to_differ_from(house: Any) -> None:
    found = get(house, f"/v1/accounts/{NAME}/diff")
    assert (found["before"], found["after"]) == (f"{NAME}@1", f"{NAME}@2")
    parts = sum(Decimal(found[name]) for name in ("activity", "factor", "method", "boundary"))
    assert parts == Decimal(found["total"]) > 0
    back = get(house, f"/v1/accounts/{NAME}@1/diff", against=f"{NAME}@2")
    assert Decimal(back["total"]) == -Decimal(found["total"])
    assert house.client.get(f"/v1/accounts/{NAME}@1/diff").status_code == 422


def test_a_version_can_be_made_again(house: Any) -> None:
    found = get(house, f"/v1/accounts/{NAME}/verify")
    assert found["ok"] is True and found["checks"][-1]["detail"] == found["digest"]
    old = get(house, f"/v1/accounts/{NAME}@1/verify")
    assert old["ok"] is True and old["checks"][-1]["outcome"] == "later"


def test_an_export_is_what_the_digest_is_of_and_a_table_opens_in_a_spreadsheet(house: Any) -> None:
    raw = house.client.get(f"/v1/accounts/{NAME}/export").content
    assert hashlib.sha256(raw).hexdigest() == get(house, f"/v1/accounts/{NAME}")["digest"]
    assert len(inventory_from(raw).lines) == 2
    table = house.client.get(f"/v1/accounts/{NAME}/export", params={"format": "csv"})
    text = table.content.decode()
    assert text.startswith("\ufeff") and table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert sum(Decimal(row["tco2e"]) for row in rows) == inventory_from(raw).totals.total
    assert not any(value.startswith("=") for row in rows for value in row.values())
    city = house.client.get("/v1/exports/lines", params={"period": DAY, "format": "json"}).text.splitlines()
    assert [json.loads(line)["digest"] for line in city] == [row["digest"] for row in rows]


def test_the_evidence_of_an_account_is_checked_without_the_collector(house: Any) -> None:
    pack = house.client.get(get(house, f"/v1/accounts/{NAME}")["evidence"])
    assert pack.headers["content-type"] == "application/zip"
    report = account_check.verify(pack.content)
    assert (report.version.reference, report.collector) == (f"{NAME}@2", house.key.public.id.hex())


def test_subjects_say_where_they_are_and_belong(house: Any) -> None:
    found = get(house, "/v1/subjects")["data"]
    assert [(one["id"], one["kind"]) for one in found] == [("P-01", "park"), ("S-DEMO", "enterprise")]
    one = get(house, "/v1/subjects/S-DEMO")
    assert one["belongs_to"] == [{"of": "P-01", "share": "1", "from": "2026-01-01", "until": None}]
    assert one["meter"][0]["device"] == "M-01" and one["accounts"][0]["version"] == 2
    assert one["versions"][0]["by"] == "周"


def test_corrections_say_what_changed_since_why_and_by_whom(house: Any) -> None:
    page = get(house, "/v1/corrections")
    kinds = [(entry["kind"], entry["by"]) for entry in page["data"]]
    assert kinds == [
        ("subject", "周"),
        ("subject", "周"),
        ("account", ""),
        ("mark", "李"),
        ("activity", "王工"),
        ("account", ""),
    ]
    newest = page["data"][-1]
    assert Decimal(newest["new"]) - Decimal(newest["old"]) == Decimal(newest["why"]["activity"])
    assert page["data"][3]["names"] == ["王", "李"] and page["data"][3]["locked"] is True
    assert get(house, "/v1/corrections", cursor=page["next_cursor"])["data"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v1/accounts/{NAME}@9", 404, "ACC-802"),
        ("/v1/accounts/A-S-NONE-2026-10", 404, "API-404"),
        ("/v1/accounts/A-S-DEMO-2020-10-03", 404, "ACC-801"),
        ("/v1/accounts/A-P-01-2026-10-03", 404, "ACC-801"),
        ("/v1/accounts/E-S-DEMO-2026-10-03", 422, "API-422"),
        ("/v1/subjects/S-NONE", 404, "ACC-802"),
        ("/v1/corrections?cursor=x", 422, "API-422"),
        ("/v1/accounts?limit=1", 422, "API-422"),
        (f"/v1/accounts/{NAME}/lines?colour=red", 422, "API-422"),
    ],
)
def test_a_problem_says_its_code_and_what_to_do(house: Any, path: str, status: int, code: str) -> None:
    response = house.client.get(path)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json" and response.json()["fix"]


def test_the_interface_is_described(house: Any) -> None:
    paths = get(house, "/v1/openapi.json")["paths"]
    for path in ("/accounts", "/accounts/{reference}/explain", "/subjects/{subject}", "/corrections", "/exports/lines"):
        assert f"/v1{path}" in paths
