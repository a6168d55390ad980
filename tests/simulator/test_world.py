"""The world: exact integrals, the same for the same seed, counters that never fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.electricity import behind
from simulator.pipes import within
from simulator.world import CIRCUITS, DAY_MS, MINUTE_MS, PIPES, World

NOON = 1_795_406_400_000  # 2026-11-23 12:00 in Shanghai
INSTANTS = st.integers(min_value=1_704_038_400_000, max_value=1_900_000_000_000)
CIRCUIT = st.sampled_from([circuit.name for circuit in CIRCUITS])
PIPE = st.sampled_from([pipe.name for pipe in PIPES])
WORLD = World(7)


def test_energy_is_the_sum_of_power_over_every_millisecond_across_midnight() -> None:
    start = NOON + 12 * 3_600_000 - 5 * MINUTE_MS
    summed = sum(WORLD.power_mw("M-01", start + minute * MINUTE_MS) * MINUTE_MS for minute in range(1450))
    assert WORLD.energy_uj("M-01", start + 1450 * MINUTE_MS) - WORLD.energy_uj("M-01", start) == summed


@given(circuit=CIRCUIT, at=INSTANTS, step=st.integers(min_value=0, max_value=40 * DAY_MS))
def test_counters_never_fall(circuit: str, at: int, step: int) -> None:
    assert WORLD.energy_uj(circuit, at + step) >= WORLD.energy_uj(circuit, at)


@given(circuit=CIRCUIT, at=INSTANTS)
def test_a_moment_adds_power_times_its_length(circuit: str, at: int) -> None:
    assert WORLD.energy_uj(circuit, at + 1) - WORLD.energy_uj(circuit, at) == WORLD.power_mw(circuit, at)
    assert WORLD.power_mw(circuit, at) > 0


@given(at=INSTANTS)
def test_tariffs_and_sub_meters_add_up(at: int) -> None:
    for circuit in CIRCUITS:
        assert sum(WORLD.energy_uj(circuit.name, at, tariff) for tariff in (1, 2, 3, 4)) == WORLD.energy_uj(
            circuit.name, at
        )
    assert WORLD.power_mw("M-01", at) > WORLD.power_mw("M-02", at) + WORLD.power_mw("M-03", at)


@given(at=INSTANTS, circuit=CIRCUIT)
def test_voltage_current_and_power_factor_make_the_power(at: int, circuit: str) -> None:
    seen = behind(WORLD, circuit)(at)
    for phase in range(1, seen.phases + 1):
        watts = seen.voltage(phase) / 10 * seen.current(phase) / 1000 * seen.power_factor / 1000
        assert watts == pytest.approx(seen.power(phase) / 1000, rel=1e-3)
    assert sum(seen.power(phase) for phase in range(1, seen.phases + 1)) == seen.power()


def test_one_seed_is_one_world_and_another_seed_another() -> None:
    assert World(7).energy_uj("M-01", NOON) == WORLD.energy_uj("M-01", NOON)
    assert World(8).energy_uj("M-01", NOON) != WORLD.energy_uj("M-01", NOON)


def test_before_the_world_began_there_is_no_energy_to_tell() -> None:
    with pytest.raises(ValueError, match="2024-01-01"):
        WORLD.energy_uj("M-01", 1_600_000_000_000)


def test_the_analyser_holds_its_values_while_it_is_calibrated() -> None:
    three = NOON - 9 * 3_600_000
    before, during, late, after = (WORLD.gas(three + ms) for ms in (-1, 0, 599_999, 600_000))
    assert (before.live, during.live, late.live, after.live) == (True, False, False, True)
    assert during.co2_ppm == late.co2_ppm == before.co2_ppm


@given(pipe=PIPE, at=INSTANTS, step=st.integers(min_value=0, max_value=40 * DAY_MS))
def test_what_flows_is_counted_exactly_and_never_backwards(pipe: str, at: int, step: int) -> None:
    assert WORLD.volume_nl(pipe, at + 1) - WORLD.volume_nl(pipe, at) == WORLD.flow_ul_s(pipe, at) > 0
    assert WORLD.heat_uj(pipe, at + 1) - WORLD.heat_uj(pipe, at) == WORLD.heat_mw(pipe, at)
    assert WORLD.volume_nl(pipe, at + step) >= WORLD.volume_nl(pipe, at)
    assert WORLD.heat_uj(pipe, at + step) >= WORLD.heat_uj(pipe, at)


@pytest.mark.parametrize(("pipe", "sign"), [("H-01", 1), ("C-01", -1)])
def test_flow_and_temperatures_make_the_heat(pipe: str, sign: int) -> None:
    for hour in range(48):
        at = NOON + hour * 3_600_000
        supply, back = WORLD.temperatures_ck(pipe, at)
        watts = WORLD.flow_ul_s(pipe, at) / 1e6 * 4186 * sign * (supply - back) / 100
        assert watts == pytest.approx(WORLD.heat_mw(pipe, at) / 1000, rel=4e-3)
        assert 0 < back < supply < 100_00 or (sign < 0 and 0 < supply < back < 25_00)


@given(pipe=PIPE, at=INSTANTS)
def test_no_display_of_eight_digits_rolls_over_in_this_world(pipe: str, at: int) -> None:
    seen = within(WORLD, pipe)(at)
    assert max(seen.volume(), seen.energy("GJ" if pipe == "H-01" else "kWh")) < 10**8
    assert seen.settled().at <= at and seen.settled().volume() <= seen.volume()
