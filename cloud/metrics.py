"""Prometheus metrics of the collector, on an address of their own: who may see the API need not see these."""

import shutil
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as Source

from cloud import interval_rows, statements
from cloud.collector import VERSION, Collector, health
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ConfigError

DAYS = 2
"""Today and the days before it for which completeness is told."""
HEALTHS = ("live", "quiet", "never", "revoked")
Samples = Sequence[tuple[tuple[str, ...], float]]

COMPLETE = f"""
WITH newest AS (
  SELECT opened.* FROM ({interval_rows.SELECT_OPEN}) AS opened
  JOIN gateways AS g ON g.gateway = opened.gateway AND g.site = ?3
)
SELECT sum(min(readings, expected)), sum(expected) FROM (
  SELECT readings, expected FROM newest WHERE start >= ?1 AND start < ?2
  UNION ALL
  SELECT i.readings, i.expected FROM newest AS n JOIN closed_intervals AS i
    ON i.gateway = n.gateway AND i.device = n.device AND i.point = n.point AND i.start >= ?1 AND i.start < ?2
)
"""


class Figures(Source):
    """Reads the store whenever it is asked for figures."""

    def __init__(self, collector: Collector) -> None:
        self._held = collector

    def collect(self) -> Iterator[Metric]:
        """Every metric of now."""
        held, now = self._held, self._held.now()
        counts, gateways = held.store.counts(), held.store.gateways()
        yield _gauge("build_info", "What runs here", [((VERSION,), 1)], ("version",))
        yield _counter("collector_blocks", "Blocks booked", [((), counts.blocks)])
        yield _counter("readings", "Readings in them", [((), counts.readings)])
        yield _gauge("collector_intervals", "Intervals held", [((), counts.intervals)])
        yield _gauge("collector_quarantined", "Frames that were refused and kept", [((), counts.quarantined)])
        yield _gauge("collector_incidents", "What a person must look into", [((), counts.incidents)])
        yield _gauge("collector_waiting", "Writes not yet begun", [((), held.writer.waiting)])
        yield _gauge(
            "collector_unbooked_gateways", "Gateways of which a block is not booked", [((), held.store.unbooked)]
        )
        behind = len(held.store.behind())
        yield _gauge("collector_behind_receipts", "Chains that an older copy has set back", [((), behind)])
        free = shutil.disk_usage(held.store.path.parent).free
        yield _gauge("collector_disk_free_bytes", "Free where the store is", [((), free)])
        yield from self._copy()
        if held.heard is not None:
            yield _gauge("collector_broker_ok", "1 while the broker lets us hear gateways", [((), held.heard.is_set())])
        yield from _gateways(gateways, now)
        yield _completeness(held.store, sorted({row.site for row in gateways}), now)

    def _copy(self) -> Iterator[Metric]:
        if self._held.copier is not None:
            copy = self._held.copier.standing()
            yield _gauge("collector_copy_ok", "1 unless the second copy has failed", [((), copy.state != "failed")])
            yield _gauge("collector_copy_behind_blocks", "Blocks not yet in the second copy", [((), copy.behind)])


def serve(place: str, collector: Collector) -> WSGIServer:
    """Answer GET /metrics at ``host:port`` in threads; ConfigError when that address cannot be had."""
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("--metrics", repr(place), "an address like 127.0.0.1:9109")
    registry = CollectorRegistry()
    try:
        server, _ = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError, socket.gaierror) as error:
        raise ConfigError("--metrics", f"{place}: {error}", "an address of this machine that is free") from error
    registry.register(Figures(collector))
    return server


def _gateways(rows: Sequence[Gateway], now: int) -> Iterator[Metric]:
    labels = [(row.id.hex(), row.site) for row in rows]
    both = list(zip(labels, rows, strict=True))
    verified = [((*label, "stored"), row.blocks) for label, row in both]
    verified += [((*label, "refused"), row.refused_blocks) for label, row in both]
    named = ("gateway", "site")
    yield _counter("collector_verify", "Blocks by what verifying them gave", verified, (*named, "result"))
    lag = [(label, row.lag_ms / 1000) for label, row in both if row.lag_ms is not None]
    yield _gauge("collector_ingest_lag_seconds", "From the end of the newest block to its commit", lag, named)
    age = [(label, (now - row.received_at) / 1000) for label, row in both if row.received_at is not None]
    yield _gauge("collector_gateway_age_seconds", "Since a gateway was heard last", age, named)
    answered = [(label, row.answered / row.due) for label, row in both if row.due]
    yield _gauge("collector_answered_ratio", "Share of all questions due that were answered", answered, named)
    states = [health(row, now) for row in rows]
    told = [((state,), states.count(state)) for state in HEALTHS]
    yield _gauge("collector_gateways", "Gateways by how they are", told, ("state",))


def _completeness(store: Store, sites: Sequence[str], now: int) -> Metric:
    """Readings that came of those expected so far, by site and business day."""
    found = []
    for site in sites:
        zone = statements.zone_of(store, site)
        today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).date()
        for day in (today - timedelta(days=back) for back in range(DAYS)):
            start = round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
            after = day + timedelta(days=1)
            end = round(datetime(after.year, after.month, after.day, tzinfo=zone).timestamp() * 1000)
            with store.reading() as db:
                came, expected = db.execute(COMPLETE, (start, end, site)).fetchone()
            if expected:
                found.append(((site, day.isoformat()), came / expected))
    return _gauge("completeness_ratio", "Readings that came of those expected", found, ("site", "day"))


def _gauge(name: str, about: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    metric = GaugeMetricFamily(f"tanmeter_{name}", about, labels=list(labels))
    for values, value in samples:
        metric.add_metric(list(values), float(value))
    return metric


def _counter(name: str, about: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    metric = CounterMetricFamily(f"tanmeter_{name}", about, labels=list(labels))
    for values, value in samples:
        metric.add_metric(list(values), float(value))
    return metric
