"""A real chronyd and what the agent learns from it: three servers, a server that is off, servers that fall silent."""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge.clock import INFORMATIVE, NTP, SYNCHRONISED, SystemClock
from edge.daemon import Daemon
from protocols.record.block import ClockState

ERA_S = 2_208_988_800
"""From 1900, where NTP counts from, to 1970."""
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
PATIENCE_S = 60.0


class Servers:
    """NTP servers of one mind on HOSTS, ``off`` seconds from this machine's clock."""

    def __init__(self) -> None:
        self.off, self.silent, self._sockets = 0.0, False, [socket.socket(type=socket.SOCK_DGRAM) for _ in HOSTS]
        self._sockets[0].bind((HOSTS[0], 0))
        self.port = self._sockets[0].getsockname()[1]
        for host, opened in zip(HOSTS[1:], self._sockets[1:], strict=True):
            opened.bind((host, self.port))
        for opened in self._sockets:
            threading.Thread(target=self._serve, args=(opened,), daemon=True).start()

    def _serve(self, opened: socket.socket) -> None:
        while True:
            asked, who = opened.recvfrom(512)
            head, now = struct.pack("!BBBbII4s", 0x24, 1, asked[2], -20, 0, 16, b"GPS\0"), self._stamp()
            if not self.silent:
                opened.sendto(head + now + asked[40:48] + now + self._stamp(), who)

    def _stamp(self) -> bytes:
        at = int((time.time() + self.off + ERA_S) * (1 << 32))
        return struct.pack("!Q", at & ((1 << 64) - 1))


class Later(SystemClock):
    """This machine's clock, so many ms from now."""

    ahead = 0

    def mono_ms(self) -> int:
        return super().mono_ms() + self.ahead

    def utc_ms(self) -> int:
        return super().utc_ms() + self.ahead


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Servers:
    made = Servers()
    made.off = getattr(request, "param", 0.0)
    return made


@pytest.fixture
def daemon(servers: Servers, clock: Later, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """The agent's view of a chronyd of our own, which leaves the machine's clock alone."""
    chronyd, chronyc = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("chronyc")
    if chronyd is None or chronyc is None:
        pytest.skip("no chrony here: apt-get install chrony")
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        commands = taken.getsockname()[1]
    lines = [f"server {host} port {servers.port} minpoll -4 maxpoll -4 iburst" for host in HOSTS]
    lines += ["port 0", f"cmdport {commands}", "bindcmdaddress 127.0.0.1", f"pidfile {tmp_path / 'pid'}"]
    client = tmp_path / "chronyc"
    client.write_text(f'#!/bin/sh\nexec {chronyc} -h 127.0.0.1 -p {commands} "$@"\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = [chronyd, "-x", "-U", "-u", tmp_path.owner(), "-d", *lines]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.3)
            pytest.skip(f"chronyd may not run here: {running.stderr.read() if running.stderr else ''}")
        yield Daemon(clock)
        running.kill()


def until(clock: Later, daemon: Daemon, well: Callable[[ClockState | None], bool]) -> ClockState | None:
    """What the daemon says once it is what the test waits for."""
    given_up = time.monotonic() + PATIENCE_S
    while True:
        asyncio.run(daemon.refresh())
        found = daemon.knows(clock.mono_ms(), clock.utc_ms())
        if well(found) or time.monotonic() > given_up:
            return found
        time.sleep(0.2)


def test_a_real_chronyd_tells_how_far_off_the_clock_is_and_who_still_answers(
    servers: Servers, clock: Later, daemon: Daemon
) -> None:
    said = until(clock, daemon, lambda state: state is not None and state.error_ms <= 100 and daemon.agreed())
    assert said is not None and daemon.agreed(), "three servers of one mind"
    assert (said.source, said.state) == (NTP, SYNCHRONISED) and 1 <= said.error_ms <= 100
    assert abs(said.last_sync_s - time.time()) <= 5
    servers.silent = True
    lone = until(clock, daemon, lambda state: not daemon.agreed())
    assert lone is not None and not daemon.agreed(), "chrony itself calls it synchronised for ever"
    clock.ahead = 3_600_000
    later = until(clock, daemon, lambda state: True)
    assert later is not None and 1_800 <= later.error_ms <= 2_000, "500 ppm of an hour without a server"
    clock.ahead = 10 * 3_600_000
    lost = until(clock, daemon, lambda state: True)
    assert lost is not None and lost.state == INFORMATIVE and 18_000 <= lost.error_ms <= 18_100, "kept by nobody"


@pytest.mark.parametrize("servers", [7.0], indirect=True)
def test_a_real_chronyd_that_finds_the_clock_seven_seconds_off_says_so(clock: Later, daemon: Daemon) -> None:
    said = until(clock, daemon, lambda state: state is not None and state.error_ms < 7_200)
    assert said is not None and said.state == SYNCHRONISED and 6_990 <= said.error_ms < 7_200
