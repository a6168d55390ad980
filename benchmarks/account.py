"""How fast accounts are reckoned: lines from intervals and entries, and a year drawn up again after a factor change.

All by CPU time of one process, medians; the wall clock of a shared machine says little. Lines in bulk are made from
entries of sources that recur (meters by the quarter of an hour or the day); the long way is every line by itself, as
the first of each source is made. A year again: enterprises with twelve monthly accounts of ten lines in a store on this
disk; then the grid factor of the year appears, and every account gets its second version with the difference split.
The work is the same for every account, which two sizes show; the figure for 10,000 enterprises is that rate times their
accounts, and says so.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from cloud import accounts, activities, reaccounting, subjects
from cloud.accounting import calculate, factors
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting.calculate import Entry, Given, Programme
from cloud.accounting.library import Library
from cloud.accounting.metered import metered
from cloud.accounting.units import Quantity, unit
from cloud.intervals import INTERVAL_MS, Interval, Register
from cloud.store import Store
from protocols.record.cose import PrivateKey

ROUNDS = 5
METHOD = methods.get("ndrc-24-2015")
FIRST = date(2023, 1, 1)
NOW = 1_704_100_000_000
"""2024-01-01: the year of the accounts is over."""
SIZES = (40, 80)
TARGET = 100_000
CITY = 10_000


def main() -> None:
    """Print the medians."""
    intervals = list(_intervals(2_880))
    whole = _pace(lambda: metered("M", intervals, 0, 2_880 * INTERVAL_MS, through=2_880 * INTERVAL_MS), len(intervals))
    print(f"a meter's month, 2,880 intervals into one amount: {whole:,.0f} intervals/s")
    made = [_entry(index) for index in range(20_000)]
    bulk = _pace(lambda: _lines(made), len(made))
    print(f"lines from entries in bulk: {bulk:,.0f} lines/s (aim: {TARGET:,})")
    held = intervals * 7
    direct = _pace(lambda: _lines([_of(one, index) for index, one in enumerate(held)]), len(held))
    print(f"lines from intervals, one each, entries made on the way: {direct:,.0f} lines/s (aim: {TARGET:,})")
    alone = _pace(lambda: [_lines([entry]) for entry in made[:1_000]], 1_000)
    print(f"lines the long way, each by itself: {alone:,.0f} lines/s; in bulk {bulk / alone:.1f} times that")
    for count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            _year_again(Path(folder), count)


def _year_again(folder: Path, count: int) -> None:
    with Store(folder / "collector.db", PrivateKey.generate()) as store:
        library = libraries.build()
        began = time.process_time()
        _fill(store, library, count)
        filled = time.process_time() - began
        times = []
        for number in range(ROUNDS):
            began = time.process_time()
            done = reaccounting.again(store, _published(library, number), NOW)
            times.append(time.process_time() - began)
            assert done.made == done.seen == count * 12 and not done.failed
    each = statistics.median(times) / (count * 12)
    print(
        f"{count} enterprises x 12 months x 10 lines: first drawn and kept {1000 * filled / count / 12:.2f} ms an"
        f" account, again after a factor change {1000 * each:.2f} ms; at that rate {CITY:,} enterprises x 12 take"
        f" {each * CITY * 12 / 60:.1f} min of one core"
    )


def _fill(store: Store, library: Library, count: int) -> None:
    names = [f"S-{number:05}" for number in range(count)]
    heads = "".join(
        f'[[subject]]\nid = "{name}"\nzh = "{name}"\nen = "{name}"\nkind = "enterprise"\ncategory = "industry"\n'
        f'method = "{METHOD.id}"\n'
        for name in names
    )
    subjects.take(store, "city.toml", f"schema = 1\n{heads}".encode(), by="benchmark", now=NOW)
    for name in names:
        activities.declare(store, f"{name}.toml", _year(name).encode(), by="benchmark", now=NOW)
        for month in range(1, 13):
            accounts.close(store, library, name, accounts.period_of(f"2023-{month:02}"), NOW)


def _year(name: str) -> str:
    """A year of ten sources, month by month."""
    parts = [f'schema = 1\nsubject = "{name}"\n']
    for month in range(1, 13):
        start, end = date(2023, month, 1), date(2023 + month // 12, month % 12 + 1, 1)
        for number in range(10):
            row, item, symbol, text = (
                ("24-01", "natural_gas", "FC", "1e4Nm3") if number < 4 else ("24-08", "", "AD", "MWh")
            )
            parts.append(
                f'[[activity]]\nrow = "{row}"\nitem = "{item}"\nlabel = "{number}"\nfrom = {start}\nuntil = {end}\n'
                f'{symbol} = "{100 + number + month}.25 {text}"\n'
            )
    return "".join(parts)


def _published(library: Library, number: int) -> Library:
    """The library after the national factor of the year has been published anew."""
    known = library.factors
    found = tuple(
        replace(one, value=one.value + Decimal(number + 1) / 1000) if one.id == "cn.grid.national@2023" else one
        for one in known.factors
    )
    return replace(library, factors=replace(known, factors=found, sha256=f"{number:064}"))


def _lines(entries: Sequence[Entry]) -> int:
    return sum(1 for _ in calculate.lines(METHOD, entries, Programme("S-1", factors.builtin())))


def _entry(index: int) -> Entry:
    start = FIRST + timedelta(days=index % 300)
    given = Given(Quantity(Decimal(1000 + index) / 100, unit("kWh")), "metered", "meter:x", "ab" * 32)
    return Entry("24-08", start, start + timedelta(days=1), {"AD": given}, "", f"M-{index}")


def _of(one: Interval, index: int) -> Entry:
    assert one.consumption is not None, "these are sound"
    given = Given(Quantity(one.consumption, unit(one.unit)), "metered", "meter:x", "ab" * 32)
    return Entry("24-08", FIRST, _SECOND, {"AD": given}, "", f"{one.device}.{index}")


_SECOND = FIRST + timedelta(days=1)


def _intervals(count: int) -> Iterator[Interval]:
    value = Decimal(1000)
    for index in range(count):
        start, end = index * INTERVAL_MS, (index + 1) * INTERVAL_MS
        step = Decimal(100 + index % 77) / 100
        opening, closing = Register(value, start, 0, index), Register(value + step, end, 0, index + 1)
        yield Interval(
            *("M-01", "energy_import", "kWh", "m/1", start, end, True, opening, closing, Decimal(0), Decimal(80)),
            *(step * 80, 15, 15, "measured", end, 60_000),
        )
        value += step


def _pace(work: Callable[[], object], count: int) -> float:
    """How many a second of CPU time, the median of several rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return count / statistics.median(times)
