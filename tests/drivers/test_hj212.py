"""The HJ 212 driver: what a logger's packets say, in which unit, of when, and what never becomes a zero."""

from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from drivers import builtin, profile_file, replay
from drivers.columns import Layouts, replay_track
from drivers.driver import driver
from drivers.hj212 import Hj212Driver, instant
from drivers.proof import prove
from drivers.site import Device, Stack
from protocols import hj212
from protocols.errors import ConfigError, Damaged, Mismatched
from protocols.record.block import Track

STACK = Stack(area_m2=Decimal(20), kv=Decimal("0.95"), air_pressure_pa=Decimal(101000))
GAS = {
    "a05001": "243571.429",
    "a19001": "6.5",
    "a01011": "12",
    "a01012": "95",
    "a01013": "-0.25",
    "a01014": "11.5",
}
AT = 1_795_486_800_000
"""2026-11-24 10:20 in Shanghai."""


def monitor(name: str = "hj212-co2", stack: Stack | None = STACK, **entry: Any) -> Hj212Driver:
    profile = profile_file.load(builtin.builtin(name), name)
    made = driver(Device(id="S", profile=name, port="p", address="A1", stack=stack, **entry), profile)
    assert isinstance(made, Hj212Driver)
    return made


def packet(gas: dict[str, str], cn: str = "2051", field: str = "Avg", more: str = "", head: str = "") -> bytes:
    items = ";".join(f"{code}-{field}={value},{code}-Flag=N" for code, value in gas.items())
    time = "DataTime=20261124102000"
    return hj212.frame(f"QN=20261124103000000;ST=31;CN={cn};MN=A1;Flag=5;{head}CP=&&{time};{items}{more}&&")


def read(held: Hj212Driver, raw: bytes) -> dict[str, str | None]:
    return {
        name: None if value is None else f"{value.normalize():f}"
        for name, value in replay.values(held, b"", raw).items()
    }


def qualities(held: Hj212Driver, raw: bytes) -> dict[str, str]:
    return {reading.point: reading.quality for reading in replay.replay(held, b"", raw, 0, 0)}


@pytest.mark.parametrize("name", ["hj212-cems", "hj212-2005-cems", "hj212-co2"])
def test_profiles_read_their_packets(name: str) -> None:
    prove(profile_file.load(builtin.builtin(name), name))


def test_the_worked_example_is_the_mass_that_is_booked_at_the_start_of_its_interval() -> None:
    held = monitor()
    values = read(held, packet(GAS))
    assert (values["co2_mass_rate"], values["flow_standard_dry_minute"], values["constants"]) == (
        "130511.936",
        "535826.131",
        "1",
    )
    assert {reading.at for reading in replay.replay(held, b"", packet(GAS), 7, 0)} == {AT}
    assert qualities(held, packet(GAS))["co2_mass_rate"] == "measured"
    exact = monitor(
        stack=Stack(STACK.area_m2, STACK.kv, STACK.air_pressure_pa, constants="exact"),
    )
    assert read(exact, packet(GAS))["constants"] == "2"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"a05001": "0"}, "2"),  # below ambient air: beyond its limits
        ({"a01014": "-"}, "1"),
        ({"a01011": ""}, "1"),
        ({"a01012": "900"}, "2"),
    ],
)
def test_what_is_missing_or_in_doubt_makes_no_mass_and_never_a_zero(change: dict[str, str], state: str) -> None:
    values = read(monitor(), packet(GAS | change))
    assert values["co2_mass_rate"] is None
    assert values["co2_mass_state_minute"] == state
    assert qualities(monitor(), packet(GAS | change))["co2_mass_rate"] == "absent"


@pytest.mark.parametrize(("mark", "number"), [("B", "7"), ("T", "6"), ("M", "2"), ("x", "8")])
def test_only_the_mark_n_counts(mark: str, number: str) -> None:
    raw = packet(GAS).decode()
    segment = raw[6 : raw.rindex("&&") + 2].replace("a05001-Flag=N", f"a05001-Flag={mark}")
    values = read(monitor(), hj212.frame(segment))
    assert (values["co2_minute"], values["co2_mark_minute"], values["co2_mass_rate"]) == ("243571.429", number, None)
    assert values["flow_standard_dry_minute"] == "535826.131"
    assert qualities(monitor(), hj212.frame(segment))["co2_minute"] == "suspect"


def test_unmarked_values_count_only_where_the_site_says_so() -> None:
    raw = hj212.frame("ST=31;CN=2011;MN=A1;CP=&&DataTime=20261124102000;S01-Rtd=6.5&&")
    assert read(monitor("hj212-2005-cems"), raw)["o2_mark_now"] == "9"
    trusted = monitor("hj212-2005-cems", options={"unmarked": "N"})
    assert read(trusted, raw)["o2_mark_now"] == "0"
    assert read(trusted, raw)["so2_mark_now"] == "9"


def test_a_total_that_contradicts_its_mean_puts_the_flow_in_doubt() -> None:
    flow = ";a00000-Avg=148.84,a00000-Cou={},a00000-Flag=N"
    held = monitor()
    assert read(held, packet(GAS, more=flow.format("89304.36")))["flow_mark_minute"] == "0"
    wrong = packet(GAS, more=flow.format("24.8"))
    assert (read(held, wrong)["flow_mark_minute"], qualities(held, wrong)["flow_minute"]) == ("10", "suspect")
    hourly = monitor(options={"units": {"a00000": "m3/h"}})
    assert read(hourly, packet(GAS, more=flow.format("24.8")))["flow_mark_minute"] == "0"


def test_units_are_those_of_the_site() -> None:
    sent = GAS | {"a05001": "12.4", "a01013": "-250"}
    held = monitor(options={"units": {"a05001": "%", "a01013": "Pa"}})
    assert read(held, packet(sent))["co2_mass_rate"] == "130511.936"
    assert read(held, packet(sent))["co2_minute"] == "243571.428571"
    assert (
        read(monitor(options={"units": {"a05001": "g/m3"}}), packet(GAS | {"a05001": "243.5"}))["co2_minute"]
        == "243500"
    )
    with pytest.raises(ConfigError, match=r"options\.units"):
        monitor(options={"units": {"a01013": "m3"}})


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ({"options": {"crcs": "modbus"}}, "did you mean 'crc'"),
        ({"options": {"periods": {"2081": "1m"}}}, "options.periods"),
        ({"options": {"units": {"a05011": "%"}}}, "a factor of its model"),
        ({"options": {"periods": {"2051": "often"}}}, "a duration"),
        ({"points": ("co3",)}, "points"),
        ({"stack": Stack(Decimal(0))}, "stack.area_m2"),
    ],
)
def test_a_wrong_entry_is_named(entry: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        monitor(**entry)


def test_a_mass_alone_may_be_asked_and_still_counts() -> None:
    held = monitor(points=("co2_mass_rate",))
    assert read(held, packet(GAS)) == {"co2_mass_rate": "130511.936", "co2_mass_state_minute": "0"}
    assert [query.points for query in held.queries()] == [("co2_mass_rate", "co2_mass_state_minute")]
    assert qualities(held, packet(GAS)) == {"co2_mass_rate": "measured", "co2_mass_state_minute": "measured"}


def test_the_plan_has_a_question_for_each_command_at_the_pace_of_the_site() -> None:
    held = monitor(options={"periods": {"2011": "30s", "2051": "5m"}})
    assert [(query.request, query.period_ms) for query in held.queries()] == [
        (b"", 30_000),
        (b"", 300_000),
        (b"", 3_600_000),
        (b"", 86_400_000),
    ]
    assert [held.query(held.packet(packet(GAS, cn))) for cn in ("2011", "2051", "2061", "2031", "2021")] == [
        0,
        1,
        2,
        3,
        None,
    ]


def test_a_part_tells_what_is_in_it_and_nothing_else() -> None:
    values = read(monitor(), packet({"a05001": "1000"}, head="PNUM=2;PNO=1;"))
    assert values == {"co2_minute": "1000", "co2_mark_minute": "0", "constants": "1"}
    assert read(monitor(), packet({}, cn="2021")) == {}


def test_a_packet_that_contradicts_itself_has_no_value() -> None:
    values = read(monitor(), packet(GAS, more=";30-Avg=5,30-Flag=N;a19001-Avg=6.5"))
    assert (values["co2_minute"], values["o2_minute"]) == (None, "6.5")


def test_another_device_or_a_broken_packet_is_refused() -> None:
    raw = packet(GAS)
    with pytest.raises(Mismatched, match="MN"):
        read(
            monitor(),
            raw.replace(b"MN=A1", b"MN=A2").replace(raw[-6:-2], hj212.checksum(raw.replace(b"MN=A1", b"MN=A2")[6:-6])),
        )
    with pytest.raises(Damaged):
        read(monitor(), raw.replace(b"=N", b"=B", 1))
    with pytest.raises(Mismatched, match="unasked"):
        replay.values(monitor(), b"?", raw)


def test_times_are_of_the_sites_zone_and_may_have_milliseconds() -> None:
    assert instant("20261124022000250", UTC) == AT - 28_800_000 + 28_800_000 + 250
    for text in ("", "2026112410", "20261324102000", "2026112410200x"):
        assert instant(text, UTC) is None


def test_whole_tracks_are_read_as_one_by_one() -> None:
    held = monitor()
    raws = [packet(GAS | {"a19001": text}) for text in ("6.5", "7.5", "-.-")]
    table = replay_track(held, Track.of(b"", [1, 2, 3], raws), Layouts())
    assert table.stamps == (AT, AT, AT)
    for column in table:
        one_by_one = [replay.values(held, b"", raw)[column.point.id] for raw in raws]
        assert [column.decimal(index) for index in range(3)] == one_by_one


def test_folded_values_feed_no_mass() -> None:
    source = builtin.builtin("hj212-co2").replace(
        b'id = "co2_minute", cn = "2051", factor = "a05001", field = "Avg"',
        b'id = "co2_minute", cn = "2051", factor = "a05001", field = "ZsAvg"',
    )
    with pytest.raises(ConfigError, match=r"inputs\.co2"):
        profile_file.load(source, "folded")
