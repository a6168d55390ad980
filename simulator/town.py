"""The invented city in a collector: its subjects, what they signed or declared, and their accounts; beside them the
demo's own works, whose electricity is metered by the gateway that stands there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cloud import accounts, activities, config, factor_shelf, subjects
from cloud.accounting import signed_activity
from cloud.accounting.inventory import Version
from cloud.accounting.library import Library
from cloud.accounting.period import month_of
from cloud.accounting.subject import ZONE, Baseline
from cloud.store import Store
from protocols.record.cose import PrivateKey
from simulator import city

FROZEN = ("E-01", "E-03", "E-08", "E-12", "E-24")
"""Whose reduction is counted against a baseline."""
MONTHS = 3
WORKS = """
[[subject]]
id = "E-00"
zh = "示例机械厂（本演示的网关）"
en = "Example Machine Works (this demo's gateway)"
kind = "enterprise"
category = "industry"
method = "ndrc-18-2015"
site = "S-DEMO"
membership = [{{ of = "D-03", from = {since} }}]
place = {{ lon = "118.62", lat = "33.44" }}
meter = [
    {{ device = "M-01", point = "energy_import", row = "18-05", symbol = "AD", class = "0.5" }},
    {{ device = "M-04", point = "energy_import", row = "18-05", symbol = "AD", class = "0.5" }},
]
"""
"""The works are within the city from the month that runs: those before were not metered whole."""


@dataclass(frozen=True, slots=True)
class Town:
    """What came of it: the month that is over, how many accounts it has, their tonnes, and the works' own account."""

    month: str
    subjects: int
    tco2e: Decimal
    works: str
    works_tco2e: Decimal


def fill(data: Path, seed: int, now: int) -> Town:
    """Bring the city into the collector of this folder at ``now`` (UTC ms); the collector may be running."""
    this = month_of(now, ZONE).id
    with config.open_store(data, config.open_key(data)) as store:
        library = factor_shelf.library(store)
        works = WORKS.format(since=f"{this}-01").encode()
        newest = bring(store, library, seed, city.months(this, MONTHS + 1)[:-1], now, beside=works)
        own = accounts.close(store, library, "E-00", accounts.period_of(this), now)
    total = sum((version.content.totals.total for version in newest), Decimal(0))
    return Town(newest[0].content.period.id, len(newest), total, own.reference, own.content.totals.total)


def bring(
    store: Store, library: Library, seed: int, months: tuple[str, ...], now: int, *, beside: bytes = b""
) -> list[Version]:
    """The invented city over these months and the newest of them a year before; the accounts of the newest month.

    ``beside``: other subjects of its file.
    The baseline of those in FROZEN is their own account of the year before, with its digest: set before the newest.
    """
    before = city.months(months[-1], 13)[0]
    made, signer = city.city(seed, months, (before,)), PrivateKey.generate()
    subjects.take(store, "city.toml", made.subjects + beside, by="demo", now=now)
    subjects.trust(store, "demo", signer.public, now=now)
    for name, files in made.activity.items():
        _bring(store, name, files, None if name in made.documents else signer, now)

    def close(month: str) -> list[Version]:
        return [accounts.close(store, library, name, accounts.period_of(month), now) for name in made.activity]

    frozen = {one.content.subject: _baseline(one) for one in close(before) if one.content.subject in FROZEN}
    again = city.subjects(seed, months, (before,), frozen)
    subjects.take(store, "baselines.toml", again + beside, by="demo", now=now)
    return [close(month) for month in months][-1]


def _baseline(account: Version) -> Baseline:
    content = account.content
    return Baseline(
        id=f"B-{content.subject}-{content.period.id}",
        period=content.period.id,
        tco2e=f"{content.totals.total:f}",
        method=content.method,
        document=account.reference,
        sha256=content.digest,
    )


def _bring(store: Store, name: str, files: Mapping[str, bytes], signer: PrivateKey | None, now: int) -> None:
    """Its files, signed; without a signer they are declared: the city shows the difference."""
    for month, source in files.items():
        if signer is None:
            activities.declare(store, f"{name}-{month}.toml", source, by="demo", now=now)
        else:
            activities.take_signed(store, f"{name}-{month}.cose", signed_activity.sign(source, signer), now=now)
