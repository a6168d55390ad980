"""A crowd of gateways that come back at once, in virtual time: the collector sheds, and the crowd drains."""

import asyncio
from random import Random

import pytest

from edge.retry import LONGEST_S, Retry
from simulator.time import VirtualLoop

GATEWAYS, WORK_S, MOST_WAITING, BATCHES = 1000, 0.05, 32, 2
"""Each has so many batches; the collector works on one batch at a time and lets so many wait."""
DOWN_S = 30.0


class Shedding:
    """A collector that is away at first, then takes what it can and tells the others to come again."""

    def __init__(self):
        self.waiting = self.taken = self.refused = self.most_a_second = 0
        self._turn = asyncio.Lock()
        self._asked = {}

    async def post(self):
        now = asyncio.get_running_loop().time()
        self._asked[int(now)] = self._asked.get(int(now), 0) + 1
        if now < DOWN_S:
            return None
        if self.waiting >= MOST_WAITING:
            self.refused += 1
            return False
        self.waiting += 1
        try:
            async with self._turn:
                await asyncio.sleep(WORK_S)
        finally:
            self.waiting -= 1
        self.taken += 1
        return True


async def gateway(number, collector, asked_s):
    retry, left = Retry(Random(number)), BATCHES
    while left:
        took = await collector.post()
        if took is None:
            await asyncio.sleep(retry.unreachable())
        elif took:
            retry.succeeded()
            left -= 1
        else:
            await asyncio.sleep(retry.busy(asked_s))
    return asyncio.get_running_loop().time()


@pytest.fixture(scope="module")
def drained():
    """When each gateway was done, in order, and the collector."""
    loop = VirtualLoop()
    try:
        collector = Shedding()

        async def main():
            return await asyncio.gather(*(gateway(number, collector, 2.0) for number in range(GATEWAYS)))

        return sorted(loop.run_until_complete(main())), collector
    finally:
        loop.close()


def test_a_thousand_gateways_back_at_once_are_served_at_the_pace_of_the_collector(drained):
    ends, collector = drained
    ideal = GATEWAYS * BATCHES * WORK_S
    assert collector.taken == GATEWAYS * BATCHES, "nothing is lost"
    assert ends[int(GATEWAYS * 0.99)] - DOWN_S <= 2 * ideal, "p99"
    assert ends[-1] - DOWN_S <= 2 * ideal + 2 * LONGEST_S, "and nobody starves"
    assert collector.refused <= 4 * collector.taken, "whoever is refused again waits longer: the collector works"


def test_those_who_look_for_a_collector_that_is_away_do_not_come_all_at_once(drained):
    _, collector = drained
    settled = [collector._asked.get(second, 0) for second in range(8, int(DOWN_S) - 1)]
    assert max(settled) <= 1.4 * sum(settled) / len(settled), "a second in which nobody comes counts, too"
