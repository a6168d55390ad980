"""Where the intervals of a gateway that changed begin: what is found is what reading all of them finds."""

import random
import sqlite3
from contextlib import closing as ending

import pytest

from cloud import changes
from cloud.intervals import INTERVAL_MS
from cloud.store import Store
from tests.cloud.box import MINUTE, Box

DEVICES = ("M-01", "M-010", "M-02", "a", "Ä")
POINTS = ("", "energy_export", "energy_import")
MOST = 10_000


def scattered(store: Store, gateway: bytes, chance: random.Random, starts: range = range(12)) -> None:
    """Closed intervals of devices and points of all names, which changed in any order, beside the open ones."""
    with store.writing() as db:
        (last,) = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()
        own = db.execute("SELECT * FROM closed_intervals WHERE gateway = ? ORDER BY start", (gateway,)).fetchone()
        kept = [(device, point, start) for device in DEVICES for point in POINTS for start in starts]
        chance.shuffle(kept)
        for number, (device, point, start) in enumerate(kept[: len(kept) * 2 // 3], last + 1):
            begin = own[3] + start * INTERVAL_MS
            row = (own[0], device, point, begin, begin + INTERVAL_MS, *own[5:-1], number)
            db.execute(f"INSERT OR IGNORE INTO closed_intervals VALUES ({','.join('?' * len(row))})", row)
        db.execute("UPDATE meta SET value = ? WHERE name = 'ingest_seq'", (number,))


@pytest.fixture
def boxes(store: Store) -> list[Box]:
    """Three gateways, the last of which has not delivered anything."""
    chance, found = random.Random(7), [Box(), Box(), Box()]
    for box in found:
        box.enrol(store)
    for box in found[:2]:
        box.deliver(store, 20)
        store.book()
        scattered(store, box.key.public.id, chance)
        box.deliver(store, 20)
    return found


def test_what_changed_in_a_stretch_of_time_is_found_as_by_reading_everything(store: Store, boxes: list[Box]) -> None:
    chance, rows, seen = random.Random(8), store.intervals(limit=MOST), 0
    assert len({row.gateway for row in rows}) == 2
    for _ in range(300):
        row = chance.choice(rows)
        gateway = chance.choice((row.gateway, row.gateway, boxes[2].key.public.id))
        start = row.interval.start + chance.choice((-MINUTE, 0, 0, 1))
        end = start + chance.randrange(6) * INTERVAL_MS
        after = chance.choice((row.ingest_seq, row.ingest_seq - 1, chance.randrange(store.as_of())))
        expected: dict[int, int] = {}
        for one in store.intervals(after, MOST, gateway=gateway, start=start, end=end):
            expected[one.interval.start] = max(one.ingest_seq, expected.get(one.interval.start, 0))
        assert store.interval_starts(gateway, start, end, after) == expected
        seen += len(expected)
    assert seen > 200


def test_what_is_read_of_a_stretch_of_time_does_not_grow_with_what_lies_outside(store: Store, boxes: list[Box]) -> None:
    gateway, begin = boxes[0].key.public.id, store.intervals(limit=1)[0].interval.start

    def steps() -> int:
        """Of SQLite's machine."""
        counted = list[int]()
        with ending(sqlite3.connect(store.path)) as db:
            db.set_progress_handler(lambda: counted.append(1), 1)
            changes.starts(db, gateway, begin, begin + 4 * INTERVAL_MS, 0)
        return len(counted)

    before = steps()
    scattered(store, gateway, random.Random(9), range(100, 300))
    assert steps() == before
