"""Intervals as text, one canonical line each: what the digest of a metered amount is over, and how it is read again.

Fields are parted by tabs. A Decimal stands in its normal form (``1.2E+2``), so that equal numbers are equal texts.
"""

import hashlib
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from cloud.intervals import Interval, Register
from drivers.quantity import EXACT
from protocols.errors import ActivityError

FIELDS = 24


def digest(intervals: Iterable[Interval]) -> str:
    """SHA-256 (hex) over the intervals in their order."""
    hasher = hashlib.sha256()
    for one in lines(intervals):
        hasher.update(one.encode())
    return hasher.hexdigest()


def known_until(one: Interval) -> int:
    """How far (UTC ms) an interval is known: to its end once a later reading closed it, else to its newest reading."""
    return one.end if one.closed else min(one.end, max(one.start, one.position))


def lines(intervals: Iterable[Interval]) -> Iterator[str]:
    """Each interval, with its newline. What is as in the one before it is not written out anew."""
    normal, register, last = EXACT.normalize, None, ""
    rolled, multiplier, ratio = None, None, ""
    ended, stop = -1, ""
    facts, rest = None, ""
    for one in intervals:
        first = last if one.register_start == register else _written(one.register_start)
        register = one.register_end
        last = _written(register)
        if one.rolled is not rolled or one.multiplier is not multiplier:
            rolled, multiplier = one.rolled, one.multiplier
            ratio = f"{normal(rolled)!s}\t{normal(multiplier)!s}"
        start = stop if one.start == ended else str(one.start)
        ended = one.end
        stop = str(ended)
        until = stop if one.closed else str(known_until(one))
        amount = "-" if one.consumption is None else str(normal(one.consumption))
        own = (one.quality, one.state, one.since, one.covered_ms, one.readings, one.expected)
        if own != facts:
            facts = own
            rest = "{}\t{}\t{}\t{}\t{}/{}\n".format(*own)
        yield (
            f"{one.device}\t{one.point}\t{one.unit}\t{one.meter}\t{start}\t{until}\t{stop}\t{one.kind}"
            f"\t{first}\t{last}\t{ratio}\t{amount}\t{rest}"
        )


def read(text: str) -> list[Interval]:
    """The intervals in a text, each as far as an account needs it; ActivityError for any other text."""
    found = [_read(row) for row in text.splitlines()]
    if "".join(lines(found)) != text:
        raise ActivityError("intervals: found another way to write them, expected the canonical lines")
    return found


def _read(row: str) -> Interval:
    fields = row.split("\t")
    if len(fields) != FIELDS:
        raise ActivityError(f"intervals: found {len(fields)} fields, expected {FIELDS}")
    device, point, unit, meter, start, until, end, kind = fields[:8]
    rolled, multiplier, amount, quality, state, since, covered, counts = fields[16:]
    readings, _, expected = counts.partition("/")
    try:
        return Interval(
            *(device, point, unit, meter, int(start), int(end), until == end),
            *(_register(fields[8:12]), _register(fields[12:16]), Decimal(rolled), Decimal(multiplier)),
            *(None if amount == "-" else Decimal(amount), int(readings), int(expected)),
            quality=quality,  # type: ignore[arg-type]
            position=int(until),
            period_ms=0,
            state=state,  # type: ignore[arg-type]
            since=int(since),
            kind=kind,  # type: ignore[arg-type]
            covered_ms=int(covered),
        )
    except (ValueError, InvalidOperation) as error:
        raise ActivityError(f"intervals: found {row!r}, expected a canonical line") from error


def _written(one: Register) -> str:
    return f"{EXACT.normalize(one.value)!s}\t{one.at}\t{one.epoch}\t{one.seq}"


def _register(fields: list[str]) -> Register:
    value, at, epoch, seq = fields
    return Register(Decimal(value), int(at), int(epoch), int(seq))
