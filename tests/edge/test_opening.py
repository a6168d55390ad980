"""The store at a start: as it is, gone back, lost, damaged. No number is used twice, and the record says what was."""

import asyncio
import os
import sqlite3
from random import Random

import pytest

from edge import config
from edge.opening import aside
from edge.outbox import Outbox
from edge.scrub import Shelf
from edge.watermark import Watermark
from protocols.errors import DamagedError, StoreError
from protocols.record import transport
from protocols.record.block import EventKind, open_block
from protocols.record.siteconfig import digest

STORE = ("outbox.db", "outbox.db-wal", "outbox.db-shm")


def store(made):
    return {name: path.read_bytes() for name in STORE if (path := made.state / name).exists()}


def put(made, files):
    for name in STORE:
        (made.state / name).unlink(missing_ok=True)
    for name, content in files.items():
        (made.state / name).write_bytes(content)


def held(made):
    """Every deliverable block: header and chunks, signature checked."""
    outbox = made.outbox()
    try:
        frames = [stored.frame for stored in outbox.batch(0, 0, 1000, 1 << 30)]
    finally:
        outbox.close()
    return [open_block(transport.unpack(frame), made.gateway.public) for frame in frames]


def disk_events(made, epoch):
    return [
        event.detail
        for header, _ in held(made)
        if header.epoch == epoch
        for event in header.events
        if event.kind == EventKind.DISK
    ]


def places(made):
    found = [(header.epoch, header.seq) for header, _ in held(made)]
    assert len(found) == len(set(found))
    return found


@pytest.mark.parametrize("away", [True, False])
def test_a_store_that_lost_its_last_commits_goes_on_in_a_new_epoch(site, away):
    made, world, collector = site
    world.run(130)
    collector.instead = ConnectionError("away") if away else None
    before = store(made)
    world.run(130)
    mark, receipt = Watermark(made.state / "outbox.db").mark, len(collector.held)
    put(made, before)
    collector.instead = None
    world.run(130)
    found = places(made)
    assert [seq for epoch, seq in found if epoch == 0] == [0, 1, 2] and (1, 0) in found
    assert any("it has gone back" in detail for detail in disk_events(made, 1))
    first = next(header for header, _ in held(made) if header.epoch == 1)
    assert mark.receipt is not None and first.previous == digest(mark.receipt)
    assert first.boot >= 3 and ("store_back", "error") in world.levels
    assert collector.epoch == 1 and len(collector.held) == sum(epoch == 1 for epoch, _ in found)
    assert receipt == (3 if away else 6)


def test_what_the_collector_holds_in_a_block_that_is_gone_here_is_not_told_twice(site):
    made, world, _ = site

    def copy():
        return store(made)

    async def during(world):
        await asyncio.sleep(100)
        world.copied = copy()

    world.run(190, during)
    put(made, world.copied)
    world.run(60)
    (first, chunks), *_ = [block for block in held(made) if block[0].epoch == 1]
    assert first.events[0].kind == EventKind.BOOT, "not the open block of then, which was delivered"
    assert sum(chunk.counters.answered for chunk in chunks) <= 7


def test_a_lost_store_begins_a_new_epoch_after_the_newest_receipt(site):
    made, world, collector = site
    world.run(130)
    receipt = Watermark(made.state / "outbox.db").mark.receipt
    put(made, {})
    world.run(70)
    assert places(made) == [(1, 0), (1, 1)]
    first, _ = held(made)[0]
    assert first.previous == digest(receipt) and first.boot == 2
    assert any("lost" in detail for detail in disk_events(made, 1))
    assert collector.epoch == 1 and len(collector.held) == 2


def test_a_lost_store_without_a_receipt_begins_after_the_enrolment(site):
    made, world, collector = site
    collector.instead = ConnectionError("away")
    world.run(130)
    put(made, {})
    world.run(70)
    assert held(made)[0][0].previous == config.load(made.state).previous


@pytest.mark.parametrize("mark", ["none", "no slot of it", "of a chain without a block"])
def test_a_new_box_whose_first_start_was_cut_short_begins_as_a_new_box(box, kit, mark):
    made = box(kit.modbus_port(), kit.sdm(1))
    world, path = kit.world(made, {"net": kit.registers()}), made.state / "outbox.db"
    if mark == "no slot of it":
        (made.state / "watermark").write_bytes(bytes(8192))
    elif mark != "none":
        made.outbox().remember()
    put(made, {"outbox.db": b""})
    assert (Watermark(path).mark is None) is (mark != "of a chain without a block")
    world.run(70)
    assert places(made) == [(0, 0), (0, 1)] and not disk_events(made, 0)
    assert {"store_lost", "store_damaged", "watermark"}.isdisjoint(event for event, _ in world.logged)


@pytest.mark.parametrize("what", ["header", "all", "chain", "shortened"])
def test_a_damaged_store_is_set_aside_and_its_undelivered_blocks_go_on(site, what):
    made, world, collector = site
    collector.instead = ConnectionError("away")
    world.run(310)
    path = made.state / "outbox.db"
    content = bytearray(path.read_bytes())
    if what == "header":
        content[:100] = bytes(100)
    elif what == "all":
        content[:] = Random(1).randbytes(len(content))
    elif what == "chain":
        with sqlite3.connect(path) as database:
            database.execute("UPDATE chain SET next_seq = 3")
        database.close()
        content = bytearray(path.read_bytes())
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    collector.instead = None
    world.run(70)
    (kept,) = aside(path)
    assert kept.read_bytes() == bytes(content), "nothing of it is touched"
    found = places(made)
    assert found[-2:] == [(1, 0), (1, 1)] and ("store_damaged", "error") in world.levels
    if what in ("header", "chain"):
        assert found[:-2] == [(0, seq) for seq in range(6)]
    assert any(f"set aside as {kept.name}" in detail for detail in disk_events(made, 1))
    assert collector.epoch == 1 and len(collector.held) == 2
    told = Watermark(path).mark
    assert (told.epoch, told.next_seq) == (1, 2)


def test_damaged_and_without_a_watermark_the_epoch_still_rises(site):
    made, world, _ = site
    world.run(130)
    put(made, {})
    world.run(70)
    path = made.state / "outbox.db"
    (made.state / "watermark").write_bytes(b"nonsense" * 1024)
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)
    path.write_bytes(content)
    world.run(70)
    assert places(made)[-1] == (2, 1)
    assert ("watermark", "warning") in world.levels


def test_a_damaged_watermark_is_made_anew_from_a_sound_store(site):
    made, world, _ = site
    world.run(130)
    (made.state / "watermark").write_bytes(Random(2).randbytes(8192))
    world.run(70)
    assert {epoch for epoch, _ in places(made)} == {0}
    mark = Watermark(made.state / "outbox.db").mark
    assert (mark.epoch, mark.next_seq) == (0, len(places(made)))


def test_a_torn_write_of_the_watermark_leaves_the_one_before(site):
    made, world, _ = site
    world.run(130)
    path = made.state / "watermark"
    whole = path.read_bytes()
    newest = Watermark(made.state / "outbox.db")
    for slot in range(2):
        torn = bytearray(whole)
        torn[slot * 4096 + 30 : slot * 4096 + 600] = os.urandom(570)
        path.write_bytes(torn)
        other = Watermark(made.state / "outbox.db")
        assert other.mark is not None and other.mark.next_seq in (newest.mark.next_seq, newest.mark.next_seq - 1)


def test_a_damaged_open_block_costs_no_sealed_one(site):
    made, world, collector = site
    collector.instead = ConnectionError("away")
    world.run(130)
    with sqlite3.connect(made.state / "outbox.db") as database:
        database.execute("INSERT INTO open_block VALUES (1, x'80', 7)")
    database.close()
    world.run(70)
    assert [place for place in places(made) if place[0] == 0] == [(0, 0), (0, 1), (0, 2)]


def test_read_errors_at_start_after_start_end_in_a_store_set_aside(site):
    made, world, _ = site
    world.run(130)
    for _ in range(3):
        Watermark(made.state / "outbox.db").doubt()
    world.run(70)
    assert len(aside(made.state / "outbox.db")) == 1 and places(made)[-1] == (1, 1)
    assert Watermark(made.state / "outbox.db").mark.doubts == 0


def test_a_run_that_ends_in_a_read_error_is_known_to_the_starts_after_it(site, monkeypatch):
    made, world, _ = site

    def unreadable(shelf):
        raise DamagedError("a page of it cannot be read")

    with monkeypatch.context() as patched:
        patched.setattr(Shelf, "portion", unreadable)
        for number in range(1, 4):
            with pytest.raises(DamagedError):
                world.run(70)
            world.start += 100_000
            assert Watermark(made.state / "outbox.db").mark.doubts == number
    world.run(70)
    assert len(aside(made.state / "outbox.db")) == 1 and places(made)[-1][0] == 1


def test_the_store_of_another_gateway_is_left_alone(site):
    made, world, _ = site
    world.run(70)
    put(made, {})
    Outbox(made.state / "outbox.db", bytes(16), bytes(32)).close()
    with pytest.raises(StoreError, match=r"of gateway '?00000000"):
        world.run(70)
    assert aside(made.state / "outbox.db") == []
