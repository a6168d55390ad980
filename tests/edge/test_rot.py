"""What rots on the disk: found, named, never sent nor signed; and what can still be read of a store that is damaged."""

import asyncio
import json
import sqlite3
import time
from random import Random

import pytest
from typer.testing import CliRunner

from drivers.reading import Exchange
from edge import rows
from edge.commands import app
from edge.database import Database
from edge.log import silent
from edge.opening import open_outbox
from edge.outbox import Outbox
from edge.salvage import salvage
from edge.sealer import End, OpenBlock, Planned, Record, close
from protocols.errors import ConfigError, DamagedError, EncodingError, StoreError
from protocols.record import transport
from protocols.record.block import ClockState, EventKind, open_block
from protocols.record.cose import PrivateKey

START = 1_780_000_020_000
KEY = PrivateKey.generate()
GATEWAY = KEY.public.id
CLOCK = ClockState(2, 2, 5, START // 1000)


def fill(path, blocks, still_open=0):
    """A store of so many sealed blocks, and an open one with so many exchanges; the sealed blocks."""
    outbox, random, made = Outbox(path, GATEWAY, bytes(32), durable=False), Random(3), []
    outbox.begin(1)
    plan = (Planned(0, bytes(16), ((b"ask", 10_000),)),)
    for number in range(1, blocks + 2):
        mono = 60_000 * number
        opened = OpenBlock(number, 1, mono, START + mono, CLOCK, (1, bytes(32)), ("1", bytes(32)), plan)
        count = 6 if number <= blocks else still_open
        records = [
            Record(
                number, START + mono + 10_000 * n, Exchange(0, 0, b"ask", random.randbytes(300), 0, mono + 10_000 * n)
            )
            for n in range(count)
        ]
        if records:
            outbox.add(records, [opened])
        if number <= blocks:
            link, end = outbox.chain().link, End(mono + 60_000, START + mono + 60_000, CLOCK)
            sealed = close(opened, end, records, (), link=link, salt=lambda: random.randbytes(16), signer=KEY)
            outbox.seal(opened, sealed, link, end.utc)
            made.append(sealed)
    outbox.close()
    return made


def exchanges(path):
    """What is open in a store."""
    outbox = Outbox(path, GATEWAY, bytes(32), durable=False)
    try:
        return [record for block in outbox.opened() for record in outbox.records(block.id)]
    finally:
        outbox.close()


def spoil(path, seq, at=-40):
    """Flip a bit in the frame of a block, as it lies in the file."""
    with sqlite3.connect(path) as database:
        (frame,) = database.execute("SELECT frame FROM block WHERE seq = ?", (seq,)).fetchone()
        changed = bytearray(frame)
        changed[at] ^= 1
        database.execute("UPDATE block SET frame = ? WHERE seq = ?", (bytes(changed), seq))
    database.close()


def test_every_flipped_bit_of_a_store_at_rest_is_found_or_harmless(tmp_path):
    path = tmp_path / "outbox.db"
    made = [sealed.hash for sealed in fill(path, 8, still_open=3)]
    whole, random, found = path.read_bytes(), Random(4), 0
    answers = exchanges(path)
    (tmp_path / "watermark").unlink()
    for _ in range(250):
        at = random.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << random.randrange(8)
        path.write_bytes(changed)
        try:
            outbox = Outbox(path, GATEWAY, bytes(32), durable=False)
        except StoreError:
            found += 1
            continue
        try:
            outbox.scrub(1000)
            link = outbox.chain().link
            sent = [transport.unpack(each.frame) for each in outbox.batch(0, 0, 64, 1 << 20)]
            assert [each.hash for each in sent] == made[: len(sent)], "nothing else is ever sent"
            kept = [record for block in outbox.opened() for record in outbox.records(block.id)]
            assert [record for record in kept if record not in answers] == [], "nor sealed"
            bad = outbox.shelf.damages()
            assert len(sent) == 8 or bad
            assert len(kept) == 3 or bad
            assert (link.epoch, link.seq, link.previous) == (0, 8, made[-1])
            found += bool(bad)
        except (DamagedError, EncodingError):
            found += 1
        finally:
            outbox.close()
            for each in tmp_path.glob("watermark*"):
                each.unlink()
    assert found > 90


def blocks(made):
    """The headers of all blocks that are whole."""
    outbox = made.outbox()
    try:
        places = [(epoch, seq) for epoch in (0, 1) for seq in range(20)]
        frames = [frame for place in places if (frame := outbox.shelf.read(*place)) is not None]
    finally:
        outbox.close()
    return [open_block(transport.unpack(frame), made.gateway.public)[0] for frame in frames]


def test_a_delivered_block_that_rots_is_named_and_the_chain_goes_on(site):
    made, world, collector = site
    world.run(130)
    spoil(made.state / "outbox.db", 1)
    told = {}

    async def during(world):
        await asyncio.sleep(280)
        told.update(await world.agents[-1].status())

    world.run(290, during)
    (damaged,) = told["store"]["damaged"]
    assert (damaged["epoch"], damaged["seq"]) == (0, 1) and damaged["to"] - damaged["from"] == 60_000
    events = [event for header in blocks(made) for event in header.events if event.kind == EventKind.DISK]
    assert [event.start for event in events] == [damaged["from"]] and "block 0/1 is damaged" in events[0].detail
    assert told["epoch"] == 0 and collector.epoch == 0 and told["outbox"]["left_behind"] == 0


def test_an_undelivered_block_that_rots_ends_its_epoch_and_what_is_before_it_is_delivered(site):
    made, world, collector = site
    collector.instead = ConnectionError("away")
    world.run(250)
    spoil(made.state / "outbox.db", 2)
    collector.instead = None
    epochs = []
    real = collector._take
    collector._take = lambda frame: epochs.append(place(frame, made)) or real(frame)
    world.run(190)
    newest, *after = epochs
    assert newest == (0, 4), "the newest block goes ahead of its turn, before the damage is known"
    assert set(after) >= {(0, 0), (0, 1), (1, 0)} and all(epoch == 1 or seq < 2 for epoch, seq in after)
    assert collector.epoch == 1 and len(collector.held) >= 2
    details = [event.detail for header in blocks(made) for event in header.events if event.kind == EventKind.DISK]
    assert any("block 0/2 is damaged" in detail for detail in details)
    assert any("what follows damaged block 0/2 cannot be delivered" in detail for detail in details)
    outbox = made.outbox()
    counts = outbox.counts()
    outbox.close()
    assert counts.left_behind >= 3 and counts.unsettled == 0
    found = salvage(made.state / "outbox.db", made.gateway.public)
    assert [entry[:2] for entry in found.damaged] == [(0, 2)] and not found.missing


def place(frame, made):
    header, _ = open_block(transport.unpack(frame), made.gateway.public)
    return header.epoch, header.seq


@pytest.mark.parametrize("spoilt", [0.02, 0.1])
def test_salvage_reads_all_blocks_that_no_overwritten_page_belongs_to(tmp_path, spoilt):
    path = tmp_path / "outbox-20260601T000000Z.db"
    made = fill(path, 300, still_open=2)
    content, random = bytearray(path.read_bytes()), Random(5)
    pages = len(content) // 1024
    content[:1024] = bytes(1024)
    bad = {0, *random.sample(range(1, pages), round(pages * spoilt))}
    for page in bad:
        content[page * 1024 : (page + 1) * 1024] = random.randbytes(1024)
    path.write_bytes(content)
    found = salvage(path, KEY.public)
    assert {block.hash for block in found.blocks} <= {sealed.hash for sealed in made}
    assert len(found.blocks) == _untouched(path.read_bytes(), made)
    assert found.missing or found.damaged


def _untouched(content, made):
    """How many blocks lie, row and frame, wholly in pages that were not overwritten."""
    count = 0
    for sealed in made:
        frame = transport.pack(sealed)
        pieces = [frame[n : n + 60] for n in range(0, len(frame), 400)]
        pieces += [frame[-60:], sealed.hash]
        count += all(content.find(piece) >= 0 for piece in pieces)
    return count


def test_the_command_writes_a_file_for_each_block_and_tells_what_is_missing(tmp_path):
    path = tmp_path / "outbox-20260601T000000Z.db"
    made = fill(path, 20, still_open=2)
    spoil(path, 7)
    before = path.read_bytes()
    said = CliRunner().invoke(app, ["salvage", str(path), "--out", str(tmp_path / "out"), "--json"])
    told = json.loads(said.stdout)
    assert said.exit_code == 7 and len(told["blocks"]) == 19 and told["exchanges"] == 2
    assert [(entry["epoch"], entry["seq"]) for entry in told["damaged"]] == [(0, 7)] and told["missing"] == []
    assert transport.unpack((tmp_path / "out" / "0-3.blk").read_bytes()) == made[3]
    assert [entry["at_ms"] for entry in json.loads((tmp_path / "out" / "open.json").read_text())] == [
        21 * 60_000,
        21 * 60_000 + 10_000,
    ]
    assert path.read_bytes() == before
    assert CliRunner().invoke(app, ["salvage", str(tmp_path / "none.db")]).exception is not None
    for out in (path, path / "below"):
        refused = CliRunner().invoke(app, ["salvage", str(path), "--out", str(out)]).exception
        assert isinstance(refused, ConfigError), "a file is no folder, and no full disk"


def test_a_store_of_many_blocks_opens_in_bounded_time(tmp_path):
    """The check looks at the newest blocks, however many there are."""
    path, many, frame = tmp_path / "outbox.db", 30_000, bytes(2400)
    fill(path, 40)
    db = Database(path, durable=False)
    with db.transaction():
        old = ((-1, seq, bytes(32), 0, 0, 0, "", 0, 0, frame) for seq in range(many))
        db.many("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(old))
        chain = rows.chain(db)
        rows.move(db, blocks=chain["blocks"] + many, bytes=chain["bytes"] + many * len(frame))
    db.close()
    begun = time.process_time()
    outbox = open_outbox(path, GATEWAY, bytes(32), durable=False, now=START, log=silent)
    spent = time.process_time() - begun
    assert outbox.chain().link.seq == 40 and outbox.counts().blocks == many + 40
    outbox.close()
    assert spent < 0.5
