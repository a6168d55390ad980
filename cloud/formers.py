"""What gateways bring of the collectors they had before: those keys, and the receipts with which epochs began.

The key of such a collector is lost. Its receipts are part of the record all the same: the first block of an epoch names
one by its hash, under the gateway's own signature, and so does the gateway vouch for the key.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from cloud.journal import Journal
from cloud.packed import pack, unpack
from cloud.receipts import BROUGHT, journal_id
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import EnrolmentError, RecordError, RottenError
from protocols.record.cose import PublicKey, kid_of
from protocols.record.former import Former, claimed_gateway, open_former, open_shown
from protocols.record.receipt import Receipt

FORMER = "former"
"""Kind of the journal: a key, named GATEWAY/KID, beside the receipts under such keys (``BROUGHT``)."""


def take(store: Store, brought: bytes, receipts: Sequence[bytes], now: int) -> None:
    """Keep what a gateway brings, once, and in place of what has rotted of it; EnrolmentError of one that is not
    enrolled here, SignatureError, EncodingError, ChainError on what is not as it says.
    """
    gateway = store.gateway(claimed_gateway(brought))
    if gateway is None or gateway.revoked:
        raise EnrolmentError(f"found receipts of {claimed_gateway(brought).hex()}, expected a gateway enrolled here")
    former = open_former(brought, gateway.key)
    opened = open_shown(former, receipts)
    kept = [receipt_row(*pair, former.key.kid, now) for pair in zip(opened, receipts, strict=True)]
    rows = [_former_row(former, brought, now), *kept]
    store.keep(rows)
    for row in rows:
        held = store.entry(row.kind, row.id)
        if held is not None and not _holds(held, row, gateway.key):
            store.put_back(replace(row, number=held.number, at=held.at))


def receipt_row(receipt: Receipt, envelope: bytes, kid: bytes, at: int) -> JournalRow:
    """The entry that keeps a receipt of the former collector with this kid; it is here since ``at`` (UTC ms)."""
    sha256 = hashlib.sha256(envelope).digest()
    detail = json.dumps({"epoch": receipt.epoch, "next_seq": receipt.next_seq})
    name, packed = journal_id(receipt.gateway, sha256), pack(envelope)
    return JournalRow(0, BROUGHT, name, 1, "", "", sha256.hex(), at, kid.hex(), detail, packed)


def named(store: Journal, gateway: bytes, sha256: bytes) -> bytes | None:
    """The receipt of a former collector with this hash."""
    held = store.entry(BROUGHT, journal_id(gateway, sha256))
    return None if held is None else unpack(held.body)


def word(store: Journal, gateway: bytes, receipt: bytes) -> tuple[bytes, bytes] | None:
    """Kid and envelope: the gateway's word on the key that a receipt of a former collector is signed with."""
    kid = kid_of(receipt)
    held = store.entry(FORMER, journal_id(gateway, kid))
    return None if held is None else (kid, unpack(held.body))


def _holds(held: JournalRow, brought: JournalRow, key: PublicKey) -> bool:
    """Whether an entry still says what was brought again: a word of its gateway, maybe signed anew, or a receipt."""
    with suppress(RottenError, RecordError):
        kept, body = unpack(held.body), unpack(brought.body)
        same = open_former(kept, key) == open_former(body, key) if held.kind == FORMER else kept == body
        return same and replace(held, number=0, at=brought.at, body=brought.body) == brought
    return False


def _former_row(former: Former, envelope: bytes, now: int) -> JournalRow:
    name, digest = journal_id(former.gateway, former.key.kid), hashlib.sha256(former.key.spki).hexdigest()
    return JournalRow(0, FORMER, name, 1, "", "", digest, now, former.gateway.hex(), "{}", pack(envelope))
