"""tanmeter factor: list, show, sign, adopt, import, verify. Each value with its document and how well it is known."""

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cloud import adopting, config, factor_rows, factor_shelf, terminal
from cloud.accounting import bundle, contents
from cloud.accounting.adoption import Of
from cloud.accounting.bundle import Bundle
from cloud.accounting.library import Library
from cloud.accounting.standing import Status
from protocols import messages
from protocols.errors import ConfigError, SignatureError

factor = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", envvar="TANMETER_DATA")]
Bundled = Annotated[Path, typer.Argument(metavar="FILE")]
Key = Annotated[Path, typer.Option("--key")]
PLAIN_WIDTH = 180


@factor.callback()
def about() -> None:
    """Emission factors and parameters: built in, and taken in from publishers whose signature was checked."""


@factor.command("list")
def list_factors(
    data: Data = None,
    set_: Annotated[str | None, typer.Option("--set")] = None,
    status: Annotated[Status | None, typer.Option()] = None,
    as_json: Json = False,
) -> None:
    """Every value; with --json one object a line."""
    rows = factor_rows.select(_library(data), set_, status)
    if as_json:
        for row in rows:
            terminal.tell(row)
        return
    language = terminal.language()
    table = Table()
    for column in ("id", "value", "unit", "name", "uncertainty", "tier", "status", "standing", "signed"):
        table.add_column(messages.text(f"factor.column.{column}", language), overflow="fold")
    for row in rows:
        standing = messages.text(f"factor.standing.{row['standing']}", language)
        tier = messages.text(f"account.tier.{row['tier']}", language)
        known = (_spread(row, language), tier, row["status"], standing, ", ".join(row["signed_by"]) or "–")
        table.add_row(row["id"], row["value"], row["unit"], row[language], *known)
    terminal.show(table, PLAIN_WIDTH)


@factor.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """One value with all that is known of it: document, uncertainty, tier, status, and who signed for its file."""
    found = factor_rows.one(_library(data), name)
    if as_json:
        terminal.tell(found)
        return
    language = terminal.language()
    told = {**found, "uncertainty": _spread(found, language)}
    for key, value in told.items():
        for line in value if isinstance(value, list) else [value]:
            if key == "signed":
                typer.echo(f"{key:18} {_signature(line, language)}")
            elif line not in ("", None):
                typer.echo(f"{key:18} {line}")


@factor.command()
def sign(
    files: Annotated[list[Path], typer.Argument()],
    publisher: Annotated[str, typer.Option()],
    key: Annotated[Path, typer.Option("--key")],
    out: Annotated[Path, typer.Option("--out", "-o")],
    as_json: Json = False,
) -> None:
    """Check the files and put them under one signature."""
    sources = {path.name: terminal.read(path) for path in files}
    if len(sources) < len(files):
        raise ConfigError("files", "two of one name", "each name once")
    signer = terminal.private_key(key)
    envelope = bundle.sign(publisher, sources, signer)
    _write(out, envelope)
    _say("signed", bundle.open_bundle(envelope, signer.public), out, as_json)


@factor.command()
def adopt(
    ids: Annotated[list[str], typer.Argument(metavar="ID...")],
    name: Annotated[str, typer.Option("--id")],
    by: Annotated[str, typer.Option()],
    key: Annotated[Path, typer.Option("--key")],
    out: Annotated[Path, typer.Option("--out", "-o")],
    *,
    document: Annotated[str, typer.Option()] = "",
    confirm: Annotated[list[str] | None, typer.Option()] = None,
    retire: Annotated[list[str] | None, typer.Option()] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Put a name to the very bytes of sets and methods, and confirm or retire what is in them. Import it to heed it."""
    said = adopting.Said(name, by, time.strftime("%Y-%m-%d"), document, tuple(confirm or ()), tuple(retire or ()))
    source = adopting.write(_library(data), ids, said)
    signer = terminal.private_key(key)
    envelope = bundle.sign(by, {f"{name}.toml": source}, signer)
    _write(out, envelope)
    _say("signed", bundle.open_bundle(envelope, signer.public), out, as_json)


@factor.command("import")
def import_bundle(
    file: Bundled,
    key: Key,
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")],
    as_json: Json = False,
) -> None:
    """Take a bundle in, once its signature holds and nothing in it contradicts what is held. Nothing is overwritten."""
    envelope, public = terminal.read(file), terminal.public_key(key)
    with terminal.opened(data) as store:
        found = factor_shelf.keep(store, envelope, public, now=time.time_ns() // 1_000_000)
    _say("kept", found, file, as_json)


@factor.command()
def verify(
    file: Annotated[Path | None, typer.Argument(metavar="FILE")] = None,
    key: Annotated[Path | None, typer.Option("--key")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check a bundle's signature and every value in it, without a collector.

    Without FILE: the built-in files against what the collector of --data signed of them. Exit 4 when one was changed.
    """
    if file is not None and key is not None:
        _say("verified", bundle.open_bundle(terminal.read(file), terminal.public_key(key)), file, as_json)
    elif file is None and key is None and data is not None:
        _verify_own(data, as_json)
    else:
        raise typer.BadParameter(messages.text("factor.verify.what", terminal.language()), param_hint="'FILE'")


def _verify_own(data: Path, as_json: bool) -> None:
    """Hold what is installed against what the collector signed, with its key."""
    public = config.open_key(data).public
    with terminal.opened(data) as store:
        known = replace(factor_shelf.library(store), contents=tuple(factor_shelf.own(store, public)))
    changed, new = known.changed(), contents.compare(known.contents, contents.installed()).new
    release = f"tanmeter {version('tanmeter')}"
    if as_json:
        signed = [{"release": one.release, "at": one.at, "digest": one.digest} for one in known.contents]
        told = {"release": release, "kid": public.kid.hex(), "signed": signed, "changed": changed, "new": dict(new)}
        terminal.tell(told)
    else:
        _tell_own(known, changed, new, release)
    raise typer.Exit(SignatureError.exit_code if changed else 0)


def _tell_own(known: Library, changed: Mapping[str, str], new: Mapping[str, str], release: str) -> None:
    language = terminal.language()
    if not known.contents:
        typer.echo(messages.text("factor.own.none", language))
        return
    for name, sha256 in changed.items():
        typer.echo(messages.text("factor.own.changed", language, name=name, sha256=sha256[:16]))
    for name in new:
        typer.echo(messages.text("factor.own.new", language, name=name))
    if not changed:
        count, kid = len(contents.installed()) - len(new), known.contents[0].kid
        typer.echo(messages.text("factor.own.holds", language, release=release, count=count, kid=kid))


def _library(data: Path | None) -> Library:
    if data is None:
        return factor_shelf.library(None)
    with terminal.opened(data) as store:
        return factor_shelf.library(store)


def _say(message: str, found: Bundle, file: Path, as_json: bool) -> None:
    told = {"file": str(file), "publisher": found.publisher, "digest": found.digest, "count": len(found.files)}
    adopted = [
        {"adoption": word.id, "by": word.by, **_of(of)}
        for word in found.adoptions.values()
        for of in word.files.values()
    ]
    if as_json:
        full = {**told, "kid": found.kid, "files": list(found.files), "adopted": adopted}
        terminal.tell(full)
        return
    language = terminal.language()
    typer.echo(messages.text(f"factor.done.{message}", language, **told))
    for name in found.files:
        typer.echo(messages.text("factor.signed.published", language, file=name, by=found.publisher, kid=found.kid))
    for one in adopted:
        line = {**one, "confirmed": " ".join(one["confirmed"]) or "-", "retired": " ".join(one["retired"]) or "-"}
        typer.echo(messages.text("factor.said", language, **line))


def _of(of: Of) -> dict[str, Any]:
    retired = {one.name: one.replaced_by for one in of.retired}
    told = {"file": of.id, "sha256": of.sha256, "document": of.document, "confirmed": list(of.confirmed)}
    return {**told, "retired": retired}


def _signature(one: dict[str, Any], language: messages.Language) -> str:
    told = {"file": one["adoption"] or one["bundle"][:16], "by": one["by"], "kid": one["kid"]}
    parts = (one["at"], one["document"], " ".join(one["confirmed"]))
    return "  ".join(
        (messages.text(f"factor.signed.{one['how']}", language, **told), *(part for part in parts if part))
    )


def _spread(row: dict[str, Any], language: messages.Language) -> str:
    """Half width of the 95 % range, or that nobody gives one: never 0 for what is not known."""
    return messages.text("factor.unknown", language) if row["uncertainty"] is None else f"± {row['uncertainty']} %"


def _write(out: Path, envelope: bytes) -> None:
    try:
        out.write_bytes(envelope)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
