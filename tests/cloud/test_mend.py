"""A byte flips in a stored block: serving names the block, mending puts the signed bytes back, nothing else changes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud import audit, audit_file, config, rot
from cloud.copier import Copier
from cloud.keys import load_or_create
from cloud.mend import mend
from cloud.soundness import check
from cloud.store import Store
from protocols.errors import ConfigError, StoreError, UnknownNameError
from protocols.record import siteconfig, transport
from protocols.record.answer import Answer
from protocols.record.receipt import RECEIVED, Receipt, open_receipt, sign_receipt

QUARTER = 900_000
BLOCKS = 6


def flip(path: Path, piece: bytes) -> None:
    """One bit of the only place in the file where this stands."""
    data = bytearray(path.read_bytes())
    assert data.count(piece) == 1
    data[data.index(piece) + len(piece) // 2] ^= 4
    path.write_bytes(data)


@pytest.fixture
def kept(rig: Any, midnight: int, tmp_path: Path) -> tuple[Path, Any, list[bytes], int]:
    """A collector's folder, its key, and the blocks in it, which are in a second copy too; the time."""
    folder, now = tmp_path / "data", midnight + BLOCKS * QUARTER
    folder.mkdir()
    key = load_or_create(folder / "collector.key")
    frames = list(rig.history(midnight, now, QUARTER))
    with Store(folder / "collector.db", key) as store:
        rig.enrol(store, key)
        for frame in frames:
            store.append([frame], now)
        Copier(store, tmp_path / "copy", lambda: now, same_disk=True).close()
    return folder, key, frames, now


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", *words, "--data", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def served(folder: Path) -> str:
    """What a collector says before it is ready; then it ends."""
    command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", "serve", "--data", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = list[str]()
        for line in process.stderr:
            told.append(line)
            if line.startswith("collector ready"):
                process.kill()
    assert told[-1].startswith("collector ready"), told
    return "".join(told)


def test_serving_names_the_block_that_rotted_and_it_is_put_back_from_the_second_copy(
    kept: Any, rig: Any, tmp_path: Path
) -> None:
    folder, key, frames, now = kept
    path = folder / "collector.db"
    flip(path, frames[2][-60:-20])
    told = served(folder)
    assert f"gateway {rig.id.hex()}, block 0/2" in told and "STO-106" in told and "cloud mend --copy" in told
    done = run(folder, "mend", "--copy", str(tmp_path / "copy"), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["blocks"]) == (0, BLOCKS), done.stderr
    assert [(one["epoch"], one["seq"], one["outcome"]) for one in told["damaged"]] == [(0, 2, "mended")]
    with Store(path, key) as store:
        assert check(store, key.public, now) == []
        assert [store.block(rig.id, 0, seq) for seq in range(BLOCKS)] == frames
        kept_of_it = [(row.kind, row.epoch, row.seq) for row in store.incidents()]
        assert kept_of_it == [("mended", 0, 2), ("damaged", 0, 2)]
    with audit_file.open_file(path) as db:
        assert audit.Audit(db, rig.id, lambda _: None).run(key.public).found == 0


@pytest.mark.parametrize("seq", [1, BLOCKS - 1])
def test_a_stored_hash_that_rotted_is_put_right_by_the_chain(kept: Any, rig: Any, seq: int) -> None:
    folder, key, frames, now = kept
    with Store(folder / "collector.db", key) as store:
        with store.writing() as db:
            db.execute("UPDATE blocks SET hash = zeroblob(32) WHERE seq = ?", (seq,))
        found = mend(store, None, "", now)
        assert [(one.place, one.outcome) for one in found.damaged] == [((0, seq), "hash")]
        assert check(store, key.public, now) == []
        assert store.block(rig.id, 0, seq) == frames[seq]
        assert mend(store, None, "", now).damaged == ()


@pytest.mark.parametrize("how", ["seq = 'x'", "seq = 9", "epoch = x'00'", "epoch = 1", "seq = 66, hash = zeroblob(32)"])
def test_a_block_whose_place_has_rotted_is_put_back_to_the_one_it_was_signed_for_and_nobody_is_asked(
    kept: Any, rig: Any, how: str
) -> None:
    folder, key, frames, now = kept
    with Store(folder / "collector.db", key) as store:
        before = store.blocks(rig.id)
        with store.writing() as db:
            assert db.execute(f"UPDATE blocks SET {how} WHERE seq = 2").rowcount == 1
        assert [one.outcome for one in mend(store, None, "", now).damaged] in (["place"], ["place", "hash"])
        mend(store, None, "", now)
        assert store.blocks(rig.id) == before and {row.kind for row in store.incidents()} == {"mended"}
        (verdict,) = store.append([frames[2]], now).verdicts
        assert verdict.answer == Answer.HELD and check(store, key.public, now) == []


def test_what_stands_at_no_place_while_the_block_stands_at_its_own_is_told_and_not_asked_for(
    kept: Any, rig: Any
) -> None:
    folder, key, _, now = kept
    with Store(folder / "collector.db", key) as store:
        with store.writing() as db:
            db.execute("UPDATE blocks SET seq = 'x', frame = (SELECT frame FROM blocks WHERE seq = 1) WHERE seq = 2")
        for _ in range(2):
            assert [one.outcome for one in mend(store, None, "", now).damaged] == ["lost"]
        with store.reading() as db:
            assert rot.wanted(db, rig.id) == {}


@pytest.mark.parametrize("how", ["hash = zeroblob(32)", "hash = 7", "frame = zeroblob(60)", "frame = 7"])
def test_a_gateway_that_sends_again_what_has_rotted_here_is_not_told_of_two_of_one_number(
    kept: Any, rig: Any, how: str
) -> None:
    """Nor, where it shows a receipt that ends with that block, of a fork."""
    folder, key, frames, now = kept
    head = transport.unpack(frames[2]).hash
    with Store(folder / "collector.db", key) as store:
        with store.writing() as db:
            assert db.execute(f"UPDATE blocks SET {how} WHERE seq = 2").rowcount == 1
        assert [verdict.answer for verdict in store.append(frames[1:4], now).verdicts] == [Answer.HELD] * 3
        store.remember([sign_receipt(Receipt(rig.id, 0, 3, head, RECEIVED, now + 1), key)], now)
        assert store.incidents() == [] and store.quarantine() == []


def test_bytes_that_no_signature_proves_are_never_put_back(
    kept: Any, rig: Any, make_rig: Callable[[], Any], altered: Any, midnight: int, tmp_path: Path
) -> None:
    """Not another gateway's block, not an altered one, and nothing from a copy that has rotted in the same place."""
    folder, key, frames, now = kept
    (segment,) = (tmp_path / "copy" / "0001").glob("*.copy")
    flip(segment, frames[4][-60:-20])
    with Store(folder / "collector.db", key) as store:
        spoilt = altered(transport.unpack(frames[4]))
        with store.writing() as db:
            db.execute("UPDATE blocks SET frame = ? WHERE seq = 4", (spoilt,))
        (told,) = check(store, key.public, now)
        assert "block 0/4" in str(told) and "is asked for it" in str(told)
        (found,) = mend(store, tmp_path / "copy", rig.id.hex()[:8], now).damaged
        assert found.outcome == "asked"
        assert check(store, key.public, now) == []
        stranger = transport.pack(make_rig().block(midnight, midnight + QUARTER))
        for frame in (spoilt, stranger, os.urandom(400), frames[3]):
            store.append([frame], now)
            assert store.block(rig.id, 0, 4) == spoilt
        answered = store.append([frames[4]], now)
        assert answered.verdicts[0].answer == Answer.HELD
        assert store.block(rig.id, 0, 4) == frames[4]
        assert [row.kind for row in store.incidents()][:2] == ["mended", "damaged"]


def test_its_gateway_is_asked_by_a_receipt_that_ends_before_it_and_not_for_ever(
    kept: Any, rig: Any, midnight: int, tmp_path: Path
) -> None:
    folder, key, frames, now = kept

    def wanted(answered: Any) -> tuple[int, int, bytes]:
        receipt = open_receipt(answered.receipt, key.public)
        return receipt.epoch, receipt.next_seq, receipt.head

    flip(folder / "collector.db", frames[0][-60:-20])
    done = run(folder, "mend")
    assert done.returncode == 7 and "asked for it again" in done.stdout
    with Store(folder / "collector.db", key) as store:
        assert check(store, key.public, now) == []
        asking = (0, 0, siteconfig.digest(rig.enrolment))
        live = transport.pack(rig.block(now, now + QUARTER))
        answered = store.append([live], now)
        assert answered.verdicts[0].answer == Answer.STORED
        assert wanted(answered) == asking
        newest = store.receipt(rig.id)
        assert newest is not None and open_receipt(newest, key.public).next_seq == BLOCKS + 1
        times = 1
        while wanted(store.remember([newest], now))[1] == 0:
            times += 1
        assert times == rot.MOST_ASKED
        assert wanted(store.append([live], now))[:2] == (0, BLOCKS + 1)
        assert check(store, key.public, now) == []
        assert [row.kind for row in store.incidents()] == ["damaged", "damaged"]
        assert mend(store, None, "", now).left == 1
        assert store.append([frames[0]], now).receipt == newest
        assert store.block(rig.id, 0, 0) == frames[0]
        assert mend(store, None, "", now).damaged == ()


def test_a_gateway_that_is_not_there_is_not_proven(kept: Any, rig: Any) -> None:
    """A mistyped id had "0 blocks proven" and exit 0."""
    folder, key, _, now = kept
    with Store(folder / "collector.db", key) as store:
        assert mend(store, None, rig.id.hex()[:6].upper(), now).blocks == BLOCKS
        with pytest.raises(UnknownNameError, match="--gateway: found 'zz'"):
            mend(store, None, "zz", now)


def test_a_file_is_no_copy(kept: Any) -> None:
    folder = kept[0]
    done = run(folder, "mend", "--copy", str(folder / "collector.key"))
    assert done.returncode == 6 and "found no generation of a copy" in done.stderr.splitlines()[0], done.stderr


def test_what_is_there_is_opened_without_a_byte_written_beside_it(kept: Any) -> None:
    """On a full disk no command found its way in, and no collector: each had made a key of its own first."""
    folder, key, *_ = kept
    os.utime(folder, (0, 0))
    assert config.open_key(folder).public == config.create_key(folder).public == key.public
    assert folder.stat().st_mtime == 0, "nothing was made in it, and taken away again"


def test_a_backup_that_fails_leaves_nothing(kept: Any, tmp_path: Path) -> None:
    folder, key, *_ = kept
    with Store(folder / "collector.db", key) as store, pytest.raises(StoreError):
        (tmp_path / "held.db").write_bytes(b"")
        store.back_up(tmp_path / "held.db")
    assert list(tmp_path.glob("*.unready")) == []


@pytest.mark.parametrize("words", [("invite", "--valid", "99999999d"), ("readmit", "--valid", "99999999d")])
def test_a_time_beyond_the_calendar_is_refused_before_anything_is_kept(kept: Any, words: tuple[str, ...]) -> None:
    folder, key, *_ = kept
    done = run(folder, *words)
    assert done.returncode == 6 and "--valid: found '99999999d'" in done.stderr.splitlines()[0], done.stderr
    with Store(folder / "collector.db", key) as store, store.reading() as db:
        assert db.execute("SELECT count(*) FROM invites").fetchone() == (1,), "that of the gateway"


def test_an_invite_for_what_is_no_site_id_is_refused(kept: Any) -> None:
    done = run(kept[0], "invite", "--site", "站 点")
    assert done.returncode == 6 and done.stdout == "" and "--site: found '站 点'" in done.stderr


def test_a_folder_that_is_no_copy_is_named(kept: Any, tmp_path: Path) -> None:
    folder, key, _, now = kept
    with (
        Store(folder / "collector.db", key) as store,
        pytest.raises(ConfigError, match="no generation of a copy"),
    ):
        mend(store, tmp_path / "nothing", "", now)
