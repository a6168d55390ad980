"""How fast accounts are reckoned: lines from intervals and entries, and a year drawn up again after a factor change.

By CPU time, in the rounds in which the core was as fast as it can be and in all (``benchmarks/pace.py``); what is
measured takes turns, in a process that looks for cycles as seldom as the collector's. A line is of one source and one
part of a period, and rests on all intervals of its meter in it. So lines from intervals are told in two ways. What an
account does, in intervals a second: a month of sealed ones of four meters is read out of a store that holds a year,
checked, added up, digested, and drawn up into an inventory. And a line made for every single interval, through an entry
of its own. In bulk means sources that recur; the long way is every line by itself, as the first of each source is made.

A year again: enterprises of one subject file with twelve monthly accounts of ten lines in a store on this disk; then
the grid factor of the year is published anew, and the way that a collector takes gives every account its second version
with the difference split. That runs at several scales, each in a process of its own that did nothing else, whose
greatest memory is told; larger ones: ``python -m benchmarks.account --enterprises 1000 2500``. Filling the store is not
measured.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.fleet import SMALL, Gateway
from benchmarks.pace import STEPS, Round, measure, pace
from cloud import accounts, interval_rows, reaccounting, subjects
from cloud.accounting import calculate, draw, factors
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting.calculate import Known
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.library import Library
from cloud.accounting.metered import metered
from cloud.accounting.period import Period
from cloud.accounting.units import Quantity, unit
from cloud.cycles import look_seldom
from cloud.intervals import INTERVAL_MS, Interval, Register
from cloud.store import Store
from protocols.record.cose import PrivateKey

METHOD = methods.get("ndrc-24-2015")
FIRST = date(2023, 1, 1)
NOW = 1_704_100_000_000
"""2024-01-01: the year of the accounts is over."""
SIZES = (100, 400)
"""Enterprises; 400 take about ten seconds."""
MONTHS = tuple(accounts.period_of(f"2023-{month:02}") for month in range(1, 13))
TARGET = 100_000
EACH = "lines in bulk, one for each interval"
DRAWN = "intervals out of the store into monthly accounts"
AIMED = (EACH, DRAWN)
_Made = TypeVar("_Made")
_LIBRARY = libraries.build()


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures; with ``--enterprises`` those of the year alone, at these scales."""
    parser = argparse.ArgumentParser(prog="benchmarks.account")
    parser.add_argument("--enterprises", type=int, nargs="+", help="scales of the year that is drawn up again")
    options = parser.parse_args(arguments)
    if not options.enterprises:
        _pace_of_lines()
    _years_again(options.enterprises or SIZES)


def _pace_of_lines() -> None:
    look_seldom()
    works = dict(_works())
    found: dict[str, list[Round]] = {name: [] for name in (DRAWN, *works)}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "meters.db", PrivateKey.generate()) as store:
        _fill_with_intervals(store, Gateway(SMALL))
        for month in MONTHS:
            held = (month.end - month.start) // INTERVAL_MS * SMALL.meters
            found[DRAWN].append(measure(held, partial(_account_of_meters, store, month)))
            for name, (count, work) in works.items():
                found[name].append(measure(count, work))
    best = min(one.loop for rounds in found.values() for one in rounds)
    print(f"a loop of {STEPS:,} steps took {best * 1e3:.1f} ms at its best")
    for name, rounds in found.items():
        aim = f" (aim: {TARGET:,})" if name in AIMED else ""
        print(f"{name + aim:<72}{pace(rounds, best)}")


def _works() -> Iterator[tuple[str, tuple[int, Callable[[], object]]]]:
    """What is measured without a store, by name: how many things, and how they are done once."""
    end = 2_880 * INTERVAL_MS
    month = list(_intervals("M-0", "energy_0", 0, end))
    several = month * 4
    made = [_entry(index) for index in range(10_000)]
    yield EACH, (len(several), lambda: _lines([_of(one, index) for index, one in enumerate(several)]))
    yield "intervals of a meter's month into one amount", (len(month), lambda: metered("M", month, 0, end, through=end))
    yield "lines in bulk, of entries that are there", (len(made), lambda: _lines(made))
    yield "lines the long way, each by itself", (1_000, lambda: [_lines([entry]) for entry in made[:1_000]])


def _fill_with_intervals(store: Store, gateway: Gateway) -> None:
    """A year of sealed intervals of each meter of a gateway, and the subject whose meters they are."""
    gateway.enrol(store)
    identity, first, last = gateway.key.public.id, MONTHS[0].start, MONTHS[-1].end
    rows = [
        interval_rows.values(identity, one, 0)
        for meter in range(gateway.shape.meters)
        for one in _intervals(f"M-{meter}", "energy_0", first, last)
    ]
    with store.writing() as db:
        db.executemany(interval_rows.UPSERT, [(*row[:-1], number) for number, row in enumerate(rows, 1)])
    works = _city(1) + b'site = "bench"\n'
    for meter in range(gateway.shape.meters):
        head = f'[[subject.meter]]\ndevice = "M-{meter}"\npoint = "energy_0"\nrow = "24-08"\nsymbol = "AD"\n'
        works += f'{head}class = "0.5"\n'.encode()
    subjects.take(store, "works.toml", works, by="benchmark", now=NOW)


def _account_of_meters(store: Store, month: Period) -> None:
    drawn, _ = accounts.content(store, _LIBRARY, _name(0), month, NOW)
    assert len(drawn.lines) == SMALL.meters and not drawn.filled, "every meter is known all month"


def _years_again(sizes: Sequence[int]) -> None:
    """A year at each scale, and what an account costs there beside the first scale."""
    first = 0.0
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "collector.db"
            _apart(fill, path, count)
            seconds, peak = _apart(year_again, path, count)
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        each = seconds / count / len(MONTHS)
        first = first or each
        print(
            f"{count:,} enterprises x 12 months x 10 lines again after a factor change: {seconds:,.1f} s of CPU,"
            f" {1e6 * each:,.0f} us an account ({each / first:.2f} times that at {sizes[0]:,}), at most"
            f" {peak:,.0f} MiB of memory; the store then {size / (1 << 20):,.0f} MiB",
            flush=True,
        )


def _apart(work: Callable[[Path, int], _Made], path: Path, count: int) -> _Made:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, path, count).result()


def year_again(path: Path, count: int) -> tuple[float, float]:
    """Every account of a filled store again after a factor change; CPU seconds, and the greatest memory in MiB."""
    library = _published(libraries.build())
    with Store(path, PrivateKey.from_pem((path.parent / "key.pem").read_bytes())) as store:
        began = time.process_time()
        done = reaccounting.again(store, library, NOW)
        seconds = time.process_time() - began
        assert done.made == done.seen == count * len(MONTHS) and not done.failed, "every account moved"
        last = accounts.get(store, f"A-{_name(count - 1)}-2023-12@2").difference
        assert last and last.total == last.factor == Decimal("0.7125"), "712.5 MWh at 0.001 tCO2/MWh more"
    status = Path("/proc/self/status").read_text()
    return seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024


def fill(path: Path, count: int) -> None:
    """A store with the year's accounts of so many enterprises, drawn and kept many at a time."""
    key = PrivateKey.generate()
    (path.parent / "key.pem").write_bytes(key.pem())
    library = libraries.build()
    shared: Known = {}
    with Store(path, key) as store:
        subjects.take(store, "city.toml", _city(count), by="benchmark", now=NOW)
        for held in subjects.roll(store).held.values():
            rows = []
            for month in MONTHS:
                drawn = draw.Drawn(tuple(_sources(*month.days())), month.end)
                found = draw.draw(
                    held.subject, METHOD, month, library, drawn, subject_sha256=held.sha256, shared=shared
                )
                rows.append(accounts.row_of(accounts.minted(found, found.digest, None, 0, NOW), NOW))
            store.keep(rows)


def _name(number: int) -> str:
    return f"S-{number:05}"


def _city(count: int) -> bytes:
    heads = "".join(
        f'[[subject]]\nid = "{name}"\nzh = "{name}"\nen = "{name}"\nkind = "enterprise"\ncategory = "industry"\n'
        f'method = "{METHOD.id}"\n'
        for name in map(_name, range(count))
    )
    return f"schema = 1\n{heads}".encode()


def _sources(start: date, end: date) -> Iterator[Entry]:
    """What ten sources used in a month: gas at four, electricity at six."""
    for number in range(10):
        row, item, symbol, text = ("24-01", "natural_gas", "FC", "1e4Nm3") if number < 4 else ("24-08", "", "AD", "MWh")
        amount = Quantity(Decimal(f"{100 + number + start.month}.25"), unit(text))
        yield Entry(
            row, start, end, {symbol: Given(amount, "declared", "books", "ab" * 32, "a name")}, item, f"{number}"
        )


def _published(library: Library) -> Library:
    """The library after the national factor of the year has been published anew."""
    known = library.factors
    found = tuple(
        replace(one, value=one.value + Decimal("0.001")) if one.id == "cn.grid.national@2023" else one
        for one in known.factors
    )
    return replace(library, factors=replace(known, factors=found, sha256=f"{1:064}"))


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


def _intervals(device: str, point: str, first: int, last: int) -> Iterator[Interval]:
    value = Decimal(1000)
    for index, start in enumerate(range(first, last, INTERVAL_MS)):
        end = start + INTERVAL_MS
        step = Decimal(100 + index % 77) / 100
        opening, closing = Register(value, start, 0, index), Register(value + step, end, 0, index + 1)
        yield Interval(
            *(device, point, "kWh", "bench-meter/1/", start, end, True, opening, closing, Decimal(0), Decimal(80)),
            *(step * 80, 15, 15, "measured", end, 60_000),
        )
        value += step


if __name__ == "__main__":
    main(sys.argv[1:])
