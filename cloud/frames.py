"""A stored block opened again on request: its frames, what they say, every check made anew."""

from collections.abc import Iterator
from dataclasses import dataclass

from drivers.installation import Installation
from drivers.profile import Point
from drivers.reading import Reading
from drivers.replay import replay
from drivers.site import Device
from protocols.errors import ProtocolError, TanmeterError
from protocols.record import block, cose
from protocols.record.block import Chunk, Header, Sealed


@dataclass(frozen=True, slots=True)
class Frame:
    """One question as asked and answered. ``at``: UTC ms of the first reply byte. ``error``: why it says nothing."""

    at: int
    device: int
    request: bytes
    reply: bytes
    readings: tuple[Reading, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Miss:
    """One question without an answer, or not asked. ``code``: fault code of RECORD.md."""

    at: int
    device: int
    request: bytes
    code: int


@dataclass(frozen=True, slots=True)
class Part:
    """One device's chunk in the block."""

    entry: Device
    chunk: Chunk
    leaf: bytes
    frames: tuple[Frame, ...]
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing verified while the page was made. ``error`` is what was found instead, None when it holds."""

    name: str
    error: str | None = None

    @property
    def ok(self) -> bool:
        """It holds."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Opened:
    """A block verified and replayed just now."""

    sealed: Sealed
    header: Header
    key: cose.PublicKey
    installation: Installation
    parts: tuple[Part, ...]

    def frames(self) -> Iterator[Frame]:
        """Every answered question, device by device, in time."""
        for part in self.parts:
            yield from part.frames


def open_frames(sealed: Sealed, key: cose.PublicKey, installation: Installation, start: int) -> Opened:
    """Verify a block against its gateway's key and replay it; SignatureError, EncodingError, ChainError.

    ``start``: when it began (UTC ms), which is not what it believed where a correction has dated it.
    """
    header, chunks = block.open_block(sealed, key)
    parts = tuple(_part(start, chunk, leaf, installation) for chunk, leaf in zip(chunks, sealed.chunks, strict=True))
    return Opened(sealed, header, key, installation, parts)


def checks(opened: Opened, previous: bytes | None, configuration: bytes | None) -> tuple[Check, ...]:
    """What was verified: signature, tree and counts by having been opened; then chain, configuration and replay.

    ``previous``: the hash the block before it has, ``configuration``: the digest of the configuration in its number,
    both computed anew from stored bytes; None when there is nothing held to compare with.
    """
    header = opened.header
    bad = [frame for frame in opened.frames() if frame.error]
    return (
        Check("signature"),
        Check("tree"),
        Check("counts"),
        Check("chain", _differs(header.previous, previous)),
        Check("configuration", _differs(header.configuration[1], configuration)),
        Check("replay", f"{len(bad)}: {bad[0].error}" if bad else None),
    )


def point_of(opened: Opened, frame: Frame, point: str) -> Point:
    """The profile's entry of a reading's point; KeyError."""
    return opened.installation.profiles[opened.installation.site.device[frame.device].profile].point(point)


def find(opened: Opened, device: str, point: str, at: int) -> tuple[Frame, Reading] | None:
    """The frame that holds a device's reading of a point at an instant (UTC ms), None when this block has none.

    A register that the meter kept for that instant is one, too.
    """
    for frame in opened.frames():
        if opened.installation.site.device[frame.device].id == device:
            for reading in frame.readings:
                if reading.at == at and point in (reading.point, point_of(opened, frame, reading.point).of):
                    return frame, reading
    return None


def _part(start: int, chunk: Chunk, leaf: bytes, installation: Installation) -> Part:
    driver = installation.driver(chunk.device, chunk.device_digest)
    answered = [
        _frame(installation, chunk, start + at, track.request, reply)
        for track in chunk.tracks
        for at, reply in zip(track.times, track.replies(), strict=True)
    ]
    queries = driver.queries()
    misses = [
        Miss(
            start + fault.at,
            chunk.device,
            queries[fault.query].request if fault.query < len(queries) else b"",
            fault.code,
        )
        for fault in chunk.faults
    ]
    return Part(
        installation.site.device[chunk.device],
        chunk,
        leaf,
        tuple(sorted(answered, key=lambda frame: frame.at)),
        tuple(sorted(misses, key=lambda miss: miss.at)),
    )


def _frame(installation: Installation, chunk: Chunk, at: int, request: bytes, reply: bytes) -> Frame:
    driver = installation.driver(chunk.device, chunk.device_digest)
    try:
        readings = replay(driver, request, reply, at, chunk.device)
    except ProtocolError as error:
        return Frame(at, chunk.device, request, reply, (), f"{error.code} {error}")
    return Frame(at, chunk.device, request, reply, readings)


def _differs(found: bytes, expected: bytes | None) -> str | None:
    if expected is None:
        return f"{found.hex()}: not held"
    return None if found == expected else f"{found.hex()} ≠ {expected.hex()}"


def explain(error: TanmeterError) -> Check:
    """The check that failed when a stored block does not even open."""
    return Check({"SIG-601": "signature", "REC-601": "encoding"}.get(error.code, "tree"), str(error))
