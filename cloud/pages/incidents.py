"""Incidents, refused blocks and meters that two subjects count, as one list for a person."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloud import early_warning
from cloud.accounting import period as periods
from cloud.collector import Collector
from cloud.pages import render
from cloud.rows import Incident
from cloud.store import Store
from protocols import messages

LOOKED_AT = 200


ASKS = {
    **dict.fromkeys(("conflict", "fork", "config", "missing", "damaged"), "bad"),
    **dict.fromkeys(
        ("clock", "epoch", "reset", "unexplained", "replaced", "ratio", "start", "readmitted", "rebooked"), "warn"
    ),
    **dict.fromkeys(("mended", "restored"), "info"),
}
"""What each kind asks of a person, as the tone of its badge: to act, to check whether it was meant, or nothing."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One line: when, what (with the tone of its badge), where, and the detail. ``asks``: of a person, in words."""

    at: int
    title: str
    tone: str
    asks: str
    gateway: str | None
    epoch: int | None
    seq: int | None
    detail: str


def incidents(held: Collector, gateway: bytes | None, lang: str, limit: int) -> tuple[Shown, ...]:
    """The newest of them, of one gateway or of all."""
    chosen: messages.Language = "en" if lang == "en" else "zh"
    rows = [row for rows_of in (_raised, _refused, _counted) for row in rows_of(held.store, gateway, chosen)]
    return tuple(sorted(rows, key=lambda row: row.at, reverse=True)[:limit])


def _raised(store: Store, gateway: bytes | None, lang: messages.Language) -> Iterator[Shown]:
    """What the collector found; damage that was mended since asks nothing of anybody."""
    told = [row for row in store.incidents(LOOKED_AT) if gateway in (None, row.gateway)]
    mended = {_where(row): row.id for row in reversed(told) if row.kind == "mended"}
    for row in told:
        over, name = row.kind == "damaged" and mended.get(_where(row), 0) > row.id, f"page.incident.{row.kind}"
        yield Shown(
            row.at,
            messages.text(name, lang) if name in messages.catalogue() else row.kind,
            *_asking("info" if over else ASKS.get(row.kind, "warn"), lang),
            row.gateway.hex(),
            row.epoch,
            row.seq,
            row.detail,
        )


def _refused(store: Store, gateway: bytes | None, lang: messages.Language) -> Iterator[Shown]:
    """Blocks that were not taken."""
    for kept in store.quarantine(LOOKED_AT):
        if gateway in (None, kept.gateway):
            what = f"{messages.text(kept.code, lang)}: " if kept.code in messages.catalogue() else ""
            yield Shown(
                kept.at,
                f"{messages.text('page.incident.refused', lang)} {kept.code}",
                *_asking("warn" if kept.signed else "bad", lang),
                kept.gateway.hex() if kept.gateway else None,
                kept.epoch,
                kept.seq,
                f"{what}{kept.reason}",
            )


def _counted(store: Store, gateway: bytes | None, lang: messages.Language) -> Iterator[Shown]:
    """Meters that two subjects count; of a warning that cannot be read nobody knows at which gateway."""
    for one in early_warning.listing(store, standing=True, kind="shared"):
        at = one.figures.get("gateway")
        if gateway is None or gateway.hex() == at:
            yield Shown(
                periods.instant(one.since),
                messages.text("page.incident.shared", lang),
                *_asking("bad" if one.critical else "warn", lang),
                at,
                None,
                None,
                f"{one.subject}: {render.finding(one.message, lang, one.figures)}",
            )


def _where(row: Incident) -> tuple[bytes, int | None, int | None]:
    return row.gateway, row.epoch, row.seq


def _asking(tone: str, lang: messages.Language) -> tuple[str, str]:
    """The tone, and what it asks in words."""
    return tone, messages.text(f"page.incident.asks.{tone}", lang)
