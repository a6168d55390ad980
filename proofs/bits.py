"""Single bits: whichever is changed, on the way or at rest, no other block is taken for the signed one."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import zstandard

from cloud.ingest import Beginning, Examiner, Head, Trust
from cloud.opening import open_stored
from drivers.installation import Installation
from proofs.gateway import Gateway, collector
from proofs.line import Line, Tier
from protocols.errors import EncodingError, RecordError
from protocols.record import transport
from protocols.record.answer import Answer, decode_batch, encode_batch
from protocols.record.block import Header
from protocols.record.cose import PublicKey
from protocols.record.enrolment import open_enrolment
from protocols.record.receipt import open_receipt
from protocols.record.siteconfig import open_site

PART = "bytes"
FRAMES = {Tier.PULL: 2, Tier.NIGHTLY: 6, Tier.RELEASE: 30}
"""Blocks of which every bit is changed."""
AT_REST = {Tier.PULL: 2_000, Tier.NIGHTLY: 40_000, Tier.RELEASE: 400_000}
CONTROL_EVERY = 4
"""Of the bits of an envelope, so many are as good as all to show that the proof sees what it looks for."""
MOST_FOUND = 5


@dataclass(slots=True)
class Count:
    """Trials, what became of each, and the first that went wrong."""

    tried: int = 0
    violations: int = 0
    fired: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def add(self, outcome: str) -> None:
        """It was found out in this way, or was harmless in this way."""
        self.tried += 1
        self.fired[outcome] = self.fired.get(outcome, 0) + 1

    def wrong(self, what: str) -> None:
        """It was not found out."""
        self.tried += 1
        self.violations += 1
        if len(self.found) < MOST_FOUND:
            self.found.append(what)

    def line(self, name: str, seed: int, figures: str = "") -> Line:
        """As a line of the table."""
        return Line(PART, name, seed, self.tried, self.violations, self.fired, figures=figures, found=tuple(self.found))


def prove(gateway: Gateway, folder: Path, tier: Tier, seed: int) -> Iterator[Line]:
    """Every bit of some blocks, sent and signed; every bit of what else is signed; bits of the store."""
    count = min(FRAMES[tier], len(gateway.frames))
    yield _sent(gateway, count).line("every bit of a block on its way", seed)
    yield _signed(gateway, max(1, count // 2)).line("every bit of the signed bytes, compressed anew", seed)
    control = _credulous(gateway, CONTROL_EVERY).line("the same, where no signature is checked", seed)
    yield replace(control, control=True)
    yield _others(gateway, folder).line("every bit of a receipt, an enrolment, a configuration, a batch", seed)
    yield _at_rest(gateway, folder, AT_REST[tier], Random(seed)).line("bits of blocks in the collector's store", seed)


class _Holdings:
    """Of the gateway nothing is held but its configuration."""

    def __init__(self, gateway: Gateway) -> None:
        self._number, self._digest = gateway.config.in_force.name
        self._installation = gateway.config.installation

    def held(self, epoch: int, seq: int) -> bytes | None:
        return None

    def beginning(self, header: Header) -> Beginning | None:
        return None

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        return (self._digest, self._installation) if number == self._number else None


class _Door:
    """The collector's examination of a frame in the place of the gateway's block ``seq``."""

    def __init__(self, gateway: Gateway, seq: int, key: PublicKey | None = None) -> None:
        self._examiner, self._holdings, self._now = Examiner(), _Holdings(gateway), gateway.end
        head = Head(0, 0, gateway.config.previous, None, None, 0)
        self._trust = Trust(gateway.config.gateway, key or gateway.config.key.public, False, head)
        for frame in gateway.frames[:seq]:
            finding = self._examiner.examine(self._trust, self._holdings, frame, self._now)
            assert finding.head is not None, "the gateway's own blocks are taken"
            self._trust = Trust(self._trust.gateway, self._trust.key, False, finding.head)

    def answer(self, frame: bytes) -> Answer:
        """What it would be answered; nothing is kept."""
        return self._examiner.examine(self._trust, self._holdings, frame, self._now).verdict.answer


class _Credulous(PublicKey):
    """A key that takes any signature for its own: what the proof must find out."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Nothing is checked."""


def _sent(gateway: Gateway, frames: int) -> Count:
    count = Count()
    for seq in range(frames):
        door, frame = _Door(gateway, seq), gateway.frames[seq]
        genuine = transport.unwrap(frame)
        assert door.answer(frame) == Answer.STORED, "the block as it is must be taken"
        for bit, changed in _flips(frame):
            answer = door.answer(changed)
            if answer == Answer.REFUSED:
                count.add("refused")
            elif _content(changed) == genuine:
                count.add("same block, compressed otherwise")
            else:
                count.wrong(f"seq {seq} bit {bit}: {answer.name}")
    return count


def _signed(gateway: Gateway, frames: int) -> Count:
    count, squeeze = Count(), zstandard.ZstdCompressor(level=1)
    for seq in range(frames):
        door, parts = _Door(gateway, seq), transport.unwrap(gateway.frames[seq])
        for bit, changed in _flips(b"".join(parts)):
            answer = door.answer(squeeze.compress(changed))
            if answer == Answer.STORED:
                count.wrong(f"seq {seq} bit {bit}: {answer.name}")
            else:
                count.add(answer.name.lower())
    return count


def _credulous(gateway: Gateway, every: int = 1) -> Count:
    """Every bit of an envelope, or one of so many, where its signature is not checked."""
    key = gateway.config.key.public
    count, door = Count(), _Door(gateway, 0, _Credulous(key.algorithm, key.spki))
    envelope, chunks = transport.unwrap(gateway.frames[0])
    for bit, changed in list(_flips(envelope))[::every]:
        answer = door.answer(zstandard.ZstdCompressor(level=1).compress(changed + chunks))
        if answer == Answer.STORED:
            count.wrong(f"bit {bit}")
        else:
            count.add(answer.name.lower())
    return count


def _others(gateway: Gateway, folder: Path) -> Count:
    count = Count()
    with collector(folder / "others.db", gateway) as store:
        receipt, key = store.receipt(gateway.config.gateway), store.ours
    assert receipt is not None
    technician = open_enrolment(gateway.config.enrolment).technician
    opened: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
        "receipt": (receipt, lambda data: open_receipt(data, key)),
        "enrolment": (gateway.config.enrolment, open_enrolment),
        "configuration": (gateway.config.in_force.envelope, lambda data: open_site(data, technician)),
    }
    for name, (data, open_) in opened.items():
        for bit, changed in _flips(data):
            try:
                open_(changed)
                count.wrong(f"{name} bit {bit}")
            except RecordError:
                count.add(name)
    batch = encode_batch(gateway.frames[:2])
    for bit, changed in _flips(batch):
        try:
            if decode_batch(changed) == list(gateway.frames[:2]):
                count.wrong(f"batch bit {bit}")
            count.add("batch")
        except EncodingError:
            count.add("batch")
    return count


def _at_rest(gateway: Gateway, folder: Path, tries: int, draw: Random) -> Count:
    """One bit of one stored frame, changed in the file; the block is opened again as the pages and the audit do."""
    count, path = Count(), folder / "rest.db"
    with collector(path, gateway) as store:
        store.append(gateway.frames, gateway.end)
        held = store.gateway(gateway.config.gateway)
        assert held is not None
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = OFF")
            for _ in range(tries):
                seq = draw.randrange(len(gateway.frames))
                frame = gateway.frames[seq]
                bit = draw.randrange(8 * len(frame))
                db.execute("UPDATE blocks SET frame = ? WHERE seq = ?", (_flipped(frame, bit), seq))
                found = open_stored(store, held, 0, seq)
                if found is None or not found.ok:
                    count.add("named")
                elif _content(_flipped(frame, bit)) == transport.unwrap(frame):
                    count.add("same block, compressed otherwise")
                else:
                    count.wrong(f"seq {seq} bit {bit}")
                db.execute("UPDATE blocks SET frame = ? WHERE seq = ?", (frame, seq))
        finally:
            db.close()
    return count


def _content(frame: bytes) -> tuple[bytes, bytes] | None:
    try:
        return transport.unwrap(frame)
    except EncodingError:
        return None


def _flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for bit in range(8 * len(data)):
        yield bit, _flipped(data, bit)


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
