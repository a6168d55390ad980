"""tanmeter sim: only the simulated meters. tanmeter demo: the whole life of a reading in one command."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from protocols import messages

sim = typer.Typer(no_args_is_help=True, add_completion=False)
demo = typer.Typer(add_completion=False)

Seed = Annotated[int, typer.Option(min=0, help="which world: one seed is always the same")]


@sim.callback()
def callback() -> None:
    """Only the simulated meters."""


@sim.command()
def site(
    seed: Seed = 1,
    folder: Annotated[Path | None, typer.Option(help="where the bus is linked and the truth log kept")] = None,
    host: Annotated[str, typer.Option(help="address of the networked meters")] = "127.0.0.1",
    tcp_port: Annotated[list[int] | None, typer.Option(help="TCP ports of M-04 and S-01; else free ones")] = None,
) -> None:
    """Run the simulated meters until Ctrl-C; one JSON line says how to reach them."""
    from simulator.site import run

    with tempfile.TemporaryDirectory(prefix="tanmeter-site-") as temporary:
        chosen = (folder or Path(temporary)).resolve()
        chosen.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(seed, chosen, host, tuple(tcp_port or ())))


@sim.command()
def history(
    state: Annotated[Path, typer.Argument(help="a gateway's folder, set up and not yet used")],
    since: Annotated[int, typer.Option("--from", help="first instant, UTC ms")],
    until: Annotated[int, typer.Option("--to", help="last instant, UTC ms")],
    truth: Annotated[Path, typer.Option(help="truth log to append to")],
    seed: Seed = 1,
) -> None:
    """Have a gateway live through a stretch of the past in virtual time: its own code, simulated meters."""
    from simulator.history import live_through

    live_through(state, seed, since, until, truth)


@sim.command("city")
def write_city(
    out: Annotated[Path, typer.Argument(help="folder to write: subjects.toml, and activity/SUBJECT/MONTH.toml")],
    until: Annotated[str, typer.Option(help="last month, 2026-10")],
    months: Annotated[int, typer.Option(min=1, max=60, help="how many months")] = 13,
    seed: Seed = 1,
) -> None:
    """Write an invented city of a few dozen enterprises: who they are, and what they used month by month."""
    from simulator import city

    made = city.city(seed, city.months(until, months))
    (out / "activity").mkdir(parents=True, exist_ok=True)
    (out / "subjects.toml").write_bytes(made.subjects)
    for subject, files in made.activity.items():
        (out / "activity" / subject).mkdir(exist_ok=True)
        for month, source in files.items():
            (out / "activity" / subject / f"{month}.toml").write_bytes(source)
    typer.echo(str(out))


@demo.command()
def play(
    *,
    once: Annotated[bool, typer.Option("--once", help="stop when everything was put to the proof")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output, talk on error")] = False,
    seed: Seed = 1,
    days: Annotated[int, typer.Option(min=1, max=365, help="length of the history")] = 30,
    keep: Annotated[Path | None, typer.Option(help="work in this folder and leave it")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the page; a free one when it is taken")] = 8080,
) -> None:
    """The whole life of a reading: simulated site, gateway, collector, page; Ctrl-C ends it."""
    from simulator.demo import start
    from simulator.stage import Options

    language = messages.spoken(os.environ)
    raise typer.Exit(start(Options(seed, days, keep, port, language), once, as_json, language))
