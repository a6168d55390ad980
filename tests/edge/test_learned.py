"""What the box learns about meters: refused reads, gaps that spoil, wordings, turnaround. Noise teaches nothing."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import profile_file, site
from drivers.builtin import builtin
from drivers.driver import Driver, driver
from drivers.modbus import ModbusDriver
from drivers.query import Query
from drivers.site import Device
from edge.learned import DAY_MS, HOUR_MS, Asking, Learned
from edge.notebook import Notebook
from protocols import dlt645, modbus

NOW = 1_780_000_020_000
POINTS = {"a": 0, "b": 1, "c": 5, "d": 9, "e": 14, "f": 20}

Meter = Callable[[modbus.Request], int]
"""What a meter does with a read: 0 answers, -1 silent, -2 damaged, else the exception."""


def reader(points: dict[str, int] = POINTS, link: str = "readable_gaps = true\nturnaround_ms = 100") -> Driver:
    lines = "".join(
        f'{{ id = "{name}", fc = 3, address = {at}, type = "u16", unit = "V", kind = "gauge" }},\n'
        for name, at in points.items()
    )
    text = f"""
schema = 1
id = "acme"
title = {{ zh = "表", en = "meter" }}
protocol = "modbus"
medium = "electricity"
source = {{ doc = "manual", verified = "doc-only" }}
products = []
points = [{lines}]
[link]
{link}
[[proof]]
request = ""
response = ""
expect = {{}}
"""
    return driver(Device(id="M", profile="acme", port="p", address="1"), profile_file.load(text.encode()))


def lacks(*registers: int, reason: int = 2) -> Meter:
    """A meter that refuses every read over one of these registers."""
    return lambda asked: reason if any(asked.address <= at < asked.address + asked.count for at in registers) else 0


def turn(learned: Learned, meter: Meter, now: int = NOW, query: int = 0) -> tuple[set[str], list[tuple[int, int]]]:
    """One slot, as the poller asks it: the points that were answered, and (address, count) of every request."""
    asking = learned.requests(0, query, now)
    waiting, held, asked = [raw for raw in (asking.own, *asking.beyond) if raw is not None], set[str](), []
    while waiting:
        raw = waiting.pop(0)
        request = modbus.parse_rtu(raw)
        asked.append((request.address, request.count))
        verdict = meter(request)
        if verdict == 0:
            learned.answered(0, query, raw, 20, now)
            made = learned._drivers[0]
            assert isinstance(made, ModbusDriver)
            held |= {point.id for point, _ in made.parts(raw)}
        elif verdict > 0:
            waiting += learned.refused(0, query, raw, verdict, now)
        else:
            learned.failed(0, query, raw, now, damaged=verdict == -2)
    return held, asked


def test_a_meter_that_answers_is_asked_as_planned() -> None:
    learned = Learned({0: reader()})
    assert turn(learned, lacks()) == (set(POINTS), [(0, 21)])


def test_a_refused_read_is_cut_at_once_and_stays_cut_for_a_day() -> None:
    learned = Learned({0: reader()})
    meter = lacks(7)  # between c and d
    held, asked = turn(learned, meter)
    assert held == set(POINTS), "nothing is lost in the first slot"
    assert asked[0] == (0, 21)
    held, later = turn(learned, meter, NOW + 1000)
    assert held == set(POINTS)
    assert (0, 21) not in later and len(later) < len(asked)
    assert learned.suspects(0) == ((6, 8),)
    assert turn(learned, meter, NOW + DAY_MS - 1)[1] == later
    assert turn(learned, meter, NOW + DAY_MS)[1][0] == (0, 21), "asked once more"
    assert turn(learned, meter, NOW + DAY_MS + 1000)[1] == later


def test_a_gap_that_can_be_read_again_is_read_again() -> None:
    learned = Learned({0: reader()})
    turn(learned, lacks(7))
    assert turn(learned, lacks(), NOW + DAY_MS)[1] == [(0, 21)]
    assert turn(learned, lacks(), NOW + DAY_MS + 1000)[1] == [(0, 21)]
    assert learned.suspects(0) == ()


def test_two_gaps_are_both_found() -> None:
    learned = Learned({0: reader()})
    meter = lacks(3, 12, reason=3)
    assert turn(learned, meter)[0] == set(POINTS)
    assert turn(learned, meter, NOW + 1)[0] == set(POINTS)
    assert learned.suspects(0) == ((2, 4), (10, 13))


def test_a_point_the_meter_does_not_have_costs_only_itself() -> None:
    learned = Learned({0: reader()})
    meter = lacks(5)
    for slot in range(4):
        assert turn(learned, meter, NOW + slot)[0] == set(POINTS) - {"c"}
    assert (5, 1) not in turn(learned, meter, NOW + 10)[1]
    assert learned.refused_points(0) == ("c",)
    assert learned.suspects(0) == ()
    tomorrow = turn(learned, meter, NOW + DAY_MS)
    assert (5, 1) in tomorrow[1]
    assert turn(learned, lacks(), NOW + 2 * DAY_MS)[0] == set(POINTS)
    assert learned.refused_points(0) == ()


def test_a_meter_that_gives_fewer_registers_than_its_manual_says() -> None:
    learned = Learned({0: reader({f"p{at}": at for at in range(60)}, "max_registers = 100")})

    def meter(asked: modbus.Request) -> int:
        return 3 if asked.count > 50 else 0

    assert len(turn(learned, meter)[0]) == 60
    assert turn(learned, meter, NOW + 1)[1] == [(0, 30), (30, 30)]
    assert learned.most_registers(0) == 30 and learned.suspects(0) == ()


@pytest.mark.parametrize("reason", [1, 2, 3])
def test_what_has_answered_is_not_given_up_for_a_few_exceptions(reason: int) -> None:
    learned = Learned({0: reader({"a": 0})})
    turn(learned, lacks())
    for slot in range(9):
        assert turn(learned, lambda _: reason, NOW + slot * HOUR_MS)[1] == [(0, 1)]
    assert turn(learned, lambda _: reason, NOW + 10 * HOUR_MS)[1] == [(0, 1)]
    assert turn(learned, lambda _: reason, NOW + 11 * HOUR_MS)[1] == []
    assert turn(learned, lacks(), NOW + 10 * HOUR_MS + DAY_MS) == ({"a"}, [(0, 1)])


def test_a_restart_of_the_meter_during_which_it_refuses_everything_gives_up_nothing() -> None:
    learned = Learned({0: reader()})
    turn(learned, lacks())
    for slot in range(50):
        turn(learned, lambda _: 2, NOW + slot * 1000)
    assert turn(learned, lacks(), NOW + 60_000) == (set(POINTS), [(0, 21)])


def test_exceptions_about_the_moment_mark_nothing() -> None:
    learned = Learned({0: reader()})
    for slot, reason in enumerate((4, 5, 6, 8, 10, 11) * 5):
        assert turn(learned, lambda _, reason=reason: reason, NOW + slot)[1] == [(0, 21)]


events = st.lists(st.sampled_from([0, 0, 0, -1, -2, 2, 3, 6, 11]), min_size=1, max_size=80)


@given(st.lists(st.sampled_from([0, -1, -2, 6, 11]), max_size=200), st.integers(1, HOUR_MS))
def test_noise_alone_never_disables_a_point(noise: list[int], step: int) -> None:
    learned = Learned({0: reader()})
    everything = iter(noise)
    for slot in range(40):
        turn(learned, lambda _: next(everything, 0), NOW + slot * step)
    assert _asked(learned, NOW + 40 * step) == set(POINTS)
    assert learned.refused_points(0) == ()


@given(events, st.integers(1, 60_000))
@settings(max_examples=200)
def test_what_has_ever_answered_is_always_asked_whatever_comes(verdicts: list[int], step: int) -> None:
    """Up to nine exceptions of one kind within an hour, mixed with anything: every point is asked in every slot."""
    learned, coming = Learned({0: reader()}), iter(verdicts)
    turn(learned, lacks())
    for slot in range(40):
        assert _asked(learned, NOW + slot * step) == set(POINTS)
        turn(learned, lambda _: next(coming, 0), NOW + slot * step)


@given(st.sets(st.sampled_from([2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 15, 19]), min_size=1, max_size=4))
def test_every_point_is_had_in_every_slot_whichever_gaps_are_refused(bad: set[int]) -> None:
    learned = Learned({0: reader()})
    for slot in range(5):
        assert turn(learned, lacks(*bad), NOW + slot)[0] == set(POINTS)
    suspects = learned.suspects(0)
    assert suspects and all(any(low <= at <= high for at in bad) for low, high in suspects)


def _asked(learned: Learned, now: int) -> set[str]:
    asking, made = learned.requests(0, 0, now), learned._drivers[0]
    assert isinstance(made, ModbusDriver)
    return {point.id for raw in (asking.own, *asking.beyond) if raw for point, _ in made.parts(raw)}


def spoiling(noise: Iterator[int] | None = None) -> Meter:
    """A meter whose next answer is damaged after a read over register 7."""
    spoilt = False

    def meter(asked: modbus.Request) -> int:
        nonlocal spoilt
        now, spoilt = spoilt, asked.address <= 7 < asked.address + asked.count
        if now:
            spoilt = False
            return -2
        return next(noise, 0) if noise is not None else 0

    return meter


def test_a_gap_that_spoils_the_next_answer_is_left_out() -> None:
    learned, meter = Learned({0: reader()}), spoiling()
    for slot in range(40):
        turn(learned, meter, NOW + slot)
    assert (0, 21) not in turn(learned, meter, NOW + 41)[1]
    assert turn(learned, meter, NOW + 42)[0] == set(POINTS)
    assert (6, 8) in learned.suspects(0)
    again = [turn(learned, meter, NOW + 40 + DAY_MS + slot)[0] == set(POINTS) for slot in range(10)]
    assert again.count(False) == 1, "asked once more, and known at once"
    whole = [turn(learned, lacks(), NOW + 60 + 2 * DAY_MS + slot)[1] for slot in range(3)]
    assert whole[0] == [(0, 21)] and whole[2] == [(0, 21)] and learned.suspects(0) == ()


def test_noise_is_not_taken_for_a_gap_that_spoils() -> None:
    learned = Learned({0: reader()})
    noise = Random(7)
    for slot in range(20_000):
        turn(learned, lambda _: -2 if noise.random() < 0.2 else 0, NOW + slot)
    assert turn(learned, lacks(), NOW + 20_000)[1] == [(0, 21)]


def test_a_block_of_dl_t_645_that_is_refused_is_asked_item_by_item() -> None:
    model = profile_file.load(builtin("dlt645-2007-three-phase"))
    points = ("voltage_a", "voltage_b", "voltage_c")
    held = driver(Device(id="M", profile=model.id, port="p", address="1", points=points), model)
    learned = Learned({0: held})
    [block] = held.queries()
    items = learned.refused(0, 0, block.request, 2, NOW)
    assert [dlt645.parse_request(item)[1] for item in items] == ["02010100", "02010200", "02010300"]
    for item in items:
        learned.answered(0, 0, item, 100, NOW)
    assert learned.requests(0, 0, NOW + 1) == Asking(None, items)
    assert learned.most_registers(0) is None and learned.suspects(0) == ()
    assert learned.requests(0, 0, NOW + DAY_MS) == Asking(block.request)


class Worded:
    """A driver whose one question has two wordings."""

    def __init__(self) -> None:
        self.held = reader({"a": 0})
        self.profile = self.held.profile

    def queries(self) -> tuple[Query, ...]:
        [query] = self.held.queries()
        return (replace(query, also=(b"other",)),)


def test_the_wording_that_answered_is_used_the_others_tried_after_silences() -> None:
    made = Worded()
    [query] = made.queries()
    learned = Learned({0: made})  # type: ignore[dict-item]
    assert learned.requests(0, 0, NOW).own == query.request
    learned.failed(0, 0, query.request, NOW, damaged=False)
    assert learned.requests(0, 0, NOW).own == b"other", "at once, while none is known"
    learned.answered(0, 0, b"other", 30, NOW)
    tried = []
    for _ in range(8):
        tried.append(learned.requests(0, 0, NOW).own)
        learned.failed(0, 0, b"other", NOW, damaged=False)
    assert tried.count(b"other") == 6 and tried.count(query.request) == 2 and tried[0] == b"other"


def test_a_wording_that_is_refused_does_not_stop_the_one_that_is_understood() -> None:
    made = Worded()
    [query] = made.queries()
    learned = Learned({0: made})  # type: ignore[dict-item]
    learned.answered(0, 0, b"other", 30, NOW)
    for _ in range(5):
        learned.refused(0, 0, query.request, 2, NOW)
    learned.answered(0, 0, b"other", 30, NOW)
    assert learned.requests(0, 0, NOW).own == b"other"


def test_turnaround_is_told_once_there_are_enough_answers() -> None:
    learned = Learned({0: reader()})
    [query] = learned._drivers[0].queries()
    for index in range(19):
        learned.answered(0, 0, query.request, 40 + index % 3, NOW)
    assert learned.memories[0].turnaround() is None
    for _ in range(181):
        learned.answered(0, 0, query.request, 41, NOW)
    learned.answered(0, 0, query.request, 400, NOW)
    assert learned.memories[0].turnaround() == (41, 42)
    assert len(learned.memories[0].latencies) == 199


SITE = """
schema = 1
[site]
id = "S"
name = "s"
[[port]]
name = "p"
device = "/dev/x"
[[device]]
id = "M"
profile = "acme"
port = "p"
address = "1"
"""


def test_what_was_learned_outlives_a_restart_but_not_another_meter(tmp_path: Path) -> None:
    drivers, path = {0: reader()}, tmp_path / "learned.json"
    learned, held = Learned(drivers), site.load(SITE.encode())
    turn(learned, lacks(7))
    later = turn(learned, lacks(7), NOW + 1)
    Notebook(path, held, drivers).write(learned.memories)
    again = Learned(drivers, Notebook(path, held, drivers).read())
    assert again.memories[0].requests == learned.memories[0].requests
    assert turn(again, lacks(7), NOW + 2) == later
    other = site.load(SITE.replace('address = "1"', 'address = "1"\nserial = "77"').encode())
    assert Notebook(path, other, drivers).read()[0].questions == {}
    fewer = {0: reader({"a": 0, "c": 5})}
    assert Notebook(path, held, fewer).read()[0].questions == {}, "another plan"


@pytest.mark.parametrize("text", ["", "{}", "[" * 10_000, '{"schema": 1, "devices": {"M": 7}}', "\x00\xff"])
def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path: Path, text: str) -> None:
    drivers, path = {0: reader()}, tmp_path / "learned.json"
    path.write_text(text, "utf-8")
    assert Notebook(path, site.load(SITE.encode()), drivers).read() == {}


def test_pieces_that_are_not_ours_are_not_asked(tmp_path: Path) -> None:
    """A file that somebody wrote cannot make the box send what no cut of its plan would."""
    drivers, path = {0: reader()}, tmp_path / "learned.json"
    learned, held = Learned(drivers), site.load(SITE.encode())
    turn(learned, lacks(7))
    Notebook(path, held, drivers).write(learned.memories)
    document = json.loads(path.read_bytes())
    [question] = document["devices"]["M"]["questions"].values()
    question["cuts"] = {whole: ["010600000001480a", *parts[1:]] for whole, parts in question["cuts"].items()}
    path.write_text(json.dumps(document))
    assert Notebook(path, held, drivers).read()[0].questions == {}
