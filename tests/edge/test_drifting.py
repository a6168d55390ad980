"""The alarm for a clock that is a second off: told when it begins and when it is over, not for what is no drift."""

import asyncio

import pytest

from edge import commands, doctor_box
from edge.drifting import drifted
from edge.metrics import exposition
from protocols import messages
from protocols.record.block import ClockState
from simulator.time import SimClock

NTP, KEPT, RESTING, UNKNOWN = 2, 2, 1, 0


@pytest.mark.parametrize(
    ("off", "state", "error", "alarm"),
    [
        (0, KEPT, 5, False),
        (1000, KEPT, 5, False),
        (1001, KEPT, 5, True),
        (-1001, RESTING, 5, True),
        (0, RESTING, 1001, True),
        (0, KEPT, 1050, False),
        (0, KEPT, 2001, True),
        (90_000, UNKNOWN, 16_000, False),
    ],
)
def test_a_second_is_the_limit(off, state, error, alarm):
    assert bool(drifted(off, ClockState(NTP, state, error, 0))) is alarm


def test_a_quartz_that_nobody_corrects_is_told_before_it_is_a_second_off_and_when_it_is_well_again(
    box, kit, monkeypatch
):
    held, told = {"state": ClockState(NTP, KEPT, 5, 0)}, {}
    monkeypatch.setattr(SimClock, "state", lambda clock: held["state"])
    monkeypatch.setenv("TANMETER_LANG", "en")
    made = box(kit.modbus_port(), kit.sdm(1, period="60s"))
    world = kit.world(made, {"net": kit.registers()})

    async def without_server(world):
        await asyncio.sleep(120)
        held["state"] = ClockState(NTP, RESTING, 16_000, 0)
        await asyncio.sleep(2400)
        told.update(await world.agents[-1].status())
        held["state"] = ClockState(NTP, KEPT, 5, 0)
        await asyncio.sleep(120)
        told["after"] = (await world.agents[-1].status())["clock"]["alarm"]

    world.run(2700, without_server, watch_s=1.0)
    (began,) = [known for event, known in world.logged if event == "clock_off"]
    assert began["fault"] == "CLK-402" and ("clock_off", "error") in world.levels
    assert [event for event, _ in world.logged if event.startswith("clock_off")] == ["clock_off", "clock_off_over"]
    assert told["after"] == ""
    assert any("CLK-402" in line and messages.remedy("CLK-402", "en") in line for line in commands._lines(told))
    assert b"tanmeter_clock_alarm 1.0" in exposition(told)
    check = doctor_box._drift(told["clock"])
    assert (check.ok, check.code, check.exit_code) == (False, "CLK-402", 8)


def test_a_clock_that_steps_while_monotonic_time_goes_on_is_told(box, kit, monkeypatch):
    monkeypatch.setattr(SimClock, "state", lambda clock: ClockState(NTP, KEPT, 5, 0))
    made = box(kit.modbus_port(), kit.sdm(1, period="60s"))
    world = kit.world(made, {"net": kit.registers()})

    async def step(world):
        await asyncio.sleep(100)
        world.step_ms = -3_600_000
        await asyncio.sleep(100)
        world.step_ms = 0

    world.run(299, step, watch_s=1.0)
    assert [event for event, _ in world.logged if event.startswith("clock_off")] == ["clock_off", "clock_off_over"]
