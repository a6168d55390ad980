"""tanmeter account subject | activity | signer: whom accounts are of, what they rest on, who may sign it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from cloud import terminal
from protocols import messages
from protocols.errors import ConfigError

subject = typer.Typer(no_args_is_help=True, add_completion=False)
activity = typer.Typer(no_args_is_help=True, add_completion=False)
signer = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json")]


@subject.callback()
def subjects_() -> None:
    """Whom accounts are drawn up for: enterprises, buildings, parks, communities, districts, cities."""


@activity.callback()
def activities_() -> None:
    """What accounts rest on beside meters: signed files and declarations, kept byte for byte."""


@signer.callback()
def signers_() -> None:
    """Whose signature makes an activity file an imported one."""


@subject.command("import")
def import_subjects(
    file: Annotated[Path, typer.Argument()],
    by: Annotated[str, typer.Option("--by")] = "",
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Take a subject file in: a new version of every subject that it changes. What was held stays readable."""
    from cloud import subjects

    source = terminal.read(file)
    with terminal.opened(data) as store:
        found = subjects.take(store, file.name, source, by=by, now=terminal.now_ms())
    if as_json:
        sha256 = found[0].sha256
        terminal.tell({"file": str(file), "sha256": sha256, "subjects": {one.subject.id: one.version for one in found}})
        return
    terminal.say("account.done.subjects", count=len(found), file=str(file))


@subject.command("list")
def list_subjects(data: Data = DATA, as_json: Json = False) -> None:
    """Every subject as it stands; with --json one object a line."""
    from cloud import account_show, subjects

    with terminal.opened(data) as store:
        roll = subjects.roll(store)
    if as_json:
        for one in roll.held.values():
            terminal.tell(_subject(one))
    else:
        terminal.show(account_show.subjects(roll.held.values(), terminal.language()))
    for name, why in roll.unread.items():
        typer.echo(f"{name}: {why}", err=True)


@subject.command("show")
def show_subject(
    name: Annotated[str, typer.Argument(metavar="ID")],
    version: Annotated[int | None, typer.Option()] = None,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """One subject: its meters, memberships, denominators, targets; or the file that says so."""
    from cloud import subjects

    with terminal.opened(data) as store:
        found = subjects.get(store, name, version)
        source = subjects.source(store, found.sha256)
    if as_json:
        terminal.tell(_subject(found))
        return
    typer.echo(f"# {found.subject.id} @{found.version}  SHA-256 {found.sha256}")
    typer.echo(source.decode())


@activity.command("sign")
def sign_activity(
    file: Annotated[Path, typer.Argument()],
    key: Annotated[Path, typer.Option("--key")],
    out: Annotated[Path, typer.Option("--out", "-o")],
) -> None:
    """Put an activity file under a signature, where it was made: the key never leaves that place."""
    from cloud.accounting import activity_file, signed_activity

    source = terminal.read(file)
    activity_file.read(file.name, source)
    envelope = signed_activity.sign(source, terminal.private_key(key))
    try:
        out.write_bytes(envelope)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
    terminal.say("account.done.signed", file=str(out))


@activity.command("import")
def import_activity(
    file: Annotated[Path, typer.Argument()],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Keep a signed activity file, once its signature is of a registered key and everything in it fits its subject."""
    from cloud import activities

    envelope = terminal.read(file)
    with terminal.opened(data) as store:
        kept = activities.take_signed(store, file.name, envelope, now=terminal.now_ms())
    _kept(kept, as_json)


@activity.command("declare")
def declare_activity(
    file: Annotated[Path, typer.Argument()],
    by: Annotated[str, typer.Option("--by")],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Keep an activity file that somebody declares in his name."""
    from cloud import activities

    source = terminal.read(file)
    with terminal.opened(data) as store:
        kept = activities.declare(store, file.name, source, by=by, now=terminal.now_ms())
        words = activities.words(store, kept)
    _kept(kept, as_json, undocumented=words)
    if words and not as_json:
        terminal.say("account.done.words", count=words)


@activity.command("list")
def list_activity(
    subject: Annotated[str | None, typer.Option()] = None,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Every activity file, in the order they came; with --json one object a line."""
    from cloud import activities

    with terminal.opened(data) as store:
        found = activities.listing(store, subject)
    if as_json:
        for one in found:
            terminal.tell(asdict(one))
        return
    table = _table("file", "subject", "grade", "by", "entries", "replaced")
    for one in found:
        grade = messages.text(f"account.grade.{one.grade}", terminal.language())
        table.add_row(one.sha256[:16], one.subject, grade, one.by, str(one.count), one.replaced_by[:16])
    terminal.show(table)


@signer.command("add")
def add_signer(
    name: Annotated[str, typer.Argument()],
    key: Annotated[Path, typer.Argument()],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Register a key: activity files that it signs are taken in from now on."""
    from cloud import subjects

    public = terminal.public_key(key)
    with terminal.opened(data) as store:
        kid = subjects.trust(store, name, public, now=terminal.now_ms())
    if as_json:
        terminal.tell({"kid": kid, "name": name, "trusted": True})
        return
    terminal.say("account.done.signer", kid=kid, name=name)


@signer.command("remove")
def remove_signer(kid: Annotated[str, typer.Argument()], data: Data = DATA) -> None:
    """Take nothing more that a key signs. What it signed before stays and stays verifiable."""
    from cloud import subjects

    with terminal.opened(data) as store:
        subjects.distrust(store, kid, now=terminal.now_ms())
    terminal.say("account.done.unsigned", kid=kid)


@signer.command("list")
def list_signers(data: Data = DATA, as_json: Json = False) -> None:
    """Every registered key; with --json one object a line."""
    from cloud import subjects

    with terminal.opened(data) as store:
        found = subjects.signers(store)
    table = _table("key", "name", "trusted")
    for kid, name, trusted, _ in found:
        if as_json:
            terminal.tell({"kid": kid, "name": name, "trusted": trusted})
        table.add_row(kid, name, "+" if trusted else "-")
    if not as_json:
        terminal.show(table)


def _subject(one: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(one.subject), "version": one.version, "sha256": one.sha256, "by": one.by}


def _kept(kept: Any, as_json: bool, **more: int) -> None:
    if as_json:
        terminal.tell({**asdict(kept), **more})
        return
    typer.echo(kept.sha256)
    terminal.say("account.done.activity", count=kept.count, sha256=kept.sha256)


def _table(*columns: str) -> Table:
    table = Table()
    for name in columns:
        table.add_column(messages.text(f"account.column.{name}", terminal.language()))
    return table
