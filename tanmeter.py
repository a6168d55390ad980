"""The command line: one door. A room is loaded only when it is asked for."""

import io
import json
import logging
import os
import re
import sys
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from protocols import messages
from protocols.errors import TanmeterError

ROOMS = {
    "demo": "simulator.commands:demo",
    "site": "provisioning.commands:app",
    "profile": "provisioning.profile_commands:app",
    "bus": "provisioning.bus_commands:app",
    "edge": "edge.commands:app",
    "cloud": "cloud.commands:app",
    "unit": "provisioning.unit_commands:app",
    "account": "cloud.account_commands:account",
    "method": "cloud.method_commands:method",
    "factor": "cloud.factor_commands:factor",
    "report": "cloud.report_commands:report",
    "evidence": "cloud.evidence_commands:evidence",
    "sim": "simulator.commands:sim",
}
"""Command -> where it lives. Its line in the help is the message ``cli.NAME``."""

INTERRUPTED = 130


def language() -> messages.Language:
    """The language of this run: --lang, else LANG, else zh."""
    return messages.spoken(os.environ)


class Door(TyperGroup):
    """The top-level group: lists every command, imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Rooms in the order of a reading's life, then the tools."""
        return [*ROOMS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For the list in --help: the name of a room and its line, without loading it."""
        if cmd_name in ROOMS:
            return TyperCommand(cmd_name, help=messages.text(f"cli.{cmd_name}", language()))
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded now."""
        if args[0] not in ROOMS:
            return super().resolve_command(ctx, args)
        module, _, name = ROOMS[args[0]].partition(":")
        room: typer.Typer = getattr(import_module(module), name)
        return args[0], typer.main.get_command(room), args[1:]


def choose(lang: str | None) -> None:
    """Set the language of this run, before any room is loaded."""
    if lang is not None:
        if lang not in ("zh", "en"):
            raise typer.BadParameter(f"found {lang!r}, expected zh or en")
        os.environ["TANMETER_LANG"] = lang


def show_version(asked: bool) -> None:
    """Print the installed version and stop."""
    if asked:
        from importlib.metadata import version

        typer.echo(version("tanmeter"))
        raise typer.Exit


app = typer.Typer(cls=Door, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def door(
    lang: Annotated[
        str | None,
        typer.Option("--lang", metavar="zh|en", is_eager=True, callback=choose, help="zh | en; else LANG, else zh"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="print the version and stop")
    ] = False,
) -> None:
    """tanmeter: from the bytes on a meter's wire to a tonne of CO2 that anyone can check."""


@app.command()
def decode(
    frames: Annotated[
        list[str] | None,
        typer.Argument(help="frames in hex, or one frame byte by byte; without any, one a line on standard input"),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="auto|cjt188|dlt645|hj212|mbus|modbus-rtu|modbus-tcp", help="how to read it; auto takes what fits"
        ),
    ] = "auto",
) -> None:
    """Say what a frame means: hex (or a packet of text) in, one JSON object a line out. Exit 3 unless all are good.

    Without any frame, exit 2.
    """
    from protocols.decode import PROTOCOLS, explain

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"found {protocol!r}, expected one of {', '.join(PROTOCOLS)}")
    good: bool | None = None
    for line in one_frame(frames) if frames else standard_input():
        if line.strip():
            result = explain(line, protocol, language())
            good = bool(result["ok"]) and good is not False
            typer.echo(json.dumps(result, ensure_ascii=False))
    if good is None:
        typer.echo(messages.text("cli.nothing", language()), err=True)
        raise typer.Exit(2)
    raise typer.Exit(0 if good else 3)


def standard_input() -> TextIO:
    """Standard input, whatever bytes it holds: those that are no UTF-8 are handed on as they are."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin


def one_frame(frames: list[str]) -> list[str]:
    """The frames; bytes that were pasted without quotes are one frame."""
    return [" ".join(frames)] if all(re.fullmatch("(0[xX])?.{0,2}[hH]?", text) for text in frames) else frames


def main() -> None:
    """Run the command line; an error of ours is told with its code, what happened and the one next action."""
    # pyMeterBus sets the root logger to INFO when it is imported, unless somebody was there before.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except TanmeterError as error:
        chosen = language()
        typer.echo(f"{error.code} {messages.text(error.code, chosen)}: {error}", err=True)
        typer.echo(f"→ {messages.remedy(error.code, chosen)}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        typer.echo(messages.text("cli.missing", language(), module=error.name), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
