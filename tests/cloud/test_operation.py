"""The collector as a service: its manager is fed while the writer gets on, its log is JSON and stays small."""

import asyncio
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cloud.collector import Collector as Held
from cloud.log import BURST, Calm, Lines
from cloud.metrics import Figures
from cloud.notify import Manager
from cloud.watchdog import attend
from cloud.writer import Writer

CLOUD = [sys.executable, "-m", "tanmeter", "cloud"]


class Boss:
    """A service manager's socket: what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(self.path)

    def told(self, seconds: float = 0.05) -> list[str]:
        """Every datagram that comes until none does for this long."""
        heard: list[str] = []
        self._door.settimeout(seconds)
        try:
            while True:
                heard.append(self._door.recv(4096).decode())
        except TimeoutError:
            return heard

    def close(self) -> None:
        self._door.close()


@pytest.fixture
def boss(tmp_path: Path) -> Any:
    held = Boss(tmp_path / "notify")
    yield held
    held.close()


def test_it_feeds_while_it_serves_and_says_when_it_stops(tmp_path: Path, boss: Boss) -> None:
    process = subprocess.Popen(
        [*CLOUD, "serve", "--data", str(tmp_path / "data"), "--port", "0"],
        env={**os.environ, "TANMETER_LANG": "en", "NOTIFY_SOCKET": boss.path, "WATCHDOG_USEC": "200000"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert "ready" in process.stderr.readline()
        time.sleep(0.3)
        told = boss.told(0.01)
        assert told[0] == "READY=1" and any(line.startswith("WATCHDOG=1") for line in told)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert boss.told()[-1] == "STOPPING=1"
    finally:
        process.kill()
        process.communicate()


def test_a_writer_whose_thread_hangs_is_not_fed_for(boss: Boss) -> None:
    never = threading.Event()
    manager = Manager({"NOTIFY_SOCKET": boss.path, "WATCHDOG_USEC": "200000"}, os.getpid())

    async def main() -> tuple[list[str], list[str], list[str]]:
        writer = Writer(lambda batches: [None for _ in batches])
        feeding = asyncio.create_task(attend(manager, writer, limit_s=0.2))
        await writer.append([b"x"])
        await asyncio.sleep(0.1)
        fed = boss.told(0.001)
        hanging = asyncio.create_task(writer.run(never.wait))
        await asyncio.sleep(0.5)
        boss.told(0.001)
        await asyncio.sleep(0.15)
        hung = boss.told(0.001)
        never.set()
        await hanging
        await asyncio.sleep(0.15)
        feeding.cancel()
        writer.close()
        return fed, hung, boss.told(0.001)

    fed, hung, after = asyncio.run(main())
    assert fed[0] == "READY=1" and fed[-1] == "WATCHDOG=1\nSTATUS=1 writes"
    assert hung and set(hung) == {"WATCHDOG=trigger\nSTATUS=hung: writer"}
    assert after[-1] == "WATCHDOG=1\nSTATUS=2 writes"


def logger(journal: bool) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(journal))
    handler.addFilter(Calm())
    held = logging.Logger("cloud.guard")
    held.addHandler(handler)
    return held, stream


def test_a_failed_request_is_one_line_with_its_trace() -> None:
    log, stream = logger(journal=False)
    try:
        raise RuntimeError("odd")
    except RuntimeError:
        log.exception("request %s failed", "r-1")
    told = json.loads(stream.getvalue())
    assert (told["level"], told["code"], told["msg"]) == ("error", "cloud.guard", "request r-1 failed")
    assert "RuntimeError: odd" in told["trace"] and told["ts"].endswith("+00:00")


def test_the_journal_gets_the_priority_and_a_stranger_cannot_fill_the_disk() -> None:
    log, stream = logger(journal=True)
    for number in range(10_000):
        log.error("request %s failed", number)
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST and lines[0].startswith('<3>{"level": "error"')


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by name and labels."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_collectors_metrics_tell_what_it_holds(full: Any) -> None:
    house, rig = full
    registry = CollectorRegistry()
    registry.register(Figures(Held(house.store, house.key, house.writer, lambda: house.now)))
    found = figures(generate_latest(registry).decode())
    gateway = f"gateway={rig.id.hex()}"
    site = next(name.removeprefix("site=") for key in found for name in key if name.startswith("site="))
    assert found["tanmeter_collector_verify_total", gateway, "result=stored", f"site={site}"] == 144
    assert found["tanmeter_collector_ingest_lag_seconds", gateway, f"site={site}"] == 3
    assert found["tanmeter_collector_gateways", "state=live"] == 1
    complete = {key[1]: value for key, value in found.items() if key[0] == "tanmeter_completeness_ratio"}
    assert len(complete) == 2 and all(0.9 < value <= 1 for value in complete.values())
    assert found["tanmeter_collector_incidents",] >= 0 and found["tanmeter_collector_disk_free_bytes",] > 0


def test_they_are_served_where_asked_and_nowhere_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        place = f"127.0.0.1:{held.getsockname()[1]}"
    process = subprocess.Popen(
        [*CLOUD, "serve", "--data", str(tmp_path / "data"), "--port", "0", "--metrics", place],
        env={**os.environ, "TANMETER_LANG": "en"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split()[-1]
        assert "tanmeter_collector_waiting 0.0" in httpx.get(f"http://{place}/metrics").text
        assert httpx.get(f"{address}v1/metrics").status_code == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
