"""What the file holds of one gateway, as ingest asks for it, and where its chain stands."""

import hashlib
import sqlite3

from cloud import receipts, rot
from cloud.database import octets
from cloud.enrolments import GATEWAY_COLUMNS, Enrolments
from cloud.ingest import Beginning, Head
from cloud.rot import Place
from cloud.rows import Gateway
from drivers.installation import Installation
from protocols.errors import EncodingError, RecordError, RottenError
from protocols.record import transport
from protocols.record.block import Header
from protocols.record.cose import PublicKey


class Holding:
    """What the file holds of one gateway, as ingest asks for it."""

    def __init__(self, store: Enrolments, db: sqlite3.Connection, gateway: bytes) -> None:
        self._store, self._db, self._gateway = store, db, gateway
        self._configurations: dict[int, tuple[bytes, Installation]] = {}

    def held(self, epoch: int, seq: int) -> bytes | None:
        return hash_of(self._db, self._gateway, (epoch, seq))

    def frame(self, epoch: int, seq: int) -> bytes:
        """The frame of a block that is held; EncodingError where it is no bytes any more."""
        (frame,) = self._db.execute(
            "SELECT frame FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?", (self._gateway, epoch, seq)
        ).fetchone()
        if not isinstance(frame, bytes):
            raise EncodingError(
                f"block {epoch}/{seq}: found a frame of the type {type(frame).__name__}, expected bytes"
            )
        return frame

    def beginning(self, header: Header) -> Beginning | None:
        return receipts.beginning(self._db, self._gateway, header)

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        if number not in self._configurations:
            config = self._store.config(self._db, self._gateway, number)
            if config is None:
                return None
            self._configurations[number] = (config.digest, self._store.installed(self._db, config))
        return self._configurations[number]


def hash_of(db: sqlite3.Connection, gateway: bytes, place: Place) -> bytes | None:
    """The hash of a block that is held: where what stands beside its bytes is another, that of the bytes if its gateway
    has signed them. Its gateway sends the same again, and is not to be told that it has sent two of one number.
    """
    row = db.execute(
        "SELECT hash, frame, algorithm, spki FROM blocks AS b JOIN gateways USING (gateway)"
        " WHERE b.gateway = ? AND b.epoch = ? AND b.seq = ?",
        (gateway, *place),
    ).fetchone()
    if row is None:
        return None
    sha256, frame, *key = row
    try:
        found = hashlib.sha256(transport.unwrap(frame)[0]).digest()
        if found != sha256:
            rot.prove(frame, gateway, PublicKey(*key), place, found)
    except (RecordError, *rot.UNREADABLE):
        return octets(sha256)
    return found


def head(db: sqlite3.Connection, gateway: Gateway) -> Head:
    """Where a chain stands; its UTC is that of the newest block, booked or refused. RottenError where that cannot be
    read, or the chain stands elsewhere than behind that block.
    """
    gateway.check()
    row = db.execute(
        "SELECT utc_end, epoch, seq, hash FROM blocks WHERE gateway = ? ORDER BY epoch DESC, seq DESC LIMIT 1",
        (gateway.id,),
    ).fetchone()
    expected = (gateway.epoch, gateway.next_seq - 1, gateway.head)
    if row is not None and row[1:] != expected:
        raise RottenError(f"found the newest block {_shown(*row[1:])}, expected {_shown(*expected)}")
    clocks = (gateway.boot, gateway.mono, gateway.config_number, row[0] if row else None)
    return Head(gateway.epoch, gateway.next_seq, gateway.head, *clocks)


def gateway(db: sqlite3.Connection, where: str, values: tuple[bytes, ...]) -> Gateway | None:
    row = db.execute(f"SELECT {GATEWAY_COLUMNS} FROM gateways WHERE {where}", values).fetchone()
    return None if row is None else Gateway.read(row)


def _shown(epoch: int, seq: int, sha256: bytes) -> str:
    return f"{epoch}/{seq} with the hash {sha256.hex() if isinstance(sha256, bytes) else sha256!r}"
