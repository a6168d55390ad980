"""Statements from the store: the figure as it stands, and its versions; a new one only when the content differs."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec

from cloud.accounting import period as periods
from cloud.accounting import statement as made
from cloud.accounting.electricity import Increment, MeterRole, account
from cloud.accounting.factors import FactorSet, builtin
from cloud.accounting.meters import ENERGY, Configured, increments
from cloud.accounting.period import Period
from cloud.accounting.statement import Content, Statement
from cloud.intervals import Interval
from cloud.rows import Gateway, StatementRow
from cloud.store import Store
from drivers.installation import Installation
from protocols import messages
from protocols.errors import AccountError, OvertakenError, RottenError, UnknownNameError

TRIES = 5


def live(store: Store, site: str, period: Period | str, now: int) -> Statement:
    """The figure as it stands at ``now`` (UTC ms); nothing is written.

    It is the newest version itself while that still says the same, else a draft that carries the newest version's
    number (0 before the first) and the difference to it. AccountError, FactorError.
    """
    content, as_of = _content(store, site, _period(store, site, period), now)
    known = newest(store, made.statement_id(site, content.period.id))
    if known is not None and known.digest == made.digest(content):
        return known
    draft = made.mint(content, known, _stamp(content, now), as_of)
    return msgspec.structs.replace(draft, version=known.version if known else 0)


def close(store: Store, site: str, period: Period | str, now: int, factors: FactorSet | None = None) -> Statement:
    """The version that says what is held at ``now``: the newest, or a new one beside it when the content differs."""
    chosen = _period(store, site, period)
    for _ in range(TRIES):
        for gateway in store.gateways_of(site):
            store.book(gateway.id)  # however long that takes: half an outage is not to be signed
        content, as_of = _content(store, site, chosen, now, factors)
        known = newest(store, made.statement_id(site, chosen.id))
        if known is not None and known.digest == made.digest(content):
            return known
        statement = made.mint(content, known, _stamp(content, now), as_of)
        try:
            store.put_statement(_row(statement, now))
        except OvertakenError:
            continue
        return statement
    raise AccountError(f"{site}, {chosen.id}: found another writer {TRIES} times, expected to be let through")


def get(store: Store, reference: str, version: int | None = None) -> Statement:
    """The version named ``E-S-0012-2026-11@2``, or the newest without a number; AccountError when there is none,
    RottenError when it cannot be read.
    """
    name, named = made.parse_reference(reference)
    row = store.statement(name, version if version is not None else named)
    if row is None:
        raise UnknownNameError("statement", reference, "one that `account list` shows")
    return _opened(row)


def newest(store: Store, statement_id: str) -> Statement | None:
    """The newest version of a statement; None before the first. RottenError."""
    row = store.statement(statement_id)
    return None if row is None else _opened(row)


def versions(store: Store, statement_id: str) -> list[Statement]:
    """Every version of a statement, oldest first; RottenError."""
    rows = store.statement_versions(statement_id)
    return sorted((_opened(row) for row in rows), key=lambda statement: statement.version)


def listing(store: Store, site: str | None = None) -> list[Statement]:
    """The newest version of every statement, newest period first; RottenError."""
    return [_opened(row) for row in store.statements(site)]


def _opened(row: StatementRow) -> Statement:
    try:
        return made.from_json(row.content)
    except AccountError as error:
        raise RottenError(f"statement {row.id}@{row.version}: {error}: expected what was issued") from error


def zone_of(store: Store, site: str) -> ZoneInfo:
    """The time zone of a site's business days, as its newest block was made under; AccountError for an unknown site."""
    for gateway in store.gateways_of(site)[:1]:
        number = gateway.config_number or store.configurations(gateway.id)[0].number
        return installation(store, gateway.id, number).site.zone
    raise UnknownNameError("site", site, f"one with an enrolled gateway: {', '.join(store.sites())}")


def split(store: Store, reference: str) -> tuple[str, str]:
    """Site and period of a statement's name without a version; AccountError when no site of ours is in it."""
    for site in sorted(store.sites(), key=len, reverse=True):
        if reference.startswith(f"E-{site}-"):
            return site, reference.removeprefix(f"E-{site}-")
    known = ", ".join(store.sites()) or "no site yet"
    raise UnknownNameError("statement", reference, f"E-SITE-PERIOD with one of: {known}")


def explain(statement: Statement) -> dict[str, Any]:
    """Where a figure comes from, ready for JSON: result, formula, inputs down to registers and blocks."""
    plain = cast("dict[str, Any]", msgspec.to_builtins(statement))
    content = plain["content"]
    return {
        **{name: plain[name] for name in ("id", "version", "supersedes", "difference", "minted_at", "digest")},
        "as_of_seq": statement.as_of,
        "evidence": f"/v1/evidence/{statement.reference}" if statement.version else None,
        **{name: content[name] for name in ("site", "period", "method", "provisional")},
        "result": {"value": content["tco2"], "unit": "tCO2"},
        "formula": content["method"]["formula"],
        "reasons": [{"id": name, **_both(name)} for name in content["reasons"]],
        "inputs": [part for line in content["lines"] for part in _inputs(line)],
        **{name: content[name] for name in ("breakdown", "coverage", "shares", "gaps", "factor_set")},
        "intervals": content["inputs"],
        "engine": content["method"]["engine"],
    }


def _inputs(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    factor = line["factor"]
    source = {name: factor[name] for name in ("publisher", "notice", "published", "url", "attachment_sha256")}
    yield {"name": "AD", "value": line["kwh"], "unit": "kWh", "year": line["year"], "meters": line["meters"]}
    yield {
        "name": "EF",
        "value": factor["value"],
        "unit": factor["unit"],
        "year": line["year"],
        "factor": factor["id"],
        "status": factor["status"],
        "source": source,
        "tco2": line["tco2"],
    }


def _both(message: str) -> dict[str, str]:
    return {"zh": messages.text(message, "zh"), "en": messages.text(message, "en")}


def _content(
    store: Store, site: str, period: Period, now: int, factors: FactorSet | None = None
) -> tuple[Content, int]:
    """The content, and the ingest seq up to which the record went in; read again while a gateway is delivering."""
    for attempt in range(TRIES):
        before = _heads(store, site)
        with store.standing():
            as_of = store.as_of()
            meters, moved = _moved(store, site, period)
        if _heads(store, site) == before or attempt == TRIES - 1:
            break
    return account(site, period, meters, moved, factors or builtin(), closed=now >= period.end), as_of


def _moved(store: Store, site: str, period: Period) -> tuple[list[MeterRole], list[Increment]]:
    meters: list[MeterRole] = []
    moved: list[Increment] = []
    for gateway in store.gateways_of(site):
        intervals = energy(store, gateway, period)
        if intervals or not gateway.revoked:
            own, increments_ = increments(configured(store, gateway, period), intervals)
            meters += own
            moved += increments_
    return meters, moved


def energy(store: Store, gateway: Gateway, period: Period) -> list[Interval]:
    """The energy of every meter that any configuration of a gateway names, over a period."""
    devices = {
        device.id
        for entry in store.configurations(gateway.id)
        for device in installation(store, gateway.id, entry.number).site.device
    }
    found = (store.series(gateway.id, device, ENERGY, period.start, period.end) for device in sorted(devices))
    return [one for series in found for one in series]


def configured(store: Store, gateway: Gateway, period: Period) -> Configured:
    """Which configurations of a gateway are in force over a period, and which one each of its blocks was made under.

    RottenError where none is held: it was enrolled with one.
    """
    numbers = [entry.number for entry in store.configurations(gateway.id)]
    if not numbers:
        raise RottenError(f"gateway {gateway.id.hex()}: found no configuration, expected that of its enrolment")
    opened = partial(installation, store, gateway.id)
    if len(numbers) == 1:
        return Configured(gateway.id.hex(), frozenset(numbers), opened, lambda *_: numbers[0])
    used = store.configurations_used(gateway.id, period.start, period.end)
    if not used:
        before = store.block_before(gateway.id, period.start)
        used = frozenset([min(numbers) if before is None else before.config_number])
    return Configured(gateway.id.hex(), used, opened, partial(_number, store, gateway.id))


def _number(store: Store, gateway: bytes, epoch: int, seq: int) -> int:
    row = store.block_row(gateway, epoch, seq)
    if row is None:
        raise AccountError(f"gateway {gateway.hex()}: found no block {epoch}/{seq}, expected the one an interval names")
    return row.config_number


def installation(store: Store, gateway: bytes, number: int) -> Installation:
    """What a gateway's configuration of this number installs; AccountError when it is not held."""
    found = store.installation(gateway, number)
    if found is None:
        raise AccountError(f"gateway {gateway.hex()}: found no configuration {number}, expected it to be held")
    return found


def _heads(store: Store, site: str) -> list[tuple[int, int]]:
    return [(gateway.epoch, gateway.next_seq) for gateway in store.gateways_of(site)]


def _period(store: Store, site: str, period: Period | str) -> Period:
    return periods.parse(period, zone_of(store, site)) if isinstance(period, str) else period


def _stamp(content: Content, now: int) -> str:
    return periods.stamp(now, ZoneInfo(content.period.timezone))


def _row(statement: Statement, now: int) -> StatementRow:
    content = statement.content
    return StatementRow(
        id=statement.id,
        version=statement.version,
        digest=statement.digest,
        site=content.site,
        period=content.period.id,
        created=now,
        content=made.to_json(statement),
    )
