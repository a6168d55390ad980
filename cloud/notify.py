"""What the service manager is told: datagrams to the socket it named (sd_notify(3)), and how often it wants them."""

import contextlib
import socket
from collections.abc import Mapping


class Manager:
    """The manager of this process, as its environment names it; says nothing where there is none."""

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        place = environment.get("NOTIFY_SOCKET", "")
        self._place = "\0" + place[1:] if place.startswith("@") else place
        mine = environment.get("WATCHDOG_PID", str(process)) == str(process)
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(microseconds) / 1e6 if self._place and mine and microseconds.isdigit() else None
        """Within so many seconds ``WATCHDOG=1`` must be told again and again; None: it is not waited for."""

    def tell(self, *lines: str) -> None:
        """Tell it these, like ``READY=1``. A manager that does not listen is no reason to stop measuring."""
        if not self._place:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.setblocking(False)
            door.sendto("\n".join(lines).encode(), self._place)
