"""What was learned about the meters, on disk: one JSON file, put in place whole.

Not in the outbox: it is no evidence, it changes seldom, and a technician may read it, or throw it away. A file that
cannot be read counts as empty: the meters teach it all again.
"""

import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from drivers import pieces
from drivers.driver import Driver
from drivers.site import Site
from edge.learned import HOUR_MS, KEPT, Learned, Memory, Question, Request
from protocols.errors import ProtocolError


class QuestionEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question of the plan; requests are in hex."""

    wording: str | None
    cuts: dict[str, tuple[str, ...]]
    since: int
    spoils: bool


class MeterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One meter: profile, port, address and serial number; each request as in ``Request``, field by field."""

    meter: tuple[str, ...]
    latencies: list[int]
    questions: dict[str, QuestionEntry]
    requests: dict[str, tuple[int | None, int, int, int, int | None, int]]


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: meters by their id in the site file."""

    schema: Literal[1]
    devices: dict[str, MeterEntry]


class Notebook:
    """The file of one box. A meter is known again by its id, profile, port, address and serial number."""

    def __init__(self, path: Path, site: Site, drivers: Mapping[int, Driver]) -> None:
        self._path, self._site, self._drivers = path, site, drivers
        self._changes = 0
        self._at: int | None = None

    def read(self) -> dict[int, Memory]:
        """What is known, by device number, as far as it fits the meters and plans of this configuration."""
        try:
            held = msgspec.json.decode(self._path.read_bytes(), type=Written).devices
            return {number: self._memory(number, held) for number in self._drivers}
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
            return {}

    async def keep(
        self,
        learned: Learned,
        now: int,
        call: Callable[[Callable[[], None]], Awaitable[None]],
        *,
        whole: bool = False,
    ) -> None:
        """Put it down by way of ``call`` when something was learned since, else once an hour, and when it must be
        ``whole`` at a stop; OSError.
        """
        if self._at is None:
            self._at = now
        if not whole and learned.changes == self._changes and 0 <= now - self._at < HOUR_MS:
            return
        self._changes, self._at = learned.changes, now
        await call(partial(self._place, self._text(learned.memories)))

    def write(self, memories: Mapping[int, Memory]) -> None:
        """Put it down now; OSError when the disk will not."""
        self._place(self._text(memories))

    def _text(self, memories: Mapping[int, Memory]) -> bytes:
        devices = {
            self._site.device[number].id: _entry(self._meter(number), memory) for number, memory in memories.items()
        }
        return msgspec.json.format(msgspec.json.encode(Written(1, devices)), indent=1)

    def _place(self, text: bytes) -> None:
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)

    def _meter(self, number: int) -> tuple[str, ...]:
        device = self._site.device[number]
        return (device.profile, device.port, device.address, device.serial)

    def _memory(self, number: int, known: Mapping[str, MeterEntry]) -> Memory:
        entry = known.get(self._site.device[number].id)
        if entry is None or entry.meter != self._meter(number):
            return Memory()
        driver = self._drivers[number]
        planned = {query.request: query.wordings for query in driver.queries()}
        questions = {
            request: question
            for request, question in ((bytes.fromhex(key), _question(each)) for key, each in entry.questions.items())
            if request in planned
            and question.wording in (None, *planned[request])
            and all(_fits(driver, whole, parts) for whole, parts in question.cuts.items())
        }
        requests = {bytes.fromhex(key): Request(*each) for key, each in entry.requests.items()}
        return Memory(questions, requests, deque(entry.latencies, maxlen=KEPT))


def _entry(meter: tuple[str, ...], memory: Memory) -> MeterEntry:
    return MeterEntry(
        meter,
        list(memory.latencies),
        {request.hex(): _told(question) for request, question in memory.questions.items()},
        {
            request.hex(): (held.answered, held.refusals, held.reason, held.first, held.off, held.spoilt)
            for request, held in memory.requests.items()
        },
    )


def _told(question: Question) -> QuestionEntry:
    wording = question.wording.hex() if question.wording is not None else None
    cuts = {whole.hex(): tuple(piece.hex() for piece in parts) for whole, parts in question.cuts.items()}
    return QuestionEntry(wording, cuts, question.since, question.spoils)


def _question(entry: QuestionEntry) -> Question:
    wording = bytes.fromhex(entry.wording) if entry.wording is not None else None
    cuts = {bytes.fromhex(key): tuple(map(bytes.fromhex, parts)) for key, parts in entry.cuts.items()}
    return Question(wording, 0, cuts, entry.since, entry.spoils)


def _fits(driver: Driver, whole: bytes, parts: tuple[bytes, ...]) -> bool:
    """Whether this is how we cut that request."""
    try:
        cut = pieces.cut(driver, whole)
        return (cut is not None and parts == cut.pieces) or (len(parts) > 1 and parts == pieces.plain(driver, whole))
    except ProtocolError:
        return False
