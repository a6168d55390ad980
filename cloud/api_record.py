"""/v1: what gateways sent. Gateways, blocks, readings replayed from their blocks, incidents."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from cloud import problem, query
from cloud.collector import Collector, Held, algorithm, health
from cloud.frames import Frame, Opened
from cloud.opening import open_stored
from cloud.pages.render import dated, iso, spaced
from cloud.query import GatewayId, Instant, Json, Name, Number
from cloud.rows import Block, Gateway
from drivers import site as sites
from drivers.profile import Point
from drivers.reading import Reading

router = APIRouter(prefix="/v1", tags=["record"], responses=problem.DESCRIBED)
COUNTERS = ("due", "asked", "answered", "silent", "damaged", "refused")
SCAN = 200
"""Blocks looked up at a time while a page of readings fills."""


class BlockQuery(query.Walk):
    """Which blocks."""

    gateway: GatewayId


class FormQuery(query.Query):
    """In which form."""

    format: Literal["json", "cbor"] = "json"


class ReadingQuery(query.Walk):
    """Which readings."""

    gateway: GatewayId
    device: Name | None = None
    point: Name | None = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None


class Nothing(query.Query):
    """No parameter at all."""


@router.get("/gateways")
def gateways(held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """Every enrolled gateway and its health."""
    now = held.now()
    return Json(
        {"data": [_gateway(row, now) for row in held.store.gateways()], "as_of_seq": held.store.as_of(at_once=True)}
    )


@router.get("/gateways/{gateway}")
def gateway(gateway: GatewayId, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """One gateway: its key, its chain, its configurations, the newest value of every point."""
    row = gateway_row(held, gateway)
    configurations = [
        {"number": entry.number, "sha256": entry.digest.hex(), "valid_from": iso(entry.valid_from)}
        for entry in held.store.configurations(row.id)
    ]
    latest = [
        {
            "device": entry.device, "point": entry.point, "value": decimal(entry.value), "unit": entry.unit,
            "primary_value": decimal(entry.primary_value), "quality": entry.quality, "at": iso(entry.at),
            "dated": entry.dated, "epoch": entry.epoch, "seq": entry.seq,
        }
        for entry in held.store.latest(row.id)
    ]  # fmt: skip
    return Json(_gateway(row, held.now()) | {"configurations": configurations, "latest": latest})


@router.get("/blocks")
def blocks(held: Held, asked: Annotated[BlockQuery, Query()]) -> Json:
    """The blocks of a gateway in the order they came."""
    row = gateway_row(held, asked.gateway)
    (after,) = query.decode_cursor(asked.cursor, 1)
    as_of = held.store.as_of(at_once=True)
    found = held.store.blocks(row.id, after, asked.limit + 1)
    shown = found[: asked.limit]
    following = query.encode_cursor(shown[-1].ingest_seq if shown else after)
    data, more = [_block(entry) for entry in shown], len(found) > asked.limit
    told = asked.model_dump(by_alias=True)
    return query.page("/v1/blocks", data, told, following=following, more=more, as_of=as_of)


@router.get("/blocks/{gateway}/{epoch}/{seq}")
def block(gateway: GatewayId, epoch: Number, seq: Number, held: Held, asked: Annotated[FormQuery, Query()]) -> Response:
    """One block: opened, verified and replayed now; or its envelope and chunks as the CBOR sequence that was signed."""
    row = gateway_row(held, gateway)
    found = open_stored(held.store, row, epoch, seq)
    if found is None:
        raise problem.missing("block", f"{gateway}/{epoch}/{seq}")
    if asked.format == "cbor":
        raw = b"".join((found.sealed.envelope, *found.sealed.chunks))
        name = f"{gateway[:8]}-{epoch}-{seq}.cborseq"
        return Response(
            raw, media_type="application/cbor-seq", headers={"content-disposition": f'attachment; filename="{name}"'}
        )
    content = _block(found.row) | {
        "verified": found.ok,
        "checks": [{"name": check.name, "ok": check.ok, "found": check.error} for check in found.checks],
    }
    if found.opened is not None:
        content |= {"header": _header(found.opened), "devices": _devices(found.opened)}
    return Json(content)


@router.get("/readings")
def readings(held: Held, asked: Annotated[ReadingQuery, Query()]) -> Json:
    """Readings in the order their blocks came, each replayed now from its verified block, with the raw frames."""
    row = gateway_row(held, asked.gateway)
    after, skip = query.decode_cursor(asked.cursor, 2)
    as_of = held.store.as_of(at_once=True)
    data: list[dict[str, Any]] = []
    place, more = (after, skip), False
    for entry in _candidates(held, row, asked, after):
        items = _of_block(held, row, entry, asked)
        begin = skip if entry.ingest_seq == after + 1 else 0
        room = asked.limit - len(data)
        data += items[begin : begin + room]
        if begin + room < len(items):
            place, more = (entry.ingest_seq - 1, begin + room), True
            break
        place = (entry.ingest_seq, 0)
        if len(data) == asked.limit:
            more = entry.ingest_seq < as_of
            break
    following = query.encode_cursor(*place)
    told = asked.model_dump(by_alias=True)
    return query.page("/v1/readings", data, told, following=following, more=more, as_of=as_of)


@router.get("/incidents")
def incidents(held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """Conflicts, forks and refused blocks, newest first."""
    raised = [
        {
            "id": f"I-{row.id}", "kind": row.kind, "at": iso(row.at), "gateway": row.gateway.hex(),
            "epoch": row.epoch, "seq": row.seq, "detail": dated(row.detail),
        }
        for row in held.store.incidents()
    ]  # fmt: skip
    refused = [
        {
            "id": f"Q-{kept.id}", "kind": "refused", "at": iso(kept.at), "code": kept.code,
            "gateway": kept.gateway.hex() if kept.gateway else None, "epoch": kept.epoch, "seq": kept.seq,
            "signed": kept.signed, "sha256": kept.hash.hex(), "detail": dated(kept.reason),
        }
        for kept in held.store.quarantine()
    ]  # fmt: skip
    return Json({"data": sorted(raised + refused, key=lambda entry: str(entry["at"]), reverse=True)})


def gateway_row(held: Collector, text: str) -> Gateway:
    """The gateway of this id; Problem 404."""
    row = held.store.gateway(bytes.fromhex(text))
    if row is None:
        raise problem.missing("gateway", text)
    return row


def decimal(value: Any) -> str | None:
    """A decimal as text, every digit kept, None for none."""
    return None if value is None else f"{value:f}"


def _candidates(held: Collector, row: Gateway, asked: ReadingQuery, after: int) -> Iterator[Block]:
    """Booked blocks that may hold such readings, in the order they came, beginning behind ``after``."""
    since, to = query.optional_ms(asked.since), query.optional_ms(asked.to)
    if since is not None or to is not None:
        found = held.store.blocks_between(row.id, since or 0, to if to is not None else (1 << 62))
        ordered = sorted((entry for entry in found if entry.ingest_seq > after), key=lambda entry: entry.ingest_seq)
        yield from (entry for entry in ordered if entry.fault is None)
        return
    while batch := held.store.blocks(row.id, after, SCAN):
        yield from (entry for entry in batch if entry.fault is None)
        after = batch[-1].ingest_seq


def _of_block(held: Collector, row: Gateway, entry: Block, asked: ReadingQuery) -> list[dict[str, Any]]:
    """The readings of one block that were asked for; Problem 409 when the stored bytes no longer verify."""
    found = open_stored(held.store, row, entry.epoch, entry.seq)
    if found is None or found.opened is None:
        error = next((check.error for check in found.checks if not check.ok), "") if found else "gone"
        raise problem.Problem(409, "SIG-601", f"block {entry.epoch}/{entry.seq} as stored does not verify: {error}")
    since, to = query.optional_ms(asked.since), query.optional_ms(asked.to)
    return [
        _reading(found.opened, frame, reading, entry)
        for frame in found.opened.frames()
        if (since is None or frame.at >= since) and (to is None or frame.at < to)
        for reading in frame.readings
        if asked.device in (None, found.opened.installation.site.device[frame.device].id)
        and asked.point in (None, reading.point)
    ]


def _reading(opened: Opened, frame: Frame, reading: Reading, entry: Block) -> dict[str, Any]:
    device = opened.installation.site.device[frame.device]
    point = opened.installation.profiles[device.profile].point(reading.point)
    times = 1 if point.primary else sites.multiplier(device, frame.at)
    return {
        "seq": entry.ingest_seq, "gateway": entry.gateway.hex(), "epoch": entry.epoch, "block": entry.seq,
        "device": device.id, "point": reading.point, "value": decimal(reading.value), "unit": reading.unit,
        "multiplier": decimal(times), "at": iso(reading.at), "received_at": iso(entry.received_at),
        "quality": reading.quality, "flag": _flag(frame, point), "clock_error_ms": opened.header.clock.error_ms,
        "request": spaced(frame.request), "raw": spaced(frame.reply),
        "sig": {"alg": algorithm(opened.key.algorithm), "kid": opened.key.kid.hex(), "ok": True},
    }  # fmt: skip


def _flag(frame: Frame, point: Point) -> dict[str, str | None] | None:
    """What the point's flag says of this value; None where it has none."""
    if point.flag is None:
        return None
    found = next((each.value for each in frame.readings if each.point == point.flag), None)
    return {"point": point.flag, "value": decimal(found)}


def _gateway(row: Gateway, now: int) -> dict[str, Any]:
    return {
        "id": row.id.hex(), "site": row.site, "health": health(row, now),
        "algorithm": algorithm(row.algorithm), "kid": row.kid.hex(), "spki": row.spki.hex(), "custody": row.custody,
        "enrolled_at": iso(row.enrolled_at), "revoked_at": iso(row.revoked_at) or None, "reason": row.reason or None,
        "epoch": row.epoch, "next_seq": row.next_seq, "head": row.head.hex(), "configuration": row.config_number,
        "blocks": row.blocks, "refused_blocks": row.refused_blocks, "readings": row.readings, "gaps": row.gaps,
        "exchanges": {name: getattr(row, name) for name in COUNTERS},
        "last_block_end": iso(row.block_end) or None, "received_at": iso(row.received_at) or None,
        "unreadable": list(row.rotten),
    }  # fmt: skip


def _block(row: Block) -> dict[str, Any]:
    return {
        "ingest_seq": row.ingest_seq, "gateway": row.gateway.hex(), "epoch": row.epoch, "seq": row.seq,
        "sha256": row.hash.hex(), "start": iso(row.utc_start), "end": iso(row.utc_end),
        "received_at": iso(row.received_at), "configuration": row.config_number, "readings": row.readings,
        "bytes": row.size, "fault": row.fault,
    }  # fmt: skip


def _header(opened: Opened) -> dict[str, Any]:
    header = opened.header
    return {
        "previous": header.previous.hex(), "boot": header.boot, "mono_ms": header.mono,
        "utc": [iso(header.utc[0]), iso(header.utc[1])],
        "clock": {
            "source": header.clock.source, "state": header.clock.state, "error_ms": header.clock.error_ms,
            "last_sync": iso(header.clock.last_sync_s * 1000),
        },
        "configuration": {"number": header.configuration[0], "sha256": header.configuration[1].hex()},
        "software": {"version": header.software[0], "sha256": header.software[1].hex()},
        "chunks": {"count": header.chunks[0], "root": header.chunks[1].hex()},
        "events": [
            {"kind": event.kind, "start": iso(event.start), "end": iso(event.end), "detail": event.detail}
            for event in header.events
        ],
        "custody": header.custody,
    }  # fmt: skip


def _devices(opened: Opened) -> list[dict[str, Any]]:
    return [
        {
            "device": part.entry.id, "number": part.chunk.device, "profile": part.entry.profile,
            "counters": {name: getattr(part.chunk.counters, name) for name in COUNTERS},
            "exchanges": [
                {
                    "at": iso(frame.at), "request": spaced(frame.request), "raw": spaced(frame.reply),
                    "error": frame.error,
                    "values": [
                        {"point": each.point, "value": decimal(each.value), "unit": each.unit, "quality": each.quality}
                        for each in frame.readings
                    ],
                }
                for frame in part.frames
            ],
            "faults": [
                {"at": iso(miss.at), "request": spaced(miss.request), "code": miss.code} for miss in part.misses
            ],
        }
        for part in opened.parts
    ]  # fmt: skip
