"""History: the edge's own agent in virtual time makes a record that verifies and says what the truth log says."""

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.replay import replay_chunk
from edge.config import load
from edge.outbox import Outbox
from protocols.record import transport
from protocols.record.block import EventKind, open_block
from provisioning import folder, keys, site_init
from simulator.history import live_through
from simulator.meters import FLOWS, HISTORY, LOGGER, MASS, PLACES, REGISTERS, site_toml
from simulator.truth import Truth, spoken

START = 1_795_363_200_000  # 2026-11-23 00:00 in Shanghai
HOURS = 3
ASKED_ANOTHER_WAY = ("W-01", "C-01")
"""They understand only the second wording of their question: the first may be met with silence, once."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a gateway has lived three hours."""
    here = tmp_path_factory.mktemp("lived")
    source = site_toml(PLACES, "15m", "15m", HISTORY)
    (here / "state").mkdir()
    site_init.init(here / "state", source, site_init.gather(source), keys.create(here / "technician.key"), START)
    live_through(here / "state", 7, START, START + HOURS * 3_600_000, here / "truth.jsonl")
    return here


def frames(state: Path) -> list[bytes]:
    outbox = Outbox(state / "outbox.db", folder.read_box(state).enrolment.key.id, bytes(32))
    try:
        return [stored.frame for stored in outbox.batch(0, 0, 1000, 1 << 30)]
    finally:
        outbox.close()


def test_the_record_is_one_chain_from_the_enrolment_on_and_covers_every_moment(lived: Path) -> None:
    box = folder.read_box(lived / "state")
    names = [device.id for device in load(lived / "state").installation.site.device]
    previous, end = hashlib.sha256(box.envelope).digest(), START
    for seq, frame in enumerate(frames(lived / "state")):
        sealed = transport.unpack(frame)
        header, chunks = open_block(sealed, box.enrolment.key)
        assert (header.seq, header.previous, header.utc[0]) == (seq, previous, end)
        for chunk in chunks:
            missed = chunk.counters.due - chunk.counters.answered
            assert missed == chunk.counters.silent <= (header.seq == 0 and names[chunk.device] in ASKED_ANOTHER_WAY)
        previous, end = sealed.hash, header.utc[1]
    assert end == START + HOURS * 3_600_000
    assert header.events[-1].kind == EventKind.SHUTDOWN


def test_what_the_record_says_is_what_the_meters_served(lived: Path) -> None:
    box, installation = folder.read_box(lived / "state"), load(lived / "state").installation
    truth = Truth(REGISTERS | {device: register for device, (_, register) in FLOWS.items()})
    truth.read(lived / "truth.jsonl")
    booked = dict.fromkeys(REGISTERS, "energy_import") | {device: point for device, (point, _) in FLOWS.items()}
    compared = 0
    for frame in frames(lived / "state"):
        header, chunks = open_block(transport.unpack(frame), box.enrolment.key)
        for chunk in chunks:
            device = installation.site.device[chunk.device].id
            for reading in replay_chunk(installation, header, chunk):
                if reading.point == booked.get(device):
                    assert reading.value == truth.at(device, reading.at)
                    compared += 1
    assert compared == sum(len(values) for values in truth.values.values())
    assert 0 <= len(booked) * HOURS * 4 - compared <= len(ASKED_ANOTHER_WAY)
    assert all(values == sorted(values) and values[-1] > values[0] > Decimal(0) for values in truth.values.values())


def test_the_mass_of_the_stack_is_what_the_data_logger_knows(lived: Path) -> None:
    box, installation = folder.read_box(lived / "state"), load(lived / "state").installation
    truth = {span.start: span.rate for span in spoken(lived / "truth.jsonl", LOGGER, MASS[1])}
    found = {
        reading.at: reading.value
        for header, chunks in [
            open_block(transport.unpack(frame), box.enrolment.key) for frame in frames(lived / "state")
        ]
        for chunk in chunks
        for reading in replay_chunk(installation, header, chunk)
        if reading.point == MASS[0]
    }
    assert found == truth and len(found) == HOURS * 4 and min(found) == START - 900_000


def test_one_seed_is_one_history(lived: Path, tmp_path: Path) -> None:
    source = site_toml(PLACES, "15m", "15m", HISTORY)
    site_init.init(tmp_path / "state", source, site_init.gather(source), keys.create(tmp_path / "key"), START)
    live_through(tmp_path / "state", 7, START, START + HOURS * 3_600_000, tmp_path / "truth.jsonl")
    assert (tmp_path / "truth.jsonl").read_bytes() == (lived / "truth.jsonl").read_bytes()
