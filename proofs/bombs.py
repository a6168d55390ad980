"""Bombs: what a stranger or the thief of a key can send to a running collector, and what it costs it."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import cbor2
import httpx
import zstandard
from msgspec.structs import replace

from drivers.installation import Installation
from drivers.plan import due_bounds
from edge.config import COLLECTOR, load_collector
from proofs.gateway import MINUTE, Gateway
from proofs.line import Line
from protocols import hj212
from protocols.dlt645 import PREAMBLE
from protocols.record import block, cbor, cose, transport
from protocols.record.answer import decode_answers, encode_batch
from protocols.record.block import BLOCK_AAD, BLOCK_TYPE, Chunk, Counters, Event, EventKind, Header, Sealed, Track
from protocols.record.chunk import MOST_REPLIES
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt
from provisioning.enrol import enrol

PART = "bytes"
MOST_GROWTH = 64 << 20
MOST_CPU_S = 0.25
MOST_DATA = 1_040_000
"""Of answers with their times in a block, in bytes."""
PRECEDED = ("dlt645", "cjt188")
"""Protocols that take any number of FE before a question: of one with more the plan says nothing."""
SERIAL = 13
"""Where the serial number stands in an answer of CJ/T 188, right behind the identifier."""
DAY_MS = 86_400_000
START_S = 30.0
TIMES = 3
WHOLE, NOT_YET = "answers of it, until they are taken", 409
MEBI = 1 << 20
ALARM = Event(EventKind.BUS_FAULT, 0, 0, "x")
WITHOUT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""No certificate is read: only HTTP is spoken here, and to read those of all the world takes as long as ten bombs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request cost the collector: seconds of processor, bytes its largest memory grew by, and the answer. With
    what is booked of it behind the answer.
    """

    cpu_s: float
    growth: int
    status: int


class Target:
    """A running collector."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self._process, self.url = process, url

    def cost(self, send: Callable[[str], int]) -> Cost:
        """Send, and see what it took."""
        self._forget_peak()
        cpu, memory = self._cpu_s(), self._peak()
        status = send(self.url)
        httpx.get(f"{self.url}v1/incidents", timeout=30, verify=WITHOUT).raise_for_status()
        return Cost(self._cpu_s() - cpu, self._peak() - memory, status)

    def _forget_peak(self) -> None:
        """Let the largest memory so far be what is held now: what a start or another bomb took hides nothing."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def alive(self) -> bool:
        """Whether it still answers."""
        return (
            self._process.poll() is None
            and httpx.get(f"{self.url}v1/health", timeout=10, verify=WITHOUT).status_code == 200
        )

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _peak(self) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


def prove(folder: Path, seed: int, gateway: Gateway) -> Iterator[Line]:
    """Each bomb three times: what a stranger can send, then what the key of an enrolled gateway can sign."""
    with target(folder / "bombed") as collector:
        code = invite(folder / "bombed")
        enrol(gateway.state, code, collector.url.rstrip("/"))
        held = load_collector(gateway.state / COLLECTOR)
        assert held is not None, "it has just been enrolled"
        for at in range(len(gateway.frames) - 1):  # warm, and with a chain whose next link a bomb can be
            collector.cost(_post("v1/blocks", encode_batch([gateway.frames[at]])))
        yield _thrown(collector, dict(_bombs(gateway.frames[0])), "bombs and oversize bodies", seed)
        yield _thrown(collector, dict(_signed(gateway, held.key)), "bombs signed by an enrolled gateway", seed)


def invite(data: Path) -> str:
    """A one-time code of the collector with this folder."""
    command = [sys.executable, "-m", "tanmeter", "cloud", "invite", "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _thrown(collector: Target, bombs: dict[str, Callable[[str], int]], title: str, seed: int) -> Line:
    """Each so many times; one that is read in several turns until it is taken."""
    cpu, most, tried, found = 0.0, 0, Counter[str](), list[str]()
    for name, send in bombs.items():
        for turn in count(1):
            cost = collector.cost(send)
            tried[name] += 1
            cpu, most = max(cpu, cost.cpu_s), max(most, cost.growth)
            wrong = cost.cpu_s > MOST_CPU_S or cost.growth > MOST_GROWTH or cost.status >= 500
            if wrong or not collector.alive():
                found.append(f"{name}: {cost}")
            if turn >= TIMES and (cost.status != NOT_YET or WHOLE not in name):
                break
    figures = f"at most {cpu * 1000:.0f} ms of processor, {most / MEBI:.0f} MiB"
    return Line(PART, title, seed, tried.total(), len(found), dict(tried), figures=figures, found=tuple(found))


@contextmanager
def target(data: Path) -> Iterator[Target]:
    """A collector of its own, started as anybody starts it."""
    command = [sys.executable, "-m", "tanmeter", "cloud", "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TANMETER_LANG": "en"})
    try:
        assert process.stderr is not None
        url = process.stderr.readline().rpartition(" ")[2].strip()
        held, limit = Target(process, url), time.monotonic() + START_S
        while not held.alive():
            if time.monotonic() > limit:
                raise SystemExit("the collector did not answer")
        yield held
    finally:
        process.kill()
        process.wait()


def _bombs(frame: bytes) -> Iterator[tuple[str, Callable[[str], int]]]:
    """What is sent, each with its name."""
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(512 * MEBI))
    unstated = _unstated(64 * MEBI)
    yield "zstd frame that states 512 MiB", _post("v1/blocks", encode_batch([zeros]))
    yield "zstd frame that states nothing and holds 64 MiB", _post("v1/blocks", encode_batch([unstated]))
    yield "64 frames of a full MiB", _post("v1/blocks", encode_batch([_full(frame)] * 64))
    yield "frame with a window of 2 GiB", _post("v1/blocks", encode_batch([_wide()]))
    yield "body of 100 MiB", _post("v1/blocks", bytes(100 * MEBI))
    chunked = b"POST /v1/blocks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    yield "body without end", _endless(chunked + b"\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n")
    yield "headers without end", _endless(chunked, b"a: b\r\n" * 10_000)
    yield "a header without end", _endless(chunked + b"a: ", b"b" * 65_536)
    yield "a path without end", _endless(b"GET /", b"a" * 65_536)
    yield "trailers without end", _endless(chunked + b"\r\n0\r\n", b"a: b\r\n" * 10_000)
    yield "a million empty frames", _post("v1/blocks", b"\x40" * MEBI)
    yield "nested arrays", _post("v1/configs", b"\x81" * (MEBI - 1) + b"\x80")
    yield "array that claims 2^36 items", _post("v1/configs", b"\x9b" + (1 << 36).to_bytes(8))
    yield "decimal fraction of a thousand million digits", _post("v1/configs", _decimal())
    yield "a million small items", _post("v1/enrolments", b"\x9a" + (MEBI - 5).to_bytes(4) + bytes(MEBI - 5))
    yield "profiles without number", _post("v1/configs", cbor.encode({0: b"x", 1: [b""] * 200_000}))
    yield "JSON where bytes are meant", _post("v1/blocks", json.dumps([[]] * 200_000).encode())
    yield "query of 60 kB", _get(f"v1/intervals?gateway={'0' * 60_000}")


class Thief:
    """Who has a gateway's key and signs what he likes, each time in the next place of its chain and of its time."""

    def __init__(self, gateway: Gateway, collector: PublicKey) -> None:
        self._key, self._collector, self._known = gateway.config.key, collector, gateway.frames[0]
        self._header = header = block.open_header(transport.unpack(gateway.frames[-1]).envelope, self._key.public)
        self._began = {(header.epoch, header.seq): (header.mono[0], header.utc[0])}

    def blocks(self, chunks: list[Chunk], count: int = 1, events: int = 0) -> Callable[[str], int]:
        """Sends so many blocks of these chunks and so many events, one after another in one batch."""
        made = block.seal(self._header, chunks, self._key)
        content = block.open_header(made.envelope, self._key.public).chunks

        def send(url: str) -> int:
            header, frames = replace(self._next(url), chunks=content, events=(ALARM,) * events), list[bytes]()
            for _ in range(count):
                sealed = self._sealed(header, made.chunks)
                frames.append(_squeezed(sealed.envelope, sealed.chunks))
                header = self._after(header, sealed)
            return _post("v1/blocks", encode_batch(frames))(url)

        return send

    def day(self, chunks: list[Chunk]) -> Callable[[str], int]:
        """Sends a block of a day, of which these chunks are all that is left beside a gap, until it is taken."""
        signed = dict[bytes, bytes]()

        def send(url: str) -> int:
            header = self._next(url, DAY_MS)
            if header.previous not in signed:
                gap = Event(EventKind.GAP, *header.utc, "x")
                sealed = block.seal(replace(header, events=(gap,)), chunks, self._key)
                self._after(header, sealed)
                signed[header.previous] = _squeezed(sealed.envelope, sealed.chunks)
            return _post("v1/blocks", encode_batch([signed[header.previous]]))(url)

        return send

    def padded(self, chunks: list[Chunk]) -> Callable[[str], int]:
        """Sends a block with its leaves many times over: more than it has signed."""

        def send(url: str) -> int:
            sealed = block.seal(self._next(url), chunks, self._key)
            leaves = sealed.chunks * (900_000 // len(b"".join(sealed.chunks)))
            return _post("v1/blocks", encode_batch([_squeezed(sealed.envelope, leaves)]))(url)

        return send

    def _sealed(self, header: Header, leaves: tuple[bytes, ...]) -> Sealed:
        """As ``block.seal`` makes it, of leaves that it has made and looked at before, under the root in the header."""
        payload = cbor.encode(block._written(header))
        return Sealed(cose.sign1(payload, self._key, BLOCK_TYPE, BLOCK_AAD), leaves)

    def _next(self, url: str, span: int = MINUTE) -> Header:
        held = httpx.post(f"{url}v1/blocks", content=encode_batch([self._known]), timeout=30, verify=WITHOUT)
        receipt = open_receipt(decode_answers(held.content).receipt or b"", self._collector)
        mono, utc = self._began[receipt.epoch, receipt.next_seq]
        header = replace(self._header, epoch=receipt.epoch, seq=receipt.next_seq, previous=receipt.head)
        return replace(header, mono=(mono, mono + span), utc=(utc, utc + span))

    def _after(self, header: Header, sealed: Sealed) -> Header:
        """The header of the next block, as long as this one and behind it."""
        span, mono, utc = header.mono[1] - header.mono[0], header.mono[1], header.utc[1]
        self._began[header.epoch, header.seq + 1] = mono, utc
        place = replace(header, seq=header.seq + 1, previous=sealed.hash)
        return replace(place, mono=(mono, mono + span), utc=(utc, utc + span))


def _signed(gateway: Gateway, collector: PublicKey) -> Iterator[tuple[str, Callable[[str], int]]]:
    """Blocks as large as a frame may be, and as laborious."""
    thief, digest = Thief(gateway, collector), gateway.config.installation.digests[0]
    request = gateway.config.installation.drivers[0].queries()[0].request

    def chunk(device: int, *tracks: Track) -> Chunk:
        counters = Counters.of(tracks, ())
        return Chunk(device, digest, tracks, (), counters, None, device.to_bytes(16))

    def same(request: bytes, count: int, reply: bytes) -> Track:
        return Track.of(request, [0] * count, [reply] * count)

    many = chunk(0, same(request, 65_536, b"\x68"))
    kinds = chunk(0, *[same(number.to_bytes(4), 1, bytes(8)) for number in range(1_024)])
    devices = [chunk(number) for number in range(1_024)]
    alike = [chunk(number, same(request, 1, bytes(30))) for number in range(1_024)]
    patient = [chunk(number, same(request, 1_024, b"\x68")) for number in range(450)]
    yield "a track of 65,536 replies of a byte", thief.blocks([many])
    yield "replies of 110 kB", thief.blocks([chunk(0, same(request, 8, bytes(110_000)))])
    yield "1,024 kinds of question", thief.blocks([kinds])
    yield "1,024 devices", thief.blocks(devices)
    yield "leaves over and over", thief.padded([chunk(0, same(request, 8, bytes(100)))])
    yield "64 blocks of 65,536 replies", thief.blocks([many], 64)
    yield "64 blocks of 1,024 kinds", thief.blocks([kinds], 64)
    yield "64 blocks of 1,024 devices", thief.blocks(devices, 64)
    yield "64 blocks of 1,024 devices that answer alike", thief.blocks(alike, 64)
    yield "64 blocks of 1,024 events", thief.blocks([], 64, events=1_024)
    yield "64 blocks of 450 devices that answer 1,024 times", thief.blocks(patient, 64)
    yield from _answers(gateway, thief)


def _answers(gateway: Gateway, thief: Thief) -> Iterator[tuple[str, Callable[[str], int]]]:
    """Of a device of each protocol as many answers as a block of a day holds, no two alike side by side: all good, or
    the last one broken. Where a question can be put in other words, they answer that: no plan bounds them.
    """
    installation, done = gateway.config.installation, set[str]()
    for said in [said for frame in reversed(gateway.frames) for said in transport.unpack(frame).chunks]:
        chunk = Chunk.from_bytes(said)
        protocol = installation.drivers[chunk.device].profile.protocol
        if not chunk.tracks or protocol in done:
            continue
        done.add(protocol)
        asked, answer = chunk.tracks[0].request, chunk.tracks[0].replies()[0]
        if protocol in PRECEDED:
            asked = bytes([PREAMBLE]) + asked
        known = [query for query in installation.drivers[chunk.device].queries() if query.request == asked != b""]
        most = due_bounds(known, DAY_MS)[1] if known else MOST_REPLIES
        many = min(most, MOST_DATA // (len(answer) + 2))
        answers = [_unlike(protocol, answer, number) for number in range(many)]
        last = answers[-1]
        broken = last[:-3] + bytes([last[-3] ^ 1]) + last[-2:]
        for what, end in ((WHOLE, last), ("answers, the last one broken", broken)):
            track = Track.of(asked, [0] * many, [*answers[:-1], end])
            yield f"{protocol}: {many:,} {what}", thief.day(_owed(installation, chunk.device, track))


def _owed(installation: Installation, device: int, track: Track) -> list[Chunk]:
    """The chunks of a day of which nothing is left but this track of one device, the rest of the plan lost in a gap."""
    chunks = []
    for number, driver in enumerate(installation.drivers):
        tracks = (track,) if number == device else ()
        lost = 0
        for query in driver.queries():
            told = len(track.times) if tracks and query.request == track.request != b"" else 0
            lost += max(0, due_bounds([query], DAY_MS)[0] - told)
        counters = Counters.of(tracks, (), lost)
        chunks.append(Chunk(number, installation.digests[number], tracks, (), counters, None, number.to_bytes(16)))
    return chunks


def _unlike(protocol: str, answer: bytes, number: int) -> bytes:
    """The answer with another number in it that says nothing, and as answers are not read many at once: of DL/T 645
    behind an FE, of CJ/T 188 with its identifier the other way round.
    """
    raw = bytearray(answer)
    if protocol == "dlt645":
        return bytes([PREAMBLE]) + answer
    if protocol == "cjt188":
        raw[SERIAL - 2 : SERIAL] = answer[SERIAL - 2 : SERIAL][::-1]
        raw[SERIAL], raw[-2] = number & 0xFF, 0
        raw[-2] = sum(raw) - raw[-1] & 0xFF
    elif protocol == "hj212":
        at = raw.index(b"QN=") + len("QN=20261123000000")
        raw[at : at + 3] = b"%03d" % (number % 1000)
        raw[-4:] = hj212.checksum(bytes(raw[6:-4]))
    return bytes(raw)


def _squeezed(envelope: bytes, leaves: Sequence[bytes]) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(b"".join((envelope, *leaves)))


def _post(path: str, body: bytes) -> Callable[[str], int]:
    def send(url: str) -> int:
        try:
            return httpx.post(f"{url}{path}", content=body, timeout=30, verify=WITHOUT).status_code
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            return 413  # hung up on before the end of the body: its refusal could not be read

    return send


def _get(path: str) -> Callable[[str], int]:
    return lambda url: httpx.get(f"{url}{path}", timeout=30, verify=WITHOUT).status_code


def _endless(head: bytes, piece: bytes) -> Callable[[str], int]:
    """Pieces behind a head for as long as they are taken; 413 when that was less than 32 MiB, else 599."""

    def send(url: str) -> int:
        at, sent = urlsplit(url), 0
        with socket.create_connection((str(at.hostname), int(at.port or 0)), timeout=10) as connection:
            try:
                connection.sendall(head)
                while sent < 64 * MEBI:
                    connection.sendall(piece)
                    sent += len(piece)
            except OSError:
                pass
        return 413 if sent < 32 * MEBI else 599

    return send


def _unstated(size: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    return packer.compress(bytes(size)) + packer.flush()


def _full(frame: bytes) -> bytes:
    """As much as a frame may hold, an honest envelope at its head."""
    data = zstandard.ZstdDecompressor().decompress(frame)
    return zstandard.ZstdCompressor(level=1).compress(data + bytes(MEBI - len(data)))


def _wide() -> bytes:
    widest = zstandard.ZstdCompressionParameters.from_level(19, window_log=31, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=widest).compressobj()
    return packer.compress(b"x" * 1000) + packer.flush()


def _decimal() -> bytes:
    return cbor2.dumps({0: cbor2.CBORTag(4, [1_000_000_000, 1]), 1: []})
