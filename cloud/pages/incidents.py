"""Incidents and refused blocks as one list for a person."""

from dataclasses import dataclass

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
    """The newest incidents and refusals, of one gateway or of all."""
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
    return tuple(sorted(raised + refused, key=lambda row: row.at, reverse=True)[:limit])
