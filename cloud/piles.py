"""Cuts blocks into chunks and reads like ones together, of many blocks and gateways, as rows of one matrix. Pure.

A chunk that looks like one read before is not taken apart: it is held to its form, and replayed, with all that have its
skeleton. A chunk that has no form is read by the rules, by itself; a block of which a chunk has not the form that it
looks like is read by the rules altogether.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, islice
from operator import ge
from typing import Any

import numpy as np

from cloud.strips import Replayed, Row, Single, Strip
from drivers.columns import Layouts, read_stacked, steps
from drivers.installation import Installation
from drivers.layouts import Layout
from drivers.steps import Steps, finished
from protocols.errors import ChainError, EncodingError, ProtocolError, RecordError
from protocols.record import block, cbor, merkle, transport
from protocols.record.block import Chunk, Header
from protocols.record.chunk import MOST_TRACKS
from protocols.record.stacks import Form, Forms, Skeleton, Stack, stack

MOST_ORDERED = 1 << 16
"""Chunks whose order in a block is remembered, of all gateways and all sizes of their blocks."""

MOST_BYTES = 1 << 18
"""Of chunks without a form that are read ahead in one block: some milliseconds of reading, and of making forms. A block
that has more is left to be read in its turn; of the next one like it, those that were read have their forms.
"""
MOST_ALONE = 1 << 13
"""Bytes of answers that are replayed ahead where they may have to be read one by one: some 10 ms, of M-Bus 60."""
ITEM_BYTES, EXCHANGE_BYTES = 512, 16
"""What a chunk, a track and the labour of a form count for beside the bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """How the chunks of a block lay: the form of each and where it is."""

    forms: tuple[Form, ...]
    spans: tuple[slice, ...]
    tracks: int


@dataclass(slots=True, eq=False)
class Cut:
    """A block cut into chunks: of each what it says, or the form that it looks like; None: left to be read in its turn.
    ``tracks``: how many there are in all of its chunks. ``said``: those that are known with their values, by the
    ``installation`` of the configuration that it names.
    """

    installation: Installation
    header: Header
    data: bytes
    leaves: list[bytes]
    parts: Sequence[Form | Chunk | None]
    tracks: int
    said: dict[int, Replayed] = field(default_factory=dict)

    @property
    def whole(self) -> tuple[Replayed, ...] | None:
        """Every chunk with its values; None when one of them has none."""
        if len(self.said) < len(self.parts):
            return None
        return tuple([self.said[place] for place in range(len(self.parts))])


Place = tuple[Cut, int]
"""A block, and which of its chunks."""
Kind = tuple[Form, Installation]
"""What is said in one way: chunks of one form under one configuration."""


@dataclass(frozen=True, slots=True)
class Pile:
    """Chunks of one skeleton: those of one kind after those of another, as rows of a stack."""

    places: dict[Kind, list[Place]]
    stack: Stack


class Piles:
    """Reads the chunks of blocks. It remembers forms, and where points lie in replies: one for a thread."""

    def __init__(self) -> None:
        self._layouts, self._forms = Layouts(), Forms()
        self._orders: dict[tuple[bytes, int], Order] = {}
        self._ordered = 0

    def cut(self, installation: Installation, header: Header, data: bytes) -> Cut:
        """The chunks behind an envelope, once they are known to be under its root; RecordError, for some reason.

        Where so many chunks lie in so many bytes as in a block before, they are cut like those: what is under the root
        then is these very chunks, be they of those forms or not.
        """
        order = self._orders.get((header.gateway, len(data)))
        if order is not None and len(order.forms) == header.chunks[0]:
            leaves = [data[span] for span in order.spans]
            if merkle.root(leaves) == header.chunks[1]:
                return Cut(installation, header, data, leaves, order.forms, order.tracks)
        return self._cut(installation, header, data, self._forms)

    def _cut(self, installation: Installation, header: Header, data: bytes, forms: Forms) -> Cut:
        """As ``cut``, one chunk after another: those that look like one of these forms, and the others by the rules."""
        leaves, parts, items, at = list[bytes](), list[Any](), dict[int, Any](), 0
        if header.chunks[0] > transport.MOST_CHUNKS:
            raise EncodingError(f"found {header.chunks[0]} chunks, expected at most {transport.MOST_CHUNKS}")
        for place in range(header.chunks[0]):
            form = forms.of(data, at)
            if form is not None:
                end = at + form.skeleton.size
            elif data.startswith(transport.CHUNK_HEAD, at):
                items[place], end = cbor.item(data, at)
            else:
                raise EncodingError(f"found {data[at : at + 1].hex()} at byte {at}, expected a7: a chunk")
            leaves.append(data[at:end])
            parts.append(form)
            at = end
        if at != len(data):
            raise EncodingError(f"found {len(data) - at} bytes behind the last chunk, expected none")
        block.check_root(header, leaves)
        if not self._read(leaves, parts, items):
            return Cut(installation, header, data, leaves, [None] * len(leaves), MOST_TRACKS)
        cut = Cut(installation, header, data, leaves, parts, _tracks(parts))
        _check_together(cut, [parts[place] for place in items])
        if not items:
            self._remember(cut)
        return cut

    def _read(self, leaves: Sequence[bytes], parts: list[Any], items: Mapping[int, Any]) -> bool:
        """Read by the rules the chunks that have no form, and make forms of them; False where they are too many."""
        size = 0
        for place, value in items.items():
            if size > MOST_BYTES:
                return False
            parts[place] = chunk = Chunk.of_item(leaves[place], value)
            labour = self._forms.learn(chunk, leaves[place])
            size += len(leaves[place]) + ITEM_BYTES * (1 + len(chunk.tracks)) + EXCHANGE_BYTES * labour
        return True

    def _remember(self, cut: Cut) -> None:
        """Remember the order of a block whose chunks all look like a form."""
        if self._ordered >= MOST_ORDERED:
            self._orders, self._ordered = {}, 0
        ends = list(accumulate(map(len, cut.leaves)))
        spans = tuple(map(slice, [0, *ends], ends))
        forms = tuple([part for part in cut.parts if isinstance(part, Form)])
        self._orders[cut.header.gateway, len(cut.data)] = Order(forms, spans, cut.tracks)
        self._ordered += len(forms)

    def say(self, cuts: Sequence[Cut]) -> None:
        """Put values to the chunks of blocks; of a block that is not in order some are left without."""
        piles, misfits = _piled(cuts)
        if misfits:
            cuts = [cut for cut in cuts if cut not in misfits or self._recut(cut)]
            piles, _ = _piled(cuts)
        alone = [(cut, at, part) for cut in cuts for at, part in enumerate(cut.parts) if isinstance(part, Chunk)]
        for pile in piles:
            alone += self._say_alike(pile)
        self._say_alone(alone)

    def replay(self, said: Sequence[tuple[Installation, Chunk]]) -> Steps[tuple[Replayed, ...]]:
        """The values of chunks, each by the installation beside it; a step wherever some answers have been read one by
        one. ChainError for a device that is not there, ProtocolError.
        """
        drivers = [installation.driver(chunk.device, chunk.device_digest) for installation, chunk in said]
        tracks = [(driver, track) for driver, (_, chunk) in zip(drivers, said, strict=True) for track in chunk.tracks]
        tables = iter((yield from steps(tracks, self._layouts)))
        return tuple([Single(chunk, tuple(islice(tables, len(chunk.tracks)))) for _, chunk in said])

    def _recut(self, cut: Cut) -> bool:
        """Read a block by the rules: one of its chunks only looks like its form. Whether it can be read."""
        try:
            cut.parts = self._cut(cut.installation, cut.header, cut.data, Forms()).parts
        except RecordError:
            return False
        return True

    def _say_alike(self, pile: Pile) -> list[tuple[Cut, int, Chunk]]:
        """Put values to the chunks of a pile; those that must be replayed by themselves are returned."""
        stacked, counts = pile.stack, [len(places) for places in pile.places.values()]
        layouts = [self._layouts_of(*kind) for kind in pile.places]
        read = [
            read_stacked(list(zip([own[track] for own in layouts], counts, strict=True)), stacked.columns(track))
            for track in range(len(stacked.times))
        ]
        alone, first = list[tuple[Cut, int, Chunk]](), 0
        for ((form, _), places), *stretches in zip(pile.places.items(), *read, strict=True):
            leaves = [cut.leaves[at] for cut, at in places]
            times = [own[first : first + len(places)] for own in stacked.times]
            first += len(places)
            found = [stretch for stretch in stretches if stretch is not None]
            if len(found) == len(stretches):
                strip = Strip(form, leaves, times, found)
                for index, (cut, at) in enumerate(places):
                    cut.said[at] = Row(strip, index)
            else:
                for index, (cut, at) in enumerate(places):
                    alone.append((cut, at, form.chunk(leaves[index], [own[index].tolist() for own in times])))
        return alone

    def _layouts_of(self, form: Form, installation: Installation) -> Sequence[Layout | None]:
        """The layout of each track of a form; None where its replies are read one by one, or nobody asks so."""
        try:
            driver = installation.driver(form.device, form.digest)
            pairs = zip(form.requests, form.skeleton.places, strict=True)
            return [self._layouts.of(driver, request, place.reply_length) for request, place in pairs]
        except (RecordError, ProtocolError):
            return [None] * len(form.requests)

    def _say_alone(self, alone: Sequence[tuple[Cut, int, Chunk]]) -> None:
        """Put values to these chunks, together. Where they are very many, the others are left to their turn, in which
        each block is held to its plan before it is replayed; where one is broken, all are, and not read again ahead.
        """
        sizes = accumulate([sum([len(track.columns) for track in chunk.tracks]) for _, _, chunk in alone])
        alone = [held for held, size in zip(alone, sizes, strict=True) if size <= MOST_ALONE]
        with suppress(RecordError, ProtocolError):
            said = finished(self.replay([(cut.installation, chunk) for cut, _, chunk in alone]))
            for (cut, at, _), one in zip(alone, said, strict=True):
                cut.said[at] = one


def _piled(cuts: Sequence[Cut]) -> tuple[list[Pile], set[Cut]]:
    """The chunks that look like a form, skeleton by skeleton; and the blocks of those that have not that form."""
    found: dict[Skeleton, dict[Kind, list[Place]]] = {}
    for cut in cuts:
        for at, part in enumerate(cut.parts):
            if isinstance(part, Form):
                found.setdefault(part.skeleton, {}).setdefault((part, cut.installation), []).append((cut, at))
    piles, misfits = list[Pile](), set[Cut]()
    for skeleton, places in found.items():
        rows = [place for held in places.values() for place in held]
        forms = [form for (form, _), held in places.items() for _ in held]
        spans = [cut.header.mono[1] - cut.header.mono[0] for cut, _ in rows]
        stacked = stack(skeleton, forms, [cut.leaves[at] for cut, at in rows], spans)
        if stacked.misfits.any():
            misfits.update(rows[row][0] for row in np.flatnonzero(stacked.misfits).tolist())
        piles.append(Pile(places, stacked))
    return piles, misfits


def _tracks(parts: Sequence[Form | Chunk]) -> int:
    return sum([len(part.requests if isinstance(part, Form) else part.tracks) for part in parts])


def _check_together(cut: Cut, read: Sequence[Chunk]) -> None:
    """What header and chunks must agree on, as far as it is not found out of a stack; ChainError."""
    devices = [part.device for part in cut.parts if part is not None]
    if any(map(ge, devices, devices[1:])) or cut.tracks > MOST_TRACKS:
        raise ChainError("found too many tracks, or a device out of its place")
    if read:
        block.check_together(cut.header, read)
