"""What the entries of a file rest on, looked at where the file comes in: certificates by name, and by their MWh.

A green certificate of China stands for 1000 kWh of renewable power (发改能源〔2023〕1044号, 二(二), by public copies);
I-REC and guarantees of origin are taken to be of 1 MWh as well (from memory, unverified). What is no certificate (a
contract with its settlement, a record of own use) says itself what it covers.
"""

from collections.abc import Iterable
from decimal import Decimal

from cloud.accounting import certificates
from cloud.accounting.given import Entry
from cloud.accounting.method import Method
from cloud.accounting.units import unit
from protocols.errors import ActivityError, UnitError

GREEN, PROVED = "GREEN", "proved"
"""The block of green power, and its symbol for what is claimed."""
MWH = Decimal(1)
"""Of a certificate."""


def check(name: str, entries: Iterable[Entry], method: Method) -> None:
    """ActivityError where certificates are a range that is not written as one, or cover less power than is claimed."""
    for index, entry in enumerate(entries):
        where = f"{name}: activity[{index}]"
        _no_hidden_range(where, entry)
        if method.row(entry.row).block == GREEN:
            _covered(where, entry)
        elif entry.covers is not None:
            raise ActivityError(f"{where}.covers: found it in the row {entry.row}, expected it only of green power")


def _no_hidden_range(where: str, entry: Entry) -> None:
    """What is between would be free."""
    for text in filter(None, entry.proof.split("; ")):
        if told := certificates.fault(text):
            raise ActivityError(
                f"{where}.proof: found {told} in {text!r}, expected FIRST..LAST of names that differ in as many digits"
                " at their end (GEC-0001..GEC-0100), or NAME..NAME where that is one name"
            )


def _covered(where: str, entry: Entry) -> None:
    claim = entry.given.get(PROVED)
    if claim is None or not entry.proof:
        return  # no account is drawn up with it
    try:
        claimed, mwh = claim.quantity.to(unit("MWh")), entry.covers
    except UnitError as error:
        raise ActivityError(f"{where}.{PROVED}: {error}") from error
    if mwh is None:
        count = certificates.count(entry.proof)
        if claimed > count * MWH:
            raise ActivityError(
                f"{where}.{PROVED}: found {claimed:f} MWh by {count} {'certificate' if count == 1 else 'certificates'}"
                " of 1 MWh, expected no more than they cover; where it is a contract, a settlement or a record of own"
                ' use, say what it covers: covers = "… MWh"'
            )
    elif claimed > mwh:
        raise ActivityError(f"{where}.{PROVED}: found {claimed:f} MWh, expected at most the {mwh:f} MWh of `covers`")
