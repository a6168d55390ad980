"""The simulated fleet: the same seed lives the same life, a planted bug is seen by its invariant, honest seeds hold."""

import sqlite3
import tomllib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge import database, retention
from proofs import planted, simulation
from proofs.simulation import BUGS, CORPUS, Kept, corpus
from simulator.fleet import disk
from simulator.fleet.central import STORE
from simulator.fleet.clock import FleetLoop, NodeClock
from simulator.fleet.faults import Fault
from simulator.fleet.fleet import Fleet, Outcome, Shape
from simulator.fleet.mischief import YEARS_20_MS
from simulator.fleet.node import Cadence

SHORT = Shape(1, 1, 0.15, Cadence("5m", "15m"), 7200.0, 900.0)


def lived(folder: Path, *kinds: Fault) -> Outcome:
    fleet = Fleet(7, folder, kinds, SHORT)
    fleet.plan.kinds, fleet.plan.intensity = frozenset(kinds), 24.0
    return fleet.run()


def test_a_seed_lives_the_same_life_twice(tmp_path: Path) -> None:
    kinds = (Fault.CRASH, Fault.POWER, Fault.ANSWER_LOST, Fault.FLIP, Fault.DUPLICATE)
    first, second = lived(tmp_path / "a", *kinds), lived(tmp_path / "b", *kinds)
    assert first.found == second.found == []
    assert first.fired[Fault.CRASH] > 0 and first.fired[Fault.ANSWER_LOST] > 0
    assert (first.digest, first.readings) == (second.digest, second.readings)
    assert first.digest != lived(tmp_path / "c", Fault.CRASH).digest


def test_a_collector_that_is_lost_after_its_box_let_blocks_go_begins_later_and_is_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box lets one more go before it hears that the collector is another. Two hours for the thirteen months."""
    monkeypatch.setattr(retention, "KEPT_MS", 2 * 3_600_000)
    monkeypatch.setattr(disk, "LOOK_S", 3_600.0)
    fleet = Fleet(7, tmp_path, (Fault.COLLECTOR_LOST,), Shape(1, 1, 0.5, Cadence("15m", "15m"), 10_800.0, 3600.0))
    fleet.plan.kinds, fleet.plan.intensity = frozenset((Fault.COLLECTOR_LOST,)), 250.0
    lived = fleet.run()
    assert lived.found == [] and lived.fired[Fault.COLLECTOR_LOST] > 0
    with closing(sqlite3.connect(tmp_path / "collector" / STORE)) as db:
        assert db.execute("SELECT count(*) FROM starts WHERE seq > 0").fetchone() == (1,)


def test_blocks_that_rot_before_a_collector_is_lost_hold_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks in the file where they rot, and not in its log."""
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 20_000)
    monkeypatch.setattr(disk, "LOOK_S", 3_600.0)
    kinds = frozenset((Fault.COLLECTOR_LOST, Fault.BIT_ROT))
    fleet = Fleet(10, tmp_path, kinds, Shape(1, 1, 1.5, Cadence("15m", "15m"), 14_400.0, 3600.0))
    fleet.plan.kinds, fleet.plan.intensity = kinds, 120.0
    assert fleet.run().found == []
    with closing(sqlite3.connect(tmp_path / "collector" / STORE)) as db:
        assert db.execute("SELECT count(*) FROM resumed").fetchone() == (1,)


def test_no_kernel_takes_a_time_before_its_box_was_started() -> None:
    clock = NodeClock(FleetLoop(), 1_800_000_000_000)
    clock.boot(rtc=False)
    clock.step(-YEARS_20_MS)
    assert clock.utc_ms() == clock.mono_ms()


@pytest.mark.parametrize(
    ("told", "invariant"),
    [
        ("an exchange is acknowledged that was never written", "I1"),
        ("a kept signature is another", "I5"),
        ("nothing is copied", "I10"),
        ("a reading more is told of", "I11"),
        ("nobody is told of a swap", "I13"),
    ],
)
def test_a_planted_bug_is_seen_by_the_invariant_that_is_there_for_it_and_by_no_other(
    tmp_path: Path, told: str, invariant: str
) -> None:
    (bug,) = [bug for bug in BUGS if bug.told == told]
    assert planted.hunt(bug, 100, tmp_path).by == (invariant,)


def test_every_invariant_has_a_planted_bug_and_there_are_thirty() -> None:
    assert {bug.invariant for bug in BUGS} == set(planted.INVARIANTS)
    assert len(BUGS) >= 30


def test_a_life_whose_quiet_end_is_too_short_to_settle_in_is_none() -> None:
    with pytest.raises(ValueError, match=r"found a quiet end of 900 s, expected 3300 s at least"):
        Shape(1, 1, 0.3, Cadence("5m", "5m"), 900.0, 900.0)


@pytest.mark.parametrize(
    ("seed", "shape"),
    [
        (131, Shape(1, 1, 0.3, Cadence("5m", "5m"), 3300.0, 900.0)),
        (170, Shape(1, 1, 0.25, Cadence("15m", "15m"), 25_200.0, 21_600.0)),
        (183, Shape(1, 1, 0.25, Cadence("15m", "15m"), 25_200.0, 21_600.0)),
    ],
)
def test_what_an_outage_held_up_to_the_end_is_settled_in_the_shortest_quiet_end(seed: int, shape: Shape) -> None:
    """With one as short as the copies are apart these lives told of blocks that no copy covered."""
    outcome = simulation.run(seed, shape)
    assert outcome.found == [] and outcome.blocks > 40


def test_a_store_that_syncs_lives_as_well(tmp_path: Path) -> None:
    fleet = Fleet(7, tmp_path / "fleet", (Fault.CRASH,), replace(SHORT, durable=True))
    fleet.plan.kinds, fleet.plan.intensity = frozenset({Fault.CRASH}), 80.0
    lived = fleet.run()
    assert lived.found == [] and lived.fired[Fault.CRASH] > 0 and lived.readings > 30


def test_a_meter_that_is_swapped_without_a_word_is_told_of_and_inflates_no_figure(tmp_path: Path) -> None:
    shape = replace(SHORT, days=1.0, cadence=Cadence("15m", "30m"))
    fleet = Fleet(6, tmp_path / "fleet", (Fault.SWAPPED,), shape)
    fleet.plan.kinds, fleet.plan.intensity = frozenset({Fault.SWAPPED}), 200.0
    lived = fleet.run()
    assert lived.found == [] and lived.fired[Fault.SWAPPED] > 0


def test_a_full_disk_another_meter_and_altered_blocks_break_no_promise(tmp_path: Path) -> None:
    kinds = (Fault.GATEWAY_FULL, Fault.REPLACED, Fault.ALTERED)
    fleet = Fleet(5, tmp_path / "fleet", kinds, replace(SHORT, meters=2, days=1.0, cadence=Cadence("15m", "30m")))
    fleet.plan.kinds, fleet.plan.intensity = frozenset(kinds), 25.0
    lived = fleet.run()
    assert lived.found == []
    assert min(lived.fired.get(fault, 0) for fault in kinds) > 0 and lived.checked["I5"] > 0


def test_a_seed_that_is_kept_is_lived_again_as_it_was_found_and_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lives(at: int) -> Outcome:
        return Outcome(at, 60.0, 1, 1, {}, "", [("I7", "two blocks")] if at == 4 else [])

    monkeypatch.setitem(simulation.LIVES, "days", lives)
    entry = '[[seed]]\nnumber = {}\nlife = "days"\nwhy = "a fork was missed"\n'
    (line,) = corpus(7, entry.format(3) + entry.format(4))
    assert (line.tried, line.violations) == (2, 1)
    assert line.found == ("seed 4: I7 two blocks, kept for this: a fork was missed",)


def test_the_seeds_that_are_kept_can_be_read() -> None:
    for entry in tomllib.loads(CORPUS.read_text("utf-8")).get("seed", []):
        assert Kept(**entry).life in simulation.LIVES and entry["why"]
