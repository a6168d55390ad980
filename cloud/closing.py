"""Closing periods: each day that is over and delivered gets its version, whether or not anybody looked at it."""

from collections.abc import Iterator

from cloud import statements
from cloud.accounting import period as periods
from cloud.accounting.period import Period
from cloud.accounting.statement import Statement
from cloud.store import Store
from protocols.errors import AccountError

BACK_MS = 62 * 86_400_000
"""How far back a day without a version is still closed."""


def close_all(store: Store, now: int) -> list[Statement]:
    """The new versions: what is due, and the days that a back-filled history brought."""
    found = statements.close_due(store, now)
    for site in statements.sites(store):
        for day in _open_days(store, site, now):
            try:
                found.append(statements.close(store, site, day, now))
            except AccountError:
                continue
    return found


def _open_days(store: Store, site: str, now: int) -> Iterator[Period]:
    """Days without a version that every gateway of the site has delivered past, oldest first."""
    gateways = [gateway for gateway in store.gateways() if gateway.site == site and gateway.block_end is not None]
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
