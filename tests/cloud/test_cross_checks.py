"""Cross-checks of an account in a real store: found, told with what to do, and in the way of a lock."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud import (
    accounts,
    activities,
    cross_checks,
    early_warning,
    factor_shelf,
    indicator_show,
    subjects,
    terminal,
)
from cloud.account_commands import account
from cloud.accounting import check_file
from cloud.accounting.checks import Finding
from cloud.accounting.inventory import Version
from cloud.accounting.subject import Baseline
from cloud.city import City
from protocols.errors import AccountError, ConfigError, LockedError, UnknownNameError
from tests.cloud import tables

SUBJECT = tables.subject_file(tables.subject("S-1"))
ACTIVITY = tables.activity_file(
    "S-1",
    tables.coal("1000 t", "2023-06-01", "2023-07-01"),
    tables.entry("24-08", "2023-06-01", "2023-07-01", 'label = "M-1"\ndocument = "bill"\nAD = "1000 MWh"'),
)
HEAD = 'schema = 1\nsubject = "S-1"\nperiod = "2023-06"\n'
GOOD = (
    HEAD
    + """
[[stack]]
id = "DA001"
lines = ["24-01/anthracite"]
measured = "2400 tCO2"
uncertainty = "5"
[[bill]]
line = "24-08/M-1"
billed = "1001 MWh"
[[stock]]
line = "24-01"
opening = "100 t"
bought = "1200 t"
closing = "300 t"
[[carbon]]
process = "kiln"
in = ["100 tC"]
out = ["60 tC", "39 tC"]
[[heat-rate]]
plant = "unit 1"
fuel = "9000 GJ"
sent-out = "1000 MWh"
[[steam]]
meter = "H-1"
mpa = "1"
celsius = "300"
enthalpy = "3051"
[[flue]]
stack = "DA001"
fuel = "coal"
co2 = "12"
o2 = "7"
[[consumption]]
band = "cement.electricity"
used = "1000 MWh"
made = "11000 t"
"""
)
APART = HEAD + '[[stack]]\nid = "DA001"\nlines = ["24-01"]\nmeasured = "4000 tCO2"\nuncertainty = "5"\n'
ACCEPTED = (
    HEAD.replace("06", "07")
    + '[[accepted]]\nline = "24-01/anthracite"\nsymbol = "FC"\nvalue = "1000000 t"\nreason = "a new furnace"\n'
)


@pytest.fixture
def issued(house: Any) -> Version:
    """An account of a month, provisional."""
    subjects.take(house.store, "s.toml", SUBJECT.encode(), by="demo", now=house.now)
    activities.declare(house.store, "a.toml", ACTIVITY.encode(), by="demo", now=house.now)
    return accounts.close(house.store, factor_shelf.library(None), "S-1", accounts.period_of("2023-06"), house.now)


def test_figures_that_go_together_let_an_account_be_locked(house: Any, issued: Version) -> None:
    cross_checks.take(house.store, "good.toml", GOOD.encode(), by="Li", now=house.now)
    assert cross_checks.findings(house.store, issued.content) == []
    (stack,) = cross_checks.stacks(house.store, issued.content)
    assert stack.calculated.percent is not None and 3 < stack.calculated.percent < 4, "sqrt(2² + 1² + 2² + 1²) = 3.17"
    locked = accounts.lock(house.store, issued.reference, ["Li", "Wang"], house.now, closure="exceptions")
    assert locked.state == "locked"


def test_a_stack_far_from_its_coal_blocks_the_lock_until_it_is_put_right(house: Any, issued: Version) -> None:
    cross_checks.take(house.store, "apart.toml", APART.encode(), by="Li", now=house.now)
    with pytest.raises(LockedError, match=r"check\.flue-gas: DA001"):
        accounts.lock(house.store, issued.reference, ["Li", "Wang"], house.now, closure="exceptions")
    city = City(house.store)
    _, happened = early_warning.watch(city, 0, house.now)
    assert [(event.kind, event.happened) for event in happened] == [("flue-gas", "critical")]
    found = house.client.get("/v1/checks?subject=S-1&period=2023-06").json()
    assert (found["ok"], found["data"][0]["severity"]) == (False, "block") and found["data"][0]["zh_do"]
    page = house.client.get(f"/accounts/{issued.reference}", headers={"accept-language": "en"}).text
    assert "± 5.0 %" in page and "flue gas: 4\u202f000 tCO2 measured" in page
    cross_checks.take(house.store, "good.toml", GOOD.encode(), by="Li", now=house.now)
    _, happened = early_warning.watch(city, 0, house.now)
    assert [event.happened for event in happened] == ["cleared"]
    assert accounts.lock(house.store, issued.reference, ["Li", "Wang"], house.now, closure="exceptions").locked_by


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[bill]]\nline = "24-08/M-1"\nbilled = "many"\n', "bill[0].billed"),
        ('[[steam]]\nmeter = "H"\nmpa = "-1"\ncelsius = "3"\nenthalpy = "1"\n', "steam[0].mpa"),
        ('[[bil]]\nline = "24-08"\n', "did you mean 'bill'"),
        ('[[carbon]]\nprocess = "k"\nin = ["x"]\nout = []\n', "carbon[0].in"),
    ],
)
def test_a_file_that_is_wrong_is_named_by_its_place(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_file.read("f", (HEAD + text).encode())
    assert words in str(error.value)


def test_a_line_that_the_account_does_not_have_is_no_passed_check(house: Any, issued: Version) -> None:
    text = HEAD + '[[bill]]\nline = "24-08/M-9"\nbilled = "1 MWh"\n'
    cross_checks.take(house.store, "f.toml", text.encode(), by="Li", now=house.now)
    with pytest.raises(LockedError, match=r"check\.unmatched: S-1"):
        accounts.lock(house.store, issued.reference, ["Li", "Wang"], house.now, closure="exceptions")
    with pytest.raises(UnknownNameError):
        cross_checks.take(house.store, "f.toml", text.replace("S-1", "S-2").encode(), by="Li", now=house.now)


def test_checks_at_the_command_line(house: Any, issued: Version, tmp_path: Path) -> None:
    (tmp_path / "collector.key").write_bytes(house.key.pem())
    (tmp_path / "collector.key").chmod(0o600)
    for name, text, code in (("good.toml", GOOD, 0), ("apart.toml", APART, 4)):
        (tmp_path / name).write_text(text)
        words = ["check", issued.reference, "--data", str(tmp_path), "--file", str(tmp_path / name), "--by", "Li"]
        found = CliRunner().invoke(account, [*words, "--json"], env={"TANMETER_LANG": "en"})
        assert found.exit_code == code, found.output
        assert json.loads(found.stdout)["ok"] is (code == 0)
        told = CliRunner().invoke(account, words[:4], env={"TANMETER_LANG": "en"}).stdout
        assert ("blocks a lock" in told) is (code == 4)


def test_a_baseline_that_was_set_cannot_be_changed_by_a_later_file(house: Any) -> None:
    frozen = '[[subject.baseline]]\nid = "B"\nperiod = "2020"\ntco2e = "{}"\nmethod = "ndrc-24-2015"\ndocument = "d"\n'

    def take(tail: str) -> Any:
        return subjects.take(house.store, "s.toml", (SUBJECT + tail).encode(), by="demo", now=house.now)[0]

    take(frozen.format(700))
    take("")
    with pytest.raises(AccountError, match="baseline B"):
        take(frozen.format(900))
    again = take(frozen.format(700)).subject.baseline
    assert again == (Baseline("B", "2020", "700", "ndrc-24-2015", "d"),)


def test_a_slip_blocks_the_lock_until_somebody_says_why(house: Any, issued: Version) -> None:
    assert issued.content.lines
    july = ACTIVITY.replace("2023-07-01", "2023-08-01").replace("2023-06-01", "2023-07-01")
    july = july.replace("1000 t", "1000000 t")
    activities.declare(house.store, "b.toml", july.encode(), by="demo", now=house.now)
    version = accounts.close(house.store, factor_shelf.library(None), "S-1", accounts.period_of("2023-07"), house.now)
    (found,) = [one for one in cross_checks.findings(house.store, version.content) if one.id == "slip"]
    assert (found.about, found.figures["times"]) == ("24-01/anthracite", "× 1000")
    with pytest.raises(LockedError, match="check\\.slip: 24-01/anthracite"):
        accounts.lock(house.store, version.reference, ["Li", "Wang"], house.now, closure="exceptions")
    other = ACCEPTED.replace("1000000 t", "999 t")
    cross_checks.take(house.store, "o.toml", other.encode(), by="Li", now=house.now)
    with pytest.raises(LockedError, match="slip"):
        accounts.lock(house.store, version.reference, ["Li", "Wang"], house.now, closure="exceptions")
    cross_checks.take(house.store, "a.toml", ACCEPTED.encode(), by="Li", now=house.now)
    locked = accounts.lock(house.store, version.reference, ["Li", "Wang"], house.now, closure="exceptions")
    assert "check.slip: 24-01/anthracite.FC = 1000000 t (Li: a new furnace)" in locked.exceptions


def test_a_source_of_the_month_before_of_which_nothing_is_said_is_told(house: Any, issued: Version) -> None:
    """June burnt coal and bought power; of July only the power came."""
    assert {line.id for line in issued.content.lines} == {"24-01/anthracite", "24-08/M-1"}
    power = ACTIVITY[: ACTIVITY.index("[[")] + ACTIVITY[ACTIVITY.rindex("[[") :]
    july = power.replace("2023-07-01", "2023-08-01").replace("2023-06-01", "2023-07-01")
    activities.declare(house.store, "b.toml", july.encode(), by="demo", now=house.now)
    library, month = factor_shelf.library(None), accounts.period_of("2023-07")
    version = accounts.close(house.store, library, "S-1", month, house.now)
    told = [one for one in cross_checks.findings(house.store, version.content) if one.id == "absent"]
    assert told == [Finding("absent", "open", "24-01/anthracite", {"period": "2023-06"})]
    locked = accounts.lock(house.store, version.reference, ["Li", "Wang"], house.now, closure="exceptions")
    assert "check.absent: 24-01/anthracite" in locked.exceptions
    stopped = '[[subject.in_use]]\nrow = "24-01"\nuntil = 2023-07-01\ndocument = "decommissioning"\n'
    subjects.take(house.store, "s.toml", (SUBJECT + stopped).encode(), by="demo", now=house.now)
    again = accounts.close(house.store, library, "S-1", month, house.now)
    assert not [one for one in cross_checks.findings(house.store, again.content) if one.id == "absent"]


def test_brackets_in_what_is_told_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"symbol": "FC", "found": "1 t", "times": "× 10", "likely": "-"}
    terminal.show(indicator_show.findings([Finding("slip", "block", "24-01/[red]x", figures)], "en"))
    shown = capsys.readouterr().out
    assert "[[accepted]]" in shown and "[red]x" in shown
