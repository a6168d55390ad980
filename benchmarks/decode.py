"""What a reading costs to decode: the proof exchanges of every profile, through its driver and as whole tracks.

An M-Bus telegram that was just taken apart is remembered: its figures are those of one that is read again.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from benchmarks.fuzz import Seed, seeds
from drivers import replay
from drivers.columns import Layouts, replay_track
from drivers.driver import Driver
from protocols.record.block import Track

ROUNDS = 15
REPLIES = 60
"""In a track: ten minutes of a meter that is asked every ten seconds."""


def main() -> None:
    """Print CPU us a reading for each protocol, median of some rounds."""
    print(f"{'protocol':<14}{'exchanges':>10}{'readings':>10}{'one by one us':>15}{'as a track us':>15}")
    for protocol, held in seeds().items():
        readings = sum(len(_values(seed)) for seed in held)
        singly = _each(partial(_singly, held), readings)
        tracks = [(seed.driver, _track(seed)) for seed in held]
        at_once = _each(partial(_at_once, tracks, Layouts()), readings * REPLIES)
        print(f"{protocol:<14}{len(held):>10}{readings:>10}{singly:>15.2f}{at_once:>15.2f}")


def _values(seed: Seed) -> Sequence[str]:
    return tuple(replay.values(seed.driver, seed.request, seed.reply))


def _singly(held: Sequence[Seed]) -> None:
    for seed in held:
        _values(seed)


def _at_once(tracks: Sequence[tuple[Driver, Track]], layouts: Layouts) -> None:
    for driver, track in tracks:
        replay_track(driver, track, layouts)


def _track(seed: Seed) -> Track:
    return Track.of(seed.request, [10_000 * index for index in range(REPLIES)], [seed.reply] * REPLIES)


def _each(work: Callable[[], object], readings: int) -> float:
    work()
    spent = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return median(spent) / readings * 1e6


if __name__ == "__main__":
    main()
