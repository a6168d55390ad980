"""A fault at every system call: a process is started from the same state again and again, and each time the next call
that it makes of a kind kills it, or fails.
"""

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proofs.nursery import Nursery

KILL = "signal=SIGKILL"
EIO, NO_ROOM = "error=EIO", "error=ENOSPC"
SYNCS, WRITES = ("fdatasync", "fsync"), ("pwrite64", "ftruncate")
WATCHED = "%file,%desc,getrandom,fcntl"
PASSING = ("epoll_wait", "epoll_ctl", "epoll_create1", "poll", "select", "ioctl", "newfstatat", "getdents64")
"""Calls that neither change anything nor stand between two that do."""
ATTACHED_S = 10
_CALL = re.compile(rb"^(?:\d+ +)?(\w+)\(")


@dataclass(frozen=True, slots=True)
class Fault:
    """The ``number``th call of a kind (1: the first), and what becomes of it."""

    call: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.call} {self.number}: {self.what}"


@dataclass(frozen=True, slots=True)
class Run:
    """How a process ended, what it had said, and whether the fault happened."""

    code: int
    said: str
    fired: bool


class Sweep:
    """``base`` is copied to ``work`` before each run; the process is told where that is as its first argument."""

    def __init__(self, nursery: Nursery, base: Path, work: Path, arguments: Sequence[str]) -> None:
        self._nursery, self._base, self._work, self._arguments = nursery, base, work, arguments
        self._log, self._trace = work.with_name("sweep.log"), work.with_name("sweep.trace")

    def calls(self) -> dict[str, int]:
        """How often it makes each call when nothing happens to it."""
        self._run(["-e", f"trace={WATCHED}"])
        found = Counter(match[1].decode() for line in self._traced() if (match := _CALL.match(line)) is not None)
        return {name: count for name, count in sorted(found.items()) if name not in PASSING}

    def run(self, fault: Fault) -> Run:
        """One run with a fault."""
        inject = f"inject={fault.call}:{fault.what}:when={fault.number}"
        code = self._run(["-e", f"trace={fault.call}", "-e", inject])
        fired = code == -signal.SIGKILL if fault.what == KILL else any(b"(INJECTED)" in line for line in self._traced())
        return Run(code, self._log.read_text("utf-8", errors="replace"), fired)

    def _run(self, options: Sequence[str]) -> int:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._base, self._work)
        self._log.unlink(missing_ok=True)
        pid = self._nursery.start([str(self._work), *self._arguments], self._log, held=True)
        strace = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(self._trace), "-e", "signal=none", *options, "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self._attached(pid, strace)
            _go_on(pid)
            return self._nursery.wait()
        finally:
            strace.wait(ATTACHED_S)

    def _attached(self, pid: int, strace: "subprocess.Popen[bytes]") -> None:
        limit = time.monotonic() + ATTACHED_S
        while b"TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_bytes():
            if strace.poll() is not None or time.monotonic() > limit:
                _go_on(pid)
                raise RuntimeError(f"strace cannot attach: {strace.communicate()[1].decode()}")
            time.sleep(0.001)

    def _traced(self) -> list[bytes]:
        return self._trace.read_bytes().splitlines()


def _go_on(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGCONT)


def points(calls: dict[str, int]) -> list[Fault]:
    """Every fault there is to try: killed at each call, EIO at each sync, no room at each write."""
    killed = [Fault(name, number, KILL) for name, count in calls.items() for number in range(1, count + 1)]
    failed = [
        Fault(name, number, what)
        for names, what in ((SYNCS, EIO), (WRITES, NO_ROOM))
        for name in names
        for number in range(1, calls.get(name, 0) + 1)
    ]
    return killed + failed
