"""Power cuts on a small scale: the real agent and collector recorded for seconds, and the controls caught."""

import shutil

import pytest

from proofs import box as boxes
from proofs import scenes
from proofs.power_cuts import collector_line, gateway_line
from proofs.scenes import Lives

SEED = 4
pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.xdist_group("power_cuts"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A gateway and a collector, each with a second life."""
    folder = tmp_path_factory.mktemp("recorded")
    lives = Lives((1.5, 1.5), (boxes.KILL, boxes.STOP))
    with scenes.meter() as meter:
        yield scenes.live(folder, boxes.site_file(meter.place, meters=2), lives, lives)


def test_a_gateway_keeps_what_it_acknowledged_through_any_cut(recorded, tmp_path):
    box, gateway, _ = recorded
    line = gateway_line("gateway", box, gateway, 400, SEED, tmp_path)
    assert line.faults == () and line.tried == 400


def test_so_does_a_collector(recorded, tmp_path):
    box, _, collector = recorded
    line = collector_line("collector", box, collector, 250, SEED, tmp_path)
    assert line.faults == () and line.tried == 250


def test_a_disk_that_ignores_syncs_is_seen(recorded, tmp_path):
    box, gateway, _ = recorded
    line = gateway_line("lying", box, gateway, 60, SEED, tmp_path, honest=False)
    assert line.control and line.faults == () and line.violations > 30


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_an_agent_that_syncs_less_is_seen(synchronous, tmp_path):
    with scenes.meter() as meter:
        site = boxes.site_file(meter.place, meters=2)
        weak = scenes.weak(tmp_path / "weak", site, synchronous, Lives((1.0,), (boxes.KILL,)))
    line = gateway_line(synchronous, *weak, 80, SEED, tmp_path, control=True)
    assert line.faults == () and line.violations > 0
