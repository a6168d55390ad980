"""Simulation: gateway-years of fleets under every fault, one digest a seed, and the bugs that must be caught."""

import logging
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random

from cloud import enrolments
from cloud.signatures import Sodium
from edge import scrub, soundness
from proofs import planted, planted_cloud, planted_edge
from proofs.line import Line, Tier
from protocols.record.cose import PublicKey
from simulator.fleet.faults import PER_DAY, PLANNED, Fault
from simulator.fleet.fleet import YEAR_S, Fleet, Outcome, Shape
from simulator.fleet.node import Cadence

PART = "simulation"
CORPUS = Path(__file__).with_name("seeds.toml")
FAST = Path("/dev/shm")
"""Files in memory: the disk's own faults are those of the seed. The parts power_cuts and kills use the real one."""
WANTED = {Tier.PULL: 20.0, Tier.NIGHTLY: 2_000.0, Tier.RELEASE: 20_000.0}
"""Gateway-years of long lives, over all shares."""
YEARS_SHARES = 3
"""Into how many runs they are dealt."""
DENSE = {Tier.PULL: 5, Tier.NIGHTLY: 800, Tier.RELEASE: 8_000}
"""Lives of days, with many faults a day."""
DURABLE_EVERY = 5
"""Of those every so many on the disk of the machine, each commit synced."""
MOST_FOUND = 5
OFTEN = 8.0
"""Times that a fault is to be expected in a life of its own; of messages, so many times their ordinary chance."""
ALONE_DAYS = {Fault.COLLECTOR_OLD: 4.0, Fault.LYING_DISK: 2.0, Fault.BIT_ROT: 2.0}
BUGS = planted_edge.BUGS + planted_cloud.BUGS
BUGS_SEED = 100
"""Its lives and those of the next seeds hold the coincidences that the rarer of the planted bugs need."""
EVERY = frozenset(PLANNED)
TWICE = Shape(2, 1, 2.0, Cadence("15m", "60m"))


def _begin() -> None:
    """For as long as this process lives nothing is logged, no signature that holds is checked twice, nor a stored block
    that is whole taken apart: equal bytes, equal finding. A block is opened by its gateway, which reads it at each of
    its attempts to deliver it, by the collector, by the audit and by us. A code is hashed in no time: nobody guesses.
    """
    logging.disable(logging.CRITICAL)
    known = ((PublicKey, "verify"), (Sodium, "verify"), (scrub, "check"), (soundness, "check_frame"))
    for owner, name in known:
        setattr(owner, name, lru_cache(maxsize=8192)(getattr(owner, name)))
    setattr(enrolments, "_hash", lambda secret, salt: sha256(salt + secret.encode()).digest())  # noqa: B010 - of a file


def prove_kinds(tier: Tier, seed: int) -> Iterator[Line]:
    """The corpus of seeds that failed once, one seed twice, and every fault alone."""
    _begin()
    yield from corpus(seed, CORPUS.read_text("utf-8"))
    yield _twice(seed)
    yield _alone(seed)


def prove_days(tier: Tier, seed: int) -> Iterator[Line]:
    """New seeds: lives of days."""
    _begin()
    yield _dense(tier, seed)


def prove_years(tier: Tier, seed: int, share: int) -> Iterator[Line]:
    """New seeds: a share of the lives of years, which are dealt out one after another."""
    _begin()
    yield _years(tier, seed, share)


def prove_bugs(tier: Tier, seed: int) -> Iterator[Line]:
    """The planted bugs, on every tier all of them."""
    _begin()
    yield from _bugs()


def run(seed: int, shape: Shape | None = None, kinds: frozenset[Fault] | None = None) -> Outcome:
    """One seed in a folder of its own. ``kinds``: its faults, at their own rates; else those that the seed draws."""
    durable = shape is not None and shape.durable
    with tempfile.TemporaryDirectory(prefix="tanmeter-fleet-", dir=None if durable else _folder()) as name:
        fleet = Fleet(seed, Path(name) / "fleet", shape=shape)
        if kinds is not None:
            fleet.plan.kinds, fleet.plan.intensity = kinds, 1.0
        return fleet.run()


def corpus(seed: int, source: str) -> Iterator[Line]:
    """The seeds of a file, each lived again as it was found, with why it is kept where it breaks a promise again."""
    kept = [Kept(**entry) for entry in tomllib.loads(source).get("seed", [])]
    if kept:
        outcomes = [LIVES[each.life](each.number) for each in kept]
        why = {one.seed: f", kept for this: {each.why}" for each, one in zip(kept, outcomes, strict=True)}
        found = tuple(_told(one) + why[one.seed] for one in outcomes if one.found)
        yield Line(PART, "seeds that failed once", seed, len(kept), _broken(outcomes), found=found[:MOST_FOUND])


def day_life(at: int) -> Outcome:
    """A life of days; one in so many on the disk of the machine."""
    shape = Shape.of(Random(f"dense/{at}"))
    return run(at, replace(shape, durable=at % DURABLE_EVERY == DURABLE_EVERY - 1))


def year_life(at: int) -> Outcome:
    """A life of years, under all faults as often as they come, or some of them oftener."""
    return run(at, Shape.long(Random(f"long/{at}")), EVERY if at % 2 else None)


LIVES = {"days": day_life, "years": year_life}


@dataclass(frozen=True, slots=True)
class Kept:
    """A seed that broke a promise once: the number that was told, whether of a life of days or of years, and what it
    showed.
    """

    number: int
    life: str
    why: str


def _twice(seed: int) -> Line:
    """Two runs of one seed agree in every block, every fault, every figure and every step."""
    first, second = run(seed, TWICE, EVERY), run(seed, TWICE, EVERY)
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
        shape = Shape(1, 1, days, Cadence("15m", "60m" if fault in PER_DAY else "15m"), 21_600.0, 3600.0)
        fleet = Fleet(seed, Path(name) / "fleet", (fault,), shape)
        fleet.plan.kinds = frozenset((fault,))
        fleet.plan.intensity = OFTEN / (PER_DAY[fault] * days) if fault in PER_DAY else OFTEN
        return fleet.run()


def _bugs() -> Iterator[Line]:
    """Each planted bug is caught by the invariant that is there for it; of each invariant one by it alone."""
    seed = BUGS_SEED
    caught = [planted.hunt(bug, seed, _folder()) for bug in BUGS]
    missed = tuple(
        f"seed {one.seed}: {one.bug.told}: caught by {', '.join(one.by) or 'nobody'}, expected {one.bug.invariant}"
        for one in caught
        if not one.killed
    )
    killed = {name: sum(one.killed for one in caught if one.bug.invariant == name) for name in planted.INVARIANTS}
    yield Line(PART, "planted bugs caught by their invariant", seed, len(caught), len(missed), killed, found=missed)
    alone = {name: sum(one.alone for one in caught if one.bug.invariant == name) for name in planted.INVARIANTS}
    blind = tuple(f"no planted bug is caught by {name} alone" for name, count in alone.items() if not count)
    told = "planted bugs that only this invariant catches"
    yield Line(PART, told, seed, sum(alone.values()), len(blind), alone, found=blind)


def _dense(tier: Tier, seed: int) -> Line:
    """Lives of days under many faults, some on a real disk."""
    outcomes = [day_life(seed * 1_000_000 + number) for number in range(DENSE[tier])]
    return _line("gateway-days under many faults", seed, outcomes, 86_400.0)


def _years(tier: Tier, seed: int, share: int) -> Line:
    """A share of the lives of years, under all faults as often as they come or some of them oftener."""
    began = time.process_time()
    lives = list(_long_lives(seed, WANTED[tier]))[share::YEARS_SHARES]
    outcomes = [year_life(at) for at in lives]
    years = sum(one.gateway_s for one in outcomes) / YEAR_S
    minutes = (time.process_time() - began) / 60
    line = _line(f"gateway-years of long lives, {share + 1} of {YEARS_SHARES}", seed, outcomes, YEAR_S)
    return replace(
        line, figures=f"{years:.1f} gateway-years, {years / minutes:.1f} a minute of one core, {line.figures}"
    )


def _long_lives(seed: int, wanted: float) -> Iterator[int]:
    """The seeds of lives that together are so many gateway-years."""
    at, years = seed * 1_000_000 + 500_000, 0.0
    while years < wanted:
        yield at
        at, years = at + 1, years + Shape.long(Random(f"long/{at}")).gateway_s / YEAR_S


def _line(name: str, seed: int, outcomes: list[Outcome], unit_s: float) -> Line:
    """What came of some lives; the faults that happened in them, for each has a life of its own besides."""
    counted = {str(fault): sum(one.fired.get(fault, 0) for one in outcomes) for fault in PLANNED}
    fired = {fault: count for fault, count in counted.items() if count}
    refused = sum(one.checked.get("I5", 0) for one in outcomes)
    fired["altered blocks refused"] = refused
    figures = (
        f"{len(outcomes)} seeds, {sum(one.blocks for one in outcomes):,} blocks,"
        f" {sum(one.readings for one in outcomes):,} readings"
    )
    tried = round(sum(one.gateway_s for one in outcomes) / unit_s)
    return Line(PART, name, seed, tried, _broken(outcomes), fired, figures=figures, found=_found(outcomes))


def _broken(outcomes: list[Outcome]) -> int:
    return sum(bool(one.found) for one in outcomes)


def _found(outcomes: list[Outcome]) -> tuple[str, ...]:
    """Of each seed that broke a promise the first that it broke."""
    return tuple([_told(one) for one in outcomes if one.found][:MOST_FOUND])


def _told(one: Outcome) -> str:
    return f"seed {one.seed}: {one.found[0][0]} {one.found[0][1]}"


def _folder() -> Path | None:
    return FAST if FAST.is_dir() else None
