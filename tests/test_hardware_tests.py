"""hardware-tests as a technician runs them: a device that is the model, one that is not, a display that differs."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from drivers import builtin, profile_file, replay
from drivers.driver import driver
from drivers.profile import digest
from drivers.site import Device
from protocols.errors import ProtocolError
from simulator.cjt188_meters import Cjt188Meter, water
from simulator.pipes import within
from simulator.profile_meter import over_tcp
from simulator.site import alone
from simulator.truth import TruthLog
from simulator.world import World

ROOT = Path(__file__).parent.parent
MODEL = "chint-ddsu666"
WATER = "78330020231101"
BUSY_S = 60.0
"""A machine that has much else to do starts a thread with a meter within this time."""


@contextmanager
def served(meter: AbstractAsyncContextManager[str]) -> Iterator[str]:
    """Where a simulated meter answers, in a thread of its own; what it fails with is raised here."""
    loop, place, done = asyncio.new_event_loop(), Future[str](), asyncio.Event()

    async def serve() -> None:
        try:
            async with meter as where:
                place.set_result(where)
                await done.wait()
        except Exception as error:
            if place.done():
                raise
            place.set_exception(error)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield place.result(BUSY_S)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(BUSY_S)
        loop.close()


@asynccontextmanager
async def tcp_meter() -> AsyncIterator[str]:
    """A meter of MODEL as unit 3."""
    async with over_tcp(profile_file.load(builtin.builtin(MODEL)), 3) as (_, where):
        yield where


@asynccontextmanager
async def water_meter(folder: Path) -> AsyncIterator[str]:
    """A serial line with a water meter of the number WATER."""
    meter = Cjt188Meter("D", WATER, water(), within(World(7), "W-01"), TruthLog(folder / "truth.jsonl"))
    with alone(meter, folder / "line"):
        yield str(folder / "line")


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Where a simulated meter of MODEL answers as unit 3."""
    with served(tcp_meter()) as where:
        yield where


def run(folder: Path, place: str, profile: str, *more: str) -> subprocess.CompletedProcess[str]:
    where = ("--port", f"tcp:{place}", "--address", "3") if place else ()
    options = (*where, "--profile", profile)
    outputs = ("--report", str(folder / "reports"), "--vectors", str(folder / "vectors"), "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", "hardware-tests", *options, *outputs, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def report(folder: Path) -> str:
    [path] = (folder / "reports").glob("*.md")
    return path.read_text("utf-8")


def test_the_right_model_passes_and_leaves_a_report_and_vectors(place: str, tmp_path: Path) -> None:
    done = run(tmp_path, place, MODEL, "--reading", "voltage=230")
    assert done.returncode == 0, done.stdout
    text = report(tmp_path)
    assert text.startswith(f"# {MODEL}: passed") and place in text and "| `energy_import` |" in text
    [held] = json.loads((tmp_path / "vectors" / f"{MODEL}.json").read_text())
    assert held["profile_sha256"] == digest(builtin.builtin(MODEL)).hex() and not held["simulated"]
    replays(held)


def test_another_model_fails_and_the_report_says_why(place: str, tmp_path: Path) -> None:
    done = run(tmp_path, place, "eastron-sdm120")
    assert done.returncode == 1
    text = report(tmp_path)
    assert (
        "FAILED" in text and "BUS-103" in text and "| the model is the one that the profile describes | failed" in text
    )


def test_a_display_that_shows_another_number_fails_that_check_alone(place: str, tmp_path: Path) -> None:
    run(tmp_path, place, MODEL, "--reading", "energy_import=1.5")
    rows = [line for line in report(tmp_path).splitlines() if line.startswith("| ") and "failed" in line]
    assert len(rows) == 1 and rows[0].startswith("| the display shows the same | failed: energy_import: read")


def test_without_a_reading_the_display_is_not_compared_and_the_report_says_so(place: str, tmp_path: Path) -> None:
    assert run(tmp_path, place, MODEL).returncode == 0
    text = report(tmp_path)
    assert text.startswith(f"# {MODEL}: incomplete") and "| the display shows the same | skipped" in text


def test_a_reading_of_no_point_is_refused_at_once(place: str, tmp_path: Path) -> None:
    done = run(tmp_path, place, MODEL, "--reading", "energy_imprt=1")
    assert done.returncode != 0 and "--reading energy_imprt: no point of" in done.stdout + done.stderr


def test_what_is_about_registers_is_not_asked_of_a_meter_without_them(tmp_path: Path) -> None:
    with served(water_meter(tmp_path)) as serial:
        where = ("--port", serial, "--mode", "2400-8N1", "--address", WATER, "--reading", "status=0")
        done = run(tmp_path, "", "cjt188-water", *where)
    assert done.returncode == 0, done.stdout
    text = report(tmp_path)
    assert text.startswith("# cjt188-water: passed") and "skipped" not in text


@pytest.mark.parametrize("profile", ["dlt645-2007-single-phase", "cjt188-water"])
def test_answers_in_several_frames_and_other_wordings_are_kept_whole(profile: str, tmp_path: Path) -> None:
    done = run(tmp_path, "", profile)
    assert done.returncode == 0, done.stdout
    [held] = json.loads((tmp_path / "vectors" / f"{profile}.json").read_text())
    replays(held)


def test_a_data_logger_is_not_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "127.0.0.1:1", "hj212-cems")
    assert done.returncode != 0 and "speaks unasked" in done.stdout


def test_captured_exchanges_are_replayed_as_they_were_found() -> None:
    for path in sorted((ROOT / "tests" / "vectors" / "captured").glob("*.json")):
        for held in json.loads(path.read_text("utf-8")):
            replays(held)


def replays(held: dict[str, object]) -> None:
    """Today's driver finds in recorded bytes what was found then, as long as the profile is the same."""
    source = builtin.builtin(str(held["profile"]))
    if digest(source).hex() != held["profile_sha256"]:
        return
    profile = profile_file.load(source)
    device = Device(id="D", profile=profile.id, port="bus", address=str(held["address"]))
    asker = driver(device, profile, held["framing"])  # type: ignore[arg-type]
    exchanges = held["exchanges"]
    assert isinstance(exchanges, list) and exchanges
    for one in exchanges:
        if "error" in one:
            with pytest.raises(ProtocolError) as caught:
                replay.values(asker, bytes.fromhex(one["request"]), bytes.fromhex(one["response"]))
            assert caught.value.code == one["error"]
            continue
        values = replay.values(asker, bytes.fromhex(one["request"]), bytes.fromhex(one["response"]))
        assert {point: None if value is None else str(value) for point, value in values.items()} == one["values"]
