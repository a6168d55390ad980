"""``python -m proofs.intake DATA BATCHES``: the collector's own store takes batch after batch; it says each receipt.

After every second batch it books what waits, as when nothing else is to do. What a batch had no time for comes once
more, as its gateway would send it.

``BATCHES`` is a file with a line of hex a batch, its frames apart by spaces.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloud.config import open_key, open_store
from cloud.store import Answered, Store
from proofs.cycle import soon_folded
from protocols.errors import TanmeterError
from protocols.record.answer import Answer


def main(data: str, batches: str) -> int:
    """The exit code: 0 at the end, 1 when the store failed."""
    sqlite3.connect = soon_folded  # type: ignore[assignment]
    folder = Path(data)
    try:
        with open_store(folder, open_key(folder)) as store:
            for number, line in enumerate(Path(batches).read_text().splitlines()):
                frames = [bytes.fromhex(frame) for frame in line.split()]
                for answered in taken_in(store, frames, time.time_ns() // 1_000_000):
                    if answered.receipt is not None:
                        say({"code": "receipt", "envelope": answered.receipt.hex()})
                if number % 2:
                    store.book()
    except TanmeterError as error:
        say({"code": "failed", "why": str(error)})
        return 1
    return 0


def taken_in(store: Store, frames: Sequence[bytes], now_ms: int) -> Iterator[Answered]:
    """What the store answers, over and over until nothing is left or what comes next is not taken: a batch that takes
    long ends before its last block, and the rest is another one.
    """
    while frames:
        answered = store.append(frames, now_ms)
        yield answered
        answers = [verdict.answer for verdict in answered.verdicts]
        taken = answers.index(Answer.GAP) if Answer.GAP in answers else len(answers)
        if not taken:
            return
        frames = frames[taken:]


def say(told: dict[str, object]) -> None:
    """One line on standard error."""
    sys.stderr.write(json.dumps(told) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
