"""The simulated data logger: what it says is what its truth says, it waits for answers, and it keeps its history."""

from pathlib import Path

import pytest

from drivers import replay
from drivers.builtin import builtin
from drivers.installation import install
from protocols import hj212
from protocols.hj212_requests import Asker, acknowledgement, history
from simulator.hj212_logger import RESEND_MS, RESENDS, StackLogger
from simulator.meters import LIVE_PLAN, LOGGER, LOGGER_MN, MASS, logger, site_toml
from simulator.truth import TruthLog, spoken
from simulator.world import World

NOON = 1_795_406_400_000
MINUTE = 60_000
PLACES = {"bus-1": "/a", "bus-2": "/b", "feeder-2": "h:1", "stack": "h:2", "cems": "h:3"}
PROFILES = (
    "dlt645-2007-three-phase", "dlt645-2007-single-phase", "acrel-adl400", "eastron-sdm630", "sick-marsic300",
    "cjt188-water", "cjt188-gas", "cjt188-heat-gj", "cjt188-cooling", "hj212-co2",
)  # fmt: skip


@pytest.fixture
def held(tmp_path: Path) -> StackLogger:
    return logger(World(7), TruthLog(tmp_path / "truth.jsonl"), LIVE_PLAN)


def test_what_it_says_reads_as_its_truth(held: StackLogger, tmp_path: Path) -> None:
    plan = install(site_toml(PLACES, "5s", "5s", {}), {name: builtin(name) for name in PROFILES})
    driver = next(d for d, entry in zip(plan.drivers, plan.site.device, strict=True) if entry.id == LOGGER)
    (raw,) = held.speak(NOON + 2_000)
    (span,) = spoken(tmp_path / "truth.jsonl", LOGGER, MASS[1])
    assert replay.values(driver, b"", raw)[MASS[0]] == span.rate > 0
    assert driver.stamp(b"", raw) == span.start == NOON - MINUTE and span.length == MINUTE


def test_it_says_again_what_is_not_answered_and_is_still_when_it_is(held: StackLogger) -> None:
    (raw,) = held.speak(NOON + 2_000)
    times = [NOON + 2_000 + RESEND_MS * n for n in range(1, RESENDS + 2)]
    assert [held.speak(at + 1) for at in times] == [[raw]] * RESENDS + [[]]
    (raw,) = held.speak(NOON + MINUTE + 2_000)
    assert held.hear(acknowledgement(hj212.decode(raw)) or b"", NOON + MINUTE + 2_500) == []
    assert held.speak(NOON + MINUTE + 2_001 + RESEND_MS) == []


def test_it_answers_for_the_past_and_for_nobody_else(held: StackLogger) -> None:
    asked = history(Asker("31", "1", LOGGER_MN), "2051", "2" * 17, "20261123114000", "20261123114459")
    said = [hj212.decode(raw) for raw in held.hear(asked, NOON + 5_000)]
    assert [packet.cn for packet in said] == ["9011", *["2051"] * 5, "9012"]
    assert [packet.data_time for packet in said[1:-1]] == [f"2026112311{minute}00" for minute in range(40, 45)]
    assert held.hear(asked.replace(LOGGER_MN.encode(), b"X"), NOON) == []
    assert held.hear(history(Asker("31", "1", "X"), "2051", "2" * 17, "20261123114000", "20261123114459"), NOON) == []


def test_it_speaks_when_it_is_due(held: StackLogger) -> None:
    assert held.next_due(NOON) == NOON + 2_000
    assert held.next_due(NOON + 2_000) == NOON + 5_000
    assert {hj212.decode(raw).cn for raw in held.speak(NOON + 5_000)} == {"2011", "2061"}
