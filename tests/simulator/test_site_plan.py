"""The simulated site under its own site file: every question of every driver's plan is answered, and with the truth."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from drivers import replay
from drivers.builtin import builtin
from drivers.driver import Driver
from drivers.installation import Installation, install
from drivers.profile import Point
from drivers.query import Query
from simulator.meters import FLOWS, LOGGER_PORT, PLACES, PORTS, REGISTERS, Listener, listeners, site_toml
from simulator.truth import TruthLog
from simulator.world import World

NOON = 1_795_406_400_000
PROFILES = (
    "dlt645-2007-three-phase",
    "dlt645-2007-single-phase",
    "acrel-adl400",
    "eastron-sdm630",
    "sick-marsic300",
    "cjt188-water",
    "cjt188-gas",
    "cjt188-heat-gj",
    "cjt188-cooling",
    "hj212-co2",
)
NAMES = {"energy_settlement": "energy1", "energy_heat": "energy2", "energy_cold": "energy2"}
"""What CJ/T 188 calls a field that the truth log names by its place."""


def installation() -> Installation:
    return install(site_toml(PLACES, "15m", "15m", {}), {name: builtin(name) for name in PROFILES})


def register(point: Point, served: dict[str, str]) -> str:
    """What the truth log calls a point: function and address, the field, the identifier, or the block and its index."""
    if point.field is not None:
        return f"901F.{NAMES.get(point.field, point.field)}"
    if point.fc is not None:
        return f"{point.fc}:{point.address}"
    names = (str(point.di), f"{point.block}.{point.index}", str(point.block))
    return next(name for name in names if name in served)


def answer(driver: Driver, meters: Sequence[Listener], query: Query) -> tuple[bytes, bytes]:
    """The wording of a question that is understood, and the whole answer to it, as the bus gets it: every frame that
    must still be asked for.
    """
    for request in query.wordings:
        reply, asked = b"", request
        while (frame := heard(driver, meters, asked)) is not None:
            reply += frame
            following = driver.follow_up(request, reply)
            if following is None:
                return request, reply
            asked = following
    raise AssertionError(f"no answer to {query.request.hex()}")


def heard(driver: Driver, meters: Sequence[Listener], asked: bytes) -> bytes | None:
    return driver.recogniser(asked).feed(b"".join(said for meter in meters for said in meter.hear(asked, NOON)))


def test_every_question_of_the_site_is_answered_with_what_the_truth_log_says(tmp_path: Path) -> None:
    plan, truth = installation(), TruthLog(tmp_path / "truth.jsonl")
    ports, log = listeners(World(7), truth), (tmp_path / "truth.jsonl").open()
    for device, driver in zip(plan.site.device, plan.drivers, strict=True):
        if device.port == LOGGER_PORT:
            continue  # its logger is asked nothing
        asked: set[str] = set()
        for query in driver.queries():
            values = replay.values(driver, *answer(driver, ports[device.port], query))
            entries = [json.loads(line) for line in log]
            assert {entry["device"] for entry in entries} == {device.id}
            served = {name: value for entry in entries for name, _raw, value in entry["served"]}
            for name, value in values.items():
                found = served[register(driver.profile.point(name), served)]
                assert value == (None if found is None else Decimal(found)), f"{device.id} {name}"
            asked |= values.keys()
        assert asked == {point.id for point in driver.profile.points}
    log.close()


def test_the_registers_of_the_truth_are_the_energies_that_are_booked() -> None:
    plan = installation()
    for device, driver in zip(plan.site.device, plan.drivers, strict=True):
        if device.id in FLOWS:
            name, booked = FLOWS[device.id]
            assert booked == register(driver.profile.point(name), {})
        elif device.role != "flue-gas":
            point = driver.profile.point("energy_import")
            assert REGISTERS[device.id] == register(point, {str(point.di): ""})


def test_the_site_file_names_every_port_of_the_site() -> None:
    assert [port.name for port in installation().site.port] == [*(port.name for port in PORTS), LOGGER_PORT]
