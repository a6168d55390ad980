"""Kills on a small scale: some points of the sweeps, and a few random kills of the whole agent and collector."""

import shutil

import pytest

from cloud.store import Answered
from proofs.intake import taken_in
from proofs.kills import sweep_collector, sweep_gateway
from proofs.nursery import Nursery
from proofs.random_kills import random_kills
from proofs.sweep import KILL, Sweep, points
from protocols.record.answer import Answer, Verdict

SEED = 4
pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.xdist_group("kills"),
]


@pytest.mark.parametrize(("sweep", "stride"), [(sweep_gateway, 60), (sweep_collector, 60)])
def test_a_fault_at_a_call_of_the_system_loses_nothing(sweep, stride, tmp_path):
    killed, failed, full = sweep(tmp_path, SEED, stride)
    for line in (killed, failed, full):
        assert line.violations == 0, line.found
        assert line.tried > 0 and sum(line.fired.values()) == line.tried, "every fault happened"
    assert "-9" in killed.figures


def test_the_whole_agent_and_collector_killed_at_random_lose_nothing_and_count_nothing_twice(tmp_path):
    line = random_kills(tmp_path, 6, SEED)
    assert line.faults == () and line.tried == 6


class Brief:
    """A store that has time for two blocks a batch, and takes none from the fifth on."""

    def __init__(self):
        self.held = []

    def append(self, frames, now):
        fits = [frame for frame in frames[:2] if len(self.held) + frames.index(frame) < 5]
        self.held += fits
        answers = [Answer.STORED] * len(fits) + [Answer.GAP] * (len(frames) - len(fits))
        return Answered(tuple(Verdict(answer, None, "", "") for answer in answers))


def test_what_a_batch_had_no_time_for_is_sent_again_until_nothing_is_taken():
    store = Brief()
    assert len(list(taken_in(store, [b"a", b"b", b"c"], 0))) == 2
    assert store.held == [b"a", b"b", b"c"]
    assert len(list(taken_in(store, [b"d", b"e", b"f"], 0))) == 2
    assert store.held == [b"a", b"b", b"c", b"d", b"e"]


def test_a_sweep_stops_a_process_at_the_very_call(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a").write_text("a")
    with Nursery("proofs.intake") as nursery:
        sweep = Sweep(nursery, tmp_path / "base", tmp_path / "work", [str(tmp_path / "none")])
        calls = sweep.calls()
        assert calls["write"] >= 1, "it says that there is no collector"
        faults = [fault for fault in points(calls) if (fault.call, fault.what) == ("write", KILL)]
        runs = [sweep.run(fault) for fault in faults]
    assert all(run.fired and run.code == -9 for run in runs)
    assert runs[0].said == ""
