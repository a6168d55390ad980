"""What the agent says while it runs: one JSON line an event, or a sentence for a person at a terminal."""

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TextIO

from protocols import messages
from protocols.errors import TanmeterError
from protocols.logline import LEVELS, journals, line, priority

SUBJECTS = ("port", "device", "fault", "state")
"""What tells one event from another of the same kind."""
BURST, WINDOW_MS = 5, 600_000
"""So often in this time an event is told; a meter that comes and goes must not fill the disk."""
MOST_KNOWN = 512


class Log(Protocol):
    """Takes an event: its level, its message id without ``edge.log.``, and what is known of it."""

    def __call__(self, level: str, event: str, **known: object) -> None:
        """Say it."""


def silent(level: str, event: str, **known: object) -> None:
    """Say nothing."""


def to_stream(
    stream: TextIO,
    language: messages.Language,
    least: str = "info",
    now: Callable[[], datetime] | None = None,
    *,
    site: str = "",
    journal: bool = False,
) -> Log:
    """A log to this stream: sentences when it is a terminal, else JSON lines with the keys ts, level, code, msg, site,
    meter and port; for the ``journal`` with the priority instead of the time.
    """
    human, lowest = stream.isatty(), LEVELS.index(least)

    def say(level: str, event: str, **known: object) -> None:
        if LEVELS.index(level) < lowest:
            return
        at = now() if now is not None else datetime.now(UTC)
        text = _text(event, language, known)
        if human:
            again = f" (+{known['repeated']})" if "repeated" in known else ""
            told = f"{at.astimezone():%H:%M:%S} {text}{again}"
        else:
            named = {"meter" if name == "device" else name: value for name, value in known.items()}
            told = line(level, event, text, ({"site": site} if site else {}) | named, None if journal else at)
        stream.write(told + "\n")
        stream.flush()

    return say


def _text(event: str, language: messages.Language, known: dict[str, object]) -> str:
    """The sentence, a delivery's state in words too; an event without a sentence is told by its name, for what goes on
    must not end for want of words."""
    try:
        if event == "sync":
            known = {**known, "state": messages.text(f"edge.status.sync.{known['state']}", language)}
        return messages.text(f"edge.log.{event}", language, **known).rstrip()
    except KeyError:
        return f"{event} {known}"


def to_stderr(language: messages.Language, least: str = "info", site: str = "") -> Log:
    """The log of a running agent."""
    return to_stream(sys.stderr, language, least, site=site, journal=_journalled())


def last_words(error: TanmeterError, language: messages.Language) -> None:
    """What ended the process, and the one next action."""
    said = (
        f"{error.code} {messages.text(error.code, language)}: {error}",
        f"→ {messages.remedy(error.code, language)}",
    )
    for told in said:
        sys.stderr.write(f"{priority('error') if _journalled() else ''}{told}\n")


def _journalled() -> bool:
    held = os.fstat(sys.stderr.fileno())
    return journals(os.environ.get("JOURNAL_STREAM"), held.st_dev, held.st_ino)


class Libraries(logging.Handler):
    """What a library logs, told as an event of ours: in the same form, and as calmly."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it; the library is its subject, the last line of a trace its reason."""
        why = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log(level, "library", fault=record.name, why=record.getMessage().splitlines()[0] + why)


class Calm:
    """A log that tells an event BURST times a window, then counts; the first of the next window says how many."""

    def __init__(self, log: Log, mono_ms: Callable[[], int]) -> None:
        self._log, self._mono_ms = log, mono_ms
        self._known: dict[tuple[object, ...], tuple[int, int]] = {}

    def __call__(self, level: str, event: str, **known: object) -> None:
        """Say it, or count it. What was asked for with debug is always said."""
        if level == "debug":
            return self._log(level, event, **known)
        now, key = self._mono_ms(), (event, *(known.get(name) for name in SUBJECTS))
        began, count = self._known.pop(key, (now, 0))
        if now - began >= WINDOW_MS:
            swallowed, began, count = max(0, count - BURST), now, 0
            known |= {"repeated": swallowed} if swallowed else {}
        self._known[key] = (began, count + 1)
        if len(self._known) > MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        if count < BURST:
            self._log(level, event, **known)
        return None
