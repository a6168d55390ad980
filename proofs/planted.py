"""Bugs planted into the real code, one at a time: each must be caught, and first by the invariant that is there for it.

A bug is one function changed for as long as the fleet lives; a proof in which one survives is blind to it.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from cloud import ingest, interval_rows, ledger
from cloud.ingest import Finding, Head
from cloud.store import Answered, Store
from edge import agent, opening, outbox, sealer
from protocols.record.answer import Answer, Verdict
from protocols.record.block import GAPS, EventKind
from protocols.record.cose import PublicKey
from simulator.fleet.faults import Fault
from simulator.fleet.fleet import Fleet, Outcome, Shape
from simulator.fleet.node import Cadence

SEEDS = 3
"""A bug that needs a rare coincidence has so many seeds to show itself."""
QUIET_S = 7200.0
Original = Callable[..., Any]
Change = Callable[[Original], Original]


@dataclass(frozen=True)
class Bug:
    """``owner.name`` made wrong by ``change``; ``kinds``: the faults under which it matters."""

    told: str
    invariant: str
    owner: Any
    name: str
    change: Change
    kinds: tuple[Fault, ...] = ()
    days: float = 0.4
    gateways: int = 1
    meters: int = 1

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The code with the bug in it."""
        original = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.change(original))
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)


@dataclass(frozen=True)
class Caught:
    """``first``: the invariant that saw it first, ``""`` when none did; ``by``: all that saw it."""

    bug: Bug
    first: str
    by: frozenset[str]
    seed: int

    @property
    def killed(self) -> bool:
        """Whether it was caught by the invariant that is there for it."""
        return self.first == self.bug.invariant


def hunt(bug: Bug, seed: int, folder: Path | None) -> Caught:
    """Let a fleet live with a bug."""
    first, by, at = "", frozenset[str](), seed
    for at in range(seed, seed + SEEDS):
        with bug.planted():
            found = live(bug, at, folder).found
        if found:
            first, by = found[0][0], frozenset(invariant for invariant, _ in found)
            break
    return Caught(bug, first, by, at)


def live(bug: Bug, seed: int, folder: Path | None) -> Outcome:
    """One seed under the faults of a bug."""
    with tempfile.TemporaryDirectory(prefix="tanmeter-bug-", dir=folder) as name:
        shape = Shape(bug.gateways, bug.meters, bug.days, Cadence("60s", "15m"), QUIET_S)
        fleet = Fleet(seed, Path(name) / "fleet", bug.kinds or (Fault.ROLLOVER,), shape)
        fleet.plan.kinds, fleet.plan.intensity = frozenset(bug.kinds), 12.0
        return fleet.run()


# ---- the bugs


def _uncommitted(original: Original) -> Original:
    """Answers are given for what was never committed."""

    def append(self: Store, batches: Any, now: int) -> list[Answered]:
        answers: list[Answered] = []
        try:
            with self.writing() as db:
                done = ledger.Ledger(db, now)
                answers = [self._take_in(db, done, frames, now) for frames in batches]
                raise _Gone
        except _Gone:
            self._desks.clear()
        return answers

    return append


class _Gone(Exception):
    """The transaction is given up."""


def _unwritten(original: Original) -> Original:
    def add(self: outbox.Outbox, records: Any, opened: Any = ()) -> None:
        original(self, [] if len(records) == 1 and records[0].slot // 60_000 % 7 == 0 else records, opened)

    return add


def _without(kinds: frozenset[EventKind]) -> Change:
    """Events of these kinds are left out of the record."""

    def change(original: Original) -> Original:
        def header(block: sealer.OpenBlock, end: sealer.End, link: sealer.Link) -> Any:
            found = original(block, end, link)
            return replace(found, events=tuple(event for event in found.events if event.kind not in kinds))

        return header

    return change


def _next_device(original: Original) -> Original:
    """An answer is credited to the next meter."""

    def put(self: agent.Agent, slot: int, exchange: Any, held: Any) -> None:
        other = replace(exchange, device=1 - exchange.device) if slot // 60_000 % 17 == 0 else exchange
        original(self, slot, other, held)

    return put


def _late(shift: int) -> Change:
    """Blocks begin so many ms off."""

    def change(original: Original) -> Original:
        def header(block: sealer.OpenBlock, end: sealer.End, link: sealer.Link) -> Any:
            found = original(block, end, link)
            return replace(found, utc=(found.utc[0] + shift, found.utc[1] + shift))

        return header

    return change


def _dropped(original: Original) -> Original:
    """A block now and then is said to be held, and is not."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        if opened.header.seq % 20 != 7:
            original(self, opened, fault, frame)

    return keep


def _altered(original: Original) -> Original:
    """A frame is kept with another byte in it."""

    def keep(self: ledger.Ledger, opened: Any, fault: Any, frame: bytes) -> None:
        original(self, opened, fault, frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:])

    return keep


def _more(original: Original) -> Original:
    """An interval is written down with a hundredth more."""

    def values(gateway: bytes, row: Any, number: int) -> Any:
        more = row if row.consumption is None else replace(row, consumption=row.consumption + Decimal("0.01"))
        return original(gateway, more, number)

    return values


def _verdict(answer: Answer) -> Change:
    """Every block has this verdict and moves nothing."""

    def change(original: Original) -> Original:
        def place(head: Head, holdings: Any, opened: Any) -> Finding | None:
            if opened.header.seq % 30 == 17 and opened.header.seq == head.next_seq:
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


def _nothing(original: Original) -> Original:
    """It is not done."""
    return lambda *given, **named: None


def _other_plan(original: Original) -> Original:
    """Every third slot is answered for without a question: a fault is left out."""

    def faults(start: int, records: Any) -> Any:
        return original(start, records)[1:]

    return faults


BUGS: tuple[Bug, ...] = (
    Bug("the receipt is given before the commit", "I3", Store, "append_batches", _uncommitted),
    Bug("an exchange is acknowledged that was never written", "I1", outbox.Outbox, "add", _unwritten, (Fault.CRASH,)),
    Bug("the time of a block is 2 s early", "I8", sealer, "_header", _late(-2000)),
    Bug("the time of a block is 700 ms late", "I8", sealer, "_header", _late(700)),
    Bug("an answer is credited to the next meter", "I9", agent.Agent, "put", _next_device, meters=2),
    Bug("a block is receipted but not kept", "I3", ledger.Ledger, "_block", _dropped),
    Bug("a kept frame is another than the one that came", "I5", ledger.Ledger, "_block", _altered),
    Bug("an interval is written down with a hundredth more", "I4", interval_rows, "values", _more),
    Bug(
        "power loss is left out of the record",
        "I6",
        sealer,
        "_header",
        _without(frozenset({EventKind.POWER_LOSS})),
        (Fault.POWER,),
    ),
    Bug(
        "gaps are left out of the record",
        "I6",
        sealer,
        "_header",
        _without(frozenset(GAPS)),
        (Fault.CRASH, Fault.POWER),
    ),
    Bug(
        "the boot event is left out of the record",
        "I6",
        sealer,
        "_header",
        _without(frozenset({EventKind.BOOT})),
        (Fault.CRASH,),
    ),
    Bug("a fault is left out of the record", "I6", sealer, "_faults", _other_plan, (Fault.SILENT,)),
    Bug("one block is refused for ever and blocks the queue", "I10", ingest, "_place", _verdict(Answer.REFUSED)),
    Bug("one block is answered as held and is not", "I10", ingest, "_place", _verdict(Answer.HELD)),
    Bug("one block is answered as a gap for ever", "I10", ingest, "_place", _verdict(Answer.GAP)),
    Bug(
        "a block ahead of its chain is booked as the next one",
        "I2",
        ingest,
        "_place",
        _unchecked_place,
        (Fault.HALF_OPEN, Fault.PORTAL),
        days=0.6,
    ),
    Bug("no signature is checked", "I2", PublicKey, "verify", _nothing, (Fault.FLIP,)),
    Bug(
        "a store that has gone back goes on in its epoch",
        "I7",
        opening,
        "_hold_against",
        _nothing,
        (Fault.LYING_DISK,),
        days=2.0,
    ),
)
