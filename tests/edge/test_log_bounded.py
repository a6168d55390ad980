"""Fault 25: the log of SQLite. It stays small by itself, and grows only while somebody holds the store open to read."""

import asyncio
import shutil
import sqlite3

from edge import config, database, disk
from edge.outbox import Outbox

SMALL, LARGE = 64 << 10, 200 << 10


def test_fault_25_a_reader_that_stays_lets_the_log_grow_is_told_and_costs_nothing_once_it_goes(box, kit, monkeypatch):
    """With bounds of a hundredth of their size: no test writes sixteen megabytes."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", SMALL)
    monkeypatch.setattr(database, "WAL_LIMIT", SMALL)
    monkeypatch.setattr(disk, "LOG_BYTES", LARGE)
    made = box(kit.modbus_port(), *(kit.sdm(n, period="1s") for n in range(1, 6)), block="10s")
    world = kit.world(made, {"net": kit.registers()})
    store, sizes = made.state / config.OUTBOX, list[tuple[str, int]]()

    def look(when):
        sizes.append((when, store.with_name(store.name + "-wal").stat().st_size))

    async def hold(world):
        for _ in range(4):
            await asyncio.sleep(30)
            look("free")
        reader = sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM block").fetchone()
        await asyncio.sleep(200)
        look("held")
        reader.close()
        await asyncio.sleep(60)
        for _ in range(4):
            await asyncio.sleep(30)
            look("free")

    world.run(520, hold)
    assert all(size > 2 * LARGE if when == "held" else size <= LARGE for when, size in sizes), sizes
    assert [event for event, _ in world.logged].count("log_large") == 1
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    assert committed == sum(c.counters.answered for _, chunks in made.blocks() for c in chunks)


def test_fault_25_a_box_that_is_cut_off_each_day_before_much_is_written_brings_the_log_into_the_file(
    tmp_path, monkeypatch
):
    """What a run leaves in the log when its power goes is counted by the next one."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", SMALL)
    monkeypatch.setattr(database, "WAL_LIMIT", SMALL)
    sizes = []
    for day in range(40):
        left, state = tmp_path / f"{day - 1}", tmp_path / f"{day}"
        if day:
            shutil.copytree(left, state)
        state.mkdir(exist_ok=True)
        store = Outbox(state / config.OUTBOX, bytes(16), bytes(32), durable=False)
        for _ in range(9):
            store.begin(1)
        sizes.append(store.log_bytes())
        shutil.copytree(state, tmp_path / "cut")  # as it lies on the disk when the power goes
        store.close()
        shutil.rmtree(state)
        (tmp_path / "cut").rename(state)
    assert max(sizes) <= LARGE, sizes
