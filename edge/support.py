"""One file for whoever must help from afar: what the box is, what it says, what went wrong; nothing secret in it.

Every part is gathered for itself: one that fails leaves its reason in manifest.json, and the others are there. Only
what is listed here goes in, bounded part by part, and all of it through the redaction.
"""

import json
import os
import platform
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import distributions
from io import BytesIO
from pathlib import Path
from typing import Any

from edge import config, control
from edge.archive import Archive, Bad
from edge.placing import failure, meant
from edge.redaction import Redaction
from edge.software import installed
from protocols.errors import ConfigError, StoreError, TanmeterError
from protocols.record.block import EventKind
from protocols.record.siteconfig import open_site

CAP = 8 << 20
"""Bytes that a bundle never exceeds; its parts together are smaller before they are compressed."""
LOG_BYTES, PART_BYTES, SITE_BYTES = 3 << 20, 512 << 10, 256 << 10
LOG_LINES = 20_000
NEWEST = 60
"""Blocks whose events and faults are told."""
UNIT = "tanmeter-edge"
JOURNAL_S = 20
KEYS = (config.KEY, "technician.key")
FAILURES = (TanmeterError, OSError, ValueError, KeyError, TypeError, sqlite3.Error, subprocess.SubprocessError)

Part = tuple[str, Callable[[], bytes], int]


def bundle(state: Path, log: Path | None, doctor: Callable[[], Any]) -> bytes:
    """The zip file. Works without an agent, and on a disk that cannot be written: it is made in memory."""
    redaction, manifest, held = Redaction(_keys(state)), dict[str, Any](), BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, gather, most in _parts(state, log, doctor):
            try:
                content = redaction.clean(gather())
            except FAILURES as error:
                manifest[name] = {"error": redaction.clean(f"{type(error).__name__}: {error}".encode()).decode()}
                continue
            manifest[name] = {"bytes": len(content), "cut": len(content) > most}
            archive.writestr(name, content[-most:])
        made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "parts": manifest}
        archive.writestr("manifest.json", _json(made))
    if held.tell() > CAP:
        raise StoreError(f"found a bundle of {held.tell()} bytes, expected at most {CAP}")
    return held.getvalue()


def place(content: bytes, out: Path) -> None:
    """Put it down whole, for this user alone; ConfigError, StoreError when it cannot be."""
    target = meant(out)
    aside = target.with_name(f".{target.name}.part")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        aside.replace(target)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise failure(out, error) from error


def _parts(state: Path, log: Path | None, doctor: Callable[[], Any]) -> Iterator[Part]:
    yield "versions.json", _versions, PART_BYTES
    yield "status.json", lambda: _json(control.ask(state / config.SOCKET, "status")), PART_BYTES
    yield "doctor.json", lambda: _json(doctor()), PART_BYTES
    yield "files.json", lambda: _json(_files(state)), PART_BYTES
    yield "site.toml", lambda: _site(state), SITE_BYTES
    for name in (config.COLLECTOR, config.LEARNED, config.ADAPTERS):
        yield name, (state / name).read_bytes, PART_BYTES
    yield "store.json", lambda: _json(_store(state / config.OUTBOX)), PART_BYTES
    yield "faults.json", lambda: _json(_faults(state)), PART_BYTES
    yield "log.txt", (lambda: _tail(log)) if log is not None else _journal, LOG_BYTES


def _keys(state: Path) -> Iterator[bytes]:
    """The private keys that lie there, to know what must not be seen; another user cannot read them, nor we then."""
    for name in KEYS:
        try:
            yield (state / name).read_bytes()
        except OSError:
            continue


def _versions() -> bytes:
    version, software = installed()
    return _json(
        {
            "tanmeter": version,
            "software": software.hex(),
            "python": sys.version,
            "sqlite": sqlite3.sqlite_version,
            "system": platform.platform(),
            "machine": platform.machine(),
            "distributions": sorted({f"{held.name} {held.version}" for held in distributions()}),
        }
    )


def _files(state: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(state.rglob("*")):
        held = path.lstat()
        found.append(
            {
                "path": str(path.relative_to(state)),
                "mode": stat.filemode(held.st_mode),
                "owner": held.st_uid,
                "bytes": held.st_size,
                "changed": datetime.fromtimestamp(held.st_mtime, UTC).isoformat(timespec="seconds"),
            }
        )
    room = os.statvfs(state)
    disk = {"free": room.f_bavail * room.f_frsize, "size": room.f_blocks * room.f_frsize, "free_inodes": room.f_favail}
    return [{"path": ".", "disk": disk, "read_only": bool(room.f_flag & os.ST_RDONLY)}, *found]


def _site(state: Path) -> bytes:
    """The site file that is in force."""
    paths = sorted((state / config.CONFIGS).glob("*.cose"))
    if not paths:
        raise ConfigError(str(state / config.CONFIGS), "no signed configuration", "one: run `tanmeter site init`")
    technician = config.technician(state)
    return open_site(paths[-1].read_bytes(), technician).site


def _store(path: Path) -> dict[str, Any]:
    """What lies in the store, told by the store itself; a table that is not there is not told of."""
    asked = {
        "epochs": "SELECT epoch, count(*) AS blocks, min(seq) AS first, max(seq) AS last, sum(length(frame)) AS bytes,"
        " min(utc_start) AS start, max(utc_end) AS end, sum(state > 0) AS aside FROM block GROUP BY epoch",
        "open": "SELECT block, count(*) AS exchanges FROM open_exchange GROUP BY block",
        "chain": "SELECT schema, epoch, next_seq, boot, configuration, last_utc, blocks, bytes FROM chain",
        "damage": "SELECT epoch, seq, utc_start, utc_end, detail FROM damage LIMIT 100",
        "alarms": "SELECT detail FROM alarm LIMIT 100",
        "pages": "PRAGMA page_count",
    }
    told: dict[str, Any] = {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        for name, query in asked.items():
            try:
                told[name] = [dict(row) for row in db.execute(query)]
            except sqlite3.Error as error:
                told[name] = str(error)
    return told


def _faults(state: Path) -> dict[str, Any]:
    """The events of the newest blocks, and how often each device failed in them; blocks that do not hold."""
    with closing(Archive(state)) as archive:
        start = archive.starts_before(NEWEST)
        events: list[dict[str, Any]] = []
        faults: dict[str, Counter[str]] = {}
        damaged: list[str] = []
        for block in archive.blocks(start, 1 << 62):
            if isinstance(block, Bad):
                damaged.append(f"{block.epoch}/{block.seq}: {block.why}")
                continue
            place = f"{block.header.epoch}/{block.header.seq}"
            events += [
                {"block": place, "kind": EventKind(e.kind).name, "start": e.start, "end": e.end, "detail": e.detail}
                for e in block.header.events
            ]
            for chunk in block.chunks:
                faults.setdefault(str(chunk.device), Counter()).update(str(fault.code) for fault in chunk.faults)
    return {"events": events, "faults_by_device_and_code": faults, "damaged": damaged}


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        return file.read(LOG_BYTES)


def _journal() -> bytes:
    command = ["journalctl", "-u", UNIT, "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
    done = subprocess.run(command, capture_output=True, timeout=JOURNAL_S, check=False)
    if done.returncode:
        raise ConfigError("journalctl", done.stderr.decode(errors="replace")[:200], "the journal, or --log FILE")
    return done.stdout


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str).encode()
