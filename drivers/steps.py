"""Work that may be left between its steps and taken up again. Pure."""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""What it comes to is returned."""


def finished(work: Steps[T]) -> T:
    """What work comes to, all of it done now."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            held: T = done.value
            return held


def as_far(work: Steps[T], is_over: Callable[[], bool]) -> T | None:
    """What work comes to; None when its time is over before. One step of it is always done."""
    try:
        next(work)
        while not is_over():
            next(work)
    except StopIteration as done:
        held: T = done.value
        return held
    return None
