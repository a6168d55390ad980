"""Whether the store is whole, looked at before it is served: in bounded time, so that a large one starts as fast."""

from itertools import islice

from cloud import receipts, rot
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ConfigError, RecordError, RottenError, SpoiltError
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

MOST = 256
"""Gateways and blocks looked at; ``tanmeter cloud audit`` looks at everything."""


def check(store: Store, key: PublicKey) -> None:
    """RottenError when one of the newest blocks is not what was signed, unless that is known; SpoiltError when the head
    of a chain is not what it was; ConfigError for a key that the receipts were not signed with.
    """
    newest = sorted(store.gateways(), key=lambda row: row.received_at or 0, reverse=True)
    for gateway in islice(newest, MOST):
        _check_head(store, gateway)
        _check_key(store, gateway, key)
    keys = {gateway.id: gateway.key for gateway in newest}
    with store.reading() as db:
        (counted,) = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()
        rows = db.execute(
            f"SELECT ingest_seq, gateway, epoch, seq, hash, frame FROM blocks ORDER BY ingest_seq DESC LIMIT {MOST}"
        )
        for number, gateway, epoch, seq, sha256, frame in rows:
            if number > counted:
                raise SpoiltError(f"{store.path}: found block {number}, expected none above {counted}")
            if rot.is_known(db, gateway, (epoch, seq)):
                continue
            try:
                rot.prove(frame, gateway, keys[gateway], (epoch, seq), sha256)
            except RecordError as error:
                raise RottenError(f"{store.path}: gateway {gateway.hex()}, block {epoch}/{seq}: {error}") from error


def _check_head(store: Store, gateway: Gateway) -> None:
    where = f"{store.path}: gateway {gateway.id.hex()}"
    with store.reading() as db:
        row = db.execute(
            "SELECT epoch, seq, hash FROM blocks WHERE gateway = ? ORDER BY epoch DESC, seq DESC LIMIT 1", (gateway.id,)
        ).fetchone()
    if row is not None and row != (gateway.epoch, gateway.next_seq - 1, gateway.head):
        expected = f"{gateway.epoch}/{gateway.next_seq - 1} {gateway.head.hex()}"
        raise SpoiltError(f"{where}: found its newest block {row[0]}/{row[1]} {row[2].hex()}, expected {expected}")


def _check_key(store: Store, gateway: Gateway, key: PublicKey) -> None:
    with store.reading() as db:
        envelope = receipts.newest(db, gateway.id)
    if envelope is None:
        return
    try:
        open_receipt(envelope, key)
    except RecordError as error:
        expected = "the key that this store's receipts were signed with: bring collector.key back from its backup"
        raise ConfigError(
            str(store.path.parent / "collector.key"), f"key {key.kid.hex()} ({error})", expected
        ) from error
