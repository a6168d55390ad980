"""tanmeter cloud audit: everything that is kept, made again from the signed bytes and compared."""

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from cloud import config, terminal
from protocols import messages
from protocols.errors import ConfigError
from protocols.record.cose import PublicKey

MOST_SHOWN = 100
"""Differences that are written out for people; --json has all that are listed."""
ZONE = ZoneInfo("Asia/Shanghai")
DIFFERS = 4
"""The exit code: something is not as it should be."""


def audit(  # noqa: PLR0917 - the options of a command
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")] = config.DATA,
    gateway: Annotated[str, typer.Option()] = "",
    since: Annotated[str | None, typer.Option("--from")] = None,
    until: Annotated[str | None, typer.Option("--to")] = None,
    jobs: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Check every stored block anew and recompute every interval, beside a running collector or on a copy of its store.

    Exit 4 when anything differs, with its name. With --from or --to only the blocks of that time are checked.
    """
    from cloud import audit_file

    language = terminal.language()
    file, key = _file(data)
    span = None if since is None and until is None else _span(since, until)
    order = audit_file.Order(file, gateway, span, None if key is None else (key.algorithm, key.spki))
    report = audit_file.run(order, jobs, _Progress(language).tell)
    if as_json:
        terminal.tell(_plain(report, key is not None))
    else:
        _show(report, key is not None, language)
    if report.found:
        raise typer.Exit(DIFFERS)


class _Progress:
    """Talk on standard error: a line for each gateway, and between them how far it is, where somebody watches."""

    def __init__(self, language: messages.Language) -> None:
        self._language = language

    def tell(self, done: int, blocks: int, audited: Any) -> None:
        """How far it is."""
        watched = sys.stderr.isatty()
        if audited is not None:
            line = messages.text("cloud.audit.gateway", self._language, **asdict(audited))
            typer.echo(("\r" if watched else "") + line, err=True)
        elif watched:
            typer.echo(
                "\r" + messages.text("cloud.audit.far", self._language, done=done, blocks=blocks), nl=False, err=True
            )


def _file(data: Path) -> tuple[Path, PublicKey | None]:
    """The store, and the public key of its collector, where it lies beside it."""
    folder = data if data.is_dir() else data.parent
    key = config.open_key(folder).public if (folder / config.KEY).exists() else None
    return (data / config.STORE if data.is_dir() else data), key


def _span(since: str | None, until: str | None) -> tuple[int, int]:
    """From when to when, UTC ms; ConfigError where there is nothing between: it would hold, whatever is stored."""
    span = _instant("--from", since, 0), _instant("--to", until, 1 << 62)
    if span[1] <= span[0]:
        raise ConfigError("--to", repr(until), f"a time behind --from {since}")
    return span


def _instant(option: str, text: str | None, otherwise: int) -> int:
    """UTC ms; a date or a time without an offset is one of Asia/Shanghai."""
    if text is None:
        return otherwise
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(option, repr(text), "a date or an instant: 2026-11-01, 2026-11-01T08:00:00+08:00") from error
    return round((found if found.tzinfo else found.replace(tzinfo=ZONE)).timestamp() * 1000)


def _plain(report: Any, receipts: bool) -> dict[str, Any]:
    return {
        "ok": not report.found,
        "found": report.found,
        "receipts_checked": receipts,
        "statements": report.statements,
        "gateways": [asdict(audited) for audited in report.gateways],
        "differences": [asdict(difference) for difference in report.differences],
    }


def _show(report: Any, receipts: bool, language: messages.Language) -> None:
    every = [one for audited in report.gateways for one in audited.differences] + report.differences
    for one in every[:MOST_SHOWN]:
        typer.echo("  ".join(filter(None, (one.gateway, one.what, one.name, one.detail))))
    totals = {
        "found": report.found,
        "shown": min(len(every), MOST_SHOWN),
        "gateways": len(report.gateways),
        "blocks": sum(audited.blocks for audited in report.gateways),
        "intervals": sum(audited.intervals for audited in report.gateways),
        "statements": report.statements,
    }
    typer.echo(messages.text("cloud.audit.differs" if report.found else "cloud.audit.holds", language, **totals))
    if waiting := sum(audited.unbooked for audited in report.gateways):
        typer.echo(messages.text("cloud.audit.unbooked", language, blocks=waiting), err=True)
    if not receipts:
        typer.echo(messages.text("cloud.audit.nokey", language), err=True)
