"""The questions of ``site init`` on a terminal: what options would have said."""

import re
from collections.abc import Callable

import typer

from drivers.builtin import builtin_ids
from protocols.messages import Language, text
from provisioning.site_file import Wishes


def ask(wishes: Wishes, language: Language) -> Wishes:
    """The wishes with what is missing asked for."""
    site = wishes.id or _prompt("site.ask.site", language)
    name = wishes.name or _prompt("site.ask.name", language, default=site)
    ports = list(wishes.ports) or _many(language, "site.ask.more.port", lambda number: _port(language, number))
    names = [match[1] for port in ports if (match := re.search(r"(?:^|,)\s*name=([^,]*)", port))]
    devices = list(wishes.devices) or _many(
        language, "site.ask.more.device", lambda number: _device(language, number, names)
    )
    return Wishes(site, name, wishes.timezone, wishes.region, wishes.language, wishes.block, ports, devices)


def _port(language: Language, number: int) -> str:
    place = _prompt("site.ask.port", language)
    if re.fullmatch(r"[^/:]+:[0-9]+", place):
        return f"name=tcp-{number},tcp={place}"
    mode = _prompt("site.ask.mode", language, default="9600-8E1")
    return f"name=rs485-{number},device={place},mode={mode}"


def _device(language: Language, number: int, ports: list[str]) -> str:
    answers = {
        "id": _prompt("site.ask.device", language, default=f"M-{number:02d}"),
        "profile": _prompt("site.ask.profile", language, known=", ".join(builtin_ids())),
        "port": ports[0] if len(ports) == 1 else _prompt("site.ask.on", language, known=", ".join(ports)),
        "address": _prompt("site.ask.address", language),
        "role": _prompt("site.ask.role", language, default="purchased"),
        "ct": _prompt("site.ask.ct", language, default="1"),
        "pt": _prompt("site.ask.pt", language, default="1"),
    }
    return ",".join(f"{key}={answer}" for key, answer in answers.items())


def _many(language: Language, more: str, one: Callable[[int], str]) -> list[str]:
    """One answer, and others as long as there are more."""
    found = [one(1)]
    while typer.confirm(text(more, language), default=False, err=True):
        found.append(one(len(found) + 1))
    return found


def _prompt(message_id: str, language: Language, default: str | None = None, **values: object) -> str:
    answer: str = typer.prompt(text(message_id, language, **values), default=default, err=True)
    return answer.strip()
