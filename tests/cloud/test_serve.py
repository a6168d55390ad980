"""The collector as a process: one line when ready, a clean end, a plain word when the port is taken."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud import config, factor_shelf
from cloud.accounting import contents
from protocols.record.answer import encode_batch
from tests.cloud.box import Box

CLOUD = [sys.executable, "-m", "tanmeter", "cloud"]
ENGLISH = {**os.environ, "TANMETER_LANG": "en", "NO_COLOR": "1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLOUD, *arguments], env=ENGLISH, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A running collector, its address, its folder."""
    data = tmp_path_factory.mktemp("served") / "deep" / "data"
    process = subprocess.Popen(
        [*CLOUD, "serve", "--data", str(data), "--port", "0"], env=ENGLISH, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    address = re.fullmatch(r"collector ready: (http://127\.0\.0\.1:\d+/)\n", line)
    assert address is not None, line
    yield process, address[1], data
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_it_makes_its_folder_and_key_and_answers(served: Any) -> None:
    _, address, data = served
    health = httpx.get(f"{address}v1/health").json()
    assert health["status"] == "ok"
    assert stat.S_IMODE((data / "collector.key").stat().st_mode) == 0o600
    assert httpx.get(address).status_code == 200


def test_it_has_signed_its_built_in_files(served: Any) -> None:
    _, _, data = served
    key = config.open_key(data)
    with config.open_store(data, key) as store:
        [signed] = factor_shelf.own(store, key.public)
    assert (signed.release, signed.files) == (version("tanmeter"), contents.installed())


def test_built_in_files_that_changed_are_told_before_it_is_ready(tmp_path: Path) -> None:
    key = config.create_key(tmp_path)
    with config.open_store(tmp_path, key) as store, pytest.MonkeyPatch.context() as former:
        other = {**contents.installed(), "methods/ndrc-24-2015.toml": "0" * 64}
        former.setattr(contents, "installed", lambda: other)
        factor_shelf.sign_own(store, key, "0.0.9", now=1_790_000_000_000)
    process = subprocess.Popen(
        [*CLOUD, "serve", "--data", str(tmp_path), "--port", "0"], env=ENGLISH, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    told, ready = process.stderr.readline(), process.stderr.readline()
    process.kill()
    process.wait()
    assert told.startswith("built-in files are others than this collector signed: methods/ndrc-24-2015.toml.")
    assert ready.startswith("collector ready")


def test_a_code_made_beside_the_server_is_for_this_server(served: Any) -> None:
    _, _, data = served
    made = run("invite", "--data", str(data), "--valid", "15m")
    assert made.returncode == 0
    assert re.fullmatch(r"([0-9A-Z]{4}-)+[0-9A-Z]{1,4}\n", made.stdout)
    wrong = run("invite", "--data", str(data), "--valid", "soon")
    assert wrong.returncode == 6
    assert "found 'soon', expected a duration" in wrong.stderr
    unknown = run("revoke", "00", "--reason", "x", "--data", str(data))
    assert unknown.returncode == 2
    assert run("gateways", "--json", "--data", str(data)).stdout == ""


def test_the_list_of_gateways_says_of_each_what_is_known(tmp_path: Path) -> None:
    box = Box()
    with config.open_store(tmp_path, config.create_key(tmp_path)) as store:
        box.enrol(store)
        box.deliver(store, 3)
    (told,) = map(json.loads, run("gateways", "--json", "--data", str(tmp_path)).stdout.splitlines())
    assert (told["id"], told["site"], told["next_seq"]) == (box.key.public.id.hex(), "plant-7", 3)
    assert "health" in told and "enrolment" not in told


def test_a_stream_without_end_is_refused_at_the_cap(served: Any) -> None:
    _, address, _ = served
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/blocks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        try:
            while sent < 64 << 20:
                connection.sendall(piece)
                sent += 65536
        except OSError:
            pass
        try:
            answer = connection.recv(4096)
        except ConnectionError:
            answer = b""
    assert sent < 32 << 20
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert httpx.post(f"{address}v1/blocks", content=encode_batch([b"x"])).status_code == 403


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET /", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
        (b"GET / HTTP/1.1\r\na: ", b"b" * 65536),
        (b"POST /v1/blocks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000),
    ],
    ids=["path", "headers", "header", "trailers"],
)
def test_a_head_without_end_is_hung_up_on(served: Any, head: bytes, piece: bytes) -> None:
    _, address, _ = served
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as connection, suppress(OSError):
        connection.sendall(head)
        while sent < 64 << 20:
            connection.sendall(piece)
            sent += len(piece)
    assert sent < 16 << 20
    assert httpx.get(f"{address}v1/health").status_code == 200


def test_a_taken_port_is_told_with_exit_6(served: Any, tmp_path: Path) -> None:
    _, address, _ = served
    port = address.rstrip("/").rpartition(":")[2]
    refused = run("serve", "--data", str(tmp_path), "--port", port)
    assert refused.returncode == 6
    assert f"--port {port}: found a port that another program holds" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("serve", "--host", "192.0.2.1", "--port", "0"), "--host 192.0.2.1: found"),
        (("serve", "--mqtt", "nowhere", "--port", "0"), "--mqtt: found no address of a broker"),
        (("revoke", "zz", "--reason", "x"), "gateway: found 'zz', expected the beginning of one id"),
    ],
)
def test_what_is_wrong_is_told_of_what_was_given(call: tuple[str, ...], told: str, tmp_path: Path) -> None:
    config.create_key(tmp_path)
    refused = run(*call, "--data", str(tmp_path))
    assert refused.returncode in (2, 6) and told in refused.stderr and "Traceback" not in refused.stderr


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*CLOUD, "serve", "--data", str(tmp_path), "--port", "0"], env=ENGLISH, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.terminate()
    assert process.wait(15) == 0
    assert process.stderr.read() == ""
