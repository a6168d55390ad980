"""tanmeter bus: what a bus is asked and how much of its time that takes."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drivers import busload
from drivers.bustime import Line, Pace
from drivers.installation import install
from drivers.site import Site
from edge.wire import wire
from protocols import messages
from provisioning import bus_address, folder, site_init
from provisioning import fields as fields_
from provisioning.lessons import Lesson, lessons

app = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json")]


STATE = Path("/var/lib/tanmeter")


@app.callback()
def bus() -> None:
    """What a bus is asked, how much of its time that takes, and what the meters on it taught us."""


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(metavar="FIELDS.json")],
    *,
    baud: Annotated[int, typer.Option(min=300, max=1_000_000)] = 9600,
    turnaround_ms: Annotated[float, typer.Option(min=0, max=60_000)] = 20,
    max_registers: Annotated[int, typer.Option(min=1, max=125)] = 125,
    parity: Annotated[Literal["N", "E", "O"], typer.Option()] = "E",
    stopbits: Annotated[int, typer.Option(min=1, max=2)] = 1,
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


@app.command()
def load(
    file: Annotated[Path, typer.Argument(metavar="SITE.toml")],
    *,
    profile_dir: Annotated[Path | None, typer.Option()] = None,
    overload: Annotated[bool, typer.Option("--overload")] = False,
    as_json: Json = False,
) -> None:
    """How much of each port's time its devices are asked for; exit 6 above 70 %, with what would fit."""
    source = folder.read(file, "a site file")
    held = install(source, site_init.gather(source, profile_dir, str(file)), str(file))
    found = busload.loads(held.site, held.drivers)
    if as_json:
        typer.echo(json.dumps({"ports": [_port(held.site, each) for each in found]}, ensure_ascii=False))
    else:
        for each in found:
            _show(held.site, each)
    if not overload:
        busload.admit(held.site, held.drivers, held.profiles, str(file))


@app.command()
def learned(
    state: Annotated[Path, typer.Option("--state", envvar="TANMETER_STATE")] = STATE,
    as_json: Json = False,
) -> None:
    """What the meters taught this box, and the lines for site.toml that make the signed plan fit; then sign it."""
    found = lessons(state)
    if as_json:
        typer.echo(json.dumps({"devices": [asdict(lesson) for lesson in found]}, ensure_ascii=False))
        return
    for lesson in found:
        _teach(lesson)


@app.command()
def address(
    place: Annotated[str, typer.Argument(metavar="PORT")],
    *,
    mode: Annotated[str, typer.Option()] = "2400-8E1",
    protocol: Annotated[Literal["any", "cjt188", "dlt645"], typer.Option()] = "any",
    timeout_ms: Annotated[int, typer.Option(min=50, max=10_000)] = 1000,
    as_json: Json = False,
) -> None:
    """Ask the only meter on a line for its address (CJ/T 188, DL/T 645); the box's agent must not hold the port."""
    spoken: tuple[bus_address.Spoken, ...] = ("cjt188", "dlt645") if protocol == "any" else (protocol,)
    port = bus_address.port(place, mode)
    found = asyncio.run(bus_address.find(wire(port), mode, spoken, timeout_ms / 1000))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    _tell("bus.address.found", protocol=found.protocol, address=found.address)
    if found.protocol == "cjt188":
        _tell("bus.address.cjt188", meter_type=found.meter_type, identifier=found.identifier)


def _teach(lesson: Lesson) -> None:
    median, p99 = lesson.turnaround_ms or ("-", "-")
    known = {"device": lesson.device, "answers": lesson.answers, "signed": lesson.signed_turnaround_ms}
    _tell("bus.learned.device", **known, median=median, p99=p99)
    if lesson.forbidden:
        _tell("bus.learned.forbidden", ranges=", ".join(f"{a}-{b}" for a, b in lesson.forbidden), since=lesson.since)
    if lesson.refused:
        _tell("bus.learned.refused", points=", ".join(lesson.refused))
    if lesson.lines:
        _tell("bus.learned.lines")
        for line in lesson.lines:
            typer.echo(f"    {line}")


def _port(site: Site, load: busload.PortLoad) -> dict[str, Any]:
    devices = [
        {
            "device": site.device[share.device].id,
            "period_ms": share.period_ms,
            "requests": share.requests,
            "bus_ms": round(share.bus_ms, 3),
            "share": round(share.share, 6),
        }
        for share in load.shares
    ]
    return {"port": load.port, "share": round(load.share, 6), "most": busload.MOST, "devices": devices}


def _show(site: Site, load: busload.PortLoad) -> None:
    _tell("bus.load.port", port=load.port, share=f"{load.share:.1%}", most=f"{busload.MOST:.0%}")
    if load.shares:
        _tell("bus.load.head")
    for share in load.shares:
        period = f"{share.period_ms / 1000:g}s"
        name = site.device[share.device].id
        typer.echo(f"{name:20} {period:>7} {share.requests:8} {share.bus_ms:9.1f} {share.share:9.2%}")


def _tell(message_id: str, **values: object) -> None:
    typer.echo(messages.text(message_id, messages.spoken(os.environ), **values))
