"""A process that ended by itself is told to everyone who asks, and one that was meant to end is not a loss."""

from pathlib import Path

import pytest

from simulator.children import Child, ChildDied


def ended(child: Child) -> Child:
    child.start()
    assert child._process is not None
    child._process.wait(20)
    return child


def test_a_death_is_told_each_time_it_is_asked_for(tmp_path: Path) -> None:
    child = ended(Child("decoder", ["decode", "zz"], tmp_path / "log", {}))
    for _ in range(2):
        with pytest.raises(ChildDied, match="'decoder' ended by itself with exit code 3"):
            child.check()


def test_one_that_is_meant_to_end_has_ended_well(tmp_path: Path) -> None:
    child = ended(Child("version", ["--version"], tmp_path / "log", {}, ends=True))
    child.check()
    assert child.done()


def test_one_that_is_meant_to_live_has_not(tmp_path: Path) -> None:
    child = ended(Child("version", ["--version"], tmp_path / "log", {}))
    with pytest.raises(ChildDied, match="exit code 0"):
        child.done()
