"""Three days without a box: the days' consumptions are exact, from the registers the meter itself froze at midnight."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from cloud.booking import Book
from cloud.evidence.chain import replayed
from cloud.ingest import Content
from cloud.intervals import Interval
from cloud.running import Memory, Running
from cloud.strips import Single
from drivers.columns import Layouts, replay_track
from drivers.driver import Driver
from drivers.replay import values
from drivers.steps import finished
from protocols import dlt645
from protocols.record.block import Chunk, ClockState, Counters, Event, Header, Track

DAY, HOUR, QUARTER = 86_400_000, 3_600_000, 900_000
ENERGY = "energy_import"
Said = tuple[int, bytes, bytes]
"""UTC ms, request, whole answer."""


class Line:
    """The simulated meter on its bus, asked by its driver."""

    def __init__(self, rig: Any) -> None:
        self.driver: Driver = rig.installation.drivers[0]
        self._listeners = rig._meters["bus-1"]
        self._live = next(query.request for query in self.driver.queries() if ENERGY in query.points)
        self._frozen = next(query.request for query in self.driver.queries() if f"{ENERGY}_daily" in query.points)

    def live(self, at: int) -> Said:
        """The register as it stands."""
        return at, self._live, self._ask(self._live, at)

    def frozen(self, at: int, back: int) -> Said:
        """The daily freeze before last, counted from 1: the last, with its date."""
        request = dlt645.read_request(self._frozen.lstrip(b"\xfe")[1:7][::-1].hex(), f"050600{back:02X}")
        whole, asked = b"", request
        while asked is not None:
            whole += self._ask(asked, at)
            asked = self.driver.follow_up(request, whole)
        return at, request, whole

    def register(self, at: int) -> Decimal:
        """What the meter stood at: the truth of an instant."""
        _, request, reply = self.live(at)
        found = values(self.driver, request, reply)[ENERGY]
        assert found is not None
        return found

    def _ask(self, request: bytes, at: int) -> bytes:
        recogniser = self.driver.recogniser(request)
        for listener in self._listeners:
            for said in listener.hear(request, at):
                if (reply := recogniser.feed(said)) is not None:
                    return bytes(reply)
        raise AssertionError("the meter did not answer")


def block(rig: Any, seq: int, start: int, end: int, said: Sequence[Said]) -> tuple[Header, Chunk]:
    boot = (Event(1, start, start, "power on"),)
    clock = ClockState(2, 2, 5, 0)
    header = Header(
        rig.id, 0, seq, bytes(32), 1, (start, end), (start, end), clock, (1, bytes(32)), ("0.1", bytes(32)), boot
    )
    groups: dict[tuple[bytes, int], tuple[list[int], list[bytes]]] = {}
    for at, request, reply in said:
        times, replies = groups.setdefault((request, len(reply)), ([], []))
        times.append(at - start)
        replies.append(reply)
    tracks = tuple(Track.of(request, *found) for (request, _), found in groups.items())
    digest = rig.installation.digests[0]
    return header, Chunk(0, digest, tracks, (), Counters.of(tracks, ()), None, bytes(16))


def booked(rig: Any, blocks: Sequence[tuple[Header, Chunk]]) -> list[Interval]:
    """The intervals of the meter's energy, by the collector and by the verifier: the same."""
    book, running = Book(Memory()), Running(Memory())
    for header, chunk in blocks:
        tables = tuple(replay_track(rig.installation.drivers[0], track, Layouts()) for track in chunk.tracks)
        book.book(header, Content(rig.installation, (Single(chunk, tables),)))
        running.configure(rig.installation, header.utc[0])
        finished(running.hear(0, replayed(rig.installation, header, chunk)[1], header))
    collector, verifier = list(finished(book.take()).moved.intervals), list(running.take().intervals)
    assert sorted(collector, key=_place) == sorted(verifier, key=_place)
    return [row for row in collector if row.point == ENERGY]


def _place(row: Interval) -> tuple[str, str, int]:
    return row.device, row.point, row.start


def days(rows: Sequence[Interval], midnight: int) -> Iterator[Decimal]:
    """kWh on the primary side of each of three days."""
    for day in range(1, 4):
        start = midnight + day * DAY
        own = [row.consumption for row in rows if start <= row.start < start + DAY]
        yield sum((amount for amount in own if amount is not None), Decimal(0))


def test_the_days_of_an_outage_are_parted_by_the_registers_frozen_at_midnight(rig: Any, midnight: int) -> None:
    line, back = Line(rig), midnight + 4 * DAY + 7 * HOUR
    before = [line.live(midnight + quarter * QUARTER + 300) for quarter in range(4 * 20)]
    after = [line.frozen(back + 1000 * (5 - number), number) for number in (4, 3, 2, 1)]
    after += [line.live(back + 6_000 + QUARTER * number) for number in range(3)]
    rows = booked(
        rig,
        [
            block(rig, 0, midnight, midnight + 20 * HOUR, before),
            block(rig, 1, back, back + HOUR, after),
        ],
    )
    truth = [line.register(midnight + day * DAY) for day in range(1, 5)]
    expected = [(after - before) * 80 for before, after in pairwise(truth)]
    assert list(days(rows, midnight)) == expected
    edges = {row.start: row for row in rows}
    for day in range(1, 5):
        opening = edges[midnight + day * DAY].register_start
        assert (opening.at, opening.value, opening.seq) == (midnight + day * DAY, truth[day - 1], 1)


def test_freezes_that_come_after_the_first_live_reading_are_left_aside(rig: Any, midnight: int) -> None:
    line, back = Line(rig), midnight + 2 * DAY + 7 * HOUR
    first = block(rig, 0, midnight, midnight + HOUR, [line.live(midnight + 300)])
    live, frozen = line.live(back), line.frozen(back + 2_000, 1)
    in_one = booked(rig, [first, block(rig, 1, back, back + HOUR, [live, frozen])])
    apart = booked(rig, [first, block(rig, 1, back, back + HOUR, [live]), block(rig, 2, back, back + HOUR, [frozen])])
    measured = {row.register_start.at for row in in_one}
    assert midnight + 2 * DAY in measured
    assert midnight + 2 * DAY not in {row.register_start.at for row in apart}
    assert apart == booked(rig, [first, block(rig, 1, back, back + HOUR, [live])])
