"""CJ/T 188: the unit codes, and exact conversion between units of one quantity."""

from dataclasses import dataclass
from fractions import Fraction

from protocols.errors import Impossible


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit code says: ``times`` (1, 10 or 100) of the unit ``symbol``."""

    symbol: str
    times: int

    @property
    def name(self) -> str:
        """As a person reads it: ``kWh``, ``kWh×10``."""
        return self.symbol if self.times == 1 else f"{self.symbol}×{self.times}"


_QUANTITIES: dict[str, dict[str, Fraction]] = {
    "energy": {
        "J": Fraction(1),
        "kJ": Fraction(10**3),
        "MJ": Fraction(10**6),
        "GJ": Fraction(10**9),
        "Wh": Fraction(3600),
        "kWh": Fraction(3600 * 10**3),
        "MWh": Fraction(3600 * 10**6),
    },
    "power": {
        "W": Fraction(1),
        "kW": Fraction(10**3),
        "MW": Fraction(10**6),
        "J/h": Fraction(1, 3600),
        "kJ/h": Fraction(10**3, 3600),
        "MJ/h": Fraction(10**6, 3600),
        "GJ/h": Fraction(10**9, 3600),
    },
    "volume": {"L": Fraction(1), "m3": Fraction(1000)},
    "flow": {"L/h": Fraction(1), "m3/h": Fraction(1000)},
}
"""Each quantity's units, in its smallest."""

QUANTITY = {symbol: quantity for quantity, units in _QUANTITIES.items() for symbol in units}
"""Unit -> the quantity that it measures."""


def _codes() -> dict[int, Unit]:
    firsts = (
        (0x02, "Wh"),
        (0x05, "kWh"),
        (0x08, "MWh"),
        (0x0B, "kJ"),
        (0x0E, "MJ"),
        (0x11, "GJ"),
        (0x14, "W"),
        (0x17, "kW"),
        (0x1A, "MW"),
        (0x29, "L"),
        (0x2C, "m3"),
        (0x32, "L/h"),
        (0x35, "m3/h"),
        (0x43, "kJ/h"),
        (0x46, "MJ/h"),
        (0x49, "GJ/h"),
    )
    tens = {first + step: Unit(symbol, 10**step) for first, symbol in firsts for step in range(3)}
    return {0x01: Unit("J", 1), 0x40: Unit("J/h", 1)} | tens


UNITS = _codes()
"""Unit code -> unit. That 10 and 100 times a unit still has two decimals differs by maker: compare with the dial."""


def factor(symbol: str, wanted: str) -> Fraction:
    """By what a number of ``symbol`` is multiplied to be one of ``wanted``; Impossible between two quantities."""
    quantity = QUANTITY.get(symbol)
    if quantity is None or wanted not in _QUANTITIES[quantity]:
        raise Impossible(f"found {symbol}, expected a unit that can be told in {wanted}")
    return _QUANTITIES[quantity][symbol] / _QUANTITIES[quantity][wanted]
