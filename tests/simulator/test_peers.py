"""The simulated meters asked by masters that nobody here wrote: pymodbus, mbpoll and PyPI's dlt645."""

import asyncio
import json
import re
import socketserver
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from dlt645.service.clientsvc.client_service import MeterClientService
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.site import Site
from simulator.truth import TruthLog
from simulator.world import World

NOON = 1_795_406_400_000
METER = "202311070001"


def on_site(folder: Path, talk: Callable[[Site], Awaitable[Any]]) -> Any:
    """What ``talk`` returns when it runs beside an open site."""

    async def run() -> Any:
        site = Site(7, folder)
        await site.open()
        try:
            return await asyncio.wait_for(talk(site), 10)
        finally:
            site.close()

    return asyncio.run(run())


def served(folder: Path, device: str) -> dict[str, Decimal]:
    """The values of the last answer of a device, by register."""
    lines = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["device"] == device][-1]
    return {register: Decimal(value) for register, _raw, value in last["served"]}


async def mbpoll(*arguments: str) -> dict[int, str]:
    """What mbpoll prints: register number -> text."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", "-q", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    return {int(number): value for number, value in re.findall(r"^\[(\d+)\]:\s+(\S+)", out.decode(), re.MULTILINE)}


def test_pymodbus_reads_the_networked_meters(tmp_path: Path) -> None:
    async def talk(site: Site) -> tuple[list[float], list[bool], int]:
        host, port = site.places["feeder-2"].split(":")
        async with AsyncModbusTcpClient(host, port=int(port)) as client:
            registers = (await client.read_input_registers(0x48, count=10, device_id=1)).registers
            energies = client.convert_from_registers(registers, client.DATATYPE.FLOAT32)
            refused = await client.read_input_registers(0x200, count=2, device_id=1)
        host, port = site.places["stack"].split(":")
        async with AsyncModbusTcpClient(host, port=int(port)) as client:
            bits = (await client.read_discrete_inputs(1000, count=5, device_id=1)).bits[:5]
        return energies, bits, refused.exception_code

    energies, bits, exception = on_site(tmp_path, talk)
    assert [Decimal(energy) for energy in energies] == [
        served(tmp_path, "M-04")[f"4:{0x48 + 2 * at}"] for at in range(5)
    ]
    assert bits == [bool(value) for value in served(tmp_path, "S-01").values()]
    assert exception == 2


def test_pymodbus_reads_the_meter_on_the_shared_bus(tmp_path: Path) -> None:
    async def talk(site: Site) -> tuple[list[int], int]:
        async with AsyncModbusSerialClient(site.places["bus-1"], baudrate=9600, parity="N") as client:
            refused = await client.read_holding_registers(0x200, count=1, device_id=3)
            registers = (await client.read_holding_registers(0x0A, count=2, device_id=3)).registers
        return registers, refused.exception_code

    (high, low), exception = on_site(tmp_path, talk)
    assert Decimal((high << 16) + low).scaleb(-2) == served(tmp_path, "M-03")["3:10"]
    assert exception == 2


def test_mbpoll_reads_the_networked_meter(tmp_path: Path) -> None:
    async def talk(site: Site) -> dict[int, str]:
        host, port = site.places["feeder-2"].split(":")
        return await mbpoll("-m", "tcp", "-p", port, "-a", "1", "-t", "3:float", "-B", "-r", "0", "-c", "3", host)

    volts = on_site(tmp_path, talk)
    for register, text in volts.items():
        assert float(text) == pytest.approx(float(served(tmp_path, "M-04")[f"4:{register}"]), rel=1e-5)
    assert len(volts) == 3


def test_mbpoll_reads_the_meter_on_the_shared_bus(tmp_path: Path) -> None:
    async def talk(site: Site) -> dict[int, str]:
        line = ("-b", "9600", "-P", "none", "-s", "1")
        return await mbpoll("-m", "rtu", *line, "-a", "3", "-t", "4", "-r", str(0x61), "-c", "3", site.places["bus-1"])

    volts = on_site(tmp_path, talk)
    assert {f"3:{register}": Decimal(text).scaleb(-1) for register, text in volts.items()} == served(tmp_path, "M-03")


class OnTcp(socketserver.BaseRequestHandler):
    """A simulated DL/T 645 meter behind a transparent serial server."""

    meter: Dlt645Meter

    def handle(self) -> None:
        while data := self.request.recv(300):
            for reply in self.meter.hear(data, NOON):
                self.request.sendall(reply)


def test_pypi_dlt645_reads_the_simulated_meter(tmp_path: Path) -> None:
    truth = TruthLog(tmp_path / "truth.jsonl")
    handler = type("Handler", (OnTcp,), {"meter": Dlt645Meter("M-01", METER, 3, behind(World(7), "M-01", 80), truth)})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = MeterClientService.new_tcp_client("127.0.0.1", server.server_address[1], timeout=2)
        client.set_address(bytes.fromhex(METER)[::-1].hex())  # it sends the digits in the order it is given them
        try:
            energy, voltage, unknown = (
                client.read_00(0x00010000),
                client.read_02(0x02010100),
                client.read_00(0x00860000),
            )
        finally:
            client.disconnect()
            server.shutdown()
    truth.close()
    lines = [json.loads(line)["served"][0] for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [line[0] for line in lines] == ["00010000", "02010100"]
    assert Decimal(str(energy.value)) == Decimal(lines[0][2])
    assert Decimal(str(voltage.value)) == Decimal(lines[1][2])
    assert unknown is None, "refused with D1"
