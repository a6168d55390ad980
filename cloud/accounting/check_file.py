"""A file of cross-checks: what else is known of a subject's period, beside its account. Every value with its unit.

    schema = 1
    subject = "S-0012"
    period = "2026-06"

    [[stack]]                        # measured mass against the lines that burn into it
    id = "DA001"
    lines = ["01-01/bituminous"]
    measured = "4210 tCO2"
    uncertainty = "6"

    [[bill]]
    line = "01-05/M-01"
    billed = "1204.5 MWh"

    [[stock]]
    line = "01-01/bituminous"
    opening = "800 t"
    bought = "2000 t"
    closing = "650 t"

    [[accepted]]                     # an amount that looks like a slip and is none
    line = "01-01/bituminous"
    symbol = "FC"
    value = "1250 t"                 # as the line has it: another amount is another question
    reason = "second boiler since 3 June"

and ``[[carbon]]``, ``[[heat-rate]]``, ``[[steam]]``, ``[[flue]]``, ``[[consumption]]``. A line is named by its id, or
by the beginning of it. ConfigError names the place; ActivityError a line that the account does not have.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from cloud.accounting import bounds as bounds_file
from cloud.accounting import checks, uncertainty
from cloud.accounting.bounds import Bounds
from cloud.accounting.checks import Estimate, Finding, Stack, Stocks
from cloud.accounting.inventory import Inventory
from cloud.accounting.line import Line
from cloud.accounting.subject import Id
from cloud.accounting.subject_file import number
from cloud.accounting.units import Quantity, quantity, unit
from drivers import toml
from protocols.errors import ActivityError, ConfigError, UnitError


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quantities are texts with their unit, bare numbers decimal texts."""


class _Stack(_Part, frozen=True):
    id: str
    lines: tuple[str, ...]
    measured: str
    uncertainty: str | None = None


class _Bill(_Part, frozen=True):
    line: str
    billed: str
    symbol: str = ""


class _Stock(_Part, frozen=True):
    line: str
    opening: str
    bought: str
    closing: str
    symbol: str = ""


class _Carbon(_Part, frozen=True, rename={"inputs": "in", "outputs": "out"}):
    process: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class _HeatRate(_Part, frozen=True, rename={"sent_out": "sent-out"}):
    plant: str
    fuel: str
    sent_out: str


class _Steam(_Part, frozen=True):
    meter: str
    mpa: str
    celsius: str
    enthalpy: str


class _Flue(_Part, frozen=True):
    stack: str
    fuel: str
    co2: str
    o2: str


class _Consumption(_Part, frozen=True):
    band: str
    used: str
    made: str


class Accepted(_Part, frozen=True):
    """Why an amount stands although it looks like a slip; ``value`` is as the finding tells it."""

    line: str
    symbol: str
    value: Annotated[str, msgspec.Meta(pattern=r"\S")]
    reason: Annotated[str, msgspec.Meta(pattern=r"\S")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"heat_rate": "heat-rate"}):
    schema: Literal[1]
    subject: Id
    period: str
    stack: tuple[_Stack, ...] = ()
    bill: tuple[_Bill, ...] = ()
    stock: tuple[_Stock, ...] = ()
    carbon: tuple[_Carbon, ...] = ()
    heat_rate: tuple[_HeatRate, ...] = ()
    steam: tuple[_Steam, ...] = ()
    flue: tuple[_Flue, ...] = ()
    consumption: tuple[_Consumption, ...] = ()
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckFile:
    """A file as it was read; ``sha256`` names it."""

    subject: str
    period: str
    sha256: str
    held: _File


def read(name: str, source: bytes) -> CheckFile:
    """The file, every quantity in it looked at; ConfigError."""
    held = toml.load(source, _File, name)
    for key in ("stack", "bill", "stock", "carbon", "heat_rate", "consumption", "steam", "flue"):
        for index, part in enumerate(getattr(held, key)):
            _check(f"{name}: {key}[{index}]", part)
    return CheckFile(held.subject, held.period, hashlib.sha256(source).hexdigest(), held)


def findings(file: CheckFile, account: Inventory, bounds: Bounds | None = None) -> Iterator[Finding]:
    """Everything that does not go together; ActivityError for a line that the account lacks."""
    known, held = bounds or bounds_file.builtin(), file.held
    found: list[Finding | None] = [checks.flue_gas(stack, known) for stack in stacks(file, account)]
    for bill in held.bill:
        line, used = _used(account, bill.line, bill.symbol)
        found.append(checks.bill(line.id, used, quantity(bill.billed), known))
    for stock in held.stock:
        line, used = _used(account, stock.line, stock.symbol)
        stocks = Stocks(quantity(stock.opening), quantity(stock.bought), quantity(stock.closing))
        found.append(checks.stock(line.id, stocks, used, known))
    for one in held.carbon:
        found.append(checks.carbon(one.process, map(quantity, one.inputs), map(quantity, one.outputs), known))
    for rate in held.heat_rate:
        found.append(checks.heat_rate(rate.plant, quantity(rate.fuel), quantity(rate.sent_out), known))
    for steam in held.steam:
        numbers = (Decimal(steam.mpa), Decimal(steam.celsius), Decimal(steam.enthalpy))
        found.append(checks.steam(steam.meter, *numbers, known))
    for flue in held.flue:
        found.append(checks.oxygen(flue.stack, flue.fuel, Decimal(flue.co2), Decimal(flue.o2), known))
    for each in held.consumption:
        found.append(checks.consumption(each.band, quantity(each.used), quantity(each.made), known))
    yield from (one for one in found if one is not None)


def stacks(file: CheckFile, account: Inventory) -> Iterator[Stack]:
    """The stacks of a file with what the account's lines come to, and how wide that is."""
    for one in file.held.stack:
        spread = None if one.uncertainty is None else Decimal(one.uncertainty)
        measured = Estimate(quantity(one.measured).to(unit("tCO2")), spread)
        yield Stack(one.id, calculated(account, one.lines), measured)


def calculated(account: Inventory, names: Iterable[str]) -> Estimate:
    """CO2 of the lines that burn into a stack, named by the beginning of their ids; ActivityError for one it lacks."""
    lines = [line for name in names for line in _lines(account, name) if line.gas == "CO2"]
    wide = uncertainty.approach1(lines)
    return Estimate(sum((line.mass for line in lines), Decimal(0)), wide.percent if wide.whole else None)


def _used(account: Inventory, name: str, symbol: str) -> tuple[Line, Quantity]:
    """What a line took, by its symbol or its first activity; the lines of one name (its months) together."""
    lines = _lines(account, name)
    amounts: list[Quantity] = []
    for line in lines:
        chosen = [one for one in line.activities if symbol in ("", one.symbol)]
        if not chosen:
            raise ActivityError(f"{line.id}: found no activity {symbol!r}, expected a symbol of its block")
        amounts.append(Quantity(chosen[0].value, unit(chosen[0].unit)))
    first = amounts[0].unit
    return lines[0], Quantity(sum((one.to(first) for one in amounts), Decimal(0)), first)


def _lines(account: Inventory, name: str) -> Sequence[Line]:
    found = [line for line in account.lines if line.id == name]
    found = found or [line for line in account.lines if line.id.startswith(f"{name}/")]
    if not found:
        known = ", ".join(dict.fromkeys(line.id for line in account.lines))
        raise ActivityError(f"line: found {name!r}, expected one of {known}")
    return found


_QUANTITIES = (
    "measured",
    "billed",
    "opening",
    "bought",
    "closing",
    "inputs",
    "outputs",
    "fuel",
    "sent_out",
    "used",
    "made",
)
_NUMBERS = {
    "mpa": "100", "celsius": "1000", "enthalpy": "10000", "co2": "100", "o2": "100", "uncertainty": None,
}  # fmt: skip


def _check(where: str, part: _Part) -> None:
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if field.name in _NUMBERS and value is not None:
            number(value, f"{where}.{field.encode_name}", "0", _NUMBERS[field.name])
        if field.name in _QUANTITIES and not isinstance(part, _Flue):
            for text in (value,) if isinstance(value, str) else value:
                try:
                    quantity(text)
                except UnitError as error:
                    raise ConfigError(f"{where}.{field.encode_name}", repr(text), str(error)) from error
