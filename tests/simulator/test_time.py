"""Virtual time: a day passes in a moment, in the right order, and a deadlock is told instead of waited for."""

import asyncio
from collections.abc import Iterator

import pytest

from simulator.time import SimClock, VirtualLoop

START = 1_795_406_400_000


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


def test_timers_fire_in_order_and_at_their_time(loop: VirtualLoop) -> None:
    clock, seen = SimClock(loop, START), []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append((clock.mono_ms(), clock.utc_ms() - START))

    async def main() -> None:
        await asyncio.gather(nap(86_400), nap(0.25), nap(3600))

    loop.run_until_complete(main())
    assert seen == [(250, 250), (3_600_000, 3_600_000), (86_400_000, 86_400_000)]


def test_a_sleep_never_jumps_over_another_task(loop: VirtualLoop) -> None:
    clock, seen = SimClock(loop, START), []

    async def often() -> None:
        for _ in range(10):
            await clock.sleep(1)
            seen.append(("often", clock.mono_ms()))

    async def once() -> None:
        await clock.sleep(4.5)
        seen.append(("once", clock.mono_ms()))

    async def main() -> None:
        await asyncio.gather(often(), once())

    loop.run_until_complete(main())
    assert seen == sorted(seen, key=lambda entry: entry[1])
    assert ("once", 4500) in seen and seen[-1] == ("often", 10_000)


def test_time_limits_hold_in_virtual_time(loop: VirtualLoop) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await asyncio.Event().wait()
        return loop.time()

    assert loop.run_until_complete(main()) == 300


def test_a_deadlock_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(RuntimeError, match="virtual time stands still"):
        loop.run_until_complete(asyncio.Event().wait())
