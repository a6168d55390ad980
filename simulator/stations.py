"""What hangs on a pair beside us: simulated meters with their moods, and another master that nobody told us of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from simulator.meters import Listener
from simulator.rs485 import Pair

Delay = Callable[[Random], float]
"""Draws a turnaround: ms from the last character of a request to the first of its answer."""


def steady(ms: float) -> Delay:
    """Always the same turnaround."""
    return lambda random: ms


def spread(least: float, most: float) -> Delay:
    """Any turnaround between two, each as likely."""
    return lambda random: random.uniform(least, most)


def mostly(usual: Delay, late: Delay, share: float) -> Delay:
    """The usual turnaround, but in this share of the answers another."""
    return lambda random: late(random) if random.random() < share else usual(random)


@dataclass(slots=True)
class Mood:
    """How a meter behaves now; a test may change it at any time.

    ``lost``: the part of its answers that it does not give; ``cut``: the part of which it says only the first half.
    Asked again within ``restless_ms`` after an answer it starts anew, which takes ``reboot_ms``.
    """

    dead: bool = False
    lost: float = 0.0
    cut: float = 0.0
    restless_ms: int = 0
    reboot_ms: int = 0


class Station:
    """A meter on the pair, with its line mode, its turnaround and its mood."""

    def __init__(self, pair: Pair, meter: Listener, mode: str, delay: Delay, mood: Mood | None = None) -> None:
        self._pair, self._meter, self._mode, self._delay = pair, meter, mode, delay
        self.mood = mood or Mood()
        self._turnaround = delay(pair.random)
        self._spoken = 0
        self._back = 0
        pair.listeners.append(self)

    @property
    def mode(self) -> str:
        """How it sends and listens."""
        return self._mode

    def heard(self, burst: bytes, end: int) -> None:
        """Answer after its turnaround, but not before the silence is over; one answer after the other."""
        pair, mood = self._pair, self.mood
        if mood.dead or end < self._back:
            return
        start = max(pair.at_least(end, self._mode), end + round(self._turnaround * 1000), self._spoken)
        replies = self._meter.hear(burst, pair.utc_ms(start))
        if not replies:
            return
        self._turnaround = self._delay(pair.random)
        if mood.restless_ms and self._spoken and end - self._spoken < mood.restless_ms * 1000:
            self._back = end + mood.reboot_ms * 1000
            return
        for reply in replies:
            if (said := self._said(reply)) is not None:
                self._spoken = start = pair.send(self, said, self._mode, start)

    def _said(self, reply: bytes) -> bytes | None:
        """What of a reply it gets out."""
        draw, mood = self._pair.random.random, self.mood
        if mood.lost and draw() < mood.lost:
            return None
        return reply[: len(reply) // 2] if mood.cut and draw() < mood.cut else reply


class OtherMaster:
    """Somebody else who asks on the pair, one request after the other, every ``period_ms`` from ``since_ms`` on.

    It listens to nobody, as one that was connected without a word does not.
    """

    def __init__(self, pair: Pair, mode: str, requests: Sequence[bytes], period_ms: float, since_ms: float = 0) -> None:
        self._pair, self._mode, self._requests, self._period = pair, mode, requests, round(period_ms * 1000)
        self._next = 0
        self.silent = False
        pair.at(max(pair.now(), round(since_ms * 1000)), self._ask)

    def _ask(self, time: int) -> None:
        if not self.silent:
            request = self._requests[self._next % len(self._requests)]
            self._next += 1
            self._pair.send(self, request, self._mode, time)
        self._pair.at(time + self._period, self._ask)
