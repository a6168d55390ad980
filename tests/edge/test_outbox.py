"""The store alone: what it says is kept is kept, wherever the process is killed."""

import os
import signal
import sqlite3
from dataclasses import replace

import pytest

from drivers.reading import Exchange
from edge import database
from edge.outbox import DiskFull, Outbox
from edge.sealer import End, Link, OpenBlock, Planned, Record, close, recover
from protocols.errors import ForeignError, StoreError
from protocols.record import transport
from protocols.record.block import ClockState, Event, EventKind, open_block
from protocols.record.chunk import OVERRUN
from protocols.record.cose import PrivateKey
from protocols.record.receipt import Receipt

START = 1_780_000_020_000
CLOCK = ClockState(0, 0, 0, 0)
KEY = PrivateKey.generate()
GATEWAY = KEY.public.id
ENROLMENT = bytes(range(32))
LINK = Link(GATEWAY, 0, 0, ENROLMENT)
PLAN = (Planned(0, bytes(16), ((b"ask", 1000),)),)


def opened(number, boot=1):
    start = 60_000 * number
    return OpenBlock(number, boot, start, START + start, CLOCK, (1, bytes(32)), ("1", bytes(32)), PLAN)


def record(block, second, fault=0):
    at = 60_000 * block + 1000 * second
    exchange = Exchange(0, 0, b"ask", b"" if fault else b"answer%04d" % second, fault, at + 5)
    return Record(block, START + at, exchange)


def end(number):
    mono = 60_000 * number + 60_000
    return End(mono, START + mono, CLOCK)


def seal(outbox, number):
    block, link = opened(number), outbox.chain().link
    sealed = close(block, end(number), outbox.records(number), (), link=link, salt=lambda: bytes(16), signer=KEY)
    outbox.seal(block, sealed, link, end(number).utc)
    return sealed


@pytest.fixture
def outbox(tmp_path):
    held = Outbox(tmp_path / "outbox.db", GATEWAY, ENROLMENT)
    yield held
    held.close()


def test_it_is_wal_with_full_synchronisation_and_private(outbox):
    database = outbox._db.connection
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox.path.stat().st_mode & 0o777 == 0o600


def test_what_was_added_is_there_for_the_next_process(tmp_path):
    first = Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)
    first.add([record(1, 0), record(1, 1, fault=1)], [opened(1)])
    first.close()
    second = Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)
    assert second.opened() == [opened(1)]
    assert second.records(1) == [record(1, 0), record(1, 1, fault=1)]
    second.close()


def test_sealing_moves_the_chain_and_empties_the_open_block(outbox):
    outbox.add([record(1, second) for second in range(60)], [opened(1)])
    first = seal(outbox, 1)
    outbox.add([], [opened(2)])
    seal(outbox, 2)
    assert (outbox.opened(), outbox.records(1)) == ([], [])
    chain = outbox.chain()
    assert (chain.link.epoch, chain.link.seq, chain.last_utc) == (0, 2, end(2).utc)
    held = [open_block(transport.unpack(block.frame), KEY.public)[0] for block in outbox.batch(0, 0, 64, 1 << 20)]
    assert [header.previous for header in held] == [ENROLMENT, first.hash]


def test_a_link_that_is_not_the_next_one_is_not_stored(outbox):
    outbox.add([], [opened(1)])
    link = outbox.chain().link
    sealed = close(opened(1), end(1), [], (), link=link, salt=lambda: bytes(16), signer=KEY)
    outbox.open_epoch(1, bytes(32), b"receipt")
    with pytest.raises(StoreError, match="moved"):
        outbox.seal(opened(1), sealed, link, end(1).utc)
    assert outbox.opened() == [opened(1)]


def test_a_second_process_is_kept_out(outbox):
    with pytest.raises(StoreError, match="another agent"):
        Outbox(outbox.path, GATEWAY, ENROLMENT)


def test_the_store_of_another_gateway_is_refused(tmp_path):
    Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT).close()
    with pytest.raises(ForeignError, match="expected schema 2 of gateway"):
        Outbox(tmp_path / "o.db", bytes(16), ENROLMENT)


def test_a_store_that_is_not_sqlite_is_refused(tmp_path):
    (tmp_path / "o.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)


def test_a_damaged_newest_block_is_noticed_at_the_start(tmp_path):
    outbox = Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)
    outbox.add([record(1, 1)], [opened(1)])
    seal(outbox, 1)
    outbox.close()
    with sqlite3.connect(tmp_path / "o.db") as database:
        (frame,) = database.execute("SELECT frame FROM block").fetchone()
        database.execute("UPDATE block SET frame = ?", (frame[:-3] + bytes(3),))
    database.close()
    with pytest.raises(StoreError, match="block 0"):
        Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)


def test_the_boot_number_counts_and_the_configuration_does_not_go_back(outbox):
    assert [outbox.begin(1), outbox.begin(2)] == [1, 2]
    with pytest.raises(StoreError, match="configuration 1"):
        outbox.begin(1)
    assert outbox.begin(2) == 3


def receipt(outbox, next_seq, head, level=1, epoch=0):
    return Receipt(GATEWAY, epoch, next_seq, head, level, START)


def sealed_blocks(outbox, count):
    hashes = []
    for number in range(1, count + 1):
        outbox.add([record(number, second) for second in range(60)], [opened(number)])
        hashes.append(seal(outbox, number).hash)
    return hashes


def test_a_receipt_settles_up_to_its_mark_and_no_further(outbox):
    hashes = sealed_blocks(outbox, 3)
    assert outbox.settle(receipt(outbox, 2, hashes[1]), b"receipt")
    assert outbox.counts().unsettled == 1 and outbox.first_unsettled() == (0, 2)
    assert outbox.chain().receipt == b"receipt"


@pytest.mark.parametrize("next_seq", [2, 4])
def test_a_receipt_with_a_head_that_is_not_ours_settles_nothing(outbox, next_seq):
    sealed_blocks(outbox, 3)
    assert not outbox.settle(receipt(outbox, next_seq, bytes(32)), b"receipt")
    assert outbox.counts().unsettled == 3 and outbox.chain().receipt is None


def test_a_receipt_up_to_a_newest_block_that_is_no_longer_here_is_known_by_the_chain(outbox):
    hashes = sealed_blocks(outbox, 1)
    outbox._db.run("DELETE FROM block")
    assert not outbox.settle(receipt(outbox, 1, bytes(32)), b"r")
    assert outbox.settle(receipt(outbox, 1, hashes[0]), b"r")


def test_a_new_epoch_leaves_the_rest_behind_and_keeps_it(outbox):
    hashes = sealed_blocks(outbox, 3)
    outbox.settle(receipt(outbox, 1, hashes[0]), b"r")
    outbox.open_epoch(1, bytes(32), b"r")
    counts = outbox.counts()
    assert (counts.blocks, counts.unsettled, counts.left_behind) == (3, 0, 2)
    assert outbox.first_unsettled() == (1, 0)


def test_a_batch_is_in_order_and_within_its_size_but_never_empty(outbox):
    sealed_blocks(outbox, 5)
    size = len(outbox.batch(0, 0, 1, 1)[0].frame)
    assert [block.seq for block in outbox.batch(0, 1, 64, 2 * size + 20)] == [1, 2]
    assert [block.seq for block in outbox.batch(0, 3, 1, 1 << 20)] == [3]


def test_a_refused_block_keeps_its_place_in_what_is_sent_and_one_left_behind_does_not(outbox):
    hashes = sealed_blocks(outbox, 5)
    outbox.refuse(0, 1, "SIG-602 because")
    assert [block.seq for block in outbox.batch(0, 0, 3, 1 << 20)] == [0, 1, 2]
    outbox.settle(receipt(outbox, 3, hashes[2]), b"r")
    assert (outbox.counts().refused, outbox.counts().unsettled, outbox.first_unsettled()) == (1, 2, (0, 3))
    outbox.open_epoch(1, bytes(32), b"r")
    assert [block.seq for block in outbox.batch(0, 0, 64, 1 << 20)] == [0, 1, 2]


def test_only_blocks_with_a_second_copy_make_room(tmp_path):
    outbox = Outbox(tmp_path / "o.db", GATEWAY, ENROLMENT)
    hashes = sealed_blocks(outbox, 4)
    outbox._max_bytes = outbox.counts().bytes
    outbox.settle(receipt(outbox, 2, hashes[1], level=1), b"r")
    outbox.add([record(5, second) for second in range(60)], [opened(5)])
    with pytest.raises(DiskFull, match="no second copy"):
        seal(outbox, 5)
    assert (outbox.counts().blocks, len(outbox.records(5))) == (4, 60)
    outbox.settle(receipt(outbox, 2, hashes[1], level=2), b"r")
    seal(outbox, 5)
    counts = outbox.counts()
    assert counts.bytes <= outbox._max_bytes and counts.blocks in (3, 4)
    assert outbox.batch(0, 0, 1, 1)[0].seq > 0
    outbox.close()


def test_nobody_but_us_brings_the_log_into_the_file(outbox, monkeypatch):
    """SQLite's own checkpoints keep to themselves that a sync failed."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 1 << 40)
    large = replace(record(1, 0), exchange=Exchange(0, 0, b"ask", bytes(100_000), 0, 5))
    outbox.add([large])
    size = outbox.path.stat().st_size
    for _ in range(12):
        outbox.add([large])
    assert outbox.log_bytes() > 1 << 20 and outbox.path.stat().st_size == size


def test_a_failed_fsync_is_not_tried_again(outbox, monkeypatch):
    class Failing:
        in_transaction = False

        def execute(self, *_):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

    real, outbox._db.connection = outbox._db.connection, Failing()
    with pytest.raises(StoreError) as failed:
        outbox.add([record(1, 1)])
    assert not isinstance(failed.value, DiskFull)
    with pytest.raises(StoreError, match="read again"):
        outbox.chain()
    outbox._db.connection = real


# ---- killed at every step


def life(path, acknowledge):
    """Everything a store goes through; says what has returned."""
    outbox = Outbox(path, GATEWAY, ENROLMENT)
    acknowledge("boot", outbox.begin(1))
    for number in range(1, 4):
        outbox.add([], [opened(number)])
        for second in range(0, 6, 2):
            outbox.add([record(number, second), record(number, second + 1)])
            acknowledge("added", (number, second + 1))
        sealed = seal(outbox, number)
        acknowledge("sealed", (number - 1, sealed.hash.hex()))
        if number == 2:
            outbox.settle(receipt(outbox, 2, sealed.hash), b"receipt")
            acknowledge("settled", 2)
    outbox.add([record(4, 0)], [opened(4)])
    acknowledge("added", (4, 0))
    outbox.close()


def die_at(path, step):
    """Run a life in a child that is killed at its ``step``-th statement; (finished, what it acknowledged)."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def count_down(statement):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

        connect = sqlite3.connect

        def traced(*args, **options):
            database = connect(*args, **options)
            database.set_trace_callback(count_down)
            return database

        sqlite3.connect = traced
        try:
            life(path, lambda what, value: os.write(writable, f"{(what, value)!r}\n".encode()))
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as told:
        acknowledged = [eval(line) for line in told]
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status), acknowledged


def test_killed_at_any_statement_nothing_acknowledged_is_lost_and_no_seq_is_used_twice(tmp_path, deep):
    """At each one in the proof; every day at one of three."""
    step, finished = 0, False
    while not finished:
        step += deep(1, 3)
        path = tmp_path / f"{step}.db"
        finished, acknowledged = die_at(path, step)
        after = Outbox(path, GATEWAY, ENROLMENT)
        frames = [transport.unpack(block.frame) for block in after.batch(0, 0, 64, 1 << 20)]
        hashes = [frame.hash.hex() for frame in frames]
        seqs = [open_block(frame, KEY.public)[0].seq for frame in frames]
        assert seqs == list(range(len(seqs))) == list(range(after.chain().link.seq))
        kept = {(n, r.exchange.reply) for n in range(1, 5) for r in after.records(n)}
        for frame, number in zip(frames, range(1, 5), strict=False):
            _, chunks = open_block(frame, KEY.public)
            kept |= {(number, reply) for chunk in chunks for track in chunk.tracks for reply in track.replies()}
        for what, value in acknowledged:
            if what == "added":
                assert (value[0], b"answer%04d" % value[1]) in kept
            elif what == "sealed":
                assert hashes[value[0]] == value[1]
            elif what == "boot":
                assert after.chain().boot >= value
            else:
                assert after.first_unsettled() >= (0, 2)
        assert after.begin(1) > sum(what == "boot" for what, _ in acknowledged)
        assert len(after.opened()) <= 1
        for block in after.opened():
            link = after.chain().link
            sealed, last = recover(
                block, after.records(block.id), START + 10**7, link=link, salt=lambda: bytes(16), signer=KEY
            )
            after.seal(block, sealed, link, last.utc)
        assert after.opened() == []
        after.close()
    assert step > 60


# ---- the sealer


def test_a_recovered_block_ends_at_its_last_exchange_and_tells_of_what_is_missing():
    block = opened(1)
    records = [record(1, 0), record(1, 2)]
    sealed, last = recover(block, records, START + 10**6, link=LINK, salt=lambda: bytes(16), signer=KEY)
    header, (chunk,) = open_block(sealed, KEY.public)
    assert header.mono == (60_000, 62_005) and header.utc[1] == last.utc == START + 62_005
    (event,) = header.events
    assert (event.kind, event.start, event.end) == (EventKind.POWER_LOSS, START + 61_000, START + 10**6)
    assert (chunk.counters.due, chunk.counters.asked, chunk.faults) == (3, 2, ())
    assert header.clock.error_ms == block.clock.error_ms + 2, "a quartz may be off by 500 ppm since the block began"


@pytest.mark.parametrize(("seq", "kinds"), [(0, [EventKind.BOOT, EventKind.DISK]), (1, [EventKind.DISK])])
def test_the_first_block_of_an_epoch_has_a_boot_event(seq, kinds):
    """Opened at a fork, in the course of a boot: the block that had it is not the one that the collector holds."""
    block = opened(1).noting(Event(EventKind.DISK, START, START, "another epoch"))
    sealed = close(block, end(1), [], [], link=replace(LINK, epoch=2, seq=seq), salt=lambda: bytes(16), signer=KEY)
    assert [event.kind for event in open_block(sealed, KEY.public)[0].events] == kinds


def test_a_slot_nobody_accounts_for_is_not_asked_unless_a_gap_tells_of_it():
    records = [record(1, second) for second in range(60) if second not in (10, 20, 30)]
    gap = Event(EventKind.GAP, START + 79_500, START + 80_500, "disk full")
    block = replace(opened(1), events=(gap,))
    carried = {(0, 0, START + 90_000)}
    sealed = close(block, end(1), records, carried, link=LINK, salt=lambda: bytes(16), signer=KEY)
    _, (chunk,) = open_block(sealed, KEY.public)
    assert [(fault.at, fault.code) for fault in chunk.faults] == [(10_000, OVERRUN)]
    assert (chunk.counters.due, chunk.counters.asked) == (59, 57)


def test_a_gap_of_a_year_is_counted_and_not_listed():
    year = 365 * 86_400_000
    gap = Event(EventKind.GAP, START + 62_000, START + year - 1000, "disk full")
    block = replace(opened(1), events=(gap,), plan=(replace(PLAN[0], queries=((b"ask", 100),)),))
    last = End(year, START + year, CLOCK)
    sealed = close(block, last, [], {(0, 0, START + year - 100)}, link=LINK, salt=lambda: bytes(16), signer=KEY)
    header, (chunk,) = open_block(sealed, KEY.public)
    assert header.utc[1] == START + year
    assert chunk.counters.due == (year - 60_000) // 100 - 1 and len(chunk.faults) == 20 + 8
