"""What the page of a statement shows: from the figure down to the frames it rests on, verified while it is made."""

import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from cloud import api_account, statements
from cloud.accounting import period as periods
from cloud.accounting.meters import ENERGY
from cloud.accounting.statement import Meter, Register, Run, Statement, plain
from cloud.collector import LATE_MS, Collector, algorithm
from cloud.frames import find
from cloud.intervals import Interval
from cloud.opening import Found, open_stored
from cloud.rows import Block, Gateway
from drivers import site as sites
from drivers.installation import Installation
from drivers.quantity import EXACT
from protocols import messages
from protocols.errors import AccountError, FactorError, RottenError

RANDOM, LARGEST, OUTAGE = 30, 10, 30
UTC = ZoneInfo("UTC")
SAMPLES = ("random", "largest", "outage")


@dataclass(frozen=True, slots=True)
class Sampled:
    """One register frame: where it lies, its bytes, what it says and whether its block verifies now.

    ``taken`` is the register that was booked; it differs from ``value`` where it was interpolated.
    """

    block: str
    epoch: int
    seq: int
    device: str
    at: int
    request: bytes
    reply: bytes
    value: Decimal | None
    taken: Decimal
    unit: str
    ok: bool
    error: str
    algorithm: str
    used: str
    note: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """A meter's register difference over one stretch: (closing - opening) x multiplier = kWh."""

    device: str
    opening: Decimal | None
    closing: Decimal | None
    multiplier: Decimal
    kwh: Decimal | None


@dataclass(frozen=True, slots=True)
class ChainPart:
    """A gateway's blocks in the period: first and last, numbers missing between them, how late they came (ms)."""

    id: str
    custody: int
    config: int
    first: str
    last: str
    holes: int
    median: int
    most: int


@dataclass(frozen=True, slots=True)
class MeterName:
    """A purchased meter as it is installed."""

    id: str
    address: str
    model: str
    ratio: str


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version, with the reasons of its difference in the reader's language."""

    statement: Statement
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatementView:
    """The page. ``difference``: stored against computed now, None for the open period; ``changed``: the figure now."""

    statement: Statement
    ref: str
    link: str
    joint: str
    open: bool
    difference: Decimal | None
    changed: Decimal | None
    reasons: tuple[str, ...]
    site_name: str
    zone: str
    bridges: tuple[Bridge, ...]
    gateways: tuple[ChainPart, ...]
    meters: tuple[MeterName, ...]
    frames: tuple[Sampled, ...]
    ok: bool
    verified: int
    sample: str
    seed: int
    drawn: int
    versions: tuple[VersionLine, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Which sample: random, largest, outage or none; the seed it is drawn by, and one for the next."""

    sample: str
    seed: int
    next_seed: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A register to show: whose, where it lies and what it was used as."""

    gateway: bytes
    device: str
    register: Register
    used: str
    note: str = ""


class Opener:
    """Opens each block once while a page is made."""

    def __init__(self, held: Collector) -> None:
        self._held = held
        self._gateways = {row.id: row for row in held.store.gateways()}
        self._found: dict[tuple[bytes, int, int], Found | None] = {}

    def gateway(self, identity: bytes) -> Gateway | None:
        """The enrolled gateway."""
        return self._gateways.get(identity)

    def block(self, identity: bytes, epoch: int, seq: int) -> Found | None:
        """The block verified now, None when it is not held."""
        key = (identity, epoch, seq)
        if key not in self._found:
            row = self._gateways.get(identity)
            self._found[key] = None if row is None else open_stored(self._held.store, row, epoch, seq)
        return self._found[key]

    @property
    def verified(self) -> int:
        """How many of the blocks opened hold in every check."""
        return sum(found is not None and found.ok for found in self._found.values())

    @property
    def ok(self) -> bool:
        """All of them."""
        return all(found is not None and found.ok for found in self._found.values())


def view(held: Collector, entry: Statement, asked: int | None, draw: Draw, lang: str) -> StatementView:
    """The page of a statement. ``asked``: the version in the address."""
    opener = Opener(held)
    zone = statements.zone_of(held.store, entry.content.site)
    site = _site(held, entry)
    still_open = _is_draft(held, entry)
    now_tco2 = None if still_open else _recomputed(held, entry)
    wanted = list(_wanted(held, entry, draw))
    frames = tuple(_sampled(opener, each) for each in wanted)
    chosen: messages.Language = "en" if lang == "en" else "zh"
    return StatementView(
        statement=entry,
        ref=entry.id if still_open else entry.reference,
        link=f"/statements/{entry.id}" + (f"?version={asked}" if asked else ""),
        joint="&" if asked else "?",
        open=still_open,
        difference=None if still_open or now_tco2 is None else plain(EXACT.subtract(now_tco2, entry.content.tco2)),
        changed=now_tco2 if not still_open and now_tco2 not in (None, entry.content.tco2) else None,
        reasons=tuple(messages.text(reason, chosen) for reason in entry.content.reasons),
        site_name=site.site.site.name if site else "",
        zone=str(zone),
        bridges=tuple(_bridge(meter.device, run) for meter in _purchased(entry) for run in meter.runs),
        gateways=tuple(part for part in (_chain(held, opener, entry, each) for each in _gateway_ids(entry)) if part),
        meters=_meters(site, entry),
        frames=frames,
        ok=opener.ok,
        verified=opener.verified,
        sample=draw.sample,
        seed=draw.next_seed,
        drawn=draw.seed,
        versions=tuple(_version(each, chosen) for each in reversed(statements.versions(held.store, entry.id))),
    )


def _site(held: Collector, entry: Statement) -> Installation | None:
    rows = (row for row in held.store.gateways() if row.site == entry.content.site)
    return next((found for row in rows if (found := held.store.installation(row.id)) is not None), None)


def _is_draft(held: Collector, entry: Statement) -> bool:
    row = held.store.statement(entry.id, entry.version) if api_account.minted(entry) else None
    return row is None or row.digest != entry.digest


def _recomputed(held: Collector, entry: Statement) -> Decimal | None:
    """What the same period comes to from what is held now; None when it cannot be drawn up."""
    content = entry.content
    try:
        return statements.live(held.store, content.site, content.period.id, held.now()).content.tco2
    except (AccountError, FactorError, RottenError):
        return None


def _purchased(entry: Statement) -> list[Meter]:
    return [meter for line in entry.content.lines for meter in line.meters]


def _gateway_ids(entry: Statement) -> list[bytes]:
    return [bytes.fromhex(text) for text in dict.fromkeys(meter.gateway for meter in _purchased(entry))]


def _bridge(device: str, run: Run) -> Bridge:
    opening = run.opening.value if run.opening else None
    return Bridge(device, opening, run.closing.value if run.closing else None, run.multiplier, run.kwh)


def _meters(site: Installation | None, entry: Statement) -> tuple[MeterName, ...]:
    if site is None:
        return ()
    used = {meter.device for meter in _purchased(entry)}
    end = periods.instant(entry.content.period.end)
    return tuple(_meter(site, device, end) for device in site.site.device if device.id in used)


def _meter(site: Installation, device: sites.Device, at: int) -> MeterName:
    ratio = next(
        (f"{each.ct} × {each.pt}" for each in reversed(device.ratios) if each.since.timestamp() * 1000 <= at), "1/1"
    )
    return MeterName(device.id, device.address, site.profiles[device.profile].id, ratio.removesuffix(" × 1"))


def _chain(held: Collector, opener: Opener, entry: Statement, identity: bytes) -> ChainPart | None:
    row = opener.gateway(identity)
    blocks = _blocks(held, entry, identity)
    if row is None or not blocks:
        return None
    epochs: dict[int, list[int]] = {}
    for block in blocks:
        epochs.setdefault(block.epoch, []).append(block.seq)
    holes = sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in epochs.values())
    late = [max(block.received_at - block.utc_end, 0) for block in blocks]
    first, last = blocks[0], blocks[-1]
    return ChainPart(
        id=identity.hex(),
        custody=row.custody,
        config=row.config_number,
        first=f"{first.epoch}/{first.seq}",
        last=f"{last.epoch}/{last.seq}",
        holes=holes,
        median=int(statistics.median(late)),
        most=max(late),
    )


def _blocks(held: Collector, entry: Statement, identity: bytes) -> list[Block]:
    period = entry.content.period
    found = held.store.blocks_between(identity, periods.instant(period.start), periods.instant(period.end))
    return sorted(found, key=lambda block: (block.epoch, block.seq))


def _wanted(held: Collector, entry: Statement, draw: Draw) -> Iterator[Wanted]:
    """Which registers to show: those at the ends of every stretch, or the sample asked for."""
    if draw.sample not in SAMPLES:
        for meter in _purchased(entry):
            yield from _ends(meter)
        return
    found = list(_intervals(held, entry))
    if draw.sample == "random":
        drawn = random.Random(draw.seed).sample(found, min(RANDOM, len(found)))
        chosen: Iterable[tuple[bytes, Interval]] = sorted(drawn, key=lambda each: each[1].end)
    elif draw.sample == "largest":
        known = [each for each in found if each[1].consumption is not None]
        chosen = sorted(known, key=lambda each: each[1].consumption or 0, reverse=True)[:LARGEST]
    else:
        chosen = list(_late(held, entry, found))[:OUTAGE]
    for identity, interval in chosen:
        register = interval.register_end
        stamp = Register(
            value=register.value, at=periods.stamp(register.at, UTC), epoch=register.epoch, seq=register.seq
        )
        note = "" if interval.consumption is None else f"+{interval.consumption:f} kWh"
        yield Wanted(identity, interval.device, stamp, "interval", note)


def _ends(meter: Meter) -> Iterator[Wanted]:
    identity = bytes.fromhex(meter.gateway)
    for run in meter.runs:
        if run.opening is not None:
            yield Wanted(identity, meter.device, run.opening, "opening")
        if run.closing is not None:
            yield Wanted(identity, meter.device, run.closing, "closing")


def _intervals(held: Collector, entry: Statement) -> Iterator[tuple[bytes, Interval]]:
    period = entry.content.period
    start, end = periods.instant(period.start), periods.instant(period.end)
    for meter in {(meter.gateway, meter.device): meter for meter in _purchased(entry)}.values():
        identity = bytes.fromhex(meter.gateway)
        for one in held.store.series(identity, meter.device, ENERGY, start, end):
            yield identity, one


def _late(
    held: Collector, entry: Statement, found: Sequence[tuple[bytes, Interval]]
) -> Iterator[tuple[bytes, Interval]]:
    """Intervals whose closing register came in a block that was back-filled."""
    late = {
        (identity, block.epoch, block.seq)
        for identity in _gateway_ids(entry)
        for block in _blocks(held, entry, identity)
        if block.received_at - block.utc_end > LATE_MS
    }
    for identity, interval in found:
        if (identity, interval.register_end.epoch, interval.register_end.seq) in late:
            yield identity, interval


def _sampled(opener: Opener, wanted: Wanted) -> Sampled:
    """The frame behind a register, out of its block as verified now."""
    register, at = wanted.register, periods.instant(wanted.register.at)
    found = opener.block(wanted.gateway, register.epoch, register.seq)
    row = opener.gateway(wanted.gateway)
    link = f"/blocks/{wanted.gateway.hex()}/{register.epoch}/{register.seq}?at={at}&device={wanted.device}#here"
    error = next((check.error or "" for check in found.checks if not check.ok), "") if found else "–"
    frame = find(found.opened, wanted.device, ENERGY, at) if found and found.opened else None
    exchange, reading = frame if frame else (None, None)
    return Sampled(
        block=link,
        epoch=register.epoch,
        seq=register.seq,
        device=wanted.device,
        at=at,
        request=exchange.request if exchange else b"",
        reply=exchange.reply if exchange else b"",
        value=reading.value if reading else register.value,
        taken=register.value,
        unit=reading.unit if reading else "kWh",
        ok=found is not None and found.ok,
        error=error,
        algorithm=algorithm(row.algorithm) if row else "",
        used=wanted.used,
        note=wanted.note,
    )


def _version(entry: Statement, lang: messages.Language) -> VersionLine:
    names = entry.difference.changed if entry.difference else ()
    known = (f"page.changed.{name}" for name in names)
    return VersionLine(entry, tuple(messages.text(name, lang) for name in known if name in messages.catalogue()))
