"""Chunks with their values: read alike many at once, and lying row by row in the matrices they were read in. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.columns import Stretch, Table
from protocols.record.block import Chunk, Counters
from protocols.record.stacks import Form


class Replayed(Protocol):
    """One chunk with its tracks as tables, in the same order."""

    @property
    def device(self) -> int:
        """The number of its device."""

    @property
    def form(self) -> Form | None:
        """Its form; None: it was read by itself."""

    @property
    def requests(self) -> tuple[bytes, ...]:
        """What each track answers."""

    @property
    def counters(self) -> Counters:
        """What became of its questions."""

    @property
    def readings(self) -> int:
        """How many readings it holds, absent ones included."""

    @property
    def chunk(self) -> Chunk:
        """The chunk itself."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The values of its tracks."""


@dataclass(frozen=True, slots=True)
class Single:
    """A chunk that was read by itself."""

    chunk: Chunk
    tables: tuple[Table, ...]

    @property
    def device(self) -> int:
        """The number of its device."""
        return self.chunk.device

    @property
    def form(self) -> None:
        """It was read by itself."""

    @property
    def requests(self) -> tuple[bytes, ...]:
        """What each track answers."""
        return tuple([track.request for track in self.chunk.tracks])

    @property
    def counters(self) -> Counters:
        """What became of its questions."""
        return self.chunk.counters

    @property
    def readings(self) -> int:
        """How many readings it holds, absent ones included."""
        return sum([table.readings for table in self.tables])


@dataclass(frozen=True, eq=False)
class Strip:
    """Chunks of one form, one a row, in the order of their blocks. ``times``: of each track, rows by replies (ms since
    block start). ``stretches``: where the numbers of each track lie, one reply a row.
    """

    form: Form
    leaves: Sequence[bytes]
    times: Sequence[NDArray[np.int64]]
    stretches: Sequence[Stretch]

    @cached_property
    def listed(self) -> list[list[list[int]]]:
        """The times of each track, row by row."""
        return [own.tolist() for own in self.times]

    def tables(self, first: int, end: int) -> tuple[Table, ...]:
        """The values of each track in some of its rows."""
        return tuple(
            [
                Table(
                    tuple(own[first:end].ravel().tolist()),
                    one.layout,
                    one.whole,
                    None,
                    one.first + first * own.shape[1],
                )
                for own, one in zip(self.times, self.stretches, strict=True)
            ]
        )

    @cached_property
    def readings(self) -> int:
        """How many readings each row holds, absent ones included."""
        return sum([own.shape[1] * len(one.layout.points) for own, one in zip(self.times, self.stretches, strict=True)])


class Row(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One chunk of a strip. It becomes a chunk, and its tracks tables, when it is asked for them. (A struct: one is
    made of every chunk, and a frozen dataclass takes several times as long to make.)
    """

    strip: Strip
    index: int

    def is_followed(self, other: Replayed, by: int) -> bool:
        """Whether the other is so many rows behind it in its strip."""
        return isinstance(other, Row) and other.strip is self.strip and other.index == self.index + by

    @property
    def device(self) -> int:
        """The number of its device."""
        return self.strip.form.device

    @property
    def form(self) -> Form:
        """Its form."""
        return self.strip.form

    @property
    def requests(self) -> tuple[bytes, ...]:
        """What each track answers."""
        return self.strip.form.requests

    @property
    def counters(self) -> Counters:
        """What became of its questions."""
        return self.strip.form.skeleton.counters

    @property
    def readings(self) -> int:
        """How many readings it holds, absent ones included."""
        return self.strip.readings

    @property
    def chunk(self) -> Chunk:
        """The chunk itself."""
        times = [own[self.index] for own in self.strip.listed]
        return self.strip.form.chunk(self.strip.leaves[self.index], times)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The values of its tracks."""
        return self.strip.tables(self.index, self.index + 1)
