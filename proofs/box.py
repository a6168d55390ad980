"""A gateway and a collector in folders of their own, set up by the commands' own code."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.config import KEY
from protocols.record.cose import PrivateKey
from provisioning import enrol, keys, site_init

PROFILE = "proof-counter"
PROFILES = {PROFILE: Path(__file__).with_name("counter.toml").read_bytes()}
POINT = "energy_import"
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {"TANMETER_LANG": "en", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
GLANCE_S = 0.02

SITE = """\
schema = 1
[site]
id = "S-PROOF"
name = "proof"
block = "{block}"

[[port]]
name = "net"
tcp = "{place}"
"""
DEVICE = """
[[device]]
id = "M-{number}"
profile = "proof-counter"
port = "net"
address = "{number}"
period = "{period}"
role = "purchased"
"""


def site_file(place: str, meters: int = 3, period: str = "100ms", block: str = "1s") -> bytes:
    """The site: so many meters at this address."""
    devices = [DEVICE.format(number=number, period=period) for number in range(1, meters + 1)]
    return (SITE.format(place=place, block=block) + "".join(devices)).encode()


@dataclass(frozen=True, slots=True)
class Box:
    """The folders of a gateway (``state``) and its collector (``data``), and the technician's key."""

    state: Path
    data: Path
    technician: PrivateKey

    @property
    def key(self) -> PrivateKey:
        """The gateway's."""
        return PrivateKey.from_pem((self.state / KEY).read_bytes())


def set_up(folder: Path, site: bytes) -> Box:
    """A gateway set up in ``folder``, not enrolled yet."""
    folder.mkdir(parents=True, exist_ok=True)
    technician = keys.create(folder / "technician.key")
    box = Box(folder / "gateway", folder / "collector", technician)
    site_init.init(box.state, site, PROFILES, technician, time.time_ns() // 1_000_000, overload=True)
    return box


def agent_command(box: Box) -> list[str]:
    """The agent, telling every commit and block."""
    return [sys.executable, "-m", "proofs.agent", str(box.state)]


def collector_command(box: Box, port: int) -> list[str]:
    """The collector on a port of this machine; 0 picks one."""
    return [sys.executable, "-m", "tanmeter", "cloud", "serve", "--data", str(box.data), "--port", str(port)]


def enrol_at(box: Box, port: int) -> None:
    """Enrol the gateway with the collector that listens there."""
    invite = [sys.executable, "-m", "tanmeter", "cloud", "invite", "--data", str(box.data)]
    ran = subprocess.run(invite, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=True)
    enrol.enrol(box.state, ran.stdout.strip(), f"http://127.0.0.1:{port}")


def until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until something holds; TimeoutError with ``what`` was expected."""
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(GLANCE_S)


KILL, STOP = signal.SIGKILL, signal.SIGTERM
