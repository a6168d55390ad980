"""Late answers on the virtual pair: never taken for the next one. The same trial shows pymodbus's RTU client."""

import pytest

from benchmarks.pymodbus_master import pymodbus
from simulator.late_answers import LIMIT_MS, Scenario, ours, run
from simulator.stations import mostly, spread

AROUND = spread(0, 2 * LIMIT_MS)
RARELY = mostly(spread(20, 60), spread(LIMIT_MS, 2 * LIMIT_MS), 0.2)
SCENARIOS = [
    Scenario("five Modbus meters of equal shapes", "modbus", 5, 3, AROUND),
    Scenario("one Modbus register again and again", "modbus", 1, 1, AROUND),
    Scenario("five Modbus meters, now and then late", "modbus", 5, 3, RARELY),
    Scenario("five DL/T 645 meters", "dlt645", 5, 3, AROUND),
    Scenario("one DL/T 645 item again and again", "dlt645", 1, 1, AROUND),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_of_ten_thousand_questions_none_gets_anothers_answer(scenario, deep):
    """Ten thousand in the proof; every day the first third of them."""
    questions = deep(10_000, 3_000)
    outcome = run(scenario, questions, ours)
    assert outcome.asked == questions and outcome.wrong == 0
    assert outcome.answered > 0.45 * questions


def test_answers_later_than_anything_known_are_learned_of_after_the_first():
    outcome = run(Scenario("much later", "modbus", 5, 3, spread(0, 4 * LIMIT_MS)), 3_000, ours)
    assert outcome.wrong <= 3 and all(question < 100 for question in outcome.wrong_at)


@pytest.mark.parametrize("retries", [0, 3])
def test_the_same_trial_finds_wrong_values_of_pymodbus(retries):
    outcome = run(SCENARIOS[0], 1_000, pymodbus(retries), shared=True)
    assert outcome.wrong > 50
