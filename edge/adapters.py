"""Serial adapters by what they are and not by what they are called: USB vendor, product, serial number, interface.

The kernel gives names like ttyUSB0 in the order in which adapters are plugged in. A port whose adapter is known is
looked for wherever that adapter is now, and never opened while the adapter of another port has its name. An adapter
without a serial number (many CH340) cannot be told from its like: its path is taken as it is.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import PortGone

DEV, SYS = Path("/dev"), Path("/sys/class/tty")
MOST_LINKS = 8
LEVELS = 6
"""Folders from a tty up to its USB device."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where to open a port, and what is odd about that; empty when nothing is."""

    path: str
    note: str


class Adapters:
    """The adapters of a box's ports. ``memory`` is a file of {path in the site file: adapter}."""

    def __init__(self, memory: Path, dev: Path = DEV, ttys: Path = SYS) -> None:
        self._memory, self._dev, self._ttys = memory, dev, ttys
        self._known = self._read()

    def find(self, device: str) -> Found:
        """Where the adapter of this path of the site file is now; PortGone when another port's has its name."""
        known, here = self._known.get(device), self._adapter(device)
        if known is None or here == known:
            self._check_owner(device, here)
            return Found(device, "")
        for tty in sorted(self._ttys.iterdir()):
            if self._adapter_of(tty.name) == known:
                return Found(str(self._dev / tty.name), f"adapter {known} of {device} is now {tty.name}")
        self._check_owner(device, here)
        return Found(
            device, f"found adapter {here} at {device}, expected {known}: taken for its successor" * bool(here)
        )

    def opened(self, device: str, path: str) -> None:
        """The port was opened there: its adapter is known from now on, also after a restart."""
        adapter = self._adapter(path)
        if adapter is None or self._known.get(device) == adapter:
            return
        self._known[device] = adapter
        aside = self._memory.with_suffix(".new")
        try:
            aside.write_text(json.dumps(self._known, indent=1))
            aside.replace(self._memory)
        except OSError:
            return  # a full disk: it is known until the next start

    def _check_owner(self, device: str, here: str | None) -> None:
        owner = next((other for other, known in self._known.items() if known == here and other != device), None)
        if here is not None and owner is not None:
            expected = self._known.get(device, "another one")
            raise PortGone(f"{device}: found adapter {here}, which is that of {owner}; expected {expected}")

    def _adapter(self, path: str) -> str | None:
        """What is behind a path; None when nothing is, or when it cannot be told from its like."""
        at = Path(path)
        for _ in range(MOST_LINKS):
            if at.parent == self._dev or not at.is_symlink():
                break
            at = Path(os.path.normpath(at.parent / at.readlink()))
        return self._adapter_of(at.name) if at.parent == self._dev and at.exists() else None

    def _adapter_of(self, tty: str) -> str | None:
        interface = (self._ttys / tty / "device").resolve()
        port = _text(interface / "port_number") or ""
        for folder in [interface, *interface.parents][:LEVELS]:
            if ":" in folder.name:
                port = f"{folder.name.rpartition(':')[2]}/{port}"
            serial = _text(folder / "serial")
            if (vendor := _text(folder / "idVendor")) is not None:
                return f"{vendor}:{_text(folder / 'idProduct')} {serial} {port}".strip("/") if serial else None
        return None

    def _read(self) -> dict[str, str]:
        """What was known at the last start; a file that cannot be read counts as empty."""
        try:
            held = json.loads(self._memory.read_bytes())
            return {str(device): str(adapter) for device, adapter in held.items()}
        except (OSError, ValueError, AttributeError):
            return {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
