"""Power cuts on a small scale: the real agent and collector recorded for seconds, and the controls caught."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from proofs import box as boxes
from proofs import scenes
from proofs.images import Disk
from proofs.power_cuts import collector_line, cut, gateway_line, recovered
from proofs.recording import Write
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


def test_stores_are_the_same_by_the_pages_that_sqlite_recovers_wherever_these_lie(tmp_path):
    lived = tmp_path / "lived"
    lived.mkdir()

    def left(name, torn=b""):
        folder = tmp_path / name
        shutil.copytree(lived, folder, ignore=shutil.ignore_patterns("*-shm"))
        with (folder / "a.db-wal").open("ab") as log:
            log.write(torn)
        return folder / "a.db"

    with closing(sqlite3.connect(lived / "a.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE held (row)")
        one, torn = left("one"), left("torn", b"torn" * 300)
        db.execute("INSERT INTO held VALUES (2)")
        two = left("two")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        folded = left("folded")
    before = {file.name: file.read_bytes() for file in torn.parent.iterdir()}
    assert recovered(torn) == recovered(one) != recovered(two) == recovered(folded)
    assert {file.name: file.read_bytes() for file in torn.parent.iterdir()} == before
    folded.write_bytes(b"no store" * 512)
    assert recovered(folded) is None and recovered(tmp_path / "none.db") is None


class Moody:
    """Takes a disk for whole when it is asked first, and never after."""

    working, store = ("a.db",), "a.db"

    def __init__(self):
        self.asked = 0

    def follow(self, operation, whole):
        return False

    def examine(self, folder, version):
        self.asked += 1
        return [] if self.asked == 1 else ["not whole"]


def test_disks_with_the_same_rows_that_do_not_start_alike_are_told(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE held (row)")
    data, watch = (tmp_path / "a.db").read_bytes(), Moody()
    behind = [Write("a.db", len(data), bytes([number]) * 4096) for number in range(40)]  # no page of the store
    outcome = cut(behind, lambda: Disk({"a.db": data}), 800, SEED, tmp_path, watch)
    assert watch.asked == outcome.started < outcome.different
    assert outcome.violations > 0 and "do not start alike" in outcome.found[0]
