"""The questions of ``site init`` on a terminal: what options would have said."""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import typer

from drivers import site as sites
from drivers.builtin import NEAR, builtin_ids
from drivers.installation import install
from protocols.errors import ConfigError
from protocols.messages import Language, text
from provisioning.site_file import PORT_KEYS, Wishes, compose, pairs
from provisioning.site_init import gather

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LISTEN = "listen="
PLACE = re.compile(rf"/[^,]+|({LISTEN})?[^/:=,\s]+:(?P<number>[0-9]{{1,5}})")
MODE = re.compile(r"[1-9][0-9]{2,6}-[78][NEO][12]")
WIRES = ("device", "tcp", "listen")
ROLES = ("purchased", "sub", "flue-gas")
YES, NO = ("y", "Y", "yes", "是"), ("n", "N", "no", "否")


def ask(wishes: Wishes, language: Language, profile_dir: Path | None = None) -> Wishes:
    """The wishes with what is missing asked for. ``profile_dir``: where models of one's own lie."""
    own = () if profile_dir is None else [path.stem for path in profile_dir.glob("*.toml")]
    models = sorted({*builtin_ids(), *own})
    site = wishes.id or _prompt("site.ask.site", language, _fits(ID))
    name = wishes.name or _prompt("site.ask.name", language, default=site)
    ports = list(wishes.ports) or _many(language, "site.ask.more.port", lambda found: _port(language, found))
    names = [match[1] for port in ports if (match := re.search(r"(?:^|,)\s*name=([^,]*)", port))]
    known = replace(wishes, id=site, name=name, ports=ports)
    if wishes.devices:
        return known

    def device(found: Sequence[str]) -> str:
        while True:
            one = _device(language, len(found) + 1, names, models)
            if not (why := _against(replace(known, devices=[*found, one]), profile_dir)):
                return one
            typer.echo(text("site.ask.wrong", language, why=why), err=True)

    return replace(known, devices=_many(language, "site.ask.more.device", device))


def _against(wishes: Wishes, profile_dir: Path | None) -> str:
    """What is wrong with the newest meter of a site, as far as its own answers go; ConfigError of anything else."""
    newest = f"device[{len(wishes.devices) - 1}]"
    try:
        source = compose(wishes, 0)
        install(source, gather(source, profile_dir))
    except ConfigError as error:
        if newest not in error.path and not error.path.startswith("--device"):
            raise
        return str(error)
    return ""


def _port(language: Language, before: Sequence[str]) -> str:
    number = len(before) + 1
    place = _prompt("site.ask.port", language, _is_place({_wire(port) for port in before}))
    if place.startswith(LISTEN):
        return f"name=logger-{number},{place}"
    if not place.startswith("/"):
        return f"name=tcp-{number},tcp={place}"
    mode = _prompt("site.ask.mode", language, _fits(MODE), default="9600-8E1")
    return f"name=rs485-{number},device={place},mode={mode}"


def _device(language: Language, number: int, ports: list[str], models: Sequence[str]) -> str:
    answers = {
        "id": _prompt("site.ask.device", language, _fits(ID), default=f"M-{number:02d}"),
        "profile": _model(language, models),
        "port": ports[0]
        if len(ports) == 1
        else _prompt("site.ask.on", language, _among(ports), known=", ".join(ports)),
        "address": _prompt("site.ask.address", language),
        "role": _prompt("site.ask.role", language, _among(ROLES), default="purchased"),
        "ct": _prompt("site.ask.ct", language, _is_ratio, default="1"),
        "pt": _prompt("site.ask.pt", language, _is_ratio, default="1"),
    }
    return ",".join(f"{key}={answer}" for key, answer in answers.items())


def _model(language: Language, models: Sequence[str]) -> str:
    """One of these models; after an answer that is none those that are written alike are shown, or all of them."""
    while (answer := _prompt("site.ask.profile", language)) not in models:
        near = ", ".join(get_close_matches(answer, models, NEAR) or models)
        typer.echo(text("site.ask.model", language, found=answer, known=near), err=True)
    return answer


def _many(language: Language, more: str, one: Callable[[Sequence[str]], str]) -> list[str]:
    """One answer, and others as long as there are more; each is asked for with those before it."""
    found = [one(())]
    while _prompt(more, language, _among((*YES, *NO)), default=NO[0]) in YES:
        found.append(one(found))
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


def _wire(port: str) -> str:
    """What a port that was asked for is connected to."""
    return next(value for key, value in pairs(port, "--port", PORT_KEYS).items() if key in WIRES)


def _is_place(taken: Container[str]) -> Callable[[str], bool]:
    """Somewhere a port can be, and none of the ports before it: a wire has one owner."""

    def good(answer: str) -> bool:
        match = PLACE.fullmatch(answer)
        if match is None or answer.removeprefix(LISTEN) in taken:
            return False
        return match["number"] is None or 1 <= int(match["number"]) <= sites.HIGHEST_PORT

    return good


def _among(known: Sequence[str]) -> Callable[[str], bool]:
    return lambda answer: answer in known


def _is_ratio(answer: str) -> bool:
    try:
        sites.ratio(answer)
    except ValueError:
        return False
    return True
