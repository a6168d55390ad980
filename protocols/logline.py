"""A log line as machines read it: a JSON object; for the journal with its priority in front and no time of its own."""

import json
from collections.abc import Mapping
from datetime import datetime

LEVELS = ("debug", "info", "warning", "error")
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""syslog(3)'s numbers, as sd-daemon(3) wants them before a line."""


def journals(journal_stream: str | None, device: int, inode: int) -> bool:
    """Whether a stream, known by its file's device and inode, is the one that $JOURNAL_STREAM says is journald's."""
    return journal_stream == f"{device}:{inode}"


def line(level: str, code: str, said: str, known: Mapping[str, object], at: datetime | None) -> str:
    """The keys ts, level, code, msg and what is known; without ``at`` it is the journal's, which has the time."""
    told: dict[str, object] = {} if at is None else {"ts": at.isoformat(timespec="milliseconds")}
    told |= {"level": level, "code": code, "msg": said, **known}
    text = json.dumps(told, ensure_ascii=False, default=str)
    return text if at is not None else priority(level) + text


def priority(level: str) -> str:
    """What the journal wants in front of a line."""
    return f"<{PRIORITIES[level]}>"
