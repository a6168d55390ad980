"""Data loggers that connect and speak unasked, over real TCP: what goes on record, what is answered and asked."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import tty
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

from drivers.replay import replay_chunk
from edge import config, loggers, rows
from edge.agent import Agent
from edge.clock import SystemClock
from edge.database import Database
from edge.doctor import examine
from edge.outbox import DiskFull
from edge.wire import wire
from protocols import hj212
from protocols.errors import ConfigError
from protocols.hj212 import Packet, Parser
from protocols.record.block import EventKind
from protocols.record.chunk import DAMAGED, PORT_GONE, SILENT

ZONE = timezone(timedelta(hours=8))
GAS = "a05001-{f}=150000,a05001-Flag=N;a01011-{f}=12,a01011-Flag=N;a01012-{f}=95,a01012-Flag=N;"
GAS += "a01013-{f}=-0.25,a01013-Flag=N;a01014-{f}=11.5,a01014-Flag=N"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def site(port: int, *mns: str, periods: str = '"2011" = "1s"', points: str = '"co2_now"', more: str = "") -> list[str]:
    devices = [
        f'[[device]]\nid = "S-{mn}"\nprofile = "hj212-co2"\nport = "stack"\naddress = "{mn}"\nrole = "flue-gas"\n'
        f"points = [{points}]\noptions = {{ periods = {{ {periods} }}{more} }}\nstack = {{ area_m2 = 20 }}\n"
        for mn in mns
    ]
    return [f'[[port]]\nname = "stack"\nlisten = "127.0.0.1:{port}"\n', *devices]


def local(at: float) -> str:
    return datetime.fromtimestamp(at, ZONE).strftime("%Y%m%d%H%M%S")


def segment(mn: str, number: int, cn: str = "2011", flag: int = 5, at: float | None = None) -> str:
    gas = GAS.format(f="Rtd" if cn == "2011" else "Avg")
    when = local(time.time() if at is None else at)
    return f"QN={when}{number:03d};ST=31;CN={cn};PW=123456;MN={mn};Flag={flag};CP=&&DataTime={when};{gas}&&"


class Logger:
    """A connection to the box, byte for byte in the test's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer, self._parser = reader, writer, Parser()
        self._heard: list[Packet] = []

    @classmethod
    async def connect(cls, port: int) -> "Logger":
        for _ in range(100):
            try:
                return cls(*await asyncio.open_connection("127.0.0.1", port))
            except OSError:
                await asyncio.sleep(0.05)
        raise AssertionError("nobody listens")

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def hear(self, seconds: float = 5) -> Packet | None:
        """The next packet the box sends; None when none comes in this time."""
        try:
            async with asyncio.timeout(seconds):
                while not self._heard:
                    data = await self._reader.read(4096)
                    if not data:
                        return None
                    self._heard += [found.packet for found in self._parser.feed(data)]
        except TimeoutError:
            return None
        return self._heard.pop(0)

    def close(self) -> None:
        self.writer.close()


Script = Callable[[Agent], Awaitable[None]]


async def live(state: Any, script: Script, durable: bool = True) -> None:
    stop = asyncio.Event()
    agent = Agent(state, SystemClock(), wire, None, Random(1), durable=durable)
    running = asyncio.ensure_future(agent.run(stop))
    await agent.ready(running)
    try:
        await script(agent)
    finally:
        stop.set()
        await running


def run(made: Any, script: Script) -> list[Any]:
    asyncio.run(live(made.state, script))
    return list(made.blocks())


def replies(blocks: list[Any], device: int = 0) -> list[bytes]:
    return [
        raw
        for _, chunks in blocks
        for chunk in chunks
        if chunk.device == device
        for track in chunk.tracks
        for raw in track.replies()
    ]


def texts(blocks: list[Any]) -> list[str]:
    return [event.detail for header, _ in blocks for event in header.events if event.kind == EventKind.BUS_FAULT]


def test_a_packet_is_on_record_before_it_is_answered_and_replays(box: Any) -> None:
    port = free_port()
    made, raw = box(*site(port, "A1")), hj212.frame(segment("A1", 1))

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(raw)
        answer = await logger.hear()
        assert answer is not None and (answer.cn, answer.qn, answer.mn) == ("9014", raw[9:26].decode(), "A1")
        held = agent._outbox.records(1)  # type: ignore[union-attr]
        assert raw[:-2] in [record.exchange.reply for record in held]
        logger.close()

    blocks = run(made, script)
    assert replies(blocks) == [raw[:-2]]
    installation = config.load(made.state).installation
    readings = [
        one for header, chunks in blocks for chunk in chunks for one in replay_chunk(installation, header, chunk)
    ]
    assert {(one.point, str(one.value)) for one in readings} == {("co2_now", "150000.000000"), ("co2_mark_now", "0")}
    assert {one.at for one in readings} == {
        int(datetime.strptime(raw[9:23].decode(), "%Y%m%d%H%M%S").replace(tzinfo=ZONE).astimezone(UTC).timestamp())
        * 1000
    }


def test_half_packets_garbage_and_packets_run_together_are_all_understood(box: Any) -> None:
    port = free_port()
    first, second, third = (hj212.frame(segment("A1", number)) for number in range(3))

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        for piece in (b"\xff\x00junk", first[:7], first[7:90], first[90:] + second[:40]):
            await logger.say(piece)
            await asyncio.sleep(0.02)
        await logger.say(second[40:] + third)
        assert [answer.qn for answer in [await logger.hear() for _ in range(3)] if answer] == [
            raw[9:26].decode() for raw in (first, second, third)
        ]
        (told,) = (await agent.status())["ports"]  # type: ignore[misc]
        assert told["lines"] == 1 and told["damaged"] >= 1
        logger.close()

    assert sorted(replies(run(box(*site(port, "A1")), script))) == sorted(raw[:-2] for raw in (first, second, third))


def test_a_packet_that_comes_again_is_answered_again_and_recorded_once_across_a_kill(box: Any) -> None:
    port = free_port()
    made, raw = box(*site(port, "A1")), hj212.frame(segment("A1", 1))

    async def twice(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(raw)
        await logger.say(raw)
        assert [answer.cn for answer in (await logger.hear(), await logger.hear()) if answer] == ["9014", "9014"]
        again = await Logger.connect(port)
        await again.say(raw)
        assert await again.hear() is not None
        logger.close()
        again.close()

    assert replies(run(made, twice)) == [raw[:-2]]
    assert replies(run(made, twice)) == [raw[:-2]]


def test_two_loggers_on_one_port_are_told_apart_and_strangers_are_counted(box: Any) -> None:
    port = free_port()
    raws = {mn: hj212.frame(segment(mn, 1)) for mn in ("A1", "B2", "X9")}

    async def script(agent: Agent) -> None:
        loggers = {mn: await Logger.connect(port) for mn in raws}
        for mn, logger in loggers.items():
            await logger.say(raws[mn])
        for mn in ("A1", "B2"):
            answer = await loggers[mn].hear()
            assert answer is not None and answer.mn == mn
        await loggers["X9"].say(raws["X9"])
        assert await loggers["X9"].hear(0.3) is None
        (told,) = (await agent.status())["ports"]  # type: ignore[misc]
        assert (told["lines"], told["unknown"]) == (3, 2)

    blocks = run(box(*site(port, "A1", "B2")), script)
    assert (replies(blocks, 0), replies(blocks, 1)) == ([raws["A1"][:-2]], [raws["B2"][:-2]])
    assert [text for text in texts(blocks) if "'X9'" in text] == [
        "BUS-104 stack: a packet of an unknown MN 'X9', CN 2011"
    ]


def test_a_slot_without_a_packet_is_silent_and_one_with_a_broken_one_damaged(box: Any) -> None:
    port = free_port()

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(hj212.frame(segment("A1", 1)))
        await asyncio.sleep(2.6)
        await logger.say(hj212.frame(segment("A1", 2)).replace(b"=95", b"=94"))
        await asyncio.sleep(2.6)
        logger.close()

    blocks = run(box(*site(port, "A1")), script)
    codes = [fault.code for _, chunks in blocks for chunk in chunks for fault in chunk.faults]
    assert codes.count(SILENT) >= 2 and codes.count(DAMAGED) == 1 and set(codes) == {SILENT, DAMAGED}
    for _, chunks in blocks:
        for chunk in chunks:
            assert chunk.counters.due - chunk.counters.asked in (0, 1, 2)  # the shutdown tells of open ones


def test_a_port_that_is_taken_is_told_and_taken_once_it_is_free(box: Any) -> None:
    port = free_port()

    async def script(agent: Agent) -> None:
        await asyncio.sleep(2.5)
        (told,) = (await agent.status())["ports"]  # type: ignore[misc]
        assert "expected an address that is free" in told["gone"]

    with socket.create_server(("127.0.0.1", port)):
        blocks = run(box(*site(port, "A1")), script)
    codes = {fault.code for _, chunks in blocks for chunk in chunks for fault in chunk.faults}
    assert codes == {PORT_GONE}


@pytest.mark.parametrize("flag", [4, 5])
def test_missing_minutes_are_asked_for_and_go_on_record_before_what_came_meanwhile(box: Any, flag: int) -> None:
    port = free_port()
    made = box(*site(port, "A1", periods='"2051" = "1m"', points='"co2_minute"'))
    minute = time.time() // 60 * 60
    first, live_, past = (
        hj212.frame(segment("A1", 1, "2051", flag, minute - 600)),
        hj212.frame(segment("A1", 2, "2051", flag, minute - 120)),
        [hj212.frame(segment("A1", number, "2051", 4, minute - 600 + 60 * number)) for number in range(1, 8)],
    )

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(first)
        assert (await logger.hear(1)) is not None or flag == 4
        await logger.say(live_)
        asked = await logger.hear()
        assert asked is not None
        assert (asked.cn, asked.mn, asked.head("ST"), asked.head("PW")) == ("2051", "A1", "31", "123456")
        span = [field.text for field in asked.fields]
        assert span == [local(minute - 540), local(minute - 121)]
        qn = asked.qn
        await logger.say(hj212.frame(f"QN={qn};ST=91;CN=9011;PW=1;MN=A1;Flag=4;CP=&&QnRtn=1&&"))
        for raw in past:
            await logger.say(raw)
        await logger.say(hj212.frame(f"QN={qn};ST=91;CN=9012;PW=1;MN=A1;Flag=4;CP=&&ExeRtn=1&&"))
        if flag == 5:
            answer = await logger.hear()
            assert answer is not None and answer.qn == live_[9:26].decode()
        await asyncio.sleep(0.3)
        logger.close()

    blocks = run(made, script)
    tracks = [track for _, chunks in blocks for chunk in chunks for track in chunk.tracks]
    order = [pair for track in tracks for pair in zip(track.times, track.replies(), strict=True)]
    assert [raw for _, raw in order] == [raw[:-2] for raw in (first, *past, live_)]


def test_after_a_time_without_the_box_the_minutes_of_it_are_asked_for(box: Any) -> None:
    port = free_port()
    made = box(*site(port, "A1", periods='"2011" = "1s", "2051" = "1m"', points='"co2_now", "co2_minute"'))

    async def idle(agent: Agent) -> None:
        await asyncio.sleep(0.2)

    run(made, idle)
    with contextlib.closing(Database(made.state / config.OUTBOX, durable=False)) as db, db.transaction():
        rows.move(db, last_utc=rows.chain(db)["last_utc"] - 600_000)

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(hj212.frame(segment("A1", 1, flag=4)))
        asked = await logger.hear()
        assert asked is not None and asked.cn == "2051"
        begin, end = (datetime.strptime(field.text, "%Y%m%d%H%M%S") for field in asked.fields)
        assert 420 < (end - begin).total_seconds() < 660
        logger.close()

    asyncio.run(live(made.state, script))


def test_a_logger_that_refuses_history_is_left_alone_and_what_was_held_is_recorded(box: Any) -> None:
    port = free_port()
    made = box(*site(port, "A1", periods='"2051" = "1m"', points='"co2_minute"'))
    minute = time.time() // 60 * 60
    raws = [hj212.frame(segment("A1", n, "2051", 4, minute - ago)) for n, ago in enumerate((600, 300, 240))]

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        for raw in raws[:2]:
            await logger.say(raw)
        for raw in (*raws[2:], b""):
            asked = await logger.hear(1)
            assert (asked is not None) == bool(raw)
            if asked is not None:
                refused = f"QN={asked.qn};ST=91;CN=9011;PW=1;MN=A1;Flag=4;CP=&&QnRtn=2&&"
                await logger.say(hj212.frame(refused) + raw)
        await asyncio.sleep(0.3)
        logger.close()

    assert sorted(replies(run(made, script))) == sorted(raw[:-2] for raw in raws)


def test_what_could_not_be_kept_is_not_answered(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    made, raw = box(*site(port, "A1")), hj212.frame(segment("A1", 1))

    async def script(agent: Agent) -> None:
        logger, outbox = await Logger.connect(port), agent._outbox
        assert outbox is not None

        def full(*_: Any) -> None:
            raise DiskFull("no room")

        with monkeypatch.context() as patched:
            patched.setattr(type(outbox), "add", full)
            await logger.say(raw)
            assert await logger.hear(0.5) is None
        for _ in range(200):
            await asyncio.sleep(0.1 if agent.paused else 0)
        await asyncio.sleep(0.2)
        await logger.say(raw)
        assert await logger.hear() is not None
        logger.close()

    assert replies(run(made, script)) == [raw[:-2]]


def test_a_port_is_asked_or_listened_to_and_never_both(box: Any, kit: Any) -> None:
    with pytest.raises(ConfigError, match="speak unasked"):
        config.load(box(*site(9, "A1"), kit.sdm(1, "stack")).state)


class Packets:
    """A logger that sends one packet after another and goes on only when it was answered."""

    def __init__(self, port: int) -> None:
        self._port, self._count = port, 0
        self.open: bytes | None = None
        self.answered: list[bytes] = []

    def connect(self) -> socket.socket:
        for _ in range(400):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self._port), 10)
            time.sleep(0.05)
        raise AssertionError("nobody listens")

    def send(self, line: socket.socket) -> None:
        if self.open is None:
            self._count += 1
            self.open = hj212.frame(segment("A1", self._count))
        line.sendall(self.open)

    def answer(self, line: socket.socket) -> None:
        parser, found = Parser(), []
        while not found:
            found = parser.feed(line.recv(4096))
        assert self.open is not None and found[0].packet.qn == self.open[9:26].decode()
        self.answered.append(self.open[:-2])
        self.open = None


def test_what_was_answered_is_on_record_once_however_often_the_agent_is_killed(box: Any) -> None:
    port, draw = free_port(), Random(1)
    made = box(*site(port, "A1"), block="2s")
    logger = Packets(port)
    for last in (False, False, False, False, True):
        agent = subprocess.Popen([sys.executable, "-P", "-m", "edge", str(made.state), "error"])
        with logger.connect() as line:
            for _ in range(6):
                logger.send(line)
                logger.answer(line)
            if not last:
                logger.send(line)
                time.sleep(draw.random() / 50)
            agent.send_signal(signal.SIGTERM if last else signal.SIGKILL)
            agent.wait(20)
    assert Counter(replies(list(made.blocks()))) == Counter(dict.fromkeys(logger.answered, 1))
    assert len(logger.answered) == 30


def test_a_logger_on_a_serial_port_is_heard_and_answered(box: Any) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    _, *devices = site(1, "A1")
    made = box(f'[[port]]\nname = "stack"\ndevice = "{os.ttyname(slave)}"\nmode = "9600-8N1"\n', *devices)
    raw, heard = hj212.frame(segment("A1", 1)), Parser()

    async def script(agent: Agent) -> None:
        await asyncio.sleep(0.3)
        for piece in (raw[:50], raw[50:]):
            os.write(master, piece)
            await asyncio.sleep(0.1)
        for _ in range(50):
            await asyncio.sleep(0.1)
            with contextlib.suppress(BlockingIOError):
                if found := heard.feed(os.read(master, 4096)):
                    assert found[0].packet.cn == "9014"
                    return
        raise AssertionError("no answer")

    try:
        assert replies(run(made, script)) == [raw[:-2]]
    finally:
        os.close(master)
        os.close(slave)


def test_devices_with_either_crc_share_a_port_and_each_must_send_its_own(box: Any) -> None:
    port = free_port()
    parts = [*site(port, "A1"), *site(port, "B2", more=', crc = "modbus"')[1:]]
    own = hj212.frame(segment("A1", 1))
    body = segment("B2", 1).encode()
    modbus = b"##%04d" % len(body) + body + hj212.checksum(body, modbus_crc=True) + b"\r\n"

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(own + modbus + hj212.frame(segment("B2", 2)))
        answers = [await logger.hear(), await logger.hear(), await logger.hear(0.3)]
        assert {answer.mn for answer in answers if answer is not None} == {"A1", "B2"}
        assert answers[2] is None
        logger.close()

    blocks = run(box(*parts), script)
    assert (replies(blocks, 0), replies(blocks, 1)) == ([own[:-2]], [modbus[:-2]])


def test_a_logger_whose_clock_is_wrong_is_told_and_still_recorded(box: Any) -> None:
    port = free_port()
    late, right = hj212.frame(segment("A1", 1, at=time.time() - 3_600)), hj212.frame(segment("A1", 2))

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        for raw in (late, late, right):
            await logger.say(raw)
            assert await logger.hear() is not None
        logger.close()

    blocks = run(box(*site(port, "A1")), script)
    assert sorted(replies(blocks)) == sorted(raw[:-2] for raw in (late, right))
    begun, over = [text for text in texts(blocks) if "clock" in text]
    assert begun.startswith("MTR-201 stack: the clock of MN 'A1' is 36") and begun.endswith(" s behind")
    assert over.startswith("MTR-201 stack: over: ")


def test_a_logger_that_never_stops_does_not_fill_the_disk(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "MOST_BEYOND", 20)
    port = free_port()
    raws = [hj212.frame(segment("A1", number, flag=4)) for number in range(200)]

    async def script(agent: Agent) -> None:
        logger = await Logger.connect(port)
        await logger.say(b"".join(raws))
        await asyncio.sleep(1)
        logger.close()

    assert 20 <= len(replies(run(box(*site(port, "A1")), script))) < 60


def test_the_doctor_tells_whether_loggers_can_connect(box: Any) -> None:
    port = free_port()
    state = box(*site(port, "A1")).state

    def found() -> bool:
        return next(check for check in asyncio.run(examine(state, SystemClock())) if check.name == "port").ok

    assert found()
    with socket.create_server(("127.0.0.1", port)):
        assert not found()
