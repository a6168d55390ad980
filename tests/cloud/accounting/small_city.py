"""A city of three subjects in a store of its own, and the files that are declared for them."""

from dataclasses import dataclass
from typing import Any

from cloud import accounts, activities
from cloud.account_closing import AccountCloser
from cloud.accounting import library as libraries
from cloud.accounting.inventory import Version
from cloud.store import Store
from tests.cloud import tables

LIBRARY = libraries.build()
DAY = accounts.period_of("2026-10-03")
METERS = (
    tables.meter("M-01", 'class = "0.5"\n')
    + tables.meter("M-04", 'class = "1"\n')
    + tables.meter("M-02", 'role = "sub"\nof = "M-01.energy_import"\n')
)
SUBJECTS = tables.subject_file(
    tables.subject("S-DEMO", METERS, zh="示例机械厂", en="Example machine works", site="S-DEMO"),
    tables.subject("S-OTHER", zh="另一家", en="Another works"),
    tables.subject("P-01", zh="园区", en="Park", kind="park", category="park", method=""),
)
DAYS = ("2026-10-03", "2026-10-04")


def gas(amount: str, head: str = "", start: str = "2026-10-03", end: str = "2026-10-04") -> bytes:
    bill = (
        f'item = "natural_gas"\nFC = {{ value = "{amount} 1e4Nm3", document = "gas bill 10-2026", uncertainty = "1" }}'
    )
    return tables.activity_file("S-DEMO", f"{head}\n", tables.entry("24-01", start, end, bill)).encode()


def green(subject: str, label: str = "") -> bytes:
    proof = f'''label = "{label}"
proof = "GEC-2026-000042"
proved = {{ value = "0.1 MWh", document = "GEC" }}
purchased = {{ value = "1 MWh", document = "GEC" }}
'''
    return tables.activity_file(subject, tables.entry("24-10", *DAYS, proof)).encode()


@dataclass
class City:
    """A store of its own, with the day of the shared rig in it."""

    store: Store
    now: int

    def close(self, subject: str = "S-DEMO") -> Any:
        self.now += 1000
        return accounts.close(self.store, LIBRARY, subject, DAY, self.now)

    def declare(self, source: bytes) -> Any:
        return activities.declare(self.store, "a.toml", source, by="王工", now=self.now)


def all_closed(closer: AccountCloser, now: int) -> list[Version]:
    """What a closer of accounts makes in one pass."""
    return [version for subject in closer.waiting(now) for version in closer.close(subject, now)]


def restarted(closer: AccountCloser, now: int) -> AccountCloser:
    """The closer of the next process, when all that this one knows has been written down."""
    assert all_closed(closer, now - 1) == [], "its own versions have come"
    assert closer.waiting(now - 2) == [], "the clock was put back: it is written down at once"
    return AccountCloser(closer._store, durable=True)
