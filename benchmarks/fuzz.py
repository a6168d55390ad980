"""Fuzzing of every parser of a wire: broken frames in, an answer or a ProtocolError out, never anything else.

    python -m benchmarks.fuzz [--inputs 10_000_000] [--seed 1] [--parser NAME ...] [--jobs 2]

The inputs are the proof frames of every profile, cut, flipped, spliced and stuffed, half of them with their checksum
made right again so that they get past it, and plain noise. What failed is printed as it was fed; a seed repeats a run.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

from drivers import builtin
from drivers.driver import Driver, driver
from drivers.profile import Profile, octets
from drivers.profile_file import load
from drivers.proof import asker
from drivers.site import Device
from protocols import cjt188, dlt645_frame, hj212, mbus, modbus
from protocols.decode import READERS
from protocols.errors import ProtocolError

INPUTS = 100_000
CHUNK = 500_000
"""Inputs of one task, so that the cores finish together."""
LONGEST = 600


FRAMES: dict[str, Callable[[bytes, bytes], object]] = {
    "modbus-rtu": modbus.payload_rtu,
    "modbus-tcp": modbus.payload_tcp,
    "dlt645": lambda request, data: dlt645_frame.split(data),
    "dlt645-1997": lambda request, data: dlt645_frame.split(data),
    "cjt188": lambda request, data: cjt188.decode(data),
    "mbus": lambda request, data: mbus.replies(data),
    "hj212": lambda request, data: (hj212.Parser().feed(data), hj212.decode(data)),
}


@dataclass(frozen=True, slots=True)
class Seed:
    """An exchange that a profile vouches for, and the driver that reads it."""

    protocol: str
    driver: Driver
    request: bytes
    reply: bytes


Parser = Callable[[Seed, bytes, random.Random], None]


def frame(seed: Seed, data: bytes, draw: random.Random) -> None:
    """The frame and what is in it, nothing else: the innermost parser, and the fastest."""
    FRAMES[seed.protocol](seed.request, data)


def stream(seed: Seed, data: bytes, draw: random.Random) -> None:
    """What the bus does: bytes in two pieces, then the reason why no answer was among them."""
    recogniser = seed.driver.recogniser(seed.request)
    cut = draw.randrange(len(data) + 1)
    if recogniser.feed(data[:cut]) is None and recogniser.feed(data[cut:]) is None:
        recogniser.failure()


def answer(seed: Seed, data: bytes, draw: random.Random) -> None:
    """What the edge, the collector and a verifier do: read the values, their date, what must still be asked."""
    talk = seed.driver.read(seed.request)
    next(talk)
    try:
        talk.send(data)
    except StopIteration:
        seed.driver.stamp(seed.request, data)
        seed.driver.follow_up(seed.request, data)


def told(name: str) -> Parser:
    """What ``tanmeter decode`` does with one frame."""
    explain = READERS[name].explain

    def tell(seed: Seed, data: bytes, draw: random.Random) -> None:
        explain(data)

    return tell


@cache
def seeds() -> dict[str, list[Seed]]:
    """The proof frames of every profile, by protocol; those of Modbus on a serial line and on TCP."""
    found: dict[str, list[Seed]] = {}
    for name in builtin.builtin_ids():
        profile = load(builtin.builtin(name), name)
        for proof in profile.proof:
            seed = Seed(profile.protocol, asker(profile, proof), octets(proof.request), octets(proof.response))
            if profile.protocol == "modbus":
                found.setdefault("modbus-rtu", []).append(replace(seed, protocol="modbus-rtu"))
                found.setdefault("modbus-tcp", []).append(_on_tcp(profile, seed))
            else:
                found.setdefault(profile.protocol, []).append(seed)
    return found


def _on_tcp(profile: Profile, seed: Seed) -> Seed:
    unit, pdu = modbus.split_rtu(seed.reply)
    request = modbus.parse_rtu(seed.request).tcp()
    made = driver(Device(id="proof", profile=profile.id, port="proof", address=str(unit)), profile, "modbus-tcp")
    return Seed("modbus-tcp", made, request, modbus.frame_tcp(int.from_bytes(request[:2]), unit, pdu))


def parsers(held: dict[str, list[Seed]]) -> dict[str, tuple[str, Parser]]:
    """Every parser by its name, with the protocol whose frames it is fed."""
    found: dict[str, tuple[str, Parser]] = {}
    for protocol in held:
        found[f"{protocol}: frame"] = (protocol, frame)
        found[f"{protocol}: stream"] = (protocol, stream)
        found[f"{protocol}: answer"] = (protocol, answer)
    for name in [name for name in READERS if name in held]:
        found[f"{name}: decode"] = (name, told(name))
    return found


def inputs(seeds_: Sequence[Seed], draw: random.Random, count: int) -> Iterator[tuple[Seed, bytes]]:
    """Broken and half broken replies."""
    for _ in range(count):
        seed = draw.choice(seeds_)
        data = _mutated(bytearray(seed.reply if draw.random() < 0.9 else seed.request or seed.reply), seeds_, draw)
        yield seed, _sealed(data, draw) if draw.random() < 0.5 else bytes(data)


def _mutated(data: bytearray, seeds_: Sequence[Seed], draw: random.Random) -> bytearray:
    for _ in range(draw.randrange(4)):
        kind, at = draw.randrange(6), draw.randrange(len(data) + 1)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 2:
            del data[at : at + draw.randrange(1, 8)]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.randrange(1, 8))
        elif kind == 4:
            data += draw.choice(seeds_).reply
        else:
            return bytearray(draw.randbytes(draw.randrange(64)))
    return data[:LONGEST]


def _sealed(data: bytearray, draw: random.Random) -> bytes:
    """With one of the checksums there are made right: a sum before a 16, or a CRC at the end."""
    if len(data) > 4 and draw.random() < 0.5:
        data[-1] = 0x16
        start = max(data.find(0x68), 0)
        data[-2] = sum(data[start:-2]) & 0xFF
    elif len(data) > 4:
        data[-2:] = modbus.crc(bytes(data[:-2])).to_bytes(2, "little")
    return bytes(data)


def run(name: str, seed: int, first: int, count: int) -> tuple[str, int, int, float, str]:
    """Feed a parser: its name, inputs, answers, seconds, and the input that broke it, if any."""
    held = seeds()
    protocol, parser = parsers(held)[name]
    draw = random.Random(f"{seed}/{name}/{first}")
    answered, begun = 0, time.perf_counter()
    for number, (origin, data) in enumerate(inputs(held[protocol], draw, count)):
        try:
            parser(origin, data, draw)
            answered += 1
        except ProtocolError:
            pass
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            return (
                name,
                number,
                answered,
                time.perf_counter() - begun,
                f"{origin.request.hex()} {data.hex()}: {error!r}",
            )
    return name, count, answered, time.perf_counter() - begun, ""


def main(arguments: Sequence[str] = ()) -> None:
    """Feed every parser; print the table; exit 1 when one of them broke."""
    options = _options(arguments)
    names = [name for name in parsers(seeds()) if any(part in name for part in options.parser or [""])]
    tasks = [(name, options.seed, first, min(CHUNK, options.inputs - first))
             for name in names for first in range(0, options.inputs, CHUNK)]  # fmt: skip
    done: dict[str, list[tuple[str, int, int, float, str]]] = {name: [] for name in names}
    with ProcessPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(run, *zip(*tasks, strict=True)):
            done[outcome[0]].append(outcome)
    print(f"seed {options.seed}\n{'parser':<24}{'inputs':>12}{'answers':>12}{'us each':>10}  uncaught")
    broken = 0
    for name, outcomes in done.items():
        count, seconds = sum(o[1] for o in outcomes), sum(o[3] for o in outcomes)
        failures = [o[4] for o in outcomes if o[4]]
        broken += len(failures)
        answered = sum(o[2] for o in outcomes)
        print(f"{name:<24}{count:>12,}{answered:>12,}{seconds / max(count, 1) * 1e6:>10.1f}  {len(failures)}")
        for failure in failures:
            print(f"    {failure}")
    if broken:
        raise SystemExit(1)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parser", action="append", help="its name, or a part of it; repeatable")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
