"""The audit of a collector's file, beside a running collector or of a copy: gateways, several at once, and the rest."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from cloud import audit, mend_journal
from cloud.accounting import statement as statements
from cloud.audit import Audited
from cloud.cycles import look_seldom
from cloud.database import SCHEMA, schema_of, store_errors, text
from cloud.difference import Difference, Differences
from protocols.errors import AccountError, ConfigError, ForeignError, UnknownNameError
from protocols.record.cose import PublicKey

Span = tuple[int, int]
"""From and to, UTC ms."""
Progress = Callable[[int, int, Audited | None], None]
"""Called with the blocks done, all blocks, and a gateway when it is finished."""
TELL_S = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """``statements``: how many were looked at; ``differences``: of no single gateway."""

    gateways: list[Audited]
    statements: int
    differences: list[Difference]

    @property
    def found(self) -> int:
        """How much is not as it should be."""
        return len(self.differences) + sum(audited.found for audited in self.gateways)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be audited. ``collector``: algorithm and SPKI of its key, where it is known."""

    file: Path
    gateway: str
    span: Span | None
    collector: tuple[int, bytes] | None


def run(order: Order, jobs: int, progress: Progress) -> Report:
    """Audit the gateways whose ids begin with ``order.gateway``, ``jobs`` at a time; without a choice, all the file.

    Errors as of ``open_file``; UnknownNameError when there is no such gateway.
    """
    with open_file(order.file) as db:
        chosen = audit.gateways(db, order.gateway)
        (blocks,) = db.execute("SELECT count(*) FROM blocks").fetchone()
    if not chosen and order.gateway:
        raise UnknownNameError("--gateway", order.gateway, "the beginning of the id of a gateway in this file")
    done = list(_gateways(order, chosen, jobs, blocks, progress))
    whole = not order.gateway and order.span is None
    with open_file(order.file) as db:
        count, beyond = _beyond(db) if whole else (0, Differences())
    return Report(sorted(done, key=lambda audited: audited.gateway), count, beyond.listed)


@contextmanager
def open_file(path: Path) -> Iterator[sqlite3.Connection]:
    """One unchanging view of a collector's file, never written to.

    ConfigError when there is no file, ForeignError when it is not one of this schema, SpoiltError when it is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"--data {path}", "no file", "a collector's store, or the folder of one")
    with store_errors(path), closing(_connect(path)) as db:
        if (schema := schema_of(db, path)) != SCHEMA:
            raise ForeignError(f"{path}: found schema {schema}, expected {SCHEMA}")
        yield db


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.text_factory = text
    db.execute("PRAGMA query_only = 1")
    db.execute("BEGIN")
    return db


def _gateways(order: Order, chosen: Sequence[bytes], jobs: int, blocks: int, progress: Progress) -> Iterator[Audited]:
    """Each gateway, when it is done."""
    context = get_context("spawn")
    counter = context.Value("Q", 0)
    with ProcessPoolExecutor(jobs, context, _begin, (counter,)) as pool:
        waiting = {pool.submit(_one, order, gateway) for gateway in chosen}
        while waiting:
            try:
                for future in as_completed(waiting, TELL_S):
                    waiting.remove(future)
                    progress(counter.value, blocks, future.result())
                    yield future.result()
                    break
            except TimeoutError:
                progress(counter.value, blocks, None)


_counter: "Synchronized[int]"


def _begin(counter: "Synchronized[int]") -> None:
    """The process counts its blocks where the others do."""
    global _counter  # noqa: PLW0603 - what a process of a pool is given once
    _counter = counter
    look_seldom()


def _one(order: Order, gateway: bytes) -> Audited:
    """One gateway, in a process of the pool; SpoiltError when the file itself is damaged."""
    began = time.process_time()
    collector = None if order.collector is None else PublicKey(*order.collector)
    with open_file(order.file) as db:
        audited = audit.Audit(db, gateway, _count).run(collector, order.span)
    audited.cpu_s = time.process_time() - began
    return audited


def _count(blocks: int) -> None:
    with _counter.get_lock():
        _counter.value += blocks


def _beyond(db: sqlite3.Connection) -> tuple[int, Differences]:
    """Statements and what is in the journal by their digests, and what was refused by its hash."""
    found, count = Differences(), 0
    for id, version, *kept, content in db.execute("SELECT id, version, digest, site, period, content FROM statements"):
        count += 1
        name = f"{id}@{version}"
        try:
            statement = statements.from_json(bytes(content))
        except AccountError as error:
            found.told("statement", name, f"{error.code} {error}")
            continue
        made = (statement.id, statement.version, statement.digest, statement.content.site, statement.content.period.id)
        found.same("statement", name, (id, version, *kept), made)
    for row, why in mend_journal.faults(db):
        found.told("journal", mend_journal.name(row), why)
    for number, digest, frame in db.execute("SELECT id, hash, frame FROM quarantine"):
        found.same("quarantine", str(number), digest, hashlib.sha256(frame).digest())
    return count, found
