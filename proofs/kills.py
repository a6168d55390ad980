"""Kills: the real processes on a real disk are killed, at random and at every call they make of the system in a commit,
a seal, a delivery and a prune; and each sync and each write fails once. Then they start, and nothing may be missing.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from cloud.config import create_key, open_key, open_store
from edge import config
from edge.config import EdgeConfig
from proofs import box as boxes
from proofs.box import PROFILES, Box
from proofs.collector_started import Collector, Receipted
from proofs.cycle import BATCHES, COLLECTOR_KEY, KEPT, STEP_MS
from proofs.gateway_started import Gateway, Known, Reader, StillClock, held_blocks, started_quietly
from proofs.line import Line, Tier
from proofs.nursery import Nursery
from proofs.random_kills import random_kills
from proofs.sweep import EIO, KILL, NO_ROOM, Fault, Run, Sweep, points
from protocols.record import invite
from protocols.record.cose import PrivateKey, PublicKey
from protocols.record.receipt import SETTLED, open_receipt

PART = "kills"
MOST_FOUND = 5
ROUNDS, ROUNDS_BEFORE = 2, 12
BATCH = 2
LATER_MS = 3_600_000
KILLS = {Tier.PULL: 300, Tier.NIGHTLY: 3_000, Tier.RELEASE: 30_000}
STRIDE = 1
"""Every so manyth point of a sweep; the proof tries all of them."""


def prove_gateway(tier: Tier, seed: int) -> Iterator[Line]:
    """A gateway at every call of the system; on every tier all of them."""
    with _folder() as folder:
        yield from sweep_gateway(folder, seed)


def prove_collector(tier: Tier, seed: int) -> Iterator[Line]:
    """A collector at every call of the system; on every tier all of them."""
    with _folder() as folder:
        yield from sweep_collector(folder, seed)


def prove_random(tier: Tier, seed: int) -> Iterator[Line]:
    """Both, at random."""
    with _folder() as folder:
        yield random_kills(folder, KILLS[tier], seed)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tanmeter-kills-") as place:
        yield Path(place) / "lived"


# ---- the gateway


def sweep_gateway(folder: Path, seed: int, stride: int = STRIDE) -> Iterator[Line]:
    """A fault at every call of commits, seals, receipts and prunes of a gateway."""
    base = _gateway_base(folder)
    held, key = config.load(base.state), _collector_key(folder)
    reader = Reader(held.key.public)
    before = _known(held, reader)
    work = folder / "work" / base.state.name
    work.parent.mkdir()
    shutil.copy(folder / COLLECTOR_KEY, work.parent)
    clock = StillClock(time.time_ns() // 1_000_000 + LATER_MS)
    gateway = Gateway(reader, clock, Random(seed))

    def look(run: Run) -> list[str]:
        known = Known(dict(before.answers), dict(before.blocks), before.settled, before.received, before.boot)
        for told in _lines(run.said):
            _hear(known, told, key)
        return gateway.examine(work, 0, known)

    with Nursery("proofs.cycle") as nursery:
        sweep = Sweep(nursery, base.state, work, [str(ROUNDS), str(ROUNDS_BEFORE * 10)])
        yield from _swept("gateway", sweep, look, seed, stride)


def _gateway_base(folder: Path, kept: int = KEPT) -> Box:
    """A gateway that has lived so long that every seal prunes."""
    box = boxes.set_up(folder, boxes.site_file("127.0.0.1:9", meters=2))
    (folder / COLLECTOR_KEY).write_bytes(PrivateKey.generate().pem())
    with Nursery("proofs.cycle") as nursery:
        nursery.start([str(box.state), str(ROUNDS_BEFORE), "0", str(kept)], folder / "base.log")
        if (code := nursery.wait()) != 0:
            raise RuntimeError(f"the cycle ended with {code}: {(folder / 'base.log').read_text()[-500:]}")
    time.sleep(ROUNDS_BEFORE * BATCHES * STEP_MS / 1000)  # its clock ran ahead: its blocks would be of the future
    return box


def _collector_key(folder: Path) -> PublicKey:
    return PrivateKey.from_pem((folder / COLLECTOR_KEY).read_bytes()).public


def _known(held: EdgeConfig, reader: Reader) -> Known:
    """What a gateway at rest holds; all of it is settled."""
    known = Known()
    with started_quietly(held.state, held) as outbox:
        chain = outbox.chain()
        for stored in held_blocks(outbox):
            opened = reader.open(stored.frame)
            known.blocks[opened.place] = opened.hash
            known.answers |= dict.fromkeys(opened.answers, opened.place)
    known.settled = known.received = (chain.link.epoch, chain.link.seq)
    known.boot = chain.boot
    return known


def _hear(known: Known, told: dict[str, object], key: PublicKey) -> None:
    """What a cycle says."""
    match told:
        case {"code": "kept", "answers": list(answers)}:
            for device, reply in answers:
                known.answers.setdefault((int(device), bytes.fromhex(reply)), None)
        case {"code": "boot", "boot": boot}:
            known.boot = int(str(boot))
        case {"code": "receipt", "envelope": envelope}:
            receipt = open_receipt(bytes.fromhex(str(envelope)), key)
            known.blocks[receipt.epoch, receipt.next_seq - 1] = receipt.head
            known.received = receipt.epoch, receipt.next_seq
            if receipt.level == SETTLED:
                known.settled = known.received


# ---- the collector


def sweep_collector(folder: Path, seed: int, stride: int = STRIDE) -> Iterator[Line]:
    """A fault at every call of a collector that takes in batches."""
    box = _gateway_base(folder, 1 << 30)
    held = config.load(box.state)
    reader = Reader(held.key.public)
    frames = _enrolled(box, held)
    told = Receipted((0, BATCH), {}, {reader.open(frame).place: frame for frame in frames})
    told.sent = {place: reader.open(frame).hash for place, frame in told.frames.items()}
    batches = folder / "batches"
    rest = [frames[at : at + BATCH] for at in range(BATCH, len(frames), BATCH)]
    batches.write_text("".join(f"{' '.join(map(bytes.hex, batch))}\n" for batch in rest))
    work, collector = folder / "work", Collector(reader, held, resend_every=1)
    key = open_key(box.data).public

    def look(run: Run) -> list[str]:
        told.next = (0, BATCH)
        for line in _lines(run.said):
            if line["code"] == "receipt":
                receipt = open_receipt(bytes.fromhex(str(line["envelope"])), key)
                told.next = receipt.epoch, receipt.next_seq
        return collector.examine(work, told)

    with Nursery("proofs.intake") as nursery:
        yield from _swept("collector", Sweep(nursery, box.data, work, [str(batches)]), look, seed, stride)


def _enrolled(box: Box, held: EdgeConfig) -> list[bytes]:
    """A collector that holds the first batch of a gateway; the frames of all of its blocks."""
    key, now = create_key(box.data), time.time_ns() // 1_000_000
    with started_quietly(box.state, held) as outbox:
        frames = [stored.frame for stored in held_blocks(outbox)]
    with open_store(box.data, key) as store:
        code = invite.make(bytes(range(invite.ENTROPY_BYTES)), key.spki)
        store.create_invite(code, None, now + LATER_MS, now)
        store.enrol(code.format(), held.enrolment, held.in_force.envelope, list(PROFILES.values()), now)
        store.append(frames[:BATCH], now)
    return frames


# ---- both


def _swept(name: str, sweep: Sweep, look: Callable[[Run], list[str]], seed: int, stride: int) -> Iterator[Line]:
    """The lines of a sweep: killed at every call, syncs that fail, writes that find no room."""
    faults = points(sweep.calls())
    titles = {
        KILL: f"{name}: SIGKILL at every system call",
        EIO: f"{name}: EIO on each sync",
        NO_ROOM: f"{name}: ENOSPC on each write",
    }
    for what, title in titles.items():
        yield _line(title, sweep, [fault for fault in faults if fault.what == what][::stride], look, seed)


def _line(title: str, sweep: Sweep, faults: list[Fault], look: Callable[[Run], list[str]], seed: int) -> Line:
    fired, ends, found, violations = Counter[str](), Counter[int](), list[str](), 0
    for fault in faults:
        run = sweep.run(fault)
        fired[fault.call] += run.fired
        ends[run.code] += 1
        if wrong := look(run):
            violations += 1
            found.append(f"{fault}: {'; '.join(wrong[:3])}")
    ended = ", ".join(f"{code}: {count}" for code, count in sorted(ends.items()))
    figures = f"exit codes {ended}"
    return Line(PART, title, seed, len(faults), violations, dict(fired), False, figures, tuple(found[:MOST_FOUND]))


def _lines(said: str) -> list[dict[str, object]]:
    """The whole lines of JSON."""
    return [json.loads(line) for line in said.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
