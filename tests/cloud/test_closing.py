"""The closer looks only where something has changed: whatever happens, it misses nothing that a new one would find."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from cloud import accounts, closing, due, statements, subjects
from cloud.account_closing import AccountCloser
from cloud.accounting import factors
from cloud.accounting import period as periods
from cloud.accounting.statement import Statement
from cloud.app import create_app
from cloud.closing import KEEP_MS, Closer, close_all
from cloud.collector import Collector
from cloud.store import Store
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Fault, Track
from tests.cloud import tables
from tests.cloud.accounting.small_city import all_closed, restarted
from tests.cloud.box import DAY, MINUTE, PROFILE, SITE, Box
from tests.cloud.conftest import House, Rig

HOUR, QUARTER = 60 * MINUTE, 15 * MINUTE
SLOW = PROFILE.replace(b'period = "10s"', b'period = "15m"')
ELSEWHERE = SITE.replace(b'name = "Plant 7"', b'name = "Plant 7"\ntimezone = "Asia/Tokyo"')
BEGIN = periods.parse("2026-09-29", DAY.zone).start
"""So that a month ends within the histories."""


class Slow(Box):
    """A gateway whose meters are asked four times an hour."""

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        (query,) = self.installation.drivers[device].queries()
        times = range(50, span, QUARTER)
        replies = [self.reply(device, self.energy + step * index) for index in range(len(times))]
        track = Track.of(query.request, times, replies)
        return Chunk(device, self.installation.digests[device], (track,), (), Counters.of([track], []), None, bytes(16))


class Mute(Box):
    """One whose meters do not answer."""

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        faults = tuple(Fault(at, 0, 1) for at in range(50, span, QUARTER))
        digest, salt = self.installation.digests[device], bytes([step] * 16)
        return Chunk(device, digest, (), faults, Counters.of((), faults), None, salt)


def closed(closer: Closer, now: int) -> list[Statement]:
    return [statement for site in closer.waiting(now) for statement in closer.close(site, now)]


class History:
    """Random things that happen to a site, one after another."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.now, self.boxes, self.revoked = BEGIN + HOUR, list[Box](), set[bytes]()
        self.enrol()
        self.closer = Closer(store, durable=True)

    def step(self) -> None:
        weights: dict[Callable[[], None], int] = {
            self.wait: 4,
            self.deliver: 8,
            self.enrol: 1,
            self.skip: 1,
            self.configure: 1,
            self.revoke: 1,
            self.undated: 1,
            self.by_hand: 1,
            self.restart: 2,
        }
        self.random.choices(list(weights), list(weights.values()))[0]()

    def wait(self) -> None:
        """Some time, or until shortly after the next midnight."""
        midnight = periods.day_of(self.now, DAY.zone).end
        self.now = self.random.choice([self.now + 3 * HOUR, self.now + 30 * HOUR, midnight, midnight + 20 * MINUTE])

    def enrol(self) -> None:
        if len(self.boxes) < 3:
            kind = self.random.choice([Slow, Slow, Mute]) if self.boxes else Slow
            self.boxes.append(kind(profile=SLOW, utc=BEGIN + self.random.randrange(96) * QUARTER))
            self.boxes[-1].enrol(self.store)

    def deliver(self) -> None:
        """What has been recorded up to now or less, so that some of it is late; now and then it is ahead."""
        if (box := self.live()) is not None:
            until, span = self.now + self.random.choice([0, 0, 0, -26 * HOUR, 40 * MINUTE]), 4 * HOUR
            if until - box.utc < span:
                span = QUARTER
            box.deliver(self.store, min(12, max(1, (until - box.utc) // span)), span=span)

    def skip(self) -> None:
        if (box := self.live()) is not None:
            ended, box.utc = box.utc, box.utc + self.random.choice([HOUR, 26 * HOUR])
            box.boot, box.born = box.boot + 1, box.utc - 1000
            boot = Event(EventKind.BOOT, ended, box.utc, "")
            box.deliver(self.store, 1, span=HOUR, events=(boot,))

    def configure(self) -> None:
        if (box := self.live()) is not None:
            number, digest = box.configuration
            site = self.random.choice([SITE, ELSEWHERE])
            envelope = box.configured(number + 1, site, digest)
            assert self.store.put_config(box.key.public.id, envelope, [box.profile], self.now)
            box.use(number + 1, envelope, site)

    def revoke(self) -> None:
        if (box := self.live()) not in (None, self.boxes[0]):
            self.store.revoke(box.key.public.id, "sold", self.now)
            self.revoked.add(box.key.public.id)

    def undated(self) -> None:
        """Blocks of a clock that knows nothing, which the next one dates."""
        if (box := self.live()) is not None:
            unknown = ClockState(0, 0, 0, 0)
            box.deliver(self.store, 3, span=HOUR, clock=unknown)
            self.check()
            event = Event(EventKind.CORRECTION, box.utc, box.utc, "")
            box.deliver(self.store, 1, span=HOUR, events=(event,))

    def by_hand(self) -> None:
        zone = statements.zone_of(self.store, "plant-7")
        at = self.now - self.random.choice([0, 24, 48]) * HOUR
        period = self.random.choice([periods.day_of, periods.month_of])(at, zone)
        try:
            statements.close(self.store, "plant-7", period, self.now)
        except statements.AccountError:
            return

    def restart(self) -> None:
        """What comes while nobody looks, and before the first look of who goes on, is not lost."""
        self.closer = Closer(self.store, durable=True)
        self.random.choice([self.deliver, self.by_hand, self.revoke, self.wait])()

    def live(self) -> Box | None:
        among = [box for box in self.boxes if box.key.public.id not in self.revoked]
        return self.random.choice(among) if among else None

    def check(self) -> list[Statement]:
        """What the closer closes; nothing is left for one that looks at everything."""
        found = closed(self.closer, self.now)
        assert close_all(self.store, self.now) == []
        return found


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_it_closes_what_one_that_looks_at_everything_would(store: Store, seed: int) -> None:
    history = History(store, seed)
    found = history.check()
    for _ in range(12):
        history.step()
        found += history.check()
    history.boxes[0].deliver(store, 18, span=4 * HOUR)
    history.now = max(history.now, history.boxes[0].utc)
    found += history.check()
    assert len(found) >= 2


@pytest.fixture
def closer(store: Store) -> Closer:
    return Closer(store)


def slow(store: Store, kind: type[Box] = Slow, **more: Any) -> Box:
    box = kind(profile=SLOW, utc=BEGIN, **more)
    box.enrol(store)
    return box


def names(found: Sequence[Statement]) -> list[str]:
    return [f"{statement.content.period.id}@{statement.version}" for statement in found]


def test_a_day_is_closed_as_soon_as_everybody_has_delivered_past_it(store: Store, closer: Closer) -> None:
    box = slow(store)
    box.deliver(store, 6, span=4 * HOUR)
    assert names(closed(closer, box.utc + MINUTE)) == ["2026-09-29@1"]
    assert names(closed(closer, box.utc + 2 * MINUTE)) == []
    box.deliver(store, 1, span=QUARTER)
    assert names(closed(closer, box.utc)) == ["2026-09-29@2"]


def test_a_month_waits_for_who_may_yet_deliver_of_it_and_no_longer(store: Store, closer: Closer) -> None:
    slow(store).deliver(store, 13, span=4 * HOUR)
    mute = slow(store, Mute)
    mute.deliver(store, 12, span=4 * HOUR)
    assert names(closed(closer, BEGIN + 48 * HOUR + 20 * MINUTE)) == ["2026-09-29@1", "2026-09-30@1"]
    assert names(closed(closer, BEGIN + 48 * HOUR + 20 * MINUTE)) == []
    mute.deliver(store, 1, span=QUARTER)
    assert names(closed(closer, BEGIN + 48 * HOUR + 20 * MINUTE)) == ["2026-09@1"]


def test_days_wait_for_a_gateway_that_measures_nothing(store: Store, closer: Closer) -> None:
    slow(store).deliver(store, 20, span=4 * HOUR)
    mute = slow(store, Mute)
    mute.deliver(store, 1, span=4 * HOUR)
    assert names(closed(closer, BEGIN + 80 * HOUR)) == ["2026-10-01@1", "2026-09@1"]
    assert names(closed(closer, BEGIN + 80 * HOUR)) == []
    mute.deliver(store, 6, span=4 * HOUR)
    assert names(closed(closer, BEGIN + 80 * HOUR)) == ["2026-09-29@1"]


def test_a_day_ends_by_the_time_zone_of_the_configuration_in_force(store: Store, closer: Closer) -> None:
    box = slow(store)
    box.deliver(store, 5, span=4 * HOUR)
    assert names(closed(closer, box.utc)) == []
    number, digest = box.configuration
    envelope = box.configured(number + 1, ELSEWHERE, digest)
    store.put_config(box.key.public.id, envelope, [box.profile], box.utc)
    box.use(number + 1, envelope, ELSEWHERE)
    box.deliver(store, 14, span=QUARTER)
    assert names(closed(closer, box.utc)) == ["2026-09-29@1"]


def test_what_a_gateway_has_left_open_counts_as_come(store: Store, closer: Closer) -> None:
    slow(store).deliver(store, 8, span=4 * HOUR)
    box = Box(utc=BEGIN)
    box.enrol(store)
    box.deliver(store, 3)
    assert names(closed(closer, BEGIN + 32 * HOUR)) == ["2026-09-29@1"]
    box.deliver(store, 3)
    assert names(closed(closer, BEGIN + 32 * HOUR)) == ["2026-09-29@2"]


def test_a_version_under_other_factors_gives_way_to_one_under_ours(store: Store, closer: Closer) -> None:
    slow(store).deliver(store, 8, span=4 * HOUR)
    assert names(closed(closer, BEGIN + 32 * HOUR)) == ["2026-09-29@1"]
    other = replace(factors.builtin(), sha256="0" * 64)
    statements.close(store, "plant-7", "2026-09-29", BEGIN + 32 * HOUR, other)
    assert names(closed(closer, BEGIN + 32 * HOUR)) == ["2026-09-29@3"]


def test_of_a_site_where_nothing_happened_nothing_is_read(store: Store, closer: Closer) -> None:
    box = slow(store)
    box.deliver(store, 8, span=4 * HOUR)
    closed(closer, box.utc)
    box.deliver(store, 1, span=4 * HOUR)
    assert closer.waiting(box.utc) == []
    assert closer.waiting(BEGIN + 48 * HOUR) == ["plant-7"]


@pytest.fixture
def kept(store: Store) -> Box:
    """A box whose day has been closed by one who has written down what it knows."""
    box, closer = slow(store), Closer(store, durable=True)
    box.deliver(store, 8, span=4 * HOUR)
    assert names(closed(closer, box.utc)) == ["2026-09-29@1"]
    assert closed(closer, box.utc + KEEP_MS) == []
    return box


def test_who_goes_on_after_a_restart_looks_only_where_something_has_come(store: Store, kept: Box) -> None:
    assert Closer(store).waiting(kept.utc) == ["plant-7"]
    assert Closer(store, durable=True).waiting(kept.utc) == []
    kept.deliver(store, 1, span=QUARTER)
    assert Closer(store, durable=True).waiting(kept.utc) == []
    assert Closer(store, durable=True).waiting(BEGIN + 48 * HOUR) == ["plant-7"]
    kept.deliver(store, 4, span=4 * HOUR)
    assert names(closed(Closer(store, durable=True), kept.utc)) == ["2026-09-30@1", "2026-09@1"]


def test_late_data_that_nobody_came_to_look_at_open_the_day_again_after_a_restart(store: Store) -> None:
    box, closer = slow(store), Closer(store, durable=True)
    box.deliver(store, 5, span=4 * HOUR)
    now = BEGIN + 26 * HOUR
    assert names(closed(closer, now)) == ["2026-09-29@1"]
    assert closed(closer, now + KEEP_MS) == []
    box.deliver(store, 1, span=4 * HOUR)
    assert closer.waiting(now + 2 * KEEP_MS) == ["plant-7"], "and it is killed before it looks"
    assert names(closed(Closer(store, durable=True), now + 3 * KEEP_MS)) == ["2026-09-29@2"]
    box.deliver(store, 1, span=QUARTER)
    assert names(closed(Closer(store, durable=True), now + 4 * KEEP_MS)) == ["2026-09-29@3"]


def test_a_version_of_somebody_elses_before_a_restart_is_looked_at(store: Store, kept: Box) -> None:
    other = replace(factors.builtin(), sha256="0" * 64)
    statements.close(store, "plant-7", "2026-09-29", kept.utc, other)
    for _ in range(2):
        assert Closer(store, durable=True).waiting(kept.utc) == ["plant-7"], "and it is killed before it looks"
    assert names(closed(Closer(store, durable=True), kept.utc)) == ["2026-09-29@3"]


def test_an_older_backup_goes_on_from_what_was_known_then(store: Store, kept: Box, tmp_path: Path) -> None:
    store.back_up(tmp_path / "backup.db")
    kept.deliver(store, 5, span=4 * HOUR)
    assert names(closed(Closer(store, durable=True), kept.utc + 2 * KEEP_MS)) == ["2026-09-30@1", "2026-09@1"]
    with Store(tmp_path / "backup.db", store.key) as older:
        again = Closer(older, durable=True)
        assert closed(again, BEGIN + 32 * HOUR) == []
        assert names(closed(again, BEGIN + 50 * HOUR)) == ["2026-09-30@1", "2026-09@1"]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE settled SET memory = replace(CAST(memory AS TEXT), 'seen\":[', 'seen\":[9')",
        "UPDATE settled SET memory = x'7b7d', sha256 ="
        " x'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'",
        "DELETE FROM settled",
    ],
    ids=["rotten", "of another form", "gone"],
)
def test_on_what_is_not_whole_nobody_relies(store: Store, kept: Box, spoil: str) -> None:
    with store.writing() as db:
        assert db.execute(spoil).rowcount == 1
    assert Closer(store, durable=True).waiting(kept.utc) == ["plant-7"]


def test_what_was_settled_under_other_factors_is_looked_at_again(
    store: Store, kept: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = replace(factors.builtin(), sha256="0" * 64)
    for module in (closing, due, statements):
        monkeypatch.setattr(module, "builtin", lambda: newer)
    assert names(closed(Closer(store, durable=True), kept.utc)) == ["2026-09-29@2"]


async def serving(app: ASGIApp, is_done: Callable[[], bool]) -> None:
    """What the application does of itself while it runs, until that is done."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    running = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, told.get, asyncio.Queue().put))
    while not is_done():  # noqa: ASYNC110 - it is the file that is waited for
        await asyncio.sleep(0.01)
    told.put_nowait({"type": "lifespan.shutdown"})
    await running


def test_a_site_that_cannot_be_read_keeps_no_other_waiting(house: House, rig: Rig) -> None:
    rig.enrol(house.store, house.key)
    slow(house.store).deliver(house.store, 8, span=4 * HOUR)
    house.now = BEGIN + 32 * HOUR
    with house.store.writing() as db:
        db.execute("UPDATE configs SET envelope = x'00' WHERE gateway = ?", (rig.id,))
    assert house.store.sites() == ["S-DEMO", "plant-7"]
    app = create_app(Collector(house.store, house.key, house.writer, lambda: house.now))
    done = serving(app, lambda: house.store.statement("E-plant-7-2026-09-29") is not None)
    asyncio.run(asyncio.wait_for(done, 20))
    with house.store.reading() as db:
        assert db.execute("SELECT count(*) FROM settled").fetchone() == (1,), "what it knows outlives it"


WORKS = tables.subject_file(tables.subject("works", tables.meter("M-01", 'class = "0.5"\n'), site="plant-7")).encode()


@pytest.mark.parametrize("restarts", [False, True])
def test_an_account_of_a_month_that_is_over_follows_late_data_and_no_other(store: Store, restarts: bool) -> None:
    closer = AccountCloser(store, durable=True)
    subjects.take(store, "works.toml", WORKS, by="w", now=BEGIN)

    def due(now: int) -> list[str]:
        nonlocal closer
        found = [version.reference for version in all_closed(closer, now)]
        closer = restarted(closer, now) if restarts else closer
        assert all_closed(AccountCloser(store), now) == []
        return found

    october = BEGIN + 48 * HOUR
    assert due(october + 2 * HOUR) == []
    box = slow(store)
    box.deliver(store, 8, span=4 * HOUR)
    assert due(october + 2 * HOUR) == ["A-works-2026-09@1"]
    box.deliver(store, 4, span=4 * HOUR)
    assert due(october + 2 * HOUR) == ["A-works-2026-09@2"]
    box.deliver(store, 1, span=QUARTER)
    assert due(october + 2 * HOUR) == ["A-works-2026-09@3"]
    box.deliver(store, 4, span=4 * HOUR)
    assert due(october + 2 * HOUR) == []


def test_an_account_that_late_data_leave_as_it_is_is_drawn_up_again_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not with everything that comes to anybody afterwards."""
    closer, now = AccountCloser(store), BEGIN + 50 * HOUR
    subjects.take(store, "works.toml", WORKS, by="w", now=BEGIN)
    slow(store).deliver(store, 12, span=4 * HOUR)
    assert [version.reference for version in all_closed(closer, now)] == ["A-works-2026-09@1"]
    drawn, draw = list[str](), accounts.close
    monkeypatch.setattr(accounts, "close", lambda *told: (drawn.append(told[2]), draw(*told))[1])

    def touch() -> list[str]:
        """An interval comes again as it was."""
        drawn.clear()
        with store.writing() as db:
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'ingest_seq'")
            (number,) = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()
            db.execute(
                "UPDATE closed_intervals SET ingest_seq = ?1 WHERE ingest_seq ="
                " (SELECT min(ingest_seq) FROM closed_intervals WHERE start >= ?2)",
                (number, BEGIN + HOUR),
            )
        assert "A-works-2026-09@2" not in [version.reference for version in all_closed(closer, now)]
        return drawn

    assert touch() == ["works"]
    drawn.clear()
    other, *_ = WORKS.replace(b"works", b"other").partition(b"[[subject.meter]]")
    subjects.take(store, "other.toml", other, by="w", now=now)
    assert closer.waiting(now) == ["other"]
    all_closed(closer, now)
    assert drawn == ["other"]
    assert "works" in touch()
