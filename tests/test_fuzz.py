"""A short run of the fuzzer over every parser; the long one is ``python -m benchmarks.fuzz --inputs 10_000_000``."""

import random

import pytest

from benchmarks import fuzz

HELD = fuzz.seeds()
INPUTS = 300


@pytest.mark.parametrize("name", sorted(fuzz.parsers(HELD)))
def test_a_parser_answers_or_says_what_is_wrong(name: str) -> None:
    _, count, answered, _, failure = fuzz.run(name, 7, 0, INPUTS)
    assert not failure
    assert count == INPUTS
    assert answered, "no input got past the checks: the fuzzer does not reach what lies behind them"


def test_a_parser_that_breaks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(seed: fuzz.Seed, data: bytes, draw: random.Random) -> None:
        data[5]

    monkeypatch.setattr(fuzz, "parsers", lambda held: {"dlt645: answer": ("dlt645", breaks)})
    assert "IndexError" in fuzz.run("dlt645: answer", 7, 0, INPUTS)[4]
