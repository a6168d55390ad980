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


@app.command()
def edge(
    state: Annotated[Path, typer.Option("--state")] = units.EDGE.folder,
    program: Program = None,
    install: Install = False,
    root: Root = Path("/"),
) -> None:
    """The unit of the gateway: watched by progress, locked in; as root with --install it is put in place."""
    _give(units.EDGE, program, state, install, root)


@app.command()
def cloud(
    data: Annotated[Path, typer.Option("--data")] = units.CLOUD.folder,
    program: Program = None,
    install: Install = False,
    root: Root = Path("/"),
) -> None:
    """The unit of the collector, which listens on loopback behind a proxy that ends TLS."""
    _give(units.CLOUD, program, data, install, root)


def _give(unit: units.Unit, program: Path | None, folder: Path, install: bool, root: Path) -> None:
    chosen = program or Path(sys.executable).with_name("tanmeter")
    if not install:
        typer.echo(unit.text(chosen, folder), nl=False)
        return
    for path in units.install(unit, chosen, folder, root):
        typer.echo(str(path))
    typer.echo(messages.text("unit.next", messages.spoken(os.environ), name=unit.name), err=True)
