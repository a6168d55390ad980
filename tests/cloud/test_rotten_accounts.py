"""One subject file, one account or one warning that has rotted keeps nobody else from being served, and is named."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud import (
    accounts,
    activities,
    audit_file,
    cross_checks,
    early_warning,
    factor_shelf,
    indicators,
    mend_journal,
    reaccounting,
    subjects,
)
from cloud.account_commands import account as commands
from cloud.accounting import signals, warning
from cloud.city import City
from cloud.collector import Collector
from cloud.config import create_key
from cloud.copier import Copier
from cloud.early_warning import Watch
from cloud.packed import pack, unpack
from cloud.pages.incidents import incidents
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import RottenError
from tests.cloud import tables

MAY = accounts.period_of("2023-05")
IN_CITY = 'membership = [{ of = "CITY", from = 2020-01-01 }]\n'
MORE = """target = [{ year = 2023, tco2e = "10", kind = "quota", document = "quota 7" }]
[[subject.denominator]]
kind = "output"
product = "flour"
value = "5000 t"
period = "2023-05"
document = "report 5"
"""
FILES = {
    "CITY": tables.subject("CITY", kind="city", category="park", method="", zh="城市", en="City"),
    "MILL": tables.subject("MILL", IN_CITY + MORE, zh="面粉厂", en="Mill"),
    "WORKS": tables.subject("WORKS", IN_CITY + MORE, zh="机械厂", en="Works"),
}
SUBJECT = (
    "UPDATE journal SET body = x'00' WHERE kind = 'file' AND digest = (SELECT digest FROM journal WHERE id = 'MILL')"
)
NO_BRIEF = "UPDATE journal SET detail = '{}' WHERE kind = 'subject' AND id = 'MILL'"
TOO_LARGE = SUBJECT.replace("x'00'", "x'28b52ffde0000000000001000000'")
"""The head of a frame that says it holds a tebibyte."""
ACCOUNT = "UPDATE journal SET body = x'00' WHERE kind = 'account' AND subject = 'MILL'"
WARNING = "UPDATE journal SET detail = '{' WHERE kind = 'warning' AND subject = 'MILL'"
NO_TEXT = WARNING.replace("'{'", "CAST(x'7bff7d' AS TEXT)")
OTHER_FIGURE = "UPDATE journal SET detail = replace(detail, '10', '99') WHERE kind = 'warning' AND subject = 'MILL'"


def rot(store: Store, *statements: str) -> None:
    with store.writing() as db:
        for statement in statements:
            assert db.execute(statement).rowcount == 1


@pytest.fixture
def pair(house: Any, tmp_path: Path) -> Iterator[Any]:
    """A mill and a works in a city, with an account of May each and a quota that is used up; and their second copy."""
    for name, text in FILES.items():
        subjects.take(house.store, name, tables.subject_file(text).encode(), by="demo", now=house.now)
    for name in ("MILL", "WORKS"):
        entry = tables.entry("24-08", "2023-05-01", "2023-06-01", "document = 'bill'\nAD = '1000 MWh'")
        activities.declare(house.store, name, tables.activity_file(name, entry).encode(), by="demo", now=house.now)
        accounts.close(house.store, factor_shelf.library(None), name, MAY, house.now)
    assert len(early_warning.watch(City(house.store), 0, house.now)[1]) == 2
    copier = Copier(house.store, tmp_path / "copy", lambda: house.now, same_disk=True)
    copier.close()
    yield house


def get(house: Any, path: str, lang: str = "en") -> Any:
    found = house.client.get(path, headers={"accept-language": lang})
    assert found.status_code == 200, (path, found.text)
    return found


def test_a_subject_file_that_has_rotted_is_named_and_its_account_is_summed_as_ever(pair: Any) -> None:
    before = City(pair.store).look("CITY", MAY)
    rot(pair.store, SUBJECT)
    found = City(pair.store).look("CITY", MAY)
    assert (found.bridge.net, found.incomplete) == (before.bridge.net, before.incomplete)
    assert found.unread == {"MILL"} and found.brief.total.tco2e == before.brief.total.tco2e
    told = get(pair, "/v1/indicators?subject=CITY&period=2023-05").json()
    assert told["unreadable"] == ["MILL"]
    ranked = get(pair, "/v1/rankings?boundary=CITY&period=2023-05&by=intensity").json()
    assert ranked["unreadable"] == ["MILL"]
    reasons = {row["subject"]: row["reasons"] for row in ranked["data"]}
    assert reasons["MILL"] == [indicators.UNREAD] and indicators.UNREAD not in reasons["WORKS"]
    assert get(pair, "/v1/targets?year=2023").json()["unreadable"] == ["MILL"]
    listed = get(pair, "/v1/subjects").json()
    assert [one["id"] for one in listed["data"]] == ["CITY", "WORKS"]
    assert [one["subject"] for one in listed["unreadable"]] == ["MILL"]
    health = get(pair, "/v1/health").json()
    assert "rotten" in health["reasons"] and health["unreadable"]["subjects"] == ["MILL"]
    assert "has rotted" in get(pair, "/city?period=2023-05").text
    assert "已损坏" in get(pair, "/city?period=2023-05", "zh").text
    assert "subject file" in get(pair, "/accounts").text
    assert get(pair, "/accounts/A-WORKS-2023-05").text
    assert pair.client.get("/accounts/A-MILL-2023-05").json()["code"] == "STO-106"


def test_of_whom_nothing_can_be_read_may_be_in_every_whole_and_its_sum_says_so(pair: Any) -> None:
    rot(pair.store, SUBJECT, NO_BRIEF)
    found = City(pair.store).look("CITY", MAY)
    assert (found.incomplete, found.unread) == (("MILL",), {"MILL"})
    assert found.brief.total.tco2e is None
    assert City(pair.store).look("WORKS", MAY).incomplete == ()
    assert "MILL" in get(pair, "/city?period=2023-05").text
    assert get(pair, "/city.csv?period=2023-05").text.count("A-") == 1


def test_a_version_whose_mark_has_rotted_is_named_and_its_figure_summed_as_ever(pair: Any) -> None:
    before, detail = City(pair.store).look("CITY", MAY), '{"by": ["a", "b"], "closure": "partial", "exceptions": []}'
    for name in ("MILL", "WORKS"):
        place = ("mark", f"A-{name}-2023-05@1", 1, name, "2023-05", "00")
        pair.store.keep([JournalRow(0, *place, pair.now, "b", detail, b"")])
    assert City(pair.store).look("CITY", MAY).locked == 1
    rot(pair.store, "UPDATE journal SET detail = '{' WHERE kind = 'mark' AND subject = 'MILL'")
    found = City(pair.store).look("CITY", MAY)
    assert (found.bridge.net, str(found.locked)) == (before.bridge.net, "0.5")
    told = get(pair, "/v1/accounts").json()["data"]
    assert [one.get("state", one.get("unreadable", "")[:6]) for one in told] == ["mark A", "locked"]
    get(pair, "/v1/health")
    assert "A-MILL-2023-05@1" in get(pair, "/accounts").text


def test_rankings_name_whom_nothing_can_be_read_of_as_absent(pair: Any) -> None:
    rot(pair.store, SUBJECT, NO_BRIEF)
    for chosen in ("", "&kind=enterprise"):
        told = get(pair, f"/v1/rankings?boundary=CITY&period=2023-05&by=total{chosen}").json()
        assert (told["absent"], told["unreadable"]) == (["MILL"], ["MILL"])
        assert [row["subject"] for row in told["data"]] == ["WORKS"]


def test_a_whole_none_of_whose_members_can_be_read_says_so(pair: Any) -> None:
    for name in ("MILL", "WORKS"):
        rot(pair.store, SUBJECT.replace("MILL", name), NO_BRIEF.replace("MILL", name))
    city = City(pair.store)
    for found in (city.look("CITY", MAY), city.briefs(["CITY"], MAY)["CITY"]):
        assert (found.incomplete, found.unread) == (("MILL", "WORKS"), {"MILL", "WORKS"})


def test_an_account_that_has_rotted_is_lacking_in_the_sum_and_named(pair: Any) -> None:
    before = City(pair.store).look("CITY", MAY)
    rot(pair.store, ACCOUNT)
    found = City(pair.store).look("CITY", MAY)
    assert found.bridge.net == before.bridge.net / 2
    assert (found.incomplete, found.unread) == (("MILL",), {"MILL"}) and found.brief.total.tco2e is None
    told = get(pair, "/v1/accounts").json()["data"]
    assert [one["id"] for one in told] == ["A-MILL-2023-05", "A-WORKS-2023-05"]
    assert ["unreadable" in one for one in told] == [True, False]
    page = get(pair, "/accounts").text
    assert "A-MILL-2023-05@1" in page and 'href="/accounts/A-WORKS-2023-05%401"' in page


@pytest.mark.parametrize("how", ["body = x'00'", "detail = '{'", "detail = '{}'"])
def test_whoever_follows_the_feed_of_corrections_comes_past_what_has_rotted(pair: Any, how: str) -> None:
    entry = tables.entry("24-08", "2023-05-01", "2023-06-01", "document = 'bill 2'\nAD = '1100 MWh'\nlabel = 'b'")
    activities.declare(pair.store, "m", tables.activity_file("MILL", entry).encode(), by="demo", now=pair.now)
    accounts.close(pair.store, factor_shelf.library(None), "MILL", MAY, pair.now)
    rot(pair.store, f"UPDATE journal SET {how} WHERE kind = 'account' AND subject = 'MILL' AND version = 2")
    told = {(one["id"], one["version"]): one for one in get(pair, "/v1/corrections").json()["data"]}
    assert told["A-WORKS-2023-05", 1]["new"] and "unreadable" in told["A-MILL-2023-05", 2]
    assert "unreadable" not in told["A-MILL-2023-05", 1]


def test_the_other_accounts_of_a_subject_are_listed_beside_the_one_that_has_rotted(pair: Any) -> None:
    """Not the page of one that is held against it in the cross-checks: nobody could say that they found nothing."""
    entry = tables.entry("24-08", "2022-01-01", "2023-01-01", "document = 'bill'\nAD = '900 MWh'")
    activities.declare(pair.store, "2022", tables.activity_file("MILL", entry).encode(), by="demo", now=pair.now)
    accounts.close(pair.store, factor_shelf.library(None), "MILL", accounts.period_of("2022"), pair.now)
    rot(pair.store, ACCOUNT + " AND period = '2022'")
    told = get(pair, "/v1/subjects/MILL").json()
    assert [one["id"] for one in told["accounts"]] == ["A-MILL-2023-05"]
    assert [*told["unreadable"]] == ["A-MILL-2022@1"]
    assert "<strong>A-MILL-2022@1</strong>" in get(pair, "/accounts/A-MILL-2023-05@1").text
    create_key(pair.store.path.parent)
    found = CliRunner().invoke(commands, ["list", "--json", "--data", str(pair.store.path.parent)])
    listed = [json.loads(line)["account"] for line in found.stdout.splitlines()]
    assert listed == ["A-MILL-2023-05@1", "A-WORKS-2023-05@1"]
    assert found.exit_code == 0 and found.stderr.startswith("A-MILL-2022@1: ")


NO_NAME = "UPDATE journal SET id = CAST(x'4dff' AS TEXT) WHERE kind = 'subject' AND id = 'MILL'"


def test_a_subject_whose_name_is_no_text_any_more_takes_no_city_down(pair: Any) -> None:
    rot(pair.store, NO_NAME)
    city = City(pair.store)
    for _ in range(2):
        assert len(city.unread()) == 1 and city.look("WORKS", MAY).incomplete == ()
    for path in ("/v1/health", "/v1/subjects", "/city?period=2023-05", "/accounts", "/v1/targets?year=2023"):
        get(pair, path)


@pytest.mark.parametrize("period", ["x'323032ff2d3035'", "'2023-15'"])
def test_an_account_whose_period_has_rotted_is_lacking_in_the_sum_and_takes_no_city_down(
    pair: Any, period: str
) -> None:
    where = "kind = 'account' AND subject = 'MILL'"
    rot(pair.store, f"UPDATE journal SET period = CAST({period} AS TEXT) WHERE {where}")
    found = City(pair.store).look("CITY", MAY)
    assert found.incomplete == ("MILL",) and len(found.standings) == 1
    for path in ("/v1/health", "/v1/accounts", "/city?period=2023-05", "/accounts", "/v1/targets?year=2023"):
        get(pair, path)


def test_a_cross_check_that_has_rotted_leaves_the_page_of_the_site_as_it_is(house: Any, rig: Any) -> None:
    text = tables.subject_file(tables.subject("MILL", tables.meter("M-01"), site="S-DEMO"))
    rig.enrol(house.store, house.key)
    subjects.take(house.store, "MILL", text.encode(), by="demo", now=house.now)
    entry = tables.entry("24-08", "2023-05-01", "2023-06-01", "document = 'bill'\nAD = '1000 MWh'\nbeside = true")
    activities.declare(house.store, "MILL", tables.activity_file("MILL", entry).encode(), by="demo", now=house.now)
    accounts.close(house.store, factor_shelf.library(None), "MILL", MAY, house.now)
    head = 'schema = 1\nsubject = "MILL"\nperiod = "2023-05"\n'
    check = f'{head}[[carbon]]\nprocess = "kiln"\nin = ["9 tC"]\nout = ["9 tC"]\n'.encode()
    cross_checks.take(house.store, "check", check, by="Li", now=house.now)
    rot(house.store, "UPDATE journal SET digest = 'f' || digest WHERE kind = 'check'")
    assert "check MILL-2023-05" in get(house, "/").text


FLIPPED = "UPDATE journal SET body = ? WHERE kind = 'account' AND subject = 'MILL'"


@pytest.mark.parametrize("how", [SUBJECT, ACCOUNT, FLIPPED])
def test_the_page_of_an_account_that_has_rotted_says_what_is_to_be_done(pair: Any, how: str) -> None:
    """Not that the disk is full, nor that the account cannot be drawn up."""
    (row,) = pair.store.entries("account", subject="MILL", heads=False)
    other = pack(unpack(row.body).replace(b"1000", b"1008", 1))
    assert other != row.body
    with pair.store.writing() as db:
        assert db.execute(how, (other,) if "?" in how else ()).rowcount == 1
    path = "/accounts/A-MILL-2023-05"
    for lang, word in (("en", "has rotted in the collector"), ("zh", "在采集平台的存储中已损坏")):
        shown = pair.client.get(path, headers={"accept": "text/html", "accept-language": lang})
        assert shown.status_code == 503 and word in shown.text
        assert "tanmeter cloud mend --copy" in shown.text and 'href="/accounts"' in shown.text
    told = pair.client.get(path)
    assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (503, "STO-106", "60")
    get(pair, "/accounts/A-WORKS-2023-05")


@pytest.mark.parametrize("how", [ACCOUNT, FLIPPED])
def test_every_line_of_a_period_is_exported_but_those_of_an_account_that_has_rotted_which_is_named(
    pair: Any, how: str
) -> None:
    before = get(pair, "/v1/exports/lines?period=2023-05&format=json").text.splitlines()
    (row,) = pair.store.entries("account", subject="MILL", heads=False)
    with pair.store.writing() as db:
        assert db.execute(how, (row.body[:-3],) if "?" in how else ()).rowcount == 1
    lines = [json.loads(line) for line in get(pair, "/v1/exports/lines?period=2023-05&format=json").text.splitlines()]
    assert len(lines) == len(before) and [line["subject"] for line in lines] == ["MILL", "WORKS"]
    (named,) = [line for line in lines if "unreadable" in line]
    assert (named["account"], named["period"]) == ("A-MILL-2023-05@1", "2023-05") and named["unreadable"]
    table = list(csv.DictReader(io.StringIO(get(pair, "/v1/exports/lines?period=2023-05").text.removeprefix("\ufeff"))))
    assert [(one["subject"], one["account"], bool(one["unreadable"])) for one in table] == [
        ("MILL", "A-MILL-2023-05@1", True),
        ("WORKS", "", False),
    ]
    assert table[1]["tco2e"] == lines[1]["tco2e"]


def test_accounts_are_made_anew_of_all_but_the_one_that_has_rotted(pair: Any) -> None:
    rot(pair.store, ACCOUNT)
    done = reaccounting.again(pair.store, factor_shelf.library(None), pair.now)
    assert (done.seen, [name for name, _ in done.failed]) == (2, ["A-MILL-2023-05"])


@pytest.mark.parametrize("how", [WARNING, NO_TEXT, OTHER_FIGURE])
def test_a_warning_that_has_rotted_stands_as_unreadable_beside_the_others(pair: Any, how: str) -> None:
    rot(pair.store, how)
    told = {one["subject"]: one for one in get(pair, "/v1/warnings").json()["data"]}
    assert (told["MILL"]["state"], told["WORKS"]["state"]) == ("unreadable", "raised")
    assert told["MILL"]["kind"] == "quota" and "rotted" in told["MILL"]["en"]
    health = get(pair, "/v1/health").json()
    assert health["unreadable"]["warnings"] == ["W-MILL-quota-2023"] and "rotten" in health["reasons"]
    for path in ("/city?period=2023-05", "/accounts/A-MILL-2023-05"):
        assert "unreadable" in get(pair, path).text


def test_a_shared_meter_whose_warning_has_rotted_is_among_the_incidents(pair: Any) -> None:
    event = warning.judge(
        None, signals.shared("MILL", "M-01", 2, {}), signals.levels()["shared"], "2023-06-01T00:00:00Z"
    )
    assert event is not None
    early_warning._log(pair.store, 0, event, pair.now)
    rot(pair.store, "UPDATE journal SET detail = '{' WHERE id = 'W-MILL-shared-M-01'")
    held = Collector(pair.store, pair.key, pair.writer, lambda: pair.now)
    (shown,) = incidents(held, None, "en", 10)
    assert shown.gateway is None and shown.detail.startswith("MILL: the log of this warning has rotted")
    assert incidents(held, b"other", "en", 10) == ()


def test_whoever_can_be_judged_is_although_another_one_cannot(pair: Any) -> None:
    """The command judges everybody each time, and tells of those that it could not judge."""
    folder = pair.store.path.parent
    create_key(folder)
    rot(pair.store, SUBJECT, "DELETE FROM journal WHERE kind = 'warning' AND subject = 'WORKS'")
    found = CliRunner().invoke(commands, ["warnings", "--json", "--data", str(folder)], env={"TANMETER_LANG": "en"})
    assert found.exit_code == 0, found.output
    assert {json.loads(line)["subject"] for line in found.stdout.splitlines()} == {"MILL", "WORKS"}
    assert "subject file" in found.stderr
    watch = Watch(City(pair.store))
    with pytest.raises(RottenError):
        watch.judge("MILL", pair.now)


def test_a_city_whose_own_file_has_rotted_does_not_say_that_it_has_no_denominator(pair: Any) -> None:
    rot(pair.store, SUBJECT.replace("MILL", "CITY"))
    text = get(pair, "/city?period=2023-05").text
    assert "the subject file has rotted" in text and "denominator is known" not in text


def test_of_two_files_that_have_rotted_the_one_put_back_is_read_at_once(pair: Any) -> None:
    rotted = SUBJECT.replace("MILL", "WORKS")
    (sound,) = [row for row in pair.store.entries("file", heads=False) if b"Works" in unpack(row.body)]
    rot(pair.store, SUBJECT, rotted)
    city = City(pair.store)
    assert set(city.unread()) == {"MILL", "WORKS"}
    with pair.store.writing() as db:
        db.execute("UPDATE journal SET body = ? WHERE number = ?", (sound.body, sound.number))
    assert set(city.unread()) == {"MILL"}


def test_those_of_one_file_are_told_together(pair: Any) -> None:
    both = tables.subject_file(FILES["MILL"].replace("Mill", "The mill"), FILES["WORKS"]).encode()
    subjects.take(pair.store, "both", both.replace(b"Works", b"The works"), by="demo", now=pair.now)
    rot(pair.store, SUBJECT.replace("id = 'MILL'", "id = 'MILL' AND version = 2"))
    assert "<strong>MILL · WORKS</strong> subject file" in get(pair, "/accounts").text


def test_a_new_file_takes_the_place_of_one_that_has_rotted(pair: Any) -> None:
    rot(pair.store, SUBJECT)
    text = tables.subject_file(FILES["MILL"]) + "# written anew\n"
    (held,) = subjects.take(pair.store, "MILL", text.encode(), by="demo", now=pair.now)
    assert held.version == 2 and City(pair.store).unread() == {}


@pytest.mark.parametrize("how", [SUBJECT, TOO_LARGE, ACCOUNT, WARNING, NO_TEXT])
def test_the_audit_names_what_has_rotted_and_a_second_copy_puts_it_back(pair: Any, tmp_path: Path, how: str) -> None:
    """The pages see it at once, though the journal does not move."""
    city = City(pair.store)
    before = city.look("CITY", MAY).bridge.net
    rot(pair.store, how)
    (row,) = mend_journal.rotten(pair.store)
    with audit_file.open_file(pair.store.path) as db:
        assert [one.name for one in audit_file._beyond(db)[1].listed] == [mend_journal.name(row)]
    assert any(get(pair, "/v1/health").json()["unreadable"].values()) == (how != ACCOUNT)
    assert mend_journal.mend(pair.store, tmp_path / "copy") == [mend_journal.name(row)]
    assert mend_journal.rotten(pair.store) == []
    assert not any(get(pair, "/v1/health").json()["unreadable"].values())
    assert get(pair, "/v1/indicators?subject=CITY&period=2023-05").json()["unreadable"] == []
    assert City(pair.store).look("CITY", MAY).bridge.net == before
