"""The questions of ``site init`` on a terminal: what options would have said."""

import re
from collections.abc import Callable, Sequence

import typer

from drivers import site as sites
from drivers.builtin import builtin_ids
from protocols.messages import Language, text
from provisioning.site_file import Wishes

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LISTEN = "listen="
PLACE = re.compile(rf"/.+|({LISTEN})?[^/:=\s]+:[0-9]{{1,5}}")
MODE = re.compile(r"[1-9][0-9]{2,6}-[78][NEO][12]")
ROLES = ("purchased", "sub", "flue-gas")


def ask(wishes: Wishes, language: Language) -> Wishes:
    """The wishes with what is missing asked for."""
    site = wishes.id or _prompt("site.ask.site", language, _fits(ID))
    name = wishes.name or _prompt("site.ask.name", language, default=site)
    ports = list(wishes.ports) or _many(language, "site.ask.more.port", lambda number: _port(language, number))
    names = [match[1] for port in ports if (match := re.search(r"(?:^|,)\s*name=([^,]*)", port))]
    devices = list(wishes.devices) or _many(
        language, "site.ask.more.device", lambda number: _device(language, number, names)
    )
    return Wishes(site, name, wishes.timezone, wishes.region, wishes.language, wishes.block, ports, devices)


def _port(language: Language, number: int) -> str:
    place = _prompt("site.ask.port", language, _fits(PLACE))
    if place.startswith(LISTEN):
        return f"name=logger-{number},{place}"
    if not place.startswith("/"):
        return f"name=tcp-{number},tcp={place}"
    mode = _prompt("site.ask.mode", language, _fits(MODE), default="9600-8E1")
    return f"name=rs485-{number},device={place},mode={mode}"


def _device(language: Language, number: int, ports: list[str]) -> str:
    answers = {
        "id": _prompt("site.ask.device", language, _fits(ID), default=f"M-{number:02d}"),
        "profile": _prompt("site.ask.profile", language, _fits(ID), known=", ".join(builtin_ids())),
        "port": ports[0]
        if len(ports) == 1
        else _prompt("site.ask.on", language, _among(ports), known=", ".join(ports)),
        "address": _prompt("site.ask.address", language),
        "role": _prompt("site.ask.role", language, _among(ROLES), default="purchased"),
        "ct": _prompt("site.ask.ct", language, _is_ratio, default="1"),
        "pt": _prompt("site.ask.pt", language, _is_ratio, default="1"),
    }
    return ",".join(f"{key}={answer}" for key, answer in answers.items())


def _many(language: Language, more: str, one: Callable[[int], str]) -> list[str]:
    """One answer, and others as long as there are more."""
    found = [one(1)]
    while typer.confirm(text(more, language), default=False, err=True):
        found.append(one(len(found) + 1))
    return found


def _prompt(
    message_id: str,
    language: Language,
    good: Callable[[str], bool] = bool,
    default: str | None = None,
    **values: object,
) -> str:
    """The answer, asked for again until it is a ``good`` one: better here than after the last question."""
    while True:
        answer: str = typer.prompt(text(message_id, language, **values), default=default, err=True).strip()
        if good(answer):
            return answer
        typer.echo(text("site.ask.again", language, found=answer), err=True)


def _fits(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda answer: pattern.fullmatch(answer) is not None


def _among(known: Sequence[str]) -> Callable[[str], bool]:
    return lambda answer: answer in known


def _is_ratio(answer: str) -> bool:
    try:
        sites.ratio(answer)
    except ValueError:
        return False
    return True
