"""What the demo puts to the proof, one function a trial. Each raises DemoFailed when a promise does not hold."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from drivers.quantity import EXACT
from edge.outbox import Outbox
from protocols.record.answer import Answer
from protocols.record.block import Sealed, open_block, seal
from protocols.record.cose import EDDSA, PrivateKey, PublicKey
from simulator.asking import instant
from simulator.children import Child
from simulator.meters import FLOWS, LOGGER, MASS, RATIOS, REGISTERS
from simulator.stage import LIVE_BLOCK_MS, SITE_ID, DemoFailed, Stage, now_ms
from simulator.truth import Span, Truth, spoken
from simulator.world import DAY_MS, ZONE_MS

CUT_S = 8.0
IN_FLIGHT_S = 0.5
"""What was already past the cut may still arrive."""
SETTLE_S = 30
DEAD_S = 1.0
ROUNDING_MS = 20
"""A reply is dated by the agent within this of when the meter gave it; meters are asked seconds apart."""
VERIFY_FAILED = 4
MINUTE_S = 90
"""A minute's mean is told when the minute is over, and on its way for a while."""
GRAMME = Decimal("0.001")
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Outage:
    """How many blocks the cut held back, and in how many seconds they were there after it."""

    blocks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Crash:
    """What the killed agent had committed: the seq it goes on with, and exchanges of the block it left open."""

    seq: int
    exchanges: int


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter's kWh over the day, from the truth log and from the collector, up to the register of ``at`` (UTC ms)."""

    device: str
    role: str
    expected: Decimal
    booked: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What a meter of water, gas, heat or cold booked over the day in its unit, beside the truth log."""

    device: str
    point: str
    unit: str
    expected: Decimal
    booked: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """The day's account as the collector states it, beside the truth."""

    statement: str
    meters: tuple[Meter, ...]
    expected_kwh: Decimal
    booked_kwh: Decimal
    factor: Decimal
    factor_id: str
    tco2: Decimal


async def back_fill(stage: Stage, blocks: int, seconds: float) -> float:
    """Wait until the collector holds the whole history; the seconds that took."""
    begun = time.monotonic()

    async def held() -> bool:
        return int((await stage.asking.gateway())["blocks"]) >= blocks

    await stage.until(held, f"the collector holds {blocks} blocks of history", seconds)
    return time.monotonic() - begun


async def live(stage: Stage, history: int) -> None:
    """Wait until a block of the living site is there, behind those of the history."""

    async def more() -> bool:
        return int((await stage.asking.gateway())["blocks"]) > history

    await stage.until(more, "a live block arrives", SETTLE_S)


async def cut(stage: Stage) -> Outage:
    """Cut the link for a while: nothing arrives, nothing is lost, and the backlog comes by itself."""
    assert stage.link is not None
    stage.link.cut()
    await asyncio.sleep(IN_FLIGHT_S)
    before = await stage.asking.gateway()
    await asyncio.sleep(CUT_S - IN_FLIGHT_S)
    during = await stage.asking.gateway()
    if during["next_seq"] != before["next_seq"]:
        raise DemoFailed(f"found block {during['next_seq']} arriving over a cut link, expected none")
    stage.link.mend()
    mended, begun = now_ms(), time.monotonic()

    async def caught_up() -> bool:
        end = (await stage.asking.gateway())["last_block_end"]
        return instant(end) > mended - LIVE_BLOCK_MS

    await stage.until(caught_up, "the backlog arrives after the cut", SETTLE_S)
    seconds = time.monotonic() - begun
    late = [
        block
        for block in await stage.asking.blocks(during["id"])
        if block["seq"] >= during["next_seq"] and instant(block["end"]) < mended
    ]
    if not late:
        raise DemoFailed(f"found no block of the {CUT_S:g} s the link was cut, expected at least one")
    return Outage(len(late), seconds)


async def kill(stage: Stage, agent: Child) -> Crash:
    """Kill the agent in the middle of a block and start it again: next seq, all that was committed is on record."""
    await asyncio.sleep((LIVE_BLOCK_MS * 3 // 5 - now_ms() % LIVE_BLOCK_MS) % LIVE_BLOCK_MS / 1000)
    agent.kill()
    gateway = await stage.asking.gateway()
    link_seq, head, open_blocks, committed = _left_behind(stage.state, gateway["id"])
    if not committed:
        raise DemoFailed("found no exchange committed in the open block, expected some to be lost or kept")
    await asyncio.sleep(DEAD_S)
    agent.start()

    async def resumed() -> bool:
        return int((await stage.asking.gateway())["next_seq"]) > link_seq + open_blocks

    await stage.until(resumed, f"the agent goes on with block {link_seq}", SETTLE_S)
    found: Counter[bytes] = Counter()
    blocks = [await stage.asking.block(gateway["id"], gateway["epoch"], link_seq + at) for at in range(open_blocks + 1)]
    if blocks[0]["header"]["previous"] != head:
        raise DemoFailed(f"found block {link_seq} after {blocks[0]['header']['previous']}, expected after {head}")
    for block in blocks[:-1]:
        found.update(bytes.fromhex(each["raw"]) for device in block["devices"] for each in device["exchanges"])
    if missing := committed - found:
        raise DemoFailed(f"found {missing.total()} committed exchanges missing from the record, expected none")
    if blocks[-1]["header"]["boot"] != blocks[0]["header"]["boot"] + 1:
        raise DemoFailed(f"found boot {blocks[-1]['header']['boot']}, expected one more after the crash")
    return Crash(link_seq, committed.total())


async def forge(stage: Stage) -> int:
    """Send a block that a stranger signed, and a true one with a bit flipped; how many of them were refused: all."""
    gateway = await stage.asking.gateway()
    true = await _newest(stage, gateway)
    header, chunks = open_block(true, PublicKey(EDDSA, bytes.fromhex(gateway["spki"])))
    forged = seal(replace(header, seq=header.seq + 1, previous=true.hash), chunks, PrivateKey.generate())
    altered = Sealed(_flipped(true.envelope, len(true.envelope) // 2), true.chunks)
    for block, what in ((forged, "a forged block"), (altered, "an altered block")):
        (verdict,) = await stage.asking.send([block])
        if verdict.answer is not Answer.REFUSED:
            raise DemoFailed(f"{what}: found the answer {verdict.answer.name}, expected REFUSED")
    return 2


async def replay(stage: Stage) -> None:
    """Send a block a second time: it is held already, and nothing is booked again."""
    gateway = await stage.asking.gateway()
    place = (gateway["id"], gateway["epoch"], gateway["next_seq"] - 1)
    before = await stage.asking.block(*place)
    (verdict,) = await stage.asking.send([await stage.asking.sealed(*place)])
    if verdict.answer is not Answer.HELD:
        raise DemoFailed(f"a block sent twice: found the answer {verdict.answer.name}, expected HELD")
    after = [block for block in await stage.asking.blocks(place[0]) if block["seq"] == place[2]]
    if [block["ingest_seq"] for block in after] != [before["ingest_seq"]]:
        raise DemoFailed(f"a block sent twice: found it {len(after)} times, expected once and unchanged")


async def account(stage: Stage) -> Day:
    """The day's kWh of every meter as the collector states them, beside the truth log: equal to the last digit."""
    midnight = _midnight()
    name = f"E-{SITE_ID}-{_date(midnight)}"
    told = await stage.asking.get(f"/v1/emissions/{name}/explain")
    activity, factor = told["inputs"]
    truth = _truth(stage, REGISTERS)
    counted = [_meter(entry, truth, midnight) for entry in activity["meters"]]
    beside = [_meter(entry, truth, midnight) for entry in told["breakdown"]]
    day = Day(
        statement=name,
        meters=tuple(sorted(counted + beside, key=lambda meter: meter.device)),
        expected_kwh=reduce(EXACT.add, (meter.expected for meter in counted), Decimal(0)),
        booked_kwh=Decimal(activity["value"]),
        factor=Decimal(factor["value"]),
        factor_id=factor["factor"],
        tco2=Decimal(told["result"]["value"]),
    )
    _check(day)
    return day


async def flows(stage: Stage) -> tuple[Flow, ...]:
    """The day's water, gas, heat and cold as the collector's intervals book them: equal to the truth to the last digit.

    DemoFailed otherwise, and when a meter was not asked the way it understands.
    """
    midnight = _midnight()
    truth = _truth(stage, {device: register for device, (_, register) in FLOWS.items()})
    found = []
    for device, (point, _) in FLOWS.items():
        asked = {"device": device, "point": point, "from": _iso(midnight)}
        booked = (await stage.asking.get("/v1/intervals", **asked))["data"]
        found.append(_flow(device, point, sorted(booked, key=lambda entry: str(entry["start"])), truth, midnight))
    return tuple(found)


async def evidence(stage: Stage, statement: str) -> int:
    """Pack the evidence of a statement, verify it, and find a flipped byte in it; the bytes of the pack."""
    whole, spoilt = stage.folder / "evidence.zip", stage.folder / "spoilt.zip"
    await stage.command("evidence", "pack", statement, "-o", str(whole), "--data", str(stage.data))
    data = whole.read_bytes()
    spoilt.write_bytes(_flipped(data, int.from_bytes(hashlib.sha256(data).digest()) % len(data)))
    await asyncio.gather(
        stage.command("evidence", "verify", str(whole), "--json"),
        stage.command("evidence", "verify", str(spoilt), "--json", expected=VERIFY_FAILED),
    )
    return len(data)


async def history_held(stage: Stage) -> int:
    """How many blocks of the history the collector holds: they were made under the first configuration."""
    gateway = await stage.asking.gateway()
    return sum(block["configuration"] == 1 for block in await stage.asking.blocks(gateway["id"]))


def _left_behind(state: Path, gateway: str) -> tuple[int, str, int, Counter[bytes]]:
    """What a dead agent's store holds: next seq, head, open blocks, and the replies committed in them."""
    outbox = Outbox(state / "outbox.db", bytes.fromhex(gateway), bytes(32))
    try:
        link, opened = outbox.chain().link, outbox.opened()
        records = [record for block in opened for record in outbox.records(block.id)]
    finally:
        outbox.close()
    replies = Counter(record.exchange.reply for record in records if record.exchange.fault == 0)
    return link.seq, link.previous.hex(), len(opened), replies


async def _newest(stage: Stage, gateway: dict[str, Any]) -> Sealed:
    return await stage.asking.sealed(gateway["id"], gateway["epoch"], gateway["next_seq"] - 1)


async def mass(stage: Stage) -> Flow:
    """The day's CO2 of the stack as the collector's intervals book it out of what the data logger sent unasked, beside
    what the logger's own truth makes of it: equal to a gramme an hour. DemoFailed otherwise.
    """
    midnight, (point, register) = _midnight(), MASS
    asked = {"device": LOGGER, "point": point, "from": _iso(midnight)}

    async def some() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await stage.asking.get("/v1/intervals", **asked))["data"]
        return [entry for entry in found if entry["consumption"] is not None]

    await stage.until(some, f"{LOGGER} has told a minute of today", MINUTE_S)
    booked = await some()
    newest = max(instant(entry["register_end"]["at"]) for entry in booked)
    spans = [span for path in (stage.past_truth, stage.live_truth) for span in spoken(path, LOGGER, register)]
    expected, covered = _covered(spans, midnight, newest)
    consumed = reduce(EXACT.add, (Decimal(entry["consumption"]) for entry in booked), Decimal(0))
    flow = Flow(LOGGER, point, booked[0]["unit"], expected.quantize(GRAMME), consumed.quantize(GRAMME))
    if abs(flow.booked - flow.expected) > GRAMME * (1 + covered // HOUR_MS) or not flow.booked:
        raise DemoFailed(f"{LOGGER}: found {flow.booked} {flow.unit} booked, expected {flow.expected} {flow.unit}")
    return flow


def _covered(spans: Sequence[Span], since: int, newest: int) -> tuple[Decimal, int]:
    """The amount of rates per hour over the time that they cover from ``since`` on, each instant once, and how long
    that is (ms); those that begin after ``newest`` are not counted.
    """
    total, position, covered = Decimal(0), since, 0
    for span in sorted(set(spans), key=lambda span: (span.start, -span.length)):
        end = span.start + span.length
        if end > position and span.start <= newest:
            held = end - max(span.start, position)
            total = EXACT.add(total, EXACT.multiply(span.rate, Decimal(held)))
            position, covered = end, covered + held
    return total / HOUR_MS, covered


def _flow(device: str, point: str, booked: Sequence[dict[str, Any]], truth: Truth, midnight: int) -> Flow:
    """A meter's intervals since midnight, beside what the truth log says up to the reading that the last one names."""
    if not booked or any(entry["consumption"] is None for entry in booked):
        raise DemoFailed(f"{device}.{point}: found intervals without a consumption, expected one in each: {booked}")
    at = instant(booked[-1]["register_end"]["at"])
    first, last = truth.nearest(device, midnight), truth.at(device, at + ROUNDING_MS)
    if first is None or last is None:
        raise DemoFailed(f"{device}: found no register in the truth log, expected one at midnight and one now")
    consumed = reduce(EXACT.add, (Decimal(entry["consumption"]) for entry in booked), Decimal(0))
    flow = Flow(device, point, booked[0]["unit"], EXACT.subtract(last, first), consumed)
    if flow.booked != flow.expected:
        raise DemoFailed(f"{device}: found {flow.booked} {flow.unit} booked, expected {flow.expected} {flow.unit}")
    return flow


def _truth(stage: Stage, registers: dict[str, str]) -> Truth:
    truth = Truth(registers)
    truth.read(stage.past_truth)
    truth.read(stage.live_truth)
    return truth


def _meter(entry: dict[str, Any], truth: Truth, midnight: int) -> Meter:
    """A meter's line: what the truth log says from the poll of midnight up to the reading that the collector names."""
    device, runs = entry["device"], entry["runs"]
    if entry["kwh"] is None or not runs:
        raise DemoFailed(f"{device}: found no kWh booked, expected some")
    at = instant(runs[-1]["closing"]["at"])
    first, last = truth.nearest(device, midnight), truth.at(device, at + ROUNDING_MS)
    if first is None or last is None:
        raise DemoFailed(f"{device}: found no register in the truth log, expected one at midnight and one now")
    expected = EXACT.multiply(EXACT.subtract(last, first), Decimal(RATIOS[device]))
    return Meter(device, entry["role"], expected, Decimal(entry["kwh"]), at)


def _check(day: Day) -> None:
    if {meter.device for meter in day.meters} != set(REGISTERS):
        raise DemoFailed(f"found the meters {[meter.device for meter in day.meters]}, expected {list(REGISTERS)}")
    for meter in day.meters:
        if meter.booked != meter.expected:
            raise DemoFailed(f"{meter.device}: found {meter.booked} kWh booked, expected {meter.expected} kWh")
    if day.booked_kwh != day.expected_kwh:
        raise DemoFailed(f"found {day.booked_kwh} kWh booked, expected {day.expected_kwh} kWh")
    if day.tco2 != EXACT.scaleb(EXACT.multiply(day.booked_kwh, day.factor), -3):
        raise DemoFailed(f"found {day.tco2} tCO2, expected {day.booked_kwh} x {day.factor} / 1000")


def _flipped(data: bytes, place: int) -> bytes:
    """The data with one bit of one byte flipped."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _midnight() -> int:
    """When the day began, UTC ms."""
    return (now_ms() + ZONE_MS) // DAY_MS * DAY_MS - ZONE_MS


def _iso(utc_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc_ms // 1000))


def _date(midnight: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime((midnight + ZONE_MS) // 1000))
