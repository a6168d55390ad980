"""How deep the tests go, and in which order they are begun."""

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

DEPTH = "TANMETER_TESTS"
"""``full``: as the proof and a night run them. Else as deep as finds what a change has broken, in a few minutes."""


WHOLE, EVERYDAY = 100, 30
"""Examples that Hypothesis tries of each property where the property does not say how many."""


def full() -> bool:
    """Whether the tests go to their full depth."""
    return os.environ.get(DEPTH) == "full"


settings.register_profile("depth", max_examples=WHOLE if full() else EVERYDAY)
settings.load_profile("depth")


@pytest.fixture(scope="session")
def deep() -> Callable[[int, int], int]:
    """How often, or for how long: the first number when the tests go to their full depth, else the second."""
    return lambda whole, everyday: whole if full() else everyday


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is begun first: else one worker ends long after the others."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
