"""A whole city for the pages and the benchmarks: subjects of every industry and what they used, month by month. Pure.

Each enterprise accounts by its guideline. The amounts are made so that each source has a part of what the enterprise
emits in a month: a block is linear in its first activity, so one trial at one unit says how much is wanted. Who does
not sign has a document for each month, whose digest stands in the file. The same seed gives the same city.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from importlib.resources import files
from random import Random
from typing import Literal

import msgspec

from cloud.accounting import blocks, calculate, factors
from cloud.accounting import method as methods
from cloud.accounting.block import ITEM, Block
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.method import Method, Row
from cloud.accounting.subject import Baseline
from cloud.accounting.units import Quantity, quantity
from drivers import toml
from protocols.errors import ConfigError

TYPICAL = {
    "CaO": "0.65", "MgO": "0.02", "CaCO3": "0.30", "MgCO3": "0.02", "COD_in": "4.2", "COD_out": "0.4", "T": "65",
    "En": "2790", "V": "0.9", "V_CO2": "0.12", "V_CH4": "0.6", "CO": "0.01", "c1": "0.05", "c2": "0.002", "AEM": "0.3",
    "h": "20", "closing": "0", "opening": "0", "bought": "0", "a": "0.9", "d": "0.95",
}  # fmt: skip
"""What other activity symbols are taken to be, in the first unit of their slot; sources that need more are left out."""
FUELS = {
    "industry": ("bituminous", "natural_gas", "diesel", "coke", "anthracite", "fuel_oil", "gasoline"),
    "transport": ("jet_kerosene", "diesel", "natural_gas", "gasoline"),
    "building": ("natural_gas", "diesel"),
}
"""Which fuels are burnt, by what the subject is, where its guideline lists them: the first three."""
MADE: dict[str, tuple[str, str, str]] = {
    "ndrc-01-2013": ("output", "MWh", "0.82"), "ndrc-02-2013": ("output", "MWh", "0.021"),
    "ndrc-03-2013": ("output", "t", "1.9"), "ndrc-04-2013": ("output", "t", "2.1"),
    "ndrc-05-2013": ("output", "t", "10.8"), "ndrc-06-2013": ("output", "t", "17"),
    "ndrc-07-2013": ("output", "t", "0.75"), "ndrc-08-2013": ("output", "t", "0.86"),
    "ndrc-09-2013": ("output", "t", "0.44"), "ndrc-10-2013": ("t-km", "t·km", "0.0009"),
    "ndrc-11-2014": ("output", "t", "0.12"), "ndrc-12-2014": ("output", "t", "0.36"),
    "ndrc-13-2014": ("output", "t", "0.41"), "ndrc-14-2014": ("output", "t", "0.06"),
    "ndrc-15-2015": ("output", "t", "0.9"), "ndrc-16-2015": ("output", "t", "1.4"),
    "ndrc-17-2015": ("added-value", "1e4CNY", "0.24"), "ndrc-18-2015": ("added-value", "1e4CNY", "0.31"),
    "ndrc-19-2015": ("output", "t", "0.02"), "ndrc-20-2015": ("output", "t", "0.27"),
    "ndrc-21-2015": ("area", "m2", "0.0085"), "ndrc-22-2015": ("km", "km", "0.0011"),
    "ndrc-23-2015": ("output", "t", "6.2"), "ndrc-24-2015": ("output", "t", "1.2"),
    "tci231-community-2023": ("population", "person", "0.14"),
}  # fmt: skip
"""What intensity is per, by the method: kind, unit, and tCO2e for one of it in a month. Invented, of a likely size."""
KNOWN = {"MWh": "0.5", "1e4Nm3": "1", "GJ": "1.5"}
"""Half width of the 95 % range of an amount by its unit, percent; 2 for any other."""
FILED = (
    ("示例市碳监测平台", "Example city's carbon platform", "month", "", "feed"),
    ("示例省重点用能单位平台", "Example province's platform of key energy users", "month", "25d", "report"),
    ("示例碳市场管理平台（年度）", "Example carbon market, annual report", "year", "03-31", "report"),
)
"""Where the city's enterprises file, how often, by when and how: invented like them."""
SOLAR = "R17-B"
"""What a solar park adds to the ledger of reductions: the grid's power that it stands for."""
SEASON = ("1.09", "1.05", "1.0", "0.96", "0.94", "0.97", "1.03", "1.04", "0.98", "0.97", "1.0", "1.06")
A_YEAR_AGO = Decimal("1.03")
"""What everybody used a year before, in parts of what is used in the newest year: invented."""
DIGITS = Decimal("0.001")


class _Per(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["population"]
    value: str


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    zh: str
    en: str
    per: _Per | None = None
    district: str = ""
    outline: tuple[tuple[str, str], ...] = ()


class _Enterprise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    zh: str
    en: str
    method: str
    category: str
    district: str
    tco2e: int
    park: str = ""
    heat_from: str = ""
    green: str = ""
    quota: str = "1"
    declares: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    id: str
    zh: str
    en: str
    per: _Per
    district: tuple[_Place, ...]
    park: tuple[_Place, ...]
    enterprise: tuple[_Enterprise, ...]


@dataclass(frozen=True, slots=True)
class City:
    """The subject file of all of it, and each enterprise's activity files by month (``2026-10``).

    ``documents``: those that the files of whoever does not sign name by their digest.
    """

    subjects: bytes
    activity: Mapping[str, Mapping[str, bytes]]
    documents: Mapping[str, Mapping[str, bytes]]


def city(seed: int, months: tuple[str, ...], earlier: tuple[str, ...] = ()) -> City:
    """The city over these months, and over some ``earlier`` ones to compare with; equal arguments give equal bytes."""
    plan = _plan()
    activity = {one.id: dict(_months(one, seed, (*months, *earlier))) for one in plan.enterprise}
    documents: dict[str, dict[str, bytes]] = {}
    for one in (one for one in plan.enterprise if one.declares):
        documents[one.id] = {month: _document(one, month, text) for month, text in activity[one.id].items()}
        for month, document in documents[one.id].items():
            activity[one.id][month] = _naming(activity[one.id][month], f"demo-{one.id}-{month}.txt", document)
    return City(subjects(seed, months, earlier), activity, documents)


def subjects(
    seed: int, months: tuple[str, ...], earlier: tuple[str, ...] = (), frozen: Mapping[str, Baseline] | None = None
) -> bytes:
    """The subject file of the city; ``frozen``: baselines by the enterprise that they were set for."""
    return "".join(_subjects(_plan(), Random(seed), months, earlier, frozen or {})).encode()


def _plan() -> _File:
    return toml.load(files("simulator").joinpath("city.toml").read_bytes(), _File, "city.toml")


def months(until: str, count: int) -> tuple[str, ...]:
    """``count`` months up to and with ``until`` (2026-10), oldest first; ConfigError when it is no month."""
    if re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", until) is None:
        raise ConfigError("--until", repr(until), "a month like 2026-10")
    last = int(until[:4]) * 12 + int(until[5:]) - 1
    return tuple(f"{number // 12:04}-{number % 12 + 1:02}" for number in range(last - count + 1, last + 1))


def _subjects(
    plan: _File, random: Random, months: tuple[str, ...], earlier: tuple[str, ...], frozen: Mapping[str, Baseline]
) -> Iterator[str]:
    years = sorted({month[:4] for month in (*months, *earlier)})
    yield f"# {plan.zh}: invented.\nschema = 1\n{_filings(months[-1])}"
    yield _subject(plan, "city", "park") + _standing(plan.per, years)
    for place in plan.district:
        corners = ", ".join(f'["{lon}", "{lat}"]' for lon, lat in place.outline)
        yield _subject(place, "district", "park", plan.id) + f"outline = [{corners}]\n" + _standing(place.per, years)
    for place in plan.park:
        yield _subject(place, "park", "park", place.district) + _standing(place.per, years)
    for one in plan.enterprise:
        kind = one.category if one.category in ("building", "community") else "enterprise"
        yield _subject(one, kind, one.category, one.park or one.district)
        yield f'method = "{one.method}"\n' + _place(plan, one, random) + _more(one, months, earlier)
        yield _frozen(frozen[one.id]) if one.id in frozen else ""


def _standing(per: _Per | None, years: list[str]) -> str:
    """What the intensity of a place is per; nothing of a park."""
    if per is None:
        return ""
    head = f'[[subject.denominator]]\nkind = "{per.kind}"\nvalue = "{per.value}"\ndocument = "demo"\n'
    return "".join(f'{head}period = "{year}"\n' for year in years)


def _frozen(set_: Baseline) -> str:
    told = "".join(f'{name} = "{value}"\n' for name, value in msgspec.structs.asdict(set_).items())
    return f"[[subject.baseline]]\n{told}"


def _filings(newest: str) -> str:
    """Where everybody files, from the newest month, and its year, on."""
    found = ""
    for zh, en, every, due, by in FILED:
        since = f"{newest[:4]}-01-01" if every == "year" else f"{newest}-01"
        found += f'\n[[filing]]\nzh = "{zh}"\nen = "{en}"\nevery = "{every}"\ndue = "{due}"\nby = "{by}"\n'
        found += f'document = "demo"\nfrom = {since}\n'
    return found


def _subject(place: "_Place | _File | _Enterprise", kind: str, category: str, of: str = "") -> str:
    head = f'\n[[subject]]\nid = "{place.id}"\nzh = "{place.zh}"\nen = "{place.en}"\n'
    head += f'kind = "{kind}"\ncategory = "{category}"\n'
    return head + (f'membership = [{{ of = "{of}", from = 2020-01-01 }}]\n' if of else "")


def _place(plan: _File, one: _Enterprise, random: Random) -> str:
    district = [place.id for place in plan.district].index(one.district)
    lon = Decimal("118.2") + Decimal(district // 2) * Decimal("0.3") + Decimal(random.randrange(220)).scaleb(-3)
    lat = Decimal("33.1") + Decimal(1 - district % 2) * Decimal("0.25") + Decimal(random.randrange(190)).scaleb(-3)
    return f'place = {{ lon = "{lon}", lat = "{lat}" }}\n'


def _more(one: _Enterprise, months: tuple[str, ...], earlier: tuple[str, ...]) -> str:
    """What each month's intensity is per, and what may be emitted in a year."""
    if one.method not in MADE:
        return ""
    kind, unit, each = MADE[one.method]
    made = "".join(
        f'[[subject.denominator]]\nkind = "{kind}"\nvalue = "{_output(one, month, kind, each)} {unit}"\n'
        f'period = "{month}"\ndocument = "demo"\n'
        for month in (*months, *earlier)
    )
    years = sorted({month[:4] for month in months})
    quota = f"{one.tco2e * 12 * Decimal(one.quota):.0f}"
    return made + "".join(
        f'[[subject.target]]\nyear = {year}\ntco2e = "{quota}"\nkind = "quota"\ndocument = "demo"\n' for year in years
    )


def _output(one: _Enterprise, month: str, kind: str, each: str) -> Decimal:
    """An output goes with the season; a floor or a population stands, and differs a little from one to the next."""
    season = Decimal(1) if kind in ("area", "population") else Decimal(SEASON[int(month[5:]) - 1])
    usual = Decimal(each) * Decimal(Random(one.id).randrange(88, 113)).scaleb(-2)
    return (Decimal(one.tco2e) * season / usual).quantize(Decimal(1), ROUND_HALF_UP)


def _months(one: _Enterprise, seed: int, months: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    random = Random(f"{seed}/{one.id}")
    method = methods.get(one.method)
    sources = list(_sources(method)) if one.category != "reduction" else [(method.row(SOLAR), "", Decimal(1))]
    whole = sum(weight for _, _, weight in sources)
    for month in months:
        lines = [f'# {one.zh} {month}: invented.\nschema = 1\nsubject = "{one.id}"\n']
        bought = Decimal(0)
        for row, item, weight in sources:
            noise = Decimal(random.randrange(93, 108)).scaleb(-2)
            wanted = Decimal(one.tco2e) * Decimal(SEASON[int(month[5:]) - 1]) * noise * weight / whole
            wanted *= A_YEAR_AGO ** (int(max(months)[:4]) - int(month[:4]))
            amount, entry = _entry(method, row, item, wanted, month)
            lines += [entry, _seller(one, row), _certificate(one, row, month)]
            bought += amount if row.class_ == "indirect_electricity" else 0
        yield month, "".join([*lines, _green(one, method, bought, month)]).encode()


def _document(one: _Enterprise, month: str, source: bytes) -> bytes:
    """What the amounts of an activity file were copied from: the enterprise's own sheet of the month."""
    told = [
        "  ".join([entry["row"], entry.get("item", ""), name, value["value"] if isinstance(value, dict) else value])
        for entry in toml.parse(source, f"{one.id}-{month}.toml")["activity"]
        for name, value in entry.items()
        if name not in ("row", "item", "from", "until", "document", "supplier", "proof")
    ]
    return "\n".join([f"{one.zh} {month} 能源与物料台账（虚构）", *told, ""]).encode()


def _naming(source: bytes, name: str, document: bytes) -> bytes:
    """An activity file that names this document with its digest wherever it named none."""
    named = f'document = "{name}"\nsha256 = "{hashlib.sha256(document).hexdigest()}"\n'
    return source.replace(b'document = "demo"\n', named.encode())


def _seller(one: _Enterprise, row: Row) -> str:
    return f'supplier = "{one.heat_from}"\n' if one.heat_from and row.class_ == "indirect_heat" else ""


def _certificate(one: _Enterprise, row: Row, month: str) -> str:
    """A contract of the month, which covers what is claimed by it."""
    return f'proof = "DEMO-{one.id}-{month}"\n' if row.proof else ""


def _green(one: _Enterprise, method: Method, bought: Decimal, month: str) -> str:
    """The entry of proved green power; "" for those who have none."""
    row = next((row for row in method.rows.values() if row.class_ == "indirect_electricity_offset"), None)
    if not one.green or row is None:
        return ""
    proved = (bought * Decimal(one.green)).quantize(DIGITS, ROUND_HALF_UP)
    first, after = _days(month)
    return (
        f'\n[[activity]]\nrow = "{row.row}"\nfrom = {first}\nuntil = {after}\ndocument = "demo"\n'
        f'proved = "{proved} MWh"\npurchased = "{bought} MWh"\ncovers = "{proved} MWh"\n'
        + _certificate(one, row, month)
    )


def _days(month: str) -> tuple[date, date]:
    start = date(int(month[:4]), int(month[5:]), 1)
    return start, date(start.year + start.month // 12, start.month % 12 + 1, 1)


def _sources(method: Method) -> Iterator[tuple[Row, str, Decimal]]:
    """The rows that can be made, with the item and its weight in what is emitted; a thing in one way only."""
    chosen: set[str] = set()
    for row in method.rows.values():
        block = blocks.block(row.block)
        if row.sign == -1 or row.proof or row.class_ in ("memo", "reduction") or not _makeable(row, block):
            continue
        if chosen.intersection(row.instead_of):
            continue
        chosen.add(row.row)
        items = list(method.items(row)) if row.needs_item() else [""]
        known = FUELS.get(method.category, FUELS["building" if method.category == "community" else "industry"])
        burnt = [item for item in known if item in items and row.block == "FUEL"][:3]
        for number, item in enumerate(burnt or items[:1]):
            yield row, item, _weight(row) / (number * 3 + 1)


def _weight(row: Row) -> Decimal:
    """Fuel and power carry most of it; gases of the exhaust next to nothing."""
    if row.class_ == "direct_mobile" and row.gas != "CO2":
        return Decimal("0.004")
    return Decimal(5) if row.class_ in ("direct_combustion", "direct_mobile", "indirect_electricity") else Decimal(1)


def _makeable(row: Row, block: Block) -> bool:
    others = [slot for slot in block.slots if slot.kind == "activity"][1:]
    return not row.given and all(slot.default is not None or slot.name in TYPICAL for slot in others)


def _entry(method: Method, row: Row, item: str, wanted: Decimal, month: str) -> tuple[Decimal, str]:
    """The amount of a source that comes to what is wanted (tCO2e, by size), and its entry."""
    block = blocks.block(row.block)
    main, *others = [slot for slot in block.slots if slot.kind == "activity"]
    gas = item if row.gas == ITEM else row.gas
    variant = methods.variant(method, row, block, item or None)
    unit = main.unit(variant, gas)
    rest = {
        slot.name: f"{TYPICAL[slot.name]} {slot.unit(variant, gas).text}"
        for slot in others
        if slot.default is None and slot.name in TYPICAL
    }
    one = Given(Quantity(Decimal(1), unit), "declared", "demo")
    given = {main.name: one, **{name: Given(quantity(text), "declared", "demo") for name, text in rest.items()}}
    trial = Entry(row.row, *_days(month), given, item, proof="trial")
    (line,) = calculate.lines(method, [trial], Programme("trial", factors.builtin()))
    amount = (wanted / abs(line.tco2e)).quantize(DIGITS, ROUND_HALF_UP) if line.tco2e else DIGITS
    texts = {main.name: f"{max(amount, DIGITS)} {unit.text}", **rest}
    head = f'\n[[activity]]\nrow = "{row.row}"\n' + (f'item = "{item}"\n' if item else "")
    return max(amount, DIGITS), (
        head
        + f'from = {trial.start}\nuntil = {trial.end}\ndocument = "demo"\n'
        + "".join(
            f'{name} = {{ value = "{text}", uncertainty = "{_known_to(text)}" }}\n' for name, text in texts.items()
        )
    )


def _known_to(text: str) -> str:
    """How well an amount is known, percent."""
    return KNOWN.get(text.partition(" ")[2], "2")
