"""Numbers for the eye: a decimal as it is, a binary float without the digits that nobody measured."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.quantity import short


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("123456789.12", "123456789.12"),
        ("98765432109876.543", "98765432109876.543"),
        ("0.000001", "0.000001"),
        ("12.50", "12.50"),
        ("232.399993896484375", "232.4"),
        ("0.954999983310699462890625", "0.955"),
        ("718719.5625", "718719.5625"),
        ("27516.6640625", "27516.664"),
        ("123456789.12300000339746475219", "123456789.123"),
        ("-0.000012345678901234", "-0.00001234568"),
        ("99.9999999", "100"),
        ("0E-20", "0"),
        ("1E+3", "1000"),
    ],
)
def test_only_what_a_binary_float_has_made_long_is_rounded(value: str, told: str) -> None:
    assert f"{short(Decimal(value)):f}" == told


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=2.0**-60, max_value=2.0**60))
def test_a_float_of_a_meter_stands_as_near_as_it_can_tell(value: float) -> None:
    """Half of its last place at seven digits, or the thousandth where that is finer."""
    exact = Decimal(value)
    assert abs(short(exact) - exact) <= max(abs(exact) * Decimal("5e-7"), 0)
    (again,) = struct.unpack("f", struct.pack("f", float(short(exact))))
    assert again == pytest.approx(value, rel=1e-6)
