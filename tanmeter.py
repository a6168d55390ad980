"""The command line. The package behind a command is imported only when that command is called."""

import errno
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from protocols import messages
from protocols.errors import StoreError, TanmeterError

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
"""Command -> the module and the typer application behind it."""

INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT)

USAGE = (
    ("command", r"No such command '(?P<name>.*?)'\.(?: Did you mean (?P<near>.*)\?)?"),
    ("option", r"No such option: (?P<name>\S+)(?: \(Possible options: (?P<near>.*)\))?"),
    ("missing", r"Missing (argument|option) (?P<name>.*)\."),
    ("extra", r"Got unexpected extra argument(\(s\)|s)? \((?P<name>.*)\)"),
    ("needs", r"Option (?P<name>.*) requires an argument\."),
    ("number", r"Invalid value for (?P<name>.*): Input should be a valid (integer|number),.*"),
    ("least", r"Invalid value for (?P<name>.*): Input should be greater than or equal to (?P<bound>\S+)"),
    ("most", r"Invalid value for (?P<name>.*): Input should be less than or equal to (?P<bound>\S+)"),
    ("choice", r"Invalid value for (?P<name>.*): (Value error, )?(?P<got>'.*?') is not one of (?P<known>.*?)\."),
    ("choice", r"Invalid value for (?P<name>.*?): found (?P<got>.*), expected one of (?P<known>.*)"),
    ("value", r"Invalid value for (?P<name>.*?): (?P<why>.*)"),
)
"""What typer says of a wrong call, in English -> the message that says it in the reader's language."""
WrongCall: Any = typer.BadParameter.__base__
"""What typer raises then."""


def language() -> messages.Language:
    """The language of this run: --lang, else LANG, else zh."""
    return messages.spoken(os.environ)


def tell(command: Any, words: str, chosen: messages.Language, shown: Callable[[str], str] = str) -> None:
    """Give a command, its options and arguments, and all commands below it, their help texts out of the catalogue."""
    command.help = shown(messages.help_text(words, "about", chosen))
    for parameter in command.params:
        parameter.help = shown(messages.help_text(words, parameter.opts[0], chosen))
    for name, child in getattr(command, "commands", {}).items():
        tell(child, f"{words} {name}", chosen, shown)


def say_the_rest(chosen: messages.Language) -> None:
    """Put typer's own words, such as the titles of panels, in this language, and let long Chinese texts wrap.

    They have no blanks to break at: typer would cut them off.
    """
    from rich.text import Text
    from typer import rich_utils

    class Folded(rich_utils.OptionHighlighter):
        def highlight(self, text: Text) -> None:
            super().highlight(text)
            text.overflow = "fold"

    rich_utils.highlighter = Folded()
    rich_utils.OPTIONS_PANEL_TITLE = messages.text("cli.help.options", chosen)
    rich_utils.ARGUMENTS_PANEL_TITLE = messages.text("cli.help.arguments", chosen)
    rich_utils.COMMANDS_PANEL_TITLE = messages.text("cli.help.commands", chosen)
    rich_utils.ERRORS_PANEL_TITLE = messages.text("cli.help.error", chosen)
    rich_utils.DEFAULT_STRING = messages.text("cli.help.default", chosen, value="{}")
    rich_utils.ENVVAR_STRING = messages.text("cli.help.variable", chosen, name="{}")
    rich_utils.REQUIRED_LONG_STRING = messages.text("cli.help.required", chosen)
    rich_utils.RICH_HELP = messages.text("cli.help.try", chosen, command="{command_path} {help_option}")


@contextmanager
def usage_told() -> Iterator[None]:
    """Have what typer finds wrong with a call said in the language of this run; what is not known stays as it is.
    Alike that a question was broken off: as with Ctrl-C at any other time, the exit code is INTERRUPTED.
    """
    try:
        yield
    except WrongCall as error:
        said = usage(error.format_message(), language())
        error.format_message = lambda: said
        raise
    except typer.Abort as broken:
        typer.echo("\n" + messages.text("cli.usage.aborted", language()), err=True)
        raise typer.Exit(INTERRUPTED) from broken


def usage(found: str, chosen: messages.Language) -> str:
    """What is wrong with a call, as typer found it, in this language."""
    for name, pattern in USAGE:
        if match := re.fullmatch(pattern, found, re.DOTALL):
            known = match.groupdict(default="")
            near = known.pop("near", "")
            hint = messages.text("cli.usage.near", chosen, near=near) if near else ""
            return messages.text(f"cli.usage.{name}", chosen, **known) + hint
    return found


def look_up(command: Any, ctx: Any) -> None:
    """Fill in the help texts of a command that was called with --help, found by the words it was called with."""
    from rich.markup import escape

    names: list[str] = []
    at = ctx
    while at.parent is not None:
        names, at = [at.info_name, *names], at.parent
    tell(command, " ".join(["tanmeter", *names]), language(), escape)
    command.get_help_option(ctx).help = messages.text("cli.help.this", language())


class Told(TyperCommand):
    """A command that takes its help from the catalogue, in the language of this run, when help is shown."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """How it is called: the first line of help, and of an error of usage."""
        say_the_rest(language())
        usage = " ".join(self.collect_usage_pieces(ctx))
        formatter.write_usage(ctx.command_path, usage, messages.text("cli.help.usage", language()))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help, all of it in one language."""
        look_up(self, ctx)
        super().format_help(ctx, formatter)


class ToldGroup(TyperGroup):
    """A group of such commands."""

    format_usage = Told.format_usage

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help, all of it in one language."""
        look_up(self, ctx)
        super().format_help(ctx, formatter)


def told(room: typer.Typer) -> typer.Typer:
    """Have all commands of an application take their help from the catalogue."""
    room.info.cls = ToldGroup
    for command in room.registered_commands:
        command.cls = Told
    for group in room.registered_groups:
        if group.typer_instance is not None:
            told(group.typer_instance)
    return room


class Door(ToldGroup):
    """The top-level group: lists every command, imports only the one that is called."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """The call of the door itself: its own options."""
        with usage_told():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """The command that was called, and all below it."""
        with usage_told():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands of ROOMS, in the order in which a reading meets them, then those of this file."""
        return [*ROOMS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For the list in --help: a command's name and first line, without importing what is behind it."""
        if cmd_name in ROOMS:
            return TyperCommand(cmd_name, help=messages.help_text(f"tanmeter {cmd_name}", "about", language()))
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded now."""
        if args[0] not in ROOMS:
            return super().resolve_command(ctx, args)
        module, _, name = ROOMS[args[0]].partition(":")
        room: typer.Typer = getattr(import_module(module), name)
        return args[0], typer.main.get_command(told(room)), args[1:]


def choose(lang: str | None) -> None:
    """Set the language of this run, before anything else is imported."""
    if lang is not None:
        if lang not in ("zh", "en"):
            raise typer.BadParameter(f"found {lang!r}, expected one of zh, en")
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
    lang: Annotated[str | None, typer.Option("--lang", metavar="zh|en", is_eager=True, callback=choose)] = None,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=show_version)] = False,
) -> None:
    """tanmeter: from the bytes on a meter's wire to a tonne of CO2 that anyone can check."""


@app.command(cls=Told)
def decode(
    frames: Annotated[list[str] | None, typer.Argument()] = None,
    protocol: Annotated[str, typer.Option(metavar="auto|cjt188|dlt645|hj212|mbus|modbus-rtu|modbus-tcp")] = "auto",
) -> None:
    """Say what a frame means: hex (or a packet of text) in, one JSON object a line out. Exit 3 unless all are good.

    Without any frame, exit 2.
    """
    from protocols.decode import PROTOCOLS, explain

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(
            f"found {protocol!r}, expected one of {', '.join(PROTOCOLS)}", param_hint="'--protocol'"
        )
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


def told_error(error: TanmeterError) -> int:
    """Say an error of ours with its code, what happened and the one next action; its exit code."""
    chosen = language()
    typer.echo(f"{error.code} {messages.text(error.code, chosen)}: {error}", err=True)
    typer.echo(f"→ {messages.remedy(error.code, chosen)}", err=True)
    return error.exit_code


def main() -> None:
    """Run the command line; errors of ours, and a disk without room for the output, are told, not traced."""
    # pyMeterBus sets the root logger to INFO when it is imported, unless somebody was there before.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except TanmeterError as error:
        sys.exit(told_error(error))
    except OSError as error:
        if error.errno not in FULL:
            raise
        if error.filename is None:  # what is left of the output must not fail once more when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(
            told_error(StoreError(f"{error.filename or 'standard output'}: found {error.strerror}, expected room"))
        )
    except ModuleNotFoundError as error:
        typer.echo(messages.text("cli.missing", language(), module=error.name), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
