"""A process that stands still, wherever and for however long: no collector refuses what it then records."""

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud import course
from drivers.slots import slots
from edge import config
from edge.expected import Expected
from edge.listening import Heard
from edge.schedule import Job
from protocols import hj212

LOGGER = """\
[[port]]
name = "stack"
listen = "127.0.0.1:1"
[[device]]
id = "S-1"
profile = "hj212-co2"
port = "stack"
address = "A1"
role = "flue-gas"
points = ["co2_now"]
options = { periods = { "2011" = "1s" } }
stack = { area_m2 = 20 }
"""
FOLDERS = itertools.count()


def lived(made, world, at, length, **options):
    """The blocks of three minutes in which the process stood still, judged as the collector judges them."""

    async def stand_still(world):
        await asyncio.sleep(at)
        asyncio.get_running_loop()._jump.now += length

    world.run(179, stand_still, **options)
    installation, before, blocks = config.load(made.state).installation, None, made.blocks()
    for header, chunks in blocks:
        course.check(before, header)
        course.check_plan(header, chunks, installation)
        before = course.after(before, header, booked=True)
    return blocks


@pytest.mark.parametrize("at", [45.0, 45.005, 45.012, 45.995])
def test_what_was_due_while_the_process_stood_still_counts_in_its_own_block(box, kit, at):
    """A slot counts where it is concluded; more than one of a question is never carried into the next block. At 45.005
    an answer is on its way, and its question is due again before the block ends.
    """
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    for header, (chunk, *_) in lived(made, kit.world(made, {"net": kit.registers()}), at, 30):
        assert abs(chunk.counters.due - len(slots(1000, *header.utc))) <= 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    meters=st.integers(1, 3),
    delay=st.sampled_from([20, 60, 300, 700]),
    period=st.sampled_from([2, 5]),
    at=st.one_of(st.floats(10, 61), st.floats(59, 60.2)),
    length=st.one_of(st.floats(0.01, 3), st.floats(3, 59), st.floats(59, 100)),
)
@example(meters=3, delay=300, period=2, at=45.031, length=56.157).via("an answer on its way, and two meters behind it")
@example(meters=3, delay=300, period=2, at=16.629, length=61.522).via("a whole block passed over")
@example(meters=1, delay=700, period=5, at=60.019, length=73.473).via("from one turn beyond the next")
@example(meters=1, delay=700, period=2, at=38.07, length=53.646).via("a meter that takes long")
def test_no_stall_makes_a_block_that_is_refused(box, kit, meters, delay, period, at, length):
    devices = [kit.sdm(number + 1, "bus", f"{period}s") for number in range(meters)]
    made = box(kit.serial_port(), *devices, folder=f"stall-{next(FOLDERS)}")
    lived(made, kit.world(made, {"bus": kit.rtu(delay=delay)}), round(at, 3), round(length, 3))


@dataclass
class Packets:
    """A logger in virtual time that sends a packet a second and waits for nobody."""

    sent: int = 0
    rung: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self):
        self.since = asyncio.get_running_loop().time()

    async def hear(self, seconds):
        await asyncio.sleep(max(0.0, min(seconds, self.since + self.sent - asyncio.get_running_loop().time())))
        now = asyncio.get_running_loop().time()
        come, self.sent = range(self.sent, int(now - self.since) + 1), int(now - self.since) + 1
        return [Heard(1, self.packet(number), self.clock.mono_ms()) for number in come]

    def packet(self, number):
        when = f"202606010000{number // 60:02d}"
        gas = ";".join(f"{code}-Rtd=1{number % 10},{code}-Flag=N" for code in ("a05001", "a01011", "a01012", "a01013"))
        text = f"QN={when}{number:05d};ST=31;CN=2011;PW=1;MN=A1;Flag=4;CP=&&DataTime={when};{gas}&&"
        return hj212.frame(text)

    async def say(self, line, data):
        pass

    async def close(self):
        pass

    def ring(self):
        pass


@pytest.mark.parametrize("at", [45.0, 45.005, 45.995])
def test_packets_that_waited_while_the_process_stood_still_carry_one_slot_over(box, kit, at):
    made = box(LOGGER)

    def listen(port, wire, clock):
        packets.clock = clock
        return packets

    packets = Packets()
    (header, (chunk,)), *_ = lived(made, kit.world(made, {}), at, 30, listen=listen)
    assert chunk.counters.silent >= 12 and chunk.counters.due >= len(slots(1000, *header.utc)) - 1


def test_a_question_of_which_a_slot_goes_over_already_leaves_none_open():
    expected = Expected({1: [1000], 2: [1000]})
    expected.restart(2000)
    expected.give_up(3000, {(1, 0)})
    assert expected.late(2999) == [Job(1, 0, 2000)]
    assert expected.unconcluded(3000) == [Job(2, 0, 2000)]
