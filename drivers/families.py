"""Numbers out of the replies of a track, many points at once: one family for each way in which numbers are coded.

Every family reads the bytes of all replies with numpy and comes to the numbers that the driver comes to one by one, or
says that it cannot, and then the driver is asked reply by reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.profile import Point
from drivers.registers import REGISTERS, WORD, coding, ordered

Numbers: TypeAlias = NDArray[Any]
"""int64 (uint64 for the type u64), or float64 that holds the meter's own IEEE number."""
Mask: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
"""Replies of a track, one a row, each with a zero byte behind it."""
Matrix: TypeAlias = tuple[Numbers, Mask | None]
"""Replies by points: the numbers, and which of them are valid (None: all)."""
Patterns: TypeAlias = tuple[tuple[int, int], ...]
"""Columns and the bit patterns that are no value in them."""

_WHOLE = {f"{sign}{bits}": f"{sign}{bits // 8}" for sign in "ui" for bits in (16, 32, 64)}
"""What numpy calls the integers that it has, too."""
LEAST = 4
"""Points in a run, on average, from which on reading run by run costs less than byte by byte."""
WIDEST = 1 << 63
"""A product below this fits int64."""


class Family(Protocol):
    """Points of a request that are worked out together."""

    @property
    def dtype(self) -> type[np.generic]:
        """What their numbers are held in."""

    def read(self, rows: Bytes) -> Matrix | None:
        """Their numbers; None when a reply holds what is no number."""


@dataclass(frozen=True, slots=True)
class Integers:
    """Modbus integers and bits: eight bytes each, low byte first, shifted down with their sign."""

    gather: NDArray[np.intp]
    shift: NDArray[np.int64] | None
    mask: NDArray[np.int64] | None
    bad: Patterns
    dtype: type[np.generic]

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply."""
        raw: Numbers = rows.take(self.gather, axis=1).view(self.dtype)
        valid = _valid(raw, self.bad) if self.bad else None
        if self.shift is not None:
            raw = raw >> self.shift
        return (raw if self.mask is None else raw & self.mask), valid


Run: TypeAlias = tuple[slice, slice, str]
"""Columns of one type whose bytes lie side by side: which, where their bytes are, and what numpy calls the type."""


@dataclass(frozen=True, slots=True)
class Adjoining:
    """Modbus integers that lie side by side, type by type: as ``Integers``, in a fraction of the time."""

    runs: tuple[Run, ...]
    count: int
    bad: Patterns
    dtype: type[np.generic]

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply."""
        numbers: Numbers = np.empty((len(rows), self.count), self.dtype)
        for columns, places, kind in self.runs:
            numbers[:, columns] = rows[:, places].view(kind)
        return numbers, _valid(numbers, self.bad) if self.bad else None


@dataclass(frozen=True, slots=True)
class Reals:
    """Modbus IEEE numbers, low byte first."""

    gather: NDArray[np.intp]
    stored: type[np.floating[Any]]
    bits: type[np.unsignedinteger[Any]]
    bad: Patterns
    dtype: type[np.generic] = np.float64

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply; not valid where they are none or infinite."""
        raw = rows.take(self.gather, axis=1)
        numbers: Numbers = raw.view(self.stored)
        valid: Mask = np.isfinite(numbers)
        if self.bad:
            valid &= _valid(raw.view(self.bits), self.bad)
        if not valid.all():
            numbers = np.where(valid, numbers, self.stored(0))
        return numbers.astype(np.float64), valid


@dataclass(frozen=True, slots=True)
class Signs:
    """Modbus sign and magnitude: eight bytes each, high byte first; ``sign`` is the bit of the sign in each column."""

    gather: NDArray[np.intp]
    sign: NDArray[np.uint64]
    bad: Patterns
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply."""
        raw: Numbers = rows.take(self.gather, axis=1).view(">u8").astype(np.uint64)
        size = (raw & (self.sign - np.uint64(1))).astype(np.int64)
        numbers = np.where(raw & self.sign, -size, size)
        return numbers, _valid(raw, self.bad) if self.bad else None


@dataclass(frozen=True, slots=True)
class Packed:
    """Modbus BCD: eight bytes each, high byte first; ``own`` are the bytes that a point really has."""

    gather: NDArray[np.intp]
    own: Mask
    bad: Patterns
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The numbers of every reply; not valid where filled with F, None where a digit is above 9."""
        raw = rows.take(self.gather, axis=1)
        pairs = _PAIRS[raw].reshape(len(rows), -1, 8)
        if pairs.min() >= 0 and not self.bad:
            return pairs @ _EIGHT_PAIRS, None
        right = np.logical_and.reduce(pairs >= 0, axis=2)
        filled = np.logical_and.reduce((raw.reshape(pairs.shape) == 0xFF) | ~self.own, axis=2)
        known = _valid(raw.view(">u8"), self.bad)
        if not (right | filled | ~known).all():
            return None
        valid = right & known
        return (pairs * valid[:, :, np.newaxis]) @ _EIGHT_PAIRS, valid


@dataclass(frozen=True, slots=True)
class Thousands:
    """Modbus mod10k: four words each, high word and high byte first."""

    gather: NDArray[np.intp]
    bad: Patterns
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The numbers of every reply; None where a word is above 9999."""
        raw = rows.take(self.gather, axis=1)
        words = raw.view(">i2").astype(np.int64).reshape(len(rows), -1, 4)
        valid = _valid(raw.view(">u8"), self.bad) if self.bad else None
        if valid is not None:
            words *= valid[:, :, np.newaxis]
        if words.max() >= WORD or words.min() <= -WORD:
            return None
        return words @ _FOUR_WORDS, valid


@dataclass(frozen=True, slots=True)
class Multiplied:
    """Modbus integers times a factor from the same reply, or times ten to the power of one; column by column.

    ``powers``: the least and the greatest exponent; None: the factor itself.
    """

    numbers: Family
    factors: Family
    powers: tuple[int, int] | None
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The products of every reply; None where an exponent or a product is beyond what it may be."""
        base, factors = self.numbers.read(rows), self.factors.read(rows)
        if base is None or factors is None:
            return None
        valid = _both(base[1], factors[1])
        left, right = (matrix[0] if valid is None else matrix[0] * valid for matrix in (base, factors))
        if self.powers is not None:
            if (exponents := self._exponents(right, valid)) is None:
                return None
            right = _POWERS[exponents]
        if _largest(left) * _largest(right) >= WIDEST:
            return None
        return left.astype(np.int64) * right.astype(np.int64), valid

    def _exponents(self, raw: Numbers, valid: Mask | None) -> Numbers | None:
        """How far above the least the exponents are; None where one is outside."""
        low, high = self.powers or (0, 0)
        there = np.ones(raw.shape, np.bool_) if valid is None else valid
        if ((raw < low) | (raw > high))[there].any():
            return None
        exponents: Numbers = np.where(there, raw.astype(np.int64) - low, 0)
        return exponents


@dataclass(frozen=True, slots=True)
class Digits:
    """BCD items of one format with +33H on each byte, high byte first."""

    gather: NDArray[np.intp]
    weights: NDArray[np.int64]
    signed: bool
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The numbers of every reply; not valid where filled with FF, None where a digit is above 9."""
        raw = rows.take(self.gather, axis=1).reshape(len(rows), -1, len(self.weights))
        pairs: Numbers = _SHIFTED_PAIRS[raw]
        if self.signed:
            pairs[:, :, 0] = _SIGNED_PAIRS[raw[:, :, 0]]
        valid: Mask | None = None
        if pairs.min() < 0:
            valid = np.logical_and.reduce(pairs >= 0, axis=2)
            filled = np.logical_and.reduce(raw == _FILL, axis=2)
            if not np.logical_or(valid, filled).all():
                return None
            pairs *= valid[:, :, np.newaxis]
        numbers = pairs @ self.weights
        if self.signed:
            numbers *= _SIGN[raw[:, :, 0]]
        return numbers, valid


@dataclass(frozen=True, slots=True)
class Coded:
    """CJ/T 188 numbers: four BCD bytes each, high byte first, and a code that says what one digit is worth.

    ``weights``: of each byte, 0 where a number is shorter; ``steps``: by column and code, 0 for one that only the
    driver knows; ``signed``: columns with a sign in the top bit; ``nines``: those that 99 fills as FF does.
    """

    gather: NDArray[np.intp]
    weights: NDArray[np.int64]
    codes: NDArray[np.intp]
    steps: NDArray[np.int64]
    signed: Mask
    nines: Mask
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The numbers of every reply; not valid where filled, None where a digit is above 9 or a code is not known."""
        raw = rows.take(self.gather, axis=1).reshape(len(rows), -1, 4)
        beyond = self.weights == 0
        filled = ((raw == 0xFF) | beyond).all(axis=2) | ((raw == 0x99) | beyond).all(axis=2) & self.nines
        minus = (raw[:, :, 0] >= 0x80) & self.signed
        raw[:, :, 0] &= np.where(minus, 0x7F, 0xFF).astype(np.uint8)
        pairs = _PAIRS[raw]
        steps = self.steps[np.arange(len(self.codes)), rows[:, self.codes]]
        if ((np.logical_or.reduce(pairs < 0, axis=2) | (steps == 0)) & ~filled).any():
            return None
        numbers = (pairs * self.weights).sum(axis=2) * np.where(minus, -steps, steps)
        return np.where(filled, 0, numbers), ~filled


@dataclass(frozen=True, slots=True)
class Missing:
    """Points beyond the end of a block: this meter has none of them."""

    count: int
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix:
        """Nothing valid."""
        shape = (len(rows), self.count)
        return np.zeros(shape, np.int64), np.zeros(shape, np.bool_)


Part: TypeAlias = tuple[Point, int]
"""A Modbus point and where it begins in the payload: a byte, or a bit for coils and inputs."""


def kind_of(point: Point) -> str:
    """Which Modbus points can be one family."""
    how = coding(str(point.type))
    if how in ("bcd", "sm", "mod10k"):
        return how
    return str(point.type) if point.type in ("f32", "f64", "u64") else "i64"


def registers(kind: str, parts: Sequence[Part], start: int, length: int) -> Family:
    """The family of Modbus points of one kind; the payload starts at byte ``start``, byte ``length`` is zero."""
    if kind in _REALS:
        gather = [at for point, part in parts for at in reversed(_spots(point, start + part))]
        return Reals(np.array(gather, np.intp), *_REALS[kind], _patterns(parts, [0] * len(parts)))
    if kind in ("i64", "u64"):
        return _integers(kind, parts, start, length)
    spots = [_spots(point, start + part) for point, part in parts]
    places = np.array([[length] * (8 - len(own)) + own for own in spots], np.intp)
    bad = _patterns(parts, [0] * len(parts))
    if kind == "bcd":
        return Packed(places.ravel(), places != length, bad)
    if kind == "mod10k":
        return Thousands(places.ravel(), bad)
    return Signs(places.ravel(), np.array([1 << 8 * len(own) - 1 for own in spots], np.uint64), bad)


def items(count: int, signed: bool, width: int, places: Sequence[int]) -> Family:
    """The family of DL/T 645 items of ``width`` bytes that begin at ``places`` of a frame; none: ``count`` missing."""
    if not places:
        return Missing(count)
    gather = [at + byte for at in places for byte in reversed(range(width))]
    weights = np.array([100**power for power in reversed(range(width))], np.int64)
    return Digits(np.array(gather, np.intp), weights, signed)


def words(parts: Sequence[tuple[int, int]], low: int, length: int) -> Family:
    """The family of bits of a word whose bytes are at ``low`` and behind: by how much each is shifted, and its mask."""
    gather = [low, low + 1, *[length] * 6] * len(parts)
    shifts, masks = (np.array(own, np.int64) for own in zip(*parts, strict=True))
    return Integers(np.array(gather, np.intp), shifts, masks, (), np.int64)


def _integers(kind: str, parts: Sequence[Part], start: int, length: int) -> Family:
    gather: list[int] = []
    shifts, lifts = [], []
    for point, part in parts:
        coil = point.type == "bit"
        spots = [start + part // 8] if coil else _spots(point, start + part)[::-1]
        pad = [length] * (8 - len(spots))
        signed = str(point.type).startswith("i")
        lift = 8 * len(pad) if signed else 0
        gather += pad + spots if signed else spots + pad
        lifts.append(lift)
        shifts.append(lift + (part % 8 if coil else point.bit or 0))
    single = [point.type == "bit" or point.bit is not None for point, _ in parts]
    mask = np.array([1 if one else -1 for one in single], np.int64) if any(single) else None
    shift = np.array(shifts, np.int64) if any(shifts) else None
    dtype, bad = np.uint64 if kind == "u64" else np.int64, _patterns(parts, lifts, kind == "i64")
    if (runs := _runs(parts, start)) is not None:
        return Adjoining(runs, len(parts), tuple([(column, own >> lifts[column]) for column, own in bad]), dtype)
    return Integers(np.array(gather, np.intp), shift, mask, bad, dtype)


def _runs(parts: Sequence[Part], start: int) -> tuple[Run, ...] | None:
    """The runs that points make up; None where one is of a kind that numpy has not, or too few lie side by side."""
    found: list[Run] = []
    for column, (point, part) in enumerate(parts):
        spots = _spots(point, start + part) if point.type in _WHOLE and point.bit is None else []
        if not spots or sorted(spots) not in (spots, spots[::-1]):
            return None
        kind, first = ("><"[spots[0] > spots[-1]] + _WHOLE[str(point.type)]), min(spots)
        if found and (found[-1][1].stop, found[-1][2]) == (first, kind):
            columns, places, _ = found.pop()
            found.append((slice(columns.start, column + 1), slice(places.start, first + len(spots)), kind))
        else:
            found.append((slice(column, column + 1), slice(first, first + len(spots)), kind))
    return tuple(found) if len(found) * LEAST <= len(parts) else None


def _spots(point: Point, start: int) -> list[int]:
    """Where a number's bytes are, high byte first."""
    size = 2 * REGISTERS[str(point.type)]
    return [start + at for at in ordered(bytes(range(size)), point.order)]


def _patterns(parts: Sequence[Part], lifts: Sequence[int], signed: bool = False) -> Patterns:
    """Each point's column with a pattern that is no value, as it stands in the eight bytes."""
    found = []
    for column, ((point, _), lift) in enumerate(zip(parts, lifts, strict=True)):
        bits = 16 * REGISTERS[str(point.type)]
        for pattern in point.bad if point.type != "bit" else ():
            if pattern < 1 << bits:
                found.append((column, int.from_bytes((pattern << lift).to_bytes(8), signed=signed)))
    return tuple(found)


def _valid(raw: Numbers, bad: Patterns) -> Mask:
    valid = np.ones(raw.shape, np.bool_)
    for column, pattern in bad:
        valid[:, column] &= raw[:, column] != pattern
    return valid


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _largest(numbers: Numbers) -> int:
    """The greatest magnitude."""
    return max(int(numbers.max()), -int(numbers.min()))


_REALS: dict[str, tuple[type[np.floating[Any]], type[np.unsignedinteger[Any]]]] = {
    "f32": (np.float32, np.uint32),
    "f64": (np.float64, np.uint64),
}


def _pair(byte: int) -> int:
    high, low = byte >> 4, byte & 0x0F
    return 10 * high + low if high <= 9 and low <= 9 else -1


_PAIRS = np.array([_pair(byte) for byte in range(256)], np.int64)
_EIGHT_PAIRS = np.array([100**power for power in reversed(range(8))], np.int64)
_FOUR_WORDS = np.array([WORD**power for power in reversed(range(4))], np.int64)
_POWERS = np.array([10**power for power in range(19)], np.int64)
_SHIFTED_PAIRS = np.array([_pair((byte - 0x33) & 0xFF) for byte in range(256)], np.int64)
_SIGNED_PAIRS = np.array([_pair((byte - 0x33) & 0x7F) for byte in range(256)], np.int64)
_SIGN = np.array([-1 if (byte - 0x33) & 0x80 else 1 for byte in range(256)], np.int64)
_FILL = (0xFF + 0x33) & 0xFF
"""A filled byte as it travels."""
