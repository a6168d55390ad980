"""A line of the proof holds only when something was tried, every planned fault fired, and a control was caught."""

from dataclasses import replace
from importlib import import_module

import pytest

from proofs.__main__ import PARTS, RUNS, table
from proofs.faults import DEEP_SHARES
from proofs.line import Line
from proofs.simulation import YEARS_SHARES

HELD = Line("kills", "agent killed", 7, 100, 0, {"killed": 3}, figures="quick", found=())


def test_a_line_is_read_as_it_was_written() -> None:
    assert Line.from_json(HELD.to_json()) == HELD


def test_what_fails_a_line() -> None:
    assert HELD.faults == ()
    assert replace(HELD, violations=1, found=("seed 7 cut 3",)).faults == ("1 violations", "seed 7 cut 3")
    assert replace(HELD, fired={"killed": 3, "cut": 0}).faults == ("planned fault never fired: cut",)
    assert replace(HELD, tried=0).faults == ("nothing was tried",)
    assert replace(HELD, tried=0, fired={}, not_here="no such device").faults == ()


def test_a_control_must_be_caught() -> None:
    assert replace(HELD, control=True).faults == ("the control was not caught",)
    assert replace(HELD, control=True, violations=4).faults == ()


def test_the_table_names_what_failed_and_what_was_not_tried() -> None:
    rows = table([HELD, replace(HELD, violations=2), replace(HELD, tried=0, not_here="no such device")])
    assert "| agent killed |" in rows[2] and "**agent killed**" in rows[3]
    assert "not here: no such device" in rows[4]


def test_every_part_has_runs_and_every_run_is_there() -> None:
    assert {run.partition(":")[0] for run in RUNS} == set(PARTS)
    for part, prove, *_ in (run.split(":") for run in RUNS):
        assert callable(getattr(import_module(f"proofs.{part}"), prove))


@pytest.mark.parametrize(
    ("run", "shares"), [("simulation:prove_years", YEARS_SHARES), ("faults:prove_deep", DEEP_SHARES)]
)
def test_every_share_of_what_is_dealt_out_has_a_run(run: str, shares: int) -> None:
    dealt = [name.removeprefix(f"{run}:") for name in RUNS if name.startswith(run)]
    assert dealt == [str(share) for share in range(shares)]
