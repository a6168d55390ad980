"""tanmeter site, as a person types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from drivers import site as sites
from protocols.errors import ConfigError, OverloadError, TanmeterError
from protocols.record.cose import PrivateKey
from provisioning import commands, folder
from provisioning.site_file import Wishes, compose

NOW = 1_790_000_000_000
PORT = "name=rs485-1,device=/dev/serial/by-id/usb-1,mode=2400-8E1"
METER = "id=M-01,profile=dlt645-2007-three-phase,port=rs485-1,address=000021407732,ct=400/5,role=purchased"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TANMETER_STATE", str(tmp_path / "box"))
    monkeypatch.setenv("TANMETER_LANG", "en")


def run(*arguments: str, typed: str | None = None) -> Result:
    result = CliRunner().invoke(commands.app, arguments, input=typed)
    if result.exception and not isinstance(result.exception, SystemExit | TanmeterError):
        raise result.exception
    return result


def wrong(*arguments: str) -> ConfigError:
    error = run(*arguments).exception
    assert isinstance(error, ConfigError)
    return error


def test_a_box_from_options(tmp_path: Path) -> None:
    result = run("init", "--id", "S-1", "--name", "示例", "--port", PORT, "--device", METER)
    box = folder.read_box(tmp_path / "box")
    assert result.stdout == f"site S-1 is set up, gateway {box.enrolment.key.id.hex()}\n"
    assert "technician.key" in result.stderr and "tanmeter edge run" in result.stderr
    assert (
        PrivateKey.from_pem((tmp_path / "config/tanmeter/technician.key").read_bytes()).public
        == box.enrolment.technician
    )
    site = sites.load(box.newest.site)
    assert (site.site.name, site.port[0].mode, site.device[0].address) == ("示例", "2400-8E1", "000021407732")
    assert sites.multiplier(site.device[0], box.newest.valid_from) == 80


def test_a_data_logger_and_a_meter_with_line_settings_of_its_own_from_options(tmp_path: Path) -> None:
    logger = "id=S-01,profile=hj212-cems,port=logger-1,address=88888880000001,role=flue-gas"
    ports = ("--port", PORT, "--port", "name=logger-1,listen=0.0.0.0:9001")
    result = run("init", "--id", "S-1", *ports, "--device", METER + ",mode=9600-8N1", "--device", logger)
    assert result.exit_code == 0, result.output
    source = (tmp_path / "box" / "site.toml").read_text("utf-8")
    assert 'listen = "0.0.0.0:9001"' in source and 'mode = "9600-8N1"' in source


def test_a_box_from_a_file_and_a_key(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    (tmp_path / "my.toml").write_bytes(site)
    key = tmp_path / "key"
    key.write_bytes(technician.pem())
    key.chmod(0o600)
    run("init", "--file", str(tmp_path / "my.toml"), "--technician-key", str(key), "--state", str(tmp_path / "other"))
    box = folder.read_box(tmp_path / "other")
    assert box.newest.site == site and box.enrolment.technician == technician.public


def test_a_technicians_key_others_can_read_is_refused(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    (tmp_path / "my.toml").write_bytes(site)
    (tmp_path / "key").write_bytes(technician.pem())
    (tmp_path / "key").chmod(0o644)
    error = wrong("init", "--file", str(tmp_path / "my.toml"), "--technician-key", str(tmp_path / "key"))
    assert "mode 0644" in str(error) and not (tmp_path / "box").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--id: found nothing"),
        (("--id", "S-1"), "--port: found nothing"),
        (("--id", "S-1", "--port", PORT), "--device: found nothing"),
        (("--id", "S 1", "--port", PORT, "--device", METER), "site.id"),
        (("--id", "S-1", "--port", "name=a", "--device", METER), "port[0]"),
        (("--id", "S-1", "--port", "nme=a", "--device", METER), "'nme=a'"),
        (("--id", "S-1", "--port", PORT + ",mode=2400-8E1", "--device", METER), "'mode' a second time"),
        (("--id", "S-1", "--port", PORT, "--device", METER + ",ct"), "'ct'"),
        (("--id", "S-1", "--port", PORT, "--device", METER.replace("400/5", "4x")), "ratios[0].ct"),
        (("--id", "S-1", "--port", PORT, "--device", METER + ",from=today"), "'today'"),
        (("--id", "S-1", "--port", PORT, "--device", METER, "--timezone", "Mars"), "--timezone"),
        (("--file", "/nowhere/site.toml"), "/nowhere/site.toml"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in str(wrong("init", *arguments))
    assert not (tmp_path / "box").exists()


def test_a_terminal_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_on_terminal", lambda: True)
    answers = [
        *("S-1", "Works", "/dev/ttyS9", "2400-8E1", "M-01", "y", "10.0.0.9:502", "n"),
        *(
            "",
            "?",
            "dlt645-2007-three-fase",
            "dlt645-2007-three-phase",
            "rs485-1",
            "000021407732",
            "",
            "400/5",
            "",
            "y",
        ),
        *("", "eastron-sdm630", "tcp-2", "seven", "sub", "", ""),
        *("", "eastron-sdm630", "tcp-2", "7,8", "sub", "", ""),
        *("", "eastron-sdm630", "tcp-2", "7", "sub", "", "", "n"),
    ]
    result = run("init", typed="\n".join(answers) + "\n")
    assert "site S-1 is set up" in result.stdout
    told = result.stderr
    assert "“M-01” does not fit, once more" in told, "a question of yes or no is asked again in words of ours"
    assert "once more: site.toml: device[1].address: found 'seven', expected a unit" in told
    assert "found '8', expected key=value" in told
    assert told.count("kamstrup-multical-601") == 1, (
        "all models are shown to whoever asks for them, and else those alike"
    )
    assert "no model “dlt645-2007-three-fase”; there are: dlt645-2007-three-phase" in told
    site = sites.load(folder.read_box(tmp_path / "box").newest.site)
    assert [(port.name, port.device, port.tcp) for port in site.port] == [
        ("rs485-1", "/dev/ttyS9", None),
        ("tcp-2", None, "10.0.0.9:502"),
    ]
    assert [(device.id, device.port, device.role) for device in site.device] == [
        ("M-01", "rs485-1", "purchased"),
        ("M-02", "tcp-2", "sub"),
    ]
    assert sites.multiplier(site.device[0], 4_000_000_000_000) == 80


def test_a_port_that_cannot_be_is_asked_for_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was refused behind the last question, with all answers lost."""
    monkeypatch.setattr(commands, "_on_terminal", lambda: True)
    wrong = ("listen=0.0.0.0:99999", "10.0.0.9:0", "/dev/a,b", "/dev/ttyS9", "10.0.0.9:502", "listen=10.0.0.9:502")
    ports = ("/dev/ttyS9", "2400-8E1", "y", "10.0.0.9:502", "y", *wrong, "listen=10.0.0.9:503", "n")
    meter = ("", "dlt645-2007-three-phase", "rs485-1", "000021407732", "", "", "", "n")
    result = run("init", typed="\n".join(("S-1", "", *ports, *meter)) + "\n")
    assert "site S-1 is set up" in result.stdout
    assert all(f"“{answer}” does not fit" in result.stderr for answer in wrong)
    site = sites.load(folder.read_box(tmp_path / "box").newest.site)
    assert [port.name for port in site.port] == ["rs485-1", "tcp-2", "logger-3"]


def test_answers_are_kept_when_the_site_they_make_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that is asked for too much shows behind the last meter only."""
    monkeypatch.setattr(commands, "_on_terminal", lambda: True)
    meters = [("", "chint-dtsu666", str(address), "sub", "", "", "y") for address in range(1, 41)]
    answers = ["S-1", "", "/dev/ttyS9", "1200-8E1", "n", *(text for meter in meters for text in meter)]
    refused = run("init", typed="\n".join([*answers[:-1], "n"]) + "\n")
    path = tmp_path / "box" / "site.toml"
    assert isinstance(refused.exception, OverloadError) and f"kept in {path}" in refused.stderr
    assert len(sites.load(path.read_bytes()).device) == 40
    assert run("init", "--file", str(path), "--overload").exit_code == 0


def test_a_box_that_is_set_up_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", "--id", "S-1", "--port", PORT, "--device", METER)
    monkeypatch.setattr(commands, "_on_terminal", lambda: True)
    second = run("init", typed="S-2\n")
    assert isinstance(second.exception, ConfigError) and "a box that is set up" in str(second.exception)
    assert "site id" not in second.output


def test_what_is_shown(tmp_path: Path) -> None:
    run("init", "--id", "S-1", "--port", PORT, "--device", METER)
    found = json.loads(run("show", "--json").stdout)
    box = folder.read_box(tmp_path / "box")
    assert found["site"] == "S-1" and found["gateway"] == box.enrolment.key.id.hex()
    assert found["configuration"]["number"] == 1 and found["unsigned_changes"] is False
    assert found["collector"] is None and found["devices"][0]["profile"] == "dlt645-2007-three-phase"
    text = run("show")
    assert "not enrolled yet" in text.stdout and found["gateway"] in text.stdout and text.stderr == ""


def test_a_change_is_shown_signed_and_then_in_force(tmp_path: Path) -> None:
    run("init", "--id", "S-1", "--port", PORT, "--device", METER)
    path = tmp_path / "box/site.toml"
    path.write_text(path.read_text("utf-8").replace("400/5", "600/5"), "utf-8")
    assert "tanmeter site sign" in run("show").stderr
    result = run("sign")
    assert "-ratios" in result.stdout and "+ratios" in result.stdout and "signed configuration 2" in result.stdout
    assert json.loads(run("show", "--json").stdout)["unsigned_changes"] is False
    assert "configuration 2 stays in force" in run("sign").stdout


def test_signing_needs_the_key_and_a_box(tmp_path: Path) -> None:
    assert "site.toml" in str(wrong("sign"))
    run("init", "--id", "S-1", "--port", PORT, "--device", METER)
    (tmp_path / "config/tanmeter/technician.key").unlink()
    missing = str(wrong("sign"))
    assert "technician.key" in missing and "--technician-key FILE" in missing
    assert "site init" not in missing, "which would refuse a box that is set up"


def test_the_help_names_every_option() -> None:
    for command in ("init", "sign", "enrol", "show"):
        assert run(command, "--help").exit_code == 0


def test_text_that_needs_care_survives_the_site_file() -> None:
    name = 'a "name" \\ with # 表 \x7f and\ttab'
    wishes = Wishes("S-1", name, "Europe/Berlin", "华东", "zh", "15m", [PORT], [METER + ",from=2026-01-01"])
    site = sites.load(compose(wishes, NOW))
    assert (site.site.name, site.site.region, site.site.block) == (name, "华东", "15m")
    assert site.device[0].ratios[0].since.isoformat() == "2026-01-01T00:00:00+01:00"
