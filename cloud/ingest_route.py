"""How records come in: plain ASGI routes over raw bytes, so that nothing is parsed before its signature is checked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloud import body, problem
from cloud.collector import Collector
from cloud.problem import Problem
from drivers import site as sites
from protocols.errors import EncodingError, EnrolmentError
from protocols.record import answer, cbor, cose, shape, siteconfig
from protocols.record.answer import Answer, Answers, Verdict

CBOR = "application/cbor"
MOST_PROFILES = 64
MOST_ITEMS = 2 * MOST_PROFILES
"""In the body of an enrolment or a configuration, keys and all."""

WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "/v1/blocks": (
        "Up to 64 blocks of one gateway, at most 1 MiB: a CBOR sequence of zstd frames (docs/RECORD.md)",
        answer.BATCH_TYPE,
        {
            "200": "Every block is stored or was held; a verdict for each and the signed receipt",
            "403": "A block was refused; verdicts",
            "409": "A gap or a conflict; verdicts say which seq is wanted",
        },
    ),
    "/v1/enrolments": (
        "A gateway enrols by its one-time code: {0: code, 1: enrolment, 2: configuration, 3: [profiles]}",
        CBOR,
        {"201": "{0: algorithm, 1: SPKI of the collector, 2: receipt}"},
    ),
    "/v1/configs": (
        "A signed site configuration: {0: configuration, 1: [profiles]}",
        CBOR,
        {"201": "Taken", "200": "Held already"},
    ),
}
"""Summary, media type of the body, and the answers of each way in."""

Work = Callable[[Collector, bytes], Awaitable[Response]]


class Intake:
    """An ASGI endpoint that takes a POST of raw bytes under the cap and gives them to its work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, work, answer; any error of ours becomes its problem document."""
        try:
            if scope["method"] != "POST":
                raise Problem(405, "API-405", f"found {scope['method']}, expected POST", headers={"allow": "POST"})
            answered = await self._work(scope["app"].state.collector, await body.read(scope, receive))
        except Exception as error:
            found = problem.of(error)
            if found.status == 500:
                raise
            answered = problem.response(found, scope)
        await answered(scope, receive, send)


async def blocks(collector: Collector, data: bytes) -> Response:
    """POST /v1/blocks: a batch in, a verdict for each block and the newest receipt out, after the commit."""
    frames = answer.decode_batch(data)
    verdicts, receipt = await collector.writer.append(frames)
    return Response(answer.encode_answers(Answers(verdicts, receipt)), status_of(verdicts), media_type=CBOR)


async def enrolments(collector: Collector, data: bytes) -> Response:
    """POST /v1/enrolments: {0: code, 1: enrolment, 2: configuration, 3: [profiles]} in; the collector's key and the
    first receipt out."""
    code, enrolment, config, profiles = shape.fields(_decoded(data), 4, "enrolment")
    given = (shape.text(code, "code"), shape.octets(enrolment, "enrolment"), shape.octets(config, "configuration"))
    files, at = _profiles(profiles), collector.now()
    receipt = await collector.writer.run(lambda: collector.store.enrol(*given, files, at))
    return Response(cbor.encode({0: collector.key.algorithm, 1: collector.key.spki, 2: receipt}), 201, media_type=CBOR)


async def configs(collector: Collector, data: bytes) -> Response:
    """POST /v1/configs: {0: configuration, 1: [profiles]}, signed by the technician of the gateways of its site."""
    config, profiles = shape.fields(_decoded(data), 2, "configuration")
    envelope, files, at = shape.octets(config, "configuration"), _profiles(profiles), collector.now()
    new = await collector.writer.run(lambda: _put(collector, envelope, files, at))
    return Response(cbor.encode({0: int(new)}), 201 if new else 200, media_type=CBOR)


def described(path: str) -> dict[str, Any]:
    """How the OpenAPI document tells of a way in, which FastAPI does not see."""
    summary, media, answers = WAYS[path]
    problems = {"4XX": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}}
    return {
        "post": {
            "tags": ["ingest"],
            "summary": summary,
            "requestBody": {"required": True, "content": {media: {"schema": {"type": "string", "format": "binary"}}}},
            "responses": {status: {"description": told, "content": {CBOR: {}}} for status, told in answers.items()}
            | problems,
        }
    }


def status_of(verdicts: Sequence[Verdict]) -> int:
    """200 when every block is held, 409 when one left a gap or conflicts, else 403: refused."""
    answers = {verdict.answer for verdict in verdicts}
    if answers & {Answer.GAP, Answer.CONFLICT}:
        return 409
    return 403 if Answer.REFUSED in answers else 200


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
