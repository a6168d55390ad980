"""The second copy: what a receipt of level 2 promises is in it, and a collector made from it has the same figures."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud import closing, segments
from cloud.copied import Kind
from cloud.copier import Copier
from cloud.restore import restore
from cloud.segments import Record, Segments
from cloud.store import Store
from protocols.errors import BusyError, ConfigError, CopyError, StoreError
from protocols.record import transport
from protocols.record.answer import Answer
from protocols.record.block import Sealed
from protocols.record.cose import PrivateKey
from protocols.record.receipt import SETTLED, Receipt, open_receipt

QUARTER = 900_000
FIGURES = {
    "intervals": "gateway, device, point, start, end, unit, meter, closed, start_value, start_at, start_epoch,"
    " start_seq, end_value, end_at, end_epoch, end_seq, rolled, multiplier, consumption, readings, expected, quality,"
    " position, period_ms, state, ignored, since, kind, covered_ms, integral",
    "doubts": "*",
    "settings": "*",
    "undated": "*",
    "latest": "*",
    "statements": "*",
    "journal": "*",
    "proofs": "*",
    "blocks": "gateway, epoch, seq, hash, utc_start, utc_end, received_at, config_number, readings, fault, frame",
    "events": "*",
    "gateways": "*",
    "configs": "*",
    "profiles": "*",
    "barred": "*",
    "incidents": "gateway, at, kind, epoch, seq, detail",
    "quarantine": "gateway, at, code, reason, signed, epoch, seq, hash, frame",
}
"""What a figure rests on, and what is told: everything but the order in which it came, and receipts."""


def figures(store: Store, *without: str) -> dict[str, list[Any]]:
    with store.booked() as db:
        return {
            table: sorted(map(repr, db.execute(f"SELECT {columns} FROM {table}")))
            for table, columns in FIGURES.items()
            if table not in without
        }


def until(happens: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


@pytest.fixture
def kept(house: Any, rig: Any, midnight: int) -> Any:
    """A collector with one gateway."""
    rig.enrol(house.store, house.key)
    return house


@pytest.fixture
def copied(house: Any, tmp_path: Path) -> Iterator[Callable[..., Copier]]:
    made: list[Copier] = []

    def start(folder: Path = tmp_path / "copy", **more: Any) -> Copier:
        options = {"same_disk": True, "every_s": 0.01, "retry_s": 0.05} | more
        made.append(Copier(house.store, folder, lambda: house.now, **options))
        return made[-1]

    yield start
    for copier in made:
        copier.close()


def settled(house: Any, rig: Any, frames: list[bytes]) -> Receipt | None:
    answered = house.store.append(frames, house.now)
    return None if answered.settled is None else open_receipt(answered.settled, house.key.public)


def test_a_receipt_of_level_2_comes_with_the_next_answer_and_covers_what_is_copied(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int
) -> None:
    frames = list(rig.history(midnight, midnight + 8 * QUARTER, QUARTER))
    kept.now = midnight + 8 * QUARTER
    assert settled(kept, rig, frames[:3]) is None
    copier = copied()
    until(lambda: copier.standing().state == "ok")
    receipt = settled(kept, rig, frames[3:4])
    assert receipt is not None
    assert (receipt.level, receipt.epoch, receipt.next_seq) == (SETTLED, 0, 3)
    until(lambda: copier.standing().behind == 0)
    assert settled(kept, rig, frames[3:4]).next_seq == 4  # type: ignore[union-attr]
    health = kept.client.get("/v1/health").json()
    assert health["copy"] == {"state": "off"}
    assert (copier.standing().state, copier.standing().same_disk) == ("ok", True)


def test_a_collector_made_from_its_copy_has_the_same_figures_bit_by_bit(
    kept: Any, rig: Any, altered: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    copier = copied()
    for index, at in enumerate(range(midnight, midnight + 100 * QUARTER, QUARTER)):
        sealed = rig.block(at, at + QUARTER, dead="M-02" if index == 10 else "")
        kept.now = at + QUARTER + 3_000
        if index == 20:
            kept.store.append([altered(sealed)], kept.now)
        if index in (30, 60):
            closing.close_all(kept.store, kept.now)
        kept.store.append([transport.pack(sealed)], kept.now)
    closing.close_all(kept.store, kept.now)
    kept.store.revoke(rig.id, "sold", kept.now)
    kept.store.bar(bytes(16), "stolen", kept.now)
    copier.close()
    made = restore(tmp_path / "copy", tmp_path / "new" / "collector.db", kept.key)
    assert (made.gateways, made.blocks) == (1, 100)
    with Store(tmp_path / "new" / "collector.db", kept.key) as again:
        found, expected = figures(again, "quarantine"), figures(kept.store, "quarantine")
        for table, rows in expected.items():
            assert found[table] == rows, table
        assert len(again.statements()) >= 1
        assert [row.code for row in again.quarantine() if row.signed] == [
            row.code for row in kept.store.quarantine() if row.signed
        ]
    assert not list((tmp_path / "new").glob("*.restoring*"))
    with pytest.raises(ConfigError, match="without one"):
        restore(tmp_path / "copy", tmp_path / "new" / "collector.db", kept.key)


def rot_away(store: Store, frame: bytes) -> None:
    """A bit of a stored block flips, in its chunks."""
    spoilt = bytearray(transport.unpack(frame).chunks[-1])
    spoilt[-1] ^= 1
    sealed = transport.unpack(frame)
    changed = transport.pack(Sealed(sealed.envelope, (*sealed.chunks[:-1], bytes(spoilt))))
    with store.writing() as db:
        assert db.execute("UPDATE blocks SET frame = ? WHERE frame = ?", (changed, frame)).rowcount == 1
        db.execute("DELETE FROM facts WHERE kind = 'mended'")


def test_a_copy_of_a_block_that_has_rotted_unseen_settles_nothing_until_it_is_put_back(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    """Its gateway is asked for it; what it sends goes into the copy, and a collector made from that is whole."""
    frames = list(rig.history(midnight, midnight + 8 * QUARTER, QUARTER))
    kept.now = midnight + 8 * QUARTER
    kept.store.append(frames[:6], kept.now)
    rot_away(kept.store, frames[3])
    copier = copied()
    until(lambda: copier.standing().state == "ok" and copier.standing().behind == 0)
    assert [(row.kind, row.epoch, row.seq) for row in kept.store.incidents()] == [("damaged", 0, 3)]
    assert settled(kept, rig, frames[6:7]).next_seq == 3  # type: ignore[union-attr]
    with pytest.raises(CopyError, match="block 0/3"):
        copied_now = tmp_path / "rotten"
        shutil.copytree(tmp_path / "copy", copied_now)
        restore(copied_now, tmp_path / "refused" / "collector.db", kept.key)
    made = restore(copied_now, tmp_path / "left" / "collector.db", kept.key, up_to_damage=True)
    assert made.blocks == 3 and made.left >= 3
    assert open_receipt(kept.store.append(frames[6:7], kept.now).receipt, kept.key.public).next_seq == 3
    kept.store.append([frames[3]], kept.now)
    assert until(lambda: settled(kept, rig, frames[6:7]).next_seq == 7)  # type: ignore[union-attr]
    copier.close()
    restore(tmp_path / "copy", tmp_path / "new" / "collector.db", kept.key)
    with Store(tmp_path / "new" / "collector.db", kept.key) as again:
        assert figures(again) == figures(kept.store)


@pytest.mark.parametrize(
    "how",
    [
        *("blocks SET gateway = 7", "blocks SET epoch = 'x'", "blocks SET seq = x'00'", "blocks SET received_at = 'x'"),
        *("blocks SET hash = 7", "blocks SET frame = 7", "facts SET after = 'x'"),
    ],
)
def test_a_row_of_a_block_that_has_rotted_keeps_no_other_from_being_copied(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path, how: str
) -> None:
    """What its gateway signed says where it belongs."""
    frames = list(rig.history(midnight, midnight + 4 * QUARTER, QUARTER))
    kept.now = midnight + 4 * QUARTER
    kept.store.append(frames, kept.now)
    kept.store.book()
    with kept.store.writing() as db:
        where = "seq = 1" if how.startswith("blocks") else "kind = 'enrolment'"
        assert db.execute(f"UPDATE {how} WHERE {where}").rowcount == 1
    copied().close()
    held = [record.fields for record in segments.read(tmp_path / "copy" / "0001") if record.kind == segments.BLOCK]
    assert [fields[:3] for fields in held] == [(rig.id, 0, seq) for seq in range(4)]
    assert [fields[4] for fields in held] == [b"" if "frame" in how and seq == 1 else frames[seq] for seq in range(4)]


def test_a_copy_that_cannot_be_written_stops_nothing_and_goes_on_by_itself(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    folder.write_text("in the way")
    frames = list(rig.history(midnight, midnight + 6 * QUARTER, QUARTER))
    kept.now = midnight + 6 * QUARTER
    copier = copied(folder)
    assert {verdict.answer for verdict in kept.store.append(frames[:4], kept.now).verdicts} == {Answer.STORED}
    assert (copier.standing().state, settled(kept, rig, frames[:1])) == ("failed", None)
    assert copier.standing().error
    folder.unlink()
    until(lambda: copier.standing().state == "ok")
    assert settled(kept, rig, frames[4:]).next_seq == 4  # type: ignore[union-attr]


def test_a_torn_end_is_cut_off_and_copied_again(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    frames = list(rig.history(midnight, midnight + 6 * QUARTER, QUARTER))
    kept.now = midnight + 6 * QUARTER
    kept.store.append(frames, kept.now)
    copied().close()
    (path,) = (tmp_path / "copy" / "0001").glob("*.copy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    torn = [record.blocks for record in segments.read(tmp_path / "copy" / "0001")]
    copied().close()
    assert path.read_bytes() == whole
    path.write_bytes(whole + bytes(100))
    copied().close()
    assert path.read_bytes() == whole
    assert torn[-1] <= 6


def test_what_stands_behind_damage_is_kept_beside_a_copy_before_it_is_cut(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    """A collector that was started anew beside its old copy had cut it off at the first bit that had rotted."""
    kept.now = midnight + 6 * QUARTER
    kept.store.append(list(rig.history(midnight, kept.now, QUARTER)), kept.now)
    copied().close()
    (path,) = (tmp_path / "copy" / "0001").glob("*.copy")
    whole = path.read_bytes()
    rotten = bytearray(whole)
    rotten[len(rotten) // 2] ^= 1
    for damaged in (bytes(rotten), bytes(1) + whole[1:]):
        path.write_bytes(damaged)
        with Store(tmp_path / "empty.db", kept.store.key) as empty:
            Copier(empty, tmp_path / "copy", lambda: kept.now, same_disk=True).close()
        (aside,) = path.parent.glob("00000001-*.damaged")
        assert aside.read_bytes() == damaged
        aside.unlink()
        shutil.rmtree(tmp_path / "copy" / "0002", ignore_errors=True)


def test_damage_in_the_middle_is_named_and_what_stands_before_it_can_be_had(tmp_path: Path) -> None:
    made = Segments(tmp_path / "0001", bytes(8), largest=200)
    for number in range(1, 6):
        made.append([Record(Kind.PROFILE, 0, number, (bytes(32), bytes([number]) * 150))])
        made.sync()
    made.close()
    paths = sorted((tmp_path / "0001").iterdir())
    assert len(paths) == 5
    data = bytearray(paths[2].read_bytes())
    data[-1] ^= 1
    paths[2].write_bytes(data)
    with pytest.raises(CopyError, match=r"00000003\.copy: found damage"):
        list(segments.read(tmp_path / "0001"))
    assert [record.facts for record in segments.read(tmp_path / "0001", up_to_damage=True)] == [1, 2]
    paths[2].unlink()
    with pytest.raises(CopyError, match=r"00000004\.copy: found damage"):
        list(segments.read(tmp_path / "0001"))


def test_damage_in_the_newest_segment_is_no_torn_end_while_records_stand_behind_it(tmp_path: Path) -> None:
    """A small collector's copy is one segment for months: a restore had dropped what stood behind one bit, and said
    nothing."""
    made = Segments(tmp_path / "0001", bytes(8))
    made.append([Record(Kind.PROFILE, 0, number, (bytes(32), bytes([number]) * 150)) for number in range(1, 6)])
    made.sync()
    made.close()
    (path,) = (tmp_path / "0001").iterdir()
    whole = path.read_bytes()
    third = whole.index(bytes([3]) * 150)
    for at in (0, segments.HEAD - 1, segments.HEAD, segments.HEAD + 4, segments.HEAD + 36, third, third - 60):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        with pytest.raises(CopyError, match="found damage at byte"):
            list(segments.read(tmp_path / "0001"))
        assert len(list(segments.read(tmp_path / "0001", up_to_damage=True))) == (0 if at < third - 60 else 2)
    torn = ((whole[:-1], 4), (whole[: third + 7], 2), (whole[: segments.HEAD - 3], 0), (whole + bytes(4096), 5))
    for data_left, records in torn:
        path.write_bytes(data_left)
        assert len(list(segments.read(tmp_path / "0001"))) == records


def test_every_flipped_bit_and_every_cut_of_a_copy_is_found_out(tmp_path: Path) -> None:
    made = Segments(tmp_path / "0001", bytes(8))
    made.append([Record(Kind.PROFILE, 0, number, (bytes(32), b"x" * number)) for number in range(1, 4)])
    made.sync()
    made.close()
    (path,) = (tmp_path / "0001").iterdir()
    whole = path.read_bytes()
    expected = list(segments.read(tmp_path / "0001"))
    for bit in range(8 * segments.HEAD, 8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        found = list(segments.read(tmp_path / "0001", up_to_damage=True))
        assert len(found) < 3 and found == expected[: len(found)]
        if not found:
            with pytest.raises(StoreError):
                list(segments.read(tmp_path / "0001"))


def test_a_store_from_an_older_backup_begins_a_new_generation_and_loses_nothing(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path
) -> None:
    frames = list(rig.history(midnight, midnight + 12 * QUARTER, QUARTER))
    kept.now = midnight + 12 * QUARTER
    kept.store.append(frames[:4], kept.now)
    kept.store.back_up(tmp_path / "old.db")
    kept.store.append(frames[4:10], kept.now)
    copied().close()
    with Store(tmp_path / "old.db", kept.key) as older:
        for frame in frames[4:7]:
            older.append([frame], kept.now)
        copier = Copier(older, tmp_path / "copy", lambda: kept.now, same_disk=True, every_s=0.01)
        until(lambda: copier.standing().state == "ok")
        copier.close()
    assert [path.name for path in segments.generations(tmp_path / "copy")] == ["0001", "0002"]
    made = restore(tmp_path / "copy", tmp_path / "new.db", kept.key)
    assert (made.gateways, made.blocks) == (1, 10)
    with Store(tmp_path / "new.db", kept.key) as again:
        assert figures(again, "gateways") == figures(kept.store, "gateways")


def test_a_backup_is_whole_while_others_write_and_never_overwrites(
    kept: Any, rig: Any, midnight: int, tmp_path: Path
) -> None:
    frames = list(rig.history(midnight, midnight + 4 * QUARTER, QUARTER))
    kept.now = midnight + 4 * QUARTER
    kept.store.append(frames[:2], kept.now)
    kept.store.back_up(tmp_path / "b.db")
    before = figures(kept.store)
    kept.store.append(frames[2:], kept.now)
    with Store(tmp_path / "b.db", kept.key) as held:
        assert figures(held) == before
    with pytest.raises(StoreError, match="exists"):
        kept.store.back_up(tmp_path / "b.db")


def test_the_store_s_own_disk_a_stranger_s_copy_and_a_second_writer_are_refused(
    kept: Any, copied: Callable[..., Copier], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="another disk"):
        copied(same_disk=False)
    copied()
    with pytest.raises(BusyError):
        copied()
    with Store(tmp_path / "other.db", PrivateKey.generate()) as other:
        Segments(tmp_path / "theirs" / "0001", PrivateKey.generate().public.kid).append([])
        made = Segments(tmp_path / "theirs" / "0001", PrivateKey.generate().public.kid)
        made.append([Record(Kind.PROFILE, 0, 1, (bytes(32), b""))])
        made.sync()
        made.close()
        with pytest.raises(ConfigError, match="a copy of the collector"):
            Copier(other, tmp_path / "theirs", lambda: 0, same_disk=True)


def test_it_is_served_backed_up_and_restored_by_commands(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tanmeter", "cloud"]
    english = {**os.environ, "TANMETER_LANG": "en", "NO_COLOR": "1"}
    data, copy = tmp_path / "data", tmp_path / "copy"
    refused = subprocess.run(
        [*command, "serve", "--data", str(data), "--port", "0", "--copy", str(copy)],
        env=english, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 6
    assert "--copy-on-same-disk" in refused.stderr
    process = subprocess.Popen(
        [*command, "serve", "--data", str(data), "--port", "0", "--copy", str(copy), "--copy-on-same-disk"],
        env=english, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split()[-1]
        health = httpx.get(f"{address}v1/health").json()
        assert (health["copy"]["state"], health["copy"]["same_disk"], health["reasons"]) == ("ok", True, [])
        second = subprocess.run(
            [*command, "serve", "--data", str(data), "--port", "0"],
            env=english,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 6 or "another collector serves it" in second.stderr
        made = subprocess.run(
            [*command, "backup", str(tmp_path / "b.db"), "--data", str(data)],
            env=english,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        nowhere = subprocess.run(
            [*command, "backup", str(tmp_path / "none" / "b.db"), "--data", str(data)],
            env=english,
            capture_output=True,
            text=True,
        )
        assert nowhere.returncode == 6 and "no such folder" in nowhere.stderr, "it is no matter of the disk"
    finally:
        process.terminate()
        process.wait(15)
    (data / "collector.db").unlink()
    keyless = subprocess.run(
        [*command, "restore", "--copy", str(copy), "--data", str(tmp_path / "new")],
        env=english, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert keyless.returncode == 6 and "no collector.key" in keyless.stderr and "cloud serve" not in keyless.stderr
    again = subprocess.run(
        [*command, "restore", "--copy", str(copy), "--data", str(data), "--json"],
        env=english, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(again.stdout or "{}") == {"gateways": 0, "blocks": 0, "statements": 0, "left": 0}, again.stderr


def test_a_copy_whose_sync_fails_gives_no_receipt_until_what_it_lost_is_written_again(
    kept: Any, rig: Any, copied: Callable[..., Copier], midnight: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(rig.history(midnight, midnight + 4 * QUARTER, QUARTER))
    kept.now = midnight + 4 * QUARTER
    kept.store.append(frames[:2], kept.now)
    copier = copied(retry_s=0.3)
    until(lambda: copier.standing().state == "ok")
    failing = os.fsync

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cloud.segments.os.fsync", fail)
    kept.store.append(frames[2:3], kept.now)
    until(lambda: copier.standing().state == "failed")
    assert "Input/output" in copier.standing().error
    assert settled(kept, rig, frames[:1]).next_seq == 2  # type: ignore[union-attr]
    monkeypatch.setattr("cloud.segments.os.fsync", failing)
    until(lambda: copier.standing().state == "ok")
    assert settled(kept, rig, frames[:1]).next_seq == 3  # type: ignore[union-attr]
    copier.close()
    assert [record.fields[2] for record in segments.read(tmp_path / "copy" / "0001") if record.kind == 0] == [0, 1, 2]
