"""Where an export goes: a file that is there whole or not at all, or standard output."""

import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from edge import export as exports
from edge.archive import Archive, Bad
from edge.placing import failure, meant
from protocols.errors import ConfigError

WRITERS: dict[str, Callable[[Iterable[exports.Line], IO[str]], int]] = {
    "csv": exports.write_csv,
    "jsonl": exports.write_jsonl,
}
PARQUET = "parquet"


def export(
    state: Path, between: tuple[str, str], device: str | None, *, unsealed: bool, form: str, out: Path | None
) -> list[Bad]:
    """Write the readings between two days or instants; the blocks that do not hold. ConfigError, StoreError."""
    if form not in (*WRITERS, PARQUET):
        raise ConfigError("--format", repr(form), "csv, jsonl or parquet")
    if form == PARQUET and out is None:
        raise ConfigError("--format parquet", "no --out", "the file to write with --out")
    bad: list[Bad] = []
    with closing(Archive(state)) as archive:
        asked = exports.wanted(archive.newest.site, *between, device, unsealed)
        lines = exports.rows(archive, asked, bad.append)
        if out is None:
            stream = sys.stdout
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", newline="")
            WRITERS[form](lines, stream)
        else:
            _place(lines, form, out)
    return bad


def _place(lines: Iterable[exports.Line], form: str, out: Path) -> None:
    target = meant(out)
    aside = target.with_name(f".{target.name}.part")
    try:
        if form == PARQUET:
            exports.write_parquet(lines, aside)
        else:
            with aside.open("w", encoding="utf-8", newline="") as file:
                WRITERS[form](lines, file)
        aside.replace(target)
    except OSError as error:
        raise failure(out, error) from error
    finally:
        with suppress(OSError):
            aside.unlink()
