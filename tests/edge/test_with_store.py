"""What a troubled agent has recorded is taken in by the collector's own store: nothing is refused or booked twice."""

import asyncio
import itertools
import resource
from collections import Counter
from random import Random

import pytest

from cloud.store import Store
from edge import config
from edge.blocks import Blocks
from protocols import modbus
from protocols.errors import StoreError
from protocols.record import invite
from protocols.record.answer import Answer
from protocols.record.block import EventKind
from protocols.record.chunk import BACK_OFF, OVERRUN, PORT_GONE

HOUR = 3_600_000
TWENTY_YEARS = 20 * 365 * 24 * HOUR


def deliver(made, folder, now):
    """Enrol the box with a new collector and send it the whole chain; the answers, the first refusal, the store."""
    store = Store(folder / "collector.db", made.collector)
    code = invite.make(Random(2).randbytes(9), made.collector.spki)
    store.create_invite(code, None, now + HOUR, now)
    profiles = list(made.profiles.values())
    store.enrol(code.format(), (made.state / config.ENROLMENT).read_bytes(), made.envelopes[0], profiles, now)
    outbox = made.outbox()
    frames = [outbox.batch(0, seq, 1, 1)[0].frame for seq in range(outbox.chain().link.seq)]
    outbox.close()
    verdicts = [verdict for frame in frames for verdict in store.append([frame], now)[0]]
    return verdicts, store


def rising(delay=10):
    """Modbus meters, on TCP or a serial line, whose energy rises with every question."""
    count = itertools.count(1 << 20)

    def answer(request):
        serial = len(request) == 8
        asked = modbus.parse_rtu(request) if serial else modbus.parse_tcp(request)
        import struct

        pdu = bytes([asked.function, 4]) + struct.pack(">f", next(count) / 1024)
        framed = modbus.frame_rtu(asked.unit, pdu) if serial else modbus.frame_tcp(asked.transaction, asked.unit, pdu)
        return [(delay, framed)]

    return answer


def replies(made):
    return Counter(
        (chunk.device, reply)
        for _, chunks in made.blocks()
        for chunk in chunks
        for track in chunk.tracks
        for reply in track.replies()
    )


def due(made):
    return sum(chunk.counters.due for _, chunks in made.blocks() for chunk in chunks)


@pytest.mark.parametrize("after_s", [0, 20, 90])
@pytest.mark.parametrize("delay", [40, 260])
def test_killed_while_the_block_before_is_not_sealed_yet(box, kit, tmp_path, monkeypatch, after_s, delay):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "1s") for n in range(1, 5)))
    world = kit.world(made, {"bus": rising(delay)})

    async def killed(self, closing):
        await asyncio.sleep(after_s)
        raise StoreError("killed")

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="killed"):
        patched.setattr(Blocks, "seal", killed)
        world.run(300)
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    before = made.outbox()
    assert len(before.opened()) == 2 + after_s // 60
    before.close()
    world.start += 400_000
    world.run(30)
    blocks = made.blocks()
    first = [(header, chunks) for header, chunks in blocks if header.boot == 1]
    verdicts, store = deliver(made, tmp_path, world.start)
    store.close()
    assert [(verdict.answer, verdict.detail) for verdict in verdicts] == [(Answer.STORED, "")] * len(blocks)
    for (before, _), (after, _) in itertools.pairwise(first):
        assert (before.mono[1], before.utc[1]) == (after.mono[0], after.utc[0])
    asked = sum(chunk.counters.asked for _, chunks in first for chunk in chunks)
    missed = sum(fault.code in (OVERRUN, BACK_OFF, PORT_GONE) for _, cs in first for c in cs for fault in c.faults)
    assert asked + missed == committed and max(replies(made).values()) == 1
    assert first[-1][0].events[-1].kind == EventKind.POWER_LOSS
    spent = first[-1][0].utc[1] - kit.start
    owed = sum(chunk.counters.due for _, chunks in first for chunk in chunks)
    assert abs(owed - 4 * spent / 1000) <= 4
