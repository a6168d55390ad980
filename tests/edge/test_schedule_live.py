"""The schedule in the whole agent, on the virtual pair: what of its plan each meter gets, and what the dead take."""

import asyncio

import pytest

from simulator.bus_trials import START, endpoints, live, mixed, modbus_bus

DEAD = range(0, 30, 3)
LIVING = [number for number in range(30) if number % 3]


def test_thirty_meters_ten_of_them_dead():
    lived = live(modbus_bus(30, "10s", 1500, dead=DEAD))
    assert lived.kept(LIVING) >= 0.95
    assert lived.dead_share <= 0.05
    assert all(lived.answered[number] == 0 for number in DEAD)


def test_one_of_four_silent_at_9600_baud_every_second(deep):
    lived = live(modbus_bus(4, "1s", deep(600, 250), dead=[2]))
    assert lived.kept([0, 1, 3]) >= 0.99


def test_three_of_ten_silent_over_tcp_cost_the_others_nothing(deep):
    lived = live(endpoints(10, deep(300, 100), silent=(2, 5, 8)))
    assert lived.kept([0, 1, 3, 4, 6, 7, 9]) == 1


def test_modbus_and_dlt645_share_a_pair_each_in_its_mode(deep):
    lived = live(mixed(deep(1200, 400)))
    assert lived.kept(range(8)) == 1


@pytest.mark.parametrize("dead_s", [20, 700])
def test_a_meter_that_returns_is_back_within_one_back_off(dead_s):
    site = modbus_bus(4, "1s", 100 + dead_s + 320)

    async def die_and_return(site):
        await asyncio.sleep(100)
        site.moods[2].dead = True
        await asyncio.sleep(dead_s)
        site.moods[2].dead = False

    site.during = die_and_return
    lived = live(site)
    back = START + (100 + dead_s) * 1000
    first = next(time for time in lived.answers[2] if time > back)
    assert first - back <= min(300_000, 1000 * dead_s + 5000)
    assert lived.kept([0, 1, 3]) >= 0.99
