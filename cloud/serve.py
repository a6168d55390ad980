"""The collector as a process: one port, one line when it is ready, a clean end."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import uvicorn

from cloud import factor_shelf, log
from cloud import metrics as figures
from cloud.app import create_app
from cloud.collector import Collector, now_ms
from cloud.config import create_key, open_store
from cloud.connection import Connection
from cloud.copier import Copier
from cloud.cycles import look_seldom
from cloud.mqtt import Broker, Door
from cloud.notify import Manager
from cloud.soundness import check
from cloud.store import Store
from cloud.watchdog import attend
from cloud.writer import Writer
from protocols import messages, structs
from protocols.errors import ConfigError, RottenError, StoreError
from protocols.record.cose import PrivateKey

GRACE_S = 5
TURN_S = 0.0005
"""How long the writer's thread may go on computing before that of the requests has its turn: an answer is ready to be
sent meanwhile. Ten times as often as Python's own measure.
"""


class Server(uvicorn.Server):
    """uvicorn that says where it listens once it does, and returns after a signal so that the store is closed."""

    def __init__(
        self, config: uvicorn.Config, ready: str, manager: Manager, collector: Collector, door: Door | None
    ) -> None:
        super().__init__(config)
        self._ready, self._manager, self._collector, self._door = ready, manager, collector, door
        self._beside: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(self._ready + "\n")
            sys.stderr.flush()
            self._beside.append(asyncio.create_task(attend(self._manager, self._collector.writer)))
            if self._door is not None:
                self._beside.append(asyncio.create_task(self._door.run()))

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: when asked to, or when the disk has failed, so that nothing is promised on it any more."""
        return await super().on_tick(counter) or self._collector.store.failed is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, then let those who are being served have their answers."""
        for task in self._beside:
            task.cancel()
        self._manager.tell("STOPPING=1")
        await asyncio.gather(*self._beside, return_exceptions=True)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the serving; they are not raised again behind it."""
        held = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Second:
    """Where the second copy is kept; ``same_disk``: it may be on the disk of the store, which helps nobody."""

    folder: Path
    same_disk: bool


def serve(
    data: Path,
    host: str,
    port: int,
    language: messages.Language,
    *,
    second: Second | None = None,
    broker: Broker | None = None,
    metrics: str = "",
) -> None:
    """Serve until SIGTERM or SIGINT, gateways at a ``broker`` too.

    What has rotted of single gateways is told first. ConfigError when the port is taken or a folder cannot be used,
    BusyError when another collector serves this one, StoreError when the store is damaged, or when its disk fails while
    it serves.
    """
    structs.learn()
    log.begin()
    listener = listen(host, port)
    key = create_key(data)
    with ExitStack() as held:
        held.enter_context(listener)
        store = held.enter_context(open_store(data, key))
        store.serve_alone()
        for rotten in check(store, key.public, now_ms()):
            _tell(rotten, language)
        _sign_own(store, key, language)
        writer = Writer(lambda batches: store.append_batches(batches, now_ms()), store.rest, lambda: store.is_pressed)
        held.callback(writer.close)
        copier = None if second is None else Copier(store, second.folder, now_ms, same_disk=second.same_disk)
        if copier is not None:
            held.callback(copier.close)
        heard = None if broker is None else asyncio.Event()
        collector = Collector(store, key, writer, copier=copier, heard=heard)
        if metrics:
            held.callback(figures.serve(metrics, collector).shutdown)
        look_seldom()
        sys.setswitchinterval(TURN_S)
        _run(collector, listener, host, language, None if broker is None else Door(collector, broker, language))
        if store.failed is not None:
            raise StoreError(f"{store.path}: {store.failed}: what was promised before is kept, start again to see")


def _sign_own(store: Store, key: PrivateKey, language: messages.Language) -> None:
    """Sign the built-in files that are new, and name those that have changed, or what has rotted of what was signed: no
    account is closed until that is put back, and all else goes on.
    """
    try:
        changed = factor_shelf.sign_own(store, key, version("tanmeter"), now=now_ms())
    except RottenError as error:
        _tell(error, language)
        return
    if changed:
        sys.stderr.write(messages.text("cloud.changed", language, names=", ".join(changed)) + "\n")


def _tell(error: RottenError, language: messages.Language) -> None:
    """Of something that has rotted and keeps nobody else from being served."""
    sys.stderr.write(f"{error.code} {error}\n→ {messages.remedy(error.code, language)}\n")


def _run(
    collector: Collector, listener: socket.socket, host: str, language: messages.Language, door: Door | None
) -> None:
    config = uvicorn.Config(
        create_app(collector),
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        http=Connection,
        loop="asyncio",
        proxy_headers=False,
    )
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/"
    ready = messages.text("cloud.ready", language, address=address)
    Server(config, ready, Manager(os.environ, os.getpid()), collector, door).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError says when the port is taken, may not be used, or the host is not ours."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--host {host}", str(error.strerror), "a name or address of this machine") from error
    listener = socket.socket(family, kind, number)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"--host {host}", str(error.strerror), "a name or address of this machine") from error
        taken = error.errno == errno.EADDRINUSE
        found = "a port that another program holds" if taken else str(error.strerror)
        raise ConfigError(f"--port {port}", found, "a free port of this machine; 0 picks one") from error
    return listener
