"""What a meter itself kept while nobody read it (pure): asked for oldest first, before it is read again.

A meter that was not read for a while, because the box was down or the meter silent, is asked what it froze at the
midnights since, and at the full hours of the last two days: registers of the past must be on record before the first
one of today, in order of time. These answers are beyond the plan. A series that the meter refuses is not asked on; a
meter that keeps silent to such questions while it answers others is left alone with them.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Protocol, runtime_checkable

from drivers.driver import Driver
from drivers.query import Query

OUTAGE_MS = 1_800_000
"""Less than two quarters of an hour without a reading is no outage: consumption is parted well enough."""
PERIODS = 2
"""And not less than so many periods of the meter's fastest question."""
MOST_DAYS = 62
MOST_HOURS = 48
"""At 2400 baud an hour's register takes a second, and the first reading of today waits; further back midnights do."""
HOUR_MS = 3_600_000
MOST_FAILURES = 3


@runtime_checkable
class Keeper(Protocol):
    """A driver whose device keeps a past."""

    zone: tzinfo

    def queries(self) -> tuple[Query, ...]:
        """The plan."""

    def history(self, days: int, hours: int, hour: int) -> tuple[tuple[str, bytes], ...]:
        """What it kept at the last midnights and full hours, oldest first: the series and the request of each."""


class Past:
    """The meters of one port. ``last``: when each was last read (UTC ms), as far as that is known."""

    def __init__(self, drivers: Iterable[tuple[int, Driver]], last: Mapping[int, int]) -> None:
        self._keepers = {number: driver for number, driver in drivers if isinstance(driver, Keeper)}
        self._gaps = {
            number: max(OUTAGE_MS, PERIODS * min(query.period_ms for query in driver.queries()))
            for number, driver in self._keepers.items()
        }
        self._last = {number: at for number, at in last.items() if number in self._keepers}
        self._waiting: dict[int, deque[tuple[str, bytes]]] = {}
        self._failures: dict[int, int] = {}

    def read(self, device: int, now: int) -> None:
        """A reading of the device goes on record."""
        if device in self._keepers:
            self._last[device] = now

    def missed(self, device: int, now: int) -> bool:
        """Whether the device, which has just answered, was not read for long: then what it kept comes first."""
        last = self._last.get(device)
        if device in self._waiting or last is None or now - last <= self._gaps[device]:
            return device in self._waiting
        keeper = self._keepers[device]
        then, today = _local(last, keeper.zone), _local(now, keeper.zone)
        days = (today.date() - then.date()).days
        hours = now // HOUR_MS - last // HOUR_MS
        if requests := keeper.history(min(days, MOST_DAYS), min(hours, MOST_HOURS), today.hour):
            self._waiting[device], self._failures[device] = deque(requests), 0
        return device in self._waiting

    def question(self, device: int) -> bytes | None:
        """What to ask of the device's past next; None when nothing is missing."""
        waiting = self._waiting.get(device)
        return waiting[0][1] if waiting else None

    def answered(self, device: int) -> None:
        """The answer is on record, or tells that nothing was kept then: on to the next."""
        waiting = self._waiting[device]
        waiting.popleft()
        if not waiting:
            self._over(device)

    def refused(self, device: int) -> None:
        """The meter does not keep this series: nothing more of it is asked."""
        (series, _), *others = self._waiting[device]
        self._waiting[device] = deque(other for other in others if other[0] != series)
        if not self._waiting[device]:
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


def _local(at: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
