"""/v1/health: is it well, and what is wrong where it is not."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from cloud import early_warning, factor_shelf, mend_journal, problem
from cloud.api_record import Nothing
from cloud.collector import VERSION, Held, algorithm, health
from cloud.copier import Standing
from cloud.pages.render import iso
from cloud.query import Json
from cloud.rows import Gateway
from cloud.store import Store

router = APIRouter(prefix="/v1", tags=["health"], responses=problem.DESCRIBED)
LATE_COPY_MS = 60_000
"""A second copy that has not been whole for so long is an alarm."""
LOW_DISK = 64 << 20
"""Free bytes below which the collector calls itself degraded."""


@router.get("/health")
def healthy(request: Request, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """ok, or degraded with the reason; the collector's key; how much is held."""
    counts, now = held.store.counts(), held.now()
    free = shutil.disk_usage(held.store.path.parent).free
    gateways = held.store.gateways()
    states = [health(row, now) for row in gateways]
    copy, behind = None if held.copier is None else held.copier.standing(), held.store.behind()
    reasons = ["disk"] if free < LOW_DISK else []
    if copy is not None and (copy.state == "failed" or (copy.state == "behind" and _late(copy, now))):
        reasons.append("copy")
    if behind:
        reasons.append("restored")
    if held.heard is not None and not held.heard.is_set():
        reasons.append("broker")
    shared = [one.id for one in early_warning.listing(held.store, kind="shared") if one.state == "raised"]
    if shared:
        reasons.append("shared")
    unread = {"subjects": list(request.app.state.city.unread()), **_unread(held.store, gateways)}
    if any(unread.values()):
        reasons.append("rotten")
    content = {
        "status": "degraded" if reasons else "ok", "reasons": reasons, "version": VERSION, "now": iso(now),
        "collector": {
            "id": held.key.public.id.hex(), "algorithm": algorithm(held.key.algorithm),
            "kid": held.key.public.kid.hex(), "spki": held.key.spki.hex(),
        },
        "gateways": {state: states.count(state) for state in ("live", "quiet", "never", "revoked")},
        "blocks": counts.blocks, "refused_blocks": counts.refused_blocks, "readings": counts.readings,
        "intervals": counts.intervals, "quarantined": counts.quarantined, "incidents": counts.incidents,
        "gaps": counts.gaps, "received_at": iso(counts.received_at) or None,
        "as_of_seq": held.store.as_of(at_once=True), "waiting": held.writer.waiting, "disk_free_bytes": free,
        "copy": {"state": "off"} if copy is None else asdict(copy) | {"copied_at": iso(copy.copied_at) or None},
        "behind_receipts": [gateway.hex() for gateway in behind], "shared_meters": shared,
        "unreadable": unread,
    }  # fmt: skip
    return Json(content, headers={"cache-control": "no-store"})


def _unread(store: Store, gateways: Sequence[Gateway]) -> dict[str, list[str]]:
    """What cannot be read of the journal, and the gateways (ids) of which something cannot."""
    with store.reading() as db:
        rotten = [row for row, _ in mend_journal.faults(db, (early_warning.KIND, factor_shelf.KIND, factor_shelf.OWN))]
    held_up = [*list(store.held_up), *[row.id for row in gateways if row.rotten]]  # the writer changes the former
    return {
        "entries": [mend_journal.name(row) for row in store.strays()],
        "warnings": list(dict.fromkeys(row.id for row in rotten if row.kind == early_warning.KIND)),
        "factors": [row.id for row in rotten if row.kind != early_warning.KIND],
        "gateways": [gateway.hex() for gateway in dict.fromkeys(held_up)],
    }


def _late(copy: Standing, now: int) -> bool:
    return copy.copied_at is None or now - copy.copied_at > LATE_COPY_MS
