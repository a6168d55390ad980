"""A collector that bombs are sent to, and what each costs it."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cloud.queries import MOST_S
from edge.config import COLLECTOR, load_collector
from proofs.gateway import Gateway
from protocols.record.cose import PublicKey
from provisioning.enrol import enrol

START_S = 30.0
WITHOUT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""No certificate is read: only HTTP is spoken here, and to read those of all the world takes as long as ten bombs."""
PAUSE_S = 0.02
"""Between what the other gateway sends: without it, booking would not be done before who asks for it is cut off."""
Send = Callable[[str], int]
"""Sends something to the collector at this address; the status of its answer."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request cost the collector. ``cpu_s``: the most it computed until this was answered, or a request of
    another gateway while what it said was booked; ``all_s``: all it computed for it, and for those others; seconds of
    processor. ``growth``: bytes its largest memory grew by.
    """

    cpu_s: float
    all_s: float
    growth: int
    status: int


class Target:
    """A running collector. ``neighbour``: what another gateway sends it meanwhile."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, data: Path) -> None:
        self._process, self.url, self._data = process, url, data
        self.neighbour: Send = get("v1/health")

    def enrol(self, gateway: Gateway) -> PublicKey:
        """Let a gateway in; the key of the collector."""
        enrol(gateway.state, _invite(self._data), self.url.rstrip("/"))
        held = load_collector(gateway.state / COLLECTOR)
        assert held is not None, "it has just been enrolled"
        return held.key

    def cost(self, send: Send) -> Cost:
        """Send, and see what it took, up to where all that it said is booked."""
        self._forget_peak()
        began, memory = self._cpu_s(), self._peak()
        status, most = self._computed(send)
        asked = -MOST_S
        while time.monotonic() - asked >= MOST_S:  # as long as its answer may wait for the books: not all was booked
            asked = time.monotonic()
            most = max(most, self._beside(lambda: httpx.get(f"{self.url}v1/incidents", timeout=30, verify=WITHOUT)))
        return Cost(most, self._cpu_s() - began, self._peak() - memory, status)

    def _beside(self, ask: Callable[[], httpx.Response]) -> float:
        """The most that the collector computed for what the other gateway sent while this was asked (s)."""
        most = 0.0
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask)
            while not answer.done():
                status, computed = self._computed(self.neighbour)
                assert status == 200, "a gateway that has done nothing is answered"
                most = max(most, computed)
                time.sleep(PAUSE_S)
            answer.result().raise_for_status()
        return most

    def _computed(self, send: Send) -> tuple[int, float]:
        """The status, and what the collector computed meanwhile (s); not what it may have while we had no core."""
        began, starved = self._cpu_s(), _starved_s()
        status = send(self.url)
        return status, max(0.0, self._cpu_s() - began - (_starved_s() - starved))

    def _forget_peak(self) -> None:
        """Let the largest memory so far be what is held now: what a start or another bomb took hides nothing."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def alive(self) -> bool:
        """Whether it still answers."""
        return (
            self._process.poll() is None
            and httpx.get(f"{self.url}v1/health", timeout=10, verify=WITHOUT).status_code == 200
        )

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _peak(self) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


@contextmanager
def target(data: Path) -> Iterator[Target]:
    """A collector of its own, started as anybody starts it."""
    command = [sys.executable, "-m", "tanmeter", "cloud", "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TANMETER_LANG": "en"})
    try:
        assert process.stderr is not None
        url = process.stderr.readline().rpartition(" ")[2].strip()
        held, limit = Target(process, url, data), time.monotonic() + START_S
        while not held.alive():
            if time.monotonic() > limit:
                raise SystemExit("the collector did not answer")
        yield held
    finally:
        process.kill()
        process.wait()


def _starved_s() -> float:
    """For how long this thread has waited for a core; 0 where the kernel does not count that."""
    counted = Path("/proc/thread-self/schedstat")
    return int(counted.read_text().split()[1]) / 1e9 if counted.exists() else 0.0


def _invite(data: Path) -> str:
    """A one-time code of the collector with this folder."""
    command = [sys.executable, "-m", "tanmeter", "cloud", "invite", "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def post(path: str, body: bytes) -> Send:
    """Sends this body; 413 where it was hung up on before its end: the refusal could not be read."""

    def send(url: str) -> int:
        try:
            return httpx.post(f"{url}{path}", content=body, timeout=30, verify=WITHOUT).status_code
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            return 413

    return send


def get(path: str) -> Send:
    """Asks for this."""
    return lambda url: httpx.get(f"{url}{path}", timeout=30, verify=WITHOUT).status_code
