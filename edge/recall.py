"""Where the run before ended, and what it put on record last of devices that speak unasked: they may say it again."""

from collections.abc import Sequence

from drivers.driver import Driver
from drivers.installation import UNASKED
from edge.belief import Known, is_known
from edge.outbox import Outbox
from protocols.record import transport
from protocols.record.block import Chunk, open_header
from protocols.record.cose import PublicKey

BLOCKS = 12
SIZE = 4 << 20
LOOKED_AT = 64

Recalled = tuple[int | None, dict[int, list[bytes]]]
"""UTC ms of the end, None when nothing ran before; packets by device number, oldest first."""


def recall(outbox: Outbox, drivers: Sequence[Driver]) -> Recalled:
    """The end of the last run and the packets in its last BLOCKS blocks."""
    chain, found = outbox.chain(), dict[int, list[bytes]]()
    unasked = {number for number, driver in enumerate(drivers) if driver.profile.protocol in UNASKED}
    link = chain.link
    for stored in outbox.batch(link.epoch, max(0, link.seq - BLOCKS), BLOCKS, SIZE) if unasked else ():
        for leaf in transport.unpack(stored.frame).chunks:
            chunk = Chunk.from_bytes(leaf)
            if chunk.device in unasked:
                found.setdefault(chunk.device, []).extend(raw for track in chunk.tracks for raw in track.replies())
    return chain.last_utc or None, found


def last_known(outbox: Outbox, key: PublicKey) -> Known | None:
    """The end of the newest block that knew the time, of the last LOOKED_AT; None when none did."""
    link = outbox.chain().link
    for seq in range(link.seq - 1, max(-1, link.seq - 1 - LOOKED_AT), -1):
        for stored in outbox.batch(link.epoch, seq, 1, SIZE):
            header = open_header(transport.unpack(stored.frame).envelope, key)
            if is_known(header.clock, min(header.utc)):
                return Known(header.utc[1], header.clock.error_ms)
    return None
