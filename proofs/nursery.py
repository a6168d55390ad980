"""``python -m proofs.nursery MODULE [ALSO ...]``: loads modules once and forks a process of the first one's ``main``
when it is asked to.

What is forked is the real thing, in a process of its own: only the second that it takes to load Python's modules, the
software's digest, the messages and the kinds of structs is saved, and what the first module's ``prepare`` reads, where
it has one, of the software's own files. Ours to talk to: ``Nursery``. One line of JSON each way: arguments and log in,
the process's number out; its end out.
"""

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.software import installed
from proofs.box import ENVIRONMENT
from protocols import structs
from protocols.messages import catalogue

PR_SET_PDEATHSIG, PR_SET_PTRACER = 1, 0x59616D61
ANYBODY = ctypes.c_ulong(-1)


class Nursery:
    """The other side. One child at a time. ``also``: what every child would load for itself only when it needs it."""

    def __init__(self, module: str, *also: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proofs.nursery", module, *also],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def start(self, arguments: Sequence[str], log: Path, held: bool = False) -> int:
        """Start a process; its number. ``held``: it waits for SIGCONT before it does anything."""
        told = self._ask({"arguments": list(arguments), "log": str(log), "held": held})
        return int(told["pid"])

    def wait(self) -> int:
        """Wait for its end: the exit code, or the signal as a negative number."""
        return int(self._ask({})["ended"])

    def _ask(self, told: dict[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery has ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(module: str, *also: str) -> None:
    """Fork when asked to, until nobody asks any more."""
    first, child = import_module(module), 0
    for name in also:
        import_module(name)
    installed()
    catalogue()
    structs.learn()
    getattr(first, "prepare", lambda: None)()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "arguments" not in asked:
            _, status = os.waitpid(child, 0)
            answer = {"ended": os.waitstatus_to_exitcode(status)}
        else:
            if (child := os.fork()) == 0:
                _be(first.main, asked)
            if asked["held"]:
                os.waitpid(child, os.WUNTRACED)
            answer = {"pid": child}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _be(main: Any, asked: dict[str, Any]) -> None:
    """Be the child; does not return."""
    code = 1
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_PTRACER, ANYBODY)
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, wanted in ((nothing, 0), (nothing, 1), (log, 2)):
            os.dup2(descriptor, wanted)
        os.closerange(3, 256)
        faulthandler.enable()
        if asked["held"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        code = main(*asked["arguments"])
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001 - the outermost of a process: said, and its exit code tells
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(*sys.argv[1:])
