"""What goes wrong on a bus, in virtual time: named with its code, nothing wrong on record, well again by itself."""

import asyncio
import hashlib
import struct
from random import Random

import pytest

from drivers.replay import replay_chunk
from edge import config
from protocols import modbus
from protocols.errors import ProtocolError
from protocols.record.block import EventKind
from simulator.network import Endpoint, TcpEnd
from simulator.ports import SerialPort
from simulator.rs485 import Noise, Pair
from simulator.stations import Mood, OtherMaster, Station, mostly, spread, steady

MODE = "9600-8N1"


class Unit:
    """A Modbus meter whose every register pair is its own number x 1000 + the register, as a float."""

    def __init__(self, unit, own=0, tcp=False):
        self.unit, self.own, self.tcp = unit, own, tcp

    def hear(self, data, utc_ms):
        try:
            asked = modbus.parse_tcp(data) if self.tcp else modbus.parse_rtu(data)
        except ProtocolError:
            return []
        if asked.unit != self.unit:
            return []
        words = b"".join(value(self.own, asked.address + n) for n in range(0, asked.count, 2))
        pdu = bytes([asked.function, 2 * asked.count]) + words[: 2 * asked.count]
        if self.tcp:
            return [modbus.frame_tcp(asked.transaction, self.unit, pdu)]
        return [modbus.frame_rtu(self.unit, pdu)]


def value(own, register):
    return struct.pack(">f", own * 1000 + register)


def on_pair(world, hang, noise=None, echo=False):
    """Let ``hang(pair)`` put meters on the pair of the world's serial port."""

    def wire(port, clock):
        pair = Pair(clock, Random(1), noise)
        world.stations = hang(pair)
        world.port = SerialPort(pair, port.name, echo=echo, shared=True)
        return world.port

    world.wires = wire


def readings(made, point="energy_import"):
    installation = config.load(made.state).installation
    return [
        (reading.device, float(reading.value))
        for header, chunks in made.blocks()
        for chunk in chunks
        for reading in replay_chunk(installation, header, chunk)
        if reading.point == point
    ]


def bus_events(made):
    return [event.detail for header, _ in made.blocks() for event in header.events if event.kind == EventKind.BUS_FAULT]


def answered(made, device=0):
    counters = [chunk.counters for _, chunks in made.blocks() for chunk in chunks if chunk.device == device]
    return sum(counted.answered for counted in counters), sum(counted.due for counted in counters)


def test_a_second_master_is_named_and_its_answers_are_never_ours(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus", "1s"), kit.sdm(2, "bus", "1s"))
    world = kit.world(made, {})
    other = [modbus.Request(1, 4, 0x156, 2).rtu(), modbus.Request(2, 4, 0x4A, 2).rtu()]

    def hang(pair):
        for unit in (1, 2):
            Station(pair, Unit(unit), MODE, spread(20, 60))
        return OtherMaster(pair, MODE, other, 730, since_ms=60_000)

    on_pair(world, hang)
    told = {}

    async def disconnect(world):
        await asyncio.sleep(600)
        told.update(await world.agents[0].status())
        world.stations.silent = True

    world.run(1800, disconnect)
    assert {held for _, held in readings(made)} == {0x48}
    begun, over = bus_events(made)
    assert begun.startswith("BUS-114 bus: ") and over.startswith("BUS-114 bus: over")
    ((trouble,),) = [port["troubles"] for port in told["ports"]]
    assert (trouble["code"], trouble["sure"]) == ("BUS-114", True)
    got, due = answered(made)
    assert got > 0.75 * due


def test_an_echoing_adapter_is_no_second_master(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus", "1s"))
    world = kit.world(made, {})
    on_pair(world, lambda pair: Station(pair, Unit(1), MODE, spread(20, 60)), echo=True)
    world.run(299.5)
    assert bus_events(made) == [] and answered(made) == (300, 300)


def test_two_meters_of_one_address_are_named_and_neither_is_booked(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus", "10s"), kit.sdm(2, "bus", "10s"))
    world = kit.world(made, {})

    def hang(pair):
        moods = [Mood() for _ in range(3)]
        for unit, own, delay, mood in zip((1, 2, 1), (0, 0, 7), (30, 30, 90), moods, strict=True):
            Station(pair, Unit(unit, own), MODE, steady(delay), mood)
        return moods

    on_pair(world, hang)

    async def take_away(world):
        await asyncio.sleep(900)
        world.before = len(readings_of(world, 0))
        world.stations[2].dead = True

    def readings_of(world, device):
        return world.agents[0]._ledger.devices[device].values

    world.run(3000, take_away)
    assert world.before == 0
    assert {held for device, held in readings(made) if device == 0} == {0x48}
    begun, over = bus_events(made)
    assert begun == "BUS-115 bus: M-1: two answers to one question" and over.startswith("BUS-115 bus: over")
    assert answered(made, 1)[0] >= 299
    assert answered(made, 0)[0] > 150


def test_answers_broken_from_one_address_alone_are_named_as_likely(box, kit):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "5s") for n in (1, 2, 3)))
    world = kit.world(made, {})

    def hang(pair):
        for unit, own in ((1, 0), (2, 0), (3, 0), (1, 7)):
            Station(pair, Unit(unit, own), MODE, spread(30, 34))

    on_pair(world, hang)
    told = {}

    async def ask(world):
        await asyncio.sleep(3500)
        told.update(await world.agents[0].status())

    world.run(3600, ask)
    assert bus_events(made)[0].startswith("BUS-115 bus: M-1: ")
    ((trouble,),) = [port["troubles"] for port in told["ports"]]
    assert (trouble["code"], trouble["sure"]) == ("BUS-115", False)
    assert not [held for device, held in readings(made) if device == 0]
    assert answered(made, 1)[0] >= 0.99 * 720


def test_a_noisy_line_names_nobody_and_loses_little(box, kit):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "10s") for n in (1, 2, 3)))
    world = kit.world(made, {})

    def hang(pair):
        for unit in (1, 2, 3):
            Station(pair, Unit(unit), MODE, spread(20, 60))

    on_pair(world, hang, Noise(flipped=0.002, strays=0.2))
    world.run(3600)
    assert bus_events(made) == []
    assert {held for _, held in readings(made)} == {0x48}
    for device in range(3):
        got, due = answered(made, device)
        assert got >= 0.99 * due


def test_meters_with_every_bad_habit_never_give_each_others_values(box, kit, deep):
    """Noise, lost and half answers, answers around the time limit, meters that start anew, a dead one that returns."""
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "5s") for n in range(1, 7)))
    world = kit.world(made, {})

    def hang(pair):
        late = mostly(spread(20, 60), spread(700, 1500), 0.1)
        moods = [
            Mood(lost=0.1),
            Mood(cut=0.1),
            Mood(),
            Mood(restless_ms=1500, reboot_ms=3000),
            Mood(dead=True),
            Mood(),
        ]
        for unit, mood in enumerate(moods, 1):
            Station(pair, Unit(unit, own=unit), MODE, late, mood)
        return moods

    on_pair(world, hang, Noise(flipped=0.001, strays=0.5))

    async def come_back(world):
        await asyncio.sleep(seconds / 2)
        world.stations[4].dead = False

    seconds = deep(3600, 1200)
    world.run(seconds, come_back)
    held = readings(made)
    assert {device: {value for other, value in held if other == device} for device in range(6)} == {
        device: {(device + 1) * 1000 + 0x48} for device in range(6)
    }
    for device in (0, 1, 2, 3, 5):
        got, due = answered(made, device)
        assert got >= 0.65 * due, device
    assert not [event for event in bus_events(made) if "BUS-115" in event]


def test_an_unplugged_adapter_is_named_and_taken_again(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus", "10s"))
    world = kit.world(made, {})
    on_pair(world, lambda pair: Station(pair, Unit(1), MODE, steady(30)))

    async def unplug(world):
        await asyncio.sleep(100)
        world.port.plugged = False
        await asyncio.sleep(100)
        world.port.plugged = True

    world.run(595, unplug)
    gone, back = bus_events(made)
    assert gone.startswith("BUS-106 bus: bus: device disconnected") and back.startswith("BUS-106 bus: over")
    got, due = answered(made)
    assert due == 60 and 48 <= got <= 51


def net(world, *meters):
    def wire(port, clock):
        world.endpoint = Endpoint(port.name, clock, Random(1), lambda: meters, steady(20))
        return TcpEnd(world.endpoint)

    world.wires = wire


def test_a_connection_that_was_forgotten_costs_no_reading_and_is_named_when_it_happens_again(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {})
    net(world, Unit(1, tcp=True))

    async def forget(world):
        for _ in range(3):
            await asyncio.sleep(100)
            world.endpoint.half_open()

    world.run(595, forget)
    assert answered(made) == (60, 60)
    assert [event[:12] for event in bus_events(made)] == ["BUS-112 net:"]


def test_an_endpoint_that_hangs_up_has_another_client(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {})
    net(world, Unit(1, tcp=True))

    async def take(world):
        await asyncio.sleep(100)
        world.endpoint.taken = True
        world.endpoint.hang_up()
        await asyncio.sleep(100)
        world.endpoint.taken = False

    world.run(595, take)
    events = bus_events(made)
    assert [event[:12] for event in events if event.startswith("BUS-113")] == ["BUS-113 net:"] * 2
    assert "over" in events[-1]
    got, due = answered(made)
    assert due == 60 and got >= 48


@pytest.mark.parametrize("framing", ["modbus-tcp", "rtu"])
def test_a_port_with_the_wrong_framing_is_named(box, kit, framing):
    """A serial server that passes bytes on answers in RTU; a Modbus TCP server refuses what it takes for a function."""
    reply = modbus.frame_rtu(1, b"\4\4" + value(1, 0x48))

    def answer(request):
        return [(20, reply if framing == "modbus-tcp" else request[:2] + bytes.fromhex("00 00 00 03 71 80 01"))]

    made = box(kit.modbus_port() + f'framing = "{framing}"\n', kit.sdm(1))
    world = kit.world(made, {"net": answer})
    world.run(120)
    (begun,) = bus_events(made)
    other = "rtu" if framing == "modbus-tcp" else "modbus-tcp"
    assert begun.startswith("BUS-116 net: ") and f'framing = "{other}"' in begun
    assert readings(made) == []


def test_a_silent_tcp_meter_is_no_half_open_connection(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1), kit.sdm(2))
    world = kit.world(made, {})
    net(world, Unit(1, tcp=True), Unit(2, tcp=True))

    async def silence(world):
        await asyncio.sleep(100)
        world.endpoint.silent = {1}

    world.run(595, silence)
    assert bus_events(made) == [] and answered(made, 0) == (60, 60)


NUMBERED = """\
 { id = "meter_number", fc = 4, address = 0x60, type = "f32", unit = "1", kind = "config", period = "1d" },
"""


@pytest.mark.parametrize("serial", ["96", "1096"])
def test_another_meter_than_the_signed_one_is_not_booked(box, kit, serial):
    made = box(kit.serial_port(), kit.sdm(1, "bus"))
    source = made.profiles["eastron-sdm630"].replace(b"points = [\n", b"points = [\n" + NUMBERED.encode(), 1)
    made.profiles["eastron-sdm630"] = source
    (made.state / "profiles" / f"{hashlib.sha256(source).hexdigest()}.toml").write_bytes(source)
    meter = kit.meter(1, "bus", "eastron-sdm630", ["energy_import", "meter_number"]) + f'serial = "{serial}"\n'
    made.sign(kit.site.format(block="60s") + kit.serial_port() + meter)
    world = kit.world(made, {})

    def hang(pair):
        unit = Unit(1)
        Station(pair, unit, MODE, steady(30))
        return unit

    on_pair(world, hang)

    async def swap(world):
        """Another meter, with number 1096, hangs on the port after it was unplugged."""
        await asyncio.sleep(300)
        world.port.plugged = False
        await asyncio.sleep(15)
        world.stations.own = 1
        world.port.plugged = True

    world.run(595, swap)
    held = {found for _, found in readings(made)}
    events = [event for event in bus_events(made) if event.startswith("MTR-202")]
    if serial == "96":
        assert held == {0x48}
        assert events == ["MTR-202 bus: M-1: found meter number 1096, expected 96 (serial of its signed entry)"]
    else:
        assert held == {1000 + 0x48}
        assert len(events) == 2 and events[0].startswith("MTR-202 bus: M-1: found meter number 96, expected 1096")
