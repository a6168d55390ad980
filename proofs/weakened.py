"""``python -m proofs.weakened NORMAL|OFF STATE``: the agent with a bug planted in it, for the controls of the proof."""

import sqlite3
import sys
from functools import partial
from typing import Any

from edge import __main__ as agent

RIGHT = "PRAGMA synchronous = FULL"


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


if __name__ == "__main__":
    plant(sys.argv[1])
    sys.exit(agent.main(sys.argv[2], "debug"))
