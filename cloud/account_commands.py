"""tanmeter account: list, explain, close, lock, diff, verify, calc. E-... are statements of a site, A-... accounts.

The parts that need no store (calc, a difference of two methods) open none.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloud import terminal
from cloud.account_subject_commands import activity, signer, subject
from cloud.indicator_commands import COMMANDS
from protocols import messages
from protocols.errors import UnknownNameError

if TYPE_CHECKING:
    from cloud.accounting.inventory import Closure, Inventory

account = typer.Typer(no_args_is_help=True, add_completion=False)
account.add_typer(subject, name="subject")
account.add_typer(activity, name="activity")
account.add_typer(signer, name="signer")
for _command in COMMANDS:
    account.command()(_command)

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")]
DATA = Path("/var/lib/tanmeter-collector")
Json = Annotated[bool, typer.Option("--json")]
Reference = Annotated[str, typer.Argument()]
Period = Annotated[str, typer.Argument()]
Activity = Annotated[Path | None, typer.Option("--activity")]
Factors = Annotated[str, typer.Option("--factors")]


@account.callback()
def accounts() -> None:
    """What was emitted: statements of a site's electricity, accounts of a subject, each with the versions it had."""


@account.command("list")
def list_accounts(
    data: Data = DATA,
    site: Annotated[str | None, typer.Option()] = None,
    subject: Annotated[str | None, typer.Option()] = None,
    as_json: Json = False,
) -> None:
    """The newest version of every statement and every account; with --json one object a line."""
    from cloud import account_show, statements
    from cloud import accounts as issued
    from cloud.evidence import show

    unread = dict[str, str]()
    with terminal.opened(data) as store:
        found = statements.listing(store, site) if subject is None else []
        held = issued.listing(store, subject, unread=unread) if site is None else []
    if as_json:
        for line in (*map(show.summary, found), *map(account_show.summary, held)):
            terminal.tell(line)
    elif found or not held:
        terminal.show(show.table(found, terminal.language()))
    if held and not as_json:
        terminal.show(account_show.listing(held, terminal.language()))
    for name, why in unread.items():
        typer.echo(f"{name}: {why}", err=True)


@account.command()
def explain(
    reference: Reference,
    data: Data = DATA,
    line: Annotated[str, typer.Option()] = "",
    as_json: Json = False,
) -> None:
    """Where a figure comes from: formula and numbers, factors and their standing, registers, blocks, what changed."""
    if reference.startswith("A-"):
        _explain_account(data, reference, line, as_json)
        return
    from cloud import statements
    from cloud.evidence import show

    with terminal.opened(data) as store:
        statement = statements.get(store, reference)
    if as_json:
        terminal.tell(statements.explain(statement))
        return
    terminal.show(show.tree(statement, terminal.language()))


@account.command()
def close(
    subject: Annotated[str, typer.Argument()],
    period: Period,
    data: Data = DATA,
    statement: Annotated[bool, typer.Option("--statement")] = False,
    as_json: Json = False,
) -> None:
    """Issue what is held now as a version; nothing new is issued when it says the same as the newest one."""
    from cloud import account_show, factor_shelf, statements, subjects
    from cloud import accounts as issued
    from cloud.evidence import show

    with terminal.opened(data) as store:
        sites = store.sites()
        if not statement and store.entry_head("subject", subject) is None and subject not in sites:
            known = f"{subjects.some(subjects.names(store), subject)}, or a site: {', '.join(sites) or 'none yet'}"
            raise UnknownNameError("subject", subject, known)
        if statement or store.entry_head("subject", subject) is None:
            made = statements.close(store, subject, period, terminal.now_ms())
            told, tree = show.summary(made), show.tree(made, terminal.language())
        else:
            library = factor_shelf.library(store)
            version = issued.close(store, library, subject, issued.period_of(period), terminal.now_ms())
            told, tree = account_show.summary(version), account_show.tree(version, terminal.language())
    if as_json:
        terminal.tell(told)
        return
    terminal.show(tree)


@account.command()
def lock(
    reference: Annotated[str, typer.Argument()],
    by: Annotated[list[str], typer.Option("--by")],
    *,
    data: Data = DATA,
    with_exceptions: Annotated[bool, typer.Option("--with-exceptions")] = False,
    partial: Annotated[bool, typer.Option("--partial")] = False,
    as_json: Json = False,
) -> None:
    """Put names to a version. Two different ones lock it for good; what is not confirmed is listed or refused."""
    from cloud import account_show
    from cloud import accounts as issued

    closure: Closure = "partial" if partial else "exceptions" if with_exceptions else "complete"
    with terminal.opened(data) as store:
        version = issued.lock(store, reference, by, terminal.now_ms(), closure=closure)
    if as_json:
        terminal.tell({**account_show.summary(version), "exceptions": list(version.exceptions)})
        return
    typer.echo(f"{version.reference}  {account_show.stands(version, terminal.language())}")
    for exception in version.exceptions:
        typer.echo(f"  {exception}")
    if version.state != "locked":
        terminal.say("account.done.second")


@account.command()
def refresh(
    subject: Annotated[str | None, typer.Option()] = None,
    period: Annotated[str | None, typer.Option()] = None,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """After a factor or a method has changed: a newer version of every account that it changes. Exit 7 for some not.

    The activity is that of the newest version; the difference is factor and method alone.
    """
    from cloud import factor_shelf, reaccounting

    with terminal.opened(data) as store:
        done = reaccounting.again(store, factor_shelf.library(store), terminal.now_ms(), subject=subject, period=period)
    if as_json:
        terminal.tell({"seen": done.seen, "made": done.made, "failed": dict(done.failed)})
    else:
        terminal.say("account.done.refreshed", seen=done.seen, made=done.made)
        for name, why in done.failed:
            typer.echo(f"{name}: {why}", err=True)
    if done.failed:
        raise typer.Exit(7)


@account.command()
def verify(reference: Reference, data: Data = DATA, as_json: Json = False) -> None:
    """Make an account again from its own symbols, its inputs and the store. Exit 4 for what does not hold."""
    from cloud import account_proof, factor_shelf
    from cloud.accounting.inventory import parse_reference

    parse_reference(reference)
    with terminal.opened(data) as store:
        found = account_proof.verify(store, factor_shelf.library(store), reference, terminal.now_ms())
    failed = any(check.outcome == "failed" for check in found)
    if as_json:
        checks = [{"name": check.name, "outcome": check.outcome, "detail": check.detail} for check in found]
        terminal.tell({"account": reference, "ok": not failed, "checks": checks})
    else:
        for check in found:
            outcome = messages.text(f"account.verify.{check.outcome}", terminal.language())
            typer.echo(f"{check.name}: {outcome} {check.detail}".rstrip())
    if failed:
        raise typer.Exit(4)


@account.command()
def diff(
    first: Annotated[str, typer.Argument()],
    second: Annotated[str, typer.Argument()],
    *,
    data: Data = DATA,
    activity: Activity = None,
    period: Annotated[str, typer.Option()] = "",
    factors: Factors = "",
    as_json: Json = False,
) -> None:
    """What one account says beyond another: activity, factor, method and boundary; or two methods over one activity.

    Two versions, or two periods of one subject: source stands against source. Two subjects are not compared.
    """
    from cloud import account_show
    from cloud import accounts as issued
    from cloud.accounting import headline

    if activity is None:
        with terminal.opened(data) as store:
            before, after = issued.get(store, first).content, issued.get(store, second).content
    else:
        before, after = _two_methods(first, second, activity, period, factors)
    found = headline.between(before, after)
    if as_json:
        totals = [f"{one.totals.total:f}" for one in (before, after)]
        terminal.tell({"before": first, "after": second, "tco2e": totals, **account_show.differing(found)})
        return
    terminal.show(account_show.changes(found, terminal.language()))


@account.command()
def calc(
    *,
    activity: Annotated[Path, typer.Option("--activity")],
    period: Annotated[str, typer.Option("--period")],
    method: Annotated[str, typer.Option("--method")] = "",
    region: Annotated[str, typer.Option()] = "",
    basis: Annotated[Literal["average", "residual", "fossil"] | None, typer.Option()] = None,
    gwp: Annotated[Literal["SAR", "AR4", "AR5", "AR6"] | None, typer.Option()] = None,
    factors: Factors = "",
    as_json: Json = False,
) -> None:
    """Calculate from a file, without a server: every line with its formula, numbers and factors, and the total."""
    from cloud import account_calc, account_show

    asked = account_calc.Asked(method, period, region, basis, gwp, factors)
    found = account_calc.calculate(activity, asked)
    if as_json:
        terminal.tell(account_show.explained(found))
        return
    terminal.show(account_show.inventory(found, terminal.language()))


def _two_methods(first: str, second: str, activity: Path, period: str, factors: str) -> "tuple[Inventory, Inventory]":
    from cloud import account_calc

    return account_calc.apart(activity, account_calc.Asked(first, period, factors=factors), second)


def _explain_account(data: Path, reference: str, only: str, as_json: bool) -> None:
    from cloud import account_proof, account_show
    from cloud import accounts as issued

    with terminal.opened(data) as store:
        version = issued.get(store, reference)
        lines = [line for line in version.content.lines if line.id.startswith(only)]
        if not lines:
            known = ", ".join(line.id for line in version.content.lines)
            raise UnknownNameError("line", only, f"one of {known}")
        found = {line.digest: account_proof.increments(store, line, version.as_of) for line in lines}
    if as_json:
        terminal.tell(account_proof.told(version, found, only))
        return
    terminal.show(account_show.tree(version, terminal.language(), only, found))
