"""Simulated meters that speak Modbus, over RTU and TCP, written from the makers' register maps."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from simulator.electricity import Snapshot
from simulator.truth import Served, TruthLog

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
BITS = (1, 2)
MAX_BITS = 2000

Seen = Callable[[int], Snapshot]
"""What a meter sees of the world at an instant (UTC ms)."""

Kind = Literal["bit", "u16", "i16", "u32", "i32", "f32"]
FORMATS = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "f32": ">f"}


@dataclass(frozen=True, slots=True)
class Register:
    """One number of a map: high word first; an integer stands for itself x 10^-decimals."""

    address: int
    kind: Kind
    decimals: int
    read: Callable[[Snapshot], float]

    @property
    def words(self) -> int:
        """How many addresses it takes."""
        return 1 if self.kind in ("bit", "u16", "i16") else 2

    def encode(self, number: float) -> bytes:
        """The bytes of the register; an integer keeps its low bits when it has outgrown them."""
        if self.kind == "f32":
            return struct.pack(">f", number)
        if self.kind == "bit":
            return bytes([int(number)])
        return (int(number) % (1 << 16 * self.words)).to_bytes(2 * self.words, "big")

    def served(self, function: int, field: bytes) -> Served:
        """What these bytes are worth."""
        name = f"{function}:{self.address}"
        if self.kind == "bit":
            return Served(name, field[0], str(field[0]))
        (number,) = struct.unpack(FORMATS[self.kind], field)
        if self.kind == "f32":
            return Served(name, int.from_bytes(field, "big"), f"{Decimal(number):f}")
        return Served(name, number, f"{Decimal(number).scaleb(-self.decimals):f}")


@dataclass(frozen=True, slots=True)
class Map:
    """A model's registers by function; ``spans`` can be read whole, with zeros where nothing is defined."""

    registers: Mapping[int, tuple[Register, ...]]
    spans: Mapping[int, tuple[tuple[int, int], ...]]
    limit: int


class ModbusMeter:
    """A meter by its unit number; answers protocol data units. What carries them is the caller's concern."""

    def __init__(self, device: str, unit: int, model: Map, seen: Seen, truth: TruthLog) -> None:
        self.device, self.unit = device, unit
        self._map, self._seen, self._truth = model, seen, truth

    def answer(self, pdu: bytes, utc_ms: int) -> bytes:
        """The reply to a request; an exception reply to what it will not do."""
        function = pdu[0]
        if function not in self._map.registers:
            return bytes([function | 0x80, ILLEGAL_FUNCTION])
        limit = MAX_BITS if function in BITS else self._map.limit
        if len(pdu) != 5 or not 1 <= int.from_bytes(pdu[3:5], "big") <= limit:
            return bytes([function | 0x80, ILLEGAL_VALUE])
        start, count = struct.unpack(">HH", pdu[1:])
        if not any(first <= start and start + count - 1 <= last for first, last in self._map.spans[function]):
            return bytes([function | 0x80, ILLEGAL_ADDRESS])
        data = self._data(function, start, count, utc_ms)
        return bytes([function, len(data)]) + data

    def _data(self, function: int, start: int, count: int, utc_ms: int) -> bytes:
        """The registers asked for; one that is cut at an end is sent as asked, but was not served as a number."""
        snapshot = self._seen(utc_ms)
        size = 1 if function in BITS else 2
        data, served = bytearray(count * size), []
        for register in self._map.registers[function]:
            if register.address + register.words <= start or start + count <= register.address:
                continue
            field = register.encode(register.read(snapshot))
            for place, byte in enumerate(field, (register.address - start) * size):
                if 0 <= place < len(data):
                    data[place] = byte
            if start <= register.address and register.address + register.words <= start + count:
                served.append(register.served(function, field))
        self._truth.add(utc_ms, self.device, served)
        return _packed(data) if function in BITS else bytes(data)


class Answering(Protocol):
    """A Modbus meter by its unit number; answers protocol data units."""

    unit: int

    def answer(self, pdu: bytes, utc_ms: int) -> bytes:
        """The reply to a request, an exception reply included."""
        ...


class RtuMeter:
    """A Modbus meter on a serial bus: hears bursts, deaf to a wrong CRC and to other units."""

    def __init__(self, meter: Answering) -> None:
        self._meter = meter

    def hear(self, burst: bytes, utc_ms: int) -> list[bytes]:
        """What it says to what came between two silences: a frame is exactly that (serial line guide, 2.5.1.1)."""
        if len(burst) < 4 or burst[0] != self._meter.unit or crc(burst[:-2]) != burst[-2:]:
            return []
        reply = bytes([self._meter.unit]) + self._meter.answer(burst[1:-2], utc_ms)
        return [reply + crc(reply)]


class TcpMeter:
    """A Modbus meter behind a TCP port: one connection's bytes in, replies out, silent for other units."""

    def __init__(self, meter: Answering) -> None:
        self._meter = meter
        self._heard = bytearray()

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """Replies to each whole request; ConnectionError when this is no Modbus, for the caller to hang up."""
        self._heard += data
        replies = []
        while len(self._heard) >= 8:
            transaction, protocol, length = struct.unpack(">HHH", self._heard[:6])
            if protocol != 0 or not 2 <= length <= 254:
                raise ConnectionError(f"found {self._heard[:8].hex(' ')}, expected a Modbus TCP header")
            if len(self._heard) < 6 + length:
                break
            unit, pdu = self._heard[6], bytes(self._heard[7 : 6 + length])
            del self._heard[: 6 + length]
            if unit == self._meter.unit:
                reply = self._meter.answer(pdu, utc_ms)
                replies.append(struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit) + reply)
        return replies


def crc(data: bytes) -> bytes:
    """CRC-16 of Modbus, low byte first, bit by bit."""
    rest = 0xFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ 0xA001 if rest & 1 else rest >> 1
    return rest.to_bytes(2, "little")


def acrel_adl400() -> Map:
    """Acrel ADL400: function 3, secondary side, integers."""
    phases = (1, 2, 3, 0)
    registers = [
        *(Register(2 * tariff, "u32", 2, _energy(tariff)) for tariff in range(5)),
        *(Register(0x0A + 2 * tariff, "u32", 2, _energy(tariff)) for tariff in range(5)),
        *(Register(0x14 + 2 * tariff, "u32", 2, lambda at: 0) for tariff in range(5)),
        *(Register(0x61 + place, "u16", 1, _of(Snapshot.voltage, place + 1)) for place in range(3)),
        *(Register(0x64 + place, "u16", 2, _of(Snapshot.current, place + 1, 10)) for place in range(3)),
        *(Register(0x67 + place, "i16", 3, _of(Snapshot.power, phase, 1000)) for place, phase in enumerate(phases)),
        *(Register(0x6B + place, "i16", 3, _of(Snapshot.reactive, phase, 1000)) for place, phase in enumerate(phases)),
        *(Register(0x6F + place, "u16", 3, _of(Snapshot.apparent, phase, 1000)) for place, phase in enumerate(phases)),
        *(Register(0x73 + place, "i16", 3, lambda at: at.power_factor) for place in range(4)),
        Register(0x77, "u16", 2, lambda at: at.frequency),
        *(Register(0x87 + 2 * place, "u32", 2, _of(Snapshot.phase_energy, place + 1)) for place in range(3)),
        Register(0x8D, "u16", 0, lambda at: 1),
        Register(0x8E, "u16", 0, lambda at: at.ratio),
        *(
            Register(0x164 + 2 * place, "i32", 0, _of(Snapshot.power, phase, 1000))
            for place, phase in enumerate(phases)
        ),
    ]
    return Map({3: tuple(registers)}, {3: ((0x00, 0x8F), (0x160, 0x16B))}, limit=125)


def eastron_sdm630() -> Map:
    """Eastron SDM630: function 4, IEEE 754 single precision, primary side; the serial number by function 3."""
    by_phase: tuple[tuple[int, Callable[[Snapshot, int], int], int], ...] = (
        (0x00, Snapshot.voltage, 10),
        (0x06, Snapshot.current, 1000),
        (0x0C, Snapshot.power, 1000),
        (0x12, Snapshot.apparent, 1000),
        (0x18, Snapshot.reactive, 1000),
        (0x15A, Snapshot.phase_energy, 100),
    )
    registers = [
        _float(first + 2 * place, _of(read, place + 1), per) for first, read, per in by_phase for place in range(3)
    ]
    registers += [_float(0x1E + 2 * place, lambda at: at.power_factor, 1000) for place in range(3)]
    registers += [
        _float(0x34, _of(Snapshot.power, 0), 1000),
        _float(0x38, _of(Snapshot.apparent, 0), 1000),
        _float(0x3C, _of(Snapshot.reactive, 0), 1000),
        _float(0x3E, lambda at: at.power_factor, 1000),
        _float(0x46, lambda at: at.frequency, 100),
        _float(0x48, Snapshot.energy, 100),
        _float(0x4A, lambda at: 0, 1),
        _float(0x4C, Snapshot.reactive_energy, 100),
        _float(0x4E, lambda at: 0, 1),
        _float(0x50, Snapshot.apparent_energy, 100),
        _float(0x156, Snapshot.energy, 100),
        _float(0x158, Snapshot.reactive_energy, 100),
    ]
    serial = Register(0xFC00, "u32", 0, lambda at: 21_407_732)
    return Map({4: tuple(registers), 3: (serial,)}, {4: ((0x000, 0x181),), 3: ((0xFC00, 0xFC01),)}, limit=80)


def sick_marsic300() -> Map:
    """SICK MARSIC300 flue-gas analyser: values by function 4 from 1000, its state by function 2 from 1000."""
    values: tuple[tuple[int, Callable[[Snapshot], int], int], ...] = (
        (1000, lambda at: at.world.gas(at.at).so2_ppb, 1000),
        (1002, lambda at: at.world.gas(at.at).co2_ppm, 10_000),
        (1006, lambda at: at.world.gas(at.at).h2o_ppm, 10_000),
        (1008, lambda at: at.world.gas(at.at).no_ppb, 1000),
        (1010, lambda at: at.world.gas(at.at).no_ppb // 20, 1000),
        (1012, lambda at: at.world.gas(at.at).no_ppb * 21 // 20, 1000),
        (1014, lambda at: 0, 1),
        (1016, lambda at: at.world.gas(at.at).co_ppb, 1000),
        (1018, lambda at: 0, 1),
        (1020, lambda at: at.world.gas(at.at).o2_ppm, 10_000),
    )
    registers = tuple(_float(address, read, per) for address, read, per in values)
    states = (
        Register(1000, "bit", 0, lambda at: 0),
        Register(1001, "bit", 0, lambda at: at.world.gas(at.at).maintenance_wanted),
        Register(1002, "bit", 0, lambda at: not at.world.gas(at.at).live),
        Register(1003, "bit", 0, lambda at: 0),
        Register(1004, "bit", 0, lambda at: at.world.gas(at.at).live),
    )
    return Map({4: registers, 2: states}, {4: ((1000, 1021),), 2: ((1000, 1004),)}, limit=125)


def _energy(tariff: int) -> Callable[[Snapshot], int]:
    return lambda at: at.energy(tariff)


def _of(read: Callable[[Snapshot, int], int], phase: int, per: int = 1) -> Callable[[Snapshot], int]:
    """A quantity of one phase (0: all), in steps of ``per``."""
    return lambda at: read(at, phase) // per


def _float(address: int, read: Callable[[Snapshot], int], per: int) -> Register:
    return Register(address, "f32", 0, lambda at: read(at) / per)


def _packed(bits: bytes | bytearray) -> bytes:
    """Bits, one a byte, packed from the lowest up (application protocol, 6.1)."""
    number = sum(bit << place for place, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little")
