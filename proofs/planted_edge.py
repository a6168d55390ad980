"""The bugs that are planted into the gateway."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import structs

from edge import agent, blocks, database, opening, outbox, retention, retry, sealer, sync
from proofs.planted import Bug, Change, Original
from protocols.errors import UnreachableError
from protocols.record import transport
from protocols.record.block import GAPS, EventKind
from protocols.record.receipt import RECEIVED, SETTLED, Receipt
from simulator.fleet.faults import Fault
from simulator.fleet.node import Cadence

SLOT_MS = 300_000


def _unwritten(original: Original) -> Original:
    def add(self: outbox.Outbox, records: Any, opened: Any = ()) -> None:
        original(self, [] if len(records) == 1 and records[0].slot // SLOT_MS % 7 == 0 else records, opened)

    return add


def _one_less(original: Original) -> Original:
    def records(self: outbox.Outbox, block: int) -> Any:
        return original(self, block)[1:]

    return records


def _pruned(original: Original) -> Original:
    """All but the newest block goes, whatever covers it."""

    def prune(db: Any, chain: Any, size: int, most: int) -> tuple[int, int]:
        row = db.one("SELECT epoch, seq, length(frame) FROM block ORDER BY epoch, seq LIMIT 1")
        if row is None or chain["blocks"] < 2:
            return 0, 0
        db.run("DELETE FROM block WHERE epoch = ? AND seq = ?", row[:2])
        return 1, row[2]

    return prune


def without(kinds: frozenset[EventKind]) -> Change:
    """Events of these kinds are left out of the record."""

    def change(original: Original) -> Original:
        def header(block: sealer.OpenBlock, end: sealer.End, link: sealer.Link) -> Any:
            found = original(block, end, link)
            return structs.replace(found, events=tuple(event for event in found.events if event.kind not in kinds))

        return header

    return change


def _next_device(original: Original) -> Original:
    """An answer is credited to the next meter."""

    def put(self: agent.Agent, slot: int, exchange: Any, held: Any) -> None:
        other = replace(exchange, device=1 - exchange.device) if slot // SLOT_MS % 17 == 0 else exchange
        original(self, slot, other, held)

    return put


def _registers_of_another(original: Original) -> Original:
    """The registers of an answer are those that the meter asked before it had in its answer."""
    last = [b""]

    def put(self: agent.Agent, slot: int, exchange: Any, held: Any) -> None:
        before, last[0] = last[0], exchange.reply[-4:]
        mixed = exchange.device == 1 and slot // SLOT_MS % 17 == 5 and len(before) == 4
        original(self, slot, replace(exchange, reply=exchange.reply[:-4] + before) if mixed else exchange, held)

    return put


def _exchange_later(original: Original) -> Original:
    def put(self: agent.Agent, slot: int, exchange: Any, held: Any) -> None:
        original(self, slot, replace(exchange, at_ms=exchange.at_ms + 800), held)

    return put


def _late(shift: int) -> Change:
    """Blocks begin so many ms off."""

    def change(original: Original) -> Original:
        def header(block: sealer.OpenBlock, end: sealer.End, link: sealer.Link) -> Any:
            found = original(block, end, link)
            return structs.replace(found, utc=(found.utc[0] + shift, found.utc[1] + shift))

        return header

    return change


def _kept_open(original: Original) -> Original:
    """What was sealed stays in the open block's table."""

    def run(self: database.Database, statement: str, values: Any = ()) -> None:
        if not statement.startswith("DELETE FROM open_exchange"):
            original(self, statement, values)

    return run


def nothing(original: Original) -> Original:
    """It is not done."""
    return lambda *given, **named: None


def _later(original: Original) -> Original:
    """It is not done, and waited for."""

    async def later(*given: Any) -> None:
        return None

    return later


def _as_settled(original: Original) -> Original:
    """What the collector has received passes for settled."""

    def settle(self: outbox.Outbox, receipt: Receipt, envelope: bytes) -> Any:
        return original(self, replace(receipt, level=SETTLED), envelope)

    return settle


def _silence_delivers(original: Original) -> Original:
    """What was sent and never answered passes for received."""

    async def exchange(self: sync.Sync, blocks: Any) -> Any:
        try:
            return await original(self, blocks)
        except UnreachableError:
            epoch, seq = blocks[-1].epoch, blocks[-1].seq
            head = transport.unpack(blocks[-1].frame).hash
            known = Receipt(self._config.gateway, epoch, seq + 1, head, RECEIVED, 0)
            await self._recorder.call(lambda: self._outbox.settle(known, b""))
            raise

    return exchange


def _always(result: Any) -> Change:
    return lambda original: lambda *given, **named: result


def _five_ms(original: Original) -> Original:
    """The error of a block is what it was at a synchronisation."""

    def ended(self: blocks.Blocks, mono: int, utc: int) -> sealer.End:
        found: sealer.End = original(self, mono, utc)
        return replace(found, clock=replace(found.clock, error_ms=5))

    return ended


def _as_it_was(original: Original) -> Original:
    return lambda clock, lasted: clock


def _first_fault_missing(original: Original) -> Original:
    faults: Callable[..., Any] = lambda start, records: original(start, records)[1:]  # noqa: E731
    return faults


BUGS: tuple[Bug, ...] = (
    Bug("an exchange is acknowledged that was never written", "I1", outbox.Outbox, "add", _unwritten, (Fault.CRASH,)),
    Bug("an exchange is left out when its block is sealed", "I1", outbox.Outbox, "records", _one_less),
    Bug("blocks are pruned before a second copy covers them", "I1", retention, "prune", _pruned, (Fault.CRASH,)),
    Bug("power loss is left out", "I6", sealer, "_header", without(frozenset({EventKind.POWER_LOSS})), (Fault.POWER,)),
    Bug("gaps are left out", "I6", sealer, "_header", without(frozenset(GAPS)), (Fault.CRASH, Fault.POWER)),
    Bug("the boot is left out", "I6", sealer, "_header", without(frozenset({EventKind.BOOT})), (Fault.CRASH,)),
    Bug("a fault is left out", "I6", sealer, "_faults", _first_fault_missing, (Fault.SILENT,), days=0.5),
    Bug(
        "a store that has gone back goes on in its epoch",
        "I7",
        opening,
        "_hold_against",
        nothing,
        (Fault.LYING_DISK,),
        often=80.0,
        days=1.0,
    ),
    Bug(
        "a chain behind its watermark passes for whole",
        "I7",
        opening,
        "_goes_on",
        _always(True),
        (Fault.LYING_DISK,),
        often=80.0,
        days=1.0,
    ),
    Bug("blocks are dated 2 s early", "I8", sealer, "_header", _late(-2000)),
    Bug("blocks are dated 700 ms late", "I8", sealer, "_header", _late(700)),
    Bug("answers are dated 800 ms late", "I8", agent.Agent, "put", _exchange_later),
    Bug("the error of a block does not grow", "I8", blocks.Blocks, "_ended_at", _five_ms, (Fault.DRIFT,), often=80.0),
    Bug(
        "the error of a block that a crash ended does not grow",
        "I8",
        sealer,
        "_worn",
        _as_it_was,
        (Fault.DRIFT, Fault.CRASH),
        often=60.0,
        cadence=Cadence("5m", "60m"),
    ),
    Bug("an answer is credited to the next meter", "I9", agent.Agent, "put", _next_device, meters=2),
    Bug("an answer holds the registers of another meter", "I9", agent.Agent, "put", _registers_of_another, meters=2),
    Bug("what is received passes for settled", "I3", outbox.Outbox, "settle", _as_settled, (Fault.CRASH,)),
    Bug(
        "what a half-open link swallowed passes for received",
        "I3",
        sync.Sync,
        "_exchange",
        _silence_delivers,
        (Fault.HALF_OPEN, Fault.CRASH),
        often=60.0,
    ),
    Bug(
        "who has reached nobody does not try again",
        "I10",
        retry.Retry,
        "unreachable",
        _always(1e9),
        (Fault.HALF_OPEN,),
        often=30.0,
    ),
    Bug("what a second copy covers is not heard", "I10", sync.Sync, "_settle", _later),
    Bug("what is sealed is kept as open too", "I12", database.Database, "run", _kept_open),
    Bug(
        "the log is never brought into the file",
        "I12",
        database.Database,
        "_checkpoint",
        nothing,
        days=0.7,
        cadence=Cadence("10s", "15m"),
    ),
)
