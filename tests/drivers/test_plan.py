"""The planner against every way there is to ask, on small cases."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import plan, profile
from drivers.driver import Query, driver
from drivers.profile import Link, Point, Profile
from drivers.site import Device

LINK = Link(turnaround_ms=20, max_registers=20)


def partitions(items: list[plan.Interval]) -> Iterator[list[list[plan.Interval]]]:
    if not items:
        yield []
        return
    first, *rest = items
    for parts in partitions(rest):
        yield [[first], *parts]
        for index in range(len(parts)):
            yield [*parts[:index], [first, *parts[index]], *parts[index + 1 :]]


def cost(count: int) -> int:
    return plan.modbus_ns(LINK, 3, count)


def fits(runs: list[plan.Interval], limit: int, allowed: list[plan.Interval]) -> bool:
    return all(end - start <= limit and any(a <= start and end <= b for a, b in allowed) for start, end in runs)


def hull(part: list[plan.Interval]) -> plan.Interval:
    return min(start for start, _ in part), max(end for _, end in part)


fields = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([1, 2, 4])).map(lambda f: (f[0], f[0] + f[1])), min_size=1, max_size=6
)


@given(fields, st.integers(4, 30), st.integers(0, 64))
def test_no_partition_of_the_fields_takes_less_bus_time(found: list[plan.Interval], limit: int, hole: int) -> None:
    allowed = [(0, hole), (hole, 64)]
    possible = [
        [hull(part) for part in parts]
        for parts in partitions(sorted(set(found)))
        if fits([hull(part) for part in parts], limit, allowed)
    ]
    if not possible:
        with pytest.raises(ValueError):
            plan.cover(found, cost, limit, allowed)
        return
    runs = plan.cover(found, cost, limit, allowed)
    assert fits(runs, limit, allowed)
    assert all(any(a <= start and end <= b for a, b in runs) for start, end in found)
    assert sum(cost(end - start) for start, end in runs) == min(
        sum(cost(end - start) for start, end in way) for way in possible
    )


def test_a_gap_is_read_over_while_it_is_shorter_than_another_question() -> None:
    everywhere = [(0, 65536)]
    break_even = 10 + 20 * 9600 // 22_000  # reference: g <= 10 + t_turn x B / 22, here 18
    narrow, wide = [(0, 2), (2 + break_even, 4 + break_even)], [(0, 2), (3 + break_even, 5 + break_even)]
    assert len(plan.cover(narrow, cost, 125, everywhere)) == 1
    assert len(plan.cover(wide, cost, 125, everywhere)) == 2


def model(points: str, link: str = "") -> Profile:
    return profile.load(
        f"""
schema = 1
id = "acme"
title = {{ zh = "表", en = "meter" }}
protocol = "modbus"
medium = "electricity"
source = {{ doc = "manual", verified = "doc-only" }}
products = []
points = [{points}]
[link]
{link}
[[proof]]
request = ""
response = ""
expect = {{}}
""".encode()
    )


def point(name: str, address: int, extra: str = "") -> str:
    return f'{{ id = "{name}", fc = 3, address = {address}, type = "u16", unit = "V", kind = "gauge"{extra} }},'


def spans(held: Profile, **device: object) -> list[tuple[int, int, int]]:
    made = driver(Device(id="M", profile="acme", port="p", address="1", **device), held)
    return [
        (int.from_bytes(q.request[2:4]), int.from_bytes(q.request[4:6]), q.period_ms // 1000) for q in made.queries()
    ]


def test_unknown_registers_are_not_read_over() -> None:
    both = point("a", 10) + point("b", 13)
    assert spans(model(both)) == [(10, 1, 60), (13, 1, 60)]
    assert spans(model(both, "readable = [[11, 12]]")) == [(10, 4, 60)]
    assert spans(model(both, "readable_gaps = true")) == [(10, 4, 60)]
    assert spans(model(both, "readable_gaps = true\nforbidden = [[12, 12]]")) == [(10, 1, 60), (13, 1, 60)]
    assert spans(model(point("a", 10) + point("x", 11) + point("y", 12) + point("b", 13)), points=("a", "b")) == [
        (10, 4, 60)
    ]


def test_a_snapshot_comes_in_one_read() -> None:
    held = ', snapshot = "s"'
    far = point("a", 0, held) + point("b", 1) + point("c", 40, held)
    assert spans(model(far, "readable_gaps = true\nmax_registers = 50\nturnaround_ms = 0")) == [(0, 41, 60)]
    with pytest.raises(Exception, match="41 addresses to 40"):
        spans(model(far, "readable_gaps = true\nmax_registers = 40"))


def test_a_slow_point_within_a_fast_read_is_not_asked_again() -> None:
    points = point("a", 0, ', period = "10s"') + point("b", 1) + point("c", 2, ', period = "10s"') + point("d", 9)
    assert spans(model(points)) == [(0, 3, 10), (9, 1, 60)]
    assert spans(model(points), period="5s") == [(1, 1, 5), (9, 1, 5), (0, 3, 10)]


def test_a_block_is_asked_where_it_beats_its_items() -> None:
    def item(index: int) -> Point:
        return Point(
            id=f"u{index}",
            unit="V",
            kind="gauge",
            di=f"02010{index + 1}00",
            digits="XXX.X",
            block="0201FF00",
            index=index,
        )

    three = tuple(item(index) for index in range(3))
    held = Profile(1, "m", profile.Text("", ""), "dlt645", "electricity", profile.Source("", "doc-only"), (), three, ())
    assert plan.dlt645_identifiers(three, held) == ("0201FF00",)
    assert plan.dlt645_identifiers(three[1:2], held) == ("02010200",)


def test_a_thousand_fields_are_planned_as_their_runs() -> None:
    points = [(8 * index, 8 * index + 2) for index in range(1000)]
    runs = plan.cover(points, cost, 120, [(0, 65536)])
    assert sum(end - start <= 120 for start, end in runs) == len(runs)
    assert len(runs) == 67  # 15 fields of stride 8 in 114 registers; break-even gap is 18


@given(
    st.lists(st.integers(1, 100).map(lambda s: s * 1000), min_size=1, max_size=4),
    st.integers(0, 10**7),
    st.integers(0, 10**6),
)
def test_due_bounds_hold_every_count_of_aligned_slots(seconds: list[int], start: int, span: int) -> None:
    queries = [Query(b"", (), period) for period in seconds]
    slots = sum(-(-(start + span) // period) - -(-start // period) for period in seconds)
    low, high = plan.due_bounds(queries, span)
    assert low <= slots <= high
    assert high - low <= 3 * len(queries)
