"""Status for a person, in both languages, out of what a running agent says of itself."""

import asyncio

import pytest

from edge import commands
from edge.ledger import FAULTS
from protocols import messages


def told(box, kit, seconds=130):
    made = box(kit.modbus_port(), kit.sdm(1), kit.sdm(2))
    world = kit.world(made, {"net": kit.registers()})
    said = []

    async def ask(_):
        await asyncio.sleep(seconds - 1)
        said.append(await world.agents[-1].status())

    world.run(seconds, ask)
    return said[0]


@pytest.mark.parametrize(("language", "word"), [("zh", "送达：尚未登记"), ("en", "delivery: not enrolled")])
def test_a_person_reads_it_in_their_language(box, kit, monkeypatch, language, word):
    monkeypatch.setenv("TANMETER_LANG", language)
    lines = commands._lines(told(box, kit))
    assert any(word in line for line in lines)
    assert any("M-1" in line and "eastron-sdm630" in line for line in lines)
    assert any("energy_import 10 kWh" in line for line in lines)
    assert not any("None" in line for line in lines)


def test_before_the_first_block_the_room_is_not_known(box, kit, monkeypatch):
    monkeypatch.setenv("TANMETER_LANG", "en")
    assert any("after the first block" in line for line in commands._lines(told(box, kit, seconds=5)))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_full_disk_is_said_with_its_remedy_before_and_after_the_store_is_open(box, kit, monkeypatch, language):
    monkeypatch.setenv("TANMETER_LANG", language)
    for held in ({"state": "disk-full", "why": "full"}, told(box, kit) | {"state": "disk-full", "why": "full"}):
        assert messages.remedy("STO-101", language) in commands._lines(held)[1]


def test_every_fault_has_a_name():
    for name in FAULTS.values():
        assert messages.text(f"edge.status.fault.{name}", "zh")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_is_wrong_with_a_port_is_said_with_its_remedy(box, kit, monkeypatch, language):
    monkeypatch.setenv("TANMETER_LANG", language)
    held = told(box, kit)
    for code in ("BUS-111", "BUS-112", "BUS-113", "BUS-114", "BUS-115", "MTR-202"):
        held["ports"][0]["troubles"] = [{"code": code, "since": 0, "detail": "M-1: twice", "sure": code != "BUS-115"}]
        (line,) = [line for line in commands._lines(held) if code in line]
        assert messages.text(code, language) in line and messages.remedy(code, language) in line and "M-1" in line


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_port_that_is_gone_is_said_with_its_code_and_remedy(box, kit, monkeypatch, language):
    monkeypatch.setenv("TANMETER_LANG", language)
    held = told(box, kit)
    held["ports"][0]["gone"] = "/dev/x: not there"
    (line,) = [line for line in commands._lines(held) if "/dev/x: not there" in line]
    assert "BUS-106" in line and messages.remedy("BUS-106", language) in line


def test_a_value_that_the_meter_does_not_have_is_a_dash_and_a_number_has_no_unit(box, kit, monkeypatch):
    monkeypatch.setenv("TANMETER_LANG", "en")
    held = told(box, kit)
    held["devices"][0]["values"] = [
        {"point": "volume", "value": None, "unit": "m3"},
        {"point": "power_factor", "value": "0.943", "unit": "1"},
    ]
    lines = [line.strip() for line in commands._lines(held)]
    assert "volume - m3" in lines and "power_factor 0.943" in lines


@pytest.mark.parametrize("language", ["zh", "en"])
def test_why_nothing_is_delivered_is_said_with_its_remedy(box, kit, monkeypatch, language):
    monkeypatch.setenv("TANMETER_LANG", language)
    sync = {"state": "unreachable", "error": "mqtts://b: certificate expired", "code": "SYN-503"}
    said = "\n".join(commands._lines(told(box, kit) | {"sync": sync}))
    assert "certificate expired" in said and messages.remedy("SYN-503", language) in said
