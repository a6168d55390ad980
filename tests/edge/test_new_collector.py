"""A collector that has lost its key: the real agent, running all the while, goes over to the one in its place."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from typer.testing import CliRunner

from cloud.app import create_app
from cloud.collector import Collector
from cloud.config import create_key, open_store
from cloud.evidence.verify import verify
from cloud.evidence_commands import evidence
from cloud.store import Store
from cloud.writer import Writer
from edge import config, control
from protocols.record import invite, transport
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt
from provisioning.enrol import enrol
from tests.edge.tcp_meter import TcpMeter
from tests.edge.test_forgotten import Line, rising

HOUR = 3_600_000
READY_S = 30


def now():
    return time.time_ns() // 1_000_000


@contextmanager
def collector(folder, key):
    """A real collector on a real port, and its store."""
    with Store(folder, key) as store:
        writer = Writer(lambda batches: store.append_batches(batches, now()))
        listener = socket.create_server(("127.0.0.1", 0))
        app = create_app(Collector(store, key, writer, now))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield store, f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: stopped(server, thread, listener)
        finally:
            stopped(server, thread, listener)
            writer.close()


def stopped(server, thread, listener):
    server.should_exit = True
    thread.join()
    listener.close()


def code(store):
    made = invite.make(Random(3).randbytes(9), store.key.spki)
    store.create_invite(made, None, now() + HOUR, now())
    return made.format()


@contextmanager
def running(made):
    """The agent as users start it; its log goes to a file."""
    command = [sys.executable, "-m", "edge", str(made.state), "info"]
    with (made.state / "log").open("ab") as log, subprocess.Popen(command, stderr=log, env=dict(os.environ)) as agent:
        try:
            yield agent
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(READY_S) in (0, -signal.SIGKILL)


def until(found):
    end = time.monotonic() + READY_S
    while not (told := found()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return told


def held(store, made):
    return store.gateway(made.gateway.public.id).next_seq


def chain(store, made):
    """The hashes of what a collector holds, in order."""
    frames = store.frames(made.gateway.public.id, (0, 0), (9, 0))
    return [transport.unpack(frame).hash for _, frame in frames]


@pytest.fixture
def meter():
    with TcpMeter() as held_:
        yield held_


@pytest.mark.slow
def test_a_running_agent_goes_over_to_the_collector_it_is_enrolled_with_anew(box, kit, meter, tmp_path):
    """Its old collector is dead; then the agent is killed as soon as it knows the new one, and starts again."""
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    with ExitStack() as stack:
        old, old_url, die = stack.enter_context(collector(tmp_path / "old.db", PrivateKey.generate()))
        new, new_url, _ = stack.enter_context(collector(tmp_path / "new.db", PrivateKey.generate()))
        enrol(made.state, code(old), old_url)
        with running(made) as agent:
            until(lambda: held(old, made) >= 2)
            die()
            before, boot = held(old, made), control.ask(made.state / "control.sock", "status")["boot"]
            enrol(made.state, code(new), new_url, instead=True)
            until(lambda: held(new, made) > before)
            told = control.ask(made.state / "control.sock", "status")
            assert (told["boot"], told["sync"]["url"]) == (boot, new_url), "it was not started anew"
            agent.kill()
        after = held(new, made)
        with running(made):
            until(lambda: held(new, made) > after + 4)
        was, has = chain(old, made), chain(new, made)
        assert has[: len(was)] == was, "all that the old one held is at the new one too"
        outbox = made.outbox()
        own = [transport.unpack(each.frame).hash for each in outbox.batch(0, 0, 64, 1 << 30)]
        newest = outbox.chain().receipt
        outbox.close()
        assert own[: len(has)] == has
        assert before < open_receipt(newest, new.key.public).next_seq <= len(has), (
            "the last answer may have been cut off"
        )
    said = [json.loads(line) for line in (made.state / "log").read_text().splitlines()]
    assert [each["url"] for each in said if each["code"] == "enrolled"] == [old_url, new_url, new_url]
    assert config.load_collector(made.state / f"collector-{old.key.public.kid.hex()}.json").url == old_url


def test_what_the_old_collector_answers_last_is_taken_before_the_new_one_is_asked(box, kit):
    """A batch is on its way when the box is enrolled anew: its receipt counts, and no two sessions run at once."""
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    old = Slow(made, kit)
    world, gone = kit.world(made, {"net": kit.registers()}), PrivateKey.generate()
    new = kit.collector(made)
    new.key = gone

    async def enrol_anew(_):
        await old.asked.wait()
        made.collector = gone
        made.enrol("http://127.0.0.1:2")

    world.run(239, enrol_anew, ways=lambda held_: old if held_.url.endswith(":1") else new)
    assert len(old.held) == 1 and old.answered <= new.posts[0][0], "the session with the old one was over before"
    assert [len(new.held) >= 3, new.held[0]] == [True, old.held[0]]
    outbox = made.outbox()
    newest, unsettled = outbox.chain().receipt, outbox.counts().unsettled
    outbox.close()
    assert open_receipt(newest, gone.public).next_seq == len(new.held) and unsettled <= 1


class Slow:
    """The way to a collector by hand that answers its first batch after 20 s."""

    def __init__(self, made, kit):
        self._inner = kit.collector(made)
        self.asked, self.answered = asyncio.Event(), 0.0

    @property
    def held(self):
        return self._inner.held

    async def post(self, path, body, content_type):
        answer = await self._inner.post(path, body, content_type)
        if path == "/v1/blocks":
            self.asked.set()
            await asyncio.sleep(20)
            self.answered = asyncio.get_running_loop().time()
        return answer

    async def close(self):
        pass


def test_the_agent_shows_what_its_epochs_began_with_and_a_pack_over_them_holds(box, kit, tmp_path):
    """Agent and both collectors in virtual time; the pack by the real command, from the new collector's folder."""
    made = box(kit.modbus_port(), kit.sdm(1) + 'role = "purchased"\n')
    data = tmp_path / "data"
    old_key = made.collector
    with Store(tmp_path / "old.db", old_key) as old, open_store(data, create_key(data)) as new:
        new_key, lines = new.key, {":1": Line(made), ":2": Line(made)}
        world = kit.world(made, {"net": rising()})
        for line, store in zip(lines.values(), (old, new), strict=True):
            line.key, line.store, line.now = store.key, store, lambda: world.start + 10 * HOUR
        ways = {"ways": lambda held_: lines[held_.url[-2:]]}
        enrolled(made, old, world.start)
        world.run(300, **ways)
        outbox = made.outbox()
        began, before = outbox.chain().receipt, outbox.chain().link.seq
        outbox.open_epoch(1, hashlib.sha256(began).digest(), began)
        outbox.close()

        async def enrol_anew(_):
            await asyncio.sleep(900)
            (made.state / "collector.json").rename(made.state / "collector-0.json")
            enrolled(made, new, world.start, ":2")

        world.run(1800, enrol_anew, **ways)
        (goes,) = new.gateways()
        (told,) = [one.detail for one in new.incidents() if one.kind == "epoch"]
        assert (goes.epoch, goes.blocks) == (1, goes.next_seq + before) and old_key.public.kid.hex() in told
    day, out = f"{datetime.fromtimestamp(kit.start / 1000, ZoneInfo('Asia/Shanghai')):%Y-%m-%d}", tmp_path / "pack.zip"
    packed = CliRunner().invoke(evidence, ["pack", f"E-S-1-{day}", "-o", str(out), "--data", str(data)])
    assert packed.exit_code == 0, packed.output
    known = [key.public.id.hex() for key in (made.gateway, old_key, new_key)]
    (walked,) = verify(out, known[:1], known[1:]).gateways
    assert [(one.epoch, one.key) for one in walked.began] == [(1, old_key.public)]


def enrolled(made, store, at, url=":1"):
    """Enrol the box as its technician would."""
    made.collector = store.key
    made.enrol(f"http://127.0.0.1{url}")
    invited = invite.make(Random(2).randbytes(9), store.key.spki)
    store.create_invite(invited, None, at + 20 * HOUR, at)
    enrolment = (made.state / config.ENROLMENT).read_bytes()
    store.enrol(invited.format(), enrolment, made.envelopes[0], list(made.profiles.values()), at)
