"""Agent and collector in virtual time: the collector is lost or set back, and the agent makes it whole again."""

import asyncio
import hashlib
import itertools
import shutil
import struct
from contextlib import closing
from random import Random

import pytest

from cloud import rot, ways
from cloud.collector import Collector
from cloud.copier import Copier
from cloud.mend import mend
from cloud.restore import restore
from cloud.store import Store
from edge import config, retention
from edge import rows as store_rows
from edge.returning import oldest_held
from edge.sync import first_ahead
from edge.transport import Response
from protocols import modbus
from protocols.record import invite, transport
from protocols.record.block import open_header
from protocols.record.receipt import Receipt, sign_receipt

HOUR = 3_600_000
INTERVALS = (
    "SELECT device, point, start, end, unit, meter, closed, start_value, start_at, start_epoch, start_seq, end_value,"
    " end_at, end_epoch, end_seq, rolled, multiplier, consumption, readings, expected, quality, position, period_ms,"
    " state, ignored, since, kind, covered_ms, integral FROM intervals ORDER BY device, point, start"
)


class AtOnce:
    """A writer that does it where it is asked."""

    waiting = 0

    def __init__(self, store, now):
        self.store, self.now = store, now

    async def append(self, frames):
        return self.store.append(frames, self.now())

    async def run(self, job):
        return job()


class Line:
    """The way to the collector's own code; which collector answers at its end can be changed."""

    def __init__(self, box):
        self.box, self.key, self.store = box, box.collector, None
        self.posts, self.now = [], lambda: 0

    async def post(self, path, body, content_type):
        self.posts.append(path)
        collector = Collector(self.store, self.key, AtOnce(self.store, self.now), self.now)
        sent = await ways.serve(collector, path, body, "en", "test")
        after = sent.headers.get("retry-after")
        return Response(sent.status, sent.body, None if after is None else float(after))

    async def close(self):
        pass


def rising():
    count = itertools.count(1 << 20)

    def answer(request):
        asked = modbus.parse_tcp(request)
        pdu = bytes([asked.function, 4]) + struct.pack(">f", next(count) / 1024)
        return [(10, modbus.frame_tcp(asked.transaction, asked.unit, pdu))]

    return answer


def rows(store, query):
    with store.booked() as db:
        return db.execute(query).fetchall()


@pytest.fixture
def site(box, kit, tmp_path):
    """A box with a meter, enrolled with a real collector; its world and its line."""
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    line = Line(made)
    line.store = Store(tmp_path / "first.db", made.collector)
    start = kit.world(made, {"net": rising()}).start
    line.now = lambda: start + 10 * HOUR
    code = invite.make(Random(2).randbytes(9), made.collector.spki)
    line.store.create_invite(code, None, start + 20 * HOUR, start)
    profiles = list(made.profiles.values())
    enrolment = (made.state / config.ENROLMENT).read_bytes()
    line.store.enrol(code.format(), enrolment, made.envelopes[0], profiles, start)
    yield made, kit.world(made, {"net": rising()}, transport=line), line
    line.store.close()


def test_a_collector_set_back_to_an_older_backup_is_made_whole_by_a_running_agent(site, tmp_path):
    _, world, line = site

    async def during(world):
        await asyncio.sleep(600)
        line.store.back_up(tmp_path / "older.db")
        await asyncio.sleep(1200)
        line.lost = line.store
        line.store = Store(tmp_path / "older.db", line.key)

    world.run(2460, during)
    (held,) = line.store.gateways()
    before = rows(line.lost, INTERVALS)
    assert held.next_seq >= 39
    closed = [row for row in before if row[6] == 1]
    assert closed and [row for row in rows(line.store, INTERVALS) if row[6] == 1][: len(closed)] == closed
    assert rows(line.store, "SELECT count(*), max(seq) FROM blocks") == [(held.next_seq, held.next_seq - 1)]
    line.lost.close()


def test_what_a_collector_that_was_set_back_does_not_hold_is_not_covered_any_more(site):
    made, world, line = site
    world.run(600)
    outbox = made.outbox()
    head = outbox.chain().link
    done = [Receipt(made.gateway.public.id, 0, head.seq, head.previous, level, 0) for level in (1, 2)]
    for receipt in done:
        assert outbox.settle(receipt, sign_receipt(receipt, line.key))
    assert rows_of(outbox) == (head.seq, head.seq)
    lower = Receipt(made.gateway.public.id, 0, 3, transport.unpack(outbox.batch(0, 2, 1, 1)[0].frame).hash, 1, 0)
    assert outbox.settle(lower, sign_receipt(lower, line.key))
    assert rows_of(outbox) == (head.seq, 3)
    outbox.close()


def rows_of(outbox):
    """What of epoch 0 was received, and what a second copy covers."""
    return store_rows.epoch(outbox._db, 0)[1:3]


def test_a_collector_that_lost_everything_gets_it_back_once_its_operator_lets_gateways_in_again(site, tmp_path):
    _, world, line = site

    async def during(world):
        await asyncio.sleep(1800)
        line.lost = line.store
        line.store = Store(tmp_path / "empty.db", line.key)
        await asyncio.sleep(600)
        assert line.store.gateways() == []
        line.store.open_window(line.now() + HOUR)

    world.run(4200, during)
    (held,) = line.store.gateways()
    assert (held.next_seq >= 60, held.blocks) == (True, held.next_seq)
    closed = [row for row in rows(line.lost, INTERVALS) if row[6] == 1]
    assert closed and [row for row in rows(line.store, INTERVALS) if row[6] == 1][: len(closed)] == closed
    assert {row.kind for row in line.store.incidents()} == {"readmitted"}
    assert 1 <= line.posts.count("/v1/enrolments") <= 60
    line.lost.close()


@pytest.mark.parametrize("seq", [0, 5])
def test_a_block_that_has_rotted_holds_nothing_up_at_a_collector_that_lost_everything(site, tmp_path, seq):
    """The chain begins behind it, or goes on behind it, and its operator is told so."""
    made, world, line = site

    async def during(world):
        await asyncio.sleep(1800)
        (agent,) = world.agents
        with agent._outbox._db.transaction():
            agent._outbox._db.run("UPDATE block SET frame = zeroblob(length(frame)) WHERE seq = ?", (seq,))
        line.lost = line.store
        line.store = Store(tmp_path / "empty.db", line.key)
        line.store.open_window(line.now() + HOUR)

    world.run(4200, during)
    (held,) = line.store.gateways()
    assert (held.next_seq >= 60, held.blocks) == (True, held.next_seq - 1)
    assert {(row.kind, row.seq) for row in line.store.incidents()} >= {("start", seq + 1)}
    oldest = open_header(oldest_held(made.state / config.OUTBOX), made.gateway.public)
    assert oldest.seq == (0 if seq else 1), "what a new enrolment brings"
    line.lost.close()


def test_a_box_set_back_to_an_older_image_goes_on_in_a_new_epoch_and_no_figure_changes(site, tmp_path):
    made, world, line = site
    world.run(600)
    shutil.copytree(made.state, tmp_path / "image")
    world.run(900)
    before = [row for row in rows(line.store, INTERVALS) if row[6] == 1]
    (stood,) = line.store.gateways()
    shutil.rmtree(made.state)
    shutil.copytree(tmp_path / "image", made.state)
    world.run(1800)
    (goes,) = line.store.gateways()
    assert goes.epoch > stood.epoch == 0 and goes.blocks > stood.blocks + 20
    assert before and [row for row in rows(line.store, INTERVALS) if row[6] == 1][: len(before)] == before
    kinds = [row.kind for row in line.store.incidents()]
    assert "epoch" in kinds and set(kinds) <= {"epoch", "conflict", "fork"}
    for row in line.store.quarantine():
        assert row.signed and line.store.block(goes.id, row.epoch, row.seq) != line.store.quarantined(row.id)
    assert rows(line.store, "SELECT count(*) FROM ahead") == [(0,)]


def test_a_collector_that_lost_everything_is_shown_what_each_epoch_began_with(site, tmp_path):
    made, world, line = site
    world.run(600)
    outbox = made.outbox()
    began = outbox.chain().receipt
    outbox.open_epoch(1, hashlib.sha256(began).digest(), began)
    outbox.close()
    world.run(600)
    assert line.store.gateways()[0].epoch == 1
    line.lost, line.store = line.store, Store(tmp_path / "empty.db", line.key)
    line.store.open_window(line.now() + HOUR)
    world.run(1200)
    (held,) = line.store.gateways()
    assert held.epoch == 1 and held.next_seq > 10
    assert line.store.receipt_named(held.id, hashlib.sha256(began).digest()) == began
    assert {row.kind for row in line.store.incidents()} <= {"readmitted", "epoch"}
    line.lost.close()


def rotten(store, *places):
    """Have the collector find that blocks have rotted; the bytes as they were."""
    (held,) = store.gateways()
    frames = {seq: store.block(held.id, 0, seq) for seq in places}
    with store.writing() as db:
        for seq, frame in frames.items():
            spoilt = frame[:-30] + bytes([frame[-30] ^ 1]) + frame[-29:]
            db.execute("UPDATE blocks SET frame = ? WHERE seq = ?", (spoilt, seq))
    assert {one.outcome for one in mend(store, None, "", 0).damaged} == {"asked"}
    return frames


def test_blocks_that_rotted_at_the_collector_are_sent_again_by_a_running_agent(site):
    made, world, line = site
    frames = {}

    async def during(world):
        await asyncio.sleep(900)
        frames.update(rotten(line.store, 0, 7))
        before = line.posts.count("/v1/blocks")
        await asyncio.sleep(200)
        assert {seq: line.store.block(made.gateway.public.id, 0, seq) for seq in frames} == frames
        assert line.posts.count("/v1/blocks") - before <= 6

    world.run(1500, during)
    (held,) = line.store.gateways()
    assert (held.next_seq >= 24, held.blocks) == (True, held.next_seq)
    assert sorted(row.kind for row in line.store.incidents()) == ["damaged", "damaged", "mended", "mended"]
    outbox = made.outbox()
    assert outbox.counts().unsettled <= 1
    outbox.close()


def test_new_blocks_are_delivered_though_the_block_that_is_wanted_has_rotted_at_the_box_too(site):
    _, world, line = site
    stood = []

    async def during(world):
        await asyncio.sleep(600)
        (agent,) = world.agents
        with agent._outbox._db.transaction():
            agent._outbox._db.run("UPDATE block SET frame = x'00' WHERE seq = 3")
        rotten(line.store, 3)
        stood.extend(line.store.gateways())
        await asyncio.sleep(1800)
        stood.extend(line.store.gateways())

    world.run(2460, during)
    before, after = stood
    assert after.epoch == 0 and after.next_seq >= before.next_seq + 29
    assert rows(line.store, "SELECT asked FROM damaged") == [(rot.MOST_ASKED,)]
    assert len([row for row in line.store.incidents() if row.kind == "damaged"]) == 2


@pytest.mark.parametrize(
    ("wanted", "shown", "newest", "first"),
    [
        ((0, 10), (0, 98), (0, 100), 99),
        ((0, 10), (0, 10), (0, 100), 100),
        ((0, 10), (0, 9), (1, 0), 1),
        ((0, 10), (0, 9), (1, 1), 1),
        ((1, 0), (0, 9), (1, 3), 3),
        ((1, 0), (0, 9), (1, 0), 0),
    ],
)
def test_the_first_block_of_an_epoch_never_overtakes_what_is_wanted_of_the_epochs_before(wanted, shown, newest, first):
    assert first_ahead(wanted, shown, newest) == first


def let_go(outbox):
    """Have the box let go of all that a second copy covers, as a seal does when room is short."""
    with outbox._db.transaction():
        row = store_rows.chain(outbox._db)
        gone, freed = retention.prune(outbox._db, row, 0, 0)
        store_rows.move(outbox._db, blocks=row["blocks"] - gone, bytes=row["bytes"] - freed)
    return gone


def cover(store, now):
    """A second copy has all that is held: receipts of level 2."""
    with store.reading() as db:
        (blocks,) = db.execute("SELECT max(ingest_seq) FROM blocks").fetchone()
        (facts,) = db.execute("SELECT max(id) FROM facts").fetchone()
    store.settle(blocks, facts, None, now)


def copied(line, folder):
    """Have the collector keep its second copy; where that now ends: the file, and its size."""
    with closing(Copier(line.store, folder, line.now, same_disk=True)):
        pass
    (path,) = folder.glob("*/*.copy")
    return path, path.stat().st_size


def set_back(line, older):
    """The collector is an older copy of itself from now on."""
    line.lost, line.store = line.store, Store(older, line.key)


def test_what_nobody_has_any_more_is_named_and_the_chain_goes_on_behind_it_once_the_operator_lets_it(site, tmp_path):
    """The box has let go of what a second copy held, the collector is made of what that has up to its damage."""
    made, world, line = site
    world.run(600)
    path, whole = copied(line, tmp_path / "copy")
    world.run(1200)
    copied(line, tmp_path / "copy")
    world.run(600)
    outbox = made.outbox()
    assert let_go(outbox) > 20
    first = outbox.batch(0, 0, 1, 1)[0].seq
    outbox.close()
    data = path.read_bytes()
    path.write_bytes(data[: whole + 100] + bytes([data[whole + 100] ^ 1]) + data[whole + 101 :])
    restore(tmp_path / "copy", tmp_path / "older.db", line.key, up_to_damage=True)
    set_back(line, tmp_path / "older.db")
    (stands,) = line.store.gateways()
    world.run(600)
    assert line.store.gateways()[0].next_seq == stands.next_seq < first
    told = [(row.kind, row.epoch, row.seq) for row in line.store.incidents()]
    assert told[:-1] == [("missing", 0, first)] and told[-1][0] == "restored"
    assert any("tanmeter cloud readmit" in known.get("why", "") for event, known in world.logged if event == "sync")
    line.store.open_window(line.now() + HOUR)
    world.run(1200)
    (held,) = line.store.gateways()
    assert held.blocks == stands.next_seq + held.next_seq - first and held.next_seq > first + 35
    assert rows(line.store, "SELECT count(*) FROM blocks WHERE fault IS NOT NULL") == [(0,)]
    assert rows(line.store, "SELECT count(*) FROM ahead") == [(0,)]
    assert [row.kind for row in line.store.incidents()] == ["start", *(kind for kind, *_ in told)]
    copied(line, tmp_path / "another")
    world.run(200)
    outbox = made.outbox()
    assert outbox.counts().unsettled <= 1 and let_go(outbox) > 35
    outbox.close()
    line.lost.close()


@pytest.mark.parametrize("whole", [True, False])
def test_a_box_that_holds_no_more_than_an_epoch_its_restored_collector_never_saw_goes_on_with_it(site, tmp_path, whole):
    made, world, line = site
    world.run(600)
    line.store.back_up(tmp_path / "older.db")
    world.run(600)
    outbox = made.outbox()
    began = outbox.chain().receipt
    outbox.open_epoch(1, hashlib.sha256(began).digest(), began)
    outbox.close()
    for _ in range(1 if whole else 2):
        cover(line.store, line.now())
        world.run(600)
    outbox = made.outbox()
    let_go(outbox)
    first = outbox.batch(0, 0, 1, 1)[0]
    outbox.close()
    assert first.epoch == 1 and (first.seq == 0) == whole
    set_back(line, tmp_path / "older.db")
    line.store.open_window(line.now() + (0 if whole else HOUR))
    world.run(1800)
    (held,) = line.store.gateways()
    assert held.epoch == 1 and held.next_seq > 35
    assert rows(line.store, "SELECT min(seq) FROM blocks WHERE epoch = 1") == [(first.seq,)]
    assert rows(line.store, "SELECT count(*) FROM blocks WHERE fault IS NOT NULL") == [(0,)]
    told = [row.kind for row in line.store.incidents()]
    assert told == ["missing", "epoch", *(() if whole else ("start",)), "restored"]
    line.lost.close()
