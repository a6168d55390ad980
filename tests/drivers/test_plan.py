"""What a profile's points become: requests within the limits of the model, and how many are owed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import builtin, plan, profile, profile_file
from drivers.driver import Query, driver
from drivers.profile import Point, Profile
from drivers.quantity import quality
from drivers.site import Device


def model(points: str, link: str = "") -> Profile:
    return profile_file.load(
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


def test_what_the_site_file_says_of_a_device_enters_its_plan() -> None:
    both = model(point("a", 10) + point("b", 13), "readable_gaps = true\nturnaround_ms = 20")
    assert spans(both) == [(10, 4, 60)]
    assert spans(both, forbidden=((11, 11),)) == [(10, 1, 60), (13, 1, 60)]
    assert spans(both, max_registers=3) == [(10, 1, 60), (13, 1, 60)]
    assert spans(model(point("a", 10) + point("b", 13)), readable=((11, 12),)) == [(10, 4, 60)]
    far = model(point("a", 0) + point("b", 31), "readable_gaps = true\nturnaround_ms = 20\nguard_ms = 0")
    assert spans(far) == [(0, 1, 60), (31, 1, 60)]
    assert spans(far, turnaround_ms=100) == [(0, 32, 60)]
    assert spans(far, mode="115200-8E1") == [(0, 32, 60)], "and the line it hangs on"


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


@pytest.mark.parametrize(
    ("name", "address", "point", "flag"),
    [("siemens-pac3200", "1", "energy_import", "energy_import_t2"), ("mbus-heat", "17", "energy_heat", "error")],
)
def test_a_point_is_asked_with_the_flag_by_which_it_counts(name: str, address: str, point: str, flag: str) -> None:
    held = profile_file.load(builtin.builtin(name))
    asker = driver(Device(id="D", profile=name, port="bus", address=address, points=(point,)), held)
    [query] = asker.queries()
    assert set(query.points) == {point, flag}
    assert quality(held.point(point), {point: Decimal(5), flag: Decimal(0)}) == "measured"
    assert quality(held.point(point), {point: Decimal(5), flag: Decimal(1)}) == "suspect"


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
