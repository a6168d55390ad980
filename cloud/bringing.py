"""Receipts of ours that a gateway brings back: whose they are, and what they say of a file that does not know them."""

import sqlite3
from collections.abc import Sequence

from cloud import holding, receipts
from cloud.ledger import Ledger
from cloud.rows import Gateway
from cloud.taking import Desk
from protocols.errors import EnrolmentError
from protocols.record.receipt import Receipt


def bearer(db: sqlite3.Connection, brought: Sequence[tuple[Receipt, bytes]]) -> Gateway:
    """Whose receipts these are; EnrolmentError where that is not one gateway that is enrolled here."""
    gateway = holding.gateway(db, "gateway = ?", (brought[0][0].gateway,))
    if gateway is None or gateway.revoked or {receipt.gateway for receipt, _ in brought} != {gateway.id}:
        raise EnrolmentError(f"found receipts of {brought[0][0].gateway.hex()}, expected one gateway enrolled here")
    return gateway


def compare(db: sqlite3.Connection, ledger: Ledger, desk: Desk, receipt: Receipt, now: int) -> None:
    """What a receipt that this file does not know says of it: it is an older one, or of another chain."""
    place, at = (receipt.epoch, receipt.next_seq), f"{desk.head.epoch}/{desk.head.next_seq}"
    if place > (desk.head.epoch, desk.head.next_seq):
        if receipts.raise_watermark(db, receipt, now):
            detail = f"found the chain at {at}, expected {place[0]}/{place[1]}: we signed that we held it"
            ledger.tell(receipt.gateway, "restored", place, detail)
        desk.watermark = receipts.watermark(db, receipt.gateway)
        return
    held = holding.hash_of(db, receipt.gateway, (receipt.epoch, receipt.next_seq - 1))
    if held is None and _is_before(db, receipt):
        return
    if receipt.next_seq > 0 and held != receipt.head:
        found = "no block" if held is None else held.hex()
        detail = f"{place[0]}/{place[1] - 1}: found {found}, expected {receipt.head.hex()}: we signed that we held it"
        ledger.tell(receipt.gateway, "fork", place, detail)


def _is_before(db: sqlite3.Connection, receipt: Receipt) -> bool:
    """Whether a receipt is of blocks before the one with which the chain begins here, or goes on behind some that are
    lost: there is nothing here to compare it with.
    """
    place = {"gateway": receipt.gateway, "epoch": receipt.epoch, "seq": receipt.next_seq}
    query = (
        "SELECT 1 FROM starts WHERE gateway = :gateway AND (epoch, seq) >= (:epoch, :seq) UNION ALL"
        " SELECT 1 FROM resumed WHERE gateway = :gateway AND epoch = :epoch AND seq >= :seq"
    )
    return db.execute(query, place).fetchone() is not None
