"""What the agent says while it runs: one JSON line an event, or a sentence for a person at a terminal."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TextIO

from protocols import messages

LEVELS = ("debug", "info", "warning", "error")


class Log(Protocol):
    """Takes an event: its level, its message id without ``edge.log.``, and what is known of it."""

    def __call__(self, level: str, event: str, **known: object) -> None:
        """Say it."""


def silent(level: str, event: str, **known: object) -> None:
    """Say nothing."""


def to_stream(
    stream: TextIO, language: messages.Language, least: str = "info", now: Callable[[], datetime] | None = None
) -> Log:
    """A log to this stream: sentences when it is a terminal, else JSON lines with the keys ts, level, code, msg."""
    human, lowest = stream.isatty(), LEVELS.index(least)

    def say(level: str, event: str, **known: object) -> None:
        if LEVELS.index(level) < lowest:
            return
        at = now() if now is not None else datetime.now(UTC)
        text = messages.text(f"edge.log.{event}", language, **known)
        if human:
            line = f"{at.astimezone():%H:%M:%S} {text}"
        else:
            told = {"ts": at.isoformat(timespec="milliseconds"), "level": level, "code": event, "msg": text, **known}
            line = json.dumps(told, ensure_ascii=False, default=str)
        stream.write(line + "\n")
        stream.flush()

    return say


def to_stderr(language: messages.Language, least: str = "info") -> Log:
    """The log of a running agent."""
    return to_stream(sys.stderr, language, least)
