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
    reference: Annotated[
        str, typer.Argument(help="an account: A-SUBJECT-PERIOD, or one version of it: A-SUBJECT-PERIOD@2")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write: something.pdf, .docx or .xlsx")],
    kind: Annotated[
        Literal["enterprise", "supplementary", "plan"],
        typer.Option(help="the report after the guideline, the supplementary table, or the data quality control plan"),
    ] = "enterprise",
    about: Annotated[
        Path | None, typer.Option(help="TOML of what the enterprise says of itself: one text for each label")
    ] = None,
    address: Annotated[str, typer.Option(help="where the collector's pages are, for links and the code")] = (
        "http://127.0.0.1:8080"
    ),
    report_lang: Annotated[Literal["zh", "en"], typer.Option("--in", help="language of the report")] = "zh",
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA", help="the collector's folder")] = DATA,
) -> None:
    """Print an account."""
    told = {} if about is None else _about(about)
    with terminal.opened(data) as store:
        made = reports.build(store, reports.Ask(reference, kind, _form(out), report_lang, address.rstrip("/"), told))
    _write(out, made, address)


@report.command()
def city(
    boundary: Annotated[str, typer.Argument(help="a city, district or park, by its subject id")],
    period: Annotated[str, typer.Argument(help="2026-10, 2026, 2026-10-07, or 2026-10-01--2026-11-15")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write: something.pdf, .docx or .xlsx")],
    address: Annotated[str, typer.Option(help="where the collector's pages are, for links")] = "http://127.0.0.1:8080",
    report_lang: Annotated[Literal["zh", "en"], typer.Option("--in", help="language of the report")] = "zh",
    data: Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA", help="the collector's folder")] = DATA,
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
