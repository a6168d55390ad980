"""The newest reply to each question of a gateway's devices, out of its blocks: for the eye. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from cloud.ingest import Content
from cloud.strips import Replayed, Row
from protocols.record.block import Header
from protocols.record.stacks import Form


class Answered(msgspec.Struct, frozen=True):
    """The newest reply to a request of a device; where it speaks unasked, the newest that holds these ``points``."""

    device: str
    request: bytes
    points: str
    config_number: int
    at: int
    reply: bytes
    epoch: int
    seq: int


Kind = tuple[str, bytes, str]
"""What an answer is of: the device, its request, and where there is none the points."""
Newest = tuple[Replayed, int, Header]
"""The chunk that holds the newest answer, the track, and the block."""


def of(shown: Sequence[tuple[Header, Content]]) -> dict[Kind, Newest]:
    """The newest answers of blocks that follow one another. The newest block is looked into first: of the rows of a
    form only the newest is.
    """
    found: dict[Kind, Newest] = {}
    seen: set[Form | None] = set()
    for header, content in reversed(shown):
        said: dict[Kind, Newest] = {}
        for replayed in content.chunks:
            if (form := replayed.form) not in seen:
                _put(said, content.installation.site.device[replayed.device].id, header, replayed)
                if form is not None and _are_apart(form.requests):
                    seen.add(form)
        found = said | found
    return found


def answers(found: Mapping[Kind, Newest]) -> list[Answered]:
    """Each with its reply cut out."""
    return [_answered(key, *newest) for key, newest in found.items()]


def heard(header: Header, content: Content) -> list[Answered]:
    """The newest answer to each request of a block by itself, as ``Book`` would find it: for the eye."""
    newest: dict[Kind, Newest] = {}
    for replayed in content.chunks:
        _put(newest, content.installation.site.device[replayed.device].id, header, replayed)
    return answers(newest)


def _put(known: dict[Kind, Newest], device: str, header: Header, replayed: Replayed) -> None:
    """Put the newest answer of each kind in its place; one of a later block is newer whatever its time."""
    requests = replayed.requests
    if _are_apart(requests):
        for at, request in enumerate(requests):
            known[device, request, ""] = (replayed, at, header)
        return
    for at, (request, table) in enumerate(zip(requests, replayed.tables, strict=True)):
        key = (device, request, "" if request else " ".join([point.id for point in table.points]))
        held = known.get(key)
        if held is None or held[2] is not header or max(table.times) >= max(held[0].tables[held[1]].times):
            known[key] = (replayed, at, header)


def _are_apart(requests: Sequence[bytes]) -> bool:
    """Whether each by itself tells what its answers are of."""
    return all(requests) and len(set(requests)) == len(requests)


def _answered(key: Kind, replayed: Replayed, track: int, header: Header) -> Answered:
    times, columns = _said(replayed, track)
    at = max(times)
    reply = columns[times.index(at) :: len(times)]
    return Answered(*key, header.configuration[0], header.utc[0] + at, reply, header.epoch, header.seq)


def _said(replayed: Replayed, track: int) -> tuple[Sequence[int], bytes]:
    """When the replies of a track came (ms since block start), and their bytes; of a row without making its chunk."""
    if not isinstance(replayed, Row):
        return replayed.chunk.tracks[track].times, replayed.chunk.tracks[track].columns
    place = replayed.form.skeleton.places[track]
    return replayed.strip.listed[track][replayed.index], replayed.strip.leaves[replayed.index][place.start : place.end]
