"""A link below TCP: a TUN device whose packets are lost, doubled, delayed and out of order, or all lost for a while.

What is sent to ``FAR`` comes back with its two addresses exchanged, which changes no checksum: so one network namespace
is both ends, and a server at ``NEAR`` is reached at ``FAR`` over this link. No kernel module is needed beside TUN.
"""

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Self

NEAR, FAR = "10.213.9.1", "10.213.9.2"
DEVICE = "tanmeter-proof"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LARGEST = 65_536
IPV4, ADDRESSES = 4, 12
GLANCE_S = 0.02
INSIDE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
"""Runs a command in a network namespace of its own."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of packets that are ``lost`` and ``doubled``, and between which seconds each is delayed."""

    lost: float = 0.0
    doubled: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)


CALM = Weather()


class Packets:
    """State: the weather, and what has happened: packets ``carried``, ``lost``, ``doubled``, ``reordered``, ``stalled``
    (lost because nothing passed), and the ``bytes`` that somebody sent."""

    def __init__(self, seed: int) -> None:
        self._random, self._numbers = Random(seed), 0
        self._coming: list[tuple[float, int, bytes]] = []
        self._over = threading.Event()
        self._newest = 0
        self.weather, self.stalled = CALM, False
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Carry from now on; OSError when this user may not make the device."""
        self._device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        name = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(self._device, TUNSETIFF, name)
        for words in (f"link set {DEVICE} up", f"address add {NEAR}/30 dev {DEVICE}", "link set lo up"):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._device)

    def _carry(self) -> None:
        while not self._over.is_set():
            wait = GLANCE_S if not self._coming else min(GLANCE_S, max(0.0, self._coming[0][0] - time.monotonic()))
            if select.select([self._device], [], [], wait)[0]:
                self._take(os.read(self._device, LARGEST))
            while self._coming and self._coming[0][0] <= time.monotonic():
                self._give(heapq.heappop(self._coming))

    def _take(self, packet: bytes) -> None:
        if packet[0] >> 4 != IPV4:
            return
        self.counts["bytes"] += len(packet)
        weather, random = self.weather, self._random
        if self.stalled:
            self.counts["stalled"] += 1
        elif random.random() < weather.lost:
            self.counts["lost"] += 1
        else:
            copies = 1 + (random.random() < weather.doubled)
            self.counts["doubled"] += copies - 1
            for _ in range(copies):
                self._numbers += 1
                due = time.monotonic() + random.uniform(*weather.delay_s)
                heapq.heappush(self._coming, (due, self._numbers, packet))

    def _give(self, coming: tuple[float, int, bytes]) -> None:
        _, number, packet = coming
        self.counts["reordered"] += number < self._newest
        self._newest = max(self._newest, number)
        self.counts["carried"] += 1
        source, destination = packet[ADDRESSES : ADDRESSES + 4], packet[ADDRESSES + 4 : ADDRESSES + 8]
        os.write(self._device, packet[:ADDRESSES] + destination + source + packet[ADDRESSES + 8 :])
