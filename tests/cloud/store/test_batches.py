"""Blocks booked together come to the same rows as one by one, and as reading by reading, whatever their meters say."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud import running as running_accounts
from cloud.booking import Book, Changes, Heap
from cloud.evidence.chain import replayed
from cloud.ingest import Content
from cloud.intervals import INTERVAL_MS, Interval
from cloud.piles import Cut, Piles
from cloud.running import Memory, Running
from drivers.columns import Layouts, replay_track, replay_tracks
from drivers.installation import Installation, install
from drivers.steps import finished
from protocols import modbus
from protocols.errors import ProtocolError
from protocols.record import merkle
from protocols.record.block import Chunk, ClockState, Counters, Event, Header, Track
from tests.cloud import tables

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
MINUTE = 60_000
PROFILE = tables.profile(
    "counts",
    """\
points = [
  { id = "energy_import", fc = 3, address = 0, type = "u32", unit = "kWh", kind = "counter", scale = 0.01, modulus = 10000, max_rate_per_h = 100, bad = [0xFFFFFFFF] },
  { id = "energy_export", fc = 3, address = 2, type = "f32", unit = "kWh", kind = "counter", max = 9000 },
  { id = "power", fc = 3, address = 4, type = "i16", unit = "W", kind = "gauge", scale = 0.5 },
  { id = "volume", fc = 3, address = 200, type = "u16", unit = "m3", kind = "counter", modulus = 1000, period = "20s" },
  { id = "ct", fc = 3, address = 400, type = "u16", unit = "1", kind = "config", affects = ["energy_import"], period = "1h" },
]
""",  # noqa: E501
).encode()
RATIO = '[[device.ratios]]\nfrom = 2026-09-21T22:07:00+08:00\nct = "400/5"\n'
SITE = tables.site(tables.device("M-01", "counts", RATIO)).encode()
INSTALLED: Installation = install(SITE, {"counts": PROFILE})
UNLIMITED = install(SITE, {"counts": PROFILE.replace(b", max = 9000", b"")})
"""The same, but every valid number is a reading."""
FAST, SLOW, SETTING = [query.request for query in INSTALLED.drivers[0].queries()]


def answer(data: bytes) -> bytes:
    return modbus.frame_rtu(1, bytes([3, len(data)]) + data)


@dataclass
class Meter:
    """What a meter says next is drawn: mostly it counts."""

    draw: Any
    energy: int
    export: float = 0.0
    volume: int = 0
    ct: int = 1

    def fast(self) -> bytes:
        odd = self.draw(st.integers(0, 40))
        self.energy = self.draw(st.integers(0, 999_999)) if odd == 0 else self.energy + self.draw(st.integers(0, 9))
        self.export += self.draw(st.sampled_from([0.0, 0.1, 0.125, 700.0 if odd == 1 else 0.0]))
        shown = 0xFFFFFFFF if odd == 2 else self.energy % 1_000_000
        real = bytes.fromhex("7FC00000") if odd == 3 else pack(">f", self.export)
        return answer(shown.to_bytes(4) + real + (self.energy % 30_000).to_bytes(2))

    def slow(self) -> bytes:
        self.volume = (self.volume + self.draw(st.integers(0, 3))) % 1000
        return answer(self.volume.to_bytes(2))

    def setting(self) -> bytes:
        self.ct = self.draw(st.sampled_from([self.ct] * 9 + [self.ct + 1]))
        return answer(self.ct.to_bytes(2))


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Header, Chunk]]:
    """Blocks of a meter: of a minute or of twenty, with silences, settings, resets, absent values, steps of UTC. Most
    are written alike, with their times in as many bytes, so that they are read as rows of one matrix.
    """
    meter, start, mono, blocks = Meter(draw, draw(st.integers(0, 999_999))), T0, 0, list[tuple[Header, Chunk]]()
    for seq in range(draw(st.integers(1, 30))):
        span = draw(st.sampled_from([MINUTE] * 9 + [20 * MINUTE]))
        tracks = []
        for request, say, most in ((FAST, meter.fast, 5), (SLOW, meter.slow, 2), (SETTING, meter.setting, 1)):
            odd = draw(st.integers(0, 19))
            count = 0 if odd == 0 or (request == SETTING and odd > 3) else most
            least = 0 if odd == 2 else 256
            times = [index * span // most + draw(st.integers(least, 9_000)) for index in range(count)]
            if odd == 1:
                times.reverse()
            if times:
                tracks.append(Track.of(request, times, [say() for _ in times]))
        chunk = Chunk(0, INSTALLED.digests[0], tuple(tracks), (), Counters.of(tracks, ()), None, bytes(16))
        clock, boot = ClockState(2, 2, 5, 0), (Event(1, start, start, "first"),)
        spans = (mono, mono + span), (start, start + span)
        place = (bytes(16), 0, seq, bytes(32), 1)
        header = Header(*place, *spans, clock, (1, bytes(32)), ("0.1", bytes(32)), boot)
        blocks.append((replace(header, chunks=(1, merkle.root([chunk.to_bytes()]))), chunk))
        mono += span
        start += span + draw(st.sampled_from([0] * 9 + [50 * MINUTE, -5 * MINUTE]))
    return blocks


def booked(installation: Installation, blocks: list[tuple[Header, Chunk]], takes: list[bool]) -> tuple[Any, ...]:
    """Everything a book writes, as it stands at the end, when its rows are taken after some of the blocks."""
    book, piles, cuts, found = Book(Memory()), Piles(), list[Cut](), list[Changes]()
    rows: dict[tuple[str, str, int], Interval] = {}
    power: dict[tuple[str, str, int], tuple[float, float, int]] = {}
    for (header, chunk), take in zip(blocks, [*takes[:-1], True], strict=True):
        cuts.append(piles.cut(installation, header, chunk.to_bytes()))
        if take:
            piles.say(cuts)
            for cut in cuts:
                assert cut.whole is not None
                book.book(cut.header, Content(installation, cut.whole))
            found.append(finished(book.take()))
            cuts = []
    for changes in found:
        rows |= {(row.device, row.point, row.start): row for row in changes.moved.intervals}
        for place, heap in changes.power.items():
            total, peak, samples = power.get(place, (0.0, float("-inf"), 0))
            power[place] = (total + heap.total, max(peak, heap.peak), samples + heap.samples)
    doubts: dict[Any, Any] = {}
    for changes in found:
        doubts |= changes.moved.doubts
    answered = {(reply.request, reply.points): reply for changes in found for reply in changes.answered}
    told = sorted(repr(turn) for changes in found for turn in changes.moved.turns)
    settings_ = {(held.device, held.point): held for changes in found for held in changes.moved.settings}
    left = {key: doubt for key, doubt in doubts.items() if doubt is not None}
    return rows, left, answered, told, settings_, power


def verified(installation: Installation, blocks: list[tuple[Header, Chunk]]) -> tuple[Any, ...]:
    """The rows, doubts, turns and settings that a verifier comes to, who replays one reply after another."""
    running = Running(Memory())
    for header, chunk in blocks:
        running.configure(installation, header.utc[0])
        finished(running.hear(0, replayed(installation, header, chunk)[1], header))
    moved = running.take()
    rows = {(row.device, row.point, row.start): row for row in moved.intervals}
    left = {key: doubt for key, doubt in moved.doubts.items() if doubt is not None}
    settings_ = {(held.device, held.point): held for held in moved.settings}
    return rows, left, sorted(map(repr, moved.turns)), settings_


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([INSTALLED, UNLIMITED]), lives(), st.data())
def test_any_number_of_blocks_together_is_the_same_as_one_by_one(
    installation: Installation, blocks: list[tuple[Header, Chunk]], data: st.DataObject
) -> None:
    takes = data.draw(
        st.lists(st.sampled_from([False, False, False, True]), min_size=len(blocks), max_size=len(blocks))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_accounts, "AT_ONCE", data.draw(st.sampled_from([1, 3, 1024])))
        *together, some = booked(installation, blocks, takes)
    *singly, other = booked(installation, blocks, [True] * len(blocks))
    assert together == singly
    rows, left, _, told, settings_ = singly
    assert (rows, left, told, settings_) == verified(installation, blocks)
    assert some.keys() == other.keys()
    for place, (total, peak, samples) in some.items():
        assert (peak, samples) == other[place][1:] and total == pytest.approx(other[place][0])


def test_power_read_in_two_quarters_of_an_hour_by_turns_is_heaped_once_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heaped, add = list[int](), Heap.add

    def spied(self: Heap, raws: Sequence[int | float], factor: float) -> None:
        heaped.append(len(raws))
        add(self, raws, factor)

    monkeypatch.setattr(Heap, "add", spied)
    quarters = [(place % 2 * INTERVAL_MS, place) for place in range(500)]
    replies = [answer(bytes(4) + bytes(4) + power.to_bytes(2)) for _, power in quarters]
    track = Track.of(FAST, [at for at, _ in quarters], replies)
    chunk = Chunk(0, INSTALLED.digests[0], (track,), (), Counters.of((track,), ()), None, bytes(16))
    times = (0, 2 * INTERVAL_MS), (T0, T0 + 2 * INTERVAL_MS)
    header = Header(
        bytes(16), 0, 0, bytes(32), 1, *times, ClockState(2, 2, 5, 0), (1, bytes(32)), ("0.1", bytes(32)), ()
    )
    *_, power = booked(INSTALLED, [(replace(header, chunks=(1, merkle.root([chunk.to_bytes()]))), chunk)], [True])
    assert heaped == [250, 250]
    assert {start - T0: (peak, samples) for (_, _, start), (_, peak, samples) in power.items()} == {
        0: (pytest.approx(498 * 0.0005), 250),
        INTERVAL_MS: (pytest.approx(499 * 0.0005), 250),
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.binary(min_size=10, max_size=10), min_size=1, max_size=12), min_size=1, max_size=12), st.data()
)
def test_tracks_read_together_are_the_same_as_one_by_one(answers: list[list[bytes]], data: st.DataObject) -> None:
    """Of several counts, with a damaged reply among them now and then."""
    held, layouts = INSTALLED.drivers[0], Layouts()
    tracks = [Track.of(FAST, range(len(said)), [answer(body) for body in said]) for said in answers]
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(tracks) - 1))
        said = tracks[place].replies()
        reply = bytearray(said[-1])
        reply[data.draw(st.integers(0, len(reply) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        tracks[place] = Track.of(FAST, tracks[place].times, [*said[:-1], bytes(reply)])
        with pytest.raises(ProtocolError):
            replay_track(held, tracks[place], layouts)
        with pytest.raises(ProtocolError):
            replay_tracks([(held, track) for track in tracks], layouts)
        return
    for track, table in zip(tracks, replay_tracks([(held, track) for track in tracks], layouts), strict=True):
        alone = replay_track(held, track, layouts)
        assert [(column.mantissa.tolist(), column.valid.tolist()) for column in table] == [
            (column.mantissa.tolist(), column.valid.tolist()) for column in alone
        ]
        assert (table.times, table.stamps) == (alone.times, alone.stamps)
