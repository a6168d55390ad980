"""A gateway with one M-Bus heat meter, and what the thief of its key can sign: answers that are read one by one, and as
laborious as telegrams can be.
"""

from collections.abc import Iterator
from pathlib import Path

from proofs.gateway import Gateway, live_at
from proofs.target import Send
from proofs.thief import DAY_MS, HIGH, LOW, MOST_DATA, WHOLE, Thief, by_turns, owed
from protocols.mbus import Frame
from protocols.record.block import Track
from protocols.record.cose import PublicKey
from simulator.mbus_meters import MbusMeter
from simulator.meters import Listener
from simulator.pipes import within
from simulator.truth import TruthLog
from simulator.world import World

SITE = b"""\
schema = 1

[site]
id = "S-HEAT"
name = "heat"
block = "1m"

[[port]]
name = "bus-2"
device = "/dev/ttyUSB0"
mode = "2400-8N1"

[[device]]
id = "H-01"
profile = "mbus-heat"
port = "bus-2"
address = "1"
role = "purchased"
period = "2s"
"""
"""Asked so often that a day of its answers is more than a block can hold."""
NUMBER = "11110020"
OWN, OTHER = (bytes.fromhex(number + "2423 28 04 2A 00 0000") for number in ("20001111", "21001111"))
"""The header of its telegrams, and that of another meter's."""
ENERGY, VOLUME = bytes.fromhex("0C06"), bytes.fromhex("0C13")
"""Eight digits, in kWh and in litres."""
RECORDS = 78
"""Beside the energy, of three bytes each: as many as a telegram can hold, and as laborious to take apart."""
MAXIMUM, NOT_NOW = 0x10, 0x41
"""A byte of a maximum rather than of an instant; of the day before, so that it is taken for none of the points."""
AHEAD, TURNS = 30, 200
"""So few answers that all are read ahead, and so many that they take more than one turn."""


def live(folder: Path, seed: int) -> Gateway:
    """Let it live through two minutes."""
    return live_at(SITE, _meters, folder, seed, 2)


def signed(gateway: Gateway, collector: PublicKey) -> Iterator[tuple[str, Send]]:
    """Blocks of a day, full of telegrams no two of which have one shape; or of registers that fall and rise."""
    thief, installation = Thief(gateway, collector), gateway.config.installation
    asked = installation.drivers[0].queries()[0].request

    def day(answers: list[bytes]) -> Send:
        times = [DAY_MS * place // len(answers) for place in range(len(answers))]
        return thief.day(owed(installation, 0, Track.of(asked, times, answers)))

    many = MOST_DATA // (len(_unlike(0)) + 3)
    telegrams = [_unlike(number) for number in range(many)]
    yield f"mbus: {many:,} {WHOLE}", day(telegrams)
    for some in (AHEAD, TURNS):
        last = telegrams[some - 1]
        broken = last[:-3] + bytes([last[-3] ^ 1]) + last[-2:]
        yield f"mbus: {some} answers, the last one broken", day([*telegrams[: some - 1], broken])
    yield "mbus: an answer that is all of them", day([b"".join(telegrams)])
    for other, what in ((OWN, "registers that fall and rise"), (OTHER, "another number each time too")):
        pair = [_telegram(own + _registers(fill)) for own, fill in ((OWN, HIGH), (other, LOW))]
        track = by_turns(asked, pair, MOST_DATA // (len(pair[0]) + 3))
        yield f"mbus: {len(track.times):,} {WHOLE}: {what}", thief.day(owed(installation, 0, track))


def _meters(world: World, log: TruthLog) -> dict[str, tuple[Listener, ...]]:
    return {"bus-2": (MbusMeter("H-01", 1, NUMBER, within(world, "H-01"), log),)}


def _unlike(number: int) -> bytes:
    """A telegram whose records spell this number by what they are of, and are none of now but the energy."""
    records = b"".join([bytes([NOT_NOW + MAXIMUM * (number >> 2 * at & 3), at, 0]) for at in range(RECORDS)])
    return _telegram(OWN + ENERGY + bytes.fromhex(f"{number:08d}")[::-1] + records)


def _registers(fill: int) -> bytes:
    return b"".join([record + bytes([fill]) * 4 for record in (ENERGY, VOLUME)])


def _telegram(data: bytes) -> bytes:
    return Frame(8, 1, 0x72, data).to_bytes()
