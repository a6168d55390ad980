"""What cannot be read keeps nothing else from being closed or judged: rows of one of three have rotted."""

import asyncio
import sqlite3
from contextlib import closing as ending
from pathlib import Path

import pytest

from cloud import accounts, cross_checks, early_warning, subjects
from cloud.account_closing import AccountCloser
from cloud.accounting import contents, signals, warning
from cloud.app import create_app
from cloud.city import City
from cloud.closing import Closer
from cloud.collector import Collector
from cloud.early_warning import Watch
from cloud.formers import FORMER
from cloud.receipts import BROUGHT
from cloud.rows import JournalRow
from cloud.store import Store
from cloud.writer import Writer
from protocols.errors import RottenError, StoreError
from protocols.record.cose import PrivateKey
from tests.cloud import tables
from tests.cloud.accounting.small_city import all_closed, restarted
from tests.cloud.box import Box
from tests.cloud.store.test_unbooked import image
from tests.cloud.test_closing import BEGIN, HOUR, QUARTER, SLOW, Slow, closed, serving

ROTTEN = ("substr(rows, 3)", "replace(rows, '.', '.x')")
"""Open intervals that are no JSON any more, and others that are, but hold no numbers."""
THREE = ["works-0", "works-1", "works-2"]


@pytest.fixture
def three(store: Store) -> list[Slow]:
    """A gateway of each of three subjects, with almost all of a month that is over."""
    boxes = [Slow(profile=SLOW, utc=BEGIN) for _ in THREE]
    for name, box in zip(THREE, boxes, strict=True):
        box.enrol(store)
        meter = tables.meter("M-01", f'class = "0.5"\ngateway = "{box.key.public.id.hex()}"\n')
        subjects.take(store, name, tables.subject_file(tables.subject(name, meter)).encode(), by="w", now=BEGIN)
        box.deliver(store, 11, span=4 * HOUR)
    store.book()
    return boxes


def rot(db: sqlite3.Connection, box: Box, rotten: str) -> str:
    """Let the open intervals of a gateway rot; as they were."""
    gateway = box.key.public.id
    (sound,) = db.execute("SELECT rows FROM open_intervals WHERE gateway = ?", (gateway,)).fetchone()
    db.execute(f"UPDATE open_intervals SET rows = {rotten} WHERE gateway = ?", (gateway,))
    assert db.execute("SELECT rows FROM open_intervals WHERE gateway = ?", (gateway,)).fetchone() != (sound,)
    return str(sound)


def put_right(store: Store, box: Box, sound: str) -> None:
    with store.writing() as db:
        db.execute("UPDATE open_intervals SET rows = ? WHERE gateway = ?", (sound, box.key.public.id))


@pytest.mark.parametrize("rotten", ROTTEN)
def test_a_subject_whose_gateway_cannot_be_booked_keeps_no_other_waiting(
    store: Store, three: list[Slow], tmp_path: Path, caplog: pytest.LogCaptureFixture, rotten: str
) -> None:
    """It is told of, and has its turn again, until its rows are put right."""
    for box in three:
        box.deliver(store, 1, span=4 * HOUR)
    path, now = image(store.path, tmp_path / "rotten.db"), BEGIN + 50 * HOUR
    with ending(sqlite3.connect(path)) as db, db:
        sound = rot(db, three[0], rotten)
    assert isinstance(store.key, PrivateKey)
    with Store(path, store.key) as again, ending(Writer(lambda batches: again.append_batches(batches, now))) as writer:
        app = create_app(Collector(again, store.key, writer, lambda: now))
        done = serving(app, lambda: again.entry_head("account", "A-works-2-2026-09") is not None)
        asyncio.run(asyncio.wait_for(done, 20))
        assert [row.id for row in again.entries("account")] == ["A-works-1-2026-09", "A-works-2-2026-09"]
        assert "closing the accounts of works-0 failed" in caplog.text
        closer = AccountCloser(again)
        for _ in range(2):
            assert "works-0" in closer.waiting(now)
            with pytest.raises((StoreError, ArithmeticError)):
                closer.close("works-0", now)
        assert [closer.close(name, now) for name in THREE[1:]] == [[], []]
        put_right(again, three[0], sound)
        assert [version.reference for version in all_closed(closer, now)] == ["A-works-0-2026-09@1"]
        assert all_closed(closer, now) == []


def test_a_failure_is_logged_once_for_as_long_as_it_stays_the_same(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, causes = list[str](), [*["rows"] * 4, *["other rows"] * 4, *["rows"] * 4]

    def judge(watch: Watch, name: str, now: int) -> None:
        turns.append(name)
        raise RottenError(causes[min(len(turns), len(causes)) - 1])

    monkeypatch.setattr("cloud.app.WATCH_EVERY_S", 0)
    monkeypatch.setattr(Watch, "waiting", lambda watch: ["works-0"])
    monkeypatch.setattr(Watch, "judge", judge)
    assert isinstance(store.key, PrivateKey)
    with ending(Writer(lambda batches: store.append_batches(batches, BEGIN))) as writer:
        app = create_app(Collector(store, store.key, writer, lambda: BEGIN))
        asyncio.run(asyncio.wait_for(serving(app, lambda: len(turns) > len(causes)), 20))
    assert caplog.text.count("judging works-0 failed") == 3 and caplog.text.count("Traceback") == 3


@pytest.mark.parametrize("rotten", ROTTEN)
def test_late_data_of_others_are_seen_although_rows_of_a_gateway_have_rotted(
    store: Store, three: list[Slow], rotten: str
) -> None:
    accounts_, sites, now = AccountCloser(store), Closer(store), BEGIN + 50 * HOUR
    assert len(all_closed(accounts_, now)) == 3 and closed(sites, now)
    for box in three:
        box.deliver(store, 1, span=QUARTER)
    store.book()
    with store.writing() as db:
        sound = rot(db, three[0], rotten)
    assert sites.waiting(now) == ["plant-7"]
    assert accounts_.waiting(now) == THREE
    assert [one.reference for name in THREE[1:] for one in accounts_.close(name, now)] == [
        "A-works-1-2026-09@2",
        "A-works-2-2026-09@2",
    ]
    put_right(store, three[0], sound)
    assert [one.reference for one in accounts_.close("works-0", now)] == ["A-works-0-2026-09@2"]


NOW = BEGIN + 50 * HOUR


@pytest.fixture
def known(store: Store, three: list[Slow]) -> list[Slow]:
    """The same, with accounts, of which everything is known and written down."""
    closer = AccountCloser(store, durable=True)
    assert [version.content.subject for version in all_closed(closer, NOW)] == THREE
    restarted(closer, NOW)
    return three


def test_after_a_restart_only_those_are_looked_at_of_whom_something_has_come(store: Store, known: list[Slow]) -> None:
    def next_process(now: int = NOW) -> list[str]:
        return AccountCloser(store, durable=True).waiting(now)

    everybody = [*THREE, "works-3"]
    assert next_process() == [] and next_process(NOW + HOUR) == []
    other = tables.subject_file(tables.subject("works-3", zh="另一家", en="Another")).encode()
    subjects.take(store, "other.toml", other, by="w", now=NOW)
    for _ in range(2):
        assert next_process() == ["works-3"], "and it is killed before it looks"
    closer = AccountCloser(store, durable=True)
    assert all_closed(closer, NOW) == [] and restarted(closer, NOW).waiting(NOW) == []
    known[0].deliver(store, 1, span=QUARTER)
    for _ in range(2):
        assert next_process() == everybody, "works-3 has no account yet; and it is killed before it looks"
    closer = AccountCloser(store, durable=True)
    assert [version.reference for version in all_closed(closer, NOW)] == ["A-works-0-2026-09@2"]
    assert restarted(closer, NOW).waiting(NOW) == []
    Slow(profile=SLOW, utc=BEGIN).enrol(store)
    assert next_process() == ["works-3"], "a gateway was set up of which none of them has a meter"
    assert next_process(BEGIN + 40 * 24 * HOUR) == everybody


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE settled_accounts SET memory = replace(CAST(memory AS TEXT), 'seen\":[', 'seen\":[9')",
        "UPDATE settled_accounts SET memory = x'7b7d', sha256 ="
        " x'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'",
        "DELETE FROM settled_accounts",
    ],
    ids=["rotten", "of another form", "gone"],
)
def test_without_a_memory_that_is_whole_every_subject_is_looked_at(store: Store, known: list[Slow], spoil: str) -> None:
    with store.writing() as db:
        assert db.execute(spoil).rowcount == 1
    assert AccountCloser(store, durable=True).waiting(NOW) == THREE


def test_what_was_known_under_other_built_in_files_is_looked_at_again(
    store: Store, known: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**contents.installed(), "grid/other.toml": "0" * 64}
    monkeypatch.setattr(contents, "installed", lambda: other)
    assert AccountCloser(store, durable=True).waiting(NOW) == THREE


def test_names_on_a_version_and_what_is_known_beside_it_have_no_account_looked_at(
    store: Store, known: list[Slow]
) -> None:
    closer = AccountCloser(store, durable=True)
    beside = b'schema = 1\nsubject = "works-1"\nperiod = "2026-09"\n'
    assert cross_checks.take(store, "beside.toml", beside, by="w", now=NOW).subject == "works-1"
    assert closer.waiting(NOW) == []
    locked = accounts.lock(store, "A-works-1-2026-09@1", ["王工", "李工"], NOW, closure="partial")
    assert (locked.state, closer.waiting(NOW)) == ("locked", [])
    kid = subjects.trust(store, "王工", PrivateKey.generate().public, now=NOW)
    subjects.distrust(store, kid, now=NOW)
    store.keep([JournalRow(0, kind, "a/b", 1, "", "", "", NOW, "", "{}", b"") for kind in (FORMER, BROUGHT)])
    assert closer.waiting(NOW) == []
    assert all_closed(AccountCloser(store), NOW) == []


ROTTEN_OF_A_SUBJECT = {
    "account": ("body", "x'00'"),
    "warning": ("detail", "'{'"),
}
"""Of which entries of the journal what has rotted, and what it is then."""


@pytest.mark.parametrize("kind", ROTTEN_OF_A_SUBJECT)
def test_a_subject_that_cannot_be_judged_keeps_no_other_waiting(
    store: Store, three: list[Slow], tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """It is told of, and has its turn again, until its rows are put right. Each has a warning of a meter that it shared
    once: it is asked of all of them who is to be judged.
    """
    now = NOW
    assert len(all_closed(AccountCloser(store), now)) == len(three)
    for name in THREE:
        shared = signals.shared(name, "M-01", 2, {})
        event = warning.judge(None, shared, signals.levels()["shared"], "2026-10-01T00:00:00+08:00")
        assert event is not None
        early_warning._log(store, 0, event, now)
    column, rotten = ROTTEN_OF_A_SUBJECT[kind]
    path, whose = image(store.path, tmp_path / "rotten.db"), (kind, "works-0")
    with ending(sqlite3.connect(path)) as db, db:
        (sound,) = db.execute(f"SELECT {column} FROM journal WHERE kind = ? AND subject = ?", whose).fetchone()
        db.execute(f"UPDATE journal SET {column} = {rotten} WHERE kind = ? AND subject = ?", whose)
    assert isinstance(store.key, PrivateKey)
    with Store(path, store.key) as again, ending(Writer(lambda batches: again.append_batches(batches, now))) as writer:

        def over(name: str) -> bool:
            return again.entry_head("warning", f"W-{name}-shared-M-01", 2) is not None

        app = create_app(Collector(again, store.key, writer, lambda: now))
        asyncio.run(asyncio.wait_for(serving(app, lambda: over("works-1") and over("works-2")), 20))
        assert not over("works-0")
        assert "judging works-0 failed" in caplog.text
        watch = Watch(City(again))
        assert watch.waiting() == THREE
        assert [watch.judge(name, now) for name in THREE[1:]] == [[], []]
        for _ in range(2):
            with pytest.raises(RottenError):
                watch.judge("works-0", now)
            assert watch.waiting() == ["works-0"]
        with again.writing() as db:
            db.execute(f"UPDATE journal SET {column} = ? WHERE kind = ? AND subject = ?", (sound, *whose))
        assert [(event.subject, event.happened) for event in watch.judge("works-0", now)] == [("works-0", "cleared")]
        assert watch.waiting() == []
