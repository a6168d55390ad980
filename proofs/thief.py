"""What the thief of a gateway's key can sign: blocks as large as a frame may be, and as laborious."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import httpx
import zstandard
from msgspec.structs import replace

from drivers.installation import Installation
from drivers.plan import due_bounds
from proofs.gateway import MINUTE, Gateway
from proofs.target import WITHOUT, Send, post
from protocols import dlt645, hj212, modbus
from protocols.dlt645 import PREAMBLE, Frame
from protocols.record import block, cbor, cose, transport
from protocols.record.answer import decode_answers, encode_batch
from protocols.record.block import BLOCK_AAD, BLOCK_TYPE, Chunk, Counters, Event, EventKind, Header, Sealed, Track
from protocols.record.chunk import MOST_REPLIES
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

MOST_DATA = 1_040_000
"""Of answers with their times in a block, in bytes."""
PRECEDED = ("dlt645", "cjt188")
"""Protocols that take any number of FE before a question: of one with more the plan says nothing."""
SERIAL = 13
"""Where the serial number stands in an answer of CJ/T 188, right behind the identifier."""
DAY_MS = 86_400_000
ENERGY, ENERGIES, NUMBER, ANSWER = "00010000", "0001FF00", "04000402", 0x91
"""Of DL/T 645: an energy, those of all tariffs, the number of the meter, and an answer to a question for them."""
HIGH, LOW = 0x44, 0x42
"""A register full of the one stands far above one full of the other, be it binary or of decimal digits."""
WHOLE = "answers of it, until they are taken"
JUMPING = "answers with registers that fall and rise"
ALARM = Event(EventKind.BUS_FAULT, 0, 0, "x")


class Thief:
    """Who has a gateway's key and signs what he likes, each time in the next place of its chain and of its time."""

    def __init__(self, gateway: Gateway, collector: PublicKey) -> None:
        self._key, self._collector, self._known = gateway.config.key, collector, gateway.frames[0]
        self._header = header = block.open_header(transport.unpack(gateway.frames[-1]).envelope, self._key.public)
        self._began = {(header.epoch, header.seq): (header.mono[0], header.utc[0])}

    def blocks(self, chunks: list[Chunk], count: int = 1, events: int = 0) -> Send:
        """Sends so many blocks of these chunks and so many events, one after another in one batch."""
        made = block.seal(self._header, chunks, self._key)
        content = block.open_header(made.envelope, self._key.public).chunks

        def send(url: str) -> int:
            header, frames = replace(self._next(url), chunks=content, events=(ALARM,) * events), list[bytes]()
            for _ in range(count):
                sealed = self._sealed(header, made.chunks)
                frames.append(_squeezed(sealed.envelope, sealed.chunks))
                header = self._after(header, sealed)
            return post("v1/blocks", encode_batch(frames))(url)

        return send

    def day(self, chunks: list[Chunk]) -> Send:
        """Sends a block of a day, of which these chunks are all that is left beside a gap, until it is taken."""
        signed = dict[bytes, bytes]()

        def send(url: str) -> int:
            header = self._next(url, DAY_MS)
            if header.previous not in signed:
                gap = Event(EventKind.GAP, *header.utc, "x")
                sealed = block.seal(replace(header, events=(gap,)), chunks, self._key)
                self._after(header, sealed)
                signed[header.previous] = _squeezed(sealed.envelope, sealed.chunks)
            return post("v1/blocks", encode_batch([signed[header.previous]]))(url)

        return send

    def padded(self, chunks: list[Chunk]) -> Send:
        """Sends a block with its leaves many times over: more than it has signed."""

        def send(url: str) -> int:
            sealed = block.seal(self._next(url), chunks, self._key)
            leaves = sealed.chunks * (900_000 // len(b"".join(sealed.chunks)))
            return post("v1/blocks", encode_batch([_squeezed(sealed.envelope, leaves)]))(url)

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


def signed(gateway: Gateway, collector: PublicKey) -> Iterator[tuple[str, Send]]:
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
    yield from _jumps(gateway.config.installation, thief)


def _answers(gateway: Gateway, thief: Thief) -> Iterator[tuple[str, Send]]:
    """Of a device of each protocol as many answers as a block of a day holds, no two alike side by side: all good, or
    the last one broken, or all in one. Where a question can be put in other words, they answer that: no plan bounds
    them.
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
            yield f"{protocol}: {many:,} {what}", thief.day(owed(installation, chunk.device, track))
        joined = Track.of(asked, [0], [b"".join(answers)])
        yield f"{protocol}: an answer that is all of them", thief.day(owed(installation, chunk.device, joined))


def _jumps(installation: Installation, thief: Thief) -> Iterator[tuple[str, Send]]:
    """Registers that fall and rise again from one answer to the next, which are looked at one by one, as many as a
    block of a day holds; and a number that is another one each time, so that the count begins again as often.
    """
    protocols = [driver.profile.protocol for driver in installation.drivers]
    device = protocols.index("modbus")
    query = next(query for query in installation.drivers[device].queries() if b"\x03\x00\x00" in query.request)
    unit, function, words = query.request[0], query.request[1], query.request[5]
    jumps = [modbus.frame_rtu(unit, bytes((function, 2 * words)) + bytes([fill]) * 2 * words) for fill in (HIGH, LOW)]
    many = min(due_bounds([query], DAY_MS)[1], MOST_DATA // (len(jumps[0]) + 3))
    yield f"modbus: {many:,} {JUMPING}", thief.day(owed(installation, device, by_turns(query.request, jumps, many)))
    device = protocols.index("dlt645")
    address = installation.site.device[device].address

    def pair(di: str, size: int) -> list[bytes]:
        data = [bytes.fromhex(di)[::-1] + bytes([fill]) * size for fill in (HIGH, LOW)]
        return [Frame(address, ANSWER, each).to_bytes() for each in data]

    def track(di: str, answers: Sequence[bytes], many: int) -> Track:
        return by_turns(bytes([PREAMBLE]) + dlt645.read_request(address, di), answers, many)

    energy, energies, number = pair(ENERGY, 4), pair(ENERGIES, 20), pair(NUMBER, 6)
    many = MOST_DATA // (len(energy[0]) + 3)
    yield f"dlt645: {many:,} {JUMPING}", thief.day(owed(installation, device, track(ENERGY, energy, many)))
    many = MOST_DATA // (len(number[0]) + len(energies[0]) + 6)
    for registers, what in ((energies, "that fall and rise"), (energies[:1], "that stand")):
        tracks = track(NUMBER, number, many), track(ENERGIES, registers, many)
        yield f"dlt645: {many:,} numbers between registers {what}", thief.day(owed(installation, device, *tracks))


def by_turns(asked: bytes, pair: Sequence[bytes], many: int) -> Track:
    """So many answers over a day, the one and the other by turns."""
    return Track.of(asked, [DAY_MS * place // many for place in range(many)], [*islice(cycle(pair), many)])


def owed(installation: Installation, device: int, *tracks: Track) -> list[Chunk]:
    """The chunks of a day of which these tracks of one device are left, the rest of the plan lost in a gap."""
    chunks = []
    for number, driver in enumerate(installation.drivers):
        own = tracks if number == device else ()
        told = {track.request: len(track.times) for track in own if track.request != b""}
        lost = 0
        for query in driver.queries():
            lost += max(0, due_bounds([query], DAY_MS)[0] - told.get(query.request, 0))
        counters = Counters.of(own, (), lost)
        chunks.append(Chunk(number, installation.digests[number], own, (), counters, None, number.to_bytes(16)))
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
