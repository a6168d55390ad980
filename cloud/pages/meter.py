"""What the page of one meter shows: each thing it counts, and the intervals of the one chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud import problem
from cloud.accounting import period as periods
from cloud.collector import Collector
from cloud.intervals import Interval
from cloud.pages import amounts, render
from cloud.pages.amounts import Amount
from cloud.pages.titles import title
from cloud.rows import Gateway
from drivers.installation import Installation
from drivers.site import Device
from protocols import messages

SPAN_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Count:
    """One point that a meter counts: its name, its newest value, what it came to today."""

    point: str
    title: str
    register: Decimal | None
    unit: str
    today: Amount
    chosen: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One interval; ``block`` holds its closing register or newest sample."""

    interval: Interval
    block: str


@dataclass(frozen=True, slots=True)
class MeterView:
    """The page of a meter. ``rows``: the last 24 hours of the point chosen, oldest first."""

    gateway: str
    device: Device
    medium: str
    model: str
    zone: str
    counts: tuple[Count, ...]
    unit: str
    rate: bool
    rows: tuple[Row, ...]

    @property
    def notable(self) -> int:
        """How many of the intervals are not simply measured."""
        shown = [row.interval for row in self.rows]
        return sum([(each.quality, each.state) != ("measured", "ok") for each in shown])


def view(held: Collector, gateway: Gateway, device: str, point: str | None, lang: messages.Language) -> MeterView:
    """The page of a device of the newest configuration; Problem 404 for one it does not have, or a point."""
    installation, number = _find(held, gateway, device)
    entry, driver = installation.site.device[number], installation.drivers[number]
    counted = amounts.counted(installation, number)
    if point is not None and all(each.id != point for each in counted):
        raise problem.missing("point", point)
    chosen = next((each for each in counted if point in (None, each.id)), None)
    now, zone = held.now(), installation.site.zone
    latest = {row.point: row for row in held.store.latest(gateway.id) if row.device == device}
    midnight = periods.day_of(now, zone).start
    points = [(device, each.id) for each in counted]
    sums = {row.point: row for row in held.store.sums(gateway.id, points, midnight, now + 1)}
    shown = rows(held, gateway, device, chosen.id) if chosen else ()
    return MeterView(
        gateway=gateway.id.hex(),
        device=entry,
        medium=driver.profile.medium,
        model=driver.profile.title.en if lang == "en" else driver.profile.title.zh,
        zone=str(zone),
        counts=tuple(
            Count(
                each.id,
                title(each, lang),
                latest[each.id].value if each.id in latest else None,
                each.unit,
                amounts.amount(each, sums.get(each.id)),
                each is chosen,
            )
            for each in counted
        ),
        unit=amounts.amount(chosen, None).unit if chosen else "",
        rate=chosen is not None and chosen.kind == "rate",
        rows=tuple(shown),
    )


def rows(held: Collector, gateway: Gateway, device: str, point: str) -> Sequence[Row]:
    """The intervals of a point over the last 24 hours, oldest first."""
    end = held.now() + 1
    found = held.store.series(gateway.id, device, point, end - SPAN_MS, end)
    return [Row(each, _block(gateway, each)) for each in found]


def csv_lines(held: Collector, gateway: Gateway, device: str, point: str) -> tuple[list[str], list[list[object]]]:
    """The same as rows for CSV, with their heads."""
    heads = ["start", "end", "consumption", "unit", "register_start", "register_end", "multiplier"]
    heads += ["coverage", "quality", "state", "ignored", "epoch", "seq"]
    lines: list[list[object]] = [
        [
            *(render.iso(each.start), render.iso(each.end), _text(each.consumption), each.unit),
            *(_text(each.register_start.value), _text(each.register_end.value), _text(each.multiplier)),
            *(round(each.coverage, 3), each.quality, each.state, each.ignored),
            *(each.register_end.epoch, each.register_end.seq),
        ]
        for each in (row.interval for row in rows(held, gateway, device, point))
    ]
    return heads, lines


def _find(held: Collector, gateway: Gateway, device: str) -> tuple[Installation, int]:
    installation = held.store.installation(gateway.id)
    for number, entry in enumerate(installation.site.device if installation else ()):
        if entry.id == device and installation is not None:
            return installation, number
    raise problem.missing("device", device)


def _block(gateway: Gateway, interval: Interval) -> str:
    register = interval.register_end
    place = f"/blocks/{gateway.id.hex()}/{register.epoch}/{register.seq}"
    return f"{place}?at={register.at}&device={interval.device}#d-{interval.device}"


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
