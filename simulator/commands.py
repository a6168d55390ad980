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

Seed = Annotated[int, typer.Option(min=0)]


@sim.callback()
def callback() -> None:
    """Only the simulated meters."""


@sim.command()
def site(
    seed: Seed = 1,
    folder: Annotated[Path | None, typer.Option()] = None,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    tcp_port: Annotated[list[int] | None, typer.Option()] = None,
) -> None:
    """Run the simulated meters until Ctrl-C; one JSON line says how to reach them."""
    from simulator.site import run

    with tempfile.TemporaryDirectory(prefix="tanmeter-site-") as temporary:
        chosen = (folder or Path(temporary)).resolve()
        chosen.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(seed, chosen, host, tuple(tcp_port or ())))


@sim.command()
def history(
    state: Annotated[Path, typer.Argument()],
    since: Annotated[int, typer.Option("--from")],
    until: Annotated[int, typer.Option("--to")],
    truth: Annotated[Path, typer.Option()],
    seed: Seed = 1,
) -> None:
    """Have a gateway live through a stretch of the past in virtual time: its own code, simulated meters."""
    from simulator.history import live_through

    live_through(state, seed, since, until, truth)


@sim.command("city")
def write_city(
    out: Annotated[Path, typer.Argument()],
    until: Annotated[str, typer.Option()],
    months: Annotated[int, typer.Option(min=1, max=60)] = 13,
    seed: Seed = 1,
) -> None:
    """Write an invented city of a few dozen enterprises: who they are, and what they used month by month."""
    from simulator import city

    made = city.city(seed, city.months(until, months))
    out.mkdir(parents=True, exist_ok=True)
    (out / "subjects.toml").write_bytes(made.subjects)
    for kind, end, held in (("activity", "toml", made.activity), ("documents", "txt", made.documents)):
        for subject, files in held.items():
            (out / kind / subject).mkdir(parents=True, exist_ok=True)
            for month, source in files.items():
                (out / kind / subject / f"{month}.{end}").write_bytes(source)
    typer.echo(str(out))


@demo.command()
def play(
    *,
    once: Annotated[bool, typer.Option("--once")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    seed: Seed = 1,
    days: Annotated[int, typer.Option(min=1, max=365)] = 30,
    keep: Annotated[Path | None, typer.Option()] = None,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
) -> None:
    """The whole life of a reading: simulated site, gateway, collector, page; Ctrl-C ends it."""
    from simulator.demo import start
    from simulator.stage import Options

    language = messages.spoken(os.environ)
    raise typer.Exit(start(Options(seed, days, keep, port, language), once, as_json, language))
