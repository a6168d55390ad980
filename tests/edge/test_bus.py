"""The bus: late answers, echoes, noise, babble, ports that come and go; in virtual time."""

import asyncio
import itertools

import pytest

from drivers.site import Port
from edge.bus import Bus, Talk
from protocols import modbus
from protocols.errors import PortGone
from protocols.record.chunk import DAMAGED, OVERRUN, PORT_GONE, SILENT
from simulator.time import SimClock, VirtualLoop

SERIAL = Port(name="bus", device="/dev/x", mode="9600-8N1")
TCP = Port(name="net", tcp="host:1")


class Wire:
    """Answers each write with the next list of (delay ms, bytes)."""

    def __init__(self, clock, script):
        self.clock, self.script, self.coming, self.log = clock, list(script), [], []
        self.is_open, self.plugged = False, True

    async def open(self):
        self.log.append(("open", self.clock.mono_ms()))
        if not self.plugged:
            raise PortGone("unplugged")
        self.is_open = True

    async def configure(self, mode):
        self.log.append(("mode", mode))

    async def write(self, data):
        self._check()
        self.log.append(("write", self.clock.mono_ms()))
        replies = self.script.pop(0) if self.script else []
        self.coming += [(self.clock.mono_ms() + delay, reply) for delay, reply in replies]
        self.coming.sort(key=lambda entry: entry[0])

    async def read(self, max_wait_s):
        self._check()
        if self.coming and self.coming[0][0] <= self.clock.mono_ms() + max_wait_s * 1000:
            at, data = self.coming.pop(0)
            await asyncio.sleep(max(0, at - self.clock.mono_ms()) / 1000)
            return data
        await asyncio.sleep(max_wait_s)
        return b""

    async def drain(self):
        self._check()
        self.coming = [entry for entry in self.coming if entry[0] > self.clock.mono_ms()]

    async def close(self):
        self.is_open, self.coming = False, []
        self.log.append(("close", self.clock.mono_ms()))

    def _check(self):
        if not self.is_open or not self.plugged:
            raise PortGone("unplugged")


def request(unit, address=0):
    return modbus.Request(unit, 3, address, 1).rtu()


def reply(unit, value):
    return modbus.frame_rtu(unit, b"\x03\x02" + value.to_bytes(2))


def talk(unit, address=0, **changed):
    known = {"timeout_ms": 500, "guard_ms": 20, "late_ms": 500}
    return Talk(unit, 0, request(unit, address), modbus.RtuRecogniser, **{**known, **changed})


def run(script, work, port=SERIAL):
    """Do ``work(bus, wire, clock)`` in virtual time."""
    loop = VirtualLoop()
    clock = SimClock(loop, 0)

    async def main():
        await asyncio.sleep(1)
        wire = Wire(clock, script)
        return await work(Bus(wire, port, clock), wire, clock)

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_an_answer_is_dated_at_its_first_byte():
    whole = reply(1, 7)

    async def work(bus, wire, clock):
        return await bus.run(talk(1))

    exchange = run([[(80, whole[:2]), (84, whole[2:])]], work)
    assert (exchange.fault, exchange.reply, exchange.at_ms) == (0, whole, 1080)


def test_an_echo_before_the_answer_does_not_date_it():
    async def work(bus, wire, clock):
        return await bus.run(talk(1))

    exchange = run([[(1, request(1)), (90, reply(1, 7))]], work)
    assert (exchange.fault, exchange.at_ms) == (0, 1090)


@pytest.mark.parametrize(
    ("come", "fault"),
    [
        ([], SILENT),
        ([(5, request(1))], SILENT),
        ([(80, b"\x00\x01noise")], DAMAGED),
        ([(80, reply(1, 7)[:-1])], DAMAGED),
        ([(80, reply(2, 7))], DAMAGED),
        ([(80, modbus.frame_rtu(1, b"\x04\x02\x00\x07"))], DAMAGED),
        ([(80, reply(1, 7)[:-1] + b"\x00")], DAMAGED),
        ([(80, b"\xff\x00"), (90, reply(1, 7))], 0),
    ],
)
def test_what_comes_is_an_answer_or_a_fault(come, fault):
    async def work(bus, wire, clock):
        return await bus.run(talk(1))

    exchange = run([come], work)
    assert exchange.fault == fault and bool(exchange.reply) == (fault == 0)


@pytest.mark.parametrize("late", [510, 700, 990])
def test_a_late_answer_is_never_credited_to_the_next_question_of_the_same_meter(late):
    async def work(bus, wire, clock):
        return [await bus.run(talk(1, 100)), await bus.run(talk(1, 200))]

    first, second = run([[(late, reply(1, 100))], [(50, reply(1, 200))]], work)
    assert first.fault == SILENT
    assert (second.fault, second.reply) == (0, reply(1, 200))


def test_a_late_answer_is_not_taken_for_another_meters():
    async def work(bus, wire, clock):
        return [await bus.run(talk(1)), await bus.run(talk(2))]

    first, second = run([[(590, reply(1, 1))], [(50, reply(2, 2))]], work)
    assert first.fault == SILENT and second.reply == reply(2, 2)


def test_another_meter_waits_only_until_the_line_is_quiet():
    async def work(bus, wire, clock):
        await bus.run(talk(1))
        await bus.run(talk(2))
        return [at for what, at in wire.log if what == "write"]

    first, second = run([[], [(50, reply(2, 2))]], work)
    assert 550 <= second - first <= 600


def test_a_line_that_babbles_is_not_asked_into():
    async def work(bus, wire, clock):
        await bus.run(talk(1))
        wire.coming = [(clock.mono_ms() + 20 * n, b"\x55") for n in range(500)]
        return await bus.run(talk(2)), clock.mono_ms()

    exchange, at = run([[]], work)
    assert exchange.fault == OVERRUN and at < 6000


def test_the_guard_time_of_the_next_meter_is_kept():
    async def work(bus, wire, clock):
        await bus.run(talk(1))
        await bus.run(talk(2, guard_ms=100))
        return [at for what, at in wire.log if what == "write"]

    first, second = run([[(50, reply(1, 1))], [(50, reply(2, 2))]], work)
    assert second - first == 50 + 100


def test_a_tcp_connection_is_closed_after_a_silence_and_what_was_on_its_way_is_gone():
    async def work(bus, wire, clock):
        await bus.run(talk(1, late_ms=0))
        second = await bus.run(talk(1, 9, late_ms=0))
        return second, [what for what, _ in wire.log]

    second, log = run([[(600, reply(1, 1))], []], work, TCP)
    assert second.fault == SILENT
    assert log == ["open", "mode", "write", "close", "open", "mode", "write", "close"]


def test_a_port_that_is_not_there_is_tried_again_with_growing_waits():
    async def work(bus, wire, clock):
        wire.plugged = False
        faults = []
        for _ in range(300):
            faults.append((await bus.run(talk(1))).fault)
            await asyncio.sleep(0.2)
        tries = [at for what, at in wire.log if what == "open"]
        wire.plugged, wire.script = True, [[(50, reply(1, 1))]] * 2
        await asyncio.sleep(10)
        return faults, tries, await bus.run(talk(1)), bus.gone

    faults, tries, back, gone = run([], work)
    assert set(faults) == {PORT_GONE}
    waits = [round((b - a) / 1000) for a, b in itertools.pairwise(tries)]
    assert waits[:5] == [1, 2, 4, 8, 10] and max(waits) <= 10
    assert (back.fault, gone) == (0, "")


def test_a_port_that_was_closed_meanwhile_is_opened_again_and_the_question_is_asked():
    async def work(bus, wire, clock):
        await bus.run(talk(1))
        wire.is_open = False
        return await bus.run(talk(1))

    assert run([[(50, reply(1, 1))], [(50, reply(1, 2))]], work, TCP).reply == reply(1, 2)


def test_a_slow_line_has_time_for_a_long_reply():
    slow = Port(name="bus", device="/dev/x", mode="1200-8N1")
    asked = modbus.Request(1, 3, 0, 100).rtu()
    whole = modbus.frame_rtu(1, b"\x03\xc8" + bytes(200))
    pieces = [(400 + 80 * n, whole[9 * n : 9 * n + 9]) for n in range(23)]

    async def work(bus, wire, clock):
        return await bus.run(Talk(1, 0, asked, modbus.RtuRecogniser, 500, 20, 500))

    assert run([pieces], work, slow).reply == whole


def more(request, reply):
    """Two frames more, each to a question of its own."""
    return {1: modbus.Request(1, 3, 1, 1).rtu(), 2: modbus.Request(1, 3, 2, 1).rtu()}.get(len(reply) // 7)


def test_an_answer_of_several_frames_is_asked_for_until_it_is_whole():
    async def work(bus, wire, clock):
        return await bus.run(talk(1, follow_up=more)), [at for what, at in wire.log if what == "write"]

    exchange, asked = run([[(50, reply(1, n))] for n in (7, 8, 9)], work)
    assert (exchange.fault, exchange.at_ms) == (0, 1050)
    assert exchange.reply == reply(1, 7) + reply(1, 8) + reply(1, 9) and exchange.request == request(1)
    assert [after - before for before, after in itertools.pairwise(asked)] == [70, 70]


def test_an_answer_that_breaks_off_in_the_middle_is_none():
    async def work(bus, wire, clock):
        return await bus.run(talk(1, follow_up=more))

    exchange = run([[(50, reply(1, 7))], []], work)
    assert (exchange.fault, exchange.reply) == (SILENT, b"")


def test_a_meter_that_always_has_more_is_not_believed():
    async def work(bus, wire, clock):
        return await bus.run(talk(1, follow_up=lambda request, reply: request))

    assert run([[(50, reply(1, 7))]] * 100, work).fault == DAMAGED


def test_the_line_is_set_for_each_question_and_only_when_that_changes():
    async def work(bus, wire, clock):
        for mode in ("", "2400-8E1", "2400-8E1", ""):
            await bus.run(talk(1, mode=mode))
        return [mode for what, mode in wire.log if what == "mode"]

    assert run([[(50, reply(1, 7))]] * 4, work) == ["9600-8N1", "2400-8E1", "9600-8N1"]


def test_a_late_answer_that_has_come_lets_the_meter_be_asked_again_at_once():
    async def work(bus, wire, clock):
        await bus.run(talk(1, 100))
        await bus.run(talk(2))
        owed = bus.owed_until(1)
        await bus.run(talk(1, 200))
        return owed, [sign.kind for sign in bus.signs()], [at for what, at in wire.log if what == "write"]

    owed, signs, asked = run([[(540, reply(1, 100))], [(50, reply(2, 1))], [(50, reply(1, 200))]], work)
    assert (owed, signs) == (0, ["late"]) and asked[2] - asked[1] < 100


def test_a_second_answer_is_a_sign_and_no_value():
    async def work(bus, wire, clock):
        exchanges = [await bus.run(talk(1, 100)), await bus.run(talk(2))]
        return [(one.fault, one.reply) for one in exchanges], [(sign.kind, sign.device) for sign in bus.signs()]

    told, signs = run([[(50, reply(1, 7)), (65, reply(1, 8))], [(50, reply(2, 9))]], work)
    assert told == [(0, reply(1, 7)), (0, reply(2, 9))] and signs == [("second-answer", 1)]


def test_a_first_answer_is_listened_beyond_and_spoiled_by_another():
    async def work(bus, wire, clock):
        return await bus.run(talk(1, beyond_ms=150))

    assert run([[(50, reply(1, 7)), (150, reply(1, 8))]], work).fault == DAMAGED
    assert run([[(50, reply(1, 7))]], work).reply == reply(1, 7)


def test_another_masters_request_in_the_way_spoils_the_answer():
    other = modbus.Request(1, 3, 500, 1).rtu()

    async def work(bus, wire, clock):
        return await bus.run(talk(1, 100)), [sign.kind for sign in bus.signs()]

    exchange, signs = run([[(20, other), (60, reply(1, 500))]], work)
    assert exchange.fault == DAMAGED and signs == ["foreign-request"]


def test_a_silent_connection_that_has_answered_is_made_anew_within_the_question():
    async def work(bus, wire, clock):
        first = await bus.run(talk(1, late_ms=0, again=True))
        second = await bus.run(talk(1, 9, late_ms=0, again=True))
        return first.fault, second.reply, [sign.kind for sign in bus.signs()]

    script = [[(50, reply(1, 1))], [], [(50, reply(1, 2))]]
    assert run(script, work, TCP) == (0, reply(1, 2), ["reopened"])


def test_nobody_is_asked_into_a_frame_that_somebody_else_has_begun():
    other = modbus.Request(9, 3, 0, 1).rtu()

    async def work(bus, wire, clock):
        await bus.run(talk(1))
        await asyncio.sleep(0.1)
        now = clock.mono_ms()
        wire.coming = [(now - 1, other[:3]), (now + 3, other[3:])]
        wire.log.clear()
        await bus.run(talk(1))
        (asked,) = [at for what, at in wire.log if what == "write"]
        return asked - now, [sign.kind for sign in bus.signs()]

    waited, signs = run([[(50, reply(1, 7))], [(50, reply(1, 8))]], work)
    assert waited >= 500 and signs == ["foreign-request"]


def test_a_port_that_never_stops_handing_over_is_given_up():
    async def work(bus, wire, clock):
        await bus.run(talk(1))

        async def read(max_wait_s):
            await asyncio.sleep(0.001)
            return b"\x55"

        wire.read = read
        return await asyncio.wait_for(bus.run(talk(1)), 30)

    assert run([[(50, reply(1, 7))]], work).fault == OVERRUN
