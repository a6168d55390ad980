"""Every driver of every profile that comes with us, and all that it can be made to ask first."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from drivers import builtin, identify, pieces, profile_file
from drivers.driver import Driver, driver
from drivers.site import Device, Stack
from protocols.errors import ConfigError
from tests.read_only.judge import JUDGES, Judge

ADDRESSES = {
    "modbus": ("1", "247"),
    "dlt645": ("1", "123456789012"),
    "dlt645-1997": ("1", "12345", "123456789012"),
    "cjt188": ("1", "12345678901234"),
    "mbus": ("0", "250", "12345678"),
    "hj212": ("A" * 24,),
}


@dataclass(frozen=True)
class Held:
    """A driver with the judge of its wire, and its profile's proofs."""

    name: str
    driver: Driver
    judge: Judge


def made() -> Iterator[Held]:
    """Every profile that comes with us, at every kind of address, in every framing."""
    for name in builtin.builtin_ids():
        profile = profile_file.load(builtin.builtin(name), name)
        framings = ("rtu", "modbus-tcp") if profile.protocol == "modbus" else ("rtu",)
        for address, framing in itertools.product(ADDRESSES[profile.protocol], framings):
            device = Device(id="M", profile=name, port="p", address=address, stack=Stack(area_m2=Decimal(12)))  # type: ignore[arg-type]
            try:
                held = driver(device, profile, framing)  # type: ignore[arg-type]
            except ConfigError:
                continue
            judge = {"modbus": "modbus-rtu" if framing == "rtu" else "modbus-tcp"}.get(
                profile.protocol, profile.protocol
            )
            yield Held(f"{name} {address} {framing}", held, JUDGES[judge])


DRIVERS = {held.name: held for held in made()}


def asked(held: Driver) -> Iterator[bytes]:
    """All that a driver can be made to ask first: its plan in every wording, the pieces of every read, what the meter
    froze, what tells its model.
    """
    for query in held.queries():
        yield from query.wordings
        if query.request:
            yield from smaller(held, query.request)
    history = getattr(held, "history", None)
    if history is not None:
        yield from (request for _, request in history(62, 48, 12))
    if (question := identify.request(held)) is not None:
        yield question


def smaller(held: Driver, request: bytes) -> Iterator[bytes]:
    cut = pieces.cut(held, request)
    yield from pieces.plain(held, request)
    for piece in cut.pieces if cut is not None else ():
        yield piece
        yield from smaller(held, piece)


def sweep(held: Held, more: tuple[bytes, ...] = ()) -> int:
    """How many requests of a driver were judged; Forbidden."""
    count = 0
    for request in (*asked(held.driver), *more):
        if request:  # a logger that speaks unasked is asked nothing
            held.judge(request)
            count += 1
    return count
