"""Incidents, refused blocks and meters that two subjects count, as one list for a person."""

from dataclasses import dataclass

from cloud import early_warning
from cloud.accounting import period as periods
from cloud.collector import Collector
from protocols import messages

LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """One line: when, what (with the tone of its badge), where, and the detail."""

    at: int
    title: str
    tone: str
    gateway: str | None
    epoch: int | None
    seq: int | None
    detail: str


def incidents(held: Collector, gateway: bytes | None, lang: str, limit: int) -> tuple[Shown, ...]:
    """The newest of them, of one gateway or of all."""
    chosen: messages.Language = "en" if lang == "en" else "zh"
    raised = [
        Shown(
            row.at,
            messages.text(f"page.incident.{row.kind}", chosen),
            "bad",
            row.gateway.hex(),
            row.epoch,
            row.seq,
            row.detail,
        )
        for row in held.store.incidents(LOOKED_AT)
        if gateway in (None, row.gateway)
    ]
    refused = [
        Shown(
            kept.at,
            f"{messages.text('page.incident.refused', chosen)} {kept.code}",
            "warn" if kept.signed else "bad",
            kept.gateway.hex() if kept.gateway else None,
            kept.epoch,
            kept.seq,
            f"{messages.text(kept.code, chosen) + ': ' if kept.code in messages.catalogue() else ''}{kept.reason}",
        )
        for kept in held.store.quarantine(LOOKED_AT)
        if gateway in (None, kept.gateway)
    ]
    counted = [
        Shown(
            periods.instant(one.since),
            messages.text("page.incident.shared", chosen),
            "bad" if one.critical else "warn",
            one.figures["gateway"],
            None,
            None,
            f"{one.subject}: {messages.text(one.message, chosen, **one.figures)}",
        )
        for one in early_warning.listing(held.store, standing=True, kind="shared")
        if gateway is None or gateway.hex() == one.figures["gateway"]
    ]
    return tuple(sorted(raised + refused + counted, key=lambda row: row.at, reverse=True)[:limit])
