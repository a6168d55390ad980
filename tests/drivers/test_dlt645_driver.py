"""The DL/T 645 drivers against the simulated meters: freezes and their dates, follow-up frames, the edition of 1997."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import builtin, profile_file, replay
from drivers.columns import Layouts, replay_track
from drivers.driver import Driver, driver
from drivers.pieces import cut
from drivers.profile import Profile
from drivers.site import Device
from protocols import dlt645, dlt645_1997
from protocols.dlt645 import Frame
from protocols.errors import ConfigError, Impossible, Mismatched, ProtocolError, Refused
from protocols.record.block import Track
from simulator.dlt645_1997_meters import Dlt645Meter1997
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.truth import TruthLog
from simulator.world import DAY_MS, World

NOON = 1_795_406_400_000
"""2026-11-23 12:00 in Shanghai."""
HOUR_MS = 3_600_000
METER = "202311070001"
THREE = profile_file.load(builtin.builtin("dlt645-2007-three-phase"))
SINGLE = profile_file.load(builtin.builtin("dlt645-2007-single-phase"))
OLD = profile_file.load(builtin.builtin("dlt645-1997-three-phase"))
WORLD = World(7)


def meter(
    model: Profile = THREE, address: str = METER, points: tuple[str, ...] = (), zone: str = "Asia/Shanghai"
) -> Any:
    device = Device(id="M-01", profile=model.id, port="bus", address=address, points=points)
    return driver(device, model, zone=ZoneInfo(zone))


@pytest.fixture
def truth(tmp_path: Path) -> TruthLog:
    return TruthLog(tmp_path / "truth.jsonl")


@pytest.fixture
def simulated(truth: TruthLog) -> Dlt645Meter:
    return Dlt645Meter("M-01", METER, 3, behind(WORLD, "M-01", 80), truth)


def whole(held: Driver, hear: Callable[[bytes], list[bytes]], request: bytes) -> tuple[bytes, list[bytes]]:
    """The recorded reply and every request that was sent for it."""
    reply, sent = b"", [request]
    while True:
        frame = held.recogniser(sent[-1]).feed(b"".join(hear(sent[-1])))
        assert frame is not None
        reply += frame
        following = held.follow_up(request, reply)
        if following is None:
            return reply, sent
        sent.append(following)


def on(simulated: Dlt645Meter | Dlt645Meter1997, at: int = NOON) -> Callable[[bytes], list[bytes]]:
    return lambda request: simulated.hear(request, at)


def frozen(time: str, *blocks: tuple[str, str], after: str | None = None, cause: str = "06", back: str = "01") -> bytes:
    """The frames of a freeze: time, blocks (item, data), time."""

    def said(item: str, data: str) -> bytes:
        return Frame(METER, 0x91, bytes.fromhex(back + item + cause + "05") + bytes.fromhex(data)).to_bytes()

    frames = [
        said("00", time),
        *(said(item, data) for item, data in blocks),
        said("00", time if after is None else after),
    ]
    return b"".join(frames)


def ask_frozen(cause: str = "06", back: str = "01") -> bytes:
    return dlt645.read_request(METER, f"05{cause}00{back}")


# ---- freezes ----


def test_a_daily_freeze_is_time_values_and_time_again(simulated: Dlt645Meter) -> None:
    held = meter()
    request = ask_frozen()
    reply, sent = whole(held, on(simulated), request)
    asked = [dlt645.parse_request(one)[1] for one in sent]
    assert asked == ["05060001", "05060101", "05060201", "05060001"]
    midnight = NOON - 12 * HOUR_MS
    assert held.stamp(request, reply) == midnight
    then = replay.values(held, (ask := dlt645.read_request(METER, "00010000")), simulated.hear(ask, midnight)[0])
    assert replay.values(held, request, reply) == {
        "energy_import_daily": then["energy_import"],
        "energy_export_daily": Decimal("0.00"),
    }


def test_the_past_is_asked_for_oldest_first_as_deep_as_it_is_kept(simulated: Dlt645Meter) -> None:
    held = meter()
    requests = [request for _, request in held.history(3, hours=14, hour=12)]
    assert [dlt645.parse_request(one)[1] for one in requests] == [
        "05060003", "05060002", "0504000E", "0504000D", "05060001", *(f"050400{back:02X}" for back in range(12, 0, -1)),
    ]  # fmt: skip
    stamps = []
    for request in requests:
        reply, _ = whole(held, on(simulated), request)
        assert all(value is not None for value in replay.values(held, request, reply).values())
        stamps.append(held.stamp(request, reply))
    midnight = NOON - 12 * HOUR_MS
    hours = [midnight + hour * HOUR_MS for hour in range(-1, 13)]
    assert stamps == sorted([midnight - 2 * DAY_MS, midnight - DAY_MS, midnight, *hours])
    assert len(held.history(100, 0, 0)) == 62 and len(held.history(0, 999, 0)) == 254
    assert meter(points=("energy_import",)).history(7, 7, 0) == ()
    assert len(meter(points=("energy_import", "energy_import_hourly")).history(7, 7, 0)) == 7


def test_a_freeze_in_between_is_noticed() -> None:
    raw = frozen("0000251126", ("01", "26000000"), ("02", "00000000"), after="0000261126")
    with pytest.raises(Mismatched, match="expected one time"):
        replay.values(meter(), ask_frozen(), raw)


def test_a_block_that_the_meter_refuses_is_absent_and_the_others_count() -> None:
    time = Frame(METER, 0x91, bytes.fromhex("01000605 0000251126")).to_bytes()
    values = Frame(METER, 0x91, bytes.fromhex("01010605 26000000")).to_bytes()
    refused = Frame(METER, 0xD1, b"\2").to_bytes()
    held = meter()
    raw = time + values + refused + time
    assert replay.values(held, ask_frozen(), raw) == {
        "energy_import_daily": Decimal("0.26"),
        "energy_export_daily": None,
    }
    assert dlt645.parse_request(held.follow_up(ask_frozen(), time + values + refused))[1] == "05060001"
    with pytest.raises(Refused):
        replay.values(held, ask_frozen(), refused)
    assert held.follow_up(ask_frozen(), refused) is None


@pytest.mark.parametrize("time", ["0000000000", "FFFFFFFFFF", "0000321326", "00002511", "00A0251126"])
def test_what_never_froze_is_no_answer(time: str) -> None:
    with pytest.raises(Impossible, match="for the time of a freeze"):
        replay.values(meter(), ask_frozen(), frozen(time, ("01", "26000000"), ("02", "26000000")))


@pytest.mark.parametrize(
    ("zone", "utc"),
    [("Asia/Shanghai", "2026-11-24T16:00"), ("UTC", "2026-11-25T00:00"), ("Asia/Urumqi", "2026-11-24T18:00")],
)
def test_the_meters_clock_shows_the_time_of_the_site(zone: str, utc: str) -> None:
    raw = frozen("0000251126", ("01", "26000000"), ("02", "26000000"))
    at = datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000
    assert meter(zone=zone).stamp(ask_frozen(), raw) == at


def test_frozen_values_are_never_read_without_their_time() -> None:
    with pytest.raises(Mismatched, match="05060101"):
        next(meter().read(dlt645.read_request(METER, "05060101")))


def test_what_is_not_frozen_has_no_date_of_its_own() -> None:
    held = meter()
    request = held.queries()[0].request
    assert held.stamp(request, Frame(METER, 0x91, bytes.fromhex("00000100 26000000")).to_bytes()) is None


def test_a_freeze_is_one_query_whatever_it_holds_and_cannot_be_cut() -> None:
    held = meter()
    daily = [query for query in held.queries() if "energy_import_daily" in query.points]
    assert [query.points for query in daily] == [("energy_import_daily", "energy_export_daily")]
    assert daily[0].period_ms == DAY_MS
    assert cut(held, daily[0].request) is None
    requests = [query.request for query in held.queries()]
    assert len(set(requests)) == len(requests)


@given(st.lists(st.integers(0, 99_999_999), min_size=1, max_size=5), st.integers(0, 23), st.integers(1, 62))
def test_what_a_meter_froze_is_read_as_it_was_written(registers: list[int], hour: int, back: int) -> None:
    def data(numbers: list[int]) -> str:
        return b"".join(bytes.fromhex(f"{number:08d}")[::-1] for number in numbers).hex()

    name = f"{back:02X}"
    raw = frozen(f"00{hour:02d}251126", ("01", data(registers)), ("02", data(registers[::-1])), back=name)
    held, request = meter(), ask_frozen(back=name)
    values = replay.values(held, request, raw)
    assert values["energy_import_daily"] == Decimal(registers[0]).scaleb(-2)
    assert values["energy_export_daily"] == Decimal(registers[-1]).scaleb(-2)
    table = replay_track(held, Track.of(request, [0, 5], [raw, raw]), Layouts())
    assert table.stamps == (held.stamp(request, raw),) * 2
    assert {column.point.id: column.decimal(0) for column in table} == values


@given(st.binary(max_size=120))
def test_any_reply_to_a_freeze_is_read_or_one_of_our_errors(reply: bytes) -> None:
    held = meter()
    held.follow_up(ask_frozen(), reply)
    for ask in (held.stamp, lambda request, reply: replay.values(held, request, reply)):
        with pytest.raises(ProtocolError):
            ask(ask_frozen(), reply)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('block = "05060101"', 'di = "05060101"'),
        ('block = "05060101"', 'block = "05060102"'),
        ('block = "05060101"', 'block = "05061001"'),
        ('block = "05060101"', 'block = "0001FF00"'),
        ('block = "05060101", digits = "XXXXXX.XX"', 'block = "05060101", digits = "XXXX"'),
    ],
)
def test_a_freeze_point_that_cannot_be_dated_is_refused(old: str, new: str) -> None:
    source = builtin.builtin("dlt645-2007-single-phase").decode()
    assert old in source
    with pytest.raises(ConfigError, match="read whole and dated"):
        profile_file.load(source.replace(old, new).encode())


def test_the_edition_of_1997_dates_nothing() -> None:
    source = builtin.builtin("dlt645-1997-single-phase").decode()
    wrong = source.replace('kind = "config"', 'kind = "config", of = "energy_import"')
    with pytest.raises(ConfigError, match="1997 dates no freeze"):
        profile_file.load(wrong.encode())


# ---- follow-up frames ----


@pytest.mark.parametrize("most", [8, 10, 12, 24, 200])
def test_a_long_block_is_asked_for_frame_by_frame(truth: TruthLog, most: int) -> None:
    simulated = Dlt645Meter("M-01", METER, 3, behind(WORLD, "M-01", 80), truth, most=most)
    plain = Dlt645Meter("M-01", METER, 3, behind(WORLD, "M-01", 80), truth)
    held = meter()
    for query in held.queries():
        reply, sent = whole(held, on(simulated), query.request)
        expected, _ = whole(held, on(plain), query.request)
        assert replay.values(held, query.request, reply) == replay.values(held, query.request, expected)
        controls = {dlt645.decode(one).control for one in sent}
        assert controls <= {0x11, 0x12}
        track = Track.of(query.request, [0], [reply])
        read = {column.point.id: column.decimal(0) for column in replay_track(held, track, Layouts())}
        assert read == replay.values(held, query.request, reply)


def test_a_meter_refuses_a_follow_up_it_has_not_promised(simulated: Dlt645Meter) -> None:
    (said,) = simulated.hear(Frame(METER, 0x12, bytes.fromhex("00FF010001")).to_bytes(), NOON)
    assert dlt645.decode(said).control == 0xD2


@pytest.mark.parametrize("among", ["A" * 12, "AAAAAAAAAA01", METER])
def test_a_simulated_meter_tells_its_address(simulated: Dlt645Meter, among: str) -> None:
    request = dlt645.address_request(among)
    reply = dlt645.recogniser(request).feed(b"".join(simulated.hear(request, NOON)))
    assert reply is not None and dlt645.address_of(request, reply) == METER
    assert simulated.hear(dlt645.address_request("AAAAAAAAAA02"), NOON) == []


# ---- the meter's own number and ratios ----


def test_the_number_and_the_ratios_of_the_instrument(simulated: Dlt645Meter) -> None:
    held = meter()
    found = {}
    for identifier in ("04000402", "04000306", "04000307"):
        request = dlt645.read_request(METER, identifier)
        found |= replay.values(held, request, whole(held, on(simulated), request)[0])
    assert found == {"meter_number": Decimal(METER), "ct_ratio": Decimal(80), "pt_ratio": Decimal(1)}
    assert {name: held.profile.point(name).kind for name in found} == dict.fromkeys(found, "config")


def test_tariffs_come_in_one_block_or_singly_when_it_is_refused(simulated: Dlt645Meter) -> None:
    held = meter()
    (query,) = [query for query in held.queries() if "energy_import_t1" in query.points]
    assert dlt645.parse_request(query.request)[1] == "0001FF00"
    pieces = cut(held, query.request)
    assert pieces is not None
    singly: dict[str, Decimal | None] = {}
    for piece in pieces.pieces:
        singly |= replay.values(held, piece, whole(held, on(simulated), piece)[0])
    assert singly == replay.values(held, query.request, whole(held, on(simulated), query.request)[0])


# ---- 1997 ----


@pytest.mark.parametrize(
    ("number", "fill", "echoes"),
    [("63295", 0xAA, False), ("63295", 0x00, False), ("63295", 0x00, True), ("201708176934", 0xAA, False)],
)
@pytest.mark.parametrize("most", [6, 200])
def test_a_meter_of_1997_is_read_in_one_of_the_wordings(
    truth: TruthLog, number: str, fill: int, echoes: bool, most: int
) -> None:
    seen = behind(WORLD, "M-01", 80)
    simulated = Dlt645Meter1997("M-07", number, 3, seen, truth, fill=fill, echoes=echoes, most=most)
    held = meter(OLD, number)
    values: dict[str, Decimal | None] = {}
    for query in held.queries():
        assert len(query.wordings) == (1 if len(number) == 12 else 2)
        answered = [wording for wording in query.wordings if simulated.hear(wording, NOON)]
        assert answered, "a meter filled up with zeros answers to AA too, one filled up with AA to AA alone"
        for wording in answered:
            reply, sent = whole(held, on(simulated), wording)
            assert {dlt645.decode(one).control for one in sent} <= {0x01, 0x02}
            values |= replay.values(held, wording, reply)
            table = replay_track(held, Track.of(wording, [0], [reply]), Layouts())
            assert {column.point.id: column.decimal(0) for column in table} == replay.values(held, wording, reply)
    at = seen(NOON)
    assert values.keys() == {point.id for point in OLD.points}
    assert values["energy_import"] == Decimal(at.energy()).scaleb(-2)
    assert values["energy_import_t2"] == Decimal(at.energy(2)).scaleb(-2)
    assert values["voltage_b"] == Decimal(at.voltage(2) // 10)
    assert values["meter_number"] == Decimal(number)


def test_a_meter_of_1997_refuses_what_it_does_not_know(truth: TruthLog) -> None:
    simulated = Dlt645Meter1997("M-07", "63295", 1, behind(WORLD, "M-02"), truth)
    held = meter(OLD, "63295")
    (query,) = [query for query in held.queries() if query.points == ("power", "power_a", "power_b", "power_c")]
    reply, _ = whole(held, on(simulated), query.request)
    assert replay.values(held, query.request, reply)["power_b"] is None
    unknown = dlt645_1997.read_request("AAAAAA063295", "B660")
    (said,) = simulated.hear(unknown, NOON)
    assert dlt645.decode(said).control == 0xC1
    write = Frame("AAAAAA063295", 0x04, bytes(8)).to_bytes()
    (said,) = simulated.hear(write, NOON)
    assert (dlt645.decode(said).control, dlt645.decode(said).data) == (0xC4, b"\x04")


def test_a_longer_number_that_ends_alike_is_another_meter(truth: TruthLog) -> None:
    held = meter(OLD, "63295")
    request = dlt645_1997.read_request("AAAAAA063295", "9010")
    for answering, right in (("AAAAAA063295", True), ("000000063295", True), ("201708063295", False)):
        reply = Frame(answering, 0x81, bytes.fromhex("1090 15000000")).to_bytes()
        if right:
            assert replay.values(held, request, reply) == {"energy_import": Decimal("0.15")}
            continue
        with pytest.raises(Mismatched, match="answer of meter 201708063295"):
            replay.values(held, request, reply)


@pytest.mark.parametrize("address", ["999999999999", "AAAAAAAAAAAA", "1234567890123", "", "12 34"])
def test_an_address_of_1997_is_one_meter(address: str) -> None:
    with pytest.raises(ConfigError, match="1 to 12 digits, not broadcast"):
        meter(OLD, address)


def test_a_request_of_1997_to_another_meter_is_refused() -> None:
    held = meter(OLD, "63295")
    for request in (dlt645_1997.read_request("000000063296", "9010"), dlt645_1997.read_request("000000063295", "B660")):
        with pytest.raises(Mismatched):
            next(held.read(request))
    with pytest.raises(ProtocolError):
        next(held.read(dlt645.read_request("000000063295", "00010000")))


# ---- nothing but reads ----


@pytest.mark.parametrize("model", [THREE, SINGLE, OLD], ids=lambda model: model.id)
@given(reply=st.binary(max_size=60), flips=st.integers(0, 255))
def test_no_answer_makes_a_driver_send_anything_but_a_read(model: Profile, reply: bytes, flips: int) -> None:
    held = meter(model)
    reads = {0x01, 0x02} if model is OLD else {0x11, 0x12}
    for query in held.queries():
        first = Frame(
            METER,
            dlt645.decode(query.request).control | 0x80 | flips & 0x20,
            dlt645.decode(query.request).data + reply[:40],
        )
        for raw in (reply, first.to_bytes(), first.to_bytes() + reply):
            following = held.follow_up(query.request, raw)
            assert following is None or dlt645.decode(following).control in reads
