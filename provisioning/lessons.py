"""What the box learned about its meters, and the lines of the site file that make the signed plan fit it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drivers.cover import merged
from drivers.installation import Installation, install
from edge.config import LEARNED
from edge.learned import Learned
from edge.notebook import Notebook
from provisioning import folder

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One meter. ``turnaround_ms``: median and 99th percentile; ``forbidden``: registers between points that it does
    not let be read; ``refused``: points it does not have; ``since``: when a read was last cut or asked whole again.
    """

    device: str
    answers: int
    turnaround_ms: tuple[int, int] | None
    signed_turnaround_ms: int
    forbidden: tuple[Range, ...]
    refused: tuple[str, ...]
    most_registers: int | None
    wordings: tuple[str, ...]
    since: str | None
    lines: tuple[str, ...]


def lessons(state: Path) -> tuple[Lesson, ...]:
    """What is known of each meter of the configuration in force; ConfigError when no box is set up there."""
    signed = folder.read_box(state).configs[-1]
    profiles = {name: source for (name, _), source in zip(signed.config.profiles, signed.profiles, strict=True)}
    held = install(signed.config.site, profiles, f"configuration {signed.config.number}")
    drivers = dict(enumerate(held.drivers))
    learned = Learned(drivers, Notebook(state / LEARNED, held.site, drivers).read())
    return tuple(_lesson(held, learned, number) for number in drivers)


def _lesson(held: Installation, learned: Learned, number: int) -> Lesson:
    memory = learned.memories[number]
    since = max((question.since for question in memory.questions.values() if question.cuts), default=None)
    return Lesson(
        device=held.site.device[number].id,
        answers=len(memory.latencies),
        turnaround_ms=memory.turnaround(),
        signed_turnaround_ms=held.drivers[number].profile.link.turnaround_ms,
        forbidden=learned.suspects(number),
        refused=learned.refused_points(number),
        most_registers=learned.most_registers(number),
        wordings=tuple(
            question.wording.hex() for question in memory.questions.values() if question.wording is not None
        ),
        since=datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec="seconds") if since is not None else None,
        lines=tuple(_lines(held, learned, number)),
    )


def _lines(held: Installation, learned: Learned, number: int) -> list[str]:
    """What to write below this device's ``[[device]]``."""
    link, lines = held.drivers[number].profile.link, []
    measured, most = learned.memories[number].turnaround(), learned.most_registers(number)
    if measured is not None and measured[0] != link.turnaround_ms:
        lines.append(f"turnaround_ms = {measured[0]}")
    if most is not None and most < link.max_registers:
        lines.append(f"max_registers = {most}")
    if suspects := learned.suspects(number):
        whole = merged((first, last + 1) for first, last in (*link.forbidden, *suspects))
        lines.append(f"forbidden = {[[first, end - 1] for first, end in whole]}")
    if refused := set(learned.refused_points(number)):
        asked = [point for query in held.drivers[number].queries() for point in query.points if point not in refused]
        lines.append("points = [" + ", ".join(f'"{point}"' for point in dict.fromkeys(asked)) + "]")
    return lines
