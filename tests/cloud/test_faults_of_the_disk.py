"""A served collector whose disk is full or fails, or that is killed: no receipt without the data, and reads go on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.soundness import check
from cloud.store import Store
from protocols.errors import ConfigError, SpoiltError
from protocols.record.answer import Answer, decode_answers, encode_batch
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt

QUARTER = 900_000
HOURS = 12 * 4
LATER = 1_800_000_000_000
FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* Syncs of the write-ahead log fail, as they do on a disk that is dying, while the file $FAIL_WHEN is there. */
static int fails(int fd) {
    char link[64], path[4096];
    const char *when = getenv("FAIL_WHEN");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !when || access(when, F_OK) != 0) return 0;
    path[length] = 0;
    return strstr(path, "-wal") != NULL;
}
int fsync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""
LIMITED = """
import resource, sys
from tanmeter import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


class Served:
    """A collector process over a folder."""

    def __init__(self, data: Path, *before: str, **environment: str) -> None:
        command = [
            sys.executable,
            *(before or ("-m", "tanmeter")),
            "cloud",
            "serve",
            "--data",
            str(data),
            "--port",
            "0",
        ]
        known = {**os.environ, "TANMETER_LANG": "en", "NO_COLOR": "1", **environment}
        self.process = subprocess.Popen(command, env=known, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = re.fullmatch(r"collector ready: (\S+)\n", line := self.process.stderr.readline())
        assert found is not None, line
        self.url = found[1]

    def post(self, frames: list[bytes]) -> httpx.Response:
        return httpx.post(f"{self.url}v1/blocks", content=encode_batch(frames), timeout=30)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def served() -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def start(*of: Any, **more: str) -> Served:
        made.append(Served(*of, **more))
        return made[-1]

    yield start
    for one in made:
        one.end()


@pytest.fixture
def data(full: tuple[Any, Any], tmp_path: Path) -> tuple[Path, PrivateKey, Any, list[bytes]]:
    """A folder with a gateway enrolled and nothing delivered; the key, the gateway, its blocks."""
    house, rig = full
    folder = tmp_path / "data"
    folder.mkdir()
    key = PrivateKey.generate()
    (folder / "collector.key").write_bytes(key.pem())
    (folder / "collector.key").chmod(0o600)
    with Store(folder / "collector.db", key) as store:
        rig.enrol(store, key)
    with house.store.reading() as db:
        frames = [frame for (frame,) in db.execute("SELECT frame FROM blocks ORDER BY epoch, seq LIMIT ?", (HOURS,))]
    return folder, key, rig, frames


def next_seq(response: httpx.Response, key: PrivateKey) -> int:
    """What the receipt in an answer promises; 0 without one."""
    receipt = decode_answers(response.content).receipt
    return 0 if receipt is None else open_receipt(receipt, key.public).next_seq


def held(folder: Path, key: PrivateKey, rig: Any) -> int:
    with Store(folder / "collector.db", key) as store:
        gateway = store.gateway(rig.id)
        assert gateway is not None
        assert gateway.blocks == gateway.next_seq == len(store.blocks(rig.id, limit=1000))
        return gateway.next_seq


def test_fault_54_killed_under_load_every_receipt_is_kept_and_sending_again_changes_nothing(
    data: Any, served: Callable[..., Served]
) -> None:
    folder, key, rig, frames = data
    promised = at = 0
    for _ in range(2):
        collector = served(folder)
        promised = max(promised, next_seq(collector.post(frames[at : at + 1]), key))
        killer = threading.Timer(0.05, lambda pid=collector.process.pid: os.kill(pid, signal.SIGKILL))
        killer.start()
        with suppress(httpx.HTTPError):
            while promised < len(frames):
                promised = max(promised, next_seq(collector.post(frames[promised : promised + 1]), key))
        killer.join()
        collector.end()
        at = held(folder, key, rig)
        assert at >= promised > 0
    with Store(folder / "collector.db", key) as store:
        before = store.intervals(limit=10_000)
        assert {verdict.answer for verdict in store.append(frames[:at], LATER).verdicts} == {Answer.HELD}
        assert store.intervals(limit=10_000) == before
        assert {verdict.answer for verdict in store.append(frames[at:], LATER).verdicts} <= {Answer.STORED}


def test_fault_55_a_file_that_may_grow_no_more_ends_it_without_a_receipt(
    data: Any, served: Callable[..., Served]
) -> None:
    folder, key, rig, frames = data
    size = (folder / "collector.db").stat().st_size + 120_000
    collector = served(folder, "-c", LIMITED, str(size))
    promised, refused = 0, None
    for at in range(0, len(frames), 4):
        response = collector.post(frames[at : at + 4])
        if response.status_code != 200:
            refused = response
            break
        promised = next_seq(response, key)
    assert refused is not None and refused.status_code == 507
    assert refused.json()["code"] == "STO-101" and "receipt" not in refused.text
    collector.process.wait(20)
    assert collector.process.returncode not in (0, -9)
    goes_on(folder, key, rig, frames, promised)


def goes_on(folder: Path, key: PrivateKey, rig: Any, frames: list[bytes], promised: int) -> None:
    """Opened again it holds what was promised, and takes the rest."""
    assert held(folder, key, rig) >= promised > 0
    with Store(folder / "collector.db", key) as store:
        assert check(store, key.public, LATER) == []
        assert {verdict.answer for verdict in store.append(frames, LATER).verdicts} <= {Answer.HELD, Answer.STORED}
    assert held(folder, key, rig) == len(frames)


def mounted(folder: Path, size: str) -> bool:
    """Whether a disk of its own could be made for the test: it takes the right to mount."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


def test_fault_55_a_full_disk_is_507_reads_go_on_and_delivery_goes_on_when_there_is_room(
    data: Any, served: Callable[..., Served], tmp_path: Path
) -> None:
    folder, key, rig, frames = data
    disk = tmp_path / "disk"
    if not mounted(disk, "3m"):
        pytest.skip("found no right to mount a disk, expected it for a disk that is really full")
    try:
        shutil.copytree(folder, disk / "data")
        collector = served(disk / "data")
        promised = next_seq(collector.post(frames[:4]), key)
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        response = collector.post(frames[4:])
        assert (response.status_code, response.json()["code"]) == (507, "STO-101")
        health = httpx.get(f"{collector.url}v1/health").json()
        assert (health["blocks"], health["reasons"]) == (promised, ["disk"])
        assert httpx.get(f"{collector.url}v1/gateways").status_code == 200
        ballast.unlink()
        assert next_seq(collector.post(frames[4:]), key) == len(frames)
        collector.end()
        assert held(disk / "data", key, rig) == len(frames)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a compiler makes the disk fail")
def test_a_sync_that_failed_ends_the_process_and_nothing_is_promised_after_it(
    data: Any, served: Callable[..., Served], tmp_path: Path
) -> None:
    folder, key, rig, frames = data
    (tmp_path / "failing.c").write_text(textwrap.dedent(FAILING))
    library = tmp_path / "failing.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "failing.c"), "-ldl"], check=True)
    dying = tmp_path / "dying"
    collector = served(folder, LD_PRELOAD=str(library), FAIL_WHEN=str(dying))
    promised = next_seq(collector.post(frames[:8]), key)
    assert promised == 8
    dying.touch()
    with suppress(httpx.HTTPError):  # it may have had something else to write just then, and be gone
        response = collector.post(frames[8:12])
        assert (response.status_code, response.json()["code"]) == (507, "STO-101")
        assert collector.post(frames[8:12]).status_code == 507
    assert collector.process.wait(20) not in (0, -9)
    goes_on(folder, key, rig, frames, promised)


def test_a_store_with_the_key_of_another_is_not_served_and_what_has_rotted_of_one_gateway_is_named(data: Any) -> None:
    folder, key, rig, frames = data
    with Store(folder / "collector.db", key) as store:
        store.append(frames[:6], LATER)
        assert check(store, key.public, LATER) == []
        with pytest.raises(ConfigError, match="receipts were signed with"):
            check(store, PrivateKey.generate().public, LATER)
        with store.writing() as db:
            db.execute("UPDATE blocks SET frame = zeroblob(40) WHERE seq = 3")
        (told,) = check(store, key.public, LATER)
        assert "block 0/3" in str(told) and store.held_up == {}
        with store.writing() as db:
            db.execute("DELETE FROM blocks WHERE seq = 5")
        (told,) = check(store, key.public, LATER)
        assert "newest block 0/4" in str(told) and "expected 0/5" in str(told) and [*store.held_up] == [rig.id]


def test_a_store_with_overwritten_pages_is_not_served_and_the_next_action_is_to_restore_it(data: Any) -> None:
    folder, key, _, frames = data
    with Store(folder / "collector.db", key) as store:
        store.append(frames, LATER)
    store = folder / "collector.db"
    held = store.read_bytes()
    for damaged in (held[:4096] + os.urandom(len(held) - 4096), os.urandom(len(held)), held[: len(held) // 3]):
        store.write_bytes(damaged)
        with pytest.raises(SpoiltError), Store(store, key) as opened:
            check(opened, key.public, LATER)
        assert store.read_bytes() == damaged
    command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", "serve", "--data", str(folder), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1 and "STO-105" in ended.stderr and "cloud restore --copy" in ended.stderr
