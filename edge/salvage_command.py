"""tanmeter edge salvage: what can still be read of a store that was set aside, told and written as files."""

import json
import os
from pathlib import Path
from typing import Any

import typer

from edge.config import ENROLMENT
from edge.salvage import Salvaged, salvage
from protocols import messages
from protocols.errors import ConfigError, RecordError, StoreError
from protocols.record.cose import PublicKey
from protocols.record.enrolment import open_enrolment

PARTLY = 7


def recover(store: Path, out: Path | None, as_json: bool) -> int:
    """Read ``store``, write its blocks to the folder ``out``, if one is given; 7 when something is damaged or missing.

    The signatures are checked when the enrolment of the gateway lies beside the store.
    """
    key = _key(store.parent / ENROLMENT)
    found = salvage(store, key)
    if out is not None:
        _write(found, out)
    if as_json:
        typer.echo(json.dumps(_told(found, key is not None), ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(found, out)))
    return 0 if found.blocks and not found.damaged and not found.missing else PARTLY


def _key(enrolment: Path) -> PublicKey | None:
    try:
        return open_enrolment(enrolment.read_bytes()).key
    except (OSError, RecordError):
        return None


def _write(found: Salvaged, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for block in found.blocks:
            (out / block.name).write_bytes(block.frame)
        (out / "open.json").write_text(json.dumps([_exchange(row) for row in found.exchanges], indent=1))
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise ConfigError(str(out), str(error.strerror), "a folder this user may write to") from error
    except OSError as error:
        raise StoreError(f"{out}: {error.strerror}") from error


def _exchange(row: tuple[Any, ...]) -> dict[str, object]:
    names = ("block", "slot", "device", "query", "request", "reply", "fault", "at_ms")
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in zip(names, row, strict=True)}


def _told(found: Salvaged, signed: bool) -> dict[str, object]:
    return {
        "blocks": [
            {"epoch": block.epoch, "seq": block.seq, "from": block.utc_start, "to": block.utc_end}
            for block in found.blocks
        ],
        "signatures_checked": signed,
        "damaged": [{"epoch": epoch, "seq": seq, "detail": detail} for epoch, seq, detail in found.damaged],
        "missing": [{"epoch": epoch, "first": first, "last": last} for epoch, first, last in found.missing],
        "exchanges": len(found.exchanges),
    }


def _lines(found: Salvaged, out: Path | None) -> list[str]:
    epochs = ", ".join(sorted({str(block.epoch) for block in found.blocks})) or "-"
    counts = {"blocks": len(found.blocks), "damaged": len(found.damaged), "exchanges": len(found.exchanges)}
    lines = [_say("found", epochs=epochs, **counts)]
    lines += [_say("damaged", epoch=epoch, seq=seq, detail=detail) for epoch, seq, detail in found.damaged]
    lines += [_say("missing", epoch=epoch, first=first, last=last) for epoch, first, last in found.missing]
    return lines + ([] if out is None else [_say("written", out=out)])


def _say(name: str, /, **known: object) -> str:
    return messages.text(f"edge.salvage.{name}", messages.spoken(os.environ), **known)
