"""The M-Bus driver: what it asks, which telegram counts, units, and meters that say what they should not."""

import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from drivers import builtin, profile_file, replay
from drivers.driver import Driver, driver
from drivers.site import Device
from protocols import mbus
from protocols.errors import ConfigError, Impossible, Mismatched, ProtocolError
from protocols.mbus import Frame, Request

HEAT = profile_file.load(builtin.builtin("mbus-heat"))
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mbus.json").read_text("utf-8"))


def meter(address: str = "5", points: tuple[str, ...] = (), **options: str) -> Driver:
    return driver(Device(id="M", profile="mbus-heat", port="p", address=address, points=points, options=options), HEAT)


def said(records: str, status: int = 0, number: str = "12345678", address: int = 5) -> bytes:
    header = bytes.fromhex(number)[::-1] + bytes.fromhex("2423 28 04 2A") + bytes([status, 0, 0])
    return Frame(8, address, 0x72, header + bytes.fromhex(records)).to_bytes()


def conversation(held: Driver, telegrams: list[bytes]) -> tuple[list[str], bytes]:
    """What is asked of a meter that answers with these, until the driver has enough; and all that came."""
    request, asked, reply = held.queries()[0].request, [], b""
    following: bytes | None = request
    while following is not None:
        asked.append(following.hex())
        found = held.recogniser(following).feed(telegrams[len(asked) - 1])
        assert found is not None
        reply += found
        following = held.follow_up(request, reply)
    return asked, reply


def values(held: Driver, *replies: bytes) -> Mapping[str, Decimal | None]:
    """What an answer says; that there is no permanent error, which comes with every counter, goes without saying."""
    found = replay.values(held, held.queries()[0].request, b"".join(replies))
    return {point: value for point, value in found.items() if (point, value) != ("error", 0)}


def test_the_question_is_put_with_both_frame_count_bits_and_the_later_telegram_counts() -> None:
    """A meter that minds the bit answers the first question with what it said last time."""
    held = meter(points=("energy_heat",))
    stale, fresh = said("0406 01000000"), said("0406 02000000")
    asked, reply = conversation(held, [stale, fresh])
    assert asked == ["105b056016", "107b058016"]
    assert values(held, reply) == {"energy_heat": 2}


def test_a_meter_that_ignores_the_bit_is_asked_once() -> None:
    held = meter(points=("energy_heat",), frame_count_bit="ignored")
    asked, reply = conversation(held, [said("0406 02000000")])
    assert asked == ["105b056016"] and values(held, reply) == {"energy_heat": 2}


def test_a_meter_of_several_telegrams_is_asked_until_none_follows() -> None:
    held = meter(points=("energy_heat", "volume", "flow"))
    telegrams = [said("0406 02000000 1F"), said("0413 01000000 1F"), said("043B 05000000")]
    asked, reply = conversation(held, telegrams)
    assert [frame[2:4] for frame in asked] == ["5b", "7b", "5b"]
    assert values(held, reply) == {"energy_heat": 2, "volume": Decimal("0.001"), "flow": Decimal("0.005")}


def test_a_first_telegram_that_is_the_last_of_last_time_does_not_end_the_answer() -> None:
    held = meter(points=("energy_heat", "flow"))
    telegrams = [said("043B 04000000"), said("0406 02000000 1F"), said("043B 05000000")]
    _, reply = conversation(held, telegrams)
    assert values(held, reply) == {"energy_heat": 2, "flow": Decimal("0.005")}


def test_an_answer_that_never_ends_is_not_asked_for_ever() -> None:
    asked, _ = conversation(meter(), [said("0406 02000000 1F")] * 99)
    assert len(asked) == 16


def test_an_answer_is_no_longer_than_one_that_was_asked_to_its_end() -> None:
    """Nobody but the thief of a key has one: a mebibyte of telegrams took 10 s to read, which is one answer."""
    held, longest = meter("12345678"), said("0406 02000000" + "2F" * (252 - 12 - 6), address=0)
    answer = b"\xe5" + longest * 16
    assert values(held, answer)["energy_heat"] == 2
    for longer in (longest * 17, answer + longest):
        with pytest.raises(Impossible, match=f"an answer of {len(longer)} bytes, expected at most 4177"):
            values(held, longer)
        assert held.follow_up(held.queries()[0].request, longer) is None


def test_a_meter_by_its_number_is_selected_first() -> None:
    held = meter("12345678", points=("energy_heat", "meter_number"))
    telegram = said("0406 02000000", address=0)
    asked, reply = conversation(held, [b"\xe5", telegram, telegram])
    assert asked[0].startswith("680b0b6873fd5278563412") and asked[1:] == ["105bfd5816", "107bfd7816"]
    assert reply == b"\xe5" + telegram + telegram
    assert values(held, reply) == {"energy_heat": 2, "meter_number": 12345678}
    with pytest.raises(Mismatched, match="found meter 87654321, expected meter 12345678"):
        values(held, said("0406 02000000", number="87654321"))


@pytest.mark.parametrize("address", ["251", "254", "255", "-1", "05", "1234567", "123456789", "1234567F", ""])
def test_an_address_is_a_meters_own(address: str) -> None:
    with pytest.raises(ConfigError, match=r"a primary address 0\.\.250, or an identification of 8 digits"):
        meter(address)


def test_an_option_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"device\.options: frame_count_bits: found an unknown key"):
        meter(frame_count_bits="minded")


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ("0406 07000000", "7.000"),
        ("0403 07000000", "0.007"),
        ("0C07 64080000", "8640.000"),
        ("04FB01 07000000", "7000.000"),
        ("0C06 EEEEEEEE", None),
        ("0506 0000203F", "0.625"),
        ("0506 CDCC4C3E", "0.200"),
    ],
)
def test_a_quantity_is_told_in_the_unit_of_the_point_whatever_the_meter_counts_in(
    record: str, value: str | None
) -> None:
    found = values(meter(points=("energy_heat",)), said(record))["energy_heat"]
    assert (None if found is None else str(found)) == value


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("0402 07000000", "one digit of record 0402 is 1/10 Wh, expected whole steps of 0.001 kWh"),
        ("040E 07000000", "one digit of record 040E is 1000000 J"),
        ("0D06 01 41", "found 'A' in record 0D06, expected a number"),
    ],
)
def test_what_does_not_come_out_in_whole_steps_is_impossible(record: str, message: str) -> None:
    with pytest.raises(Impossible, match=message):
        values(meter(points=("energy_heat",)), said(record))


@pytest.mark.parametrize("records", ["4406 07000000", "1406 07000000", "841006 07000000", "0493 3A 07000000", "2F2F"])
def test_what_is_not_the_present_value_is_not_taken_for_it(records: str) -> None:
    with pytest.raises(Impossible, match="none of the records"):
        values(meter(points=("energy_heat",)), said(records))


def test_the_status_says_whether_a_value_counts() -> None:
    held = meter(points=("energy_heat", "error", "battery_low", "status"))
    reply = said("0406 02000000", status=0x0C)
    assert values(held, reply) == {"energy_heat": 2, "error": 1, "battery_low": 1, "status": 12}
    readings = replay.replay(held, held.queries()[0].request, reply, 0, 0)
    assert {reading.point: reading.quality for reading in readings}["energy_heat"] == "suspect"


@pytest.mark.parametrize("reply", [b"", b"\xe5", b"\x68\x03", said("0406 02000000", address=6)])
def test_what_is_no_answer_is_refused(reply: bytes) -> None:
    held = meter()
    assert held.follow_up(held.queries()[0].request, reply) is None or not reply
    with pytest.raises(ProtocolError):
        values(held, reply)


def test_another_meters_question_is_not_this_ones() -> None:
    for asked in (Request(6), Request(5, second=True), Request(mbus.SELECTED)):
        with pytest.raises(Mismatched, match="expected meter 5"):
            next(meter().read(asked.to_bytes()))


def test_a_box_without_m_bus_does_not_load_the_library() -> None:
    code = (
        "import sys, drivers.driver, drivers.busload, drivers.proof, protocols.decode, drivers.columns\n"
        "print([name for name in sys.modules if name.startswith(('meterbus', 'Crypto'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_without_the_library_the_profile_is_refused_with_what_to_install() -> None:
    code = (
        "import sys; sys.modules['meterbus'] = None\n"
        "from drivers import builtin, profile_file\nfrom drivers.driver import driver\n"
        "from drivers.site import Device\n"
        "held = profile_file.load(builtin.builtin('mbus-heat'))\n"
        "driver(Device(id='M', profile='mbus-heat', port='p', address='5'), held)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'tanmeter[mbus]'" in told.stderr
