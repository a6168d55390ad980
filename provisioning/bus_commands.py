"""tanmeter bus: what a bus is asked and how much of its time that takes."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from drivers.bustime import Line, Pace
from protocols import messages
from provisioning import fields as fields_
from provisioning import folder

app = typer.Typer(no_args_is_help=True, help=messages.text("cli.bus", messages.spoken(os.environ)))

Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]


@app.callback()
def bus() -> None:
    """What a bus is asked, how much of its time that takes, and what the meters on it taught us."""


@app.command()
def plan(
    file: Annotated[
        Path, typer.Argument(metavar="FIELDS.json", help='{"fields": [[address, length], ...]}; - reads it')
    ],
    *,
    baud: Annotated[int, typer.Option(min=300, max=1_000_000, help="rate of the line")] = 9600,
    turnaround_ms: Annotated[float, typer.Option(min=0, max=60_000, help="how long the meter takes to answer")] = 20,
    max_registers: Annotated[int, typer.Option(min=1, max=125, help="the most the meter gives in one request")] = 125,
    parity: Annotated[Literal["N", "E", "O"], typer.Option(help="parity of the line")] = "E",
    stopbits: Annotated[int, typer.Option(min=1, max=2, help="stop bits of the line")] = 1,
    as_json: Json = False,
) -> None:
    """The Modbus RTU requests that bring these registers in the least bus time, exactly; every gap may be read over.

    The file may also hold "forbidden" and "readable" ([first, last] each), and "readable_gaps": false.
    """
    source = sys.stdin.buffer.read() if str(file) == "-" else folder.read(file, "a file of fields")
    held = fields_.load(source, str(file))
    pace = Pace(Line(baud, 1 + 8 + (parity != "N") + stopbits), turnaround_ms)
    found = fields_.plan(held, pace, max_registers, str(file))
    if as_json:
        typer.echo(json.dumps({"requests": found.requests, "bus_ms": round(found.bus_ms, 6)}))
        return
    _tell("bus.plan.head")
    for (address, count), ms in zip(found.requests, found.times_ms, strict=True):
        typer.echo(f"{address:7} {count:7} {ms:12.3f}")
    _tell("bus.plan.sum", fields=len(held.fields), requests=len(found.requests), ms=f"{found.bus_ms:.3f}")


def _tell(message_id: str, **values: object) -> None:
    typer.echo(messages.text(message_id, messages.spoken(os.environ), **values))
