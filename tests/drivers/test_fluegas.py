"""Flue gas: the reference's worked example to the last digit it prints, and what must never be."""

from decimal import Decimal, localcontext

from drivers import fluegas, units
from drivers.fluegas import CONSTANTS, Constants

D = Decimal
HJ212 = CONSTANTS["hj212"]
PRESSURE = D(101000) + D(-250)


def to_digits(value: Decimal, like: str) -> str:
    return str(value.quantize(D(like)))


def co2(constants: Constants) -> Decimal:
    """mg/m3 of the 12.4 % that the analyser of the example shows."""
    milligrams = units.ratio("%", "mg/m3", constants, constants.co2)
    assert milligrams is not None
    return fluegas.CONTEXT.multiply(D("12.4"), milligrams)


def example(constants: Constants) -> tuple[Decimal, Decimal, Decimal]:
    """Flow as it flows, dry standard flow, and kg CO2/h of the worked example."""
    wet = fluegas.flow(D(20), fluegas.velocity(D("0.95"), D(12)))
    dried = fluegas.standard_dry_flow(wet, D(95), PRESSURE, D("11.5"), constants)
    return wet, dried, fluegas.mass_rate(co2(constants), dried)


def test_the_worked_example_comes_out_to_the_last_digit() -> None:
    assert fluegas.velocity(D("0.95"), D(12)) == D("11.4")
    wet, dried, mass = example(HJ212)
    assert wet == 820800
    assert to_digits(dried, "535826.131") == "535826.131"
    assert to_digits(co2(HJ212), "0.01") == "243571.43"
    assert to_digits(mass, "0.001") == "130511.936"


def test_other_constants_give_another_mass_and_are_told_apart() -> None:
    assert to_digits(example(CONSTANTS["exact"])[2], "0.01") == "130478.56"
    assert [one.number for one in CONSTANTS.values()] == [1, 2]


def test_a_concentration_of_wet_gas_is_one_of_dry_gas_by_its_moisture() -> None:
    assert fluegas.dry(D(9), D(10)) == 10


def test_the_ambient_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        narrow = example(HJ212)
    assert narrow == example(HJ212)
