"""Prometheus metrics, made of what the agent says of itself in status; nothing is kept only to be counted here."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.clock import SYNCHRONISED
from edge.responses import BOUNDS_MS
from protocols.errors import ConfigError

ASKED = ("silent", "damaged", "refused", "impossible")
NOT_ASKED = ("overrun", "back_off", "port_gone")
Status = Mapping[str, Any]
Samples = Sequence[tuple[tuple[str, ...], float]]


class Figures(Collector):
    """Asks for the status whenever it is asked for figures."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Every metric of now; of an agent that waits for its store only that it does."""
        held = self._status()
        yield _gauge("up", "1 while readings are taken, 0 while the disk is full", [((), held["state"] == "running")])
        if "site" not in held:
            return
        yield _info(held)
        yield from _bus(held)
        yield from _buffer(held)
        yield from _clock(held)
        yield from _sync(held["sync"], held["now"])


def exposition(status: Status) -> bytes:
    """A status as Prometheus text."""
    registry = CollectorRegistry()
    registry.register(Figures(lambda: status))
    return generate_latest(registry)


def serve(place: str, status: Callable[[], Status]) -> WSGIServer:
    """Answer GET /metrics at ``host:port`` in threads; ConfigError when that address cannot be had."""
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("--metrics", repr(place), "an address like 127.0.0.1:9108")
    registry = CollectorRegistry()
    try:
        server, _ = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError, socket.gaierror) as error:
        raise ConfigError("--metrics", f"{place}: {error}", "an address of this box that is free") from error
    registry.register(Figures(status))
    return server


def _info(held: Status) -> Metric:
    software, number = held["software"], str(held["configuration"]["number"])
    labels = {"version": software["version"], "software": software["sha256"][:16], "configuration": number}
    labels |= {"site": held["site"], "gateway": held["gateway"]}
    metric = GaugeMetricFamily("tanmeter_build_info", "What runs here", labels=list(labels))
    metric.add_metric(list(labels.values()), 1)
    return metric


def _bus(held: Status) -> Iterator[Metric]:
    devices: Sequence[Any] = held["devices"]
    asked = [((d["port"], d["id"], "answered"), d["answered"]) for d in devices]
    asked += [((d["port"], d["id"], why), d["faults"].get(why, 0)) for d in devices for why in ASKED]
    yield _counter("bus_requests", "Questions put to a meter, by what came of them", asked, ("port", "meter", "result"))
    left = [((d["port"], d["id"], why), d["faults"].get(why, 0)) for d in devices for why in NOT_ASKED]
    yield _counter("bus_not_asked", "Questions that were due and not put, by reason", left, ("port", "meter", "reason"))
    yield _responses(held["ports"])
    ports = held["ports"]
    busy = [((port["name"],), port["busy"]) for port in ports]
    yield _gauge(
        "bus_utilization_ratio", "Share of the time in which a port was asking, since the start", busy, ("port",)
    )
    gone = [((port["name"],), bool(port["gone"])) for port in ports]
    yield _gauge("bus_port_gone", "1 while a port is not there", gone, ("port",))
    troubles = [((port["name"], found["code"]), 1) for port in ports for found in port["troubles"]]
    yield _gauge("bus_trouble", "1 while this is wrong on a port", sorted(set(troubles)), ("port", "code"))
    qualities = [((d["id"], quality), count) for d in devices for quality, count in d["readings"].items()]
    yield _counter("readings", "Readings committed since the start", qualities, ("meter", "quality"))
    last = [((d["id"],), d["last_answer"] / 1000) for d in devices if d["last_answer"] is not None]
    yield _gauge("meter_last_answer_timestamp_seconds", "When a meter answered last", last, ("meter",))


def _responses(ports: Sequence[Any]) -> Metric:
    help_text = "From the end of a question to the first byte of its answer"
    metric = HistogramMetricFamily("tanmeter_bus_response_seconds", help_text, labels=["port", "meter"])
    for port in ports:
        for meter, held in port.get("responses", {}).items():
            total, buckets = 0, []
            for bound, count in zip((*(str(ms / 1000) for ms in BOUNDS_MS), "+Inf"), held["counts"], strict=True):
                total += count
                buckets.append((bound, total))
            metric.add_metric([port["name"], meter], buckets, held["sum_ms"] / 1000)
    return metric


def _buffer(held: Status) -> Iterator[Metric]:
    outbox, now = held["outbox"], held["now"]
    unsent, oldest = outbox["unsettled"], outbox["oldest_unsettled"]
    committed = sum(count for device in held["devices"] for count in device["readings"].values())
    mean = committed / held["blocks_sealed"] if held["blocks_sealed"] else 0
    yield _gauge("buffer_unsent_blocks", "Sealed blocks without a receipt", [((), unsent)])
    yield _gauge(
        "buffer_unsent_readings", "Readings in them, by the mean of the blocks since the start", [((), unsent * mean)]
    )
    age = 0 if oldest is None else max(0, now - oldest) / 1000
    yield _gauge("buffer_oldest_unsent_seconds", "Age of the oldest of them", [((), age)])
    days = outbox["days_left"]
    yield _gauge("buffer_free_days", "Days of room at the present rate", [] if days is None else [((), days)])
    yield _gauge("buffer_bytes", "Bytes of sealed blocks", [((), outbox["bytes"])])
    yield _gauge("buffer_refused_blocks", "Blocks the collector has refused", [((), outbox["refused"])])
    yield _gauge("buffer_left_behind_blocks", "Blocks left in an epoch given up", [((), outbox["left_behind"])])
    yield _gauge("disk_free_bytes", "Free where the box keeps its state", [((), held["disk_free_bytes"])])
    yield _counter("blocks_sealed", "Blocks sealed since the start", [((), held["blocks_sealed"])])
    yield _gauge("epoch", "Rises when a store was lost, damaged or rolled back", [((), held["epoch"])])
    yield _gauge("boot", "Starts of the agent so far", [((), held["boot"])])


def _clock(held: Status) -> Iterator[Metric]:
    clock = held["clock"]
    offset = clock["offset_ms"] / 1000
    yield _gauge("clock_offset_seconds", "UTC against what the open block counts from its start", [((), offset)])
    yield _gauge("clock_error_seconds", "The largest error UTC may have", [((), clock["error_ms"] / 1000)])
    yield _gauge("clock_alarm", "1 while the clock is more than a second off, or may be", [((), bool(clock["alarm"]))])
    yield _gauge("clock_synchronised", "1 while somebody keeps the clock", [((), clock["state"] == SYNCHRONISED)])


def _sync(sync: Status, now: int) -> Iterator[Metric]:
    results = [((sync["url"], result), count) for result, count in sync.get("results", {}).items()]
    yield _counter("sync_batches", "Attempts to deliver, by what came of them", results, ("target", "result"))
    receipt = sync.get("receipt")
    age = [] if receipt is None else [((), max(0, now - receipt["at"]) / 1000)]
    yield _gauge("sync_receipt_age_seconds", "Since the collector signed the newest receipt held here", age)


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
