"""``python -m proofs [PART ...]``: run the parts of the proof, some at a time, and print one table.

A part is a module of this folder; what of it runs by itself is a function of (tier, seed) that yields lines. Exit code
1 when a line does not hold.
"""

import argparse
import gc
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from proofs import faults
from proofs.line import Line, Tier

RUNS = (
    *("faults:prove", "kills:prove_random", "power_cuts:prove_gateway", "faults:prove_deep:0", "link:prove"),
    *("simulation:prove_kinds", "power_cuts:prove_collector", "faults:prove_deep:1", "bytes:prove"),
    *("kills:prove_collector", "simulation:prove_years:0", "kills:prove_gateway", "simulation:prove_days"),
    *("simulation:prove_years:1", "power_cuts:prove_controls", "simulation:prove_years:2"),
    *("simulation:prove_bugs", "power_cuts:prove_prunes"),
)
"""What runs in a process of its own: the parts' modules and functions, and which share of one. The longest first, and
what waits before what only reckons; the last are short, or one core would wait for them.
"""
PARTS = ("simulation", "power_cuts", "kills", "link", "bytes", "faults")
"""In the order of the table."""
WORKERS = len(os.sched_getaffinity(0)) + 2
"""Much of the proof waits: for a disk, a meter, the end of a process."""
SELDOM = (50_000, 20, 50)
"""How seldom Python looks for cycles: it finds few, and a tenth of a long life went into looking."""
ROOT = Path(__file__).parent.parent
SEED = 20260101


def main() -> int:
    """Run, print, and say by the exit code whether all of it holds."""
    asked = _arguments()
    if asked.only:
        gc.set_threshold(*SELDOM)
        part, prove, *share = asked.only.split(":")
        for line in getattr(import_module(f"proofs.{part}"), prove)(Tier(asked.tier), asked.seed, *map(int, share)):
            print(line.to_json(), flush=True)
        print(f"{_processor_s():.0f} s of processor", file=sys.stderr)
        return 0
    began, parts = time.monotonic(), asked.parts or PARTS
    runs = chosen(parts)
    with ThreadPoolExecutor(asked.workers) as workers:
        found = dict(zip(runs, workers.map(lambda run: _lines(run, asked.tier, asked.seed), runs), strict=True))
    told = [line for of_run in faults.joined(found).values() for line in of_run]
    lines = sorted(told, key=lambda line: PARTS.index(line.part))
    print(_head(asked.tier, asked.seed, time.monotonic() - began))
    print("\n".join(table(lines)))
    failed = [line for line in lines if line.faults]
    for line in failed:
        print(f"\nFAILED {line.part}: {line.name} (seed {line.seed})")
        print("\n".join(f"  {fault}" for fault in line.faults))
    print(f"\n{len(lines) - len(failed)} of {len(lines)} lines hold")
    return 1 if failed else 0


def chosen(parts: Sequence[str]) -> list[str]:
    """The runs of these parts, and those of which lines are tests of a fault where the faults are among them."""
    also = faults.needed() if faults.PART in parts else frozenset[str]()
    return [run for run in RUNS if run.partition(":")[0] in parts or run in also]


def table(lines: Sequence[Line]) -> list[str]:
    """The lines as a table of Markdown."""
    rows = [
        "| part | tried | how often | violations | faults fired | figures | seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        fired = ", ".join(f"{fault} {count:,}" for fault, count in line.fired.items())
        verdict = f"{line.violations:,} (a control: must not be 0)" if line.control else f"{line.violations:,}"
        name = f"**{line.name}**" if line.faults else line.name
        told = "; ".join(filter(None, (line.figures, line.not_here and f"not here: {line.not_here}")))
        rows.append(f"| {line.part} | {name} | {line.tried:,} | {verdict} | {fired} | {told} | {line.seed} |")
    return rows


def _lines(run: str, tier: str, seed: int) -> list[Line]:
    """The lines of a run, in a process of its own; one that breaks is a line that fails."""
    began = time.monotonic()
    command = [sys.executable, "-m", "proofs", "--only", run, "--tier", tier, "--seed", str(seed)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [Line.from_json(text) for text in ran.stdout.splitlines() if text.startswith("{")]
    if ran.returncode or not lines:
        told = tuple(ran.stderr.splitlines()[-12:])
        lines.append(Line(run.partition(":")[0], f"{run} ended by itself", seed, 1, 1, found=told))
    *_, last = ("", *ran.stderr.splitlines())
    print(f"{run}: {len(lines)} lines in {time.monotonic() - began:.0f} s, {last}", file=sys.stderr, flush=True)
    return lines


def _head(tier: str, seed: int, took_s: float) -> str:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    where = f"Python {platform.python_version()}, {platform.machine()}, Linux {platform.release()}"
    took = f"{took_s:.0f} s, {_processor_s():.0f} s of processor"
    return f"tier {tier}, seed {seed}, commit {commit or '?'}{' (changed)' if changed else ''}, {where}, {took}\n"


def _processor_s() -> float:
    """What this process and those that it has waited for have used."""
    return sum(os.times()[:4])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tier", choices=[str(tier) for tier in Tier], default=str(Tier.PULL))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=WORKERS, help="how many runs at a time")
    parser.add_argument("--only", choices=RUNS, help="one run, its lines as JSON")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"found {', '.join(sorted(unknown))}, expected {', '.join(PARTS)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
