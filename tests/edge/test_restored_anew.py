"""The collector's disk burnt with its key: from the second copy, or a backup, to a running agent, by the commands an
operator has.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cloud import config
from cloud.soundness import check
from edge import control
from protocols.errors import NotRunningError
from protocols.record import transport
from protocols.record.receipt import open_receipt
from tests.edge.tcp_meter import TcpMeter
from tests.edge.test_new_collector import chain, running, until

COMMAND = [sys.executable, "-m", "tanmeter"]


ENGLISH = {**os.environ, "TANMETER_LANG": "en", "NO_COLOR": "1"}


def tanmeter(*arguments):
    """What a command prints, once it has done its work."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], env=ENGLISH, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def serving(data: Path, copy: Path):
    """A collector as it is served, with its address; killed in the end."""
    command = [*COMMAND, "cloud", "serve", "--data", str(data), "--port", "0", "--copy", str(copy)]
    command.append("--copy-on-same-disk")
    with subprocess.Popen(command, env=ENGLISH, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process.stderr.readline().split()[-1].rstrip("/")
        finally:
            process.kill()


def enrol(made, data, url, *more):
    code = tanmeter("cloud", "invite", "--data", data)
    tanmeter("site", "enrol", code, "--collector", url, "--state", made.state, *more)


def place(data):
    """Where the chain of the one gateway stands at the collector: (epoch, next seq)."""
    said = json.loads(tanmeter("cloud", "gateways", "--data", data, "--json"))
    return said["epoch"], said["next_seq"]


def settled(made, least):
    """Whether a second copy holds blocks up to this place, as the agent knows once it is there."""
    receipt = None
    with suppress(NotRunningError):
        receipt = control.ask(made.state / "control.sock", "status")["sync"]["settled"]
    return receipt is not None and (receipt["epoch"], receipt["next_seq"]) >= least


@pytest.mark.slow
@pytest.mark.parametrize("left", ["copy", "backup"])
def test_a_burnt_collector_goes_on_under_a_new_key_with_all_that_is_left_of_it(box, kit, tmp_path, left):
    """The backup is an old one: the epoch that began later is not in it."""
    with TcpMeter() as meter:
        made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
        old, new, copy = (tmp_path / name for name in ("old", "new", "copy"))
        with serving(old, copy) as url:
            enrol(made, old, url)
            with running(made):
                until(lambda: place(old) >= (0, 2))
            tanmeter("cloud", "backup", tmp_path / "backup", "--data", old)
            outbox = made.outbox()
            began = outbox.chain().receipt
            outbox.open_epoch(1, hashlib.sha256(began).digest(), began)
            outbox.close()
            with running(made):
                until(lambda: settled(made, (1, 2)))
        was = config.open_key(old).public
        with config.open_store(old, config.open_key(old)) as store:
            held = chain(store, made)
        shutil.rmtree(old)
        with running(made):
            tanmeter("cloud", "restore", "--copy", tmp_path / left, "--data", new, "--new-key")
            with serving(new, tmp_path / "copy of the new one") as url:
                enrol(made, new, url, "--new-collector")
                until(lambda: place(new) > (1, len(held)))
                until(lambda: settled(made, place(new)))
        key = config.open_key(new)
        with config.open_store(new, key) as store:
            assert check(store, key.public, 0) == []
            has = chain(store, made)
            assert has[: len(held)] == held and key.public != was
            newest = store.receipt(made.gateway.public.id)
        outbox = made.outbox()
        own = [transport.unpack(each.frame).hash for each in outbox.batch(0, 0, 1 << 10, 1 << 30)]
        outbox.close()
        taken = [one for one in has if one in own]
        assert len(has) - len(taken) <= 1, "one whose receipt was on its way when the epoch behind it was opened"
        assert own[: len(taken)] == taken and open_receipt(newest, key.public).epoch == 1
