"""What one transaction of the collector writes: blocks, intervals, quarantine, incidents, and the head of a chain."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from cloud import ahead, ingest_numbers, interval_rows, memory_rows, receipts
from cloud.booking import Changes
from cloud.dating import Line
from cloud.ingest import UNKNOWN_CONFIGURATION, Finding, Head, Notice, Opened
from cloud.intervals import Interval, Register
from cloud.newest import heard
from cloud.open_rows import OpenRows
from cloud.turn import MOST_TURNS, Turn
from protocols.record.answer import Answer
from protocols.record.block import GAPS

MOST_UNSIGNED = 1000
MOST_UNSIGNED_BYTES = 64 << 20
"""Kept of what nobody has signed, which anybody can send: the newest."""
MOST_SIGNED = 1000
MOST_SIGNED_BYTES = 16 << 20
"""Kept of what one gateway has signed and was refused: the newest. Blocks with a place in the chain are kept there."""
MOST_INCIDENTS = MOST_TURNS
"""Of one gateway, the newest."""


class Tally:
    """What the blocks of a batch add to the health of their gateway. ``utc``: of the newest one that is dated."""

    def __init__(self) -> None:
        self.blocks = self.refused_blocks = self.readings = self.gaps = 0
        self.counters = [0] * 6
        self.utc: tuple[int, int] | None = None

    def add(self, opened: Opened) -> None:
        """One block that has become part of the chain."""
        if opened.content is None:
            self.refused_blocks += 1
            return
        self.blocks += 1
        self.readings += opened.content.readings
        self.gaps += sum([event.kind in GAPS for event in opened.header.events])
        due, asked, answered, silent, damaged, refused = self.counters
        for replayed in opened.content.chunks:
            it = replayed.counters
            due, asked, answered = due + it.due, asked + it.asked, answered + it.answered
            silent, damaged, refused = silent + it.silent, damaged + it.damaged, refused + it.refused
        self.counters = [due, asked, answered, silent, damaged, refused]


class Ledger:
    """One transaction at ``now`` (UTC ms). Every block and every change of an interval gets the next ingest number."""

    def __init__(self, db: sqlite3.Connection, now: int) -> None:
        self.db, self.now = db, now
        self._kept: set[bytes | None] = set()
        self._told: set[bytes] = set()
        self._ahead: set[bytes] = set()
        self._ingest_seq = ingest_numbers.counted(db)

    def keep(self, gateway: bytes | None, finding: Finding, frame: bytes) -> None:
        """A block into the chain; what was refused into quarantine; an incident where somebody must be told."""
        verdict, opened = finding.verdict, finding.opened
        if verdict.answer in (Answer.REFUSED, Answer.CONFLICT) and verdict.code != UNKNOWN_CONFIGURATION:
            new = self._quarantine(gateway, finding, frame)
        else:
            new = True
        if new and gateway is not None and opened is not None:
            self._tell_all(gateway, opened, finding.notices)
        if finding.head is not None and opened is not None:
            self._block(opened, None if opened.content else f"{verdict.code}: {verdict.detail}", frame)

    def keep_ahead(self, opened: Opened, frame: bytes) -> None:
        """A block whose turn has not come, and its live values; the gateway has been heard."""
        gateway = opened.header.gateway
        if not ahead.keep(self.db, opened, frame, self.now):
            return
        self._ahead.add(gateway)
        if opened.content is not None:
            ahead.show(self.db, gateway, heard(opened.header, opened.content))
        self.db.execute("UPDATE gateways SET received_at = ? WHERE gateway = ?", (self.now, gateway))

    def intervals(self, gateway: bytes, rows: Iterable[Interval], opened: OpenRows) -> None:
        """Some of the intervals that blocks have changed, in order; ``opened`` moves with them."""
        self.db.executemany(interval_rows.UPSERT, self._closed(gateway, rows, opened))

    def book(self, gateway: bytes, changes: Changes, opened: OpenRows) -> None:
        """What else blocks changed in the accounts of their gateway, once their intervals are written."""
        moved = changes.moved
        if moved.intervals:
            opened.keep(self.db, gateway)
        memory_rows.keep(self.db, gateway, moved)
        for turn in moved.turns[-MOST_INCIDENTS:]:
            self.tell(gateway, turn.kind, (turn.after.epoch, turn.after.seq), _told(turn))
        self.db.executemany(_LATEST, ahead.rows(gateway, changes.answered))
        self.db.executemany(
            "INSERT INTO power VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET total = total + excluded.total,"
            " peak = max(peak, excluded.peak), samples = samples + excluded.samples",
            [(gateway, *place, heap.total, heap.peak, heap.samples) for place, heap in changes.power.items()],
        )

    def move(self, gateway: bytes, head: Head, last: Line | None, tally: Tally) -> None:
        """The head of a chain, the end of its last dated block, and the gateway's health with them."""
        start, end = tally.utc or (None, None)
        dated = (None,) * 4 if last is None else (last.epoch, last.boot, last.mono, last.utc)
        self.db.execute(
            "UPDATE gateways SET epoch = ?, next_seq = ?, head = ?, boot = ?, mono = ?, config_number = ?,"
            " dated_epoch = ?, dated_boot = ?, dated_mono = ?, dated_utc = ?,"
            " block_start = coalesce(?, block_start), block_end = coalesce(?, block_end), received_at = ?,"
            " blocks = blocks + ?, refused_blocks = refused_blocks + ?, readings = readings + ?, gaps = gaps + ?,"
            " due = due + ?, asked = asked + ?, answered = answered + ?, silent = silent + ?, damaged = damaged + ?,"
            " refused = refused + ? WHERE gateway = ?",
            (
                *(head.epoch, head.next_seq, head.hash, head.boot, head.mono, head.config_number),
                *dated,
                *(start, end, self.now, tally.blocks, tally.refused_blocks, tally.readings, tally.gaps),
                *tally.counters,
                gateway,
            ),
        )

    def close(self) -> None:
        """Write down how far the ingest numbers have counted, and delete what was refused beyond what is kept."""
        for gateway in self._kept:
            self._bound(gateway)
        for held in self._ahead:
            ahead.bound(self.db, held)
        for gateway in self._told:
            self.db.execute(
                "DELETE FROM incidents WHERE gateway = ?1 AND id <="
                " (SELECT id FROM incidents WHERE gateway = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                (gateway, MOST_INCIDENTS),
            )
        self.db.execute("UPDATE meta SET value = ? WHERE name = 'ingest_seq'", (self._ingest_seq,))

    def _closed(self, gateway: bytes, rows: Iterable[Interval], opened: OpenRows) -> Iterator[tuple[Any, ...]]:
        """Those that are closed, as they are written; the others are open."""
        for row in rows:
            number = self._next()
            if row.closed:
                opened.close(row)
                yield interval_rows.values(gateway, row, number)
            else:
                opened.put(row, number)

    def _next(self) -> int:
        self._ingest_seq += 1
        return int(self._ingest_seq)

    def _block(self, opened: Opened, fault: str | None, frame: bytes) -> None:
        header, content = opened.header, opened.content
        place = (header.gateway, header.epoch, header.seq)
        readings, number = 0 if content is None else content.readings, header.configuration[0]
        self.db.execute(
            "INSERT INTO blocks (ingest_seq, gateway, epoch, seq, hash, utc_start, utc_end, received_at, config_number,"
            " readings, fault, frame) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (self._next(), *place, opened.hash, *header.utc, self.now, number, readings, fault, frame),
        )
        if header.seq == 0 and header.epoch > 0:
            receipts.hold(self.db, header.gateway, header.previous)
        if header.events and content is not None:
            rows = [
                (*place, number, event.kind, event.start, event.end, event.detail)
                for number, event in enumerate(header.events)
            ]
            self.db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?)", rows)

    def _quarantine(self, gateway: bytes | None, finding: Finding, frame: bytes) -> bool:
        """Keep refused bytes with the reason; False when the same bytes are there already."""
        verdict, opened = finding.verdict, finding.opened
        signed = finding.head is not None or bool(finding.notices)
        place = (opened.header.epoch, opened.header.seq) if opened is not None else (None, None)
        done = self.db.execute(
            "INSERT OR IGNORE INTO quarantine (gateway, at, code, reason, signed, epoch, seq, hash, frame)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (gateway, self.now, verdict.code, verdict.detail, signed, *place, hashlib.sha256(frame).digest(), frame),
        )
        self._kept.add(gateway if signed else None)
        return done.rowcount == 1

    def _tell_all(self, gateway: bytes, opened: Opened, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self.tell(gateway, notice.kind, (opened.header.epoch, opened.header.seq), notice.detail)

    def tell(self, gateway: bytes, kind: str, place: tuple[int, int], detail: str) -> None:
        """An incident: something a person must look into, and the place in the chain where it is."""
        self._told.add(gateway)
        self.db.execute(
            "INSERT INTO incidents (gateway, at, kind, epoch, seq, detail) VALUES (?,?,?,?,?,?)",
            (gateway, self.now, kind, *place, detail),
        )

    def _bound(self, gateway: bytes | None) -> None:
        """Keep the newest of what a gateway signed, or with None of what nobody signed."""
        where, most, most_bytes = (
            ("signed = 0 AND ?1 IS NULL", MOST_UNSIGNED, MOST_UNSIGNED_BYTES)
            if gateway is None
            else ("signed = 1 AND gateway = ?1", MOST_SIGNED, MOST_SIGNED_BYTES)
        )
        self.db.execute(
            "DELETE FROM quarantine WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER newest AS place,"
            f" sum(length(frame)) OVER newest AS bytes FROM quarantine WHERE {where}"
            " WINDOW newest AS (ORDER BY id DESC)) WHERE place > ?2 OR bytes > ?3)",
            (gateway, most, most_bytes),
        )


_LATEST = (
    "INSERT INTO latest VALUES (?,?,?,?,?,?,?,?,?,0) ON CONFLICT DO UPDATE SET config_number = excluded.config_number,"
    " at = excluded.at, reply = excluded.reply, epoch = excluded.epoch, seq = excluded.seq, ahead = 0"
    " WHERE ahead = 0 OR (excluded.epoch, excluded.seq) >= (epoch, seq) OR excluded.at > at"
)
"""A live value of a block ahead of the chain gives way when the chain comes to that block, or past its time."""


def _told(turn: Turn) -> str:
    """The registers a turn is about, each with the block that holds it."""
    return f"{turn.device}.{turn.point}: found {_register(turn.after)} after {_register(turn.before)}"


def _register(found: Register) -> str:
    at = datetime.fromtimestamp(found.at / 1000, UTC).isoformat(timespec="seconds")
    return f"{found.value:f} ({at}, {found.epoch}/{found.seq})"
