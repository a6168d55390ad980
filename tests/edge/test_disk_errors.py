"""Errors of the disk in the middle of it, injected into the system calls of a real process that writes a real store."""

import shutil
import subprocess
import sys

import pytest

from edge.log import silent
from edge.opening import aside, open_outbox

WRITER = """
import sys
from pathlib import Path
from drivers.reading import Exchange
from edge import database
from edge.log import silent
from edge.opening import open_outbox
from edge.sealer import Record
database.CHECKPOINT_BYTES = 30_000
outbox = open_outbox(Path(sys.argv[1]), bytes(16), bytes(32), durable=True, now=0, log=silent)
print("opened", flush=True)
for number in range(40):
    try:
        outbox.add([Record(1, number, Exchange(0, 0, b"ask", b"x" * 300, 0, number))])
    except database.DiskFull:
        print("full", number, flush=True)
    else:
        print("ack", number, flush=True)
if sys.argv[2:]:
    print(len(outbox.records(1)), flush=True)
outbox.close()
"""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the errors")


def write(folder, inject, only="", *more):
    """Run the writer with an error injected into calls (of this file only): exit code, what it said, its last words."""
    path = folder / "outbox.db"
    traced = inject.partition(":")[0]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={traced}", "-e", f"inject={inject}"]
    command += ["-P", str(folder / only)] if only else []
    ran = subprocess.run(
        [*command, sys.executable, "-c", WRITER, str(path), *more], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout.split("\n")[:-1], ran.stderr


def begun(folder):
    """A store that was used once, and closed."""
    open_outbox(folder / "outbox.db", bytes(16), bytes(32), durable=True, now=0, log=silent).close()


def kept(folder):
    outbox = open_outbox(folder / "outbox.db", bytes(16), bytes(32), durable=False, now=0, log=silent)
    found = [record.slot for record in outbox.records(1)]
    outbox.close()
    return found


@pytest.mark.parametrize("when", [1, 7, 19])
def test_a_failed_fsync_ends_the_process_and_nothing_is_acknowledged_after(tmp_path, when):
    code, said, last = write(tmp_path, f"fdatasync:error=EIO:when={when}")
    assert code == 1 and "StoreError" in last
    acknowledged = [int(line.split()[1]) for line in said if line.startswith("ack")]
    assert acknowledged == list(range(len(acknowledged))) and len(acknowledged) < when
    assert kept(tmp_path)[: len(acknowledged)] == acknowledged


def test_a_failed_fsync_of_the_file_in_a_checkpoint_is_not_swallowed(tmp_path):
    begun(tmp_path)
    code, said, last = write(tmp_path, "fdatasync:error=EIO:when=2", "outbox.db")
    assert code == 1 and "StoreError" in last and 2 < len(said) < 41


@pytest.mark.parametrize("lost", [False, True])
def test_a_failed_fsync_of_the_folder_at_the_first_start_ends_it(tmp_path, lost):
    """Also where a store was lost: then nobody but the store itself has the folder on disk, for its watermark is."""
    if lost:
        begun(tmp_path)
        for path in tmp_path.glob("outbox.db*"):
            path.unlink()
    code, said, last = write(tmp_path, "fsync:error=EIO:when=1", ".")
    assert code == 1 and "StoreError" in last and said == []


def test_a_full_disk_costs_what_was_not_acknowledged_and_no_more(tmp_path):
    begun(tmp_path)
    code, said, _ = write(tmp_path, "pwrite64:error=ENOSPC:when=20..26", "outbox.db-wal")
    acknowledged = [int(line.split()[1]) for line in said if line.startswith("ack")]
    assert code == 0 and any(line.startswith("full") for line in said) and acknowledged[-1] == 39
    assert kept(tmp_path) == acknowledged


def test_an_acknowledgement_costs_one_sync(tmp_path):
    """Of the log, which is synced once more whenever it is brought into the file: here with every ninth of them. What
    else is synced is the file then, and what the start writes.
    """
    begun(tmp_path)
    trace, path = tmp_path / "trace", tmp_path / "outbox.db"
    command = ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,sync,syncfs"]
    subprocess.run([*command, sys.executable, "-c", WRITER, str(path)], check=True, capture_output=True)
    synced = [line for line in trace.read_text().splitlines() if "sync" in line]
    of_log = sum(f"<{path}-wal>" in line for line in synced)
    assert 40 <= of_log <= 52 and len(synced) - of_log <= 12, synced


def test_a_disk_that_becomes_read_only_costs_what_was_not_acknowledged_and_no_more(tmp_path):
    """As when the kernel gives a file system up while it is in use: what writes is refused, what is read is there."""
    begun(tmp_path)
    code, said, last = write(tmp_path, "pwrite64:error=EROFS:when=40+")
    acknowledged = [int(line.split()[1]) for line in said if line.startswith("ack")]
    assert code == 0 and said[-1] == "full 39" and 0 < len(acknowledged) < 39, (said, last)
    assert kept(tmp_path) == acknowledged


def test_another_error_of_a_write_ends_the_process(tmp_path):
    begun(tmp_path)
    code, said, last = write(tmp_path, "pwrite64:error=EIO:when=20", "outbox.db-wal")
    acknowledged = [int(line.split()[1]) for line in said if line.startswith("ack")]
    assert code == 1 and "StoreError" in last and kept(tmp_path) == acknowledged


def test_a_disk_that_cannot_be_read_ends_the_process_with_a_code_of_its_own(tmp_path):
    write(tmp_path, "fdatasync:delay_enter=1:when=1")
    for _ in range(2):
        code, said, last = write(tmp_path, "pread64:error=EIO:when=1+", "outbox.db", "read")
        assert code == 1 and said == [] and last.splitlines()[-1].startswith("protocols.errors.DamagedError"), last
    assert len(aside(tmp_path / "outbox.db")) == 1, "however often it is started"
