"""What is remembered of questions is bounded: beyond its plan a device may be asked anything, at any length."""

import tracemalloc
from collections.abc import Callable

import pytest

from cloud import course
from cloud.booking import Desk
from cloud.running import Seat
from drivers.builtin import builtin
from drivers.installation import Installation, install
from drivers.layouts import Layouts
from protocols import modbus
from protocols.record.block import Chunk, Counters, Track
from tests.cloud import tables
from tests.cloud.store.test_batches import INSTALLED, answer

MODEL, PREAMBLE, MEBI = "dlt645-1997-single-phase", b"\xfe", 1 << 20
PRECEDED = install(tables.site(tables.device("M-01", MODEL)).encode(), {MODEL: builtin(MODEL)})
"""A meter that takes any number of bytes before a question."""
MINUTE = 60_000


def grown(ask: Callable[[int], None], times: int) -> int:
    """By how many bytes what is remembered grows, when it is asked so often once more."""
    for number in range(times):
        ask(number)
    tracemalloc.start()
    try:
        for number in range(times, 2 * times):
            ask(number)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def chunk(installation: Installation, *tracks: Track) -> Chunk:
    return Chunk(0, installation.digests[0], tracks, (), Counters.of(tracks, ()), None, bytes(16))


def test_lanes_of_a_device_that_answers_ever_other_questions() -> None:
    """Each of them asks for the power among others."""
    driver, layouts, desk = INSTALLED.drivers[0], Layouts(), Desk(Seat(INSTALLED, 0))
    requests = [
        modbus.frame_rtu(1, bytes([3]) + first.to_bytes(2) + count.to_bytes(2))
        for first in (3, 4)
        for count in range(2, 122)
    ]
    held = [(request, layouts.of(driver, request, len(answer(bytes(2 * request[5]))))) for request in requests]
    assert grown(lambda number: desk.lanes(*held[number]) and None, len(held) // 2) < 50_000


def test_layouts_of_questions_of_a_mebibyte() -> None:
    driver, layouts = PRECEDED.drivers[0], Layouts()
    asked = driver.queries()[0].request
    assert grown(lambda number: layouts.of(driver, PREAMBLE * (MEBI + number) + asked, 20) and None, 20) < MEBI


@pytest.mark.parametrize("size", [MEBI, 0], ids=["long", "many"])
def test_ways_to_keep_to_a_plan_with_questions_beyond_it(size: int) -> None:
    (plan,) = course._plans(PRECEDED)

    def keep(number: int) -> None:
        kinds = [PREAMBLE * size + number.to_bytes(2) + kind.to_bytes(2) for kind in range(1 if size else 1024)]
        plan.keep(chunk(PRECEDED, *[Track.of(kind, [0], [b"x"]) for kind in kinds]), MINUTE)

    assert grown(keep, 10) < MEBI // 8
    many = chunk(PRECEDED, *[Track.of(query.request, [0], [b"x"]) for query in PRECEDED.drivers[0].queries()])
    plan.keep(many, MINUTE)
    assert plan.kept(many, MINUTE)
