"""A warning and its log: raised at one level, cleared at a lower one, acknowledged by somebody who says why. Pure.

A warning is what its events come to; events are appended and never changed. An acknowledgement holds while the warning
stands as it was: when it gets critical, or clears and comes back, somebody has to look again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from cloud.accounting.signals import KINDS, Kind, Level, Signal
from protocols.errors import ConfigError, LockedError

Happened = Literal["raised", "critical", "cleared", "acknowledged"]
State = Literal["raised", "acknowledged", "cleared", "unreadable"]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened to a warning, when (RFC 3339) and at which level; ``by`` and ``why`` of an acknowledgement."""

    happened: Happened
    at: str
    kind: Kind
    subject: str
    about: str
    level: str
    figures: dict[str, str]
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """How a warning stands. ``since``: when it was raised last; ``level`` and ``figures`` as of its newest event.

    ``unreadable``: its log has rotted, and nobody can say whether it is over; ``since`` is then of its newest event.
    """

    id: str
    kind: Kind
    subject: str
    about: str
    state: State
    critical: bool
    since: str
    level: str
    figures: dict[str, str]
    by: str
    why: str
    events: int

    @property
    def standing(self) -> bool:
        """Whether it is not over."""
        return self.state != "cleared"

    @property
    def message(self) -> str:
        """Which message its figures fill; a drift says whether it is one from the same month of last year."""
        if self.state == "unreadable":
            return "warning.unreadable"
        return f"warning.{self.kind}{'-season' if 'before' in self.figures and 'last' in self.figures else ''}"


def name(kind: Kind, subject: str, about: str) -> str:
    """``W-<subject>-<kind>-<about>``: one warning for one thing, however often it comes back."""
    return "-".join(part for part in ("W", subject, kind, about) if part)


def judge(standing: Alarm | None, signal: Signal, level: Level, at: str) -> Event | None:
    """What a signal makes of a warning: raised, critical or cleared; None where it stays as it is."""
    raised = standing is not None and standing.standing
    if not raised and signal.level >= level.raise_:
        return _event("critical" if signal.level >= level.critical else "raised", signal, at)
    if standing is None or not raised:
        return None
    if signal.level < level.clear:
        return _event("cleared", signal, at)
    if signal.level >= level.critical and not standing.critical:
        return _event("critical", signal, at)
    return None


def acknowledge(standing: Alarm, by: str, why: str, at: str) -> Event:
    """Somebody has seen it and says why it may stand; LockedError for one that is over or was acknowledged already."""
    if not by.strip() or not why.strip():
        raise ConfigError("acknowledge", repr(by if not by.strip() else why), "who has seen it, and why it may stand")
    if standing.state != "raised":
        raise LockedError(f"{standing.id}: found it {standing.state}, expected one that is raised")
    return Event(
        "acknowledged", at, standing.kind, standing.subject, standing.about, standing.level, standing.figures,
        by.strip(), why.strip(),
    )  # fmt: skip


def stands(events: Iterable[Event]) -> Alarm | None:
    """What the events of one warning come to, oldest first; None for none."""
    found: Alarm | None = None
    for event in events:
        found = _after(found, event)
    return found


def unreadable(id: str, subject: str, at: str, events: int) -> Alarm:
    """A warning whose log has rotted: it stands until that is put right. ``at``: when its newest event came."""
    rest = id.removeprefix(f"W-{subject}-")
    kind = max(KINDS, key=rest.startswith)
    about = rest.removeprefix(kind).removeprefix("-")
    return Alarm(id, kind, subject, about, "unreadable", False, at, "", {}, "", "", events)


def _after(before: Alarm | None, event: Event) -> Alarm:
    count = before.events + 1 if before else 1
    if event.happened == "acknowledged" and before is not None:
        return replace(before, state="acknowledged", by=event.by, why=event.why, events=count)
    again = before is not None and before.standing
    return Alarm(
        id=name(event.kind, event.subject, event.about),
        kind=event.kind,
        subject=event.subject,
        about=event.about,
        state="cleared" if event.happened == "cleared" else "raised",
        critical=event.happened == "critical",
        since=before.since if before is not None and again else event.at,
        level=event.level,
        figures=event.figures,
        by="",
        why="",
        events=count,
    )


def _event(happened: Happened, signal: Signal, at: str) -> Event:
    level = f"{signal.level:.4g}" if signal.level.is_finite() else "∞"
    return Event(happened, at, signal.kind, signal.subject, signal.about, level, dict(signal.figures))
