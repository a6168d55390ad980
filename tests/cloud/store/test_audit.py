"""The audit: a file that was kept holds; whatever is edited in it is named."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from cloud import audit, audit_file, audit_rows, interval_rows, statements
from cloud.audit import Audited
from cloud.store import Store
from protocols.errors import ConfigError, ForeignError, SpoiltError
from protocols.record.answer import Answer
from protocols.record.block import ClockState, Event, EventKind, Fault
from protocols.record.cose import PrivateKey

LATER = 1_790_600_000_000
UNKNOWN = ClockState(0, 0, 16_000, 0)
EDITED = {
    "blocks": "epoch seq hash utc_start utc_end config_number readings fault frame",
    "closed_intervals": "start end unit meter closed start_value start_at start_epoch start_seq end_value end_at"
    " end_epoch end_seq rolled multiplier consumption readings expected quality position period_ms state ignored since"
    " kind covered_ms integral",
    "gateways": "algorithm spki technician_algorithm technician_spki site custody enrolment epoch next_seq head boot"
    " mono config_number block_start block_end blocks refused_blocks readings due asked answered silent damaged"
    " refused gaps",
    "configs": "number digest envelope valid_from",
    "profiles": "digest source",
    "receipts": "hash epoch next_seq at level envelope",
    "events": "epoch seq kind start end detail",
    "latest": "device request points config_number at reply epoch seq",
    "doubts": "position value at epoch seq",
    "statements": "id version digest site period content",
    "quarantine": "hash frame",
}
"""Every column that says something; each is edited in one of its rows."""


def eventful(box: Any, store: Store) -> None:
    """An hour with a silent meter, a block that breaks its plan, a power cut, a time without a clock that is
    corrected, a register that cannot follow, and bytes that nobody signed.
    """
    frames = [box.block() for _ in range(20)]
    silent = [Fault(at, 0, 1) for at in range(50, 60_000, 10_000)]
    times = list(range(50, 60_000, 10_000))
    frames.append(box.block(chunks=[box.chunk(0, [], [], silent), box.chunk(1, times, [box.reply(1, 9)] * 6)]))
    frames.append(box.block(chunks=[box.chunk(0, times, [box.reply(0, box.energy)] * 6)]))
    frames += [box.block() for _ in range(8)]
    frames.append(box.block(**box.reboot(10 * 60_000)))
    box.utc -= 20 * 365 * 86_400_000
    step = Event(EventKind.CLOCK_STEP, box.utc, box.utc, "lost the time")
    frames.append(box.block(clock=UNKNOWN, events=(step,)))
    frames += [box.block(clock=UNKNOWN) for _ in range(5)]
    believed, box.utc = box.utc, box.utc + 20 * 365 * 86_400_000
    found = [Event(kind, believed, box.utc, "clock") for kind in (EventKind.CLOCK_STEP, EventKind.CORRECTION)]
    frames.append(box.block(events=tuple(found)))
    frames += [box.block() for _ in range(25)]
    for at in range(0, len(frames), 17):
        store.append(frames[at : at + 17], LATER)
    jump = [box.chunk(0, times, [box.reply(0, 3)] * 6), box.chunk(1, times, [box.reply(1, 9)] * 6)]
    (verdict,) = store.append([box.block(chunks=jump)], LATER).verdicts
    assert verdict.answer == Answer.STORED
    store.append([b"nobody's"], LATER)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, make_box: Any) -> Iterator[tuple[Path, Any]]:
    """A collector's file, closed."""
    path, box = tmp_path_factory.mktemp("kept") / "collector.db", make_box()
    with Store(path, PrivateKey.generate()) as store:
        box.enrol(store)
        eventful(box, store)
        statements.close(store, "plant-7", "2026-09", LATER)
        key = store.key
    yield path, key


def audited(path: Path, key: PrivateKey | None) -> list[tuple[str, str, str]]:
    """What differs: kind, name, detail."""
    with audit_file.open_file(path) as db:
        found: list[Audited] = [
            audit.Audit(db, gateway, lambda _: None).run(key and key.public) for gateway in audit.gateways(db)
        ]
        _, beyond = audit_file._beyond(db)
    every = [one for each in found for one in each.differences] + beyond.listed
    return [(one.what, one.name, one.detail) for one in every]


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"x"
    if isinstance(value, int):
        return value + 1000
    return "x" if value is None else f"{value}1"


def test_what_was_kept_holds(kept: tuple[Path, PrivateKey]) -> None:
    assert audited(*kept) == []


def test_what_was_kept_holds_however_few_intervals_wait_to_be_compared(
    kept: tuple[Path, PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last that may wait is followed by the first of another series."""
    monkeypatch.setattr(audit_rows, "WAITING", 1)
    assert audited(*kept) == []


@pytest.mark.parametrize("table", EDITED)
def test_whatever_is_edited_is_named(table: str, kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    path, key = kept
    for column in EDITED[table].split():
        copy = tmp_path / f"{column}.db"
        copy.write_bytes(path.read_bytes())
        with sqlite3.connect(copy) as db:
            rows = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            assert rows, table
            place = crc32(f"{table}.{column}".encode()) % rows
            name = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5]) or "rowid"
            where = f"({name}) = (SELECT {name} FROM {table} ORDER BY {name} LIMIT 1 OFFSET {place})"
            (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (changed(value),))
        db.close()
        assert audited(copy, key), f"{table}.{column} of row {place}: {value!r}"


def test_whatever_is_edited_of_an_open_interval_is_named(kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    path, key = kept
    for place, column in enumerate(interval_rows.COLUMNS[1:-1]):
        copy = tmp_path / f"{column}.db"
        copy.write_bytes(path.read_bytes())
        with sqlite3.connect(copy) as db:
            rows = json.loads(db.execute("SELECT rows FROM open_intervals").fetchone()[0])
            rows[place % len(rows)][place] = changed(rows[place % len(rows)][place])
            db.execute("UPDATE open_intervals SET rows = ?", (json.dumps(rows),))
        db.close()
        assert audited(copy, key), column


@pytest.mark.parametrize("rows", ["[]", "[[1", ""])
def test_open_intervals_that_are_gone_or_no_longer_any_are_named(
    rows: str, kept: tuple[Path, PrivateKey], tmp_path: Path
) -> None:
    path, key = kept
    copy = tmp_path / "gone.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as db:
        db.execute("UPDATE open_intervals SET rows = ?", (rows,))
    db.close()
    assert {what for what, *_ in audited(copy, key)} == {"interval"}


@pytest.mark.parametrize(
    "table", ["blocks", "closed_intervals", "open_intervals", "configs", "profiles", "events", "latest", "doubts"]
)
def test_a_row_that_is_taken_away_or_put_in_is_missed_or_found(
    table: str, kept: tuple[Path, PrivateKey], tmp_path: Path
) -> None:
    path, key = kept
    copy = tmp_path / "less.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as db:
        name = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5])
        (rows,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        db.execute(f"DELETE FROM {table} WHERE ({name}) = (SELECT {name} FROM {table} LIMIT 1 OFFSET {rows // 2})")
    db.close()
    assert audited(copy, key)


def test_of_an_interval_that_holds_bytes_the_column_is_named(kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    path, key = kept
    copy = tmp_path / "bytes.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as db:
        db.execute("UPDATE closed_intervals SET rolled = x'30' WHERE start = (SELECT min(start) FROM closed_intervals)")
    db.close()
    found = audited(copy, key)
    assert {what for what, *_ in found} == {"interval"}
    assert {(name.split()[-1], detail) for _, name, detail in found} == {("rolled", "found 30, expected 0")}


def test_an_interval_that_no_block_made_is_found(kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    path, key = kept
    copy = tmp_path / "more.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(closed_intervals)")]
        chosen = ", ".join({"start": "start - 86400000", "ingest_seq": "99999999"}.get(name, name) for name in columns)
        db.execute(f"INSERT INTO closed_intervals SELECT {chosen} FROM closed_intervals LIMIT 1")
    db.close()
    assert [what for what, *_ in audited(copy, key)] == ["interval"]


def test_a_stretch_of_time_is_checked_from_the_block_before_it(kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    path, _ = kept
    copy = tmp_path / "part.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as db:
        times = [row[0] for row in db.execute("SELECT utc_start FROM blocks ORDER BY epoch, seq")]
        db.execute("UPDATE blocks SET readings = readings + 1 WHERE seq = 10")
    db.close()
    for first, last, expected in ((0, 10, []), (5, 15, ["block"]), (11, 30, []), (30, 55, [])):
        with audit_file.open_file(copy) as db:
            (gateway,) = audit.gateways(db)
            found = audit.Audit(db, gateway, lambda _: None).run(None, (times[first], times[last]))
        assert [one.what for one in found.differences] == expected
        assert found.blocks >= last - first


def test_the_command_names_what_differs_beside_a_running_collector(box: Any, tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "tanmeter", "cloud", "audit", "--data", str(path), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    path = tmp_path / "collector.db"
    with Store(path, PrivateKey.generate()) as store:
        box.enrol(store)
        store.append([box.block() for _ in range(30)], LATER)
        code, report = run("--jobs", "2")
        assert (code, report["ok"], report["gateways"][0]["blocks"]) == (0, True, 30)
        (found,) = report["gateways"]
        assert (found["unbooked"], found["intervals"]) == (30, 0), "taken a moment ago, and nobody has asked"
        store.book()
        (found,) = run()[1]["gateways"]
        assert found["unbooked"] == 0 and found["intervals"] > 0
        store.append([box.block()], LATER)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE closed_intervals SET consumption = '1' WHERE start = (SELECT min(start) FROM intervals)")
    db.close()
    code, report = run("--gateway", box.id.hex()[:6])
    assert code == 4 and not report["ok"]
    names = [one["name"] for one in report["gateways"][0]["differences"]]
    assert names == [f"M-0{number}.energy_import 2026-09-21T14:15:00+00:00 consumption" for number in (1, 2)]
    assert run("--gateway", "00ff00ff")[0] == 2
    assert run("--from", "2026-11-28", "--to", "2026-11-27")[0] == 6, "nothing would hold whatever is stored"


def looked_at(path: Path) -> None:
    audit_file.run(audit_file.Order(path, "", None, None), 1, lambda done, blocks, audited: None)


def test_a_file_of_another_schema_or_of_another_program_is_not_one_to_audit(
    kept: tuple[Path, PrivateKey], tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(kept[0].read_bytes())
    with sqlite3.connect(other) as db:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'schema'")
    db.close()
    with pytest.raises(ForeignError, match="found schema"):
        looked_at(other)
    with sqlite3.connect(other) as db:
        db.execute("DROP TABLE meta")
    db.close()
    with pytest.raises(ForeignError, match="not a collector's"):
        looked_at(other)
    with pytest.raises(ConfigError, match="no file"):
        looked_at(tmp_path / "nothing.db")


def test_a_file_that_cannot_be_read_as_one_is_damaged(kept: tuple[Path, PrivateKey], tmp_path: Path) -> None:
    held, spoilt = kept[0].read_bytes(), tmp_path / "spoilt.db"
    middle = len(held) // 8192 * 4096
    for bytes_ in (os.urandom(len(held)), held[:middle], held[:middle] + os.urandom(65_536) + held[middle + 65_536 :]):
        spoilt.write_bytes(bytes_)
        with pytest.raises(SpoiltError, match=r"spoilt\.db"):
            looked_at(spoilt)
    command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", "audit", "--data", str(spoilt)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "STO-105" in done.stderr and "cloud restore" in done.stderr
