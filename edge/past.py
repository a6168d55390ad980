"""What a meter itself kept while nobody read it (pure): asked for oldest first, before it is read again.

A meter that was not read over a midnight, because the box was down or the meter silent, is asked what it froze at the
midnights since: registers of the past must be on record before the first one of today. These answers are beyond the
plan. A meter that refuses, or that keeps silent to such questions while it answers others, is left alone with them.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Protocol, runtime_checkable

from drivers.driver import Driver
from drivers.query import Query

OUTAGE_MS = 1_800_000
"""Less than two quarters of an hour without a reading is no outage: consumption is parted well enough."""
PERIODS = 2
"""And not less than so many periods of the meter's fastest question."""
MOST_DAYS = 62
MOST_FAILURES = 3


@runtime_checkable
class Keeper(Protocol):
    """A driver whose device keeps a past."""

    zone: tzinfo

    def queries(self) -> tuple[Query, ...]:
        """The plan."""

    def history(self, days: int) -> tuple[bytes, ...]:
        """The requests for what it kept at the last midnights, oldest first."""


class Past:
    """The meters of one port. ``last``: when each was last read (UTC ms), as far as that is known."""

    def __init__(self, drivers: Iterable[tuple[int, Driver]], last: Mapping[int, int]) -> None:
        self._keepers = {number: driver for number, driver in drivers if isinstance(driver, Keeper)}
        self._gaps = {
            number: max(OUTAGE_MS, PERIODS * min(query.period_ms for query in driver.queries()))
            for number, driver in self._keepers.items()
        }
        self._last = {number: at for number, at in last.items() if number in self._keepers}
        self._waiting: dict[int, deque[bytes]] = {}
        self._failures: dict[int, int] = {}

    def read(self, device: int, now: int) -> None:
        """A reading of the device goes on record."""
        if device in self._keepers:
            self._last[device] = now

    def missed(self, device: int, now: int) -> bool:
        """Whether the device, which has just answered, was not read over a midnight: then its past comes first."""
        last = self._last.get(device)
        if device in self._waiting or last is None or now - last <= self._gaps[device]:
            return device in self._waiting
        keeper = self._keepers[device]
        days = (_day(now, keeper.zone) - _day(last, keeper.zone)).days
        if days > 0 and (requests := keeper.history(min(days, MOST_DAYS))):
            self._waiting[device], self._failures[device] = deque(requests), 0
        return device in self._waiting

    def question(self, device: int) -> bytes | None:
        """What to ask of the device's past next; None when nothing is missing."""
        waiting = self._waiting.get(device)
        return waiting[0] if waiting else None

    def answered(self, device: int) -> None:
        """The answer is on record, or the meter does not keep what was asked for: on to the next."""
        waiting = self._waiting[device]
        waiting.popleft()
        if not waiting:
            self._over(device)

    def failed(self, device: int) -> bool:
        """No answer, or none that can be read; True when the device is left alone with its past from now on."""
        self._failures[device] += 1
        if self._failures[device] < MOST_FAILURES:
            return False
        self._over(device)
        return True

    def _over(self, device: int) -> None:
        """The past is done with; what is read next is of today."""
        del self._waiting[device], self._failures[device]
        del self._last[device]


def _day(at: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()
