"""What an account is drawn up from: amounts with what they rest on, and for whom and where they are accounted. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import msgspec

from cloud.accounting.factors import NATIONAL, Basis, FactorSet
from cloud.accounting.line import ENGINE, Grade
from cloud.accounting.units import Quantity


class Given(msgspec.Struct, frozen=True, gc=False):
    """A value that somebody or something gives for a symbol: activity, or a measured parameter.

    ``reference``, ``sha256``: the increments, file or document it rests on; ``by``: who declared it; ``uncertainty``:
    half width of the 95 % range in percent; ``estimated``: share that fills gaps by a named rule. ``proved``: a meter,
    a signature or the digest of the document itself stands behind it, not a document's name alone.
    """

    quantity: Quantity
    grade: Grade
    reference: str = ""
    sha256: str = ""
    by: str = ""
    uncertainty: Decimal | None = None
    estimated: Decimal = Decimal(0)
    proved: bool = False

    @property
    def word(self) -> bool:
        """Whether it stands on a word alone: declared, and of no document that is known by its digest."""
        return self.grade == "declared" and not self.proved


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What was used or made at one source over days, half open. ``label`` tells entries of one row and item apart.

    ``file``: digest of the activity file it comes from, "" for a meter; ``beside``: the file says that it is not what
    a meter or another file counts of this row and item. ``covers``: MWh that ``proof`` is of, where the file says so.
    """

    row: str
    start: date
    end: date
    given: Mapping[str, Given]
    item: str = ""
    label: str = ""
    supplier: str = ""
    proof: str = ""
    file: str = ""
    beside: bool = False
    covers: Decimal | None = None

    @property
    def name(self) -> str:
        """Row, item and label: the id that its line will have."""
        return "/".join(part for part in (self.row, self.item, self.label) if part)


@dataclass(frozen=True, slots=True)
class Programme:
    """For whom and where it is accounted: the subject, the grid of its place, which kind of grid factor, which GWP set.

    ``gwp_set`` "" takes the method's own. ``engine``: what the lines say they were made by.
    """

    subject: str
    factors: FactorSet
    region: str = NATIONAL
    basis: Basis = "average"
    gwp_set: str = ""
    engine: str = ENGINE
