"""How well a value is known: the same words for grid factors, parameters, methods and their rows. Pure.

    DRAFT        one source, or none that was seen: an account is provisional with it, and a complete lock refuses it
    TRANSCRIBED  public copies of the document agree, and nobody has put a name to having read the document itself
    REVIEWED     a second source agrees, or whoever signed the file, or its adoption, has read it in its document
    RETIRED      withdrawn: never chosen for an account that is drawn up, refused with what stands in its place

A lock refuses DRAFT, of a factor as of a parameter or a row; TRANSCRIBED and REVIEWED it takes.
"""

from datetime import date
from typing import Literal

from protocols.errors import ConfigError, FactorError

Status = Literal["DRAFT", "TRANSCRIBED", "REVIEWED", "RETIRED"]
Standing = Literal["confirmed", "transcribed", "code-only", "memory"]
"""confirmed: two sources agree, or its publisher signs for it. transcribed: one that names table or page. code-only:
one program. memory: nothing seen."""
Quality = Literal["measured", "supplier", "regional", "national", "default"]
"""Quality tier of a value, best first."""


def provisional(status: Status) -> bool:
    """Whether an account with it may not be locked as complete."""
    return status == "DRAFT"


def in_force(name: str, status: Status, replaced_by: str) -> None:
    """FactorError for what is retired: it names what stands in its place."""
    if status == "RETIRED":
        raise FactorError(f"{name}: found it retired, expected {replaced_by}, which stands in its place")


def check(status: Status, standing: Standing, replaced_by: str, where: str) -> None:
    """ConfigError unless the three of a file's entry go together."""
    if status == "REVIEWED" and standing != "confirmed":
        raise ConfigError(f"{where}.status", "REVIEWED", f"DRAFT, for what is {standing}")
    if (status == "RETIRED") != bool(replaced_by):
        raise ConfigError(f"{where}.replaced_by", repr(replaced_by), "an id exactly when the status is RETIRED")


def check_days(first: date | None, until: date | None, where: str) -> None:
    """ConfigError unless a validity ends after it begins."""
    if first is not None and until is not None and first >= until:
        raise ConfigError(f"{where}.valid_until", str(until), f"a day after {first}")


def valid(name: str, days: tuple[date | None, date | None], start: date, end: date) -> None:
    """FactorError unless its days, half open and open where None, cover those from ``start`` up to ``end``."""
    first, until = days
    if (first is not None and start < first) or (until is not None and end > until):
        found = f"valid from {first or 'ever'} until {until or 'further notice'}"
        raise FactorError(f"{name}: found it {found}, expected it valid from {start} until {end}")
