"""Readings of the blocks on this box as rows, each with the block it stands in: CSV, JSON lines, Parquet.

Replayed from the signed bytes; a value is as the meter shows it. Blocks that do not verify are named and left out.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO

from drivers.installation import Installation
from drivers.reading import Reading
from drivers.replay import replay, replay_chunk
from drivers.site import Site
from edge.archive import Archive, Bad
from edge.sealer import OpenBlock, Record
from protocols.errors import ConfigError, ProtocolError, RecordError
from protocols.record.block import ClockState

COLUMNS = (
    *("device", "point", "value", "unit", "quality", "at", "time_source", "time_state", "time_error_ms"),
    *("epoch", "seq", "configuration"),
)
SOURCES = ("none", "rtc", "ntp", "nts", "gnss", "technician")
STATES = ("unknown", "informative", "synchronised")
PAST_MS = 63 * 86_400_000
"""What a meter kept for an instant may be read this much later."""
EARLY_MS = 60_000
"""A reply may have begun in the block before."""
BOM = "\ufeff"
"""By which a spreadsheet knows that the file is UTF-8."""

Line = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: [start, end) in UTC ms, one device or all, and whether what is not sealed yet as well."""

    start: int
    end: int
    device: str | None
    unsealed: bool


def wanted(site: Site, since: str, until: str, device: str | None, unsealed: bool) -> Wanted:
    """Days are days of the site, the last one whole; instants need their offset, and the last is not part of it."""
    names = [held.id for held in site.device]
    if device is not None and device not in names:
        raise ConfigError("--device", repr(device), "one of " + ", ".join(names))
    start, end = _instant(site, "--from", since, 0), _instant(site, "--to", until, 1)
    if end <= start:
        raise ConfigError("--from", repr(since), f"a time before {until}, where it ends")
    return Wanted(start, end, device, unsealed)


def rows(archive: Archive, asked: Wanted, told: Callable[[Bad], None]) -> Iterator[Line]:
    """The rows, block by block and in order of time within one; ``told`` of each block that does not hold."""
    for block in archive.blocks(asked.start - EARLY_MS, asked.end + PAST_MS):
        if isinstance(block, Bad):
            told(block)
            continue
        header = block.header
        try:
            installation = archive.installation(*header.configuration)
            found = [reading for chunk in block.chunks for reading in replay_chunk(installation, header, chunk)]
        except (ProtocolError, RecordError) as error:
            told(Bad(header.epoch, header.seq, *header.utc, f"{error.code} {error}"))
            continue
        place = (str(header.epoch), str(header.seq), str(header.configuration[0]))
        yield from _lines(installation, found, asked, header.clock, place)
    for opened, records in archive.opened() if asked.unsealed else ():
        installation = archive.installation(*opened.configuration)
        found = list(_unsealed(installation, opened, records))
        yield from _lines(installation, found, asked, opened.clock, ("", "", str(opened.configuration[0])))


def write_csv(lines: Iterable[Line], out: IO[str]) -> int:
    """UTF-8 with a byte order mark; how many rows."""
    out.write(BOM)
    writer, count = csv.writer(out), 0
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(line)
        count += 1
    return count


def write_jsonl(lines: Iterable[Line], out: IO[str]) -> int:
    """One object a line, values as decimal strings, null where there is none; how many."""
    count = 0
    for line in lines:
        out.write(json.dumps(dict(zip(COLUMNS, [value or None for value in line], strict=True))) + "\n")
        count += 1
    return count


def write_parquet(lines: Iterable[Line], out: Path) -> int:
    """By way of a CSV beside it, so that memory stays flat. ``value`` is exact, ``number`` is it as a double."""
    import duckdb

    aside = out.with_name(f".{out.name}.csv")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            count = write_csv(lines, file)
        names = dict.fromkeys(COLUMNS, "VARCHAR")
        with duckdb.connect() as db:
            db.execute("SET memory_limit = '128MB'; SET threads = 1; SET TimeZone = 'UTC'")
            table = db.read_csv(str(aside), header=True, columns=names, na_values="", auto_detect=False, delimiter=",")
            table.select(
                "device, point, value, TRY_CAST(value AS DOUBLE) AS number, unit, quality,"
                ' CAST("at" AS TIMESTAMPTZ) AS "at", time_source, time_state,'
                " CAST(time_error_ms AS BIGINT) AS time_error_ms, CAST(epoch AS BIGINT) AS epoch,"
                " CAST(seq AS BIGINT) AS seq, CAST(configuration AS BIGINT) AS configuration"
            ).write_parquet(str(out), compression="zstd")
        return count
    finally:
        aside.unlink(missing_ok=True)


def _unsealed(installation: Installation, block: OpenBlock, records: Iterable[Record]) -> Iterator[Reading]:
    for record in records:
        held = record.exchange
        if not held.fault:
            at = block.utc + held.at_ms - block.mono
            yield from replay(installation.drivers[held.device], held.request, held.reply, at, held.device)


def _lines(
    installation: Installation, found: list[Reading], asked: Wanted, clock: ClockState, place: tuple[str, ...]
) -> Iterator[Line]:
    zone, devices = installation.site.zone, installation.site.device
    for held in sorted(found, key=lambda reading: reading.at):
        device = devices[held.device].id
        if asked.start <= held.at < asked.end and asked.device in (None, device):
            yield (
                *(device, held.point, "" if held.value is None else str(held.value), held.unit, held.quality),
                (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=held.at))
                .astimezone(zone)
                .isoformat(timespec="milliseconds"),
                *(SOURCES[clock.source], STATES[clock.state], str(clock.error_ms), *place),
            )


def _instant(site: Site, option: str, text: str, days: int) -> int:
    try:
        if len(text) == len("2026-05-01"):
            day = date.fromisoformat(text) + timedelta(days=days)
            found = datetime.combine(day, time(), site.zone)
        else:
            found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(option, repr(text), "a day like 2026-05-01, or an instant with its offset") from error
    if found.tzinfo is None:
        raise ConfigError(option, repr(text), "an instant with its offset, like 2026-05-01T08:00:00+08:00")
    return round(found.timestamp() * 1000)
