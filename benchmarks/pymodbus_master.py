"""pymodbus's own RTU client as master of a simulated pair, in virtual time: only what carries its bytes is ours."""

import asyncio
import logging

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.transport import ModbusProtocol

from simulator.late_answers import LIMIT_MS, MODE, REGISTERS, Master, Outcome, Questions
from simulator.ports import SerialPort

LONG_S = 3600.0


class PairTransport(asyncio.Transport):
    """What asyncio's serial transport is to pymodbus: writes to the pair, hands over what comes."""

    def __init__(self, port: SerialPort, protocol: ModbusProtocol) -> None:
        super().__init__()
        self._port = port
        self._listening = asyncio.ensure_future(self._listen(protocol))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Begin to send."""
        self._port.begin(bytes(data))

    def close(self) -> None:
        """Listen no longer."""
        self._listening.cancel()

    async def _listen(self, protocol: ModbusProtocol) -> None:
        while True:
            if data := await self._port.read(LONG_S):
                protocol.data_received(data)


def pymodbus(retries: int) -> Master:
    """pymodbus with its time limit set to ours and this many retries."""

    async def master(questions: Questions, port: SerialPort, count: int) -> Outcome:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        client = AsyncModbusSerialClient("pair", timeout=LIMIT_MS / 1000, retries=retries, reconnect_delay=0)
        await port.open()
        await port.configure(MODE)

        async def create() -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
            protocol = client.ctx.handle_new_connection()
            transport = PairTransport(port, protocol)
            protocol.connection_made(transport)
            return transport, protocol

        client.ctx.call_create = create
        await client.connect()
        outcome = Outcome()
        for question in range(count):
            questions.now = question
            outcome.count(question, await _ask(client, *questions.place(question)))
        client.close()
        return outcome

    return master


async def _ask(client: AsyncModbusSerialClient, unit: int, place: int) -> int | None:
    """The value, as pymodbus hands it out without an exception."""
    try:
        answer = await client.read_holding_registers(REGISTERS[place], count=2, device_id=unit)
    except ModbusException:
        return None
    if answer.isError() or len(answer.registers) != 2:
        return None
    high, low = answer.registers
    return int(high) << 16 | int(low)
