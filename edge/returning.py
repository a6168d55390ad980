"""A collector that has lost its store knows this gateway no more: shown a receipt of its own, it takes it in again.

With the receipt goes what an enrolment brings, and, where the first blocks are no longer held, the envelope of the
oldest one: the chain begins with it there. Whether the collector does so is for its operator to say.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from edge import frames
from edge.config import EdgeConfig
from edge.outbox import Stored
from edge.transport import Response
from protocols.errors import DamagedError, RecordError, StoreError, UnreachableError
from protocols.record import cbor, shape, transport
from protocols.record.cose import PublicKey
from protocols.record.receipt import Receipt, open_receipt

PATH = "/v1/enrolments"
MEDIA = "application/cbor"
TAKEN, REFUSED = 201, 403
BUSY_S = 10.0


def request(config: EdgeConfig, receipt: bytes, oldest: Sequence[Stored]) -> bytes:
    """The body that asks to be taken in again; ``oldest``: the first block that is held, none when there is none."""
    first = config.configurations[0]
    body = {0: receipt, 1: config.enrolment, 2: first.envelope, 3: list(first.profiles)}
    if oldest and (oldest[0].epoch, oldest[0].seq) != (0, 0):
        body[4] = transport.unwrap(oldest[0].frame)[0]
    return cbor.encode(body)


def oldest_held(outbox: Path) -> bytes | None:
    """The envelope of the oldest block in a store that is not damaged, whether or not an agent has it open; None when
    there is none.
    """
    if not outbox.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{outbox.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as db:
            for digest, frame in db.execute("SELECT hash, frame FROM block ORDER BY epoch, seq"):
                with suppress(DamagedError):
                    frames.check(frame, digest)
                    return transport.unwrap(frame)[0]
    except sqlite3.Error as error:
        raise StoreError(f"{outbox}: {error}") from error
    return None


def taken(response: Response, gateway: bytes, collector: PublicKey) -> tuple[Receipt, bytes] | None:
    """The receipt, and its envelope, from which delivery goes on; None while the collector's operator does not let
    gateways in again; UnreachableError when it is no answer of the collector.
    """
    if response.status == REFUSED:
        return None
    if response.status != TAKEN:
        raise UnreachableError(f"{PATH}: status {response.status}, expected {TAKEN}: {response.body[:200]!r}")
    try:
        _, spki, envelope = shape.fields(cbor.decode(response.body), 3, "answer to the enrolment")
        receipt = open_receipt(shape.octets(envelope, "first receipt"), collector)
    except RecordError as error:
        raise UnreachableError(f"{PATH}: found an answer that is not the enrolled collector's: {error}") from error
    if receipt.gateway != gateway or spki != collector.spki:
        raise UnreachableError(f"{PATH}: found a receipt for {receipt.gateway.hex()}, expected {gateway.hex()}")
    return receipt, envelope
