"""Everything a profile claims, asked of the device. Reads only: nothing here can write, clear or switch."""

import asyncio
from decimal import Decimal

import pytest
from device_at_hand import DeviceAtHand
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from drivers import identify, replay
from drivers.modbus import ModbusDriver
from drivers.plan import extent
from drivers.quantity import quality
from protocols import modbus, modbus_identification
from protocols.errors import ProtocolError, Refused, Silent

ROUNDS, ROUNDS_SIMULATED = 10, 3
"""How often the shortest question is repeated at the guard that the profile names."""
LAST_DIGITS = 2
"""How many steps of the last digit typed in a reading may have moved on."""


def test_every_question_is_answered(device: DeviceAtHand) -> None:
    silent = {}
    for query in device.queries():
        try:
            device.remember(device.values(query.request))
        except ProtocolError as error:
            silent[query.request.hex(" ").upper()] = f"{error.code} {error}"
    assert silent == {}


def test_every_point_is_plausible(device: DeviceAtHand) -> None:
    odd = {}
    for query in device.queries():
        for point, found in device.remember(device.values(query.request)).items():
            if found == "suspect":
                odd[point] = str(device.found[point])
            elif found == "absent":
                device.notes.append(f"{point}: the device says it has no value")
    assert odd == {}, "outside the limits of the profile"


def test_the_model_is_the_one_that_the_profile_describes(device: DeviceAtHand) -> None:
    findings = list(identify.findings(device.driver, device.ask, device.queries()))
    device.notes += [f"identification: {one.what} is {one.found}, expected {one.expected}" for one in findings]
    assert [one for one in findings if not one.holds] == []


@pytest.mark.modbus
def test_what_the_device_says_of_itself_is_noted(device: DeviceAtHand) -> None:
    held = modbus_driver(device)
    talk = modbus_identification.identify(held.unit, held.framing)
    try:
        asked = next(talk)
        while True:
            asked = talk.send(device.ask(asked))
    except StopIteration as done:
        device.notes += [f"the device says: {name} = {text}" for name, text in done.value.items()]
    except (Refused, Silent) as error:
        device.notes.append(f"the device does not say what it is (2B/0E): {error}")


def test_counters_do_not_run_backwards(device: DeviceAtHand) -> None:
    counters = {point.id for point in device.profile.points if point.kind == "counter"}
    queries = [query for query in device.queries() if counters & set(query.points)]
    before = [device.values(query.request) for query in queries]
    for query, first in zip(queries, before, strict=True):
        for point, value in device.values(query.request).items():
            earlier = first[point]
            if point in counters and value is not None and earlier is not None:
                assert value >= earlier, f"{point} fell from {earlier} to {value}"


def test_the_display_shows_the_same(device: DeviceAtHand) -> None:
    if not device.readings and not device.wanted.simulated:
        pytest.skip("nothing was typed in with --reading")
    for point, typed in device.readings.items():
        [query] = [query for query in device.queries() if point in query.points][:1]
        value = device.values(query.request)[point]
        assert value is not None, f"{point}: no value"
        step = Decimal(1).scaleb(int(typed.as_tuple().exponent)) * LAST_DIGITS
        assert abs(value - typed) <= max(step, abs(typed) / 1000), f"{point}: read {value}, the display shows {typed}"


@pytest.mark.modbus
def test_reads_as_long_as_the_link_bears_are_answered(device: DeviceAtHand) -> None:
    held = modbus_driver(device)
    for query in device.queries():
        asked = parsed(held, query.request)
        if asked.function >= 3:
            longest = longest_read(device, asked)
            assert device.ask(framed(held, longest)), f"{longest.count} registers from {longest.address}"
            device.notes.append(f"read of {longest.count} registers from {longest.address} answered")


@pytest.mark.modbus
def test_registers_that_are_said_to_be_readable_are(device: DeviceAtHand) -> None:
    held = modbus_driver(device)
    functions = {point.fc for point in device.profile.points if point.fc is not None} & {3, 4}
    for first, last in device.profile.link.readable:
        count = min(last - first + 1, device.profile.link.max_registers)
        answered = [function for function in sorted(functions) if answers(device, held, function, first, count)]
        assert answered, f"{count} registers from {first}"


def test_the_rest_between_questions_suffices(device: DeviceAtHand) -> None:
    query = min(device.queries(), key=lambda query: len(query.points))
    rounds = ROUNDS_SIMULATED if device.wanted.simulated else ROUNDS
    for number in range(rounds):
        assert device.ask(query.request, device.profile.link.guard_ms), f"round {number}"


def test_the_device_answers_in_the_time_that_the_profile_allows(device: DeviceAtHand) -> None:
    for query in device.queries():
        device.ask(query.request)
    slowest = max(asked.first_ms for asked in device.asked if asked.reply)
    if slowest > 2 * device.profile.link.turnaround_ms:
        device.notes.append(f"slower than the profile says: set turnaround_ms near {slowest:.0f} in the site file")
    assert slowest <= device.profile.link.timeout_ms


@pytest.mark.modbus
def test_pymodbus_reads_the_same(device: DeviceAtHand) -> None:
    held = modbus_driver(device)
    for query in device.queries():
        before = held.payload(query.request, device.ask(query.request))
        theirs = by_pymodbus(device, parsed(held, query.request))
        after = held.payload(query.request, device.ask(query.request))
        if before == after:
            assert theirs == before, f"{query.request.hex(' ')}: pymodbus has {theirs.hex(' ')}"
        else:
            still = [at for at in range(len(before)) if before[at] == after[at]]
            device.notes.append(
                f"{query.request.hex(' ')}: values moved while pymodbus read; compared where they stood"
            )
            assert len(theirs) == len(before) and [theirs[at] for at in still] == [before[at] for at in still]


def test_what_was_exchanged_is_replayed_alike(device: DeviceAtHand) -> None:
    """A verifier that has only the recorded bytes finds what was found here."""
    for query in device.queries():
        reply = device.ask(query.request)
        readings = replay.replay(device.driver, query.request, reply, 0, 0)
        values = replay.values(device.driver, query.request, reply)
        assert {one.point: (one.value, one.quality) for one in readings} == {
            point: (value, quality(device.profile.point(point), values)) for point, value in values.items()
        }


def modbus_driver(device: DeviceAtHand) -> ModbusDriver:
    """The driver, where the device speaks Modbus; the test is skipped where it does not."""
    if not isinstance(device.driver, ModbusDriver):
        pytest.skip(f"{device.profile.protocol} has no registers")
    return device.driver


def parsed(held: ModbusDriver, request: bytes) -> modbus.Request:
    return modbus.parse_rtu(request) if held.framing == "rtu" else modbus.parse_tcp(request)


def framed(held: ModbusDriver, request: modbus.Request) -> bytes:
    return request.rtu() if held.framing == "rtu" else request.tcp()


def longest_read(device: DeviceAtHand, asked: modbus.Request) -> modbus.Request:
    """The longest read around this one that the profile allows: over known and readable registers, up to the limit."""
    link = device.profile.link
    known: set[int] = set()
    for point in device.profile.points:
        if point.fc == asked.function:
            known.update(range(*extent(point)))
    for first, last in link.readable:
        known.update(range(first, last + 1))
    for first, last in link.forbidden:
        known.difference_update(range(first, last + 1))
    first = last = asked.address
    while last + 1 in known and last - first + 1 < link.max_registers:
        last += 1
    while first - 1 in known and last - first + 1 < link.max_registers:
        first -= 1
    return modbus.Request(asked.unit, asked.function, first, last - first + 1)


def answers(device: DeviceAtHand, held: ModbusDriver, function: int, first: int, count: int) -> bool:
    """Whether these registers are answered by this function."""
    try:
        return bool(device.ask(framed(held, modbus.Request(held.unit, function, first, count))))
    except ProtocolError:
        return False


def by_pymodbus(device: DeviceAtHand, asked: modbus.Request) -> bytes:
    """The data of the same read by a master that nobody here wrote."""
    return device.apart(lambda: read_by_pymodbus(device, asked))


async def read_by_pymodbus(device: DeviceAtHand, asked: modbus.Request) -> bytes:
    await asyncio.sleep(device.rest_ms / 1000)
    async with client(device) as master:
        reads = {
            1: master.read_coils, 2: master.read_discrete_inputs,
            3: master.read_holding_registers, 4: master.read_input_registers,
        }  # fmt: skip
        answer = await reads[asked.function](asked.address, count=asked.count, device_id=asked.unit)
    assert not answer.isError(), f"pymodbus: {answer}"
    if asked.function >= 3:
        return b"".join(word.to_bytes(2) for word in answer.registers)
    bits = [*answer.bits[: asked.count], *[False] * (-asked.count % 8)]
    return bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def client(device: DeviceAtHand) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
    """pymodbus on the device's port, with its line settings."""
    port, timeout = device.port, device.profile.link.timeout_ms / 1000 + 1
    if port.tcp is not None:
        host, _, number = port.tcp.rpartition(":")
        framer = FramerType.SOCKET if port.framing == "modbus-tcp" else FramerType.RTU
        return AsyncModbusTcpClient(host, port=int(number), framer=framer, timeout=timeout, retries=0)
    baud, _, frame = port.mode.partition("-")
    return AsyncModbusSerialClient(
        str(port.device), baudrate=int(baud), bytesize=int(frame[0]), parity=frame[1], stopbits=int(frame[2]),
        timeout=timeout, retries=0,
    )  # fmt: skip
