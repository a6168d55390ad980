"""Indicators, rankings, targets and warnings over a small city in a real store, as the API and the command line say."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from cloud import accounts, activities, early_warning, factor_shelf, indicator_show, indicators, subjects
from cloud.account_commands import account as commands
from cloud.accounting import signed_activity
from cloud.accounting.library import Library
from cloud.accounting.signed_acknowledgement import (
    ACKNOWLEDGEMENT_AAD,
    ACKNOWLEDGEMENT_TYPE,
    Acknowledgement,
    open_acknowledgement,
    sign,
)
from cloud.city import City
from cloud.config import create_key, open_store
from cloud.packed import unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import LockedError, UnknownNameError
from protocols.record import cose
from protocols.record.cose import PrivateKey
from tests.cloud import tables

MONTHS = ("2022-05", "2022-06", "2023-05", "2023-06")
IN_PARK = 'membership = [{ of = "P-01", from = 2020-01-01 }]\n'
FLOUR = """[[subject.denominator]]
kind = "output"
product = "flour"
value = "{value}"
period = "{period}"
document = "{document}"
"""
BASELINE = f'''[[subject.baseline]]
id = "B-1"
period = "2022-06"
tco2e = "700"
method = "ndrc-24-2015"
document = "signed baseline"
sha256 = "{"ab" * 32}"
'''
SUBJECTS = tables.subject_file(
    tables.subject(
        "CITY",
        'target = [{ year = 2023, tco2e = "3000", kind = "target" }]\n',
        kind="city",
        category="park",
        method="",
    ),
    tables.subject(
        "P-01", 'membership = [{ of = "CITY", from = 2020-01-01 }]\n', kind="park", category="park", method=""
    ),
    tables.subject(
        "BOILER",
        IN_PARK + 'target = [{ year = 2023, tco2e = "4000", kind = "quota", document = "quota 7" }]\n',
        zh="热力厂",
        en="Heat plant",
    ),
    tables.subject(
        "MILL",
        IN_PARK
        + FLOUR.format(value="5000 t", period="2023-05", document="report 5")
        + FLOUR.format(value="2000 t", period="2023-06", document="report 6")
        + BASELINE,
        zh="面粉厂",
        en="Mill",
    ),
)


def declared(subject: str, month: str, *rows: tuple[str, str]) -> bytes:
    """Bills of a month: row and what is told of it."""
    year, number = month.split("-")
    end = f"{year}-{int(number) + 1:02}-01"
    entries = (tables.entry(row, f"{month}-01", end, f"document = 'bill'\n{told}") for row, told in rows)
    return tables.activity_file(subject, *entries).encode()


def fill(store: Any, now: int) -> Library:
    library = factor_shelf.library(None)
    subjects.take(store, "city.toml", SUBJECTS.encode(), by="demo", now=now)
    for month in MONTHS:
        for subject, rows in {
            "BOILER": (("24-01", "item = 'anthracite'\nFC = '500 t'"),),
            "MILL": (
                ("24-11", "AD = '1000 GJ'\nsupplier = 'BOILER'"),
                ("24-08", "AD = '1000 MWh'"),
            ),
        }.items():
            activities.declare(store, month, declared(subject, month, *rows), by="demo", now=now)
            accounts.close(store, library, subject, accounts.period_of(month), now)
    return library


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, City]]:
    """A folder of a collector with a boiler that sells its heat to a mill of the same park; shared, only looked at."""
    folder = tmp_path_factory.mktemp("small")
    with open_store(folder, create_key(folder)) as store:
        fill(store, 1_700_000_000_000)
        yield folder, City(store)


def run(folder: Path, *words: str, lang: str = "en") -> Any:
    found = CliRunner().invoke(commands, [*words, "--data", str(folder)], env={"TANMETER_LANG": lang})
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_park_counts_the_heat_that_its_boiler_sold_inside_once(small: tuple[Path, City]) -> None:
    folder, _ = small
    park = json.loads(run(folder, "indicators", "P-01", "2023-06", "--json"))
    mill = json.loads(run(folder, "indicators", "MILL", "2023-06", "--json"))
    boiler = json.loads(run(folder, "indicators", "BOILER", "2023-06", "--json"))
    assert Decimal(mill["bridge"]["net"]) == Decimal("640.6"), "1000 GJ x 0.11 and 1000 MWh x 0.5306"
    coal = Decimal(boiler["bridge"]["net"])
    assert Decimal(park["bridge"]["gross"]) == coal + Decimal("640.6")
    assert Decimal(park["bridge"]["net"]) == coal + Decimal("530.6")
    assert park["bridge"]["eliminations"] == [
        {"line": "24-11", "subject": "MILL", "supplier": "BOILER", "tco2e": "110"}
    ]
    nodes = {node["id"]: node for node in park["tree"]}
    assert Decimal(nodes["emission"]["tco2e"]) == Decimal(park["bridge"]["net"])
    assert nodes["industry.indirect.heat"]["tco2e"] == "0" and nodes["park"]["lines"] == 0
    assert len(nodes) == 128 and park["by_kind"]["enterprise"]["subjects"] == 2
    city = json.loads(run(folder, "indicators", "CITY", "2023-06", "--json"))
    assert city["bridge"]["net"] == park["bridge"]["net"] and city["locked_share"] == "0"


def test_the_four_indicators_of_a_subject(small: tuple[Path, City]) -> None:
    mill = json.loads(run(small[0], "indicators", "MILL", "2023-06", "--json"))
    assert mill["total"] == {"tco2e": "640.6", "reasons": []}
    (intensity,) = mill["intensity"]
    assert (intensity["value"], intensity["unit"], intensity["documents"]) == ("0.3203", "tCO2e/t", ["report 6"])
    yoy, mom = mill["change"]
    assert (yoy["against"], yoy["tco2e"], yoy["effects"]["vintage"], yoy["effects"]["activity"]) == (
        "yoy",
        "-6",
        "-6",
        "0",
    )
    assert (mom["tco2e"], mom["percent"]) == ("0", "0")
    assert (mill["reduction"]["baseline"], mill["reduction"]["tco2e"]) == ("B-1", "59.4")
    assert mill["uncertainty"]["lower_bound"] is True and mill["uncertainty"]["unknown"]
    both = json.loads(run(small[0], "indicators", "MILL", "2023-05-01--2023-07-01", "--json"))
    assert both["intensity"][0]["value"] == "0.183028571", "1281.2 t over 7000 t, no mean of 0.12812 and 0.3203"


def test_nothing_is_divided_compared_or_saved_where_a_source_leaves_days_out(tmp_path: Path) -> None:
    """The mill's power of June is of 20 days: its tonnes stand as they are, and say what they lack."""
    now, part = 1_700_000_000_000, declared("MILL", "2023-06", ("24-11", "AD = '1000 GJ'\nsupplier = 'BOILER'"))
    with open_store(tmp_path, create_key(tmp_path)) as store:
        library = fill(store, now)
        whole = activities.listing(store, "MILL")[-1]
        power = b"[[activity]]\nfrom = 2023-06-01\nuntil = 2023-06-21\nrow = '24-08'\nAD = '1000 MWh'\n"
        source = part.replace(b"[[", f"replaces = '{whole.sha256}'\n[[".encode(), 1) + power
        activities.declare(store, "part", source, by="demo", now=now)
        assert accounts.close(store, library, "MILL", accounts.period_of("2023-06"), now).version == 2
    mill = json.loads(run(tmp_path, "indicators", "MILL", "2023-06", "--json"))
    told = ["indicator.days"]
    assert mill["total"] == {"tco2e": "640.6", "reasons": told}, "no figure is lower for it"
    assert (mill["intensity"][0]["value"], mill["intensity"][0]["reasons"]) == (None, told)
    assert [(one["percent"], one["reasons"]) for one in mill["change"]] == [(None, told), (None, told)]
    assert (mill["reduction"]["tco2e"], mill["reduction"]["reasons"]) == (None, told)
    park = json.loads(run(tmp_path, "indicators", "P-01", "2023-06", "--json"))
    assert park["total"]["reasons"] == told and park["change"][0]["reasons"] == told
    ranked = json.loads(run(tmp_path, "rankings", "CITY", "2023-06", "--json"))["data"]
    assert [(row["subject"], row["reasons"]) for row in ranked] == [("BOILER", []), ("MILL", told)]
    quota = next(
        one for one in json.loads(run(tmp_path, "targets", "2023", "--json"))["data"] if one["subject"] == "CITY"
    )
    assert quota["reasons"] == ["indicator.incomplete", *told]
    assert "leaves days of the period out" in run(tmp_path, "indicators", "MILL", "2023-06")


def test_a_period_without_all_accounts_has_no_total(small: tuple[Path, City]) -> None:
    park = json.loads(run(small[0], "indicators", "P-01", "2023", "--json"))
    assert park["total"] == {"tco2e": None, "reasons": ["indicator.incomplete"]}
    assert park["incomplete"] == ["BOILER", "MILL"] and len(park["accounts"]) == 4


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("zh", ("碳排放总量", "工业企业", "火电", "1,691.984")),
        ("en", ("Total emissions", "Coal", "Change against the year before: -0.3534 %")),
    ],
)
def test_a_person_reads_the_tree(small: tuple[Path, City], lang: str, words: tuple[str, ...]) -> None:
    told = run(small[0], "indicators", "CITY", "2023-06", lang=lang)
    assert all(word in told for word in words), told


def test_rankings_put_who_has_no_figure_at_the_end_and_say_why(small: tuple[Path, City]) -> None:
    folder, _ = small
    total = json.loads(run(folder, "rankings", "CITY", "2023-06", "--json"))["data"]
    assert [(row["place"], row["subject"]) for row in total] == [(1, "BOILER"), (2, "MILL")]
    intensity = json.loads(run(folder, "rankings", "CITY", "2023-06", "--by", "intensity", "--json"))["data"]
    assert [(row["place"], row["reasons"]) for row in intensity] == [
        (None, ["indicator.grade"]),
        (None, ["indicator.grade"]),
    ]
    change = json.loads(run(folder, "rankings", "CITY", "2023-06", "--by", "change", "--json"))["data"]
    assert all(row["value"] == "0" for row in change)
    assert "grade D" in run(folder, "rankings", "CITY", "2023-06", "--by", "intensity")


ALONE = tables.subject_file(
    tables.subject(
        "HALL",
        IN_PARK + 'metering = [{ class = "indirect_electricity", mode = "MAIN_WITH_BREAKDOWN" }]\n',
        kind="building",
        category="building",
        method="gbt-51366-2019",
    )
)
HALL = (
    ("51366-02", "label = 'a'\nAD = '100 MWh'"),
    ("51366-02", "label = 'b'\nAD = '30 MWh'"),
    ("51366-09", "AD = '20 t'\nEF = '0.9 tCO2/t'\nproof = 'sink 1'"),
)
TRADER = (("24-11", "AD = '70 GJ'\nsupplier = 'BOILER'"), ("24-14", "AD = '900 GJ'"))


def test_who_has_no_members_is_told_without_a_roll_up_what_a_roll_up_says(house: Any, town: Any) -> None:
    library = fill(house.store, house.now)
    subjects.take(house.store, "more.toml", ALONE.encode(), by="demo", now=house.now)
    for subject, rows in {"HALL": HALL, "BOILER": TRADER}.items():
        activities.declare(house.store, "more", declared(subject, "2023-06", *rows), by="demo", now=house.now)
        accounts.close(house.store, library, subject, accounts.period_of("2023-06"), house.now)
    small, invented = City(house.store), City(town.store)
    periods = (("2023-06", small), ("2023", small), ("2023-05-01--2023-07-01", small), ("2026-10", invented))
    for period, city in ((accounts.period_of(text), city) for text, city in periods):
        looks = {name: city.look(name, period).brief for name in city.subjects()}
        assert city.briefs(looks, period) == looks
    hall = small.briefs(["HALL"], accounts.period_of("2023-06"))["HALL"]
    assert hall.reduction == -18 and hall.net > 0 and len(looks) > 34


def test_a_ranking_says_of_everybody_what_the_card_says(town: Any) -> None:
    city, period = City(town.store), accounts.period_of("2026-10")
    found = {by: indicators.ranking(city, "C-01", period, by) for by in ("total", "change", "reduction")}
    cards = {row.subject.id: indicators.card(city, row.subject.id, period) for row in found["total"]}
    assert len(cards) == 4
    for row in found["change"]:
        change = cards[row.subject.id].changes[-1]
        assert (change.against, change.percent, change.reasons) == ("mom", row.value, row.reasons)
        assert change.percent and change.difference and change.difference.total == change.tco2e
    assert all(row.value == cards[row.subject.id].look.brief.total.tco2e for row in found["total"])
    assert all(row.value == cards[row.subject.id].reduction.ledger for row in found["reduction"])
    assert [row.value for row in found["change"]] == sorted((row.value for row in found["change"]), reverse=True)


def test_targets_burn_down_over_members_too(small: tuple[Path, City]) -> None:
    found = json.loads(run(small[0], "targets", "2023", "--json"))["data"]
    city, boiler = (next(one for one in found if one["subject"] == name) for name in ("CITY", "BOILER"))
    assert city["through"] == boiler["through"] == "2023-07-01"
    assert Decimal(city["emitted"]) > Decimal(boiler["emitted"]) and city["reasons"] == ["indicator.incomplete"]
    assert Decimal(city["expected"]) > Decimal(city["emitted"]), "members' months without an account count too"
    shown = run(small[0], "targets", "2023", "--subject", "BOILER")
    assert "BOILER" in shown and "quota" in shown and "cover the period" in shown


def test_a_look_is_remembered_until_the_journal_moves(house: Any) -> None:
    library = fill(house.store, house.now)
    city, june = City(house.store), accounts.period_of("2023-06")
    first = city.look("CITY", june)
    assert city.look("CITY", june) is first
    assert early_warning.watch(city, 0, house.now)[1], "what is logged of warnings moves the journal and no figure"
    assert city.look("CITY", june) is first
    activities.declare(
        house.store,
        "more",
        declared("MILL", "2023-06", ("24-08", "label = 'b'\nAD = '10 MWh'")),
        by="x",
        now=house.now,
    )
    accounts.close(house.store, library, "MILL", june, house.now)
    again = city.look("CITY", june)
    assert again.bridge.net - first.bridge.net == Decimal("5.306")
    assert again.standings[1].reference == "A-MILL-2023-06@2"


def post(client: Any, path: str, envelope: bytes) -> tuple[int, str]:
    """The status and the code of the answer to a signed acknowledgement."""
    found = client.post(f"{path}/acknowledge", content=envelope)
    return found.status_code, found.json().get("code", "")


def test_a_warning_is_raised_once_acknowledged_by_somebody_and_cleared(house: Any) -> None:
    library, client = fill(house.store, house.now), house.client
    city = City(house.store)
    after, happened = early_warning.watch(city, 0, house.now)
    assert after == house.store.journal_end() - len(happened)
    names = {f"{event.subject} {event.kind}" for event in happened}
    assert {"CITY target"} <= names
    assert early_warning.concerned(city, after) == (after, [])
    assert early_warning.concerned(city, 0)[1] == ["BOILER", "CITY", "MILL", "P-01"]
    assert early_warning.watch(city, 0, house.now)[1] == [], "judged again, nothing is logged again"
    listed = client.get("/v1/warnings?subject=CITY").json()["data"]
    assert listed[0]["id"] == "W-CITY-target-2023" and "3000" in listed[0]["zh"]
    path = "/v1/warnings/W-CITY-target-2023"
    assert client.post(f"{path}/acknowledge", json={"by": "王工", "why": "夏季检修后补偿"}).status_code == 400
    key = PrivateKey.generate()
    good = Acknowledgement("W-CITY-target-2023", client.get(path).json()["events"], "夏季检修后补偿")
    assert post(client, path, sign(good, key)) == (403, "ENR-401"), "nobody knows this key"
    subjects.trust(house.store, "王工", key.public, now=house.now)
    signed = sign(good, key)
    for envelope, answer in (
        (signed[:-1] + bytes([signed[-1] ^ 1]), (400, "SIG-601")),
        (signed_activity.sign(b"{}", key), (400, "REC-601")),
        (cose.sign1(b"{}", key, ACKNOWLEDGEMENT_TYPE, ACKNOWLEDGEMENT_AAD), (400, "REC-601")),
        (sign(msgspec.structs.replace(good, warning="W-CITY-target-2022"), key), (409, "ACC-804")),
        (sign(msgspec.structs.replace(good, events=good.events + 1), key), (409, "ACC-804")),
    ):
        assert post(client, path, envelope) == answer
    assert client.get(path).json()["state"] == "raised", "none of them has changed it"
    said = client.post(f"{path}/acknowledge", content=sign(good, key)).json()
    assert (said["state"], said["by"], said["why"]) == ("acknowledged", "王工", "夏季检修后补偿")
    (*_, row) = house.store.entry_versions("warning", "W-CITY-target-2023", heads=False)
    assert unpack(row.body) == sign(good, key), "what was signed stays beside it"
    assert post(client, path, sign(good, key)) == (409, "ACC-804"), "the same again is not of the warning as it stands"
    again = sign(msgspec.structs.replace(good, events=good.events + 1), key)
    assert post(client, path, again) == (409, "ACC-804"), "it is acknowledged already"
    subjects.distrust(house.store, key.public.kid.hex(), now=house.now + 1)
    assert post(client, path, again) == (403, "ENR-401")
    assert [event["happened"] for event in client.get(path).json()["log"]][-1] == "acknowledged"
    with pytest.raises(UnknownNameError):
        early_warning.get(house.store, "W-nobody")
    raised = SUBJECTS.replace('tco2e = "3000"', 'tco2e = "300000"')
    subjects.take(house.store, "city.toml", raised.encode(), by="demo", now=house.now + 1)
    _, happened = early_warning.watch(city, after, house.now + 1)
    assert [event.happened for event in happened if event.subject == "CITY"] == ["cleared"]
    assert client.get("/v1/warnings?subject=CITY").json()["data"] == []
    assert len(client.get("/v1/warnings?subject=CITY&standing=false").json()["data"]) == 1
    with pytest.raises(LockedError):
        early_warning.acknowledge(house.store, "W-CITY-target-2023", "x", "y", house.now)
    assert library


def test_an_intensity_is_held_against_the_same_month_of_the_year_before(house: Any) -> None:
    """Gas as the winter wants it, two winters alike but for a fifth more in the last month: 2023-12 against 2022-12."""
    burnt = {f"{year}-{month:02}": (month - 7) ** 2 + 4 for year in (2022, 2023) for month in range(5, 13)}
    burnt["2023-12"] = burnt["2023-12"] * 6 // 5
    text = tables.subject_file(tables.subject("KILN"))
    for month in burnt:
        text += f'[[subject.denominator]]\nkind = "output"\nvalue = "100 t"\nperiod = "{month}"\ndocument = "d"\n'
    subjects.take(house.store, "kiln.toml", text.encode(), by="demo", now=house.now)
    library = factor_shelf.library(house.store)
    for month, amount in burnt.items():
        first, last = accounts.period_of(month).days()
        source = f'schema = 1\nsubject = "KILN"\n[[activity]]\nrow = "24-01"\nitem = "natural_gas"\nfrom = {first}\n'
        source += f'until = {last}\nFC = {{ value = "{amount} 1e4Nm3", document = "bill" }}\n'
        activities.declare(house.store, month, source.encode(), by="demo", now=house.now)
        accounts.close(house.store, library, "KILN", accounts.period_of(month), house.now)
    city = City(house.store)
    early_warning.watch(city, 0, house.now)
    (alarm,) = early_warning.listing(house.store, "KILN", kind="ewma")
    last, before = Decimal(alarm.figures["last"]), Decimal(alarm.figures["before"])
    assert f"{last / before:.2f}" == "1.17", "34 over 29, each 1e4 Nm3 of gas"
    (told,) = [one for one in house.client.get("/v1/warnings?subject=KILN").json()["data"] if one["kind"] == "ewma"]
    assert "去年同月" in told["zh"] and "未扣除" not in told["zh"] and "same months of last year" in told["en"]


def test_of_two_who_acknowledge_at_once_the_second_is_told_to_look_again(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(house.store, house.now)
    early_warning.watch(City(house.store), 0, house.now)
    key, keep, name = PrivateKey.generate(), Store.keep, "W-CITY-target-2023"
    subjects.trust(house.store, "王工", key.public, now=house.now)
    signed = sign(Acknowledgement(name, early_warning.get(house.store, name).events, "夏季检修后补偿"), key)
    first = ["李工"]

    def overtaken(store: Store, rows: list[JournalRow], **how: Any) -> list[int]:
        if first:
            early_warning.acknowledge(store, name, first.pop(), "扩产已报批", house.now)
        return keep(store, rows, **how)

    monkeypatch.setattr(Store, "keep", overtaken)
    told = house.client.post(f"/v1/warnings/{name}/acknowledge", content=signed, headers={"accept-language": "zh"})
    assert (told.status_code, told.json()["code"], told.json()["title"]) == (409, "ACC-808", "他人已先一步写入")
    assert "卡" not in told.json()["fix"], "nobody is sent to look for a cloned card"
    assert early_warning.get(house.store, name).by == "李工", "who was first stands"


def test_the_api_says_what_the_command_line_says(small: tuple[Path, City], house: Any) -> None:
    fill(house.store, house.now)
    found = house.client.get("/v1/indicators?subject=P-01&period=2023-06").json()
    told = json.loads(run(small[0], "indicators", "P-01", "2023-06", "--json"))
    assert found == told
    assert house.client.get("/v1/rankings?boundary=CITY&period=2023-06").json()["data"][0]["subject"] == "BOILER"
    assert len(house.client.get("/v1/targets?year=2023").json()["data"]) == 2
    for path, status in (
        ("/v1/indicators?subject=NOBODY&period=2023-06", 404),
        ("/v1/indicators?subject=P-01&period=June", 422),
        ("/v1/indicators?subject=P-01", 422),
        ("/v1/rankings?boundary=CITY&period=2023-06&by=luck", 422),
    ):
        assert house.client.get(path).status_code == status, path


def test_warnings_at_the_command_line(tmp_path: Path) -> None:
    with open_store(tmp_path, create_key(tmp_path)) as store:
        fill(store, 1_700_000_000_000)
    listed = [json.loads(line) for line in run(tmp_path, "warnings", "--json").splitlines()]
    assert "W-CITY-target-2023" in {one["id"] for one in listed}
    assert "W-CITY-target-2023" in run(tmp_path, "warnings", lang="zh")
    words = ("acknowledge", "W-CITY-target-2023", "--by", "Li", "--why", "seen", "--json")
    assert json.loads(run(tmp_path, *words))["by"] == "Li"
    key, pem, out = PrivateKey.generate(), tmp_path / "signer.pem", tmp_path / "seen.cose"
    pem.write_bytes(key.pem())
    words = ("acknowledge", "W-BOILER-missing", "--why", "seen", "--key", str(pem), "--events", "2", "--out", str(out))
    run(tmp_path, *words)
    said = open_acknowledgement(out.read_bytes(), key.public)
    assert said == Acknowledgement("W-BOILER-missing", 2, "seen")


def test_two_periods_differ_source_by_source_and_two_subjects_are_not_compared(
    small: tuple[Path, City], house: Any
) -> None:
    """The same kWh a year later under the next year's factor: all of the change is factor, none of it activity."""
    words = ("diff", "A-MILL-2022-06@1", "A-MILL-2023-06@1", "--json")
    found = json.loads(run(small[0], *words))
    assert (found["total"], found["activity"], found["factor"]) == ("-6", "0", "-6")
    assert [one["id"] for one in found["effects"]] == ["24-08@2023-06-01"]
    fill(house.store, house.now)
    path = "/v1/accounts/A-MILL-2023-06@1/diff?against="
    assert house.client.get(f"{path}A-MILL-2022-06@1").json()["factor"] == "-6"
    for other, named in (("A-BOILER-2023-06@1", "BOILER and MILL"), ("A-MILL-2022-06@9", "A-MILL-2022-06@9")):
        refused = house.client.get(path + other)
        assert refused.status_code >= 400 and named in refused.json()["detail"], refused.json()


def test_who_has_no_account_is_named_and_no_zero(town: Any) -> None:
    """A city where some have accounts: the rest are told, on the page, by the API and at the command line."""
    found = town.client.get("/v1/rankings?boundary=D-01&period=2026-10").json()
    assert {one["subject"] for one in found["data"]} == {"E-03", "E-08"} and "E-01" in found["absent"]
    page = town.client.get("/city?boundary=D-01&period=2026-10&lang=zh", headers={"accept": "text/html"}).text
    assert "不完整，为下限" in page and "示例热电" in page
    only = town.client.get("/v1/rankings?boundary=C-01&period=2026-10&kind=community").json()
    assert only["absent"] == ["E-33", "E-34"] and only["data"] == []
    card = indicators.card(City(town.store), "D-01", accounts.period_of("2026-10"))
    assert "E-01" in str(indicator_show.tree(card, "en").children[0].label)


def test_intensities_are_compared_within_an_industry_and_a_unit(town: Any) -> None:
    """Steel, cement, tyres and a hospital: four units of their own, and each is first in its own."""
    found = town.client.get("/v1/rankings?boundary=C-01&period=2026-10&by=intensity").json()["data"]
    assert {one["unit"] for one in found} == {"tCO2e/t", "tCO2e/m2"}
    chosen = City(town.store)
    rows = [
        replace(row, value=Decimal(value), letter="A", reasons=())
        for row, value in zip(
            indicators.ranking(chosen, "C-01", accounts.period_of("2026-10"), "total"),
            ("1", "2", "3", "4"),
            strict=True,
        )
    ]
    rows.append(replace(rows[0], subject=chosen.subject("E-29"), value=Decimal(9)))
    placed = indicators.by_industry(rows)
    steel = [(row.subject.id, row.place) for row in placed if row.method == rows[0].method]
    assert steel == [("E-29", 1), (rows[0].subject.id, 2)]
    assert [row.place for row in placed].count(1) == 4
