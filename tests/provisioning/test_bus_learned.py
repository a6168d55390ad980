"""``tanmeter bus learned``: what the meters taught, as lines that make the signed plan fit them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drivers import site as sites
from drivers.installation import install
from edge.config import LEARNED
from edge.learned import Learned
from edge.notebook import Notebook
from protocols import modbus
from protocols.errors import ConfigError
from protocols.record.cose import PrivateKey
from provisioning import bus_commands, site_init

NOW = 1_790_000_000_000
REFUSED = {6, 7}
"""Registers of the meter below that its firmware does not have."""


def taught(state: Path, site: bytes) -> None:
    """A day with a meter that refuses two registers between points of ours, and takes 23 ms."""
    held = install(site, site_init.gather(site))
    drivers = dict(enumerate(held.drivers))
    learned = Learned(drivers)
    for slot in range(40):
        for query in range(len(drivers[0].queries())):
            asking = learned.requests(0, query, NOW + slot)
            waiting = [raw for raw in (asking.own, *asking.beyond) if raw is not None]
            while waiting:
                raw = waiting.pop(0)
                asked = modbus.parse_tcp(raw)
                if REFUSED & set(range(asked.address, asked.address + asked.count)):
                    waiting += learned.refused(0, query, raw, 2, NOW + slot)
                else:
                    learned.answered(0, query, raw, 23, NOW + slot)
    Notebook(state / LEARNED, held.site, drivers).write(learned.memories)


@pytest.fixture
def box(tmp_path: Path, site: bytes, technician: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANMETER_LANG", "en")
    site_init.init(tmp_path / "box", site, site_init.gather(site), technician, NOW)
    return tmp_path / "box"


def test_nothing_is_known_of_a_new_box(box: Path) -> None:
    result = CliRunner().invoke(bus_commands.app, ["learned", "--state", str(box), "--json"])
    told = json.loads(result.stdout)["devices"]
    assert [(each["device"], each["answers"], each["lines"]) for each in told] == [("M-01", 0, []), ("M-02", 0, [])]


def test_what_was_learned_becomes_lines_of_the_site_file(
    box: Path, site: bytes, technician: PrivateKey, tmp_path: Path
) -> None:
    taught(box, site)
    result = CliRunner().invoke(bus_commands.app, ["learned", "--state", str(box), "--json"])
    first, _ = json.loads(result.stdout)["devices"]
    assert first["turnaround_ms"] == [23, 23] and "turnaround_ms = 23" in first["lines"]
    [[low, high]] = first["forbidden"]
    assert set(range(low, high + 1)) >= REFUSED and f"forbidden = [[{low}, {high}]]" in first["lines"]
    table = CliRunner().invoke(bus_commands.app, ["learned", "--state", str(box)]).stdout
    assert f"{low}-{high}" in table and "    turnaround_ms = 23" in table
    changed = site.replace(b'role = "purchased"', b'role = "purchased"\n' + "\n".join(first["lines"]).encode())
    held = install(changed, site_init.gather(changed))
    for query in held.drivers[0].queries():
        asked = modbus.parse_tcp(query.request)
        assert not REFUSED & set(range(asked.address, asked.address + asked.count)), "the plan is right now"
    assert site_init.sign(box, changed, site_init.gather(changed), technician, NOW + 1) == 2
    assert sites.load(changed).device[0].turnaround_ms == 23


def test_no_box_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(bus_commands.app, ["learned", "--state", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
