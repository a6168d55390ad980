"""The bugs that are planted into the collector."""

from decimal import Decimal
from typing import Any

import msgspec
import zstandard

from cloud import ahead, count, ingest, ledger, memory_rows, unbooked
from cloud.copier import Copier
from cloud.ingest import Finding, Head
from cloud.intervals import Rules
from cloud.running import Memory
from cloud.segments import Segments
from cloud.signatures import Sodium
from cloud.store import Answered, Store
from proofs.planted import Bug, Change, Original
from proofs.planted_edge import nothing
from protocols.record import block, transport
from protocols.record.answer import Answer, Verdict
from simulator.fleet.faults import Fault
from simulator.fleet.node import Cadence

SELDOM = Cadence("60m", "15m")
"""Three blocks of four are empty."""
CENT = Decimal("0.01")


class _Gone(Exception):
    """The transaction is given up."""


def _uncommitted(every: int) -> Change:
    """Answers are given for what was never committed, once in so many batches."""

    def change(original: Original) -> Original:
        count = [0]

        def append(self: Store, batches: Any, now: int) -> list[Answered]:
            count[0] += 1
            if count[0] % every:
                done: list[Answered] = original(self, batches, now)
                return done
            answers: list[Answered] = []
            try:
                with self.writing() as db:
                    held = ledger.Ledger(db, now)
                    pairs = zip(self._expect(db, batches), batches, strict=True)
                    answers = [self._take_in(db, held, desk, frames) for desk, frames in pairs]
                    raise _Gone
            except _Gone:
                self._desks.clear()
            return answers

        return append

    return change


def _dropped(original: Original) -> Original:
    """A block now and then is said to be held, and is not."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        if opened.header.seq % 20 != 7:
            original(self, opened, fault, frame)

    return keep


def _cleared(original: Original) -> Original:
    """Blocks without readings are cleared away later, and the receipts for them."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        original(self, opened, fault, frame)
        place = (opened.header.gateway, opened.header.epoch, opened.header.seq - 4)
        where = "WHERE gateway = ? AND epoch = ? AND seq = ? AND readings = 0 AND seq % 8 = 5"
        if self.db.execute(f"DELETE FROM blocks {where}", place).rowcount:
            self.db.execute(
                "DELETE FROM receipts WHERE gateway = ? AND epoch = ? AND next_seq = ?", (*place[:2], place[2] + 1)
            )

    return keep


def _one_not_copied(original: Original) -> Original:
    """The last of what is to be copied is not, and passes for copied."""

    def append(self: Segments, records: Any) -> None:
        held = list(records)
        original(self, held[:-1])
        self.blocks, self.facts = held[-1].blocks, held[-1].facts

    return append


def _altered(original: Original) -> Original:
    """A frame is kept with another byte in it."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        original(self, opened, fault, frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:])

    return keep


def _signed_otherwise(original: Original) -> Original:
    """Of a block without readings the signature is kept with another bit in it."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        if opened.content is not None and not opened.content.readings and opened.header.seq % 8 == 5:
            envelope, chunks = transport.unwrap(frame)
            frame = zstandard.ZstdCompressor().compress(envelope[:-1] + bytes([envelope[-1] ^ 1]) + chunks)
        original(self, opened, fault, frame)

    return keep


def _row(**changed: Any) -> Change:
    """Intervals are written down otherwise than they were made: each change a function of the interval."""

    def change(original: Original) -> Original:
        def intervals(self: ledger.Ledger, gateway: bytes, rows: Any, *more: Any) -> None:
            made = [msgspec.structs.replace(row, **{name: make(row) for name, make in changed.items()}) for row in rows]
            original(self, gateway, made, *more)

        return intervals

    return change


def _more(row: Any) -> Any:
    return None if row.consumption is None else row.consumption + CENT


def _counted_more(original: Original) -> Original:
    """A hundredth too much is counted in each interval, now and ever after."""

    def interval(self: Any, end: Any, rules: Any, closed: bool) -> Any:
        found = original(self, end, rules, closed)
        return msgspec.structs.replace(found, consumption=_more(found))

    return interval


def _not_rolled(original: Original) -> Original:
    """What a register went through when it rolled over is not counted."""

    def interval(self: Any, end: Any, rules: Any, closed: bool) -> Any:
        found = original(self, end, rules, closed)
        lost = self.rolled * self.multiplier
        return msgspec.structs.replace(
            found, consumption=None if found.consumption is None else max(found.consumption - lost, 0 * lost)
        )

    return interval


def _falls_count(original: Original) -> Original:
    """A register that falls has rolled over, however far it would have gone."""

    def growth(self: Rules, before: Decimal, after: Decimal, elapsed_ms: int | None) -> tuple[Decimal, Decimal] | None:
        if after < before and self.modulus is not None:
            return after - before + self.modulus, self.modulus
        found: tuple[Decimal, Decimal] | None = original(self, before, after, elapsed_ms)
        return found

    return growth


def _not_told(original: Original) -> Original:
    """Of a count that begins again nobody is told."""

    def tell(self: ledger.Ledger, gateway: bytes, kind: str, place: Any, detail: str) -> None:
        if kind not in ("reset", "unexplained"):
            original(self, gateway, kind, place, detail)

    return tell


def _verdict(answer: Answer) -> Change:
    """One block has this verdict and moves nothing."""

    def change(original: Original) -> Original:
        def place(head: Head, holdings: Any, opened: Any) -> Finding | None:
            if opened.header.seq == 30 == head.next_seq:
                return Finding(Verdict(answer, head.next_seq, "SIG-601", "planted"), opened)
            found: Finding | None = original(head, holdings, opened)
            return found

        return place

    return change


def _unchecked_place(original: Original) -> Original:
    """A block ahead of the chain is taken as the next one."""
    return lambda head, holdings, opened: (
        None if opened.header.seq > head.next_seq else original(head, holdings, opened)
    )


def _kept_ahead(original: Original) -> Original:
    def keep(self: ledger.Ledger, gateway: Any, finding: Finding, frame: bytes) -> None:
        original(self, gateway, finding, frame)
        if finding.head is not None and finding.opened is not None:
            ahead.keep(self.db, finding.opened, frame, self.now)

    return keep


def _forgotten(original: Original) -> Original:
    """A collector that starts knows nothing of the intervals that were open."""
    return lambda db, gateway: Memory([], {}, [])


def _no_rows(original: Original) -> Original:
    return lambda gateway, answered: []


BUGS: tuple[Bug, ...] = (
    Bug(
        "a block ahead of its chain is booked as the next one",
        "I2",
        ingest,
        "_place",
        _unchecked_place,
        (Fault.HALF_OPEN, Fault.PORTAL),
        days=0.6,
    ),
    Bug("empty blocks are cleared away", "I2", ledger.Ledger, "_block", _cleared, cadence=SELDOM),
    Bug("one receipt in five is given before the commit", "I3", Store, "append_batches", _uncommitted(5)),
    Bug("a block is receipted but not kept", "I3", ledger.Ledger, "_block", _dropped),
    Bug("what is not copied is receipted as settled", "I3", Segments, "append", _one_not_copied),
    Bug("a hundredth too much is counted", "I4", count.Count, "_interval", _counted_more),
    Bug("an interval is written down with a hundredth more", "I4", ledger.Ledger, "intervals", _row(consumption=_more)),
    Bug("a fall counts as a rollover", "I4", Rules, "growth", _falls_count, (Fault.SWAPPED,), often=300.0),
    Bug("nobody is told of a swap", "I13", ledger.Ledger, "tell", _not_told, (Fault.SWAPPED,), often=300.0),
    Bug("a rollover is not counted", "I4", count.Count, "_interval", _not_rolled, (Fault.ROLLOVER,)),
    Bug("a kept frame is another than the one that came", "I5", ledger.Ledger, "_block", _altered),
    Bug("a kept signature is another", "I5", ledger.Ledger, "_block", _signed_otherwise, cadence=SELDOM),
    Bug("no signature is checked", "I5", Sodium, "verify", nothing, (Fault.ALTERED,)),
    Bug("no chunk is held to the signed root", "I5", block, "check_root", nothing, (Fault.ALTERED,)),
    Bug("a block is refused for ever and blocks the queue", "I10", ingest, "_place", _verdict(Answer.REFUSED)),
    Bug("a block is answered as held and is not", "I10", ingest, "_place", _verdict(Answer.HELD)),
    Bug("a block is answered as a gap for ever", "I10", ingest, "_place", _verdict(Answer.GAP)),
    Bug("nothing is copied", "I10", Copier, "_copy", lambda original: lambda self: False),
    Bug("a reading more is told of", "I11", ledger.Ledger, "intervals", _row(readings=lambda row: row.readings + 1)),
    Bug(
        "what is estimated passes for measured",
        "I11",
        ledger.Ledger,
        "intervals",
        _row(quality=lambda row: "measured"),
        (Fault.SILENT,),
    ),
    Bug("newest values are not written down", "I11", ahead, "rows", _no_rows),
    Bug("a start forgets open intervals", "I11", memory_rows, "load", _forgotten, (Fault.COLLECTOR_AFTER,), often=30.0),
    Bug(
        "a start forgets what waits to be booked",
        "I11",
        unbooked,
        "blocks",
        lambda original: lambda db, gateway, place: [],
        (Fault.COLLECTOR_AFTER,),
        often=30.0,
    ),
    Bug("what is in the chain is kept ahead of it too", "I12", ledger.Ledger, "keep", _kept_ahead),
)
