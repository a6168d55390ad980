"""Blocks ahead of their chain show their values at once and are booked in their turn; receipts come back and count."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cloud import ahead, interval_rows, memory_rows
from cloud.database import SCHEMA
from cloud.running import Memory
from cloud.store import Store
from protocols.errors import EnrolmentError, SignatureError, StoreError
from protocols.record import transport
from protocols.record.answer import Answer, Verdict
from protocols.record.block import Event, EventKind
from protocols.record.cose import ES256, HALF_ORDER, ORDER, PrivateKey
from protocols.record.receipt import Receipt, open_receipt, sign_receipt

LATER = 1_790_100_000_000


def say(store: Store, *frames: bytes) -> list[Answer]:
    return [verdict.answer for verdict in store.append(frames, LATER).verdicts]


def figures(store: Store) -> list[Any]:
    """What is booked, without the numbers that say in which order it came."""
    rows = [row.interval for row in store.intervals(limit=100_000)]
    return sorted(rows, key=lambda it: (it.device, it.point, it.start))


def energy(store: Store) -> tuple[str, int]:
    """The live register of the first meter, and the seq of the block it is from."""
    (found,) = [row for row in store.latest() if (row.device, row.point) == ("M-01", "energy_import")]
    return f"{found.value:f}", found.seq


def mine(store: Store, envelope: bytes | None) -> Receipt:
    assert envelope is not None
    return open_receipt(envelope, store.ours)


def test_live_values_are_shown_during_a_back_fill_and_nothing_is_sent_twice(
    tmp_path: Path, enrolled: Any, store: Store
) -> None:
    frames = [enrolled.block() for _ in range(30)]
    with Store(tmp_path / "straight.db", PrivateKey.generate()) as straight:
        enrolled.enrol(straight)
        straight.append(frames, LATER)
        assert say(store, frames[0]) == [Answer.STORED]
        before = figures(store)
        for live in (27, 28, 29):
            verdict = store.append([frames[live]], LATER).verdicts[0]
            assert (verdict.answer, verdict.wanted) == (Answer.GAP, 1)
            assert energy(store)[1] == live
        assert energy(store) == energy(straight)
        assert figures(store) == before
        assert say(store, frames[29], frames[29]) == [Answer.GAP] * 2
        assert say(store, *frames[1:10]) == [Answer.STORED] * 9
        assert energy(store) == energy(straight)
        answered = store.append(frames[10:27], LATER)
        assert mine(store, answered.receipt).next_seq == 30
        assert (figures(store), store.latest()) == (figures(straight), straight.latest())
        assert [replace(row, mean=0) for row in store.power_series(0, LATER)] == [
            replace(row, mean=0) for row in straight.power_series(0, LATER)
        ]
        assert say(store, *frames) == [Answer.HELD] * 30
        assert store.gateways() == [
            structs.replace(row, enrolled_at=store.gateways()[0].enrolled_at) for row in straight.gateways()
        ]
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM ahead").fetchone() == (0,)


def test_what_is_ahead_is_bounded_and_what_is_let_go_comes_again(
    enrolled: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST", 3)
    frames = [enrolled.block() for _ in range(8)]
    assert say(store, *frames[2:]) == [Answer.GAP] * 6
    answered = store.append(frames[:2], LATER)
    assert mine(store, answered.receipt).next_seq == 2
    assert mine(store, store.append(frames[2:5], LATER).receipt).next_seq == 8


def test_a_block_ahead_that_turns_out_to_be_another_ones_is_kept_as_a_conflict(enrolled: Any, store: Store) -> None:
    frames = [enrolled.block() for _ in range(4)]
    stray = replace(enrolled, seq=3)
    stray.previous = bytes(32)
    assert say(store, stray.block(), frames[3]) == [Answer.GAP] * 2
    assert mine(store, store.append(frames[:3], LATER).receipt).next_seq == 4
    assert [row.kind for row in store.incidents()] in (["fork"], ["conflict"])
    assert [(row.signed, row.seq) for row in store.quarantine()] == [(True, 3)]
    assert store.block(enrolled.id, 0, 3) == frames[3]


def test_a_forged_or_altered_block_ahead_is_refused(enrolled: Any, store: Store, make_box: Callable[..., Any]) -> None:
    stranger = replace(make_box(), key=enrolled.key)
    enrolled.block()
    sealed = enrolled.seal()
    other = bytes([*sealed.chunks[0][:-1], sealed.chunks[0][-1] ^ 1])
    altered = transport.pack(replace(sealed, chunks=(other, *sealed.chunks[1:])))
    assert say(store, altered) == [Answer.REFUSED]
    stranger.key = PrivateKey.generate()
    assert say(store, transport.pack(stranger.seal(stranger.header(seq=9)))) == [Answer.REFUSED]
    assert store.latest() == []


def older_and_newer(folder: Path, box: Any, held: int, sent: int) -> tuple[Store, list[bytes], list[bytes | None]]:
    """A collector restored from a copy of when it held ``held`` blocks, the blocks, and the receipts it has given."""
    key = PrivateKey.generate()
    with Store(folder / "a.db", key) as first:
        box.enrol(first)
        frames = [box.block() for _ in range(sent)]
        receipts = [first.append([frame], LATER).receipt for frame in frames[:held]]
        with first.booked() as db, sqlite3.connect(folder / "b.db") as copy:
            db.execute("COMMIT")
            db.backup(copy)
        copy.close()
        receipts += [first.append([frame], LATER).receipt for frame in frames[held:]]
    return Store(folder / "b.db", key), frames, receipts


def test_a_collector_restored_from_an_older_copy_says_so_once_and_takes_what_comes_again(
    tmp_path: Path, box: Any
) -> None:
    restored, frames, receipts = older_and_newer(tmp_path, box, 5, 12)
    with restored as store, Store(tmp_path / "a.db", restored.key) as whole:  # type: ignore[arg-type]
        newest = receipts[-1]
        assert newest is not None
        for _ in range(2):
            answered = store.remember([newest], LATER)
            assert (answered.verdicts, mine(store, answered.receipt).next_seq) == ((), 5)
        assert [(row.kind, row.seq) for row in store.incidents()] == [("restored", 12)]
        assert mine(store, store.append(frames[5:9], LATER).receipt).next_seq == 9
        assert mine(store, store.append(frames[9:], LATER).receipt).next_seq == 12
        assert figures(store) == figures(whole)
        assert len(store.incidents()) == 1
        with store.reading() as db:
            assert db.execute("SELECT count(*) FROM watermarks").fetchone() == (0,)


def test_a_restored_collector_that_is_given_another_chain_tells_so(tmp_path: Path, box: Any) -> None:
    twin = replace(box)
    restored, _, receipts = older_and_newer(tmp_path, box, 1, 4)
    twin.key, twin.technician = box.key, box.technician
    twin.epoch, twin.seq, twin.previous = 0, 1, box.previous
    with restored as store:
        assert receipts[-1] is not None
        store.remember([receipts[-1]], LATER)
        twin.previous = transport.unpack(store.block(box.id, 0, 0) or b"").hash
        twin.mono, twin.utc = 61_000, twin.utc + 60_000
        assert say(store, *[twin.block(custody=1) for _ in range(3)]) == [Answer.STORED] * 3
        assert [row.kind for row in store.incidents()] == ["fork", "restored"]


def test_an_epoch_begun_after_a_receipt_the_restored_collector_does_not_know_is_taken(tmp_path: Path, box: Any) -> None:
    restored, frames, receipts = older_and_newer(tmp_path, box, 3, 6)
    began = receipts[-1]
    assert began is not None
    box.epoch, box.seq, box.previous = 4, 0, hashlib.sha256(began).digest()
    with restored as store:
        first = box.block()
        assert say(store, first) == [Answer.REFUSED]
        store.remember([began], LATER)
        assert say(store, *frames[3:], first, box.block()) == [Answer.STORED] * 5
        assert [row.kind for row in store.incidents()] == ["epoch", "restored"]
        assert store.receipt_named(box.id, hashlib.sha256(began).digest()) == began


def test_an_epoch_that_leaves_out_what_was_receipted_is_taken_and_told(tmp_path: Path, box: Any) -> None:
    restored, _, receipts = older_and_newer(tmp_path, box, 3, 6)
    began = receipts[-1]
    assert began is not None
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(began).digest()
    with restored as store:
        store.remember([began], LATER)
        assert say(store, box.block()) == [Answer.STORED]
        kinds = [row.kind for row in store.incidents()]
        assert kinds.count("missing") == 1 and {"epoch", "restored"} < set(kinds)


def test_an_epoch_from_before_it_was_enrolled_here_is_taken_in_its_turn_though_its_receipt_is_another_collector_s(
    tmp_path: Path, box: Any
) -> None:
    """The key of a collector was lost: its gateways enrol with another one, and what they had begun stays one chain."""
    first, newest = [box.block(), box.block()], box.utc
    box.epoch, box.seq, box.previous = 2, 0, hashlib.sha256(b"a receipt of the key that was lost").digest()
    second = [box.block(), box.block()]
    with Store(tmp_path / "c.db", PrivateKey.generate()) as store:
        box.enrol(store, box.utc + 1)
        assert say(store, second[0]) == [Answer.REFUSED]
        assert say(store, *first, *second) == [Answer.STORED] * 4
        assert [(row.kind, row.epoch) for row in store.incidents()] == [("epoch", 2)]
        assert "the receipt it names is not held" in store.incidents()[0].detail and newest < box.utc
        box.epoch, box.seq, box.previous = 3, 0, bytes(32)
        box.utc += 60_000
        assert say(store, box.block()) == [Answer.REFUSED]


def test_an_epoch_may_begin_with_the_enrolment_when_no_receipt_ever_came(enrolled: Any, store: Store) -> None:
    lost = [enrolled.block(), enrolled.block()]
    assert say(store, *lost) == [Answer.STORED] * 2
    enrolled.epoch, enrolled.seq, enrolled.previous = 2, 0, hashlib.sha256(enrolled.enrolment).digest()
    boot = Event(EventKind.BOOT, enrolled.utc, enrolled.utc, "a new store")
    assert say(store, enrolled.block(boot=2, events=(boot,)), enrolled.block()) == [Answer.STORED] * 2
    assert [row.kind for row in store.incidents()] == ["epoch"]


def test_only_our_own_receipts_about_an_enrolled_gateway_are_heard(
    enrolled: Any, store: Store, make_box: Callable[..., Any]
) -> None:
    far = Receipt(enrolled.id, 0, 1_000_000, bytes(32), 1, LATER)
    with pytest.raises(SignatureError):
        store.remember([sign_receipt(far, PrivateKey.generate())], LATER)
    assert store.key is not None
    with pytest.raises(EnrolmentError):
        store.remember([sign_receipt(replace(far, gateway=make_box().id), store.key)], LATER)
    assert store.incidents() == []


def test_receipts_of_a_revoked_gateway_slow_no_other_one_down(
    make_box: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of the others is not read from the file again."""
    mine, gone = make_box(), make_box()
    for box in (mine, gone):
        box.enrol(store)
    _, shown, _ = store.append([gone.block()], LATER)
    store.revoke(gone.id, "stolen", LATER)
    store.append([mine.block()], LATER)
    read, load = list[bytes](), memory_rows.load

    def spied(db: sqlite3.Connection, gateway: bytes) -> Memory:
        read.append(gateway)
        return load(db, gateway)

    monkeypatch.setattr(memory_rows, "load", spied)
    assert shown is not None
    with pytest.raises(EnrolmentError):
        store.remember([shown], LATER)
    assert store.append([mine.block()], LATER).verdicts[0].answer == Answer.STORED
    assert read == []


def test_es256_has_one_signature_for_a_block(make_box: Callable[..., Any], store: Store) -> None:
    box = make_box(key=PrivateKey.generate(ES256))
    box.enrol(store)
    sealed = box.seal()
    s = int.from_bytes(sealed.envelope[-32:])
    assert s <= HALF_ORDER
    twin = replace(sealed, envelope=sealed.envelope[:-32] + (ORDER - s).to_bytes(32))
    (verdict,) = store.append([transport.pack(twin)], LATER).verdicts
    assert verdict == Verdict(
        Answer.REFUSED, None, "SIG-601", "found an ES256 signature with the higher s, expected the lower one"
    )
    assert say(store, transport.pack(sealed)) == [Answer.STORED]


def as_of_schema_7(path: Path) -> None:
    """What an earlier edition made: receipts by their hash, the ends of dated blocks by themselves."""
    with sqlite3.connect(path) as db:
        db.executescript(
            "ALTER TABLE receipts RENAME TO receipts_by_place;"
            "CREATE TABLE receipts (gateway BLOB NOT NULL, hash BLOB NOT NULL, epoch INTEGER NOT NULL,"
            " next_seq INTEGER NOT NULL, at INTEGER NOT NULL, envelope BLOB NOT NULL, level INTEGER NOT NULL DEFAULT 1,"
            " posted INTEGER NOT NULL DEFAULT 0, kept INTEGER NOT NULL DEFAULT 1,"
            " PRIMARY KEY (gateway, hash)) WITHOUT ROWID;"
            "INSERT INTO receipts SELECT gateway, hash, epoch, next_seq, at, envelope, level, posted, kept"
            " FROM receipts_by_place;"
            "DROP TABLE receipts_by_place;"
            "CREATE INDEX receipts_newest ON receipts (gateway, epoch, next_seq, at);"
            "CREATE INDEX receipts_passing ON receipts (gateway, level, epoch, next_seq, at) WHERE kept = 0;"
            "CREATE INDEX receipts_settled ON receipts (gateway, epoch, next_seq) WHERE level = 2;"
            "CREATE TABLE dated (gateway BLOB PRIMARY KEY, epoch INTEGER NOT NULL, boot INTEGER NOT NULL,"
            " mono INTEGER NOT NULL, utc INTEGER NOT NULL) WITHOUT ROWID;"
            "INSERT INTO dated SELECT gateway, dated_epoch, dated_boot, dated_mono, dated_utc FROM gateways"
            " WHERE dated_epoch IS NOT NULL;"
        )
        for column in ("dated_epoch", "dated_boot", "dated_mono", "dated_utc"):
            db.execute(f"ALTER TABLE gateways DROP COLUMN {column}")
        db.execute("UPDATE meta SET value = 7 WHERE name = 'schema'")
    db.close()


def as_of_schema_2(path: Path) -> None:
    """What an earlier edition made: without what came with schemas 3 to 5."""
    as_of_schema_7(path)
    with sqlite3.connect(path) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for trigger in names:
            db.execute(f"DROP TRIGGER {trigger}")
        for table in ("proofs", "ahead", "watermarks", "facts", "undated", "dated", "starts", "barred"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute("DROP VIEW intervals")
        db.execute(f"INSERT INTO closed_intervals {interval_rows.SELECT_OPEN}")
        db.execute("DROP TABLE open_intervals")
        db.execute("ALTER TABLE closed_intervals RENAME TO intervals")
        db.execute("CREATE INDEX intervals_open ON intervals (gateway) WHERE closed = 0")
        db.execute("DROP INDEX receipts_settled")
        db.execute("DROP INDEX receipts_passing")
        for table, column in (("receipts", "level"), ("receipts", "posted"), ("receipts", "kept"), ("latest", "ahead")):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("UPDATE meta SET value = 2 WHERE name = 'schema'")
    db.close()


MIGRATED = """
import sys
from pathlib import Path
from cloud.store import Store
from protocols.record.cose import PrivateKey
folder = Path(sys.argv[1])
Store(folder / "c.db", PrivateKey.from_pem((folder / "key").read_bytes())).close()
"""


def test_a_file_of_the_schema_before_is_brought_to_ours_and_goes_on(tmp_path: Path, box: Any) -> None:
    key = PrivateKey.generate()
    with Store(tmp_path / "c.db", key) as store:
        box.enrol(store)
        store.append([box.block(), box.block()], LATER)
        before = (figures(store), store.latest(), store.receipt(box.id))
    as_of_schema_2(tmp_path / "c.db")
    (tmp_path / "key").write_bytes(key.pem())
    subprocess.run([sys.executable, "-c", MIGRATED, str(tmp_path)], check=True)
    with Store(tmp_path / "c.db", key) as store:
        assert (figures(store), store.latest(), store.receipt(box.id)) == before
        assert say(store, box.block()) == [Answer.STORED]
        with store.reading() as db:
            assert db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() == (SCHEMA,)


def test_receipts_and_the_ends_of_dated_blocks_move_with_a_file_of_schema_7(tmp_path: Path, box: Any) -> None:
    key = PrivateKey.generate()
    what = (
        "SELECT gateway, level, kept, epoch, next_seq, at, hash, envelope, posted FROM receipts ORDER BY hash",
        "SELECT gateway, dated_epoch, dated_boot, dated_mono, dated_utc FROM gateways",
    )
    with Store(tmp_path / "c.db", key) as store:
        box.enrol(store)
        for _ in range(3):
            store.append([box.block()], LATER)
        store.settle(2, 0, None, LATER)
        with store.reading() as db:
            before = [db.execute(query).fetchall() for query in what]
    assert [len(rows) for rows in before] == [5, 1] and None not in before[1][0]
    as_of_schema_7(tmp_path / "c.db")
    (tmp_path / "key").write_bytes(key.pem())
    subprocess.run([sys.executable, "-c", MIGRATED, str(tmp_path)], check=True)
    with Store(tmp_path / "c.db", key) as store:
        with store.reading() as db:
            assert [db.execute(query).fetchall() for query in what] == before
        assert say(store, box.block()) == [Answer.STORED]


def test_a_migration_that_breaks_off_changes_nothing(tmp_path: Path, box: Any) -> None:
    key = PrivateKey.generate()
    with Store(tmp_path / "c.db", key) as store:
        box.enrol(store)
    as_of_schema_2(tmp_path / "c.db")
    with sqlite3.connect(tmp_path / "c.db") as db:
        before = list(db.iterdump())
        db.execute("ALTER TABLE receipts ADD COLUMN posted")  # the second step will not go through
    db.close()
    with pytest.raises(StoreError, match="posted"):
        Store(tmp_path / "c.db", key)
    with sqlite3.connect(tmp_path / "c.db") as db:
        db.execute("ALTER TABLE receipts DROP COLUMN posted")
        assert list(db.iterdump()) == before
    db.close()
