"""A gateway that comes with its enrolment once more: it may hold less than it did then."""

import sqlite3

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
    if any(
        db.execute(*asked).fetchone() for asked in ((held, (gateway, *start[:2], oldest)), (next_, (gateway, *start)))
    ):
        return start
    return began


def makes_way(db: sqlite3.Connection, gateway: bytes, start: Start | None) -> bool:
    """Forget a gateway that is to be taken in anew, for its chain must begin later than was said; False, and nothing
    forgotten, where it need not, or where a block of it is held.

    The block with which the chain was to begin has gone since: the answer to the first request was lost.
    """
    row = db.execute("SELECT epoch, next_seq FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
    some = db.execute("SELECT 1 FROM blocks WHERE gateway = ? LIMIT 1", (gateway,)).fetchone()
    if start is None or row is None or some is not None or start[:2] <= row:
        return False
    for table in ("gateways", "starts", "configs", "receipts"):
        db.execute(f"DELETE FROM {table} WHERE gateway = ?", (gateway,))
    return True
