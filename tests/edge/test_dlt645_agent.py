"""DL/T 645 through the whole agent: answers of several frames, dated freezes, a short number of 1997."""

from decimal import Decimal

from drivers import replay
from edge import config
from simulator.dlt645_1997_meters import Dlt645Meter1997
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.truth import TruthLog
from simulator.world import DAY_MS, World

MIDNIGHT = 1_795_392_000_000
"""2026-11-23 00:00 UTC, when daily and quarter-hourly questions are due; 08:00 in Shanghai."""
NUMBER = "058581160068"
TARIFFS = [f"energy_import_t{tariff}" for tariff in (1, 2, 3, 4)]
POINTS = ["energy_import", *TARIFFS, "energy_import_daily", "energy_import_hourly", "meter_number"]


def on_the_bus(meter, asked):
    """A wire with one meter on it, as it is at midnight; it keeps a list of what it was asked."""

    def answer(request):
        asked.append(request)
        return [(30, reply) for reply in meter.hear(request, MIDNIGHT)]

    return answer


def readings(made):
    """Every reading of every block, as a verifier replays them: (point, value, UTC ms)."""
    installation = config.load(made.state).installation
    return [
        (reading.point, reading.value, reading.at)
        for header, chunks in made.blocks()
        for chunk in chunks
        for reading in replay.replay_chunk(installation, header, chunk)
    ]


def test_freezes_and_long_blocks_are_recorded_whole_and_dated(box, kit, tmp_path):
    made = box(kit.serial_port(), kit.meter(1, "bus", "dlt645-2007-single-phase", POINTS, "10s", NUMBER))
    seen = behind(World(7), "M-02")
    meter = Dlt645Meter("M-1", NUMBER, 1, seen, TruthLog(tmp_path / "truth.jsonl"), most=12)
    asked = []
    kit.world(made, {"bus": on_the_bus(meter, asked)}, start=MIDNIGHT - 20_000).run(110)
    found = readings(made)
    at = seen(MIDNIGHT)
    local_midnight = MIDNIGHT - 8 * 3_600_000
    assert {(value, when) for point, value, when in found if point == "energy_import_daily"} == {
        (Decimal(at.energy(0, local_midnight)).scaleb(-2), local_midnight)
    }
    assert {(value, when) for point, value, when in found if point == "energy_import_hourly"} == {
        (Decimal(at.energy()).scaleb(-2), MIDNIGHT)
    }
    assert {value for point, value, _ in found if point == "energy_import_t1"} == {Decimal(at.energy(1)).scaleb(-2)}
    assert {value for point, value, _ in found if point == "meter_number"} == {Decimal(NUMBER)}
    assert {request.lstrip(b"\xfe")[8] for request in asked} == {0x11, 0x12}
    counters = [chunk.counters for _, chunks in made.blocks() for chunk in chunks]
    assert (
        sum(one.answered for one in counters) == sum(one.asked for one in counters) == sum(one.due for one in counters)
    )


def test_a_meter_that_breaks_off_in_the_middle_has_no_value(box, kit, tmp_path):
    made = box(kit.serial_port(), kit.meter(1, "bus", "dlt645-2007-single-phase", TARIFFS, "10s", NUMBER))
    meter = Dlt645Meter("M-1", NUMBER, 1, behind(World(7), "M-02"), TruthLog(tmp_path / "truth.jsonl"), most=12)

    def answer(request):
        return [] if request.lstrip(b"\xfe")[8] == 0x12 else [(30, reply) for reply in meter.hear(request, MIDNIGHT)]

    kit.world(made, {"bus": answer}, start=MIDNIGHT - 20_000).run(110)
    assert readings(made) == []
    assert sum(chunk.counters.silent for _, chunks in made.blocks() for chunk in chunks) >= 1


def test_a_short_number_of_1997_is_asked_for_until_it_is_understood(box, kit, tmp_path):
    made = box(kit.serial_port(), kit.meter(1, "bus", "dlt645-1997-single-phase", ["energy_import"], "10s", "63295"))
    seen = behind(World(7), "M-02")
    truth = TruthLog(tmp_path / "truth.jsonl")
    zeros = Dlt645Meter1997("M-1", "63295", 1, seen, truth, fill=0)

    def answer(request):
        wild = 0xAA in request[:12]
        return [] if wild else [(30, reply) for reply in zeros.hear(request, MIDNIGHT)]

    kit.world(made, {"bus": answer}, start=MIDNIGHT - DAY_MS + 60_000).run(110)
    values = [value for point, value, _ in readings(made) if point == "energy_import"]
    assert len(values) >= 8 and set(values) == {Decimal(seen(MIDNIGHT).energy()).scaleb(-2)}
