"""A technician's word for the clock of a box that nothing else vouches for: it holds until the next boot."""

import json
from pathlib import Path
from typing import Any

from edge.belief import drift
from edge.clock import APART_MS, INFORMATIVE, TECHNICIAN, Clock, together
from protocols.errors import ConfigError
from protocols.record.block import ClockState

FILE = "clock.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
READ_MS = 30_000
"""How well a clock is compared with a watch."""


class Vouched:
    """What was said in this boot, as a source of the clock; None when nothing was, or the clock has moved since."""

    def __init__(self, state: Path, boot_id: Path = BOOT_ID) -> None:
        self._path, self._boot = state / FILE, boot_id
        self._read: tuple[int, dict[str, Any] | None] = (-1, None)

    def knows(self, mono: int, utc: int) -> ClockState | None:
        """UTC as the technician has found it right, with what it may have drifted since."""
        said = self._said()
        if said is None or abs((utc - mono) - (said["utc_ms"] - said["mono_ms"])) > APART_MS:
            return None
        return ClockState(TECHNICIAN, INFORMATIVE, READ_MS + drift(mono - said["mono_ms"]), said["utc_ms"] // 1000)

    def _said(self) -> dict[str, Any] | None:
        """The file, read again when it has changed."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read[0]:
                held = json.loads(self._path.read_bytes())
                whole = all(type(held[name]) is int for name in ("mono_ms", "utc_ms"))
                self._read = (changed, held if whole and held["boot_id"] == self._boot.read_text().strip() else None)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self._read[1]


def vouch(state: Path, clock: Clock, boot_id: Path = BOOT_ID) -> int:
    """Put down that UTC is right now; the UTC (ms) that was vouched for. ConfigError when it cannot be written."""
    mono, utc = together(clock)
    path, new = state / FILE, state / f"{FILE}.new"
    try:
        new.write_text(json.dumps({"boot_id": boot_id.read_text().strip(), "mono_ms": mono, "utc_ms": utc}))
        new.replace(path)
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a state folder that can be written") from error
    return utc
