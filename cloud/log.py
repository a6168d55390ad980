"""What the collector's log looks like: JSON lines, for the journal with their priority; sentences at a terminal."""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

from protocols.logline import journals, line

BURST, WINDOW_S = 20, 600.0
"""So often in this time the same message is told; what a stranger can cause must not fill the disk."""
MOST_KNOWN = 512


class Lines(logging.Formatter):
    """One JSON object a record; a traceback is in it, as one string."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line, of what the record says."""
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        known: dict[str, object] = {"trace": self.formatException(record.exc_info)} if record.exc_info else {}
        if repeated := getattr(record, "repeated", 0):
            known["repeated"] = repeated
        at = None if self._journal else datetime.fromtimestamp(record.created, UTC)
        return line(level, record.name, record.getMessage(), known, at)


class Calm(logging.Filter):
    """Lets a message through BURST times a window, then counts; the first of the next window has how many."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said."""
        now, key = record.created, (record.name, str(record.msg))
        began, count = self._known.pop(key, (now, 0))
        if not 0 <= now - began < WINDOW_S:
            record.__dict__["repeated"] = max(0, count - BURST)
            began, count = now, 0
        self._known[key] = (began, count + 1)
        if len(self._known) > MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        return count < BURST


def begin(stream: TextIO = sys.stderr) -> None:
    """Have all that is logged from now on told so on this stream."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(Calm())
    if not stream.isatty():
        held = os.fstat(stream.fileno())
        handler.setFormatter(Lines(journals(os.environ.get("JOURNAL_STREAM"), held.st_dev, held.st_ino)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cloud").setLevel(logging.INFO)
