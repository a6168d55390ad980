"""Prometheus metrics: every name of the reference, filled by what really happened."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge import metrics
from protocols.errors import ConfigError

PROMISED = {
    "tanmeter_up",
    "tanmeter_build_info",
    "tanmeter_bus_requests",
    "tanmeter_bus_response_seconds",
    "tanmeter_bus_utilization_ratio",
    "tanmeter_readings",
    "tanmeter_buffer_unsent_readings",
    "tanmeter_buffer_oldest_unsent_seconds",
    "tanmeter_buffer_free_days",
    "tanmeter_clock_offset_seconds",
    "tanmeter_sync_batches",
}


def samples(text):
    """Every sample by name and labels."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def measured(box, kit, seconds, answer, transport=None):
    """The figures of a run of two meters, one of which (2) is silent."""
    made = box(kit.modbus_port(), kit.modbus_port("dead", "127.0.0.1:2"), kit.sdm(1), kit.sdm(2, "dead"))
    if transport is not None:
        made.enrol()
        transport = transport(made)
    world = kit.world(made, {"net": answer, "dead": lambda request: []}, transport=transport)
    told = {}

    async def look(world):
        await asyncio.sleep(seconds)
        told.update(await world.agents[0].status())

    world.run(seconds + 1, look)
    return metrics.exposition(told).decode()


def test_every_promised_name_is_there_and_says_what_happened(box, kit):
    text = measured(box, kit, 295, kit.registers(), kit.collector)
    names = {family.name for family in text_string_to_metric_families(text)}
    assert PROMISED - names == set()
    held = samples(text)
    assert held["tanmeter_up",] == 1
    answered = held["tanmeter_bus_requests_total", "meter=M-1", "port=net", "result=answered"]
    assert 29 <= answered <= 30
    assert held["tanmeter_bus_requests_total", "meter=M-2", "port=dead", "result=silent"] > 3
    assert held["tanmeter_bus_not_asked_total", "meter=M-2", "port=dead", "reason=back_off"] > 3
    assert held["tanmeter_bus_response_seconds_count", "meter=M-1", "port=net"] == answered
    assert held["tanmeter_bus_response_seconds_bucket", "le=0.01", "meter=M-1", "port=net"] == answered
    assert held["tanmeter_readings_total", "meter=M-1", "quality=measured"] == answered
    assert held["tanmeter_sync_batches_total", "result=delivering", "target=http://127.0.0.1:1"] >= 4
    assert held["tanmeter_buffer_unsent_blocks",] == 0 and held["tanmeter_clock_synchronised",] == 1
    assert held["tanmeter_sync_receipt_age_seconds",] >= 0


def test_without_a_collector_the_buffer_grows_and_its_age_is_told(box, kit):
    held = samples(measured(box, kit, 295, kit.registers()))
    assert held["tanmeter_buffer_unsent_blocks",] == 4
    assert 20 <= held["tanmeter_buffer_unsent_readings",] <= 30
    assert 290 <= held["tanmeter_buffer_oldest_unsent_seconds",] <= 300
    assert held["tanmeter_buffer_free_days",] > 1


def test_an_agent_that_waits_for_its_store_says_so():
    assert samples(metrics.exposition({"state": "disk-full", "why": "x"}).decode()) == {("tanmeter_up",): 0}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def test_the_running_agent_serves_them_where_it_is_asked_to_and_stays_small(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"), block="1s")
    place = f"127.0.0.1:{free_port()}"
    tanmeter = [sys.executable, "-m", "tanmeter", "--lang", "en", "edge"]
    agent = subprocess.Popen(
        [*tanmeter, "run", "--state", str(made.state), "--metrics", place, "--verbose"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    try:
        for line in agent.stderr:
            if '"sealed"' in line:
                break
        for _ in range(5):
            text = urlopen(f"http://{place}/metrics").read().decode()
        printed = subprocess.run([*tanmeter, "metrics", "--state", str(made.state)], capture_output=True, text=True)
        resident = int(Path(f"/proc/{agent.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
    assert agent.returncode == 0
    assert samples(text).keys() == samples(printed.stdout).keys() and "tanmeter_build_info" in text
    assert resident <= 60 << 20, f"{resident >> 20} MiB with metrics"


@pytest.mark.parametrize("place", ["9108", "nonsense:x", "192.0.2.1:9108", "127.0.0.1:99999"])
def test_an_address_that_cannot_be_had_is_a_configuration_error(place):
    with pytest.raises(ConfigError, match="--metrics"):
        metrics.serve(place, dict)


def test_without_an_agent_it_is_exit_five(tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "tanmeter", "edge", "metrics", "--state", str(tmp_path)], capture_output=True, text=True
    )
    assert said.returncode == 5 and said.stderr.startswith("SYN-502")
