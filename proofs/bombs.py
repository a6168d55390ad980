"""Bombs: what a stranger or the thief of a key can send to a running collector, and what it costs it."""

import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import cbor2
import zstandard

from proofs import heat, thief
from proofs.gateway import Gateway, live
from proofs.line import Line
from proofs.target import Send, Target, get, post, target
from protocols.record import cbor
from protocols.record.answer import encode_batch
from protocols.record.cose import PublicKey

PART = "bytes"
MOST_GROWTH = 64 << 20
MOST_CPU_S = 0.25
TIMES, MOST_TURNS = 3, 600
"""How often each is thrown; one that is read in several turns until it is taken, the longest some sixty times."""
NOT_YET = 409
MEBI = 1 << 20


def prove(folder: Path, seed: int, gateway: Gateway) -> Iterator[Line]:
    """Each bomb three times: what a stranger can send, then what the key of an enrolled gateway can sign."""
    beside = live(folder / "beside", seed, 1)
    with target(folder / "bombed") as collector:
        collector.enrol(beside)
        collector.neighbour = post("v1/blocks", encode_batch(beside.frames[:1]))
        key, heated = _enrolled(collector, gateway), heat.live(folder / "heated", seed)
        yield _thrown(collector, dict(_bombs(gateway.frames[0])), "bombs and oversize bodies", seed)
        yield _thrown(collector, dict(thief.signed(gateway, key)), "bombs signed by an enrolled gateway", seed)
        key = _enrolled(collector, heated)
        yield _thrown(collector, dict(heat.signed(heated, key)), "bombs signed by a gateway of an M-Bus meter", seed)


def _enrolled(collector: Target, gateway: Gateway) -> PublicKey:
    """The key of a collector that knows this gateway: warm, and with a chain whose next link a bomb can be."""
    key = collector.enrol(gateway)
    for frame in gateway.frames[:-1]:
        collector.cost(post("v1/blocks", encode_batch([frame])))
    return key


def _thrown(collector: Target, bombs: Mapping[str, Send], title: str, seed: int) -> Line:
    """Each so many times; one that is read in several turns until it is taken."""
    cpu, whole, most, tried, found = 0.0, 0.0, 0, Counter[str](), list[str]()
    for name, send in bombs.items():
        for turn in range(1, MOST_TURNS + 1):
            cost = collector.cost(send)
            tried[name] += 1
            cpu, whole, most = max(cpu, cost.cpu_s), max(whole, cost.all_s), max(most, cost.growth)
            wrong = cost.cpu_s > MOST_CPU_S or cost.growth > MOST_GROWTH or cost.status >= 500
            if wrong or not collector.alive():
                found.append(f"{name}: {cost}")
            if turn >= TIMES and (cost.status != NOT_YET or thief.WHOLE not in name):
                break
        else:
            found.append(f"{name}: not taken in {MOST_TURNS} turns")
    figures = f"at most {cpu * 1000:.0f} ms of processor at a time, {whole * 1000:.0f} ms in all, {most / MEBI:.0f} MiB"
    return Line(PART, title, seed, tried.total(), len(found), dict(tried), figures=figures, found=tuple(found))


def _bombs(frame: bytes) -> Iterator[tuple[str, Send]]:
    """What is sent, each with its name."""
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(512 * MEBI))
    unstated = _unstated(64 * MEBI)
    yield "zstd frame that states 512 MiB", post("v1/blocks", encode_batch([zeros]))
    yield "zstd frame that states nothing and holds 64 MiB", post("v1/blocks", encode_batch([unstated]))
    yield "64 frames of a full MiB", post("v1/blocks", encode_batch([_full(frame)] * 64))
    yield "frame with a window of 2 GiB", post("v1/blocks", encode_batch([_wide()]))
    yield "body of 100 MiB", post("v1/blocks", bytes(100 * MEBI))
    chunked = b"POST /v1/blocks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    yield "body without end", _endless(chunked + b"\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n")
    yield "headers without end", _endless(chunked, b"a: b\r\n" * 10_000)
    yield "a header without end", _endless(chunked + b"a: ", b"b" * 65_536)
    yield "a path without end", _endless(b"GET /", b"a" * 65_536)
    yield "trailers without end", _endless(chunked + b"\r\n0\r\n", b"a: b\r\n" * 10_000)
    yield "a million empty frames", post("v1/blocks", b"\x40" * MEBI)
    yield "nested arrays", post("v1/configs", b"\x81" * (MEBI - 1) + b"\x80")
    yield "array that claims 2^36 items", post("v1/configs", b"\x9b" + (1 << 36).to_bytes(8))
    yield "decimal fraction of a thousand million digits", post("v1/configs", _decimal())
    yield "a million small items", post("v1/enrolments", b"\x9a" + (MEBI - 5).to_bytes(4) + bytes(MEBI - 5))
    yield "profiles without number", post("v1/configs", cbor.encode({0: b"x", 1: [b""] * 200_000}))
    yield "JSON where bytes are meant", post("v1/blocks", json.dumps([[]] * 200_000).encode())
    yield "query of 60 kB", get(f"v1/intervals?gateway={'0' * 60_000}")


def _endless(head: bytes, piece: bytes) -> Send:
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
