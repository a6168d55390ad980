"""Telling a model by what it answers."""

from decimal import Decimal

import msgspec
import pytest

from drivers import builtin, identify, profile_checks, profile_file
from drivers.driver import driver
from drivers.profile import Identify, Profile, Read
from drivers.site import Device
from protocols import modbus
from protocols.errors import ConfigError, Silent

SDM = profile_file.load(builtin.builtin("eastron-sdm630"), "eastron-sdm630")
MARKS = Identify(
    Read(3, 0xFC02), (0x70,), {"frequency": (Decimal(45), Decimal(65)), "voltage_a": (Decimal(80), Decimal(280))}
)
MODEL = msgspec.structs.replace(SDM, identify=MARKS)


def installed(model: Profile, framing: str = "rtu") -> identify.Driver:
    return driver(Device(id="M-01", profile=model.id, port="bus", address="1"), model, framing)  # type: ignore[arg-type]


def answering(words: dict[bytes, bytes]) -> identify.Ask:
    def ask(request: bytes) -> bytes:
        if request not in words:
            raise Silent("no byte came")
        return words[request]

    return ask


def test_the_right_model_is_told_by_its_words_and_its_ranges() -> None:
    held = installed(MODEL)
    replies = {bytes.fromhex(proof.request): bytes.fromhex(proof.response) for proof in SDM.proof}
    replies[modbus.Request(1, 3, 0xFC02, 1).rtu()] = modbus.frame_rtu(1, bytes.fromhex("03 02 00 70"))
    found = list(identify.findings(held, answering(replies)))
    assert [(one.what, one.holds) for one in found] == [
        ("register 64514", True),
        ("voltage_a", True),
        ("frequency", True),
    ]


def test_another_model_is_told_by_its_words() -> None:
    replies = {modbus.Request(1, 3, 0xFC02, 1).rtu(): modbus.frame_rtu(1, bytes.fromhex("03 02 00 89"))}
    first, *rest = identify.findings(installed(MODEL), answering(replies))
    assert (first.found, first.expected, first.holds) == ("0089", "0070", False)
    assert rest and not any(one.holds for one in rest) and "BUS-101" in rest[0].found


def test_over_tcp_the_same_words_are_asked() -> None:
    assert identify.request(installed(MODEL, "modbus-tcp")) == modbus.Request(1, 3, 0xFC02, 1).tcp()


def test_a_profile_without_marks_asks_nothing() -> None:
    held = installed(msgspec.structs.replace(SDM, identify=None))
    assert identify.request(held) is None and list(identify.findings(held, answering({}))) == []


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (Identify(), "neither read nor ranges"),
        (Identify(Read(3, 1, 2), (7,)), "1 words"),
        (Identify(expect=(7,), ranges={"power": (Decimal(0), Decimal(1))}), "none without read"),
        (Identify(Read(3, 0xFFFF, 2), (7, 8)), "ends by address 65535"),
        (Identify(ranges={"pwr": (Decimal(0), Decimal(1))}), "'pwr'"),
        (Identify(ranges={"power": (Decimal(1), Decimal(0))}), "lowest value first"),
    ],
)
def test_marks_that_cannot_be_are_refused(marks: Identify, message: str) -> None:
    with pytest.raises(ConfigError, match="identify") as caught:
        profile_checks.check(msgspec.structs.replace(SDM, identify=marks), "x")
    assert message in str(caught.value)
