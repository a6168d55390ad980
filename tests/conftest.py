"""How deep the tests go, and in which order they are begun."""

import os
from collections.abc import Callable

import pytest

DEPTH = "TANMETER_TESTS"
"""``full``: as the proof and a night run them. Else as deep as finds what a change has broken, in a few minutes."""


@pytest.fixture(scope="session")
def deep() -> Callable[[int, int], int]:
    """How often, or for how long: the first number when the tests go to their full depth, else the second."""
    full = os.environ.get(DEPTH) == "full"
    return lambda whole, everyday: whole if full else everyday


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is begun first: else one worker ends long after the others."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
