"""Rows that are made of blocks rot: the start check or the audit finds them, and they are made anew from the blocks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloud import audit, audit_file, closing, mend, mend_files
from cloud.copier import Copier
from cloud.keys import load_or_create
from cloud.soundness import check
from cloud.store import Store
from protocols.record import transport
from tests.cloud.conftest import MIDNIGHT, Rig
from tests.cloud.test_copy import figures

HOUR = 3_600_000
BLOCKS = 26


Kept = tuple[Path, Any, int]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rig, int]:
    """A folder with a collector's of a day of one gateway, and its second copy; the gateway; the time."""
    base = tmp_path_factory.mktemp("day")
    rig, folder, now = Rig(base, "300s", "1h"), base / "data", MIDNIGHT + BLOCKS * HOUR
    folder.mkdir()
    key = load_or_create(folder / "collector.key")
    with Store(folder / "collector.db", key) as store:
        rig.enrol(store, key)
        for at in range(MIDNIGHT, now, HOUR):
            dead = "M-02" if at == MIDNIGHT + 10 * HOUR else ""
            store.append([transport.pack(rig.block(at, at + HOUR, dead=dead))], at + HOUR + 3_000)
        closing.close_all(store, now)
        Copier(store, base / "copy", lambda: now, same_disk=True).close()
    return base, rig, now


@pytest.fixture
def rig(day: tuple[Path, Rig, int]) -> Rig:
    """The gateway."""
    return day[1]


@pytest.fixture
def kept(day: tuple[Path, Rig, int], tmp_path: Path) -> Kept:
    """A collector's folder of its own, with its copy beside it; the key; the time."""
    for name in ("data", "copy"):
        shutil.copytree(day[0] / name, tmp_path / name)
    return tmp_path / "data", load_or_create(tmp_path / "data" / "collector.key"), day[2]


def everything(store: Store) -> dict[str, list[Any]]:
    with store.booked() as db:
        power = sorted(db.execute("SELECT device, point, start, round(total, 6), peak, samples FROM power"))
    return figures(store, "incidents") | {"power": power}


ROT = (
    "UPDATE closed_intervals SET consumption = '99999' WHERE start = {noon}",
    "UPDATE closed_intervals SET end_value = x'00ff' WHERE start = {noon} + 900000",
    "DELETE FROM closed_intervals WHERE start = {noon} + 1800000",
    "UPDATE closed_intervals SET device = 'X-9' WHERE device = 'M-01' AND start = {noon} + 2700000",
    "UPDATE open_intervals SET rows = replace(rows, '\"ok\"', '\"no\"')",
    "UPDATE latest SET reply = zeroblob(length(reply))",
    "UPDATE power SET total = total * 1.01, samples = 3 WHERE start = {noon}",
    "UPDATE power SET total = x'00' WHERE start = {noon} + 900000",
    "UPDATE blocks SET utc_start = utc_start + 4096, utc_end = 7 WHERE seq = 20",
    "UPDATE blocks SET readings = 1, config_number = 9 WHERE seq = 21",
    "UPDATE blocks SET fault = 'REC-301: no' WHERE seq = 22",
    "UPDATE blocks SET received_at = received_at + 65536 WHERE seq = 23",
    "UPDATE gateways SET readings = 3, gaps = 5, block_end = 9",
    "UPDATE gateways SET spki = zeroblob(44)",
    "UPDATE events SET detail = 'other'",
    "UPDATE closed_intervals SET device = CAST(x'4dff3031' AS TEXT) WHERE device = 'M-01' AND start = {noon} + 3600000",
    "UPDATE closed_intervals SET unit = CAST(x'6bff68' AS TEXT) WHERE device = 'M-02' AND start = {noon} + 3600000",
    "UPDATE power SET point = CAST(x'ff' AS TEXT) WHERE start = {noon} + 3600000",
)
UNREADABLE = (
    "UPDATE open_intervals SET rows = substr(rows, 9)",
    "UPDATE open_intervals SET rows = replace(rows, '.', ':')",
)


def rotted(store: Store, *statements: str) -> None:
    with store.writing() as db:
        for statement in statements:
            assert db.execute(statement.format(noon=MIDNIGHT + 12 * HOUR)).rowcount > 0, statement


def test_what_is_booked_and_rots_is_made_anew_and_nothing_else_is_touched(kept: Kept, rig: Rig, tmp_path: Path) -> None:
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        before = everything(store)
        rotted(store, *ROT)
        assert mend.mend(store, None, "", now).damaged == ()
        booked = mend.rebook_all(store, key, tmp_path / "copy", "", now)
        assert (booked.left, booked.arrivals) == (0, 1)
        assert booked.rebooked[0].rows.keys() == {
            *("closed_intervals", "open_intervals", "latest", "power", "blocks", "gateways", "events"),
        }
        assert everything(store) == before
        assert check(store, key.public, now) == []
        again = mend.rebook_all(store, key, tmp_path / "copy", "", now)
        assert (again.rows, again.arrivals) == (0, 0)
        assert [row.kind for row in store.incidents()] == ["rebooked"]
    with audit_file.open_file(folder / "collector.db") as db:
        assert audit.Audit(db, rig.id, lambda _: None).run(key.public).found == 0
    assert not [path for path in folder.iterdir() if "rebooking" in path.name]


@pytest.mark.parametrize("statement", UNREADABLE)
def test_a_start_names_the_gateway_whose_batches_could_not_be_booked(kept: Kept, rig: Rig, statement: str) -> None:
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        before = everything(store)
        rotted(store, statement)
    with Store(folder / "collector.db", key) as store:
        (told,) = check(store, key.public, now)
        assert re.search(f"{rig.id.hex()}.*--rebook", str(told))
        assert mend.rebook_all(store, key, None, rig.id.hex()[:6], now).rows > 0
        assert check(store, key.public, now) == []
        assert everything(store) == before


@pytest.mark.parametrize("number", [8, 9])
def test_a_newest_block_whose_row_says_something_else_is_named_at_a_start_and_its_row_put_right(
    kept: Kept, rig: Rig, number: int
) -> None:
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        was = store.block_row(rig.id, 0, number + 12)
        rotted(store, ROT[number].replace("readings = 1, ", ""))
        (told,) = check(store, key.public, now)
        assert f"block 0/{number + 12}: " in str(told) and "put right" in str(told)
        assert store.block_row(rig.id, 0, number + 12) == was
        assert [(row.kind, row.seq) for row in store.incidents()] == [("mended", number + 12)]
        assert check(store, key.public, now) == []


def test_a_configuration_and_a_profile_that_rot_are_named_and_put_back_from_the_copy(
    kept: Kept, tmp_path: Path
) -> None:
    """Every block of their gateway rests on them."""
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        before = everything(store)
        rotted(store, "UPDATE configs SET envelope = zeroblob(90)", "UPDATE profiles SET source = zeroblob(9)")
        assert re.search(r"configuration 1 of gateway .*--copy", "".join(map(str, check(store, key.public, now))))
        assert mend.rebook_all(store, key, None, "", now).left == 1
        files = mend_files.rotten(store)
        assert sorted(map(repr, mend_files.mend(store, tmp_path / "copy"))) == sorted(map(repr, files))
        assert check(store, key.public, now) == []
        assert everything(store) == before and mend_files.rotten(store) == []


def test_a_figure_drawn_from_a_row_that_had_rotted_gets_a_newer_version(kept: Kept) -> None:
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        (first,) = [row for row in store.statements() if row.period.count("-") == 2]
        with store.writing() as db:
            where = f"start = {MIDNIGHT + 12 * HOUR}"
            db.execute(f"UPDATE closed_intervals SET consumption = '99999', ingest_seq = -ingest_seq WHERE {where}")
            db.execute(f"UPDATE closed_intervals SET ingest_seq = 1000000 - ingest_seq WHERE {where}")
            db.execute("UPDATE meta SET value = 2000000 WHERE name = 'ingest_seq'")
        closing.close_all(store, now)
        wrong = next(row for row in store.statements() if row.id == first.id)
        assert wrong.version == 2
        mend.rebook_all(store, key, None, "", now)
        closing.close_all(store, now)
        right = next(row for row in store.statements() if row.id == first.id)
        assert (right.version, right.digest) == (3, first.digest)


def test_it_is_refused_beside_a_running_collector_and_says_what_it_did(kept: Kept, rig: Rig) -> None:
    folder, key, _ = kept

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", *words, "--data", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with Store(folder / "collector.db", key) as store:
        rotted(store, ROT[0])
        store.serve_alone()
        busy = run("mend", "--rebook")
        assert busy.returncode != 0 and "another collector serves it" in busy.stderr
    audited = run("audit")
    assert audited.returncode == 4 and "mend --rebook" in audited.stdout
    done = run("mend", "--rebook", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and [one["why"] for one in told["rebooked"]] == [""], done.stderr
    assert list(told["rebooked"][0]["rows"]) == ["closed_intervals"]


def test_with_a_block_that_is_lost_nothing_is_booked_anew_and_it_says_so(kept: Kept, rig: Rig) -> None:
    folder, key, now = kept
    with Store(folder / "collector.db", key) as store:
        with store.writing() as db:
            db.execute("UPDATE blocks SET frame = zeroblob(30) WHERE seq = 20")
        rotted(store, ROT[6])
        before = everything(store)
        (one,) = mend.rebook_all(store, key, None, "", now).rebooked
        assert "0/20" in one.why and one.rows == {}
        assert everything(store) == before
