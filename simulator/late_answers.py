"""The trial of late answers: meters that say which question they answer, and a master that must never mix them up.

A question's number is in its answer. A master that takes the answer to one question for another's hands out a wrong
value: with Modbus RTU nothing in the frame tells it, with DL/T 645 nothing tells two questions for one item apart.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from drivers.site import Port
from edge.bus import Bus, Talk
from protocols import dlt645, modbus
from protocols.recogniser import Recogniser
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Delay, Station
from simulator.time import SimClock, VirtualLoop

MODE = "9600-8N1"
LIMIT_MS = 500
"""The master's time limit."""
GUARD_MS = 20
LATENCY_MS = 4
"""The adapter hands over what came only so often."""
REGISTERS = (100, 200, 300)
ITEMS = ("00010000", "00020000", "00030000")
MODULUS = 10**8
"""A DL/T 645 energy has eight digits."""

Protocol = Literal["modbus", "dlt645"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Meters, what is asked of them, and how late they are."""

    name: str
    protocol: Protocol
    meters: int
    questions: int
    """Different questions a meter is asked, one after the other."""
    delay: Delay


@dataclass(slots=True)
class Outcome:
    """What a master made of it; ``bus_s``: virtual seconds."""

    asked: int = 0
    answered: int = 0
    wrong: int = 0
    bus_s: float = 0.0
    wrong_at: list[int] = field(default_factory=list)

    def count(self, question: int, value: int | None) -> None:
        """A question came back with a value, or without."""
        self.asked += 1
        if value is None:
            return
        self.answered += 1
        if value != question:
            self.wrong += 1
            self.wrong_at.append(question)


class Questions:
    """The pair with its meters, and the number of the question that is out."""

    def __init__(self, pair: Pair, scenario: Scenario) -> None:
        self.pair, self.scenario, self.now = pair, scenario, 0
        make = self._modbus if scenario.protocol == "modbus" else self._dlt645
        for unit in range(1, scenario.meters + 1):
            Station(pair, _Echoing(make(unit)), MODE, scenario.delay)

    def place(self, question: int) -> tuple[int, int]:
        """Which meter is asked, and which of its questions: all of one meter, then those of the next."""
        meter, place = divmod(question, self.scenario.questions)
        return meter % self.scenario.meters + 1, place

    def _modbus(self, unit: int) -> Callable[[bytes], list[bytes]]:
        def answer(data: bytes) -> list[bytes]:
            if len(data) != 8 or data[0] != unit or modbus.crc(data):
                return []
            return [modbus.frame_rtu(unit, b"\x03\x04" + self.now.to_bytes(4))]

        return answer

    def _dlt645(self, unit: int) -> Callable[[bytes], list[bytes]]:
        def answer(data: bytes) -> list[bytes]:
            try:
                address, identifier = dlt645.parse_request(data)
            except Exception:  # noqa: BLE001 - whatever it hears that is no request to it, it is silent
                return []
            value = bytes.fromhex(f"{self.now % MODULUS:08d}")[::-1]
            frame = dlt645.Frame(address, 0x91, bytes.fromhex(identifier)[::-1] + value)
            return [frame.to_bytes()] if int(address) == unit else []

        return answer


class _Echoing:
    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self._answer = answer

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """What it says to a question."""
        return self._answer(data)


Master = Callable[[Questions, SerialPort, int], Coroutine[Any, Any, Outcome]]
"""Asks so many questions over a port."""


def run(scenario: Scenario, count: int, master: Master, seed: int = 1, shared: bool = False) -> Outcome:
    """Let a master ask ``count`` questions in virtual time."""
    loop = VirtualLoop()

    async def main() -> Outcome:
        clock = SimClock(loop, 0)
        pair = Pair(clock, Random(seed))
        outcome = await master(
            Questions(pair, scenario), SerialPort(pair, "bus", latency_ms=LATENCY_MS, shared=shared), count
        )
        outcome.bus_s = clock.mono_ms() / 1000
        return outcome

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


async def ours(questions: Questions, port: SerialPort, count: int) -> Outcome:
    """The edge's bus as master."""
    bus = Bus(port, Port(name="bus", device="/dev/bus", mode=MODE), questions.pair.clock)
    outcome = Outcome()
    for question in range(count):
        questions.now = question
        exchange = await bus.run(_talk(questions, question))
        outcome.count(question, None if exchange.fault else _value(questions, exchange.reply))
    return outcome


def _talk(questions: Questions, question: int) -> Talk:
    unit, place = questions.place(question)
    if questions.scenario.protocol == "modbus":
        request = modbus.Request(unit, 3, REGISTERS[place], 2).rtu()
        recogniser: Callable[[bytes], Recogniser] = modbus.RtuRecogniser
    else:
        request, recogniser = dlt645.read_request(f"{unit:012d}", ITEMS[place]), dlt645.recogniser
    return Talk(unit, place, request, recogniser, LIMIT_MS, GUARD_MS, LIMIT_MS)


def _value(questions: Questions, reply: bytes) -> int:
    if questions.scenario.protocol == "modbus":
        return int.from_bytes(reply[3:7])
    return int(dlt645.decode(reply).data[:3:-1].hex())
