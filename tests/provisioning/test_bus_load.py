"""``tanmeter bus load``, and the same check before a site file is signed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from protocols.errors import OverloadError, TanmeterError
from provisioning import bus_commands, commands

SITE = """\
schema = 1
[site]
id = "S-1"
name = "示例"
[[port]]
name = "rs485-1"
device = "/dev/serial/by-id/usb-1"
mode = "9600-8E1"
"""


def meters(count: int, period: str) -> str:
    return "".join(
        f'[[device]]\nid = "M-{number}"\nprofile = "eastron-sdm630"\nport = "rs485-1"\naddress = "{number}"\n'
        f'period = "{period}"\n'
        for number in range(1, count + 1)
    )


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TANMETER_STATE", str(tmp_path / "box"))
    monkeypatch.setenv("TANMETER_LANG", "en")


def run(app: object, *arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)  # type: ignore[arg-type]
    if result.exception and not isinstance(result.exception, SystemExit | TanmeterError):
        raise result.exception
    return result


def written(folder: Path, devices: str) -> str:
    path = folder / "site.toml"
    path.write_text(SITE + devices, "utf-8")
    return str(path)


def test_the_load_is_told_per_device_and_in_all(tmp_path: Path) -> None:
    result = run(bus_commands.app, "load", written(tmp_path, meters(3, "10s")), "--json")
    [port] = json.loads(result.stdout)["ports"]
    assert result.exit_code == 0 and port["port"] == "rs485-1" and port["most"] == 0.7
    assert [device["device"] for device in port["devices"]] == ["M-1", "M-2", "M-3"]
    assert port["share"] == pytest.approx(sum(device["bus_ms"] for device in port["devices"]) / 10_000, abs=1e-5)
    table = run(bus_commands.app, "load", written(tmp_path, meters(3, "10s"))).stdout
    assert "M-2" in table and "rs485-1" in table and "10s" in table


def test_a_port_that_is_asked_too_much_is_told_before_the_technician_leaves(tmp_path: Path) -> None:
    path = written(tmp_path, meters(30, "1s"))
    for app, *words in ((bus_commands.app, "load", path), (commands.app, "init", "--file", path)):
        error = run(app, *words).exception
        assert isinstance(error, OverloadError) and 'period = "' in error.expected
    assert not (tmp_path / "box" / "enrolment.cose").exists()
    assert "M-30" in run(bus_commands.app, "load", path).stdout, "the table is shown all the same"
    assert run(bus_commands.app, "load", path, "--overload").exit_code == 0


def test_who_insists_may_sign_it(tmp_path: Path) -> None:
    assert run(commands.app, "init", "--file", written(tmp_path, meters(2, "10s"))).exit_code == 0
    path = written(tmp_path, meters(30, "1s"))
    assert isinstance(run(commands.app, "sign", "--file", path).exception, OverloadError)
    result = run(commands.app, "sign", "--file", path, "--overload")
    assert result.exit_code == 0 and "configuration 2" in result.stdout
