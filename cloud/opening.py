"""A block taken from the store and opened anew: the row, the bytes, and what every check says of them now."""

from collections.abc import Callable
from dataclasses import dataclass

from cloud import formers
from cloud.frames import Check, Opened, checks, explain, open_frames
from cloud.rows import Block, Gateway
from cloud.store import Store
from protocols.errors import EncodingError, TanmeterError
from protocols.record import siteconfig, transport
from protocols.record.block import Sealed, open_header


@dataclass(frozen=True, slots=True)
class Found:
    """``opened`` is None when the stored bytes do not even open; ``checks`` then says why."""

    row: Block
    sealed: Sealed
    opened: Opened | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Everything holds."""
        return all(check.ok for check in self.checks)


def open_stored(store: Store, gateway: Gateway, epoch: int, seq: int) -> Found | None:
    """The block and its checks, None when it is not held."""
    row, frame = store.block_row(gateway.id, epoch, seq), store.block(gateway.id, epoch, seq)
    if row is None or frame is None:
        return None
    try:
        sealed = transport.unpack(frame)
    except EncodingError as error:
        return Found(row, Sealed(b"", ()), None, (explain(error),))
    installation = store.installation(gateway.id, row.config_number)
    if installation is None:
        return Found(row, sealed, None, (Check("configuration", f"{row.config_number}: not held"),))
    try:
        opened = open_frames(sealed, gateway.key, installation, row.utc_start)
    except TanmeterError as error:
        return Found(row, sealed, None, (explain(error),))
    return Found(
        row,
        sealed,
        opened,
        checks(opened, _safely(_previous, store, gateway, row), _safely(_configuration, store, gateway, row)),
    )


def _safely(
    find: Callable[[Store, Gateway, Block], bytes | None], store: Store, gateway: Gateway, row: Block
) -> bytes | None:
    """What is found; nothing that any hash equals when the stored neighbour itself does not open."""
    try:
        return find(store, gateway, row)
    except TanmeterError:
        return b""


def _previous(store: Store, gateway: Gateway, row: Block) -> bytes | None:
    """The hash of the block before, from its bytes; of the enrolment or receipt where an epoch begins."""
    if row.seq > 0:
        frame = store.block(gateway.id, row.epoch, row.seq - 1)
        return None if frame is None else transport.unpack(frame).hash
    if row.epoch == 0:
        return siteconfig.digest(gateway.enrolment)
    frame = store.block(gateway.id, row.epoch, row.seq)
    if frame is None:
        return None
    previous = open_header(transport.unpack(frame).envelope, gateway.key).previous
    if previous == (enrolment := siteconfig.digest(gateway.enrolment)):
        return enrolment
    named = store.receipt_named(gateway.id, previous) or formers.named(store, gateway.id, previous)
    return None if named is None else siteconfig.digest(named)


def _configuration(store: Store, gateway: Gateway, row: Block) -> bytes | None:
    """The digest of the configuration of this number, once its technician's signature holds; None when not held."""
    held = store.configuration(gateway.id, row.config_number)
    if held is None:
        return None
    siteconfig.open_site(held.envelope, gateway.technician)
    return siteconfig.digest(held.envelope)
