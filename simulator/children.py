"""Child processes of the demo: started, watched, and all of them ended, however the demo ends."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from protocols.errors import TanmeterError

PATIENCE_S = 8
GLANCE_S = 0.05
TAIL_LINES = 12
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ChildDied(TanmeterError):
    """A process of the demo ended by itself; the message says which, how, and its last words."""


class Child:
    """One tanmeter process. What it says goes to its log file. ``ends``: it is meant to end by itself."""

    def __init__(
        self, name: str, arguments: list[str], log: Path, environment: Mapping[str, str], ends: bool = False
    ) -> None:
        self.name, self.log, self._ends = name, log, ends
        self._arguments = [sys.executable, "-m", "tanmeter", *arguments]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = self._popen(log.fileno(), log.fileno())

    async def output(self) -> tuple[int, str]:
        """Run it to its end: exit code and standard output."""
        with self.log.open("ab") as log:
            self._process = self._popen(subprocess.PIPE, log.fileno())
        try:
            data, _ = await asyncio.to_thread(self._process.communicate)
            return self._process.returncode, data.decode("utf-8", errors="replace")
        finally:
            self.kill()

    def done(self) -> bool:
        """Whether it has ended well; ChildDied when it has ended otherwise."""
        self.check()
        return self._process is None

    def check(self) -> None:
        """ChildDied, each time it is asked, when it ended by itself otherwise than well and as it was meant to."""
        code = None if self._process is None else self._process.poll()
        if code == 0 and self._ends:
            self._process = None
        elif code is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended by itself with exit code {code}"
            raise ChildDied(f"the process '{self.name}' {how}; its last words:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL: nothing is asked, nothing is tidied up."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL when it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        for _ in range(int(PATIENCE_S / GLANCE_S)):
            if self._process.poll() is not None:
                break
            await asyncio.sleep(GLANCE_S)
        self.kill()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])

    def _popen(self, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """Apart from the terminal's Ctrl-C, and bound to end with this process whatever happens to it."""
        parent = os.getpid()
        return subprocess.Popen(
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=self._environment,
            start_new_session=True,
            preexec_fn=lambda: _end_with(parent),  # noqa: PLW1509 - the only way to ask the kernel this
        )


class Children:
    """All of them; those last started are stopped first."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(self, child: Child) -> Child:
        """Start one and watch it from now on."""
        self._children.append(child)
        child.start()
        return child

    def check(self) -> None:
        """ChildDied when any of them ended by itself."""
        for child in self._children:
            child.check()

    async def stop(self) -> None:
        """Stop all of them."""
        for child in reversed(self._children):
            with contextlib.suppress(ProcessLookupError):
                await child.stop()


def _end_with(parent: int) -> None:
    """Have the kernel send SIGKILL to this process when its parent dies (Linux); at once when it has already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
