"""tanmeter unit: edge, cloud: the systemd unit of either, printed or put in place."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from protocols import messages
from provisioning import unit as units

app = typer.Typer(no_args_is_help=True, add_completion=False)

Install = Annotated[bool, typer.Option("--install")]
Root = Annotated[Path, typer.Option("--root")]
Program = Annotated[Path | None, typer.Option("--program")]
Metrics = Annotated[str, typer.Option("--metrics", metavar="HOST:PORT")]


@app.command()
def edge(
    state: Annotated[Path, typer.Option("--state")] = units.EDGE.folder,
    *,
    metrics: Metrics = "",
    program: Program = None,
    install: Install = False,
    root: Root = Path("/"),
) -> None:
    """The unit of the gateway: watched by progress, locked in; as root with --install it is put in place."""
    started = _started(program)
    _give(units.EDGE, units.EDGE.text(started, state, metrics=metrics), started, root if install else None)


@app.command()
def cloud(
    data: Annotated[Path, typer.Option("--data")] = units.CLOUD.folder,
    *,
    copy: Annotated[Path | None, typer.Option("--copy")] = None,
    metrics: Metrics = "",
    program: Program = None,
    install: Install = False,
    root: Root = Path("/"),
) -> None:
    """The unit of the collector, which listens on loopback behind a proxy that ends TLS."""
    started = _started(program)
    text = units.CLOUD.text(started, data, metrics=metrics, copy=copy)
    folder = f" && install -d -m 700 -o {units.CLOUD.user} {copy}" if copy else ""
    _give(units.CLOUD, text, started, root if install else None, folder)


def _started(program: Path | None) -> Path:
    return program or Path(sys.executable).with_name("tanmeter")


def _give(unit: units.Unit, text: str, program: Path, root: Path | None, first: str = "") -> None:
    """Print it, or put it in place below ``root``. ``first``: what is to be done once its user is there."""
    if root is None:
        typer.echo(text, nl=False)
        return
    for path in units.install(unit, text, program, root):
        typer.echo(str(path))
    typer.echo(messages.text("unit.next", messages.spoken(os.environ), name=unit.name, first=first), err=True)
