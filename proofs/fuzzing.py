"""Fuzzing of every parser that faces a network: bytes in, an answer or an error of ours out, never anything else."""

import time
from collections.abc import Callable, Iterator
from random import Random

from benchmarks import fuzz
from drivers import profile_file, site
from proofs.gateway import Gateway
from proofs.line import Line, Tier
from protocols.errors import TanmeterError
from protocols.record import answer, block, chunk, cose, enrolment, former, invite, receipt, siteconfig, transport
from protocols.record.answer import Answer, Answers, Verdict
from protocols.record.cose import PrivateKey

PART = "bytes"
RECORD = {Tier.PULL: 15_000, Tier.NIGHTLY: 500_000, Tier.RELEASE: 20_000_000}
WIRE = {Tier.PULL: 20_000, Tier.NIGHTLY: 2_000_000, Tier.RELEASE: 100_000_000}
SIGNED = ("receipt", "former collector", "enrolment", "configuration")
SELDOM = ("site file", "profile", "header", *SIGNED, *[f"{name} that is signed" for name in SIGNED])
"""Of these a quarter: TOML and signing take longer than all else, and broken envelopes end at their signature."""
LONGEST = 1 << 16
Parser = Callable[[bytes], object]


def prove(gateway: Gateway, tier: Tier, seed: int) -> Iterator[Line]:
    """The parsers of the record, then those of the meters' wires."""
    count, violations, found, fired, begun = 0, 0, list[str](), dict[str, int](), time.process_time()
    for name, (parser, seeds) in parsers(gateway).items():
        inputs = RECORD[tier] // (4 if name in SELDOM else 1)
        reached, failure = feed(parser, seeds, Random(f"{seed}/{name}"), inputs)
        count, fired[f"{name} read"] = count + inputs, reached
        if failure:
            violations += 1
            found.append(f"{name}: {failure}")
    each = (time.process_time() - begun) / count * 1e6
    figures = f"{each:.0f} us each"
    yield Line(PART, "fuzzing of the record", seed, count, violations, fired, figures=figures, found=tuple(found))
    yield _wire(tier, seed)


def parsers(gateway: Gateway) -> dict[str, tuple[Parser, list[bytes]]]:
    """Every parser of bytes that a stranger can send, with honest bytes to break."""
    key, frames, signed = gateway.config.key.public, list(gateway.frames), gateway.config.in_force
    sealed = [transport.unpack(frame) for frame in frames]
    headers = [one.envelope for one in sealed]
    chunks = [leaf for one in sealed for leaf in one.chunks]
    signer = PrivateKey.generate()
    word = receipt.sign_receipt(receipt.Receipt(key.id, 0, 3, bytes(32), 1, gateway.end), signer)
    said = answer.encode_answers(Answers((Verdict(Answer.GAP, 3, "REC-602", "found 4, expected 3"),), word, None, 7))
    code = invite.make(bytes(range(9)), key.spki).format().encode()
    before = former.sign_former(gateway.config.key, signer.public)
    named = (gateway.config.enrolment, gateway.config.key, enrolment.ENROLMENT_TYPE, enrolment.ENROLMENT_AAD)
    return {
        "frame": (transport.unpack, frames),
        "batch": (answer.decode_batch, [answer.encode_batch(frames[:2])]),
        "header": (lambda data: block.open_header(data, key), headers),
        "chunk": (chunk.Chunk.from_bytes, chunks),
        "answers": (answer.decode_answers, [said]),
        "receipt": (lambda data: receipt.open_receipt(data, signer.public), [word]),
        "former collector": (lambda data: former.open_former(data, key), [before]),
        "enrolment": (enrolment.open_enrolment, [gateway.config.enrolment]),
        "configuration": (_configuration(gateway), [signed.envelope]),
        "invite": (lambda data: invite.parse(data.decode("utf-8", errors="replace")), [code]),
        "site file": (site.load, [signed.config.site]),
        "profile": (lambda data: profile_file.load(data, "fuzzed"), list(signed.profiles)),
        "header that is signed": (block.read_header, [cose.unverified(envelope) for envelope in headers]),
        "receipt that is signed": _signed(
            lambda data: receipt.open_receipt(data, signer.public),
            (word, signer, receipt.RECEIPT_TYPE, receipt.RECEIPT_AAD),
        ),
        "former collector that is signed": _signed(
            lambda data: former.open_former(data, key),
            (before, gateway.config.key, former.FORMER_TYPE, former.FORMER_AAD),
        ),
        "enrolment that is signed": _signed(enrolment.open_enrolment, named),
        "configuration that is signed": _signed(
            lambda data: siteconfig.open_site(data, signer.public),
            (signed.envelope, signer, siteconfig.SITE_TYPE, siteconfig.SITE_AAD),
        ),
    }


def _signed(parser: Parser, whole: tuple[bytes, PrivateKey, str, bytes]) -> tuple[Parser, list[bytes]]:
    """The parser of what is in an envelope, as the holder of a key can sign it however broken; what to break."""
    envelope, key, content_type, aad = whole
    return lambda payload: parser(cose.sign1(payload, key, content_type, aad)), [cose.unverified(envelope)]


def feed(parser: Parser, seeds: list[bytes], draw: Random, count: int) -> tuple[int, str]:
    """How many inputs were read, and the input that broke the parser with what it raised, if any."""
    reached = 0
    for number in range(count):
        data = _broken(bytearray(draw.choice(seeds)), seeds, draw) if number % 50 else draw.choice(seeds)
        try:
            parser(data)
            reached += 1
        except TanmeterError:
            pass
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            return reached, f"{data[:200].hex()}: {error!r}"
    return reached, ""


def _configuration(gateway: Gateway) -> Parser:
    technician = enrolment.open_enrolment(gateway.config.enrolment).technician
    return lambda data: siteconfig.open_site(data, technician)


def _wire(tier: Tier, seed: int) -> Line:
    names = [name for name in fuzz.parsers(fuzz.seeds()) if name.endswith(("frame", "answer"))]
    outcomes = [fuzz.run(name, seed, 0, WIRE[tier] // (1 if name.endswith("frame") else 10)) for name in names]
    fired = {f"{name} read": answered for name, _, answered, _, _ in outcomes}
    found = tuple(f"{name}: {failure}" for name, _, _, _, failure in outcomes if failure)
    tried = sum(count for _, count, _, _, _ in outcomes)
    return Line(PART, "fuzzing of the meters' protocols", seed, tried, len(found), fired, found=found)


def _broken(data: bytearray, seeds: list[bytes], draw: Random) -> bytes:
    for _ in range(draw.randrange(1, 4)):
        kind, at = draw.randrange(7), draw.randrange(len(data) + 1)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0x5F, 0x9F, 0xBF, 0xC4, 0xFB, draw.randrange(256)))
        elif kind == 2:
            del data[at : at + draw.randrange(1, 64)]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.randrange(1, 16))
        elif kind == 4:
            data[at:at] = draw.choice(seeds)[: draw.randrange(1, 200)]
        elif kind == 5:
            del data[at:]
        elif draw.random() < 0.1:
            return draw.randbytes(draw.randrange(200))
    return bytes(data[:LONGEST])
