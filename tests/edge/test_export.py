"""Readings taken out of the box: what was signed, row by row, and what does not hold is named."""

import asyncio
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from typer.testing import CliRunner

from edge import commands, export
from edge.archive import Archive, Good
from protocols.errors import TanmeterError

TANMETER = [sys.executable, "-m", "tanmeter", "--lang", "en", "edge", "export"]
DAYS = ("--from", "2026-05-28", "--to", "2026-05-31")
"""The virtual world begins on the morning of 2026-05-29 in Shanghai."""


def run(made, *arguments):
    """The command in this process: how it ended and what it wrote."""
    done = CliRunner().invoke(commands.app, ["export", "--state", str(made.state), *map(str, arguments)])
    said, ended = done.stderr_bytes, done.exit_code
    if isinstance(done.exception, TanmeterError):
        said, ended = f"{done.exception.code} {done.exception}".encode(), done.exception.exit_code
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return SimpleNamespace(returncode=ended, stdout=done.stdout_bytes, stderr=said)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("TANMETER_LANG", "en")


@pytest.fixture
def recorded(box, kit):
    """A box that has measured two meters for five minutes, and stopped."""
    made = box(kit.modbus_port(), kit.sdm(1), kit.sdm(2, period="30s"))
    kit.world(made, {"net": kit.registers()}).run(299)
    return made


def table(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_every_answer_is_a_row_that_leads_to_its_block(recorded):
    said = run(recorded, *DAYS)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(b"\xef\xbb\xbfdevice,point,value,unit,quality,at,")
    rows = table(said.stdout)
    blocks = recorded.blocks()
    answered = sum(chunk.counters.answered for _, chunks in blocks for chunk in chunks)
    assert len(rows) == answered >= 38
    assert {(row["device"], row["point"], row["value"], row["unit"], row["quality"]) for row in rows} == {
        (device, "energy_import", "10", "kWh", "measured") for device in ("M-1", "M-2")
    }
    assert {(row["time_source"], row["time_state"]) for row in rows} == {("ntp", "synchronised")}
    assert all(5 <= int(row["time_error_ms"]) <= 100 for row in rows)
    places = {(int(row["epoch"]), int(row["seq"])) for row in rows}
    assert places == {(0, header.seq) for header, chunks in blocks if any(c.counters.answered for c in chunks)}
    assert all(row["at"].endswith("+08:00") for row in rows) and rows == sorted(rows, key=lambda row: row["at"])


def test_one_device_some_minutes_and_json_lines(recorded):
    every = table(run(recorded, *DAYS, "--device", "M-1").stdout)
    start, end = every[6]["at"], every[12]["at"]
    said = run(recorded, "--from", start, "--to", end, "--device", "M-1", "--format", "jsonl")
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert [row["at"] for row in rows] == [row["at"] for row in every[6:12]], "the last instant is not part of it"
    assert rows[0]["value"] == "10" and rows[0]["seq"] == every[6]["seq"]


def test_parquet_holds_the_same_rows(recorded, tmp_path):
    out = tmp_path / "out.parquet"
    said = run(recorded, *DAYS, "--format", "parquet", "--out", out)
    assert said.returncode == 0, said.stderr
    rows = table(run(recorded, *DAYS).stdout)
    asked = f"""SELECT device, value, number, seq, epoch_ms("at") FROM '{out}' ORDER BY "at", device"""
    found = duckdb.sql(asked).fetchall()
    assert len(found) == len(rows)
    assert {(device, value, number) for device, value, number, *_ in found} == {
        ("M-1", "10", 10.0),
        ("M-2", "10", 10.0),
    }
    assert list(tmp_path.glob(".out*")) == [], "nothing is left beside it"
    assert run(recorded, *DAYS, "--format", "parquet").returncode == 6, "without --out"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_no_file_is_never_replaced_by_one_and_a_wrong_name_is_no_full_disk(recorded, tmp_path, form):
    """As root, ``--out /dev/null`` had put a file in its place, for every other program too."""
    pipe, folder, long = tmp_path / "pipe", tmp_path / "folder", tmp_path / ("甲" * 85)
    os.mkfifo(pipe)
    folder.mkdir()
    for out in (pipe, folder, folder / "..", Path(), long, tmp_path / "nowhere" / "x.csv"):
        said = run(recorded, *DAYS, "--format", form, "--out", out)
        assert said.returncode == 6 and str(out).encode() in said.stderr, (out, said.stderr)
    assert pipe.is_fifo() and folder.is_dir() and sorted(tmp_path.glob(".*")) == []


def test_a_link_is_followed_to_its_file(recorded, tmp_path):
    held, link = tmp_path / "2026.csv", tmp_path / "newest.csv"
    held.write_text("old")
    link.symlink_to(held)
    assert run(recorded, *DAYS, "--out", link).returncode == 0
    assert link.is_symlink() and held.read_bytes() == run(recorded, *DAYS).stdout


def test_without_duckdb_the_remedy_is_told(recorded, tmp_path):
    (tmp_path / "duckdb.py").write_text("raise ModuleNotFoundError('no', name='duckdb')")
    said = subprocess.run(
        [*TANMETER, "--state", str(recorded.state), *DAYS, "--format", "parquet", "--out", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', Path.cwd())}"},
    )
    assert said.returncode == 1 and "tanmeter[parquet]" in said.stderr and not (tmp_path / "x").exists()


def damage(made, statement, *values):
    db = sqlite3.connect(made.state / "outbox.db")
    db.execute(statement, values)
    db.commit()
    db.close()


def test_blocks_that_do_not_hold_are_named_and_the_rest_is_there(recorded):
    whole = table(run(recorded, *DAYS).stdout)
    (frame,) = sqlite3.connect(recorded.state / "outbox.db").execute("SELECT frame FROM block WHERE seq = 1").fetchone()
    broken = bytearray(frame)
    broken[len(broken) // 2] ^= 1
    damage(recorded, "UPDATE block SET frame = ? WHERE seq = 1", bytes(broken))
    damage(recorded, "DELETE FROM block WHERE seq = 3")
    said = run(recorded, *DAYS)
    assert said.returncode == 4
    assert b"block 0/1 is damaged" in said.stderr and b"block 0/3 is damaged or missing" in said.stderr
    assert table(said.stdout) == [row for row in whole if row["seq"] not in ("1", "3")]


def test_a_block_of_another_key_or_in_another_place_does_not_pass(recorded):
    frames = dict(sqlite3.connect(recorded.state / "outbox.db").execute("SELECT seq, frame FROM block"))
    hashes = dict(sqlite3.connect(recorded.state / "outbox.db").execute("SELECT seq, hash FROM block"))
    damage(recorded, "UPDATE block SET frame = ?, hash = ? WHERE seq = 2", frames[1], hashes[1])
    said = run(recorded, *DAYS)
    assert said.returncode == 4 and b"block 0/2" in said.stderr and b"SIG-602" in said.stderr


def test_beside_a_running_agent_with_what_is_not_sealed_yet(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"), block="1s")
    agent = subprocess.Popen(
        [sys.executable, "-P", "-m", "edge", str(made.state), "debug"], stderr=subprocess.PIPE, text=True
    )
    try:
        for line in agent.stderr:
            if '"sealed"' in line:
                break
        said = run(made, "--from", "2026-01-01", "--open")
        assert said.returncode == 0, said.stderr
        assert agent.poll() is None
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
    assert agent.returncode == 0


def test_what_is_not_sealed_is_there_only_when_asked_for_and_has_no_block(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    world = kit.world(made, {"net": kit.registers()})
    seen = {}

    async def now(world):
        await asyncio.sleep(90)
        for name, arguments in (("signed", ()), ("all", ("--open",))):
            seen[name] = table(run(made, *DAYS, *arguments).stdout)

    world.run(95, now)
    unsigned = [row for row in seen["all"] if not row["seq"]]
    assert len(unsigned) >= 28 and [row for row in seen["all"] if row["seq"]] == seen["signed"]
    assert {row["value"] for row in unsigned} == {"10"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--from", "yesterday"), "a day like"),
        (("--from", "2026-05-29T00:00:00"), "with its offset"),
        (
            ("--from", "2026-05-29", "--to", "2026-05-28"),
            "--from: found '2026-05-29', expected a time before 2026-05-28",
        ),
        (("--from", "9998-05-29"), "--from: found '9998-05-29', expected a time before 2"),
        ((*DAYS, "--device", "M-9"), "one of M-1, M-2"),
        ((*DAYS, "--format", "xls"), "csv, jsonl or parquet"),
    ],
)
def test_what_cannot_be_meant_is_exit_six(recorded, arguments, word):
    said = run(recorded, *arguments)
    assert said.returncode == 6 and word in said.stderr.decode() and said.stdout == b""


def test_a_box_that_has_not_measured_is_told_so_and_no_disk_is_blamed(box, kit):
    said = run(box(kit.modbus_port(), kit.sdm(1)), "--from", "2026-05-29")
    assert said.returncode == 6 and b"CFG-101" in said.stderr and b"tanmeter edge run" in said.stderr


def test_a_torn_store_is_called_damaged_and_what_is_no_enrolment_is_named(recorded):
    path = recorded.state / "outbox.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(8192) + content[4096 + 8192 :])
    said = run(recorded, *DAYS)
    path.write_bytes(content)
    assert said.returncode == 1 and b"STO-103" in said.stderr
    enrolment = recorded.state / "enrolment.cose"
    content = enrolment.read_bytes()
    enrolment.write_bytes(b"junk")
    said = run(recorded, *DAYS)
    enrolment.write_bytes(content)
    assert said.returncode == 6 and b"enrolment.cose: found something else (" in said.stderr


def test_memory_stays_flat(recorded):
    """Twenty times the rows are no more memory: rows are written as they are read."""

    class Repeated:
        def __init__(self, archive, times):
            self._archive, self._times = archive, times

        def __getattr__(self, name):
            return getattr(self._archive, name)

        def blocks(self, start, end):
            for _ in range(self._times):
                yield from self._archive.blocks(start, end)

    def peak(times):
        archive = Archive(recorded.state)
        asked = export.wanted(archive.newest.site, "2026-05-28", "2026-05-31", None, False)
        tracemalloc.start()
        with open(os.devnull, "w") as out:  # noqa: PTH123
            count = export.write_csv(export.rows(Repeated(archive, times), asked, lambda bad: None), out)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        archive.close()
        return count, most

    peak(1)
    (few, little), (many, much) = peak(1), peak(20)
    assert many == 20 * few and much < 1.5 * little + 100_000


def test_a_store_that_cannot_be_written_is_read_all_the_same(recorded):
    archive = Archive(recorded.state)
    assert all(isinstance(block, Good) for block in archive.blocks(0, 1 << 60))
    archive.close()
    assert Decimal("10") == Decimal(table(run(recorded, *DAYS).stdout)[0]["value"])
