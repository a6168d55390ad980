"""A formula as a tree: what is printed for the auditor, checked for its dimension and computed is one thing.

``E = FC * NCV * CC * OF * CARBON_TO_CO2`` builds it from symbols. It cannot be read from text: a formula is code that
is reviewed, never input that is run.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting.units import ARITHMETIC, Dimension, spoken, times, unit
from protocols.errors import UnitError

Values = Mapping[str, Decimal]
"""Symbol -> its number in the coherent unit of its dimension (t, GJ, Nm3, ...)."""


@dataclass(frozen=True, slots=True)
class Expression(ABC):
    """A node; ``+ - * /`` make the next one."""

    def __add__(self, other: "Expression") -> "Expression":
        return Sum(self, other, 1)

    def __sub__(self, other: "Expression") -> "Expression":
        return Sum(self, other, -1)

    def __mul__(self, other: "Expression") -> "Expression":
        return Product(self, other)

    def __truediv__(self, other: "Expression") -> "Expression":
        return Quotient(self, other)

    def value(self, of: Values) -> Decimal:
        """The number, in the coherent unit of the dimension; sums and products exact to fifty digits."""
        above, below = self.fraction(of)
        return above if below == 1 else ARITHMETIC.divide(above, below)

    @abstractmethod
    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        """Numerator and denominator: the one division comes last, so that 12 tC give 44 tCO2 and no fringe."""

    @abstractmethod
    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        """The dimension; UnitError where unlike things are added."""

    @abstractmethod
    def slope(self, by: str, of: Values) -> Decimal:
        """The partial derivative by a symbol at these values (for the propagation of uncertainty)."""

    @abstractmethod
    def text(self) -> str:
        """As the guidelines print it: ``FC·NCV·CC·OF·44/12``."""


_ONE = Decimal(1)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Symbol(Expression):
    """A quantity of the formula by its name."""

    name: str

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        return of[self.name], _ONE

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        return of[self.name]

    def slope(self, by: str, of: Values) -> Decimal:
        return _ONE if by == self.name else _ZERO

    def text(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """A number of nature or of the guideline's own print, with the unit that makes it what it is."""

    above: Decimal
    below: Decimal
    unit: str
    printed: str

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        known = unit(self.unit)
        return ARITHMETIC.multiply(self.above, known.numerator), ARITHMETIC.multiply(self.below, known.denominator)

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        return unit(self.unit).dimension

    def slope(self, by: str, of: Values) -> Decimal:
        return _ZERO

    def text(self) -> str:
        return self.printed


def constant(printed: str, written: str = "1") -> Constant:
    """``constant("44/12", "tCO2/tC")``: the number as printed, and its unit."""
    above, _, below = printed.partition("/")
    return Constant(Decimal(above), Decimal(below or "1"), written, printed)


@dataclass(frozen=True, slots=True)
class Sum(Expression):
    """left + right, or left - right (``sign`` -1)."""

    left: Expression
    right: Expression
    sign: Literal[1, -1]

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        left, below_left = self.left.fraction(of)
        right, below_right = self.right.fraction(of)
        if below_left != below_right:
            left, right = ARITHMETIC.multiply(left, below_right), ARITHMETIC.multiply(right, below_left)
            below_left = ARITHMETIC.multiply(below_left, below_right)
        return ARITHMETIC.add(left, right) if self.sign == 1 else ARITHMETIC.subtract(left, right), below_left

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        left, right = self.left.dimension(of), self.right.dimension(of)
        if left != right:
            raise UnitError(f"{self.text()}: found {spoken(left)} and {spoken(right)}, expected like and like")
        return left

    def slope(self, by: str, of: Values) -> Decimal:
        right = self.right.slope(by, of)
        return ARITHMETIC.add(self.left.slope(by, of), right if self.sign == 1 else -right)

    def text(self) -> str:
        right = self.right.text()
        if self.sign == -1 and isinstance(self.right, Sum):
            right = f"({right})"
        return f"{self.left.text()} {'+' if self.sign == 1 else '−'} {right}"


@dataclass(frozen=True, slots=True)
class Product(Expression):
    """left · right."""

    left: Expression
    right: Expression

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        left, below_left = self.left.fraction(of)
        right, below_right = self.right.fraction(of)
        return ARITHMETIC.multiply(left, right), ARITHMETIC.multiply(below_left, below_right)

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        return times(self.left.dimension(of), self.right.dimension(of))

    def slope(self, by: str, of: Values) -> Decimal:
        first = ARITHMETIC.multiply(self.left.slope(by, of), self.right.value(of))
        return ARITHMETIC.add(first, ARITHMETIC.multiply(self.left.value(of), self.right.slope(by, of)))

    def text(self) -> str:
        return "·".join(
            f"({part.text()})" if isinstance(part, Sum) else part.text() for part in (self.left, self.right)
        )


@dataclass(frozen=True, slots=True)
class Quotient(Expression):
    """left / right; UnitError where the right is 0."""

    left: Expression
    right: Expression

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        left, below_left = self.left.fraction(of)
        right, below_right = self.right.fraction(of)
        if not right:
            raise UnitError(f"{self.text()}: found 0 below the line, expected another number")
        return ARITHMETIC.multiply(left, below_right), ARITHMETIC.multiply(below_left, right)

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        return times(self.left.dimension(of), self.right.dimension(of), -1)

    def slope(self, by: str, of: Values) -> Decimal:
        left, right = self.left.value(of), self.right.value(of)
        rise = ARITHMETIC.multiply(self.left.slope(by, of), right)
        fall = ARITHMETIC.multiply(left, self.right.slope(by, of))
        return ARITHMETIC.divide(ARITHMETIC.subtract(rise, fall), ARITHMETIC.multiply(right, right))

    def text(self) -> str:
        left, right = self.left.text(), self.right.text()
        if isinstance(self.left, Sum):
            left = f"({left})"
        return f"{left}/({right})" if isinstance(self.right, Sum | Product | Quotient) else f"{left}/{right}"


@dataclass(frozen=True, slots=True)
class Least(Expression):
    """The lesser of two like quantities."""

    left: Expression
    right: Expression

    def fraction(self, of: Values) -> tuple[Decimal, Decimal]:
        return self._picked(of).fraction(of)

    def dimension(self, of: Mapping[str, Dimension]) -> Dimension:
        left, right = self.left.dimension(of), self.right.dimension(of)
        if left != right:
            raise UnitError(f"{self.text()}: found {spoken(left)} and {spoken(right)}, expected like and like")
        return left

    def slope(self, by: str, of: Values) -> Decimal:
        return self._picked(of).slope(by, of)

    def text(self) -> str:
        return f"min({self.left.text()}, {self.right.text()})"

    def _picked(self, of: Values) -> Expression:
        return self.left if self.left.value(of) <= self.right.value(of) else self.right


CARBON_TO_CO2 = constant("44/12", "tCO2/tC")
"""What a tonne of carbon becomes: without it a result is carbon, and no block that lacks it loads."""
