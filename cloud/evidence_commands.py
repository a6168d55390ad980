"""tanmeter account: list, explain, close. tanmeter evidence: pack, verify. Only what needs the store opens it."""

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from protocols import messages
from protocols.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloud.store import Store

account = typer.Typer(no_args_is_help=True, add_completion=False)
evidence = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA", help="folder with the collector's store and key")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Reference = Annotated[str, typer.Argument(help="a statement: E-SITE-PERIOD, or one version of it: E-SITE-PERIOD@2")]
PLAIN_WIDTH = 160


@account.callback()
def accounts() -> None:
    """What was emitted: statements, each with the versions it had."""


@evidence.callback()
def packs() -> None:
    """All that a figure rests on in one file, and the check of it that needs no server."""


@account.command("list")
def list_statements(
    data: Data = DATA,
    site: Annotated[str | None, typer.Option(help="only this site")] = None,
    as_json: Json = False,
) -> None:
    """The newest version of every statement, newest period first; with --json one object a line."""
    from cloud import statements
    from cloud.evidence import show

    with _store(data) as store:
        found = statements.listing(store, site)
    if as_json:
        for statement in found:
            _print(show.summary(statement))
        return
    _console().print(show.table(found, _language()))


@account.command()
def explain(reference: Reference, data: Data = DATA, as_json: Json = False) -> None:
    """Where a figure comes from: registers, ratio, factor, gaps, and what changed since the version before."""
    from cloud import statements
    from cloud.evidence import show

    with _store(data) as store:
        statement = statements.get(store, reference)
    if as_json:
        _print(statements.explain(statement))
        return
    _console().print(show.tree(statement, _language()))


@account.command()
def close(
    site: Annotated[str, typer.Argument(help="the site's id")],
    period: Annotated[str, typer.Argument(help="2026-11-22, 2026-11, or 2026-12-15--2027-01-15")],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Issue what is held now as a version; nothing new is issued when it says the same as the newest one."""
    from cloud import statements
    from cloud.evidence import show

    with _store(data) as store:
        statement = statements.close(store, site, period, _now())
    if as_json:
        _print(show.summary(statement))
        return
    _console().print(show.tree(statement, _language()))


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


@contextmanager
def _store(data: Path) -> "Iterator[Store]":
    from cloud import config

    with config.open_store(data, config.open_key(data)) as store:
        yield store


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
