"""``python -m proofs.agent STATE [NORMAL|OFF]``: the agent as it is, but that it takes this machine's clock for good.

Many machines that the proof runs on discipline no clock, and what was measured without the time is not booked. With a
second word SQLite is told to sync less than the agent asks for: the bug that the controls of the proof plant.
"""

import sqlite3
import sys
import time
from functools import partial
from typing import Any

from edge import __main__ as agent
from edge.clock import NTP, SYNCHRONISED, SystemClock
from protocols.record.block import ClockState

RIGHT = "PRAGMA synchronous = FULL"
ERROR_MS = 10


class Connection(sqlite3.Connection):
    """One that is told to sync less than the agent asks for."""

    synchronous = "FULL"

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """As asked, but for that."""
        return super().execute(sql.replace(RIGHT, f"PRAGMA synchronous = {self.synchronous}"), *values)


def plant(synchronous: str) -> None:
    """From now on every connection of this process is of that kind."""
    Connection.synchronous = synchronous
    sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]


def disciplined(clock: SystemClock) -> ClockState:
    """What a clock says of itself that is kept by a time server."""
    return ClockState(NTP, SYNCHRONISED, ERROR_MS, int(time.time()))


def main(state: str, synchronous: str | None = None) -> int:
    """The exit code."""
    SystemClock.state = disciplined  # type: ignore
    if synchronous is not None:
        plant(synchronous)
    return agent.main(state, "debug")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
