"""The districts and parks of a boundary on its map: outline, net emissions of a period, and what they rest on."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from cloud import accounts
from cloud.accounting.quality import letter
from cloud.city import City
from protocols.errors import AccountError
from protocols.messages import Language


@dataclass(frozen=True, slots=True)
class Area:
    """One of them. ``outline``: its corners, longitude and latitude in degrees; ``total``: net, tCO2e."""

    id: str
    name: str
    outline: tuple[tuple[str, str], ...]
    total: Decimal
    letter: str


def areas(city: City, boundary: str, period: str, lang: Language) -> tuple[Area, ...]:
    """Everything with an outline that belongs to a boundary on the first day of a period and has an account of it."""
    if not boundary or not period:
        return ()
    return tuple(_found(city, boundary, period, lang))


def _found(city: City, boundary: str, period: str, lang: Language) -> Iterator[Area]:
    over = accounts.period_of(period)
    first, _ = over.days()
    for one in city.subjects().values():
        if not one.outline or boundary not in one.members_of(first):
            continue
        try:
            look = city.look(one.id, over)
        except AccountError:
            continue
        if look.standings:
            graded = "–" if look.measured is None else letter(look.measured)
            yield Area(one.id, one.zh if lang == "zh" else one.en, one.outline, look.bridge.net, graded)
