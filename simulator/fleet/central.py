"""The collector of a fleet: the real store, ways and copier behind a call, killed, restored and lost as planned."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from cloud import ways
from cloud.collector import Collector
from cloud.copier import Copier
from cloud.store import Store
from cloud.writer import Writer
from edge.transport import Response
from protocols.errors import RecordError, UnreachableError
from protocols.record import invite
from protocols.record.answer import decode_answers
from protocols.record.cose import PrivateKey, PublicKey
from protocols.record.receipt import Receipt, open_receipt
from simulator.fleet.copied import Reach
from simulator.fleet.faults import Fault, Plan
from simulator.fleet.meters import TrueTime
from simulator.fleet.node import Node
from simulator.fleet.violation import Witness
from simulator.fleet.witness import Place

T = TypeVar("T")
STORE, COPY = "collector.db", "copy"
COPY_EVERY_S = 6 * 3600.0
OPERATOR_S = 1800.0
"""How often its operator looks at what it has to tell."""


class Killed(Exception):
    """The collector's process ended here."""


class Fleeting(Store):
    """The store as it is; the process may be killed, or the disk be full, before it commits."""

    dies = full = False

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with super().writing() as db:
            yield db
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            if self.dies:
                raise Killed

    def close(self) -> None:
        """Its end, killed or not: what waits to be booked waits in the file."""
        self._unbooked.clear()
        super().close()


class Inline(Writer):
    """The writer without its thread: virtual time has only one."""

    def _work(self) -> None:
        return

    async def append(self, frames: Sequence[bytes]) -> Any:
        """The outcome for these frames, committed; what has waited long enough is booked behind it."""
        answered = self._append([frames])[0]
        self._rest()
        return answered

    async def run(self, job: Callable[[], T]) -> T:
        """The result of a job."""
        return job()


class Copying(Copier):
    """The copier without its thread."""

    def _work(self) -> None:
        return

    def copy(self) -> None:
        """Copy what there is."""
        while self._copy():
            pass


class Central:
    """``serve`` answers what arrives. Faults befall it between messages, and before and after its commits."""

    def __init__(
        self,
        folder: Path,
        key: PrivateKey,
        plan: Plan,
        *,
        random: Random,
        time: TrueTime,
        witness: Witness,
        copy_every_s: float = COPY_EVERY_S,
    ) -> None:
        self.folder, self.key, self._plan, self._random, self._time = folder, key, plan, random, time
        self._witness, self.copy_every_s = witness, copy_every_s
        self.public = PublicKey(key.algorithm, key.spki)
        self.folder.mkdir(parents=True)
        self.full_until = -1.0
        self.answered = self._known = 0
        self.signed: dict[tuple[bytes, int, int], int] = {}
        """Up to which seq an answer ever had a receipt, by gateway, epoch and level."""
        self.store: Fleeting
        self._reach = Reach(folder / COPY)
        self.open()

    # ---- its life

    def open(self) -> None:
        """A start of the collector."""
        self.store = Fleeting(self.folder / STORE, self.key, processor=lambda: 0.0, clock=self._time.seconds)
        self.store.serve_alone()
        writer = Inline(lambda batches: self.store.append_batches(batches, self._now()), self.store.rest)
        self._collector = Collector(self.store, self.key, writer, self._now)
        self._copier = Copying(self.store, self.folder / COPY, self._now, same_disk=True)

    def close(self) -> None:
        """Its end, killed or not: what was committed is in the file."""
        self._copier.close()
        self.store.close()

    def restart(self) -> None:
        """Killed, and started again."""
        self.close()
        self.open()

    async def copying(self) -> None:
        """Keep the second copy up."""
        while True:
            await asyncio.sleep(self.copy_every_s)
            if not self.store.full:
                self._copier.copy()

    async def operating(self) -> None:
        """Where blocks are missing that nobody has any more, let the chains go on behind them."""
        while True:
            await asyncio.sleep(OPERATOR_S)
            with self.store.reading() as db:
                asked = db.execute("SELECT 1 FROM incidents WHERE kind = 'missing' LIMIT 1").fetchone()
            if asked is not None and not self.store.full:
                self.store.open_window(self._now() + round(2000 * OPERATOR_S))

    def image(self) -> dict[str, bytes]:
        """The store's file as it is now."""
        return {path.name: path.read_bytes() for path in self._files() if not path.name.endswith("-shm")}

    def restore(self, image: dict[str, bytes]) -> None:
        """Go on from an older copy of the file."""
        self.close()
        self._known = 0
        self._drop()
        for name, content in image.items():
            (self.folder / name).write_bytes(content)
        self.open()

    def lose(self, nodes: Sequence[Node]) -> None:
        """Everything is gone but the key; the gateways enrol again."""
        self.close()
        self._drop()
        shutil.rmtree(self.folder / COPY, ignore_errors=True)
        self._reach, self._known = Reach(self.folder / COPY), 0
        self.open()
        for node in nodes:
            self.enrol(node)

    def enrol(self, node: Node) -> None:
        """Take a gateway in, as its technician would with a code: its chain begins with the oldest block it holds."""
        now = self._now()
        code = invite.make(self._random.randbytes(9), self.key.spki)
        self.store.create_invite(code, None, now + 60_000, now)
        brought = (node.enrolment(), node.envelopes[0], [node.profile])
        self.store.enrol(code.format(), *brought, now, oldest=node.oldest())

    def begins(self, gateway: bytes) -> Place:
        """With which block the chain of a gateway begins here."""
        with self.store.reading() as db:
            row = db.execute("SELECT epoch, seq FROM starts WHERE gateway = ?", (gateway,)).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    def resumed(self, gateway: bytes) -> frozenset[Place]:
        """With which blocks the chain of a gateway went on behind some that nobody had any more."""
        with self.store.reading() as db:
            return frozenset(db.execute("SELECT epoch, seq FROM resumed WHERE gateway = ?", (gateway,)))

    # ---- what arrives

    async def serve(self, path: str, body: bytes) -> Response:
        """The answer to a body; UnreachableError when the process ends over it."""
        self.store.full = self._time.seconds() < self.full_until
        self.store.dies = self._plan.hits(Fault.COLLECTOR_BEFORE, self._random)
        try:
            sent = await ways.serve(self._collector, path, body, "en", "simulated")
        except Killed:
            self._plan.count(Fault.COLLECTOR_BEFORE)
            self.restart()
            raise UnreachableError("the collector ended") from None
        finally:
            self.store.dies = False
        if self.store.full and sent.status >= 500:
            self._plan.count(Fault.COLLECTOR_FULL)
        if self.store.failed is not None:
            self.restart()
        if self._plan.hits(Fault.COLLECTOR_AFTER, self._random):
            self._plan.count(Fault.COLLECTOR_AFTER)
            self.restart()
            raise UnreachableError("the collector ended")
        self._check(path, sent.status, sent.body)
        return Response(sent.status, sent.body)

    def _check(self, path: str, status: int, body: bytes) -> None:
        """I3: what a receipt says is committed, and what a settled one says lies in the second copy as well."""
        if path not in ("/v1/blocks", "/v1/receipts") or status not in (200, 403, 409):
            return
        try:
            answers = decode_answers(body)
        except (RecordError, ValueError):
            self._witness.tell("I3", "an answer of the collector does not decode")
            return
        self.answered += 1
        for envelope in (answers.receipt, answers.settled):
            if envelope is not None:
                self._check_receipt(open_receipt(envelope, self.public), envelope is answers.settled)

    def _check_receipt(self, receipt: Receipt, settled: bool) -> None:
        said = (receipt.gateway, receipt.epoch, receipt.level)
        self.signed[said] = max(receipt.next_seq, self.signed.get(said, 0))
        begins = {self.begins(receipt.gateway), *self.resumed(receipt.gateway)}
        if receipt.next_seq == 0 or (receipt.epoch, receipt.next_seq) in begins:
            return
        with self.store.reading() as db:
            row = db.execute(
                "SELECT hash, ingest_seq FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?",
                (receipt.gateway, receipt.epoch, receipt.next_seq - 1),
            ).fetchone()
        what = f"a receipt of level {receipt.level} for {receipt.epoch}/{receipt.next_seq}"
        if row is None or bytes(row[0]) != receipt.head:
            self._witness.tell("I3", f"{what}: no such block is committed")
        if (settled or receipt.level > 1) and row is not None and not self.copied(row[1]):
            self._witness.tell("I3", f"{what}: the block is not in the second copy")

    def copied(self, ingest_seq: int) -> bool:
        """Whether a block lies in the second copy, by what its files say."""
        return ingest_seq <= self._known or ingest_seq <= self._look()

    def _look(self) -> int:
        self._known = self._reach.blocks()
        return self._known

    def _files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_file() and path.name.startswith(STORE)]

    def _drop(self) -> None:
        for path in self._files():
            if not path.name.endswith(".lock"):
                path.unlink()

    def _now(self) -> int:
        return self._time.at_ms(self._time.seconds())
