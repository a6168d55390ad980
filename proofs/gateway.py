"""A gateway of the demo site with a record its own agent made in virtual time, and what a collector must know of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.store import Store
from edge.config import OUTBOX, EdgeConfig, load
from edge.outbox import Outbox
from protocols.record import invite
from protocols.record.cose import PrivateKey
from provisioning import site_init
from simulator.history import Meters, live_through
from simulator.meters import PLACES, listeners, site_toml

START = 1_795_363_200_000
"""2026-11-23 00:00 in Shanghai, UTC ms."""
MINUTE = 60_000


@dataclass(frozen=True, slots=True, eq=False)
class Gateway:
    """What it is configured with, its frames in chain order, and when the last of them ended (UTC ms)."""

    state: Path
    config: EdgeConfig
    frames: tuple[bytes, ...]
    end: int

    def enrol(self, store: Store, collector: PrivateKey) -> bytes:
        """Enrol it at a collector; the receipt that opens its chain."""
        code = invite.make(bytes(9), collector.spki)
        store.create_invite(code, None, START + MINUTE, START)
        signed = self.config.configurations[0]
        return store.enrol(code.format(), self.config.enrolment, signed.envelope, list(signed.profiles), START)


def live(folder: Path, seed: int, minutes: int, block: str = "1m") -> Gateway:
    """Let a gateway of the ten devices of the demo live through so many minutes, asked every ten seconds."""
    return live_at(site_toml(PLACES, "10s", block, {}), listeners, folder, seed, minutes)


def live_at(source: bytes, meters: Meters, folder: Path, seed: int, minutes: int) -> Gateway:
    """Let a gateway with this site file and the meters of its ports live through so many minutes."""
    state = folder / "state"
    state.mkdir(parents=True)
    site_init.init(state, source, site_init.gather(source), PrivateKey.generate(), START, overload=True)
    end = START + minutes * MINUTE
    live_through(state, seed, START, end, folder / "truth.jsonl", meters=meters)
    config = load(state)
    outbox = Outbox(state / OUTBOX, config.gateway, config.previous, durable=False)
    try:
        frames = tuple(stored.frame for stored in outbox.batch(0, 0, 1 << 20, 1 << 40))
    finally:
        outbox.close()
    return Gateway(state, config, frames, end)


@contextmanager
def collector(path: Path, gateway: Gateway) -> Iterator[Store]:
    """A collector's store in which this gateway is enrolled, with nothing of it yet."""
    key = PrivateKey.generate()
    with Store(path, key) as store:
        gateway.enrol(store, key)
        yield store
