"""The device under test: a real one behind a port, or a simulated meter of the profile; asked question by question."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import device_simulated

from drivers import replay
from drivers.driver import Driver, Values, driver
from drivers.profile import Profile
from drivers.quantity import quality
from drivers.query import Query
from drivers.site import Device, Port
from edge.wire import Wire, wire
from protocols.errors import ProtocolError
from simulator.profile_meter import over_serial, over_tcp
from simulator.site import alone

T = TypeVar("T")
QUIET_S = 0.3
"""After a failure the line must be quiet this long before the next question."""
LONGEST_S = 3.0
"""How long an answer that has begun may take."""
MOST_FRAMES = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that went out: what came back, or why nothing did, and when the first byte came (ms)."""

    request: bytes
    reply: bytes
    error: str
    first_ms: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is about: a profile, and where its device is; no ``place``: a simulated meter, ``how`` over."""

    profile: Profile
    source: bytes
    address: str
    place: str = ""
    mode: str = ""
    how: str = "tcp"
    readings: dict[str, Decimal] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether no real device is meant."""
        return not self.place

    @property
    def title(self) -> str:
        """What a run is called."""
        return f"{self.profile.id} {self.place or f'simulated over {self.how}'}"


class DeviceAtHand:
    """Opens the port, keeps every exchange; ``ask`` raises ProtocolError as a bus would record it."""

    def __init__(self, wanted: Wanted, folder: Path) -> None:
        self.wanted, self.profile = wanted, wanted.profile
        self.asked: list[Asked] = []
        self.answers: dict[bytes, bytes] = {}
        """The last whole answer to each question, every frame of it."""
        self.results: dict[str, str] = {}
        """Test name -> passed, or what failed."""
        self.notes: list[str] = []
        self.found: dict[str, Decimal | None] = {}
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._last = 0.0
        self.port, readings = self.run(self._place(folder))
        self.readings = wanted.readings or readings
        self.driver: Driver = driver(
            Device(id="D", profile=self.profile.id, port="bus", address=wanted.address),
            self.profile,
            self.port.framing if self.port.tcp else "rtu",
        )
        self._wire: Wire = wire(self.port)
        self.run(self._open())

    @property
    def rest_ms(self) -> float:
        """How long the device rests between questions, in ms; a simulated one needs none."""
        return 0 if self.wanted.simulated else self.profile.link.guard_ms

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something that needs the loop."""

        async def waited() -> T:
            return await work

        return self._runner.run(waited())

    @cached_property
    def _questions(self) -> tuple[Query, ...]:
        return tuple(self._understood(query) for query in self.driver.queries())

    def queries(self) -> tuple[Query, ...]:
        """The questions of the plan, each worded as this device understands it."""
        return self._questions

    def ask(self, request: bytes, guard_ms: float | None = None) -> bytes:
        """The whole answer, every frame of it; ProtocolError. Rests ``guard_ms`` before it, else what the link says."""
        reply = self._ask_once(request, guard_ms)
        for _ in range(MOST_FRAMES):
            following = self.driver.follow_up(request, reply)
            if following is None:
                break
            reply += self._ask_once(following, guard_ms)
        self.answers[request] = reply
        return reply

    def values(self, request: bytes) -> Values:
        """What the answer to a question says."""
        return replay.values(self.driver, request, self.ask(request))

    def remember(self, held: Values) -> dict[str, str]:
        """Keep values for the report; the quality of each."""
        self.found |= dict(held)
        return {point: quality(self.profile.point(point), held) for point in held}

    def apart(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something with the port free for another master, then take it back."""

        async def lent() -> T:
            await self._wire.close()
            try:
                return await work()
            finally:
                await self._open()

        found = self._runner.run(lent())
        self._last = time.monotonic()
        return found

    def _understood(self, query: Query) -> Query:
        """The question in the first wording that is answered; as it is when none is."""
        for wording in query.wordings if query.also else ():
            with contextlib.suppress(ProtocolError):
                self.values(wording)
                self.notes.append(f"understands {wording.hex(' ').upper()}")
                return replace(query, request=wording)
        return query

    def close(self) -> None:
        """Give the port back."""
        self.run(self._wire.close())
        self.run(self._stack.aclose())
        self._runner.close()

    async def _place(self, folder: Path) -> tuple[Port, dict[str, Decimal]]:
        """The port to open; for a simulated meter it is put up, and what it holds is returned."""
        wanted, link = self.wanted, self.profile.link
        mode = wanted.mode or f"{link.baud[0]}-8{link.parity}{link.stopbits}"
        if not wanted.simulated:
            return _port(wanted.place, mode), {}
        if wanted.profile.protocol != "modbus":
            held = device_simulated.meter(self.profile.id, folder)
            place = self._stack.enter_context(alone(held, folder / f"{self.profile.id}.pty"))
            return Port("bus", device=place, mode="9600-8N1"), {}
        unit = int(wanted.address)
        if wanted.how == "tcp":
            meter, place = await self._stack.enter_async_context(over_tcp(self.profile, unit))
            return Port("bus", tcp=place), meter.values
        opened = over_serial(self.profile, unit, folder / f"{self.profile.id}.pty")
        meter, place = await self._stack.enter_async_context(opened)
        return Port("bus", device=place, mode="9600-8N1"), meter.values

    async def _open(self) -> None:
        await self._wire.open()
        await self._wire.configure(self.port.mode)

    def _ask_once(self, request: bytes, guard_ms: float | None) -> bytes:
        rest = (self.rest_ms if guard_ms is None else guard_ms) / 1000
        time.sleep(max(0.0, self._last + rest - time.monotonic()))
        try:
            reply, first_ms = self.run(self._exchange(request))
        except ProtocolError as error:
            self.asked.append(Asked(request, b"", f"{error.code} {error}", -1))
            self.run(self._quiet())
            raise
        finally:
            self._last = time.monotonic()
        self.asked.append(Asked(request, reply, "", first_ms))
        return reply

    async def _exchange(self, request: bytes) -> tuple[bytes, float]:
        recogniser = self.driver.recogniser(request)
        await self._wire.drain()
        await self._wire.write(request)
        sent, first = time.monotonic(), 0.0
        limit = sent + self.profile.link.timeout_ms / 1000 + self._line_s(len(request))
        while (left := limit - time.monotonic()) > 0:
            data = await self._wire.read(left)
            if data and not first:
                first, limit = time.monotonic(), time.monotonic() + LONGEST_S
            if data and (frame := recogniser.feed(data)) is not None:
                return frame, (first - sent) * 1000
        raise recogniser.failure()

    async def _quiet(self) -> None:
        """Throw away what still comes, until the line is quiet; a connection is opened anew."""
        if self.port.tcp:
            await self._wire.close()
            await self._open()
            return
        while await self._wire.read(QUIET_S):
            pass

    def _line_s(self, characters: int) -> float:
        """How long characters take on this line: eleven bits each."""
        return 0.0 if self.port.tcp else characters * 11 / int(self.port.mode.partition("-")[0])


def _port(place: str, mode: str) -> Port:
    """``/dev/ttyUSB0``, ``tcp:host:port`` (Modbus TCP) or ``rtu:host:port`` (serial frames through a converter)."""
    if place.startswith("tcp:"):
        return Port("bus", tcp=place.removeprefix("tcp:"))
    if place.startswith("rtu:"):
        return Port("bus", tcp=place.removeprefix("rtu:"), framing="rtu")
    return Port("bus", device=place, mode=mode)
