"""What keeps a gateway from doing its work: each check says what it found."""

import os
import socket
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from drivers import busload
from drivers.site import Port
from edge import config, keys
from edge.clock import SYNCHRONISED, TECHNICIAN, Clock
from edge.control import ask
from edge.doctor_box import box_checks
from edge.finding import Check, bad, doubt, tried
from edge.mqtt import MqttTransport
from edge.transport import Transport, transport
from protocols.errors import (
    ClockError,
    ConfigError,
    NotRunningError,
    OverloadError,
    PortGone,
    StoreError,
    StrangerError,
    TanmeterError,
    UnreachableError,
)
from protocols.record.cose import NAMES
from protocols.record.enrolment import open_enrolment

ROOM_BYTES = 256 << 20
CONNECT_S = 3
FRESH_BYTES = 32
ASKER = "-doctor"
"""Under this name it asks beside the agent, whose connection to the broker stays."""


async def examine(state: Path, clock: Clock) -> list[Check]:
    """Every check, in the order in which a technician would put things right."""
    checks = [tried("key", partial(_key, state / config.KEY))]
    held: config.EdgeConfig | None = None
    try:
        held = config.load(state)
        number, digest = held.in_force.name
        checks.append(Check("configuration", "", True, f"{number} {digest.hex()[:16]}"))
        checks.append(tried("signs", partial(_signs, held)))
    except TanmeterError as error:
        checks.append(bad("configuration", "", error))
    checks += [_disk(state), _clock(clock)]
    if held is not None:
        checks += [*_ports(held), *_load(held)]
        checks += box_checks(held, _status(state / config.SOCKET), clock.utc_ms())
        checks += await _delivery(held)
    checks.append(tried("agent", partial(_agent, state / config.SOCKET)))
    return checks


def _key(path: Path) -> str:
    return keys.load(path).public.id.hex()


def _signs(held: config.EdgeConfig) -> str:
    """Whether what the key signs now is believed by who holds the key that was enrolled; SignatureError."""
    fresh = os.urandom(FRESH_BYTES)
    enrolled = open_enrolment(held.enrolment).key
    enrolled.verify(held.key.sign(fresh), fresh)
    return f"{NAMES[enrolled.algorithm]} {enrolled.kid.hex()}"


def _status(path: Path) -> dict[str, Any] | None:
    """What a running agent says; None when none runs."""
    try:
        return ask(path, "status")
    except UnreachableError:
        return None


def _agent(path: Path) -> str:
    """Whether it runs and measures; StoreError where it waits for its disk."""
    told = ask(path, "status")
    if told["state"] == "disk-full":
        raise StoreError(f"{told['state']}: {told['why']}, expected a store that takes readings")
    return str(told["state"])


def _disk(state: Path) -> Check:
    try:
        free = os.statvfs(state)
    except OSError as error:
        return bad("disk", "", ConfigError(str(state), str(error.strerror), "the state folder"))
    size = free.f_bavail * free.f_frsize
    if size < ROOM_BYTES:
        return bad("disk", "", StoreError(f"found {size >> 20} MiB free, expected {ROOM_BYTES >> 20} MiB or more"))
    return Check("disk", "", True, f"{size >> 20} MiB")


def _clock(clock: Clock) -> Check:
    state = clock.state()
    found = f"source {state.source}, error {state.error_ms} ms"
    if state.state != SYNCHRONISED and state.source != TECHNICIAN:
        return bad("clock", "", ClockError(found + "; expected a clock that NTP keeps"))
    return Check("clock", "", True, found)


def _ports(held: config.EdgeConfig) -> Iterator[Check]:
    for port in held.installation.site.port:
        if port.tcp is not None:
            yield tried("port", partial(_endpoint, port, held.state / config.SOCKET), port.name)
        elif port.listen is not None:
            yield tried("port", partial(_address, port, held.state / config.SOCKET), port.name)
        else:
            yield tried("port", partial(_port, port), port.name)


def _load(held: config.EdgeConfig) -> Iterator[Check]:
    """What each port is asked for; a port that is asked for too much was signed with --overload."""
    try:
        installed = held.installation
        busload.admit(installed.site, installed.drivers, installed.profiles, "site.toml")
    except OverloadError as error:
        yield bad("load", "", error)
        return
    for load in busload.loads(installed.site, installed.drivers):
        yield Check("load", load.port, True, f"{load.share:.1%}")


def _told(port: Port, door: Path) -> None:
    """What the running agent says of a port: PortGone when it is not there; NotRunningError when no agent runs."""
    gone = next((str(held["gone"]) for held in ask(door, "status")["ports"] if held["name"] == port.name), "")
    if gone:
        raise PortGone(gone)


def _address(port: Port, door: Path) -> str:
    """Whether loggers can connect to us: a running agent holds the address, else it must be free."""
    try:
        _told(port, door)
    except NotRunningError:
        host, _, number = str(port.listen).rpartition(":")
        try:
            socket.create_server((host, int(number))).close()
        except OSError as error:
            raise PortGone(f"{port.listen}: {error.strerror or error}, expected an address that is free") from error
    return str(port.listen)


def _endpoint(port: Port, door: Path) -> str:
    """Whether the meter takes connections. Many take one only: a running agent is asked how it fares with its own."""
    try:
        _told(port, door)
    except NotRunningError:
        host, _, number = str(port.tcp).rpartition(":")
        try:
            socket.create_connection((host, int(number)), CONNECT_S).close()
        except OSError as error:
            raise PortGone(f"{port.tcp}: {error.strerror or error}, expected a meter that takes connections") from error
    return str(port.tcp)


def _port(port: Port) -> str:
    path = Path(str(port.device))
    if not path.exists():
        raise PortGone(f"{path}: not there, expected a serial port")
    if not stat.S_ISCHR(path.stat().st_mode):
        raise PortGone(f"{path}: not a character device, expected a serial port")
    if not os.access(path, os.R_OK | os.W_OK):
        raise PortGone(f"{path}: not permitted, expected read and write for this user (group dialout)")
    return str(path.resolve())


async def _delivery(held: config.EdgeConfig) -> list[Check]:
    """Whether the broker lets us in, where there is one, and whether a collector answers."""
    try:
        collector = config.load_collector(held.state / config.COLLECTOR)
        if collector is None:
            return [doubt("enrolled", f"{config.COLLECTOR}: not there")]
        link = transport(held.state, collector, ASKER)
    except ConfigError as error:
        return [bad("collector", "", error)]
    try:
        if not isinstance(link, MqttTransport):
            return [await _collector(link, collector.url)]
        broker = await _broker(link)
        return [broker, await _collector(link, collector.url)] if broker.ok else [broker]
    finally:
        await link.close()


async def _broker(link: MqttTransport) -> Check:
    """Connection, TLS, login, and the right to hear our answers."""
    try:
        return Check("broker", "", True, await link.join())
    except UnreachableError as error:
        return bad("broker", "", error)


async def _collector(link: Transport, url: str) -> Check:
    """Whether it answers a question of ours; over MQTT the broker's leave to ask and to hear is in that."""
    try:
        answer = await link.post("/v1/blocks", b"", "application/tanmeter-batch")
    except UnreachableError as error:
        return bad("collector", "", error)
    if b'"code":"' not in answer.body.replace(b" ", b""):
        found = f"{url}: status {answer.status} without a word of a collector, expected its answer"
        return bad("collector", "", StrangerError(found))
    return Check("collector", "", True, url)
