"""tanmeter factor: list, show, sign, import, verify. Every value with its unit, document and how well it is known."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cloud import factor_shelf
from cloud.accounting import bundle
from cloud.accounting.bundle import Bundle
from cloud.accounting.factors import Factor
from cloud.accounting.library import Library
from cloud.accounting.parameters import Parameter
from protocols import messages
from protocols.errors import ConfigError, FactorError
from protocols.record.cose import PrivateKey, PublicKey

factor = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="TANMETER_DATA", help="a collector's folder: what it has taken in counts too"),
]
Bundled = Annotated[Path, typer.Argument(metavar="FILE", help="a signed bundle: something.cose")]
Key = Annotated[Path, typer.Option("--key", help="the publisher's public key, PEM")]
PLAIN_WIDTH = 180


@factor.callback()
def about() -> None:
    """Emission factors and parameters: built in, and taken in from publishers whose signature was checked."""


@factor.command("list")
def list_factors(
    data: Data = None,
    set_: Annotated[str | None, typer.Option("--set", help="only this set; `grid` for electricity")] = None,
    status: Annotated[str | None, typer.Option(help="only DRAFT, REVIEWED, RETIRED or TRANSCRIBED")] = None,
    as_json: Json = False,
) -> None:
    """Every value; with --json one object a line."""
    library = factor_shelf.library(data)
    rows = [row for row in _rows(library) if set_ in (None, row["set"]) and status in (None, row["status"])]
    if set_ is not None and not rows and set_ not in ("grid", *library.sets):
        raise FactorError(f"set: found {set_!r}, expected grid or one of {', '.join(library.sets)}")
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    language = _language()
    table = Table()
    for column in ("id", "value", "unit", "name", "status", "standing"):
        table.add_column(messages.text(f"factor.column.{column}", language), overflow="fold")
    for row in rows:
        standing = messages.text(f"factor.standing.{row['standing']}", language)
        table.add_row(row["id"], row["value"], row["unit"], row[language], row["status"], standing)
    _console().print(table)


@factor.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="as in `tanmeter factor list`")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """One value with all that is known of it."""
    found = [row for row in _rows(factor_shelf.library(data)) if row["id"] == name]
    if not found:
        raise FactorError(f"factor {name}: found none, expected an id of `tanmeter factor list`")
    if as_json:
        typer.echo(json.dumps(found[0], ensure_ascii=False))
        return
    for key, value in found[0].items():
        for line in value if isinstance(value, list) else [value]:
            if line not in ("", None):
                typer.echo(f"{key:18} {line}")


@factor.command()
def sign(
    files: Annotated[list[Path], typer.Argument(help="factor or parameter files, TOML")],
    publisher: Annotated[str, typer.Option(help="who publishes them")],
    key: Annotated[Path, typer.Option("--key", help="the publisher's private key, PEM (PKCS #8)")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the bundle to write: something.cose")],
    as_json: Json = False,
) -> None:
    """Check the files and put them under one signature."""
    sources = {path.name: _read(path) for path in files}
    if len(sources) < len(files):
        raise ConfigError("files", "two of one name", "each name once")
    signer = PrivateKey.from_pem(_read(key))
    envelope = bundle.sign(publisher, sources, signer)
    try:
        out.write_bytes(envelope)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
    _say("signed", bundle.open_bundle(envelope, signer.public), out, as_json)


@factor.command("import")
def import_bundle(
    file: Bundled,
    key: Key,
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA", help="the collector's folder")],
    as_json: Json = False,
) -> None:
    """Take a bundle in, once its signature holds and nothing in it contradicts what is held. Nothing is overwritten."""
    if not data.is_dir():
        raise ConfigError(f"--data {data}", "no folder", "the folder of a collector")
    _say("kept", factor_shelf.keep(data, _read(file), PublicKey.from_pem(_read(key))), file, as_json)


@factor.command()
def verify(file: Bundled, key: Key, as_json: Json = False) -> None:
    """Check a bundle's signature and every value in it, without a collector."""
    _say("verified", bundle.open_bundle(_read(file), PublicKey.from_pem(_read(key))), file, as_json)


def _rows(library: Library) -> Iterator[dict[str, Any]]:
    yield from (_grid(entry) for entry in library.factors.factors)
    for held in library.sets.values():
        yield from (_parameter(held.id, held.sha256, entry) for entry in held.values.values())


def _grid(entry: Factor) -> dict[str, Any]:
    return {
        "id": entry.id,
        "set": "grid",
        "value": str(entry.value),
        "unit": entry.unit,
        "zh": entry.zh,
        "en": entry.en,
        "status": entry.status,
        "standing": entry.status,
        "basis": entry.basis,
        "region": entry.region,
        "data_year": entry.data_year,
        "document": f"{entry.publisher} {entry.notice}",
        "published": entry.published.isoformat(),
        "url": entry.url,
        "attachment_sha256": entry.attachment_sha256,
        "reason": entry.reason,
        "file": entry.file,
    }


def _parameter(set_id: str, sha256: str, entry: Parameter) -> dict[str, Any]:
    return {
        "id": entry.id,
        "set": set_id,
        "value": str(entry.quantity.value),
        "unit": entry.quantity.unit.text,
        "zh": entry.zh,
        "en": entry.en,
        "status": entry.status,
        "standing": entry.standing,
        "row": entry.row,
        "condition": entry.condition,
        "uncertainty": None if entry.uncertainty is None else str(entry.uncertainty),
        "document": entry.document,
        "edition": entry.edition,
        "sources": list(entry.sources),
        "set_sha256": sha256,
    }


def _say(message: str, found: Bundle, file: Path, as_json: bool) -> None:
    told = {"file": str(file), "publisher": found.publisher, "digest": found.digest, "count": len(found.files)}
    if as_json:
        typer.echo(json.dumps({**told, "files": list(found.files)}, ensure_ascii=False))
        return
    typer.echo(messages.text(f"factor.done.{message}", _language(), **told))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a file that can be read") from error


def _language() -> messages.Language:
    return messages.spoken(os.environ)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
