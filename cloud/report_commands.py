"""tanmeter report: build an enterprise's report, its supplementary table or its data quality control plan."""

import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from cloud import reports, terminal
from cloud.city import City
from drivers import toml
from protocols import messages
from protocols.errors import ConfigError

report = typer.Typer(no_args_is_help=True, add_completion=False)

DATA = Path("/var/lib/tanmeter-collector")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FORMS: dict[str, reports.Form] = {".pdf": "pdf", ".docx": "docx", ".xlsx": "xlsx"}


@report.callback()
def about() -> None:
    """Reports, as PDF, Word or Excel; every number in them opens its line."""


@report.command()
def build(
    reference: Annotated[str, typer.Argument()],
    *,
    out: Annotated[Path, typer.Option("--out", "-o")],
    kind: Annotated[Literal["enterprise", "supplementary", "plan"], typer.Option()] = "enterprise",
    about: Annotated[Path | None, typer.Option()] = None,
    address: Annotated[str, typer.Option()] = ("http://127.0.0.1:8080"),
    report_lang: Annotated[Literal["zh", "en"], typer.Option("--in")] = "zh",
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")] = DATA,
) -> None:
    """Print an account."""
    told = {} if about is None else _about(about)
    with terminal.opened(data) as store:
        made = reports.build(store, reports.Ask(reference, kind, _form(out), report_lang, address.rstrip("/"), told))
    _write(out, made, address)


@report.command()
def city(
    boundary: Annotated[str, typer.Argument()],
    period: Annotated[str, typer.Argument()],
    *,
    out: Annotated[Path, typer.Option("--out", "-o")],
    address: Annotated[str, typer.Option()] = "http://127.0.0.1:8080",
    report_lang: Annotated[Literal["zh", "en"], typer.Option("--in")] = "zh",
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")] = DATA,
) -> None:
    """Print the summary of a boundary: Table 2, from gross to net, and everybody in it."""
    ask = reports.Ask("", "enterprise", _form(out), report_lang, address.rstrip("/"))
    with terminal.opened(data) as store:
        made = reports.build_city(City(store), boundary, period, ask, time.time_ns() // 1_000_000)
    _write(out, made, address)


def _form(out: Path) -> reports.Form:
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(f"--out {out}", repr(out.suffix), f"one of {', '.join(FORMS)}")
    return form


def _write(out: Path, made: bytes, address: str) -> None:
    try:
        out.write_bytes(made)
    except OSError as error:
        raise ConfigError(f"--out {out}", str(error.strerror), "a file that can be written") from error
    typer.echo(messages.text("report.written", terminal.language(), file=out, bytes=len(made)))
    if urlsplit(address).hostname in LOOPBACK:
        terminal.say("report.loopback", address=address)


def _about(path: Path) -> dict[str, str]:
    """Label -> text; ConfigError for what is no text."""
    tables = toml.parse(terminal.read(path), str(path))
    for label, value in tables.items():
        if not isinstance(value, str):
            raise ConfigError(f"{path}: {label}", repr(value), "a text")
    return tables
