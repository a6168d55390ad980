"""tanmeter account indicators, rankings, targets, warnings, acknowledge, check: what a city asks of its accounts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloud import terminal
from protocols import messages
from protocols.errors import ConfigError, RottenError

if TYPE_CHECKING:
    from cloud.city import City

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json")]
Subject = Annotated[str, typer.Argument()]
Period = Annotated[str, typer.Argument()]


def indicators(subject: Subject, period: Period, data: Data = DATA, as_json: Json = False) -> None:
    """Table 1's four indicators and Table 2's tree of a subject or a boundary, from the newest versions."""
    from cloud import accounts, indicator_show
    from cloud import indicators as found_in

    with _city(data) as city:
        found = found_in.card(city, subject, accounts.period_of(period), Random(found_in.SEED))
        if as_json:
            terminal.tell(indicator_show.card(found))
        else:
            terminal.show(indicator_show.tree(found, terminal.language()))


def rankings(
    boundary: Subject,
    period: Period,
    *,
    by: Annotated[Literal["total", "intensity", "change", "reduction", "quality"], typer.Option()] = "total",
    kind: Annotated[str, typer.Option()] = "",
    category: Annotated[str, typer.Option()] = "",
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Everybody inside a boundary in order; who has no figure stands at the end and says why."""
    from cloud import accounts, indicator_show
    from cloud import indicators as found_in

    with _city(data) as city:
        over = accounts.period_of(period)
        rows = found_in.ranking(city, boundary, over, by, kind=kind, category=category)
        absent = found_in.absent(city, boundary, over, kind=kind, category=category)
        unread = sorted(city.look(boundary, over).unread)
    if as_json:
        told = {"by": by, "period": period, "data": [indicator_show.ranked(row) for row in rows]}
        terminal.tell({**told, "absent": absent, "unreadable": unread})
        return
    if rows:
        terminal.show(indicator_show.ranking(rows, terminal.language()))
    if absent:
        typer.echo(indicator_show.missing(absent, terminal.language()), err=True)
    if unread:
        typer.echo(indicator_show.unread(unread, terminal.language()), err=True)


def targets(
    year: Annotated[int, typer.Argument(min=2000, max=2100)],
    data: Data = DATA,
    subject: Annotated[str | None, typer.Option()] = None,
    as_json: Json = False,
) -> None:
    """Quotas and targets of a year: emitted so far, the even path, and how long they last at this pace."""
    from cloud import indicator_show
    from cloud import indicators as found_in

    with _city(data) as city:
        only = None if subject is None else [city.subject(subject).id]
        found = list(found_in.aims(city, year, only))
        unread = sorted(city.unread())
    if as_json:
        terminal.tell({"year": year, "data": [indicator_show.aim(one) for one in found], "unreadable": unread})
        return
    if unread:
        typer.echo(indicator_show.unread(unread, terminal.language()), err=True)
    if not found:
        terminal.say("indicator.target.none", year=year)
    else:
        terminal.show(indicator_show.aims(found, terminal.language()))


def warnings(
    *,
    subject: Annotated[str | None, typer.Option()] = None,
    everything: Annotated[bool, typer.Option("--all")] = False,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Early warnings as they stand, judged now: quotas, drift, missing data, uncertainty. With --json one a line."""
    from cloud import early_warning, indicator_show

    with _city(data) as city:
        try:
            early_warning.watch(city, 0, terminal.now_ms())
        except RottenError as error:
            typer.echo(str(error), err=True)
        found = early_warning.listing(city.store, subject, standing=not everything)
    if as_json:
        for one in found:
            terminal.tell(indicator_show.alarm(one))
        return
    if not found:
        terminal.say("warning.none")
        return
    terminal.show(indicator_show.alarms(found, terminal.language()))


def acknowledge(
    warning: Annotated[str, typer.Argument()],
    *,
    why: Annotated[str, typer.Option("--why")],
    by: Annotated[str, typer.Option("--by")] = "",
    key: Annotated[Path | None, typer.Option("--key")] = None,
    events: Annotated[int, typer.Option("--events", min=0)] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Put a name and a reason to a warning; both stay in its log. With --key: sign it, to be posted to its address."""
    from cloud import early_warning, indicator_show

    if key is not None:
        _sign(warning, why, events, key, out)
        return
    with _city(data) as city:
        found = early_warning.acknowledge(city.store, warning, by, why, terminal.now_ms())
    if as_json:
        terminal.tell(indicator_show.alarm(found))
        return
    terminal.show(indicator_show.alarms([found], terminal.language()))


def _sign(warning: str, why: str, events: int, key: Path, out: Path | None) -> None:
    from cloud.accounting.signed_acknowledgement import Acknowledgement, sign

    if out is None or events < 1:
        raise ConfigError("--key", f"--events {events}, --out {out}", "how many events there were, and a file to write")
    envelope = sign(Acknowledgement(warning, events, why), terminal.private_key(key))
    try:
        out.write_bytes(envelope)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
    terminal.say("account.done.signed", file=str(out))


def check(
    reference: Annotated[str, typer.Argument()],
    *,
    file: Annotated[Path | None, typer.Option("--file")] = None,
    by: Annotated[str, typer.Option("--by")] = "",
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Hold an account against what else is known of its period. Exit 4 where a figure stands against a lock."""
    from cloud import accounts, cross_checks, indicator_show
    from cloud.accounting.checks import blocking

    with _city(data) as city:
        content = accounts.get(city.store, reference).content
        if file is not None:
            brought = cross_checks.take(city.store, file.name, terminal.read(file), by=by, now=terminal.now_ms())
            if (brought.subject, brought.period) != (content.subject, content.period.id):
                found_in = f"{brought.subject}, {brought.period}"
                raise ConfigError(file.name, found_in, f"checks of {content.subject}, {content.period.id}")
        found = cross_checks.findings(city.store, content)
    if as_json:
        terminal.tell(
            {"account": reference, "ok": not found, "findings": [indicator_show.finding(one) for one in found]}
        )
    elif not found:
        typer.echo(messages.text("check.none", terminal.language()))
    else:
        terminal.show(indicator_show.findings(found, terminal.language()))
    if blocking(found):
        raise typer.Exit(4)


COMMANDS = (indicators, rankings, targets, warnings, acknowledge, check)


@contextmanager
def _city(data: Path) -> "Iterator[City]":
    from cloud.city import City

    with terminal.opened(data) as store:
        yield City(store)
