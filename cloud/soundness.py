"""What has rotted in the store, looked at before it is served: in bounded time, so that a large one starts as fast.

What has rotted of one gateway keeps no other from being served: that gateway is held up, or asked for the block again.
"""

import logging
import sqlite3
from collections.abc import Iterator
from itertools import islice

from cloud import holding, ingest_numbers, memory_rows, mend, mend_files, receipts, rot, unbooked
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ConfigError, RecordError, RottenError, TanmeterError
from protocols.record.block import Header
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

log = logging.getLogger(__name__)
REBOOK, COPY = "`tanmeter cloud mend --rebook`", "`tanmeter cloud mend --copy DIR`"
MOST = 256
"""Gateways and blocks looked at; ``tanmeter cloud audit`` looks at everything."""


def check(store: Store, key: PublicKey, now: int) -> list[RottenError]:
    """What has rotted of single gateways, of the newest ones and in the newest blocks, each with what is to be done.

    A gateway whose accounts or chain cannot be gone on with is held up; a block that is not what was signed is asked
    for; a row that repeats its block otherwise is put right by it, and the count of ingest numbers by the rows.
    ConfigError for a key that the receipts were not signed with; SpoiltError, RottenError for what concerns everybody.
    """
    _check_numbers(store)
    try:
        gateways = sorted(store.gateways(), key=_heard, reverse=True)
        for gateway in islice(gateways, MOST):
            _check_key(store, gateway, key)
        return [*_blocks(store, gateways, now), *_gateways(store, gateways), *_files(store)]
    except rot.UNREADABLE as error:
        found = f"found rows that cannot be read ({type(error).__name__}: {error}), expected what was kept"
        raise RottenError(f"{store.path}: {found}: see {REBOOK}") from error


def _heard(gateway: Gateway) -> int:
    return gateway.received_at if isinstance(gateway.received_at, int) else 0


def _check_numbers(store: Store) -> None:
    with store.writing() as db:
        put_right = ingest_numbers.check(db)
    if put_right is not None:
        log.error(
            "found the ingest number %r, expected one that all rows go by: now %d, the highest of theirs", *put_right
        )


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


def _gateways(store: Store, gateways: list[Gateway]) -> Iterator[RottenError]:
    """The gateways that cannot be gone on with: they are held up until they can."""
    for place, gateway in enumerate(gateways):
        try:
            if not rot.has_its_key(gateway):
                raise RottenError(f"found another key than the one its id is of: see {REBOOK}")
            if place < MOST:
                _check_gateway(store, gateway)
        except (TanmeterError, *rot.UNREADABLE) as error:
            if not rot.is_rotten(error):
                raise
            store.held_up[gateway.id] = str(error)
            yield RottenError(f"{store.path}: gateway {gateway.id.hex()}: {error}")


def _check_gateway(store: Store, gateway: Gateway) -> None:
    """What the next batch of a gateway needs can be read; RottenError, StoreError."""
    with store.reading() as db:
        holding.head(db, gateway)
        try:
            memory_rows.load(db, gateway.id)
        except (sqlite3.Error, RottenError, *rot.UNREADABLE) as error:
            if not rot.is_rotten(error):
                raise
            found = f"found open intervals, doubts or settings that cannot be read ({error})"
            raise RottenError(f"{found}, expected those of its newest block: see {REBOOK}") from error
        number = unbooked.configuration(db, gateway.id, unbooked.since(db, gateway.id))
        if (config := store.config(db, gateway.id, number)) is not None:
            store.installed(db, config)


def _files(store: Store) -> Iterator[RottenError]:
    for file in mend_files.rotten(store):
        found = f"found {mend_files.name(file)} with other bytes than its digest is of"
        yield RottenError(f"{store.path}: {found}, expected what was signed: see {COPY}")


def _blocks(store: Store, gateways: list[Gateway], now: int) -> Iterator[RottenError]:
    """The newest blocks that are not what was signed, or whose rows say something else than they."""
    keys = {gateway.id: gateway.key if rot.has_its_key(gateway) else None for gateway in gateways}
    wrong = list[tuple[bytes, rot.Place, Header | None, str]]()
    with store.reading() as db:
        for gateway, epoch, seq, sha256, frame, *kept in db.execute(_NEWEST):
            if gateway not in keys:
                wrong.append((gateway, (epoch, seq), None, "found no such gateway, expected one that is enrolled"))
            if (key := keys.get(gateway)) is None:  # of a key that has rotted it is told once
                continue
            try:
                header = rot.prove(frame, gateway, key, (epoch, seq), sha256)
            except (RecordError, *rot.UNREADABLE) as error:
                wrong.append((gateway, (epoch, seq), None, str(error)))
                continue
            signed = (header.configuration[0], *header.utc)
            if tuple(kept) not in (signed, (signed[0], None, None)):
                found = f"found a row of configuration {kept[0]} and UTC {kept[1:]}, expected {signed}: what was signed"
                wrong.append((gateway, (epoch, seq), header, found))
    for gateway, place, signed_header, why in wrong:
        left = "it is put right"
        if signed_header is not None:
            _put_row_right(store, signed_header, why, now)
        elif (damaged := mend.mend_one(store, gateway, place, now)) is None:
            left = "see `tanmeter cloud audit`"
        elif damaged.outcome not in ("hash", "place"):
            left = f"its gateway is asked for it, or see {COPY}"
        yield RottenError(f"{store.path}: gateway {gateway.hex()}, block {place[0]}/{place[1]}: {why}: {left}")


def _put_row_right(store: Store, header: Header, why: str, now: int) -> None:
    """What a row repeats of its block, as the block says; of one that another dates, its time is left as it is."""
    at = (header.gateway, header.epoch, header.seq)
    with store.writing() as db:
        where = "gateway = ? AND epoch = ? AND seq = ?"
        db.execute(f"UPDATE blocks SET config_number = ? WHERE {where}", (header.configuration[0], *at))
        if db.execute(f"SELECT 1 FROM undated WHERE {where}", at).fetchone() is None:
            db.execute(f"UPDATE blocks SET utc_start = ?, utc_end = ? WHERE {where}", (*header.utc, *at))
        receipts.tell(db, header.gateway, "mended", at[1:], f"{why}; put right", now=now)


_NEWEST = (
    "SELECT gateway, epoch, seq, hash, frame, config_number, iif(dated, utc_start, NULL), iif(dated, utc_end, NULL)"
    " FROM (SELECT *, NOT EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = b.gateway AND u.epoch = b.epoch"
    f" AND u.seq = b.seq) AS dated FROM blocks AS b ORDER BY ingest_seq DESC LIMIT {MOST}) AS b"
    " WHERE NOT EXISTS (SELECT 1 FROM damaged AS d WHERE d.gateway = b.gateway AND d.epoch = b.epoch AND d.seq = b.seq)"
)
"""The newest blocks but those that are known to be damaged; of one that another block dates, whose row has that time,
no time.
"""
