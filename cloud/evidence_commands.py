"""tanmeter evidence: pack, verify. Only what needs the store opens it."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from protocols import messages
from protocols.errors import EvidenceError

evidence = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA", help="folder with the collector's store and key")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Reference = Annotated[str, typer.Argument(help="a statement: E-SITE-PERIOD, or one version of it: E-SITE-PERIOD@2")]
PLAIN_WIDTH = 160


@evidence.callback()
def packs() -> None:
    """All that a figure rests on in one file, and the check of it that needs no server."""


@evidence.command()
def pack(
    reference: Reference,
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write: something.zip")],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Write the pack of a statement. Without a version: of what is held now, issued first where it is new."""
    from cloud import config, statements
    from cloud.evidence.pack import pack_bytes

    key = config.open_key(data)
    with config.open_store(data, key) as store:
        if "@" in reference:
            statement = statements.get(store, reference)
        else:
            statement = statements.close(store, *statements.split(store, reference), _now())
        content = pack_bytes(store, key, statement)
    _write(out, content)
    result = {"statement": statement.reference, "file": str(out), "bytes": len(content), "digest": statement.digest}
    if as_json:
        _print(result)
        return
    typer.echo(str(out))
    typer.echo(messages.text("evidence.packed", _language(), **result), err=True)


@evidence.command()
def verify(
    file: Annotated[Path, typer.Argument(help="the pack: something.zip")],
    gateway: Annotated[
        list[str] | None,
        typer.Option(help="the id on a box's label, once for each box: the pack must rest on these gateways alone"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a pack and make its figure again, without server or network. Exit 4 names what is wrong."""
    from cloud.evidence import show
    from cloud.evidence.verify import verify as check

    try:
        report = check(file, gateway or ())
    except EvidenceError as error:
        if not as_json:
            raise
        told = {"code": error.code, "file": error.file, "rule": error.rule, "detail": error.detail}
        _print({"ok": False, "error": told})
        raise typer.Exit(error.exit_code) from error
    if as_json:
        _print(report.to_json())
        return
    _console().print(show.report(report, _language()))


def _write(out: Path, content: bytes) -> None:
    """Whole or not at all."""
    aside = out.with_name(f".{out.name}.part")
    try:
        aside.write_bytes(content)
        aside.replace(out)
    except OSError as error:
        raise typer.BadParameter(f"{out}: {error.strerror}", param_hint="-o") from error


def _language() -> messages.Language:
    return messages.spoken(os.environ)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _print(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
