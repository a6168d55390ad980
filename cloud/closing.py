"""Closing periods: each day that is over and delivered gets its version, whether or not anybody looked at it."""

from collections.abc import Iterator

from cloud import statements
from cloud.accounting import period as periods
from cloud.accounting.period import Period
from cloud.accounting.statement import Statement
from cloud.statements import Tried
from cloud.store import Store

BACK_MS = 62 * 86_400_000
"""How far back a day without a version is still closed."""


def close_all(store: Store, now: int, tried: Tried) -> list[Statement]:
    """The new versions: what is due, and the days that a back-filled history brought."""
    found = statements.close_due(store, now, tried)
    for site in statements.sites(store):
        days = [statements.attempt(store, site, day, now, tried) for day in _open_days(store, site, now)]
        found += [statement for statement in days if statement is not None]
    return found


def _open_days(store: Store, site: str, now: int) -> Iterator[Period]:
    """Days without a version that every gateway of the site has delivered past, oldest first."""
    gateways = [gateway for gateway in store.gateways_of(site) if gateway.block_end is not None]
    firsts = [block.utc_start for gateway in gateways for block in store.blocks(gateway.id, 0, 1)]
    if not firsts:
        return
    zone = statements.zone_of(store, site)
    delivered = min(gateway.block_end or 0 for gateway in gateways)
    known = {row.period for row in store.statements(site)}
    day = periods.day_of(max(min(firsts), now - BACK_MS), zone)
    while day.end <= min(delivered, now):
        if day.id not in known:
            yield day
        day = periods.day_of(day.end, zone)
