"""Simulation: gateway-years of fleets under every fault, one digest a seed, and the bugs that must be caught."""

import logging
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from proofs import planted
from proofs.line import Line, Tier
from simulator.fleet.faults import PER_DAY, PLANNED, Fault
from simulator.fleet.fleet import YEAR_S, Fleet, Outcome, Shape
from simulator.fleet.node import Cadence

PART = "simulation"
CORPUS = Path(__file__).with_name("seeds.toml")
FAST = Path("/dev/shm")
"""Files in memory: the disk's own faults are those of the seed. The parts power_cuts and kills use the real one."""
WANTED = {Tier.PULL: 20.0, Tier.NIGHTLY: 2_000.0, Tier.RELEASE: 20_000.0}
"""Gateway-years."""
MOST_S = {Tier.PULL: 150.0, Tier.NIGHTLY: 8 * 3600.0, Tier.RELEASE: 80 * 3600.0}
"""Seconds of wall time for them; the line tells how far that came."""
MOST_FOUND = 5
OFTEN = 8.0
"""Times that a fault is to be expected in a life of its own; of messages, so many times their ordinary chance."""
ALONE_DAYS = {Fault.COLLECTOR_OLD: 4.0, Fault.LYING_DISK: 2.0, Fault.BIT_ROT: 2.0}
BUGS_SEED = 100
"""Its lives and those of the next seeds hold the coincidences that the rarer of the planted bugs need."""


def prove(tier: Tier, seed: int) -> Iterator[Line]:
    """The corpus of seeds that failed once, new seeds, one seed twice, and the planted bugs."""
    logging.disable(logging.CRITICAL)
    yield from _corpus(seed)
    yield _twice(seed)
    yield _alone(seed)
    yield _bugs()
    yield _fleets(tier, seed)


def run(seed: int) -> Outcome:
    """One seed in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="tanmeter-fleet-", dir=_folder()) as name:
        return Fleet(seed, Path(name) / "fleet").run()


def _corpus(seed: int) -> Iterator[Line]:
    seeds = tomllib.loads(CORPUS.read_text("utf-8"))["seed"]
    if seeds:
        outcomes = [run(entry["number"]) for entry in seeds]
        yield Line(PART, "seeds that failed once", seed, len(seeds), _broken(outcomes), found=_found(outcomes))


def _twice(seed: int) -> Line:
    """Two runs of one seed agree in every block, every fault and every step."""
    first, second = run(seed), run(seed)
    same = first.digest == second.digest
    told = () if same else (f"seed {seed}: {first.digest} and {second.digest}",)
    return Line(PART, "same seed, same digest", seed, 2, 0 if same else 1, figures=first.digest[:16], found=told)


def _alone(seed: int) -> Line:
    """Every planned fault in a short life of its own, often enough to happen."""
    outcomes = [_one_kind(seed * 1_000 + number, fault) for number, fault in enumerate(PLANNED)]
    fired = {str(fault): one.fired.get(fault, 0) for fault, one in zip(PLANNED, outcomes, strict=True)}
    years = sum(one.gateway_s for one in outcomes) / YEAR_S
    figures = f"{years:.2f} gateway-years"
    broken = _broken(outcomes)
    return Line(PART, "each fault alone", seed, len(outcomes), broken, fired, figures=figures, found=_found(outcomes))


def _one_kind(seed: int, fault: Fault) -> Outcome:
    days = ALONE_DAYS.get(fault, 1.0)
    with tempfile.TemporaryDirectory(prefix="tanmeter-fleet-", dir=_folder()) as name:
        shape = Shape(1, 1, days, Cadence("15m", "15m"), 21_600.0)
        fleet = Fleet(seed, Path(name) / "fleet", (fault,), shape)
        fleet.plan.kinds = frozenset((fault,))
        fleet.plan.intensity = OFTEN / (PER_DAY[fault] * days) if fault in PER_DAY else OFTEN
        return fleet.run()


def _bugs() -> Line:
    """Each planted bug is caught, and first by the invariant that is there for it, in lives in which it matters."""
    seed = BUGS_SEED
    caught = [planted.hunt(bug, seed, _folder()) for bug in planted.BUGS]
    missed = tuple(
        f"seed {one.seed}: {one.bug.told}: caught by {one.first or 'nothing'}, expected {one.bug.invariant}"
        for one in caught
        if not one.killed
    )
    fired = dict.fromkeys(sorted({bug.invariant for bug in planted.BUGS}, key=lambda name: int(name[1:])), 0)
    for one in caught:
        if one.killed:
            fired[one.first] += 1
    return Line(PART, "planted bugs caught by their invariant", seed, len(caught), len(missed), fired, found=missed)


def _fleets(tier: Tier, seed: int) -> Line:
    """Seed after seed, until so many gateway-years have been lived, or the time is up."""
    began, used = time.monotonic(), time.process_time()
    outcomes: list[Outcome] = []
    years = 0.0
    while years < WANTED[tier] and time.monotonic() - began < MOST_S[tier]:
        outcomes.append(run(seed * 1_000_000 + len(outcomes)))
        years += outcomes[-1].gateway_s / YEAR_S
    counted = {str(fault): sum(one.fired.get(fault, 0) for one in outcomes) for fault in PLANNED}
    fired = {fault: count for fault, count in counted.items() if count}
    minutes = (time.process_time() - used) / 60
    figures = (
        f"{years:.1f} gateway-years ({years / minutes:.2f} a minute of one core), {len(outcomes)} seeds,"
        f" {sum(one.blocks for one in outcomes):,} blocks, {sum(one.readings for one in outcomes):,} readings"
    )
    days = round(years * YEAR_S / 86_400)
    return Line(PART, "gateway-days", seed, days, _broken(outcomes), fired, figures=figures, found=_found(outcomes))


def _broken(outcomes: list[Outcome]) -> int:
    return sum(bool(one.found) for one in outcomes)


def _found(outcomes: list[Outcome]) -> tuple[str, ...]:
    """Of each seed that broke a promise the first that it broke."""
    told = [f"seed {one.seed}: {one.found[0][0]} {one.found[0][1]}" for one in outcomes if one.found]
    return tuple(told[:MOST_FOUND])


def _folder() -> Path | None:
    return FAST if FAST.is_dir() else None
