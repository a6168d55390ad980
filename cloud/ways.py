"""How records come in, whatever carries them: a path and raw bytes in, a status and raw bytes out.

HTTP and MQTT serve the same ways. Nothing is parsed before its signature is checked.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud import formers, problem
from cloud.collector import Collector
from cloud.enrolments import open_brought
from cloud.problem import Problem
from cloud.store import Answered
from drivers import site as sites
from protocols import messages
from protocols.errors import EncodingError, EnrolmentError
from protocols.record import answer, cbor, cose, shape, siteconfig
from protocols.record.answer import Answer, Answers, Verdict
from protocols.record.receipt import RECEIPT_TYPE

CBOR = "application/cbor"
MOST_PROFILES = 64
MOST_ITEMS = 2 * MOST_PROFILES
"""In the body of an enrolment or a configuration, keys and all."""
MOST_RECEIPTS = 64
FEW_WAITING, PAUSE_MS, LONGEST_PAUSE_MS = 16, 50, 10_000
"""Jobs that may wait for the writer before a back-fill is slowed down; the pause for each more (ms), the longest."""
MOST_UNPACKED = 4 << 20
"""Bytes of the blocks of a batch, unpacked, that are taken at once: what a batch may cost. The rest is sent again."""
_MAP_OF_TWO = b"\xa2"
_TOO_MUCH = f"found more than {MOST_UNPACKED} bytes of blocks in a batch, expected the rest in another one"


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes back: an HTTP status, a body of ``media`` type, and headers beside."""

    status: int
    body: bytes
    media: str = CBOR
    headers: Mapping[str, str] = field(default_factory=dict)


Work = Callable[[Collector, bytes], Awaitable[Sent]]


async def serve(collector: Collector, path: str, body: bytes, language: messages.Language, request: str) -> Sent:
    """The answer to a body that was posted to a path; an error of ours as its problem document (RFC 9457).

    ``request`` names the request in the document. What is no error of ours is raised.
    """
    try:
        if path not in WAYS:
            raise problem.missing("path", path)
        return await WAYS[path].work(collector, body)
    except Exception as error:
        found = problem.of(error)
        if found.status == 500:
            raise
        return refusal(found, path, language, request)


def refusal(found: Problem, path: str, language: messages.Language, request: str) -> Sent:
    """A problem as it goes back."""
    return Sent(found.status, problem.document(found, path, language, request), problem.MEDIA_TYPE, found.headers)


async def blocks(collector: Collector, data: bytes) -> Sent:
    """POST /v1/blocks: a batch in, a verdict for each block and the newest receipts out, after the commit."""
    frames = answer.decode_batch(data)
    taken = answer.within(frames, MOST_UNPACKED)
    answered: Answered = await collector.writer.append(frames[:taken])
    rest = (Verdict(Answer.GAP, None, "", _TOO_MUCH),) * (len(frames) - taken)
    answered = answered._replace(verdicts=answered.verdicts + rest)
    return Sent(status_of(answered.verdicts), _answers(answered, collector.writer.waiting))


async def receipts(collector: Collector, data: bytes) -> Sent:
    """POST /v1/receipts: receipts of this collector in, as it once signed them; no verdicts, and its newest receipts
    out. A collector that was restored from an older copy learns from them how far it was. Or, as {0: key of a former
    collector, signed by the gateway, 1: [receipts]}, receipts under that key: nothing comes of them but the record.
    """
    if data.startswith(_MAP_OF_TWO):
        return await _formers(collector, data)
    brought, at = _envelopes(data), collector.now()
    answered = await collector.writer.run(lambda: collector.store.remember(brought, at))
    return Sent(200, _answers(answered, collector.writer.waiting))


async def _formers(collector: Collector, data: bytes) -> Sent:
    brought, found = shape.fields(_decoded(data), 2, "receipts of a former collector")
    former, at = shape.octets(brought, "former collector"), collector.now()
    envelopes = [shape.octets(entry, "receipt") for entry in shape.array(found, "receipts")]
    if len(envelopes) > MOST_RECEIPTS:
        raise EncodingError(f"receipts: found {len(envelopes)}, expected at most {MOST_RECEIPTS}")
    await collector.writer.run(lambda: formers.take(collector.store, former, envelopes, at))
    return Sent(200, answer.encode_answers(Answers((), None)))


async def enrolments(collector: Collector, data: bytes) -> Sent:
    """POST /v1/enrolments: {0: code, 1: enrolment, 2: configuration, 3: [profiles]} in; the collector's key and the
    first receipt out. In place of the code a receipt of this collector, which lost its store; and 4: the envelope of
    the oldest block held, where that is not the first.
    """
    body = _decoded(data)
    if isinstance(body, dict):
        body = body | {4: body.get(4)}
    proof, enrolment, config, profiles, oldest = shape.fields(body, 5, "enrolment")
    given = (shape.octets(enrolment, "enrolment"), shape.octets(config, "configuration"), _profiles(profiles))
    first, at = None if oldest is None else shape.octets(oldest, "oldest block"), collector.now()
    if isinstance(proof, bytes):
        brought = open_brought(*given, first)
        receipt = await collector.writer.run(lambda: collector.store.readmit(proof, brought, at))
    else:
        code = shape.text(proof, "code")
        receipt = await collector.writer.run(lambda: collector.store.enrol(code, *given, at, oldest=first))
    return Sent(201, cbor.encode({0: collector.key.algorithm, 1: collector.key.spki, 2: receipt}))


async def configs(collector: Collector, data: bytes) -> Sent:
    """POST /v1/configs: {0: configuration, 1: [profiles]}, signed by the technician of the gateways of its site."""
    config, profiles = shape.fields(_decoded(data), 2, "configuration")
    envelope, files, at = shape.octets(config, "configuration"), _profiles(profiles), collector.now()
    new = await collector.writer.run(lambda: _put(collector, envelope, files, at))
    return Sent(201 if new else 200, cbor.encode({0: int(new)}))


def status_of(verdicts: Sequence[Verdict]) -> int:
    """200 when every block is held, 409 when one left a gap or conflicts, else 403: refused."""
    answers = {verdict.answer for verdict in verdicts}
    if answers & {Answer.GAP, Answer.CONFLICT}:
        return 409
    return 403 if Answer.REFUSED in answers else 200


def _answers(answered: Answered, waiting: int) -> bytes:
    """``waiting``: jobs that wait for the writer; from a few on a back-fill is asked to leave it to the live blocks."""
    pause = min(LONGEST_PAUSE_MS, PAUSE_MS * max(0, waiting - FEW_WAITING))
    return answer.encode_answers(Answers(answered.verdicts, answered.receipt, answered.settled, pause))


def _envelopes(data: bytes) -> list[bytes]:
    """The receipts in a body, one after another; EncodingError."""
    found: list[bytes] = []
    while data:
        if len(found) == MOST_RECEIPTS:
            raise EncodingError(f"receipts: found more than {MOST_RECEIPTS}, expected at most that many")
        end = cose.end_of(data)
        found.append(data[:end])
        data = data[end:]
    if not found:
        raise EncodingError("receipts: found none, expected at least one")
    return found


def _decoded(data: bytes) -> Any:
    """The item in a body of few strings; EncodingError. Its outline is walked first: a decoder would make a million
    objects of a megabyte of small items, for anybody who sends it.
    """
    at = items = 0
    while at < len(data):
        items, kind, length = items + 1, data[at] >> 5, data[at] & 0x1F
        width = 0 if length < 24 else 1 << (length - 24)
        if items > MOST_ITEMS or width > 8:
            raise EncodingError(f"found item {items} at byte {at}, expected at most {MOST_ITEMS} of definite length")
        if width:
            length = int.from_bytes(data[at + 1 : at + 1 + width])
        at += 1 + width + (length if kind in (2, 3) else 0)
    return cbor.decode(data)


def _profiles(value: Any) -> list[bytes]:
    files = [shape.octets(entry, "profile") for entry in shape.array(value, "profiles")]
    if len(files) > MOST_PROFILES:
        raise EncodingError(f"profiles: found {len(files)}, expected at most {MOST_PROFILES}")
    return files


def _put(collector: Collector, envelope: bytes, files: list[bytes], at: int) -> bool:
    """Whether it was new to any gateway of its site whose newest configuration it follows.

    EnrolmentError when no technician of ours signed it; when it follows none, what is wrong with it for the first.
    """
    found = [collector.store.gateway(identity) for identity in collector.store.gateways_of_technician(envelope)]
    gateways = [gateway for gateway in found if gateway is not None]
    if not gateways:
        raise EnrolmentError(
            f"found a configuration signed by {cose.kid_of(envelope).hex()}, expected a technician of a gateway here"
        )
    config = siteconfig.open_site(envelope, gateways[0].technician)
    site, previous = sites.load(config.site).site.id, config.previous
    meant = [gateway.id for gateway in gateways if gateway.site == site]
    if not meant:
        raise EnrolmentError(
            f"found a configuration of site {site!r}, expected a site this technician has enrolled here"
        )
    takers = [gateway for gateway in meant if _takes(collector, gateway, envelope, previous)]
    return True in [collector.store.put_config(gateway, envelope, files, at) for gateway in takers or meant[:1]]


def _takes(collector: Collector, gateway: bytes, envelope: bytes, previous: bytes) -> bool:
    """Whether a configuration is held by this gateway of its site, or follows the newest one held."""
    held = [config.digest for config in collector.store.configurations(gateway)]
    return siteconfig.digest(envelope) in held or held[-1:] == [previous]


@dataclass(frozen=True, slots=True)
class Way:
    """One way in, for the machine and for the OpenAPI document: ``answers`` tells what each status means."""

    work: Work
    summary: str
    media: str
    answers: Mapping[str, str]


WAYS: Mapping[str, Way] = {
    "/v1/blocks": Way(
        blocks,
        "Up to 64 blocks of one gateway, at most 1 MiB: a CBOR sequence of zstd frames (docs/RECORD.md)",
        answer.BATCH_TYPE,
        {
            "200": "Every block is stored or was held; a verdict for each and the signed receipts",
            "403": "A block was refused; verdicts",
            "409": "A gap or a conflict; verdicts say which seq is wanted",
        },
    ),
    "/v1/receipts": Way(
        receipts,
        "Receipts of this collector that a gateway holds, one after another: how far the chain was once; or, of a"
        " collector it had before, {0: key, signed by the gateway, 1: [receipts]}",
        RECEIPT_TYPE,
        {"200": "The newest signed receipts: from there the gateway goes on"},
    ),
    "/v1/enrolments": Way(
        enrolments,
        "A gateway enrols by its one-time code, or by a receipt of this collector while that is allowed:"
        " {0: code or receipt, 1: enrolment, 2: configuration, 3: [profiles], 4: envelope of the oldest block, if any}",
        CBOR,
        {"201": "{0: algorithm, 1: SPKI of the collector, 2: receipt}"},
    ),
    "/v1/configs": Way(
        configs,
        "A signed site configuration: {0: configuration, 1: [profiles]}",
        CBOR,
        {"201": "Taken", "200": "Held already"},
    ),
}
