"""The real agent on real sockets and serial lines, with meters nobody here wrote: pymodbus and PyPI's dlt645."""

import asyncio
import contextlib
import shutil
import struct
import subprocess
from random import Random
from threading import Event

import pytest
from dlt645.service.serversvc.server_service import MeterServerService
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.replay import replay_chunk
from edge import config
from edge.agent import Agent
from edge.clock import SystemClock
from edge.wire import wire

ENOUGH_S = 20


def ask_until(made, enough):
    """Run the agent until its status is enough; what it then says."""

    async def main():
        stop = asyncio.Event()
        agent = Agent(made.state, SystemClock(), wire, None, Random(1))
        running = asyncio.ensure_future(agent.run(stop))
        await agent.ready(running)
        async with asyncio.timeout(ENOUGH_S):
            status = await agent.status()
            while not running.done() and not enough(status):
                await asyncio.wait({running}, timeout=0.05)
                status = await agent.status()
        stop.set()
        await running
        return status

    return main()


def answered(count):
    return lambda status: all(device["answered"] >= count for device in status["devices"])


def values(made):
    """What the record says, device and point -> the set of values, by replay."""
    installation, found = config.load(made.state).installation, {}
    for header, chunks in made.blocks():
        for chunk in chunks:
            for reading in replay_chunk(installation, header, chunk):
                found.setdefault((reading.device, reading.point), set()).add(str(reading.value))
    return found


def sdm630(unit, energy):
    """The energy registers of an SDM630; everything else is refused."""
    return SimDevice(
        unit,
        SimData(0x48, values=list(struct.unpack(">4H", struct.pack(">ff", energy, 0.5))), datatype=DataType.REGISTERS),
    )


@pytest.fixture
def pty(tmp_path):
    """Two ends of one line, made by socat."""
    if shutil.which("socat") is None:
        pytest.fail("socat is not installed: `make test` installs it, or apt install socat")
    ends = [tmp_path / "meter", tmp_path / "agent"]
    line = subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={end}" for end in ends)])
    try:
        for _ in range(200):
            if all(end.exists() for end in ends):
                break
            Event().wait(0.02)
        yield [str(end) for end in ends]
    finally:
        line.terminate()
        line.wait()


def test_pymodbus_over_tcp(box, kit):
    async def main():
        server = ModbusTcpServer([sdm630(1, 1234.5), sdm630(2, 0.25)], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        place = f"127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        points = ["energy_import", "energy_export"]
        made = box(
            kit.modbus_port(place=place),
            *(kit.meter(n, "net", "eastron-sdm630", points, "200ms") for n in (1, 2)),
            block="1s",
        )
        try:
            await ask_until(made, answered(6))
        finally:
            await server.shutdown()
        return made

    made = asyncio.run(main())
    assert values(made) == {
        (0, "energy_import"): {"1234.5"},
        (0, "energy_export"): {"0.5"},
        (1, "energy_import"): {"0.25"},
        (1, "energy_export"): {"0.5"},
    }


def test_pymodbus_refuses_a_register_it_does_not_have(box, kit):
    async def main():
        server = ModbusTcpServer([sdm630(1, 1.0)], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        place = f"127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        made = box(
            kit.modbus_port(place=place), kit.meter(1, "net", "eastron-sdm630", ["voltage_a"], "200ms"), block="1s"
        )
        try:
            status = await ask_until(made, lambda status: status["devices"][0]["faults"].get("refused", 0) >= 3)
        finally:
            await server.shutdown()
        return made, status

    made, status = asyncio.run(main())
    assert values(made) == {} and status["devices"][0]["values"] == []
    assert sum(chunk.counters.refused for _, chunks in made.blocks() for chunk in chunks) >= 3


def test_pymodbus_over_a_serial_line_beside_a_unit_that_is_silent(box, kit, pty):
    meter, agent = pty

    async def main():
        def mute_as_two(sending, data):
            return b"" if sending and data[:1] == b"\x02" else data

        server = ModbusSerialServer(
            [sdm630(1, 77.125)], framer=FramerType.RTU, port=meter, baudrate=9600, trace_packet=mute_as_two
        )
        await server.serve_forever(background=True)
        made = box(kit.serial_port(device=agent), kit.sdm(1, "bus", "500ms"), kit.sdm(2, "bus", "500ms"), block="2s")
        try:
            status = await ask_until(
                made,
                lambda status: (
                    status["devices"][0]["answered"] >= 5 and status["devices"][1]["faults"].get("silent", 0) >= 2
                ),
            )
        finally:
            await server.shutdown()
        return made, status

    made, status = asyncio.run(main())
    assert values(made) == {(0, "energy_import"): {"77.125"}}
    assert status["devices"][0]["faults"].get("silent", 0) == 0


def dlt645_meter(service):
    """A meter 000021407732 with some energy; this server wants its address the wrong way round."""
    service.set_address(bytes.fromhex("000021407732")[::-1])
    service.set_00(0x00010000, 20165.61)
    service.set_02(0x02010100, 229.9)
    service.server.start()
    return service.server


POINTS = ["energy_import", "voltage"]
READ = {(0, "energy_import"): {"20165.61"}, (0, "voltage"): {"229.9"}}


def test_dlt645_over_tcp(box, kit):
    server = dlt645_meter(MeterServerService.new_tcp_server("127.0.0.1", 0, 5))
    try:
        place = f"127.0.0.1:{server.port}"
        made = box(
            kit.modbus_port(place=place),
            kit.meter(1, "net", "dlt645-2007-single-phase", POINTS, "200ms", "000021407732"),
            block="1s",
        )
        asyncio.run(ask_until(made, answered(6)))
    finally:
        server.stop()
    assert values(made) == READ


def test_dlt645_over_a_serial_line(box, kit, pty):
    meter, agent = pty
    server = dlt645_meter(MeterServerService.new_rtu_server(meter, 8, 1, 9600, "N", 0.05))
    try:
        made = box(
            kit.serial_port(device=agent),
            kit.meter(1, "bus", "dlt645-2007-single-phase", POINTS, "500ms", "21407732"),
            block="1s",
        )
        asyncio.run(ask_until(made, answered(4)))
    finally:
        with contextlib.suppress(Exception):
            server.stop()
    assert values(made) == READ


def test_a_serial_line_that_is_unplugged_comes_back_by_itself(box, kit, tmp_path, pty):
    meter, _ = pty
    plug = tmp_path / "plug"

    async def main():
        server = ModbusSerialServer([sdm630(1, 5.5)], framer=FramerType.RTU, port=meter, baudrate=9600)
        await server.serve_forever(background=True)
        made = box(kit.serial_port(device=str(plug)), kit.sdm(1, "bus", "200ms"), block="1s")

        def goes_on(status):
            faults = status["devices"][0]["faults"].get("port_gone", 0)
            if faults >= 2 and not plug.exists():
                plug.symlink_to(pty[1])
            return status["devices"][0]["answered"] >= 2

        try:
            return await ask_until(made, goes_on)
        finally:
            await server.shutdown()

    status = asyncio.run(main())
    assert status["ports"][0]["gone"] == "" and status["devices"][0]["faults"]["port_gone"] >= 2
