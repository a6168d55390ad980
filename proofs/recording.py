"""What a process does to its disk and says to the world, in the order in which it does so, as strace saw it.

The process is the real one, unchanged. A write counts from its beginning on: part of it may be on the disk before the
call returns. A sync counts when it has returned, and only for what was written before it began.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,sendto,sendmsg,recvfrom"
)
LONGEST = 4 << 20
"""Bytes of one call that are written down."""
PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Write:
    """``offset`` None: behind what this file holds."""

    path: str
    offset: int | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class SyncBegun:
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class Synced:
    number: int


@dataclass(frozen=True, slots=True)
class Made:
    """A file, or with ``folder`` a folder, under a new name; a file that is there is left as it is."""

    path: str
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A second name for a file; the first one is gone with ``moved``."""

    path: str
    name: str
    moved: bool


@dataclass(frozen=True, slots=True)
class Removed:
    path: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line on standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes that left by a connection."""

    way: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Got:
    """Bytes that came by a connection."""

    way: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """The process was started, once more."""


Operation = Write | Truncate | SyncBegun | Synced | Made | Named | Removed | Said | Sent | Got | Started


class Traced:
    """A process under strace. ``trace`` is where it is written down, ``log`` its standard error."""

    def __init__(self, command: Sequence[str], trace: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.trace, self.log = trace, log
        strace = [
            "strace",
            "-f",
            "-y",
            "-xx",
            "--seccomp-bpf",
            "-s",
            str(LONGEST),
            "-o",
            str(trace),
            "-e",
            "signal=none",
        ]
        with log.open("wb") as errors:
            self._strace = subprocess.Popen(
                [*strace, "-e", f"trace={CALLS}", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._strace.poll() is None

    def said(self) -> str:
        """Its standard error so far."""
        return self.log.read_text("utf-8", errors="replace")

    def end(self, how: signal.Signals) -> int:
        """Send it a signal and wait for its end; its exit code."""
        for child in _children(self._strace.pid):
            os.kill(child, how)
        try:
            return self._strace.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._strace.wait(PATIENCE_S * 4)

    def kill(self) -> None:
        """End it and strace, whatever they are doing."""
        for child in _children(self._strace.pid):
            os.kill(child, signal.SIGKILL)
        self._strace.kill()
        self._strace.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


_CALL = re.compile(rb"^(\d+) +(\w+)\((.*)$", re.DOTALL)
_RESUMED = re.compile(rb"^(\d+) +<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_DESCRIPTOR = re.compile(rb"^(\d+|AT_FDCWD)(?:<([^>]*)>)?(\(deleted\))?")
_TEXT = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_RESULT = re.compile(rb"\) += (-?\d+)(?:<([^>]*)>)?")
UNFINISHED = b" <unfinished ...>"


def read(trace: Path, root: Path, log: Path) -> Iterator[Operation]:
    """What was written down, as far as it concerns files under ``root``, connections, and the process's log."""
    yield Started()
    yield from _Reader(str(root.resolve()), str(log.resolve())).read(trace)


class _Reader:
    """State: calls under way by thread, where each open file stands, how many syncs have begun."""

    def __init__(self, root: str, log: str) -> None:
        self._root, self._log = root, log
        self._under_way: dict[bytes, tuple[bytes, int | None]] = {}
        self._stands: dict[bytes, tuple[str, int]] = {}
        self._syncs = 0
        self._line = b""

    def read(self, trace: Path) -> Iterator[Operation]:
        with trace.open("rb") as lines:
            for line in lines:
                yield from self._take(line.rstrip(b"\n"))

    def _take(self, line: bytes) -> Iterator[Operation]:
        if (resumed := _RESUMED.match(line)) is not None:
            begun, number = self._under_way.pop(resumed[1], (None, None))
            if begun is not None:
                yield from self._ended(resumed[2], begun + resumed[3], number)
            return
        if (call := _CALL.match(line)) is None:
            return
        pid, name, rest = call.groups()
        if rest.endswith(UNFINISHED):
            rest = rest[: -len(UNFINISHED)]
            yield from self._begun(name, rest)
            self._under_way[pid] = rest, self._syncs
        else:
            yield from self._begun(name, rest)
            yield from self._ended(name, rest, self._syncs)

    def _begun(self, name: bytes, rest: bytes) -> Iterator[Operation]:
        """What counts from its beginning: bytes, and that a sync has begun."""
        if name in (b"write", b"pwrite64", b"ftruncate", b"fallocate"):
            if (path := self._path(rest)) is not None:
                yield self._written(name, path, rest)
            elif name == b"write" and self._named(rest) == self._log:
                yield from self._said(_bytes(rest))
        elif name == b"sendto":
            yield Sent(_way(rest), _bytes(rest))
        elif name in (b"writev", b"pwritev", b"sendmsg") and (self._path(rest) or name == b"sendmsg"):
            data = b"".join(bytes.fromhex(part.decode().replace("\\x", "")) for part, _ in _TEXT.findall(rest))
            yield Sent(_way(rest), data) if name == b"sendmsg" else self._appended(str(self._path(rest)), rest, data)
        elif name in (b"fsync", b"fdatasync", b"sync_file_range") and (path := self._path(rest)) is not None:
            self._syncs += 1
            yield SyncBegun(self._syncs, path)

    def _ended(self, name: bytes, rest: bytes, sync: int | None) -> Iterator[Operation]:
        """What counts when it has succeeded: names, and that a sync is over."""
        result = _RESULT.search(rest, max(0, rest.rfind(b") ")))
        if result is None or int(result[1]) < 0:
            return
        if name in (b"fsync", b"fdatasync") and sync is not None and self._path(rest) is not None:
            yield Synced(sync)
        elif name == b"recvfrom":
            yield Got(_way(rest), _bytes(rest))
        elif name in (b"open", b"openat", b"creat"):
            yield from self._opened(name, rest, result)
        elif name in (b"rename", b"renameat", b"renameat2", b"link", b"linkat"):
            before, after = self._paths(rest)
            if before is not None and after is not None:
                yield Named(before, after, name.startswith(b"rename"))
        elif name in (b"unlink", b"unlinkat", b"rmdir") and (path := self._paths(rest)[0]) is not None:
            yield Removed(path)
        elif name in (b"mkdir", b"mkdirat") and (path := self._paths(rest)[0]) is not None:
            yield Made(path, folder=True)

    def _opened(self, name: bytes, rest: bytes, result: re.Match[bytes]) -> Iterator[Operation]:
        path = self._inside(_plain(result[2] or b""))
        if path is None:
            return
        self._stands[result[1]] = path, 0
        if b"O_CREAT" in rest or name == b"creat":
            yield Made(path)
        if b"O_TRUNC" in rest or name == b"creat":
            yield Truncate(path, 0)

    def _written(self, name: bytes, path: str, rest: bytes) -> Operation:
        numbers = [int(number) for number in re.findall(rb", (\d+)", rest[rest.rfind(b'"') + 1 :])]
        if name == b"ftruncate":
            return Truncate(path, numbers[0])
        if name == b"fallocate":
            return Truncate(path, numbers[-2] + numbers[-1])
        data = _bytes(rest)
        return Write(path, numbers[1], data) if name == b"pwrite64" else self._appended(path, rest, data)

    def _appended(self, path: str, rest: bytes, data: bytes) -> Write:
        descriptor = rest[: rest.index(b"<")]
        known, offset = self._stands.get(descriptor, ("", 0))
        offset = offset if known == path else 0
        self._stands[descriptor] = path, offset + len(data)
        return Write(path, offset, data)

    def _said(self, data: bytes) -> Iterator[Operation]:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            yield Said(line.decode("utf-8", errors="replace"))

    def _named(self, rest: bytes) -> str | None:
        found = _DESCRIPTOR.match(rest)
        return None if found is None or found[2] is None or found[3] else _plain(found[2])

    def _path(self, rest: bytes) -> str | None:
        return self._inside(self._named(rest) or "")

    def _paths(self, rest: bytes) -> tuple[str | None, str | None]:
        """The paths that a call names; relative ones are of nobody here."""
        found = [self._inside(_plain(text)) for text, _ in _TEXT.findall(rest)]
        return found[0] if found else None, found[1] if len(found) > 1 else None

    def _inside(self, path: str) -> str | None:
        if path == self._root:
            return ""
        return path[len(self._root) + 1 :] if path.startswith(self._root + "/") else None


def _plain(escaped: bytes) -> str:
    return os.fsdecode(bytes.fromhex(escaped.decode().replace("\\x", "")) if escaped.startswith(b"\\x") else escaped)


def _bytes(rest: bytes) -> bytes:
    found = _TEXT.search(rest)
    if found is None:
        return b""
    if found[2]:
        raise ValueError(f"found a call of more than {LONGEST} bytes, expected all of it in the trace")
    return bytes.fromhex(found[1].decode().replace("\\x", ""))


def _way(rest: bytes) -> str:
    found = _DESCRIPTOR.match(rest)
    return "" if found is None else f"{found[1].decode()}<{_plain(found[2] or b'')}>"
