"""Flue gas: the reference's worked example to the last digit it prints, and what must never be."""

from decimal import Decimal, localcontext

import pytest

from drivers import fluegas
from drivers.fluegas import CONSTANTS, Constants

D = Decimal
HJ212 = CONSTANTS["hj212"]
PRESSURE = D(101000) + D(-250)


def to_digits(value: Decimal, like: str) -> str:
    return str(value.quantize(D(like)))


def example(constants: Constants) -> tuple[Decimal, Decimal, Decimal]:
    """Flow as it flows, dry standard flow, and kg CO2/h of the worked example."""
    wet = fluegas.flow(D(20), fluegas.velocity(D("0.95"), D(12)))
    dried = fluegas.standard_dry_flow(wet, D(95), PRESSURE, D("11.5"), constants)
    co2 = fluegas.percent_in_mg(D("12.4"), constants.co2, constants)
    return wet, dried, fluegas.mass_rate(co2, dried)


def test_the_worked_example_comes_out_to_the_last_digit() -> None:
    assert fluegas.velocity(D("0.95"), D(12)) == D("11.4")
    wet, dried, mass = example(HJ212)
    assert wet == 820800
    assert to_digits(dried, "535826.131") == "535826.131"
    assert to_digits(fluegas.percent_in_mg(D("12.4"), HJ212.co2, HJ212), "0.01") == "243571.43"
    assert to_digits(mass, "0.001") == "130511.936"


def test_other_constants_give_another_mass_and_are_told_apart() -> None:
    assert to_digits(example(CONSTANTS["exact"])[2], "0.01") == "130478.56"
    assert [one.number for one in CONSTANTS.values()] == [1, 2]


def test_folding_is_as_the_example_says() -> None:
    so2 = fluegas.mg_per_m3(D(9), HJ212.so2, HJ212)
    assert to_digits(so2, "0.001") == "25.714"
    assert to_digits(fluegas.folded(so2, D("6.5"), D(6)).value, "0.001") == "26.601"
    assert to_digits(fluegas.excess_air(D("6.5")), "0.00001") == "1.44828"


@pytest.mark.parametrize("oxygen", ["20.7", "21", "25"])
def test_folding_near_air_is_clamped_and_says_so(oxygen: str) -> None:
    found = fluegas.folded(D(2), D(oxygen), D(6))
    assert found.clamped and found.value == 30
    assert not fluegas.folded(D(2), D(20), D(6)).clamped
    assert fluegas.excess_air(D(oxygen)) == 21


def test_standard_state_and_dry_basis_undo_what_the_stack_does() -> None:
    assert fluegas.standard(D(100), D(273), fluegas.ATMOSPHERE_PA, HJ212) == 200
    assert fluegas.dry(D(9), D(10)) == 10
    assert fluegas.moisture_from_oxygen(D(9), D(10)) == 10
    assert fluegas.nox(D(30), D(4), HJ212) == 50


def test_the_ambient_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        narrow = example(HJ212)
    assert narrow == example(HJ212)
