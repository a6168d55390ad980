"""What a person reads, in zh-CN and English: one catalogue, message ids in the code."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Language = Literal["zh", "en"]


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every message by id; each has ``zh`` and ``en``, an error also ``zh_fix`` and ``en_fix``: the one next action."""
    tables = tomllib.loads(files("protocols").joinpath("messages.toml").read_text("utf-8"))
    return dict(_flatten(tables))


def text(message_id: str, language: Language, /, **values: object) -> str:
    """The message in this language with its ``{names}`` filled in; KeyError when there is none."""
    return catalogue()[message_id][language].format(**values)


def help_text(words: str, name: str, language: Language) -> str:
    """What a command (its ``about``), an option or an argument is for: said by the command or the nearest group above.

    ``words`` call the command, like ``tanmeter site init``. KeyError when nobody says.
    """
    told = commands()
    while words and name not in told.get(words, {}):
        words = words.rpartition(" ")[0]
    return told[words][name][language]


@cache
def commands() -> dict[str, dict[str, dict[str, str]]]:
    """The help of each command and group, by its words: ``about`` and each option and argument, with ``zh`` and ``en``.

    In a file of its own, read only when help is shown.
    """
    return tomllib.loads(files("protocols").joinpath("messages_help.toml").read_text("utf-8"))


def remedy(code: str, language: Language) -> str:
    """The one next action for an error code."""
    return catalogue()[code][f"{language}_fix"]


def language(preference: str | None) -> Language:
    """zh or en out of a LANG value, an Accept-Language header or an option; zh when nothing says otherwise."""
    for item in (preference or "").lower().replace(";", ",").split(","):
        if item.strip().startswith("zh"):
            return "zh"
        if item.strip().startswith("en"):
            return "en"
    return "zh"


def spoken(environment: Mapping[str, str]) -> Language:
    """The language of a run: TANMETER_LANG (which --lang sets), else LANG, else zh."""
    return language(environment.get("TANMETER_LANG") or environment.get("LANG"))


def _flatten(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    for key, table in tables.items():
        if "zh" in table and isinstance(table["zh"], str):
            yield prefix + key, table
        else:
            yield from _flatten(table, f"{prefix}{key}.")
