"""Ask the one meter on a line for its address, in every way meters are known to understand. It reads, and no more."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from drivers.site import HIGHEST_PORT, Port
from edge.wire import Wire
from protocols import cjt188, dlt645
from protocols.cjt188 import Order
from protocols.errors import ConfigError, ProtocolError, Silent
from protocols.recogniser import Recogniser

Spoken = Literal["cjt188", "dlt645"]
ORDERS: tuple[Order, Order] = ("901F", "1F90")
TYPES = (cjt188.ANY_TYPE, 0x10, 0x20, 0x30)
"""Meters exist that answer only to a type of their own kind."""
QUIET_S = 0.3
"""The line must be quiet this long after a question that nobody answered."""
BABBLE = 50
"""After so many pieces the line is not waited for any longer."""


@dataclass(frozen=True, slots=True)
class Found:
    """A meter that told its address; ``meter_type`` and ``identifier`` as CJ/T 188 has them, else empty."""

    protocol: Spoken
    address: str
    meter_type: str = ""
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One way to ask, and the order of identifier bytes it tries."""

    protocol: Spoken
    request: bytes
    identifier: str = ""

    def recogniser(self) -> Recogniser:
        """What finds the answer."""
        return cjt188.recogniser(self.request) if self.protocol == "cjt188" else dlt645.recogniser(self.request)

    def told(self, reply: bytes) -> Found:
        """What an answer says; ProtocolError when it is a refusal."""
        if self.protocol == "dlt645":
            return Found("dlt645", dlt645.address_of(self.request, reply))
        cjt188.payload(self.request, reply)
        frame = cjt188.decode(reply)
        return Found("cjt188", frame.address, f"{frame.meter_type:02X}", self.identifier)


def questions(protocols: tuple[Spoken, ...]) -> Iterator[Question]:
    """Every question there is, the likeliest first."""
    if "cjt188" in protocols:
        for meter_type in TYPES:
            for order in ORDERS:
                yield Question("cjt188", cjt188.address_request(meter_type, order=order), order)
    if "dlt645" in protocols:
        yield Question("dlt645", dlt645.address_request())


def port(place: str, mode: str) -> Port:
    """A serial port by its path, or ``host:port`` of a transparent serial server; ConfigError otherwise."""
    if re.fullmatch(r"[1-9][0-9]{2,6}-[78][NEO][12]", mode) is None:
        raise ConfigError("--mode", repr(mode), "a mode like 2400-8E1")
    if match := re.fullmatch(r"[^/:\s]+:([0-9]{1,5})", place):
        if not 1 <= int(match[1]) <= HIGHEST_PORT:
            raise ConfigError("PORT", repr(place), "host:port, the port 1 to 65535")
        return Port(name="at-hand", tcp=place, framing="rtu", mode=mode)
    return Port(name="at-hand", device=place, mode=mode)


async def find(wire: Wire, mode: str, protocols: tuple[Spoken, ...], timeout_s: float) -> Found:
    """The first answer to any of the questions; PortGone, or the failure of the question that came nearest to one."""
    await wire.open()
    try:
        await wire.configure(mode)
        failures: list[ProtocolError] = []
        for question in questions(protocols):
            try:
                return question.told(await _ask(wire, question, timeout_s))
            except ProtocolError as error:
                failures.append(error)
        raise next((error for error in failures if not isinstance(error, Silent)), failures[0])
    finally:
        await wire.close()


async def _ask(wire: Wire, question: Question, timeout_s: float) -> bytes:
    """The frame that answers; Silent, Damaged or Mismatched, after the line has become quiet."""
    recogniser = question.recogniser()
    await wire.drain()
    await wire.write(question.request)
    limit = time.monotonic() + timeout_s
    while (left := limit - time.monotonic()) > 0:
        data = await wire.read(left)
        if (frame := recogniser.feed(data)) is not None:
            return frame
    for _ in range(BABBLE):
        if not await wire.read(QUIET_S):
            break
    raise recogniser.failure()
