"""Replay: readings out of recorded bytes, by the very driver that asked. Plain Python: what a verifier runs."""

from collections.abc import Iterator

from drivers.driver import Driver
from drivers.installation import Installation
from drivers.quantity import quality
from drivers.query import Values
from drivers.reading import Reading
from protocols.record.block import Chunk, Header


def values(driver: Driver, request: bytes, reply: bytes) -> Values:
    """What a recorded reply says; ProtocolError when the driver would not have taken it."""
    talk = driver.read(request)
    next(talk)
    try:
        talk.send(reply)
    except StopIteration as done:
        held: Values = done.value
        return held
    raise AssertionError("a driver asks once")


def replay(driver: Driver, request: bytes, reply: bytes, at: int, device: int) -> tuple[Reading, ...]:
    """The readings of one exchange at ``at`` (UTC ms), or when the device itself says they are of; ProtocolError."""
    held = values(driver, request, reply)
    stamp = driver.stamp(request, reply)
    at = at if stamp is None else stamp
    return tuple(
        [
            Reading(device, point.id, held[point.id], point.unit, at, quality(point, held))
            for point in driver.profile.points
            if point.id in held
        ]
    )


def replay_chunk(installation: Installation, header: Header, chunk: Chunk) -> Iterator[Reading]:
    """Every reading of one device in one block, track by track in order of time.

    ChainError when the configuration has no such device entry; ProtocolError when a sealed reply does not decode: then
    the block holds what no driver would have recorded.
    """
    driver = installation.driver(chunk.device, chunk.device_digest)
    for track in chunk.tracks:
        for time, reply in zip(track.times, track.replies(), strict=True):
            yield from replay(driver, track.request, reply, header.utc[0] + time, chunk.device)
