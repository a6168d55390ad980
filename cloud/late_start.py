"""A gateway that comes with its enrolment once more, before any block of it: it may hold less than it did then."""

import sqlite3


def makes_way(db: sqlite3.Connection, gateway: bytes, start: tuple[int, int, bytes] | None) -> bool:
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
