"""Whether what answers is the model that a profile describes: what to ask, and the judgement on the answers. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from drivers import replay
from drivers.driver import Driver
from drivers.modbus import ModbusDriver
from drivers.profile import Identify
from drivers.query import Query
from protocols import modbus
from protocols.errors import ProtocolError

Ask = Callable[[bytes], bytes]
"""Puts a question to the device: its whole answer; ProtocolError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what, what was found, what the profile expects."""

    what: str
    found: str
    expected: str
    holds: bool


def request(driver: Driver) -> bytes | None:
    """The read that tells the model, as this driver's port frames it; None when the profile has none."""
    wanted = driver.profile.identify
    if wanted is None or wanted.read is None or not isinstance(driver, ModbusDriver):
        return None
    asked = modbus.Request(driver.unit, wanted.read.fc, wanted.read.address, wanted.read.count)
    return asked.rtu() if driver.framing == "rtu" else asked.tcp()


def findings(driver: Driver, ask: Ask, queries: Sequence[Query] = ()) -> Iterator[Finding]:
    """What the device says to each mark of identity; a refusal or silence is a finding that does not hold.

    ``queries``: the plan's questions as this device understands them, where they can be worded otherwise.
    """
    wanted = driver.profile.identify
    if wanted is None:
        return
    if (question := request(driver)) is not None and isinstance(driver, ModbusDriver):
        yield _words(driver, question, wanted, ask)
    for query in queries or driver.queries():
        looked = [point for point in query.points if point in wanted.ranges]
        if looked:
            yield from _ranges(driver, query.request, looked, wanted, ask)


def _words(driver: ModbusDriver, question: bytes, wanted: Identify, ask: Ask) -> Finding:
    expected = " ".join(f"{word:04X}" for word in wanted.expect)
    what = f"register {wanted.read.address}" if wanted.read is not None else "registers"
    try:
        payload = driver.payload(question, ask(question))
    except ProtocolError as error:
        return Finding(what, f"{error.code}: {error}", expected, False)
    found = payload.hex(" ", 2).upper()
    return Finding(what, found, expected, found == expected)


def _ranges(driver: Driver, question: bytes, looked: list[str], wanted: Identify, ask: Ask) -> Iterator[Finding]:
    try:
        held = replay.values(driver, question, ask(question))
    except ProtocolError as error:
        for point in looked:
            yield Finding(point, f"{error.code}: {error}", _bounds(wanted, point), False)
        return
    for point in looked:
        value, (low, high) = held.get(point), wanted.ranges[point]
        yield Finding(point, str(value), _bounds(wanted, point), value is not None and low <= value <= high)


def _bounds(wanted: Identify, point: str) -> str:
    low, high = wanted.ranges[point]
    return f"{low} to {high}"
