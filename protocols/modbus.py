"""Modbus, the four read functions: requests and replies on a serial line (RTU) and on TCP. No write can be built.

RTU: unit, PDU, CRC-16 low byte first (Modbus over serial line 1.02, 2.5.1). TCP: transaction, protocol 0, length, unit,
PDU (Modbus messaging on TCP/IP 1.0b, 3.1.3). PDUs: Modbus application protocol 1.1b3, 6.1 to 6.4 and 7.
"""

from dataclasses import dataclass
from functools import lru_cache

from protocols import crc16
from protocols.errors import Damaged, Mismatched, OtherFraming, ProtocolError, Refused
from protocols.recogniser import LIMIT, quote, verdict

EXCEPTION = 0x80
"""Added to the function of a request that is refused."""

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}

MOST = {1: 2000, 2: 2000, 3: 125, 4: 125}
"""The most coils or registers one request may ask, by function."""

KNOWN = 1024
"""Requests that are known taken apart: a box asks the same ones again and again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A read of ``count`` coils (functions 1, 2) or registers (3, 4) from ``address``, 0-based.

    Damaged for any other function, and for what the specification does not allow to ask.
    """

    unit: int
    function: int
    address: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.unit <= 0xFF:
            raise Damaged(f"unit {self.unit}, expected 0 to 255")
        if self.function not in MOST:
            raise Damaged(f"function {self.function:02X}, expected a read: 01 to 04")
        if not 1 <= self.count <= MOST[self.function]:
            raise Damaged(f"count {self.count}, expected 1 to {MOST[self.function]} for function {self.function:02X}")
        if not 0 <= self.address <= 0x10000 - self.count:
            raise Damaged(f"address {self.address} with count {self.count}, expected to end at 65535 or before")

    @property
    def pdu(self) -> bytes:
        """Function, address, count."""
        return bytes([self.function]) + self.address.to_bytes(2) + self.count.to_bytes(2)

    @property
    def width(self) -> int:
        """Bytes of coils or registers in the reply."""
        return self.count * 2 if self.function >= 3 else (self.count + 7) // 8

    @property
    def transaction(self) -> int:
        """Fixed by the question, so that equal questions are equal bytes; a connection never outlives a timeout."""
        return crc(bytes([self.unit]) + self.pdu)

    def rtu(self) -> bytes:
        """As sent on a serial line; Damaged for unit 0, which is a broadcast and never answered."""
        if self.unit == 0:
            raise Damaged("unit 0 on a serial line, expected 1 to 247")
        return frame_rtu(self.unit, self.pdu)

    def tcp(self) -> bytes:
        """As sent on TCP."""
        return frame_tcp(self.transaction, self.unit, self.pdu)


def crc(data: bytes) -> int:
    """CRC-16/MODBUS; sent low byte first."""
    register = 0xFFFF
    for byte in data:
        register = register >> 8 ^ crc16.TABLE[(register ^ byte) & 0xFF]
    return register


def frame_rtu(unit: int, pdu: bytes) -> bytes:
    """A PDU as it travels on a serial line."""
    body = bytes([unit]) + pdu
    return body + crc(body).to_bytes(2, "little")


def frame_tcp(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A PDU as it travels on TCP."""
    return transaction.to_bytes(2) + b"\0\0" + (1 + len(pdu)).to_bytes(2) + bytes([unit]) + pdu


def split_rtu(raw: bytes) -> tuple[int, bytes]:
    """Unit and PDU of one serial frame; Damaged when it is too short or the CRC is not its own."""
    if not 4 <= len(raw) <= 256:
        raise Damaged(f"{len(raw)} bytes, expected 4 to 256: {quote(raw)}")
    if (own := crc(raw[:-2]).to_bytes(2, "little")) != raw[-2:]:
        raise Damaged(f"CRC {quote(raw[-2:])}, expected {quote(own)}: {quote(raw)}")
    return raw[0], raw[1:-2]


def split_tcp(raw: bytes) -> tuple[int, int, bytes]:
    """Transaction, unit and PDU of one TCP frame; Damaged when protocol id or length is wrong."""
    if not 8 <= len(raw) <= 260:
        raise Damaged(f"{len(raw)} bytes, expected 8 to 260: {quote(raw)}")
    if raw[2:4] != b"\0\0":
        raise Damaged(f"protocol id {quote(raw[2:4])}, expected 00 00: {quote(raw)}")
    if (length := int.from_bytes(raw[4:6])) != len(raw) - 6:
        raise Damaged(f"length field {length}, expected {len(raw) - 6} for {len(raw)} bytes: {quote(raw)}")
    return int.from_bytes(raw[:2]), raw[6], raw[7:]


@lru_cache(KNOWN)
def parse_rtu(raw: bytes) -> Request:
    """The request that was recorded; Damaged when it is none."""
    unit, pdu = split_rtu(raw)
    return parse_pdu(unit, pdu)


@lru_cache(KNOWN)
def parse_tcp(raw: bytes) -> Request:
    """The request that was recorded, whatever its transaction id; Damaged when it is none."""
    _, unit, pdu = split_tcp(raw)
    return parse_pdu(unit, pdu)


def parse_pdu(unit: int, pdu: bytes) -> Request:
    """The read request in a PDU; Damaged when it is none."""
    if len(pdu) != 5:
        raise Damaged(f"{len(pdu)} bytes {quote(pdu)}, expected 5: function, address, count")
    return Request(unit, pdu[0], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5]))


def reply_length_rtu(request: Request) -> int:
    """Bytes of the full reply on a serial line."""
    return 5 + request.width


def reply_length_tcp(request: Request) -> int:
    """Bytes of the full reply on TCP."""
    return 9 + request.width


def payload_rtu(request: bytes, reply: bytes) -> bytes:
    """The register or coil bytes of the reply to this request; Refused, Mismatched, Damaged."""
    asked = parse_rtu(request)
    unit, pdu = split_rtu(reply)
    return _payload(asked, unit, pdu)


def payload_tcp(request: bytes, reply: bytes) -> bytes:
    """The register or coil bytes of the reply to this request; Refused, Mismatched (also transaction id), Damaged."""
    asked = parse_tcp(request)
    transaction, unit, pdu = split_tcp(reply)
    if reply[:2] != request[:2]:
        raise Mismatched(f"transaction {transaction:04X}, expected {quote(request[:2])}")
    return _payload(asked, unit, pdu)


def refusal(unit: int, function: int, code: int) -> str:
    """An exception reply in words."""
    return f"unit {unit} refused function {function:02X}, exception {code:02X}: {EXCEPTIONS.get(code, 'unknown code')}"


class RtuRecogniser:
    """The reply to one request on a serial line: unit, function, byte count and CRC fit, or its exception."""

    def __init__(self, request: bytes) -> None:
        asked = parse_rtu(request)
        head = bytes([asked.unit, asked.function, asked.width])
        refused = bytes([asked.unit, asked.function | EXCEPTION])
        self._wanted = f"{asked.width} bytes of function {asked.function:02X} from unit {asked.unit}"
        # A reply of three coil bytes can equal the request byte for byte; an echo must never become a value.
        self._request = request
        self._scan = _Scan(((head, reply_length_rtu(asked)), (refused, 5)))

    def feed(self, data: bytes) -> bytes | None:
        """The answering frame; None = more is needed."""
        frames = self._scan.feed(data)
        return next((raw for raw in frames if raw != self._request and not crc(raw)), None)

    def failure(self) -> ProtocolError:
        """Silent, Damaged or Mismatched, by what has come so far."""
        rest = self._scan.received.replace(self._request, b"", 1)
        if not (strangers := _strangers_rtu(rest)) and _answers_tcp(self._request, rest):
            return _other_framing(f"Modbus TCP ({quote(rest)})", "RTU", "modbus-tcp")
        return verdict(rest, strangers, self._wanted)


class TcpRecogniser:
    """The reply to one request on TCP: transaction, protocol 0, length, unit, function and byte count fit."""

    def __init__(self, request: bytes) -> None:
        asked = parse_tcp(request)
        head = request[:4] + (3 + asked.width).to_bytes(2) + bytes([asked.unit, asked.function, asked.width])
        refused = request[:4] + b"\0\3" + bytes([asked.unit, asked.function | EXCEPTION])
        self._wanted = f"transaction {quote(request[:2])}, {asked.width} bytes of function {asked.function:02X}"
        self._request = request
        self._scan = _Scan(((head, reply_length_tcp(asked)), (refused, 9)))

    def feed(self, data: bytes) -> bytes | None:
        """The answering frame; None = more is needed."""
        return next((raw for raw in self._scan.feed(data) if raw != self._request), None)

    def failure(self) -> ProtocolError:
        """Silent, Damaged or Mismatched, by what has come so far."""
        rest = self._scan.received.replace(self._request, b"", 1)
        if not (strangers := _strangers_tcp(rest)) and (others := _strangers_rtu(rest)):
            return _other_framing(f"RTU ({others[0]})", "Modbus TCP", "rtu")
        return verdict(rest, strangers, self._wanted)


class _Scan:
    """Finds byte strings of known head and length at any offset of a stream, in the order in which they end."""

    def __init__(self, shapes: tuple[tuple[bytes, int], ...]) -> None:
        self._shapes = shapes
        self._buffer = bytearray()
        self._decided = [0] * len(shapes)

    @property
    def received(self) -> bytes:
        """The last bytes that came, to explain a failure."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Every candidate completed by ``data``."""
        self._buffer += data
        found: list[tuple[int, int]] = []
        for shape, (head, length) in enumerate(self._shapes):
            last = len(self._buffer) - length
            start = self._buffer.find(head, self._decided[shape])
            while 0 <= start <= last:
                found.append((start + length, start))
                start = self._buffer.find(head, start + 1)
            self._decided[shape] = max(self._decided[shape], last + 1)
        frames = [bytes(self._buffer[start:end]) for end, start in sorted(found)]
        self._trim()
        return frames

    def _trim(self) -> None:
        """Keep ``LIMIT`` bytes; no reply is that long, so none that is still open is cut."""
        cut = max(0, len(self._buffer) - LIMIT)
        del self._buffer[:cut]
        self._decided = [max(0, start - cut) for start in self._decided]


def _payload(asked: Request, unit: int, pdu: bytes) -> bytes:
    if unit != asked.unit:
        raise Mismatched(f"unit {unit}, expected {asked.unit}")
    if pdu[0] == asked.function | EXCEPTION:
        if len(pdu) != 2:
            raise Damaged(f"exception of {len(pdu)} bytes {quote(pdu)}, expected 2")
        raise Refused(refusal(unit, asked.function, pdu[1]), pdu[1])
    if pdu[0] != asked.function:
        raise Mismatched(f"function {pdu[0]:02X}, expected {asked.function:02X}")
    if len(pdu) < 2 or pdu[1] != len(pdu) - 2:
        raise Damaged(f"{quote(pdu)}: byte count does not fit, expected {max(len(pdu) - 2, 0)}")
    if pdu[1] != asked.width:
        raise Mismatched(f"{pdu[1]} bytes of data, expected {asked.width}")
    return pdu[2:]


def _strangers_rtu(data: bytes) -> list[str]:
    """The valid serial frames among these bytes, in words; only to explain a failure."""
    found = []
    for start in range(len(data) - 4):
        unit, function, third = data[start : start + 3]
        if function in MOST:
            lengths = [5 + third, 8]
        elif function & ~EXCEPTION in MOST:
            lengths = [5]
        else:
            continue
        if any(start + size <= len(data) and not crc(data[start : start + size]) for size in lengths):
            found.append(f"function {function:02X} of unit {unit}")
    return found


def _other_framing(found: str, expected: str, setting: str) -> OtherFraming:
    cause = "cause.modbus.rtu_in_tcp" if setting == "rtu" else "cause.modbus.tcp_in_rtu"
    message = f'the other framing: found {found}, expected {expected}; the port needs framing = "{setting}"'
    return OtherFraming(message, found=found, expected=expected, cause=cause)


def _answers_tcp(request: bytes, data: bytes) -> bool:
    """Whether these bytes are what a Modbus TCP server makes of a serial request: it takes unit and function for the
    transaction, gives them back, and refuses what it takes for the function.
    """
    try:
        split_tcp(data)
    except Damaged:
        return False
    return data[:2] == request[:2]


def _strangers_tcp(data: bytes) -> list[str]:
    """The well-formed TCP frames among these bytes, in words; only to explain a failure."""
    found = []
    for start in range(len(data) - 8):
        length = int.from_bytes(data[start + 4 : start + 6])
        try:
            transaction, unit, pdu = split_tcp(data[start : start + 6 + length])
        except Damaged:
            continue
        if pdu[0] & ~EXCEPTION in MOST:
            found.append(f"transaction {transaction:04X}, function {pdu[0]:02X} of unit {unit}")
    return found
