"""One quantity, one name: every point of every profile is called as the vocabulary says, in a unit that fits."""

import pytest

from drivers import builtin, profile_file, vocabulary
from protocols import messages

PROFILES = {name: profile_file.load(builtin.builtin(name), name) for name in builtin.builtin_ids()}


@pytest.mark.parametrize("name", PROFILES)
def test_every_point_has_a_conventional_name_and_a_unit_that_fits(name: str) -> None:
    for point in PROFILES[name].points:
        assert point.unit in vocabulary.units(point.id), f"{point.id} in {point.unit}"


def test_every_conventional_name_has_its_title() -> None:
    for name in (*vocabulary.UNITS, *vocabulary.STATES):
        assert f"quantity.{name}" in messages.catalogue()


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("energy_import", "energy_import"),
        ("energy_import_t1", "energy_import"),
        ("voltage_ab", "voltage"),
        ("power_factor_c", "power_factor"),
        ("reactive_energy_q1", "reactive_energy_q1"),
        ("energy_import_a_today", "energy_import"),
        ("so2_mark_hour", "so2"),
        ("live", "live"),
        ("pwr", None),
        ("energy_import_x", None),
        ("_a", None),
    ],
)
def test_a_name_is_a_quantity_and_what_part_of_it(name: str, quantity: str | None) -> None:
    assert vocabulary.quantity(name) == quantity
