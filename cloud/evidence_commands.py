"""tanmeter evidence: pack, verify. Only what needs the store opens it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud import terminal
from protocols import messages
from protocols.errors import ConfigError, EvidenceError

if TYPE_CHECKING:
    from cloud.evidence import account_check

evidence = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json")]
Reference = Annotated[str, typer.Argument()]


@evidence.callback()
def packs() -> None:
    """All that a figure rests on in one file, and the check of it that needs no server."""


@evidence.command()
def pack(
    reference: Reference,
    out: Annotated[Path, typer.Option("--out", "-o")],
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Write the pack of a statement or an account. Of a statement without a version: of what is held now."""
    from cloud import accounts, config, statements
    from cloud.evidence import account_pack
    from cloud.evidence.pack import pack_bytes

    key = config.open_key(data)
    with config.open_store(data, key) as store:
        if reference.startswith("A-"):
            version = accounts.get(store, reference)
            _packed(out, account_pack.pack_bytes(store, key, version), version.reference, version.digest, as_json)
            return
        if "@" in reference:
            statement = statements.get(store, reference)
        else:
            statement = statements.close(store, *statements.split(store, reference), terminal.now_ms())
        content = pack_bytes(store, key, statement)
    _packed(out, content, statement.reference, statement.digest, as_json)


def _packed(out: Path, content: bytes, reference: str, digest: str, as_json: bool) -> None:
    _write(out, content)
    result = {"statement": reference, "file": str(out), "bytes": len(content), "digest": digest}
    if as_json:
        terminal.tell(result)
        return
    typer.echo(str(out))
    terminal.say("evidence.packed", **result)


@evidence.command()
def verify(
    file: Annotated[Path, typer.Argument()],
    gateway: Annotated[list[str] | None, typer.Option()] = None,
    collector: Annotated[list[str] | None, typer.Option(metavar="ID|FILE")] = None,
    as_json: Json = False,
) -> None:
    """Check a pack and make its figure again, without server or network. Exit 4 names what is wrong."""
    from cloud.evidence import account_check, show
    from cloud.evidence.verify import verify as check

    gateways = [_id("--gateway", named) for named in gateway or ()]
    collectors = [_collector(named) for named in collector or ()]
    source = terminal.read(file)
    try:
        if _is_account(source):
            _report(account_check.verify(source, gateways, collectors), as_json)
            return
        report = check(source, gateways, collectors)
    except EvidenceError as error:
        if not as_json:  # what is wrong with the pack as a whole is told of its file
            raise error if error.file != "archive" else EvidenceError(str(file), error.rule, error.detail) from error
        told = {"code": error.code, "file": error.file, "rule": error.rule, "detail": error.detail}
        terminal.tell({"ok": False, "error": told})
        raise typer.Exit(error.exit_code) from error
    if as_json:
        terminal.tell(report.to_json())
        return
    terminal.show(show.report(report, terminal.language()))


def _collector(named: str) -> str:
    """The id of a collector that is named by it, or by a file with its public key; ConfigError."""
    return terminal.public_key(Path(named)).id.hex() if Path(named).is_file() else _id("--collector", named)


def _id(option: str, named: str) -> str:
    """An id as it stands on a label, without what does not matter in it; ConfigError: no pack is refused for a typo."""
    found = re.sub("[-:]", "", named).lower()
    if re.fullmatch("[0-9a-f]{32}", found) is None:
        expected = "an id: 32 hex digits (a kid is the first half of one)"
        raise ConfigError(option, repr(named), expected + (", or a file" if option == "--collector" else ""))
    return found


def _is_account(source: bytes) -> bool:
    """Whether these are the bytes of a pack of an account; of anything else the check of statements then judges."""
    from cloud.evidence import account_check

    try:
        return account_check.is_account(source)
    except EvidenceError:
        return False


def _report(report: "account_check.Report", as_json: bool) -> None:
    if as_json:
        terminal.tell(report.to_json())
        return
    for check in report.checks:
        typer.echo(f"{messages.text(f'account.check.{check.name}', terminal.language())}: {check.count}")
    for name, one in report.signed:
        typer.echo(messages.text(f"factor.signed.{one.how}", terminal.language(), file=name, by=one.by, kid=one.kid))
    for name in report.foreign:
        typer.echo(messages.text("account.check.foreign", terminal.language(), file=name))
    typer.echo(
        f"{report.version.reference}  {report.version.content.totals.total:f} tCO2e  SHA-256 {report.version.digest}"
    )


def _write(out: Path, content: bytes) -> None:
    """Whole or not at all, and in no place but that of a file."""
    try:
        if out.exists() and not out.is_file():
            raise ConfigError(f"--out {out}", "no file", "the name of a file, new or to be replaced")
        target = out.resolve()
        aside = target.with_name(f".{target.name}.part")
        aside.write_bytes(content)
        aside.replace(target)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
