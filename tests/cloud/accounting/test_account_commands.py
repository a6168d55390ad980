"""tanmeter account: from a file without a server, and over a collector's folder."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cloud import account_commands, config, factor_commands
from cloud.accounting import factors
from cloud.store import Store
from protocols.errors import (
    ActivityError,
    ConfigError,
    EnrolmentError,
    FactorError,
    LockedError,
    MethodError,
    PeriodError,
    TanmeterError,
    UnitError,
    UnknownNameError,
)
from protocols.record.cose import PrivateKey
from tests.cloud import tables

SUBJECTS = tables.subject_file(
    tables.subject("S-DEMO", tables.meter("M-01"), zh="示例机械厂", en="Example machine works", site="S-DEMO")
)
ACTIVITY = tables.activity_file(
    "S-DEMO",
    tables.fuel("natural_gas", "10 1e4Nm3", "2026-10-03", "2026-10-04"),
    tables.entry("24-08", "2026-10-03", "2026-10-04", 'label = "site B"\nAD = "1000 MWh"'),
)


def run(*arguments: str, language: str = "en") -> Result:
    return CliRunner().invoke(account_commands.account, arguments, env={"TANMETER_LANG": language})


def told(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def error(*arguments: str) -> TanmeterError:
    done = run(*arguments)
    assert isinstance(done.exception, TanmeterError), done.output
    return done.exception


@pytest.fixture
def activity(tmp_path: Path) -> str:
    (tmp_path / "activity.toml").write_text(ACTIVITY)
    return str(tmp_path / "activity.toml")


@pytest.fixture
def calc(activity: str) -> Callable[..., tuple[str, ...]]:
    def words(*more: str) -> tuple[str, ...]:
        return ("calc", "--activity", activity, "--period", "2026-10-03", *more)

    return words


@pytest.fixture
def data(full: Any, tmp_path: Path) -> list[str]:
    """The options for a folder of a collector that has the day of the shared rig, and a subject."""
    folder = tmp_path / "data"
    key = config.create_key(folder)
    full[0].store.back_up(folder / config.STORE)
    Store(folder / config.STORE, key).close()
    (tmp_path / "subjects.toml").write_text(SUBJECTS)
    options = ["--data", str(folder)]
    done = run("subject", "import", str(tmp_path / "subjects.toml"), "--by", "周", *options)
    assert done.exit_code == 0, done.output
    return options


def test_what_is_wrong_is_named_as_its_writer_wrote_it(calc: Any, activity: str) -> None:
    words = calc("--method", "ndrc-24-2015")
    source = Path(activity).read_text()
    for wrong, expected in (
        ("10 t", "24-01/natural_gas: found FC = 10 t, expected FC in 1e4Nm3"),
        ("10", "24-01/natural_gas: found FC = 10 without a unit, expected FC in 1e4Nm3"),
    ):
        Path(activity).write_text(source.replace("10 1e4Nm3", wrong))
        assert (found := error(*words)).args == (expected,) and isinstance(found, UnitError)
    Path(activity).write_text(source.replace("1000 MWh", "1000 t"))
    assert str(error(*words)) == "24-08/site B: found AD = 1000 t, expected AD in MWh"
    Path(activity).write_text(source.replace("until = 2026-10-04", "until = 2026-10-05", 1))
    found = error(*words)
    assert isinstance(found, ActivityError) and "24-01/natural_gas" in str(found) and "cut" in str(found)


def test_a_period_or_a_method_that_is_none_is_told_as_such(activity: str) -> None:
    for period in ("june", "２０２６"):  # full-width digits: of 2026 there would have been accounts of two names
        found = error("calc", "--activity", activity, "--period", period, "--method", "ndrc-24-2015")
        assert isinstance(found, PeriodError) and found.exit_code == 2
    found = error("calc", "--activity", activity, "--period", "2026-10-03", "--method", "ndrc-7")
    assert isinstance(found, MethodError) and "ndrc-07-2013" in str(found)


def test_a_file_is_calculated_without_a_server_and_shows_how(calc: Any) -> None:
    shown = run(*calc("--method", "ndrc-24-2015"), language="zh")
    assert shown.exit_code == 0, shown.output
    for part in ("530.6", "1000 MWh · 0.5306 tCO2/MWh", "FC·NCV·CC·OF·44/12", "cn.grid.national@2023", "DRAFT", "合计"):
        assert part in shown.stdout
    assert "草稿" in shown.stdout
    found = told(*calc("--method", "ndrc-24-2015"))
    assert found["totals"]["indirect"] == "530.6"
    assert Decimal(found["result"]["value"]) == sum(Decimal(line["result"]["value"]) for line in found["lines"])
    assert found["provisional"] is True and {"id", "zh", "en"} == set(found["reasons"][0])


def test_region_basis_and_gwp_are_chosen_and_never_guessed(calc: Any) -> None:
    base = ("--method", "ndrc-24-2015")
    assert told(*calc(*base, "--basis", "residual"))["totals"]["indirect"] == "609.6"
    assert told(*calc(*base, "--gwp", "AR5"))["gwp_set"] == "AR5"
    assert isinstance(error(*calc(*base, "--region", "atlantis")), FactorError)


def test_factors_are_those_of_a_file_or_of_the_digest_expected(calc: Any, tmp_path: Path) -> None:
    base = calc("--method", "ndrc-24-2015")
    known = factors.builtin()
    (tmp_path / "old.toml").write_bytes(known.files["cn-grid-2021.toml"])
    assert told(*base, "--factors", str(tmp_path / "old.toml"))["totals"]["indirect"] == "556.8"
    assert told(*base, "--factors", known.sha256)["factor_set"] == known.sha256
    assert isinstance(error(*base, "--factors", "0" * 64), FactorError)


def test_what_is_wrong_is_told_with_the_code_of_its_kind(calc: Any, activity: str, tmp_path: Path) -> None:
    assert isinstance(error(*calc()), ConfigError)
    assert isinstance(error(*calc("--method", "ndrc-25")), MethodError)
    bad = tmp_path / "bad.toml"
    bad.write_text(ACTIVITY.replace('AD = "1000 MWh"', 'AE = "1000 MWh"'))
    found = error("calc", "--activity", str(bad), "--period", "2026-10-03", "--method", "ndrc-24-2015")
    assert isinstance(found, ActivityError) and "AE" in str(found) and found.exit_code == 8
    missing = error("calc", "--activity", str(tmp_path / "none"), "--period", "2026-10", "--method", "ndrc-24-2015")
    assert isinstance(missing, ConfigError) and missing.exit_code == 6


def test_two_methods_over_one_activity_differ_by_factor_and_method(activity: str) -> None:
    words = ("diff", "ndrc-24-2015", "ndrc-20-2015", "--activity", activity, "--period", "2026-10-03")
    found = told(*words)
    before, after = (Decimal(value) for value in found["tco2e"])
    assert Decimal(found["total"]) == after - before
    assert Decimal(found["total"]) == sum(Decimal(found[name]) for name in ("activity", "factor", "method", "boundary"))
    assert found["activity"] == "0"
    assert run(*words).exit_code == 0


def test_a_subject_is_imported_listed_and_shown(data: list[str]) -> None:
    assert told("subject", "list", *data)["id"] == "S-DEMO"
    assert told("subject", "show", "S-DEMO", *data)["by"] == "周"
    assert "示例机械厂" in run("subject", "list", *data, language="zh").stdout
    assert 'device = "M-01"' in run("subject", "show", "S-DEMO", *data).stdout
    assert isinstance(error("subject", "show", "S-1", *data), UnknownNameError)


def test_from_the_meter_to_a_locked_version_and_what_changed(data: list[str], activity: str) -> None:
    first = told("close", "S-DEMO", "2026-10-03", *data)
    assert (first["account"], first["state"]) == ("A-S-DEMO-2026-10-03@1", "provisional")
    assert told("close", "S-DEMO", "2026-10-03", *data) == first
    assert told("close", "S-DEMO", "2026-10-03", "--statement", *data)["statement"].startswith("E-S-DEMO-2026-10-03@")
    kept = told("activity", "declare", activity, "--by", "王工", *data)
    assert (kept["count"], kept["undocumented"]) == (2, 2)
    assert "2 of its values name no document" in run("activity", "declare", activity, "--by", "王工", *data).stderr
    second = told("close", "S-DEMO", "2026-10-03", *data)
    assert second["version"] == 2 and second["lines"] == 3
    found = told("diff", "A-S-DEMO-2026-10-03@1", "A-S-DEMO-2026-10-03@2", *data)
    assert Decimal(found["activity"]) == Decimal(second["tco2e"]) - Decimal(first["tco2e"])
    assert isinstance(error("lock", second["account"], "--by", "王", "--by", "李", *data), LockedError)
    once = run("lock", second["account"], "--by", "王", "--with-exceptions", *data)
    assert once.exit_code == 0 and "four eyes" in once.stderr
    locked = told("lock", second["account"], "--by", "李", "--with-exceptions", *data)
    assert (locked["state"], locked["locked_by"]) == ("locked", ["王", "李"]) and locked["exceptions"]
    listed = run("list", "--subject", "S-DEMO", *data, language="zh").stdout
    assert "已锁定" in listed and "A-S-DEMO-2026-10-03@2" in listed
    assert told("explain", "A-S-DEMO-2026-10-03@1", *data)["state"] == "superseded"


def test_a_line_leads_to_registers_blocks_and_the_evidence_of_the_site(data: list[str]) -> None:
    told("close", "S-DEMO", "2026-10-03", *data)
    found = told("explain", "A-S-DEMO-2026-10-03", *data)
    (line,) = found["lines"]
    (increment,) = line["increments"]
    assert increment["first"]["at"].startswith("2026-10-0") and increment["first"]["block"].startswith("/v1/blocks/")
    moved = Decimal(increment["last"]["value"]) - Decimal(increment["first"]["value"])
    assert moved * Decimal(increment["multipliers"][0]) == Decimal(line["inputs"][0]["value"])
    assert increment["statements"][0]["statement"].startswith("E-S-DEMO-2026-10-03@")
    shown = " ".join(run("explain", "A-S-DEMO-2026-10-03", *data).stdout.replace("│", " ").split())
    assert "meter:" in shown and f"M-01.energy_import: {increment['first']['value']} (" in shown
    assert increment["statements"][0]["statement"] in shown and increment["later"] == 0
    assert isinstance(error("explain", "A-S-DEMO-2026-10-03", "--line", "24-99", *data), UnknownNameError)


def test_an_account_is_made_again_and_what_was_altered_is_found_out(data: list[str], activity: str) -> None:
    told("activity", "declare", activity, "--by", "王工", *data)
    made = told("close", "S-DEMO", "2026-10-03", *data)
    found = told("verify", made["account"], *data)
    assert found["ok"] is True and {check["outcome"] for check in found["checks"]} == {"held"}
    assert found["checks"][-1]["detail"] == made["digest"]
    path = Path(data[1]) / config.STORE
    with Store(path, config.open_key(path.parent)) as store, store.writing() as db:
        db.execute(
            "UPDATE closed_intervals SET readings = readings + 1 WHERE device = 'M-01' AND point = 'energy_import'"
            " AND start = (SELECT min(start) FROM closed_intervals WHERE device = 'M-01' AND point = 'energy_import')"
        )
    done = run("verify", made["account"], "--json", *data)
    assert done.exit_code == 4
    failed = [check["name"] for check in json.loads(done.stdout)["checks"] if check["outcome"] == "failed"]
    assert failed == ["activity 24-08/M-01.AD"]
    assert "does not hold" in run("verify", made["account"], *data).stdout


def test_accounts_are_refreshed_after_a_factor_has_changed(data: list[str], tmp_path: Path) -> None:
    first = told("close", "S-DEMO", "2026-10-03", *data)
    assert told("refresh", *data) == {"seen": 1, "made": 0, "failed": {}}
    grid = factors.builtin().files["cn-grid-2023.toml"].replace(b"2023", b"2026")
    (tmp_path / "grid-2026.toml").write_bytes(grid.replace(b'value = "0.5306"', b'value = "0.5100"'))
    key = PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.pem())
    (tmp_path / "public.pem").write_bytes(key.public.pem())
    out, public = str(tmp_path / "b.cose"), str(tmp_path / "public.pem")
    signed = ["sign", str(tmp_path / "grid-2026.toml"), "--publisher", "MEE", "--key", str(tmp_path / "key.pem")]
    for words in ([*signed, "-o", out], ["import", out, "--key", public, *data]):
        done = CliRunner().invoke(factor_commands.factor, words)
        assert done.exit_code == 0, (done.output, done.exception)
    assert told("refresh", "--period", "2026-10-03", *data)["made"] == 1
    second = told("explain", "A-S-DEMO-2026-10-03", *data)
    assert second["version"] == 2 and second["difference"]["vintage"] == second["difference"]["total"]
    assert Decimal(second["result"]["value"]) * 5306 == Decimal(first["tco2e"]) * 5100
    assert "1 of 1" not in run("refresh", *data).stderr


def test_a_signed_file_comes_in_under_a_registered_key(data: list[str], activity: str, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.pem())
    (tmp_path / "public.pem").write_bytes(key.public.pem())
    out = str(tmp_path / "activity.cose")
    assert run("activity", "sign", activity, "--key", str(tmp_path / "key.pem"), "-o", out).exit_code == 0
    assert isinstance(error("activity", "import", out, *data), EnrolmentError)
    kid = told("signer", "add", "计量科", str(tmp_path / "public.pem"), *data)["kid"]
    kept = told("activity", "import", out, *data)
    assert (kept["grade"], kept["by"], kept["kid"]) == ("imported", "计量科", kid)
    assert told("activity", "list", *data)["sha256"] == kept["sha256"]
    assert kept["sha256"][:16] in run("activity", "list", *data).stdout
    assert run("signer", "remove", kid, *data).exit_code == 0
    assert told("signer", "list", *data)["trusted"] is False
    assert kid in run("signer", "list", *data).stdout


def test_a_name_that_is_neither_subject_nor_site_is_told_with_those_there_are(data: list[str]) -> None:
    found = error("close", "S-DEM0", "2026-10-03", *data)
    assert isinstance(found, UnknownNameError) and "expected S-DEMO, or a site: S-DEMO" in str(found)
