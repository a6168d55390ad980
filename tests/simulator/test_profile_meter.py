"""A simulated meter of every Modbus profile, read by our driver and by pymodbus: both find what it holds."""

import asyncio
import struct
from decimal import Decimal

import pytest
from pymodbus.client import AsyncModbusTcpClient

from drivers import builtin, identify, profile_file, replay
from drivers.driver import driver
from drivers.modbus import ModbusDriver
from drivers.plan import extent
from drivers.profile import Point, Profile
from drivers.site import Device
from protocols import modbus
from simulator.profile_meter import ProfileMeter, over_tcp

MODELS = {
    name: model
    for name in builtin.builtin_ids()
    if (model := profile_file.load(builtin.builtin(name), name)).protocol == "modbus"
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
UNIT = 17


def installed(model: Profile) -> ModbusDriver:
    held = driver(Device(id="M-01", profile=model.id, port="bus", address=str(UNIT)), model)
    assert isinstance(held, ModbusDriver)
    return held


def asked_of(meter: ProfileMeter, request: bytes) -> bytes:
    return modbus.frame_rtu(UNIT, meter.answer(request[1:-2], 0))


@every_model
def test_our_driver_finds_what_the_meter_holds(model: Profile) -> None:
    meter, held = ProfileMeter(model, UNIT), installed(model)
    found: dict[str, Decimal | None] = {}
    for query in held.queries():
        found |= replay.values(held, query.request, asked_of(meter, query.request))
    assert found == meter.values
    for point in model.points:
        low, high = point.min, point.max
        assert (low is None or meter.values[point.id] >= low) and (high is None or meter.values[point.id] <= high)


@every_model
def test_the_meter_is_identified_as_its_model(model: Profile) -> None:
    meter = ProfileMeter(model, UNIT)
    findings = list(identify.findings(installed(model), lambda request: asked_of(meter, request)))
    assert [one for one in findings if not one.holds] == []
    assert model.identify is None or findings


def decoded(client: AsyncModbusTcpClient, point: Point, registers: list[int]) -> Decimal:
    """What pymodbus makes of registers; the word orders it does not know are undone first."""
    words = registers if point.order in ("ABCD", "BADC") else registers[::-1]
    if point.order in ("BADC", "DCBA"):
        words = [int.from_bytes(word.to_bytes(2)[::-1]) for word in words]
    if point.bit is not None:
        return Decimal(words[0] >> point.bit & 1)
    types = client.DATATYPE
    known = {
        "u16": types.UINT16, "i16": types.INT16, "u32": types.UINT32, "i32": types.INT32, "f32": types.FLOAT32,
        "u64": types.UINT64, "i64": types.INT64, "f64": types.FLOAT64,
    }  # fmt: skip
    if point.type in known:
        return Decimal(client.convert_from_registers(words, known[point.type])) * point.scale
    raw = b"".join(struct.pack(">H", word) for word in words)
    return by_hand(str(point.type), raw) * point.scale


def by_hand(kind: str, raw: bytes) -> Decimal:
    """The types that pymodbus does not know, from their definition."""
    if kind.startswith("bcd"):
        return Decimal(raw.hex())
    if kind.startswith("sm"):
        magnitude = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:])
        return Decimal(-magnitude if raw[0] & 0x80 else magnitude)
    return Decimal(int.from_bytes(raw))


async def read_by_pymodbus(client: AsyncModbusTcpClient, point: Point) -> Decimal:
    first, end = extent(point)
    reads = {
        1: client.read_coils, 2: client.read_discrete_inputs,
        3: client.read_holding_registers, 4: client.read_input_registers,
    }  # fmt: skip
    answer = await reads[int(point.fc or 0)](first, count=end - first, device_id=UNIT)
    assert not answer.isError(), f"{point.id}: {answer}"
    return Decimal(int(answer.bits[0])) if point.type == "bit" else decoded(client, point, answer.registers)


@every_model
def test_pymodbus_reads_every_point_alike(model: Profile) -> None:
    async def talk() -> None:
        async with over_tcp(model, UNIT) as (meter, place):
            host, port = place.split(":")
            async with AsyncModbusTcpClient(host, port=int(port)) as client:
                for point in model.points:
                    assert await read_by_pymodbus(client, point) == meter.values[point.id], point.id

    asyncio.run(asyncio.wait_for(talk(), 20))


def test_the_meter_bears_no_more_than_its_profile_says() -> None:
    model = MODELS["eastron-sdm630"]
    meter = ProfileMeter(model, UNIT)
    assert meter.answer(bytes([4, 0, 0, 0, 50]), 0)[0] == 4
    assert meter.answer(bytes([4, 0, 0, 0, 51]), 0) == bytes([0x84, 3])
    assert meter.answer(bytes([4, 0x20, 0, 0, 2]), 0) == bytes([0x84, 2])
    assert meter.answer(bytes([6, 0, 0, 0, 2]), 0) == bytes([0x86, 1])
