"""The invented city in a collector: its subjects, what they signed or declared, and their accounts; beside them the
demo's own works, whose electricity is metered by the gateway that stands there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cloud import accounts, activities, config, factor_shelf, subjects
from cloud.accounting import signed_activity
from cloud.accounting.period import month_of
from cloud.accounting.subject import ZONE
from cloud.store import Store
from protocols.record.cose import PrivateKey
from simulator import city

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
    months = city.months(this, MONTHS + 1)[:-1]
    made = city.city(seed, months)
    key, signer = config.open_key(data), PrivateKey.generate()
    with config.open_store(data, key) as store:
        library = factor_shelf.library(store)
        subjects.take(store, "city.toml", made.subjects + WORKS.format(since=f"{this}-01").encode(), by="demo", now=now)
        subjects.trust(store, "demo", signer.public, now=now)
        for name, files in made.activity.items():
            _bring(store, name, files, None if name in made.documents else signer, now)
        closed = [
            accounts.close(store, library, name, accounts.period_of(month), now)
            for name in made.activity
            for month in months
        ]
        own = accounts.close(store, library, "E-00", accounts.period_of(this), now)
    newest = [version for version in closed if version.content.period.id == months[-1]]
    total = sum((version.content.totals.total for version in newest), Decimal(0))
    return Town(months[-1], len(newest), total, own.reference, own.content.totals.total)


def _bring(store: Store, name: str, files: Mapping[str, bytes], signer: PrivateKey | None, now: int) -> None:
    """Its files, signed; without a signer they are declared: the city shows the difference."""
    for month, source in files.items():
        if signer is None:
            activities.declare(store, f"{name}-{month}.toml", source, by="demo", now=now)
        else:
            activities.take_signed(store, f"{name}-{month}.cose", signed_activity.sign(source, signer), now=now)
