"""``tanmeter bus address``: the only meter on a line says who it is, however it has to be asked."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from protocols import cjt188, dlt645
from protocols.errors import ConfigError, Damaged, PortGone, ProtocolError, Silent
from provisioning import bus_address, bus_commands
from simulator.cjt188_meters import Cjt188Meter, cold, gas, heat, water
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.meters import Listener, Port
from simulator.pipes import within
from simulator.site import SerialBus
from simulator.truth import TruthLog
from simulator.world import World

NUMBER = "78330020231101"
MAKES = {"water": water(), "gas": gas(), "heat": heat(), "cold": cold()}


@contextmanager
def line(folder: Path, *meters: Callable[[World, TruthLog], Listener]) -> Iterator[str]:
    """The path of a pseudo terminal with these meters behind it, served by a thread."""
    world, truth = World(7), TruthLog(folder / "truth.jsonl")
    loop = asyncio.new_event_loop()
    bus = SerialBus(Port("bus", True, 5), tuple(make(world, truth) for make in meters), folder / "bus")

    def serve() -> None:
        loop.call_soon(bus.open)
        loop.run_forever()

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield str(folder / "bus")
    finally:
        loop.call_soon_threadsafe(bus.close)
        loop.call_soon_threadsafe(loop.stop)
        server.join()
        loop.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(bus_commands.app, ["address", *arguments], env={"TANMETER_LANG": "en"})


@pytest.mark.parametrize("name", MAKES)
def test_a_meter_of_any_kind_and_order_is_found(tmp_path: Path, name: str) -> None:
    make = MAKES[name]
    with line(tmp_path, lambda world, truth: Cjt188Meter("X", NUMBER, make, within(world, "H-01"), truth)) as place:
        result = run(place, "--mode", "9600-8N1", "--timeout-ms", "150", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "protocol": "cjt188",
        "address": NUMBER,
        "meter_type": f"{make.answers_as:02X}",
        "identifier": "1F90" if make.low_first else "901F",
    }


def test_an_electricity_meter_is_found_and_told_in_words(tmp_path: Path) -> None:
    with line(tmp_path, lambda world, truth: Dlt645Meter("X", "202311070001", 3, behind(world, "M-01"), truth)) as bus:
        result = run(bus, "--mode", "9600-8N1", "--timeout-ms", "100")
    assert result.stdout.splitlines() == ["dlt645: address 202311070001"]


def test_nobody_on_the_line_is_silence_and_no_port_is_told(tmp_path: Path) -> None:
    with line(tmp_path) as place:
        assert isinstance(run(place, "--mode", "9600-8N1", "--timeout-ms", "50").exception, Silent)
    assert isinstance(run(str(tmp_path / "none"), "--mode", "9600-8N1").exception, PortGone)
    assert isinstance(run(str(tmp_path / "none"), "--mode", "9600").exception, ConfigError)
    assert isinstance(run("127.0.0.1:99999").exception, ConfigError)


class TwoAtOnce:
    """A line on which two meters talk over each other."""

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        return [b"\x68\x10\x13\x55\x97\x16"]


def test_two_meters_at_once_are_bytes_without_a_frame(tmp_path: Path) -> None:
    with line(tmp_path, lambda world, truth: TwoAtOnce()) as place:
        result = run(place, "--mode", "9600-8N1", "--timeout-ms", "50", "--protocol", "cjt188")
    assert isinstance(result.exception, Damaged)


def test_nothing_but_reads_can_be_asked() -> None:
    for question in bus_address.questions(("cjt188", "dlt645")):
        codec = cjt188 if question.protocol == "cjt188" else dlt645
        assert codec.decode(question.request).control == {"cjt188": 0x03, "dlt645": 0x13}[question.protocol]
        with pytest.raises(ProtocolError):
            question.told(question.request)


def test_a_port_is_a_path_or_a_serial_server() -> None:
    assert bus_address.port("/dev/ttyUSB0", "2400-8E1").device == "/dev/ttyUSB0"
    assert bus_address.port("192.0.2.7:4196", "2400-8E1").tcp == "192.0.2.7:4196"
