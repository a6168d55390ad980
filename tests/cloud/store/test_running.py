"""Collector and verifier book the very same rows, whatever a device says, however often the collector starts anew."""

import json
import sqlite3
from collections.abc import Generator
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud import interval_rows, memory_rows
from cloud.booking import Book
from cloud.evidence.chain import replayed
from cloud.ingest import Content
from cloud.intervals import INTERVAL_MS, Interval
from cloud.open_rows import OpenRows
from cloud.running import Memory, Running
from cloud.strips import Single
from drivers.columns import Layouts, replay_track
from drivers.installation import Installation, install
from drivers.profile import Profile
from drivers.query import Query, Values
from drivers.steps import finished
from protocols.record.block import Chunk, ClockState, Counters, Event, Header, Track
from tests.cloud import tables

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
MINUTE = 60_000

PROFILE = tables.profile(
    "speaks-json",
    """\
points = [
  { id = "energy_import", fc = 3, address = 0, type = "u32", unit = "kWh", kind = "counter", scale = 0.01, modulus = 10000, max_rate_per_h = 100 },
  { id = "volume", fc = 3, address = 2, type = "u32", unit = "m3", kind = "counter", scale = 0.001, modulus = 1000000, max_rate_per_h = 10, flag = "fault", min = 0, max = 900 },
  { id = "frozen", fc = 3, address = 4, type = "u32", unit = "kWh", kind = "counter", scale = 0.1, modulus = 10000, of = "energy_import" },
  { id = "ct", fc = 3, address = 6, type = "u16", unit = "1", kind = "config", affects = ["energy_import"] },
  { id = "meter_number", fc = 3, address = 7, type = "u16", unit = "1", kind = "config" },
  { id = "co2_mass_rate", fc = 3, address = 8, type = "u16", unit = "kg/h", kind = "rate", scale = 0.5, flag = "fault" },
  { id = "fault", fc = 3, address = 9, type = "u16", unit = "1", kind = "status" },
]
""",  # noqa: E501
)

SITE = tables.site(tables.device("M-01", "speaks-json", 'serial = "{serial}"\n'))
LIVE, KEPT = b"live", b"kept"


@dataclass(frozen=True, eq=False)
class Speaker:
    """A driver whose replies are JSON: values by point, and the instant they are of."""

    profile: Profile

    def queries(self) -> tuple[Query, ...]:
        own = tuple(point.id for point in self.profile.points if point.of is None)
        return Query(LIVE, own, 10_000), Query(KEPT, ("frozen",), 86_400_000)

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        said = json.loads((yield request))
        return {name: None if value is None else Decimal(value) for name, value in said["values"].items()}

    def stamp(self, request: bytes, reply: bytes) -> int | None:
        stamp: int | None = json.loads(reply).get("stamp")
        return stamp


def installed(serial: str) -> Installation:
    found = install(SITE.format(serial=serial).encode(), {"speaks-json": PROFILE.encode()})
    speaker: Any = Speaker(found.profiles["speaks-json"])
    return replace(found, drivers=(speaker,), digests=(bytes(16),))


INSTALLED = [installed("1"), installed("2")]


def reply(values: dict[str, str | None], stamp: int | None = None) -> bytes:
    return json.dumps({"values": values} | ({} if stamp is None else {"stamp": stamp})).encode()


Said = tuple[int, bytes, bytes]
"""ms since block start, request, reply."""


def chunk(said: list[Said]) -> Chunk:
    tracks: dict[tuple[bytes, int], list[tuple[int, bytes]]] = {}
    for at, request, answer in said:
        tracks.setdefault((request, len(answer)), []).append((at, answer))
    held = tuple(
        Track.of(request, [at for at, _ in pairs], [answer for _, answer in pairs])
        for (request, _), pairs in tracks.items()
    )
    return Chunk(0, INSTALLED[0].digests[0], held, (), Counters.of(held, ()), None, bytes(16))


def header(seq: int, start: int, span: int) -> Header:
    boot = (Event(1, start, start, "first"),)
    clock = ClockState(2, 2, 5, 0)
    times = (seq * MINUTE, (seq + 1) * MINUTE), (start, start + span)
    return Header(bytes(16), 0, seq, bytes(32), 1, *times, clock, (1, bytes(32)), ("0.1", bytes(32)), boot)


class Table:
    """A collector's book on a database, started anew whenever a test wants it."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(files("cloud").joinpath("schema.sql").read_text("utf-8"))
        self.book = Book(Memory())
        self.open = OpenRows()
        self.turns: list[Any] = []
        self.count = 0

    def add(self, head: Header, content: Content, anew: bool) -> None:
        self.book.book(head, content)
        moved = finished(self.book.take()).moved
        for row in moved.intervals:
            self.count += 1
            if row.closed:
                self.open.close(row)
                self.db.execute(interval_rows.UPSERT, interval_rows.values(bytes(16), row, self.count))
            else:
                self.open.put(row, self.count)
        self.open.keep(self.db, bytes(16))
        memory_rows.keep(self.db, bytes(16), moved)
        self.turns += moved.turns
        if anew:
            self.book = Book(memory_rows.load(self.db, bytes(16)))
            self.book.configure(content.installation)

    def rows(self) -> list[Interval]:
        found = self.db.execute(f"{interval_rows.SELECT} ORDER BY device, point, start")
        return [interval_rows.row(row).interval for row in found]


def walk(blocks: list[tuple[Header, Chunk, Installation, bool]]) -> tuple[Table, list[Interval], list[Any]]:
    """The collector's table, and the verifier's rows and turns."""
    table, running = Table(), Running(Memory())
    for head, one, installation, anew in blocks:
        tables = tuple(replay_track(installation.drivers[0], track, Layouts()) for track in one.tracks)
        table.add(head, Content(installation, (Single(one, tables),)), anew)
        _, samples = replayed(installation, head, one)
        running.configure(installation, head.utc[0])
        finished(running.hear(0, samples, head))
    moved = running.take()
    newest = {(row.device, row.point, row.start): row for row in moved.intervals}
    return table, [newest[key] for key in sorted(newest)], moved.turns


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Header, Chunk, Installation, bool]]:
    """Blocks of a device that counts, breaks, is swapped, is set anew and speaks of the past."""
    blocks, start, energy, ct, number, serial = [], T0, draw(st.integers(0, 9_999)) * 100, 1, 7, 0
    for seq in range(draw(st.integers(1, 25))):
        span = draw(st.sampled_from([MINUTE, MINUTE, 20 * MINUTE]))
        said: list[Said] = []
        for index in range(draw(st.integers(0, 4))):
            at = min(span, index * span // 4 + draw(st.integers(0, 9_000)))
            energy = (
                draw(st.integers(0, 999_999)) if draw(st.integers(0, 15)) == 0 else energy + draw(st.integers(0, 9))
            )
            ct, number = (
                draw(st.sampled_from([ct] * 20 + [ct + 1])),
                draw(st.sampled_from([number] * 20 + [number + 1])),
            )
            shown = draw(st.sampled_from([energy] * 6 + [0])) % 1_000_000
            values: dict[str, str | None] = {
                "energy_import": f"{shown / 100:.2f}",
                "volume": f"{energy % 1000 / 1000:.3f}",
                "fault": draw(st.sampled_from(["0", "0", "0", "1", None])),
                "co2_mass_rate": draw(st.sampled_from(["12.5", "100", None])),
            }
            if draw(st.booleans()):
                values |= {"ct": str(ct), "meter_number": str(number)}
            said.append((at, LIVE, reply(values)))
            if draw(st.integers(0, 4)) == 0:
                kept = reply({"frozen": f"{energy // 10 / 10:.1f}"}, start + draw(st.integers(-40, 2)) * MINUTE)
                said.append((at, KEPT, kept))
        serial = draw(st.sampled_from([serial] * 9 + [1 - serial]))
        blocks.append((header(seq, start, span), chunk(said), INSTALLED[serial], draw(st.booleans())))
        start += span + draw(st.sampled_from([0, 0, 0, 50 * MINUTE, -5 * MINUTE]))
    return blocks


@settings(max_examples=60, deadline=None)
@given(lives())
def test_collector_and_verifier_book_the_same_rows(blocks: list[tuple[Header, Chunk, Installation, bool]]) -> None:
    table, rows, turns = walk(blocks)
    assert table.rows() == rows
    assert sorted(map(repr, table.turns)) == sorted(map(repr, turns))
