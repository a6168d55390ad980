"""Whether the store is whole, looked at before it is served: in bounded time, so that a large one starts as fast."""

from itertools import islice

from cloud import memory_rows, mend_files, receipts, rot
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ChainError, ConfigError, RecordError, RottenError, SpoiltError, StoreError
from protocols.record.block import Header
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

REBOOK = "`tanmeter cloud mend --rebook`"
MOST = 256
"""Gateways and blocks looked at; ``tanmeter cloud audit`` looks at everything."""


def check(store: Store, key: PublicKey) -> None:
    """RottenError when one of the newest blocks, or its row, is not what was signed, unless that is known, or when what
    is booked of a gateway cannot be gone on from; SpoiltError when the head of a chain is not what it was; ConfigError
    for a key that the receipts were not signed with.
    """
    try:
        _check(store, key)
    except rot.UNREADABLE as error:
        found = f"found rows that cannot be read ({type(error).__name__}: {error}), expected what was kept"
        raise RottenError(f"{store.path}: {found}: see {REBOOK}") from error


def _check(store: Store, key: PublicKey) -> None:
    gateways = store.gateways()
    for gateway in gateways:
        if not rot.has_its_key(gateway):
            where = f"{store.path}: gateway {gateway.id.hex()}"
            raise RottenError(f"{where}: found another key than the one its id is of: see {REBOOK}")
    for file in mend_files.rotten(store):
        found = f"found {mend_files.name(file)} with other bytes than its digest is of"
        raise RottenError(f"{store.path}: {found}, expected what was signed: see `tanmeter cloud mend --copy DIR`")
    newest = sorted(gateways, key=lambda row: row.received_at or 0, reverse=True)
    for gateway in islice(newest, MOST):
        _check_head(store, gateway)
        _check_key(store, gateway, key)
        _check_memory(store, gateway)
    keys = {gateway.id: gateway.key for gateway in newest}
    with store.reading() as db:
        (counted,) = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()
        rows = db.execute(
            "SELECT ingest_seq, gateway, epoch, seq, hash, frame, config_number, utc_start, utc_end, EXISTS (SELECT 1"
            " FROM undated AS u WHERE u.gateway = b.gateway AND u.epoch = b.epoch AND u.seq = b.seq)"
            f" FROM blocks AS b ORDER BY ingest_seq DESC LIMIT {MOST}"
        )
        for number, gateway, epoch, seq, sha256, frame, config, start, end, undated in rows:
            if number > counted:
                raise SpoiltError(f"{store.path}: found block {number}, expected none above {counted}")
            if rot.is_known(db, gateway, (epoch, seq)):
                continue
            try:
                if gateway not in keys:
                    raise ChainError(f"found it of no gateway that is enrolled here, expected one of {len(keys)}")
                header = rot.prove(frame, gateway, keys[gateway], (epoch, seq), sha256)
                _check_row(header, config, None if undated else (start, end))
            except RecordError as error:
                raise RottenError(f"{store.path}: gateway {gateway.hex()}, block {epoch}/{seq}: {error}") from error


def _check_row(header: Header, config: int, utc: tuple[int, int] | None) -> None:
    """ChainError where a row repeats its block otherwise than it was signed; ``utc`` None: another block dates it."""
    if (config, utc or header.utc) != (header.configuration[0], header.utc):
        signed = f"expected configuration {header.configuration[0]} and UTC {header.utc[0]} to {header.utc[1]}"
        raise ChainError(f"found a row of configuration {config} and UTC {utc}, {signed}: see {REBOOK}")


def _check_memory(store: Store, gateway: Gateway) -> None:
    """The open intervals, doubts and settings can be read: without them no batch of the gateway can be taken."""
    try:
        with store.reading() as db:
            memory_rows.load(db, gateway.id)
    except (StoreError, *rot.UNREADABLE) as error:
        if not rot.is_rotten(error):
            raise
        raise RottenError(
            f"{store.path}: gateway {gateway.id.hex()}: found open intervals, doubts or settings that cannot be read"
            f" ({error}), expected those of its newest block: see {REBOOK}"
        ) from error


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
