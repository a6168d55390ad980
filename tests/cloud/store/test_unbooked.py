"""Blocks are booked behind their answer: to the same rows as at once, exactly once, and before anybody who asks."""

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud import audit, audit_file, running, statements, store, taking, unbooked
from cloud.booking import Book, Changes
from cloud.intervals import Interval
from cloud.store import Store
from cloud.writer import Writer
from drivers.steps import Steps
from protocols.errors import StoreError
from protocols.record.answer import Answer
from protocols.record.block import EventKind
from protocols.record.cose import PrivateKey
from tests.cloud.store.test_dating import GOOD, MINUTE, UNKNOWN, Clocked

DAY = 86_400_000
BOOKED = {
    "closed_intervals": "ingest_seq",
    "doubts": "",
    "settings": "",
    "latest": "",
    "power": "",
    "undated": "",
}
"""Tables that are made of blocks, and what in them tells of the order of writing alone."""


class Clock:
    """Seconds, as told; each look takes ``step`` of them."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def append(store: Store, *frames: bytes, now: int) -> None:
    verdicts = store.append(frames, now).verdicts
    assert {verdict.answer for verdict in verdicts} == {Answer.STORED}, verdicts


def waiting(store: Store) -> list[bytes]:
    with store.reading() as db:
        return unbooked.gateways(db)


def rows(store: Store) -> dict[str, list[Any]]:
    """Everything that is booked, and what was told of it."""
    with store.booked() as db:
        assert not unbooked.gateways(db)
        found: dict[str, list[Any]] = {}
        for table, but in BOOKED.items():
            names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name != but]
            found[table] = db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
        found["incidents"] = db.execute("SELECT kind, epoch, seq, detail FROM incidents ORDER BY id").fetchall()
        found["blocks"] = db.execute("SELECT epoch, seq, utc_start, utc_end FROM blocks ORDER BY 1, 2").fetchall()
    found["open"] = sorted(
        [(row.interval.device, row.interval.point, row.interval) for row in store.intervals(closed=False)]
    )
    return found


def in_order(store: Store, gateway: bytes) -> list[Interval]:
    found = [row.interval for row in store.intervals(limit=1 << 20, gateway=gateway)]
    return sorted(found, key=lambda one: (one.device, one.point, one.start))


def image(path: Path, to: Path) -> Path:
    """What a process that is killed now leaves behind."""
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", f"{to}{end}")
    return to


def audited(path: Path, gateway: bytes) -> audit.Audited:
    with audit_file.open_file(path) as db:
        return audit.Audit(db, gateway, lambda _: None).run(None)


def a_hard_life(box: Any) -> Clocked:
    """Good blocks, a register that falls, and two boots that do not know the time, of which one is corrected
    and forgets it for two minutes.
    """
    clocked = Clocked(box)
    clocked.run(18)
    clocked.boot(10 * MINUTE, 60_000, UNKNOWN)
    clocked.run(9, UNKNOWN)
    clocked.correct()
    clocked.run(6)
    clocked.run(2, UNKNOWN)
    clocked.run(2)
    box.energy = 500
    clocked.run(20)
    clocked.boot(40 * MINUTE, 60_000, UNKNOWN)
    clocked.run(3, UNKNOWN)
    return clocked


@settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_whenever_it_is_booked_the_rows_are_those_of_booking_at_once(
    tmp_path_factory: pytest.TempPathFactory, make_box: Callable[..., Any], data: st.DataObject
) -> None:
    folder, key = tmp_path_factory.mktemp("booked"), PrivateKey.generate()
    box = make_box()
    clocked = a_hard_life(box)
    frames, now = clocked.frames, clocked.true
    with Store(folder / "once.db", key) as once:
        box.enrol(once)
        for frame in frames:
            append(once, frame, now=now)
            once.book()
        wanted = rows(once)
    assert [kind for kind, *_ in wanted["incidents"]] == ["unexplained"]
    path, clock, place = folder / "0.db", Clock(), 0
    held = Store(path, key, clock=clock, processor=Clock(0.0011))
    box.enrol(held)
    for number in itertools.count(1):
        batch = data.draw(st.sampled_from((1, 1, 2, 3, 11)), "blocks")
        append(held, *frames[place : place + batch], now=now)
        place += batch
        match data.draw(st.sampled_from(("nothing", "rest", "asked", "killed", "closed", "another")), "then"):
            case "rest":
                clock.now += store.BOOK_AFTER_S
                held.rest()
            case "asked":
                held.intervals(gateway=box.id)
                assert not waiting(held)
            case "killed":
                path = image(path, folder / f"{number}.db")
                assert not audited(path, box.id).found
                held._unbooked.clear()
                held.close()
                held = Store(path, key, clock=clock, processor=Clock(0.0011))
            case "closed":
                held.close()
                assert audited(path, box.id).unbooked == 0
                held = Store(path, key, clock=clock, processor=Clock(0.0011))
            case "another":
                with Store(path, key) as other:
                    assert other.sums(box.id, [("M-01", "energy_import")], 0, 1 << 50)
                    assert not waiting(other)
        if place >= len(frames):
            break
    assert rows(held) == wanted
    held.close()
    found = audited(path, box.id)
    assert (found.differences, found.unbooked, found.blocks) == ([], 0, len(frames))


def test_an_answer_does_not_wait_for_the_books_and_whoever_asks_sees_it(tmp_path: Path, box: Any) -> None:
    clock = Clock()
    with Store(tmp_path / "a.db", PrivateKey.generate(), clock=clock) as held:
        box.enrol(held)
        append(held, box.block(), now=box.utc)
        assert waiting(held) == [box.id] and held.gateways()[0].blocks == 1
        assert held.rest() == store.LULL_S and waiting(held), "others of its gateway may come"
        assert held.intervals(gateway=bytes(16)) == [] and waiting(held), "nobody asked for this one"
        assert held.latest(box.id) and held.intervals(gateway=box.id) and not waiting(held)
        assert held.rest() == store.LULL_S, "to fold the log"
        append(held, box.block(), now=box.utc)
        clock.now += store.BOOK_AFTER_S
        assert held.rest() == 0.0 and not waiting(held)


def test_a_long_outage_is_booked_in_stretches_between_which_others_are_taken(
    tmp_path: Path, make_box: Callable[..., Any]
) -> None:
    away, other, key = make_box(), make_box(), PrivateKey.generate()
    path, clock = tmp_path / "long.db", Clock()
    held = Store(path, key, clock=clock, processor=Clock(0.001))
    away.enrol(held)
    other.enrol(held)
    clocked = Clocked(away)
    clocked.run(1)
    clocked.boot(60 * DAY, clocked.true + 60 * DAY, GOOD)
    clocked.run(1)
    append(held, *clocked.frames, now=away.utc)
    clock.now += store.BOOK_AFTER_S
    taken = 0
    while held.rest() == 0.0:
        if taken < 30:
            append(held, other.block(), now=away.utc)
        taken += 1
        if taken == 5:
            half = image(path, tmp_path / "half.db")
    assert taken > 10, "11,520 quarters of an hour are many stretches"
    made = [row.interval for row in held.intervals(limit=1 << 20, gateway=away.id)]
    held.close()
    assert audited(half, away.id).unbooked == 3 and not audited(path, away.id).found
    with Store(half, key) as again:
        assert in_order(again, away.id) == made
    assert not audited(half, away.id).found


def jumping(box: Any) -> bytes:
    """A block of an hour: the registers of the first meter fall and rise again from one reading to the next."""
    times = list(range(50, 3_600_000, 10_000))
    jumps = [box.reply(0, box.energy - 5_000 * (place % 2)) for place in range(len(times))]
    still = [box.reply(1, 7)] * len(times)
    frame: bytes = box.block(3_600_000, [box.chunk(0, times, jumps), box.chunk(1, times, still)])
    return frame


def test_registers_that_jump_at_every_reading_are_entered_in_turns_between_which_others_are_taken(
    tmp_path: Path, make_box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the time is all that takes any here: each turn ends with the second one."""
    monkeypatch.setattr(running, "AT_ONCE", 32)
    box, other, key = make_box(), make_box(), PrivateKey.generate()
    path, clock = tmp_path / "jumps.db", Clock()
    held = Store(path, key, clock=clock, processor=Clock(store.SLICE_S))
    box.enrol(held)
    other.enrol(held)
    append(held, box.block(), now=box.utc)
    held.book()
    append(held, jumping(box), box.block(), now=box.utc)
    clock.now += store.BOOK_AFTER_S
    turns = 0
    while held.rest() == 0.0:
        turns += 1
        append(held, other.block(), now=box.utc)
        if turns == 3:
            half = image(path, tmp_path / "half.db")
    assert turns > 360 // 32, "as many as there are pieces of an hour's readings"
    made = in_order(held, box.id)
    assert sum(row.ignored for row in made) == 180
    held.close()
    assert audited(half, box.id).unbooked == 2 and not audited(path, box.id).found
    with Store(half, key) as again:
        assert in_order(again, box.id) == made


def test_a_gateway_that_takes_long_does_not_keep_the_others_from_being_booked(
    tmp_path: Path, make_box: Callable[..., Any]
) -> None:
    away, other, clock = make_box(), make_box(), Clock()
    with Store(tmp_path / "turns.db", PrivateKey.generate(), clock=clock, processor=Clock(0.001)) as held:
        away.enrol(held)
        other.enrol(held)
        clocked = Clocked(away)
        clocked.run(1)
        clocked.boot(30 * DAY, clocked.true + 30 * DAY, GOOD)
        append(held, *clocked.frames, now=away.utc)
        append(held, other.block(), now=away.utc)
        clock.now += store.BOOK_AFTER_S
        for _ in range(6):
            held.rest()
        assert waiting(held) == [away.id]


def test_what_a_correction_dates_is_booked_in_stretches_too(
    tmp_path: Path, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked, clock = Clocked(box), Clock()
    clocked.run(2)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.run(99, UNKNOWN)
    clocked.correct()
    path, key = tmp_path / "dated.db", PrivateKey.generate()
    with Store(path, key, clock=clock, processor=Clock(1.0)) as held:
        box.enrol(held)
        for frame in clocked.frames:
            append(held, frame, now=clocked.true)
        clock.now += store.BOOK_AFTER_S
        undated, steps = list[int](), 0
        while held.rest() == 0.0:
            with held.reading() as db:
                undated.append(*db.execute("SELECT count(*) FROM undated WHERE by_seq IS NULL").fetchone())
            steps += 1
            if undated[-1] == 100 - 64:
                half = image(path, tmp_path / "half.db")
        assert [*dict.fromkeys(undated)] == [*range(100, -1, -1)], "a block at a time, for time is always up"
        wanted = rows(held)
    with Store(half, key) as again:
        assert rows(again) == wanted
    left = list[int]()

    def counted(db: sqlite3.Connection, *waiting: Any) -> None:
        left.append(*db.execute("SELECT count(*) FROM undated WHERE by_seq IS NULL").fetchone())
        leave(db, *waiting)

    leave = unbooked.leave
    monkeypatch.setattr(unbooked, "leave", counted)
    with Store(tmp_path / "soon.db", key, processor=Clock()) as soon:
        box.enrol(soon)
        append(soon, *clocked.frames, now=clocked.true)
        assert rows(soon) == wanted
    assert [*dict.fromkeys(left)] == [100, 68, 36, 4, 0], "few enough for memory, however much time there is"


def test_where_the_disk_is_full_the_books_are_shown_as_they_are(tmp_path: Path, box: Any) -> None:
    with Store(tmp_path / "full.db", PrivateKey.generate()) as held:
        box.enrol(held)
        append(held, box.block(), now=box.utc)
        before = held.intervals(gateway=box.id)
        append(held, box.block(), now=box.utc)
        with fails_to_write(held):
            assert held.intervals(gateway=box.id) == before
            assert waiting(held) == [box.id]
        assert held.intervals(gateway=box.id) != before and not waiting(held)


@contextmanager
def fails_to_write(held: Store) -> Iterator[None]:
    """Every transaction of the store fails, as on a disk that is full."""

    def writing() -> NoReturn:
        raise StoreError(f"{held.path}: database or disk is full")

    held.writing = writing  # type: ignore[method-assign]
    try:
        yield
    finally:
        del held.writing  # type: ignore[method-assign]


@pytest.mark.parametrize("rotten", ["substr(frame, 1, 40)", "'text'"])
def test_a_block_that_rotted_while_it_waited_is_told_of_and_the_others_are_booked(
    tmp_path: Path, box: Any, rotten: str
) -> None:
    path, key = tmp_path / "rotten.db", PrivateKey.generate()
    with Store(path, key) as held:
        box.enrol(held)
        for _ in range(3):
            append(held, box.block(), now=box.utc)
        left = image(path, tmp_path / "left.db")
    with closing(sqlite3.connect(left)) as db:
        db.execute(f"UPDATE blocks SET frame = {rotten} WHERE seq = 1")
        db.commit()
    with Store(left, key) as held:
        (interval, *_) = [row.interval for row in held.intervals(gateway=box.id) if row.interval.device == "M-01"]
        assert interval.register_end.seq == 2 and not waiting(held)
        assert [(row.kind, row.seq) for row in held.incidents()] == [("damaged", 1)]
        append(held, box.block(), now=box.utc)
        assert held.intervals(gateway=box.id) and len(held.incidents()) == 1


def test_a_gateway_with_too_much_waiting_is_told_to_send_again(
    store: Store, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.enrol(store)
    monkeypatch.setattr(taking, "MOST_WAITING", 100)
    first, second, third = (box.block() for _ in range(3))
    append(store, first, second, now=box.utc)
    (later,) = store.append([third], box.utc).verdicts
    assert (later.answer, later.code) == (Answer.GAP, "")
    store.book()
    append(store, third, now=box.utc)


def test_the_writer_books_before_it_takes_more_when_too_many_gateways_wait(
    tmp_path: Path, make_box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.store.MOST_GATEWAYS", 2)
    boxes = [make_box() for _ in range(5)]
    with Store(tmp_path / "pressed.db", PrivateKey.generate()) as held:
        for box in boxes:
            box.enrol(held)
        writer = Writer(lambda batches: held.append_batches(batches, boxes[0].utc), held.rest, lambda: held.is_pressed)

        async def send() -> None:
            for box in boxes:
                await writer.append([box.block()])
            await writer.run(lambda: None)

        asyncio.run(send())
        assert len(waiting(held)) <= 2
        writer.close()
    assert not audited(tmp_path / "pressed.db", boxes[-1].id).found


def test_an_audit_counts_what_waits_and_holds_the_rest_to_its_bytes(tmp_path: Path, box: Any) -> None:
    path, key = tmp_path / "audited.db", PrivateKey.generate()
    with Store(path, key) as held:
        box.enrol(held)
        for _ in range(20):
            append(held, box.block(), now=box.utc)
        held.book()
        for _ in range(2):
            append(held, box.block(), now=box.utc)
        found = audited(path, box.id)
        assert (found.found, found.unbooked, found.blocks) == (0, 2, 22)
        with held.writing() as db:
            db.execute("UPDATE unbooked SET seq = 0")
        found = audited(path, box.id)
        assert found.unbooked == 22 and found.found, "intervals that no block has made are not excused by it"


def test_an_interval_that_is_written_in_part_is_found_once(tmp_path: Path, box: Any) -> None:
    clocked, clock = Clocked(box), Clock()
    clocked.run(1)
    with Store(tmp_path / "part.db", PrivateKey.generate(), clock=clock, processor=Clock(0.001)) as held:
        box.enrol(held)
        append(held, *clocked.frames, now=box.utc)
        held.book()
        clocked.boot(30 * DAY, clocked.true + 30 * DAY, GOOD)
        append(held, clocked.frames[-1], now=box.utc)
        clock.now += store.BOOK_AFTER_S
        assert held.rest() == 0.0
        with fails_to_write(held):
            starts = [one.start for one in held.series(box.id, "M-01", "energy_import", 0, 1 << 50)]
        assert waiting(held) and len(starts) > 50
        assert len(set(starts)) == len(starts)


def test_what_could_not_be_committed_is_booked_later(tmp_path: Path, box: Any) -> None:
    clock = Clock()
    with Store(tmp_path / "later.db", PrivateKey.generate(), clock=clock) as held:
        box.enrol(held)
        append(held, box.block(), now=box.utc)
        clock.now += store.BOOK_AFTER_S
        writing = held.writing

        @contextmanager
        def fails_at_last() -> Iterator[sqlite3.Connection]:
            with writing() as db:
                yield db
                raise StoreError("database or disk is full")

        held.writing = fails_at_last  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            held.rest()
        del held.writing  # type: ignore[method-assign]
        clock.now += store.BOOK_AFTER_S
        assert held.rest() == 0.0 and not waiting(held)


@pytest.mark.parametrize("rotten", ["replace(rows, '\"1000.00', '\"x000.00')", "substr(rows, 3)"])
def test_a_gateway_whose_rows_have_rotted_keeps_no_other_from_being_booked(
    tmp_path: Path, make_box: Callable[..., Any], rotten: str
) -> None:
    boxes, key, clock = (
        sorted([make_box() for _ in range(3)], key=lambda box: bytes(box.id)),
        PrivateKey.generate(),
        Clock(),
    )
    spoilt = boxes[1]
    with Store(tmp_path / "sound.db", key) as held:
        for box in boxes:
            box.enrol(held)
            append(held, box.block(), now=box.utc)
        held.book()
        for box in boxes:
            append(held, box.block(), now=box.utc)
        path = image(tmp_path / "sound.db", tmp_path / "spoilt.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE open_intervals SET rows = {rotten} WHERE gateway = ?", (spoilt.id,))
        db.commit()
    shutil.copyfile(path, tmp_path / "again.db")
    with Store(path, key) as held:
        assert held.as_of() and waiting(held) == [spoilt.id]
        with pytest.raises(StoreError, match=spoilt.id.hex()):
            held.book()
    with Store(tmp_path / "again.db", key, clock=clock) as held:
        held.serve_alone()
        for _ in range(4):
            clock.now += store.BOOK_AFTER_S
            with suppress(StoreError, ArithmeticError):
                held.rest()
        assert waiting(held) == [spoilt.id]


def test_nothing_is_signed_of_an_outage_that_is_booked_in_part(
    tmp_path: Path, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked = Clocked(box)
    clocked.run(1)
    clocked.boot(30 * DAY, clocked.true + 30 * DAY, GOOD)
    day = "2026-10-01"
    with Store(tmp_path / "signed.db", PrivateKey.generate(), processor=Clock(0.001)) as held:
        box.enrol(held)
        append(held, *clocked.frames, now=box.utc)
        monkeypatch.setattr("cloud.queries.MOST_S", 0.0)
        (site,) = held.sites()
        signed = statements.close(held, site, day, box.utc)
        assert not waiting(held)
        assert statements.close(held, site, day, box.utc) == signed


def test_a_correction_dates_only_what_was_before_it_however_late_it_is_booked(tmp_path: Path, box: Any) -> None:
    clocked, key = Clocked(box), PrivateKey.generate()
    clocked.run(2)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.correct()
    clocked.run(2)
    clocked.step(clocked.true + 3 * DAY, GOOD, EventKind.CLOCK_STEP)
    clocked.run(2)
    with Store(tmp_path / "once.db", key) as once, Store(tmp_path / "late.db", key) as late:
        for held in (once, late):
            box.enrol(held)
            for frame in clocked.frames:
                append(held, frame, now=clocked.true)
                if held is once:
                    once.book()
        assert rows(late) == rows(once)
        assert [place for place in rows(late)["undated"] if place[-1] is None], "the last three have no time yet"


def test_whoever_comes_meanwhile_waits_for_some_of_the_blocks_that_wait_and_not_for_all(
    box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the time between blocks bounds nothing: most of the work is done when what was booked is taken."""
    taken, take = list[int](), Book.take

    def counted(self: Book) -> Steps[Changes]:
        taken.append(len(self._waiting))
        return take(self)

    monkeypatch.setattr(Book, "take", counted)
    monkeypatch.setattr(store, "TOGETHER", 300)
    with Store(tmp_path / "c.db", PrivateKey.generate(), processor=Clock()) as held:
        box.enrol(held)
        append(held, *[box.block() for _ in range(12)], now=box.utc)
        held.book()
    weight = unbooked.LIGHTEST + 24
    assert sum(taken) == 12 and max(taken) == -(-300 // weight)
