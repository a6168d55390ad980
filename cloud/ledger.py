"""What one transaction of the collector writes: blocks, intervals, quarantine, incidents, and the head of a chain."""

import hashlib
import sqlite3

from cloud import interval_rows
from cloud.booking import Changes
from cloud.ingest import UNKNOWN_CONFIGURATION, Finding, Head, Opened
from protocols.record.answer import Answer
from protocols.record.block import GAPS

MOST_UNSIGNED = 1000
"""Anybody can send bytes that nobody signed: only so many of them are kept, the newest."""


class Tally:
    """What the blocks of a batch add to the health of their gateway."""

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
        self.utc = opened.header.utc
        self.readings += opened.content.readings
        self.gaps += sum([event.kind in GAPS for event in opened.header.events])
        for replayed in opened.content.chunks:
            it = replayed.chunk.counters
            counts = (it.due, it.asked, it.answered, it.silent, it.damaged, it.refused)
            self.counters = [held + more for held, more in zip(self.counters, counts, strict=True)]


class Ledger:
    """One transaction at ``now`` (UTC ms). Every block and every change of an interval gets the next ingest number."""

    def __init__(self, db: sqlite3.Connection, now: int) -> None:
        self._db, self._now = db, now
        (self._ingest_seq,) = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()

    def keep(self, gateway: bytes | None, finding: Finding, frame: bytes) -> None:
        """A block into the chain; what was refused into quarantine; an incident where somebody must be told."""
        verdict, opened = finding.verdict, finding.opened
        if verdict.answer in (Answer.REFUSED, Answer.CONFLICT) and verdict.code != UNKNOWN_CONFIGURATION:
            new = self._quarantine(gateway, finding, frame)
            if new and finding.incident and opened is not None:
                self._db.execute(
                    "INSERT INTO incidents (gateway, at, kind, epoch, seq, detail) VALUES (?,?,?,?,?,?)",
                    (gateway, self._now, finding.incident, opened.header.epoch, opened.header.seq, verdict.detail),
                )
        if finding.head is not None and opened is not None:
            self._block(opened, None if opened.content else f"{verdict.code}: {verdict.detail}", frame)

    def book(self, gateway: bytes, changes: Changes) -> None:
        """What the blocks of a batch changed in the accounts of their gateway."""
        self._db.executemany(
            interval_rows.UPSERT, [interval_rows.values(gateway, row, self._next()) for row in changes.intervals]
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO latest VALUES (?,?,?,?,?,?,?,?)",
            [
                (gateway, row.device, row.request, row.config_number, row.at, row.reply, row.epoch, row.seq)
                for row in changes.answered
            ],
        )
        self._db.executemany(
            "INSERT INTO power VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET total = total + excluded.total,"
            " peak = max(peak, excluded.peak), samples = samples + excluded.samples",
            [(gateway, *place, heap.total, heap.peak, heap.samples) for place, heap in changes.power.items()],
        )

    def move(self, gateway: bytes, head: Head, tally: Tally) -> None:
        """The head of a chain, and the gateway's health with it."""
        start, end = tally.utc or (None, None)
        self._db.execute(
            "UPDATE gateways SET epoch = ?, next_seq = ?, head = ?, boot = ?, mono = ?, config_number = ?,"
            " block_start = coalesce(?, block_start), block_end = coalesce(?, block_end), received_at = ?,"
            " blocks = blocks + ?, refused_blocks = refused_blocks + ?, readings = readings + ?, gaps = gaps + ?,"
            " due = due + ?, asked = asked + ?, answered = answered + ?, silent = silent + ?, damaged = damaged + ?,"
            " refused = refused + ? WHERE gateway = ?",
            (
                *(head.epoch, head.next_seq, head.hash, head.boot, head.mono, head.config_number),
                *(start, end, self._now, tally.blocks, tally.refused_blocks, tally.readings, tally.gaps),
                *tally.counters,
                gateway,
            ),
        )

    def close(self) -> None:
        """Write down how far the ingest numbers have counted."""
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'ingest_seq'", (self._ingest_seq,))

    def _next(self) -> int:
        self._ingest_seq += 1
        return int(self._ingest_seq)

    def _block(self, opened: Opened, fault: str | None, frame: bytes) -> None:
        header, content = opened.header, opened.content
        place = (header.gateway, header.epoch, header.seq)
        readings, number = 0 if content is None else content.readings, header.configuration[0]
        self._db.execute(
            "INSERT INTO blocks (ingest_seq, gateway, epoch, seq, hash, utc_start, utc_end, received_at, config_number,"
            " readings, fault, frame) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (self._next(), *place, opened.hash, *header.utc, self._now, number, readings, fault, frame),
        )
        if header.events and content is not None:
            rows = [
                (*place, number, event.kind, event.start, event.end, event.detail)
                for number, event in enumerate(header.events)
            ]
            self._db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?)", rows)

    def _quarantine(self, gateway: bytes | None, finding: Finding, frame: bytes) -> bool:
        """Keep refused bytes with the reason; False when the same bytes are there already."""
        verdict, opened = finding.verdict, finding.opened
        signed = finding.head is not None or bool(finding.incident)
        place = (opened.header.epoch, opened.header.seq) if opened is not None else (None, None)
        done = self._db.execute(
            "INSERT OR IGNORE INTO quarantine (gateway, at, code, reason, signed, epoch, seq, hash, frame)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (gateway, self._now, verdict.code, verdict.detail, signed, *place, hashlib.sha256(frame).digest(), frame),
        )
        if not signed:
            self._db.execute(
                "DELETE FROM quarantine WHERE signed = 0 AND id <="
                " (SELECT id FROM quarantine WHERE signed = 0 ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (MOST_UNSIGNED,),
            )
        return done.rowcount == 1
