"""Rules that every profile keeps, so that a figure can be followed to the document it was read from."""

import pytest

from drivers import builtin, profile_file
from drivers.profile import Profile

PROFILES = {name: profile_file.load(builtin.builtin(name), name) for name in builtin.builtin_ids()}
MODBUS = {name: model for name, model in PROFILES.items() if model.protocol == "modbus"}
every_profile = pytest.mark.parametrize("model", PROFILES.values(), ids=PROFILES)
every_modbus = pytest.mark.parametrize("model", MODBUS.values(), ids=MODBUS)


def test_there_are_at_least_twenty_five_models() -> None:
    assert len(PROFILES) >= 25 and len(MODBUS) >= 25


@every_profile
def test_a_profile_says_where_it_is_from_and_what_was_not_verified(model: Profile) -> None:
    assert len(model.source.doc) > 20 and model.source.note
    assert model.source.verified in ("doc-only", "simulator"), "bench and field need a report of hardware-tests"
    assert model.products and all(product.brand and product.model for product in model.products)


@every_profile
def test_a_counter_says_where_it_rolls_over_and_how_fast_it_can_be(model: Profile) -> None:
    """An M-Bus profile fits meters of any size; nobody can say how fast those count."""
    for point in model.points:
        if point.kind == "counter":
            assert point.modulus is not None or point.type in ("f32", "f64"), point.id
            assert point.max_rate_per_h is not None or model.protocol == "mbus", point.id


@every_profile
def test_an_electricity_meter_has_the_energy_that_is_booked(model: Profile) -> None:
    if model.medium == "electricity":
        assert model.point("energy_import").kind == "counter"


@every_profile
def test_a_ratio_in_the_meter_puts_what_it_scales_in_doubt(model: Profile) -> None:
    for point in model.points:
        if point.id.startswith(("ct_", "pt_")):
            assert point.kind == "config" and point.affects and point.period is not None, point.id


@every_modbus
def test_a_modbus_model_can_be_told(model: Profile) -> None:
    assert model.identify is not None


@every_modbus
def test_a_flue_gas_value_is_doubted_by_the_state_of_the_analyser(model: Profile) -> None:
    if model.medium == "flue-gas":
        doubted = {name for point in model.points if point.kind == "status" for name in point.affects}
        assert {point.id for point in model.points if point.kind == "gauge"} <= doubted
