"""A source in bulk: everything about its lines that does not depend on the amount is worked out once. Pure.

Where the formula is the amount times something, that something is one fraction, and a line is one product, one quotient
and one rounding: the same numbers in the same order of magnitude, and so the same line, as the long way gives.
"""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from cloud.accounting.expression import Constant, Expression, Product, Quotient, Sum, Symbol
from cloud.accounting.line import PLACES, Activity, Line
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC, Unit

Make = Callable[[str, str, tuple[str, str], Activity, str, str], Line | None]
"""Subject, label, days (ISO), activity, supplier, proof -> the line; None for an amount that is for the long way."""

_ZERO = Decimal(0)


def proportional(formula: Expression, symbol: str) -> bool:
    """Whether the formula is something times the symbol: nothing is added to it, and it is never below the line."""
    match formula:
        case Symbol(name):
            return name == symbol
        case Product(left, right):
            return (proportional(left, symbol) and not holds(right, symbol)) or (
                proportional(right, symbol) and not holds(left, symbol)
            )
        case Quotient(left, right):
            return proportional(left, symbol) and not holds(right, symbol)
        case Sum(left, right):
            return proportional(left, symbol) and proportional(right, symbol)
    return False


def holds(formula: Expression, symbol: str) -> bool:
    """Whether the symbol is anywhere in the formula."""
    match formula:
        case Symbol(name):
            return name == symbol
        case Constant():
            return False
        case _:
            return any(holds(part, symbol) for part in (formula.left, formula.right))  # type: ignore[attr-defined]


def maker(
    formula: Expression, values: Mapping[str, Decimal], known: Unit, template: Line, estimated: Line
) -> Make | None:
    """What makes lines like ``template``, whose only activity is in the unit ``known``; None where it cannot.

    ``values``: the coherent numbers behind the template; ``estimated``: the same line with an estimate in it.
    """
    symbol = template.activities[0].symbol
    if known.denominator != 1 or not proportional(formula, symbol):
        return None
    above, below = formula.fraction({**values, symbol: known.numerator})
    return _maker(above, below, template, estimated.reasons)


_multiply, _divide, _quantize = ARITHMETIC.multiply, ARITHMETIC.divide, ARITHMETIC.quantize

MOST = Decimal("1e9")
"""Beyond this an amount goes the long way, which says whether it can be."""


def _maker(above: Decimal, below: Decimal, template: Line, reasons_estimated: tuple[str, ...]) -> Make:
    weigh = _scales(above, below, template)
    prefix = "/".join(part for part in (template.row, template.item) if part)
    rule = (template.method, template.edition, template.method_sha256, template.row, template.item)
    block, formula, sign, gas = template.block, template.formula, template.sign, template.gas
    class_, leaf, report, parameters = template.class_, template.leaf, template.report, template.parameters
    gwp_set, gwp, reasons = template.gwp_set, template.gwp, template.reasons
    engine, adoptions = template.engine, template.adoptions

    def make(  # noqa: PLR0917 - what differs from line to line, in the order of a line
        subject: str, label: str, days: tuple[str, str], activity: Activity, supplier: str, proof: str
    ) -> Line | None:
        if not _ZERO <= activity.value < MOST:
            return None
        mass, tco2e = weigh(activity.value)
        return Line(
            f"{prefix}/{label}" if label else prefix,
            subject,
            *days,
            *rule,
            label,
            block,
            formula,
            sign,
            gas,
            class_,
            leaf,
            report,
            (activity,),
            parameters,
            mass,
            gwp_set,
            gwp,
            tco2e,
            reasons_estimated if activity.estimated else reasons,
            engine,
            supplier,
            proof,
            adoptions,
        )

    return make


def _scales(above: Decimal, below: Decimal, template: Line) -> Callable[[Decimal], tuple[Decimal, Decimal]]:
    """An amount -> t of the gas (amount x above / below, rounded once) and tCO2e with its sign, as a line has them."""
    whole, sign, gwp, one = below == 1, template.sign, template.gwp, template.gwp == 1

    def weigh(amount: Decimal) -> tuple[Decimal, Decimal]:
        product = _multiply(amount, above)
        mass = _quantize(product if whole else _divide(product, below), PLACES)
        tonnes = plain(mass)
        tco2e = tonnes if one else plain(_multiply(mass, gwp))
        return tonnes, tco2e if sign == 1 or not tco2e else tco2e.copy_negate()

    return weigh


def days(start: date, end: date) -> tuple[str, str]:
    """The days of a line as it writes them."""
    return start.isoformat(), end.isoformat()
