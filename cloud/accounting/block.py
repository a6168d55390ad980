"""A block: a formula with its symbols, their units and between what they must lie; checked before any number.

With the units of its symbols the formula must come out as a mass of its gas, so a lost 44/12 or a volume of another
state cannot be written down. Where a guideline takes amounts in tonnes or in volumes (fuels), a symbol has several
units, one for each variant, in order. ``{gas}`` in a unit is the gas of the method's row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting.expression import Expression
from cloud.accounting.units import Dimension, Unit, spoken, unit
from protocols.errors import MethodError, UnitError

ITEM = "item"
"""Gas of a block whose item is the gas itself: SF6 in a switchgear, NF3 in a chamber."""

Kind = Literal["activity", "parameter"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A symbol of a block: its units by variant, whether it is activity or parameter, and between what it must lie.

    ``default`` is what the formula itself takes where nothing is said (a purity of 1, nothing recovered), else None.
    """

    name: str
    kind: Kind
    units: tuple[str, ...]
    zh: str
    en: str
    low: Decimal = Decimal(0)
    high: Decimal | None = None
    default: Decimal | None = None

    def unit(self, variant: int, gas: str) -> Unit:
        """The coherent spelling of this symbol in a variant."""
        return unit(self.units[min(variant, len(self.units) - 1)].replace("{gas}", gas))


@dataclass(frozen=True, slots=True)
class Block:
    """A formula: E in tonnes of ``gas`` (None: the row says which; ITEM: of the item)."""

    id: str
    zh: str
    en: str
    gas: str | None
    formula: Expression
    slots: tuple[Slot, ...]

    @property
    def variants(self) -> int:
        """How many sets of units it may be given in."""
        return max(len(slot.units) for slot in self.slots)

    def slot(self, name: str) -> Slot:
        """The symbol of this name; MethodError for none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        known = ", ".join(slot.name for slot in self.slots)
        raise MethodError(f"block {self.id}: found the symbol {name!r}, expected one of {known}")

    def variant(self, given: Mapping[str, Dimension], gas: str) -> int:
        """Which variant these dimensions are of; UnitError names the symbol that fits none."""
        for variant in range(self.variants):
            if self.fits(variant, given, gas):
                return variant
        raise UnitError(f"block {self.id}: {self._misfit(given, gas)}")

    def fits(self, variant: int, given: Mapping[str, Dimension], gas: str) -> bool:
        """Whether these dimensions are of this variant."""
        return all(dimension == self.slot(name).unit(variant, gas).dimension for name, dimension in given.items())

    def check(self, gas: str) -> None:
        """UnitError unless every variant comes out as a mass of ``gas``."""
        wanted = unit("t" if self.gas == ITEM else f"t{gas}").dimension
        for variant in range(self.variants):
            found = self.formula.dimension({slot.name: slot.unit(variant, gas).dimension for slot in self.slots})
            if found != wanted:
                raise UnitError(f"block {self.id}: E = {self.formula.text()} is {spoken(found)}, expected t{gas}")

    def _misfit(self, given: Mapping[str, Dimension], gas: str) -> str:
        for name, dimension in given.items():
            slot = self.slot(name)
            fitting = [slot.unit(variant, gas) for variant in range(len(slot.units))]
            if all(dimension != one.dimension for one in fitting):
                return f"found {name} in {spoken(dimension)}, expected {' or '.join(one.text for one in fitting)}"
        found = ", ".join(f"{name} in {spoken(dimension)}" for name, dimension in given.items())
        return f"found {found}, expected units of one state (all by mass or all by volume)"
