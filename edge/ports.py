"""Which task owns a port: one that asks its devices, or one that listens to them."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from drivers.driver import Driver
from drivers.installation import UNASKED
from drivers.site import Device, Port
from edge.bus import Bus
from edge.clock import Clock
from edge.learned import Learned
from edge.listening import Ears
from edge.log import Log
from edge.poller import Desk, Poller
from edge.receiver import Receiver
from edge.watchdog import Pulse, Watched
from edge.wire import Wire

Owner = Poller | Receiver
Wires = Callable[[Port], Wire]
Listen = Callable[[Port, Wire | None, Clock], Ears]


def owner(
    port: Port,
    devices: Sequence[tuple[int, Device, Driver]],
    ways: tuple[Wires, Listen],
    learned: Learned,
    *,
    clock: Clock,
    desk: Desk,
    log: Log,
) -> Owner:
    """The owner of a port with these devices (number, entry, driver); ``ways``: how it is reached, and listened to."""
    (wires, listen), pulse = ways, Pulse(clock)
    if port.listen is None and not any(driver.profile.protocol in UNASKED for _, _, driver in devices):
        bus = Bus(Watched(wires(port), pulse), port, clock)
        return Poller(port, bus, devices, learned, clock=clock, desk=desk, log=log, pulse=pulse)
    mode = next((device.mode for _, device, _ in devices if device.mode is not None), port.mode)
    ears = listen(replace(port, mode=mode), None if port.listen is not None else wires(port), clock)
    heard = [(number, driver) for number, _, driver in devices]
    return Receiver(port, ears, heard, clock=clock, desk=desk, log=log, pulse=pulse)


def told(port: Owner, clock: Clock, started: int) -> dict[str, object]:
    """What a port says of itself since the agent ``started`` (CLOCK_BOOTTIME ms), as JSON."""
    now = clock.mono_ms()
    busy = round(port.busy_ms / max(1, now - started), 4)
    said: dict[str, object] = {"name": port.port.name, "gone": port.gone, "busy": busy, "troubles": []}
    if isinstance(port, Receiver):
        return said | {"lines": port.lines, "unknown": port.unknown, "damaged": port.damaged}
    troubles = [
        {"code": held.code, "since": clock.utc_ms() - now + held.since, "detail": port.said(held)} | {"sure": held.sure}
        for held in port.watch.troubles
    ]
    responses = {device: {"counts": held.counts, "sum_ms": held.sum_ms} for device, held in port.responses.items()}
    return said | {"troubles": troubles, "responses": responses}
