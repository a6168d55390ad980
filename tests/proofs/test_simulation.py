"""The simulated fleet: the same seed lives the same life, a planted bug is seen by its invariant, honest seeds hold."""

from pathlib import Path

import pytest

from proofs import planted
from simulator.fleet.faults import Fault
from simulator.fleet.fleet import Fleet, Outcome, Shape
from simulator.fleet.node import Cadence

SHORT = Shape(1, 2, 0.3, Cadence("60s", "15m"), 7200.0)


def lived(folder: Path, *kinds: Fault) -> Outcome:
    fleet = Fleet(7, folder, kinds, SHORT)
    fleet.plan.kinds, fleet.plan.intensity = frozenset(kinds), 12.0
    return fleet.run()


def test_a_seed_lives_the_same_life_twice(tmp_path: Path) -> None:
    kinds = (Fault.CRASH, Fault.POWER, Fault.ANSWER_LOST, Fault.FLIP, Fault.DUPLICATE)
    first, second = lived(tmp_path / "a", *kinds), lived(tmp_path / "b", *kinds)
    assert first.found == second.found == []
    assert first.fired[Fault.CRASH] > 0 and first.fired[Fault.ANSWER_LOST] > 0
    assert (first.digest, first.readings) == (second.digest, second.readings)
    assert first.digest != lived(tmp_path / "c", Fault.CRASH).digest


@pytest.mark.parametrize("invariant", ["I1", "I3", "I9"])
def test_a_planted_bug_is_seen_first_by_the_invariant_that_is_there_for_it(tmp_path: Path, invariant: str) -> None:
    bug = next(bug for bug in planted.BUGS if bug.invariant == invariant)
    assert planted.hunt(bug, 100, tmp_path).first == invariant
