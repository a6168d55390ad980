"""A collector after a fault: opened by its own code, and what it then holds compared with what it had receipted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloud.config import open_key, open_store
from cloud.store import Store
from edge.config import EdgeConfig
from proofs.box import POINT
from proofs.gateway_started import OPEN_S, Opened, Place, Reader
from proofs.intake import taken_in
from proofs.messages import Messages
from proofs.recording import Got, Operation, Sent, Started
from protocols.errors import TanmeterError
from protocols.record.answer import decode_answers, decode_batch
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

BATCH = 32
"""Blocks that are sent again together."""


@dataclass(slots=True)
class Receipted:
    """What the world has been told by a collector: ``next``, up to which it holds everything; and what it was sent."""

    next: Place = (0, 0)
    sent: dict[Place, bytes] = field(default_factory=dict)
    frames: dict[Place, bytes] = field(default_factory=dict)


class Desk:
    """Follows the recording of a collector."""

    def __init__(self, key: PublicKey, reader: Reader) -> None:
        self._key, self._reader = key, reader
        self._requests, self._replies = Messages(), Messages()
        self.told = Receipted()
        self.receipts = 0

    def take(self, operation: Operation) -> bool:
        """The next operation; whether it told anybody anything."""
        match operation:
            case Started():
                self._requests, self._replies = Messages(), Messages()
            case Got(way, data):
                for head, body in self._requests.feed(way, data):
                    if head.startswith(b"POST /v1/blocks"):
                        self._asked(body)
            case Sent(way, data):
                told = [self._answered(body) for _, body in self._replies.feed(way, data)]
                return any(told)
            case _:
                pass
        return False

    def _asked(self, body: bytes) -> None:
        for frame in decode_batch(body):
            opened = self._reader.open(frame)
            self.told.sent[opened.place] = opened.hash
            self.told.frames[opened.place] = frame

    def _answered(self, body: bytes) -> bool:
        try:
            envelope = decode_answers(body).receipt
        except (TanmeterError, ValueError):
            return False
        if envelope is None:
            return False
        receipt = open_receipt(envelope, self._key)
        self.told.next = max(self.told.next, (receipt.epoch, receipt.next_seq))
        self.receipts += 1
        return True


@dataclass(slots=True)
class Collector:
    """Opens collectors out of images and looks at them. The first and every ``resend_every``th after it are then sent
    what was sent before: all of it, as their gateway would.
    """

    reader: Reader
    gateway: EdgeConfig
    resend_every: int = 50
    slowest_s: float = 0.0
    resent: int = 0
    """Blocks sent again after a cut."""
    booked: int = 0
    """The most that was booked."""
    _looked: int = 0

    def examine(self, folder: Path, told: Receipted) -> list[str]:
        """What is wrong with the collector in this folder."""
        begun = time.perf_counter()
        try:
            with open_store(folder, open_key(folder)) as store:
                self.slowest_s = max(self.slowest_s, took := time.perf_counter() - begun)
                faults = [] if took <= OPEN_S else [f"opened after {took:.1f} s, expected {OPEN_S} s at most"]
                held = self._held(store)
                faults += self._compare(store, held, told)
                self._looked += 1
                if self._looked % self.resend_every == 1 % self.resend_every:
                    faults += self._resend(store, told)
                return faults
        except Exception as error:  # noqa: BLE001 - whatever it is, the collector does not start by itself
            return [f"does not open: {type(error).__name__}: {error}"]

    def _held(self, store: Store) -> list[Opened]:
        with store.reading() as db:
            rows = db.execute("SELECT frame FROM blocks ORDER BY gateway, epoch, seq").fetchall()
        return [self.reader.open(bytes(frame)) for (frame,) in rows]

    def _compare(self, store: Store, held: Sequence[Opened], told: Receipted) -> list[str]:
        row = store.gateway(self.gateway.gateway)
        if row is None:
            return ["the gateway is not enrolled any more"]
        hashes = {opened.place: opened.hash for opened in held}
        faults = [
            f"block {place} was receipted and is {'another' if place in hashes else 'gone'}"
            for place, hash_ in told.sent.items()
            if place < told.next and hashes.get(place) != hash_
        ]
        if (row.epoch, row.next_seq) < told.next:
            faults.append(f"the chain stands at {(row.epoch, row.next_seq)}, receipted up to {told.next}")
        epoch, seq, head = (*held[-1].place, held[-1].hash) if held else (0, -1, self.gateway.previous)
        if (row.epoch, row.next_seq, row.head) != (epoch, seq + 1, head):
            faults.append(f"the chain stands at {(row.epoch, row.next_seq)}, the newest block is {(epoch, seq)}")
        if row.blocks + row.refused_blocks != len(held):
            faults.append(f"found {row.blocks} blocks counted and {len(held)} held")
        return faults + self.sums(store, held)

    def _resend(self, store: Store, told: Receipted) -> list[str]:
        """Send it all again: what it lacks is taken, what it has is held, and the sums are those of all of it."""
        frames = [frame for _, frame in sorted(told.frames.items())]
        self.resent += len(frames)
        for at in range(0, len(frames), BATCH):
            for _ in taken_in(store, frames[at : at + BATCH], 1 << 41):
                pass
        held = self._held(store)
        lacking = [place for place in told.frames if place not in {opened.place for opened in held}]
        return ([f"{len(lacking)} blocks are not taken when sent again"] if lacking else []) + self.sums(store, held)

    def sums(self, store: Store, held: Sequence[Opened]) -> list[str]:
        """Where what is booked is not, as a whole number, what the registers of the blocks held say."""
        with store.booked() as db:
            rows = db.execute("SELECT device, point, consumption FROM intervals").fetchall()
        booked: dict[tuple[str, str], int] = {}
        for device, point, consumption in rows:
            booked[device, point] = booked.get((device, point), 0) + (int(consumption) if consumption else 0)
        self.booked = max(self.booked, sum(booked.values()))
        faults = []
        for number, device in enumerate(self.gateway.installation.site.device):
            counts = [span for opened in held if (span := opened.registers.get(number)) is not None]
            expected = max(most for _, most in counts) - min(least for least, _ in counts) if counts else 0
            if (found := booked.get((device.id, POINT), 0)) != expected:
                faults.append(f"{device.id}: found {found} booked, expected {expected} of its registers")
        return faults
