"""The doctor's checks of the box itself: its store, its disk, its service, its software, what the collector signed."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from edge import config
from edge.archive import Archive, Bad
from edge.database import unread
from edge.finding import Check, bad, doubt, tried
from edge.software import installed
from edge.watermark import Watermark
from protocols.errors import ChainError, DamagedError, DriftError, StoreError, TanmeterError, UnreachableError
from protocols.record.receipt import open_receipt

FSYNC_MS, FSYNC_BYTES, FSYNCS = 1000, 4096, 3
LEAST_DAYS = 30
"""What a box must be able to keep while nobody can be reached."""
OLDEST_RECEIPT_MS = 86_400_000
NEWEST = 20
LOOK_S = 5.0
"""How long the structure of a large store is looked at."""
WELL = ("starting", "idle", "delivering", "taken in turns", "unreachable")
"""States of the delivery that are no fault, or whose reason another check tells."""
SYSTEMD, UNIT = Path("/run/systemd/system"), "tanmeter-edge"
MOST_RESTARTS = 5
Status = Mapping[str, Any]


def box_checks(held: config.EdgeConfig, told: Status | None, now: int) -> Iterator[Check]:
    """Every check of the box. ``told``: the running agent's status, None when none runs; ``now``: UTC ms."""
    path = held.state / config.OUTBOX
    yield tried("fsync", partial(_fsync, held.state))
    if path.exists():
        yield tried("store", partial(_store, held.state))
        yield tried("watermark", partial(_watermark, held))
    if told is not None and "outbox" in told:
        yield _days(told["outbox"]["days_left"])
        yield _software(told["software"]["sha256"])
        if (clock := told.get("clock")) is not None:
            yield _drift(clock)
        if held.collector is not None:
            yield _delivery(told["sync"])
    yield _service()
    if held.collector is not None:
        yield _receipt(held, now)


def _fsync(state: Path) -> str:
    """How long the disk takes to have a small file for good: the slowest of a few."""
    place, slowest = state / ".fsync", 0.0
    try:
        with place.open("wb", buffering=0) as file:
            for _ in range(FSYNCS):
                before = time.monotonic()
                file.write(bytes(FSYNC_BYTES))
                os.fsync(file.fileno())
                slowest = max(slowest, time.monotonic() - before)
        place.unlink()
    except OSError as error:
        raise StoreError(f"{state}: {error.strerror}, expected a folder that can be written") from error
    ms = round(slowest * 1000)
    if ms > FSYNC_MS:
        raise StoreError(f"found {ms} ms for an fsync of {FSYNC_BYTES} bytes, expected {FSYNC_MS} ms or less")
    return f"{ms} ms"


def _store(state: Path) -> str:
    """SQLite's structure, and the newest blocks with their signatures and links."""
    with closing(Archive(state)) as archive:
        structure = _structure(state / config.OUTBOX)
        newest = list(archive.blocks(archive.starts_before(NEWEST), 1 << 62))
    broken = [block for block in newest if isinstance(block, Bad)]
    if broken:
        first = broken[0]
        raise ChainError(f"{len(broken)} of the newest {len(newest)} blocks: {first.epoch}/{first.seq}: {first.why}")
    return f"SQLite {sqlite3.sqlite_version}, {structure}, newest {len(newest)} blocks verified"


def _structure(path: Path) -> str:
    """What SQLite says of its pages, within a few seconds; StoreError."""
    until = time.monotonic() + LOOK_S
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOOK_S)) as db:
            db.set_progress_handler(lambda: int(time.monotonic() > until), 10_000)
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return f"sound as far as {LOOK_S:.0f} s went"
        raise unread(path, error) from error
    if found != "ok":
        raise DamagedError(f"{path}: {' '.join(found.split())}, expected ok")
    return "sound"


def _watermark(held: config.EdgeConfig) -> str:
    """Whether the store is where the watermark outside it says that it has been."""
    path = held.state / config.OUTBOX
    kept = Watermark(path)
    if kept.damaged:
        raise StoreError(f"{kept.path}: found no slot that can be read, expected one")
    if kept.mark is None:
        return "none yet"
    with closing(Archive(held.state)) as archive:
        epoch, seq = archive.place()
    if (epoch, seq) < (kept.mark.epoch, kept.mark.next_seq):
        expected = f"{kept.mark.epoch}/{kept.mark.next_seq} as the watermark says: it has gone back"
        raise DamagedError(f"{path}: found the chain at {epoch}/{seq}, expected {expected}")
    return f"{epoch}/{seq}"


def _days(days: float | None) -> Check:
    if days is None:
        return Check("days", "", True, "not known before the first block")
    return Check("days", "", True, f"{days:.0f}") if days >= LEAST_DAYS else doubt("days", f"{days:.0f}")


def _drift(clock: Mapping[str, Any]) -> Check:
    """Whether the running agent, which has watched it, finds the clock within a second."""
    if clock["alarm"]:
        return bad("drift", "", DriftError(clock["alarm"]))
    return Check("drift", "", True, f"{clock['offset_ms']} ms, known within {clock['error_ms']} ms")


def _delivery(sync: Mapping[str, Any]) -> Check:
    """What the running agent says of its attempts; why nobody is reached at all is found out by asking."""
    state, code, why = sync["state"], sync["code"], sync["error"]
    if state in WELL:
        return Check("delivery", "", True, "", state=state)
    if not code:
        return doubt("delivery", why, state)
    return Check("delivery", "", False, why, code, UnreachableError.exit_code, state)


def _software(running: str) -> Check:
    """Whether what runs is what is installed: an update counts from the next start."""
    version, digest = installed()
    if running == digest.hex():
        return Check("software", "", True, f"{version} {running[:16]}")
    return doubt("software", f"runs {running[:16]}, installed {digest.hex()[:16]}")


def _service(run: Callable[[list[str]], str] | None = None, systemd: Path = SYSTEMD) -> Check:
    """Whether the service manager watches over the agent, and how often it had to start it again."""
    if not systemd.exists():
        return Check("service", "", True, "no systemd on this system")
    names = "ActiveState,WatchdogUSec,NRestarts"
    try:
        said = (run or _output)(["systemctl", "show", UNIT, "-p", names])
    except (OSError, subprocess.SubprocessError) as error:
        return doubt("service", str(error))
    known = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    found = ", ".join(f"{name} {value}" for name, value in sorted(known.items()))
    restarts = known.get("NRestarts", "0")
    watched = known.get("WatchdogUSec", "0") not in ("0", "infinity")
    well = known.get("ActiveState") == "active" and watched and restarts.isdigit() and int(restarts) <= MOST_RESTARTS
    return Check("service", "", True, found) if well else doubt("service", found)


def _receipt(held: config.EdgeConfig, now: int) -> Check:
    """How old the newest word of the collector is."""
    assert held.collector is not None, "asked of an enrolled box only"
    mark = Watermark(held.state / config.OUTBOX).mark
    if mark is None or (mark.epoch, mark.next_seq) == (0, 0):
        return Check("receipt", "", True, "none before the first block")
    if mark.receipt is None:
        return doubt("receipt", "none yet")
    try:
        at = open_receipt(mark.receipt, held.collector.key).at
    except TanmeterError as error:
        return bad("receipt", "", error)
    age = (now - at) / 3_600_000
    return (
        Check("receipt", "", True, f"{age:.1f} h")
        if now - at <= OLDEST_RECEIPT_MS
        else doubt("receipt", f"{age:.0f} h")
    )


def _output(command: list[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        raise OSError(f"{command[0]}: not there")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=10, check=False)
    return done.stdout
