"""/v1: is it well. Health as JSON, metrics as Prometheus text."""

import shutil
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, PlainTextResponse

from cloud.api_record import Nothing
from cloud.collector import Held, algorithm, health
from cloud.copier import Standing
from cloud.pages.render import iso

router = APIRouter(prefix="/v1", tags=["health"])
LATE_COPY_MS = 60_000
"""A second copy that has not been whole for so long is an alarm."""
LOW_DISK = 64 << 20
"""Free bytes below which the collector calls itself degraded."""


@router.get("/health")
def healthy(held: Held, asked: Annotated[Nothing, Query()]) -> JSONResponse:
    """ok, or degraded with the reason; the collector's key; how much is held."""
    counts, now = held.store.counts(), held.now()
    free = shutil.disk_usage(held.store.path.parent).free
    states = [health(row, now) for row in held.store.gateways()]
    copy, behind = None if held.copier is None else held.copier.standing(), held.store.behind()
    reasons = ["disk"] if free < LOW_DISK else []
    if copy is not None and (copy.state == "failed" or (copy.state == "behind" and _late(copy, now))):
        reasons.append("copy")
    if behind:
        reasons.append("restored")
    content = {
        "status": "degraded" if reasons else "ok", "reasons": reasons, "version": version("tanmeter"), "now": iso(now),
        "collector": {
            "algorithm": algorithm(held.key.algorithm), "kid": held.key.public.kid.hex(), "spki": held.key.spki.hex(),
        },
        "gateways": {state: states.count(state) for state in ("live", "quiet", "never", "revoked")},
        "blocks": counts.blocks, "refused_blocks": counts.refused_blocks, "readings": counts.readings,
        "intervals": counts.intervals, "quarantined": counts.quarantined, "incidents": counts.incidents,
        "gaps": counts.gaps, "received_at": iso(counts.received_at) or None, "as_of_seq": held.store.as_of(),
        "waiting": held.writer.waiting, "disk_free_bytes": free,
        "copy": {"state": "off"} if copy is None else asdict(copy) | {"copied_at": iso(copy.copied_at) or None},
        "behind_receipts": [gateway.hex() for gateway in behind],
    }  # fmt: skip
    return JSONResponse(content, headers={"cache-control": "no-store"})


def _late(copy: Standing, now: int) -> bool:
    return copy.copied_at is None or now - copy.copied_at > LATE_COPY_MS


@router.get("/metrics")
def metrics(held: Held, asked: Annotated[Nothing, Query()]) -> PlainTextResponse:
    """Prometheus text format 0.0.4."""
    counts, now = held.store.counts(), held.now()
    lines = [
        *_metric("tanmeter_build_info", "gauge", [(f'version="{version("tanmeter")}"', 1)]),
        *_metric("tanmeter_collector_blocks_total", "counter", [("", counts.blocks)]),
        *_metric("tanmeter_readings_total", "counter", [("", counts.readings)]),
        *_metric("tanmeter_collector_intervals", "gauge", [("", counts.intervals)]),
        *_metric("tanmeter_collector_quarantined", "gauge", [("", counts.quarantined)]),
        *_metric("tanmeter_collector_incidents", "gauge", [("", counts.incidents)]),
        *_metric("tanmeter_collector_waiting", "gauge", [("", held.writer.waiting)]),
        *_metric("tanmeter_collector_behind_receipts", "gauge", [("", len(held.store.behind()))]),
        *_copy_metrics(held),
        *_metric("tanmeter_collector_disk_free_bytes", "gauge", [("", shutil.disk_usage(held.store.path.parent).free)]),
    ]
    rows = [(f'gateway="{row.id.hex()}"', row) for row in held.store.gateways()]
    verified = [(f'{label},result="stored"', row.blocks) for label, row in rows]
    verified += [(f'{label},result="refused"', row.refused_blocks) for label, row in rows]
    lines += _metric("tanmeter_collector_verify_total", "counter", verified)
    lag = [(label, row.lag_ms / 1000) for label, row in rows if row.lag_ms is not None]
    lines += _metric("tanmeter_collector_ingest_lag_seconds", "gauge", lag)
    age = [(label, (now - row.received_at) / 1000) for label, row in rows if row.received_at is not None]
    lines += _metric("tanmeter_collector_gateway_age_seconds", "gauge", age)
    answered = [(label, row.answered / row.due) for label, row in rows if row.due]
    lines += _metric("tanmeter_completeness_ratio", "gauge", answered)
    text = "\n".join(lines) + "\n"
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4", headers={"cache-control": "no-store"})


def _copy_metrics(held: Held) -> list[str]:
    if held.copier is None:
        return []
    copy = held.copier.standing()
    return [
        *_metric("tanmeter_collector_copy_ok", "gauge", [("", int(copy.state != "failed"))]),
        *_metric("tanmeter_collector_copy_behind_blocks", "gauge", [("", copy.behind)]),
    ]


def _metric(name: str, kind: str, samples: list[tuple[str, int]] | list[tuple[str, float]]) -> list[str]:
    """The lines of one metric; labels are hex digits and version numbers, which need no escaping."""
    shown = [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in samples]
    return [f"# TYPE {name} {kind}", *shown]
