"""A gateway that comes with its enrolment once more: it may hold less than it did then, or than is wanted of it."""

import sqlite3

from cloud import receipts

Start = tuple[int, int, bytes]
"""Epoch and seq of the first block of a chain here, and the hash it names as the one before it."""


def answered(db: sqlite3.Connection, gateway: bytes, enrolment: bytes, start: Start | None, oldest: bytes) -> Start:
    """Where the receipt stands that a gateway is answered with: at the first block it holds, where that is held here
    or comes next; else where its chain began here.

    ``enrolment``, ``oldest``: the hashes of its enrolment, and of that first block where ``start`` says that it is not
    the first of all. It goes over to another key of ours with what it then holds.
    """
    row = db.execute("SELECT epoch, seq, previous FROM starts WHERE gateway = ?", (gateway,)).fetchone()
    began: Start = (0, 0, enrolment) if row is None else (row[0], row[1], row[2])
    if start is None or start == began:
        return began
    held = "SELECT 1 FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ? AND hash = ?"
    next_ = "SELECT 1 FROM gateways WHERE gateway = ? AND epoch = ? AND next_seq = ? AND head = ?"
    resumed = "SELECT 1 FROM resumed WHERE gateway = ? AND epoch = ? AND seq = ? AND previous = ?"
    asked = ((held, (gateway, *start[:2], oldest)), (next_, (gateway, *start)), (resumed, (gateway, *start)))
    return start if any(db.execute(*one).fetchone() for one in asked) else began


def lost(db: sqlite3.Connection, gateway: bytes, start: Start | None) -> str:
    """What of its chain nobody has any more, where a gateway holds no block before ``start`` and the chain here stands
    before that: it was receipted once, by a collector that held more. Empty where nothing is.
    """
    row = db.execute("SELECT epoch, next_seq FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
    if start is None or row is None or start[:2] <= row:
        return ""
    return f"the chain stands at {row[0]}/{row[1]}, its gateway holds nothing from there to {start[0]}/{start[1]}"


def go_on(db: sqlite3.Connection, gateway: bytes, start: Start | None, now: int) -> None:
    """Where blocks are lost, let the chain go on with the first one that its gateway holds. Somebody is told, once."""
    if start is None or not (detail := lost(db, gateway, start)):
        return
    row = (gateway, *start, now)
    done = db.execute("INSERT OR IGNORE INTO resumed (gateway, epoch, seq, previous, at) VALUES (?,?,?,?,?)", row)
    if done.rowcount:
        receipts.tell(db, gateway, "start", start[:2], f"{detail}: it goes on there", now=now)


def ask(db: sqlite3.Connection, gateway: bytes, start: Start | None, now: int) -> str:
    """Where blocks are lost, that the chain cannot go on unless its operator lets it. Somebody is told, once for as
    long as it stands there, though its gateway loses more of what it keeps.
    """
    if start is None or not (found := lost(db, gateway, start)):
        return ""
    detail, (stands, comma, _) = f"{found}: `tanmeter cloud readmit` lets it go on there", found.partition(",")
    known = "SELECT 1 FROM incidents WHERE gateway = ? AND kind = 'missing' AND instr(detail, ?) = 1"
    if db.execute(known, (gateway, stands + comma)).fetchone() is None:
        receipts.tell(db, gateway, "missing", start[:2], detail, now=now)
    return detail


def makes_way(db: sqlite3.Connection, gateway: bytes, start: Start | None) -> bool:
    """Forget a gateway that is to be taken in anew, for its chain must begin later than was said; False, and nothing
    forgotten, where it need not, or where a block of it is held.

    The block with which the chain was to begin has gone since: the answer to the first request was lost, or the box
    has let it go with its next block, before it heard that the second copy which covered it is no more.
    """
    row = db.execute("SELECT epoch, next_seq FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
    some = db.execute("SELECT 1 FROM blocks WHERE gateway = ? LIMIT 1", (gateway,)).fetchone()
    if start is None or row is None or some is not None or start[:2] <= row:
        return False
    for table in ("gateways", "starts", "resumed", "configs", "receipts"):
        db.execute(f"DELETE FROM {table} WHERE gateway = ?", (gateway,))
    return True
