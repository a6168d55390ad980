"""The faults: every one of the list, with the tests that inject it here and what came of them."""

import ast
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from proofs.line import Line, Tier

PART = "faults"
ROOT = Path(__file__).parent.parent
LISTED = 64
DEEP = {"TANMETER_TESTS": "full"}
"""The tests go to their full depth here, and only here (``tests/conftest.py``)."""
DEEP_SHARES = 2
"""Into how many runs the tests that belong to no fault are dealt: by whole files, so that each file is loaded once."""
BESIDE = 2
"""Into how many processes those of the faults are dealt, by whole files too, side by side: much of them waits."""
MOST_FOUND = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the list: what is promised when it strikes, and which tests inject it: ``path::name``, all parameters
    of a test together. ``lines``: what else of the proof is such a test, ``run::name of the line``. ``not_here``: why
    it, or a part of it, cannot be injected on a plain machine.
    """

    number: int
    name: str
    promise: str
    tests: tuple[str, ...] = ()
    not_here: str = ""
    lines: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name of its line."""
        return f"{self.number}. {self.name}: {self.promise}"


def faults() -> list[Fault]:
    """The list, in its order."""
    held = tomllib.loads((Path(__file__).parent / "faults.toml").read_text("utf-8"))["fault"]
    return [Fault(**entry | {name: tuple(entry.get(name, ())) for name in ("tests", "lines")}) for entry in held]


def prove(tier: Tier, seed: int) -> Iterator[Line]:
    """A line for every fault; their tests are run once, together. ``joined`` puts in what other runs tell."""
    listed = faults()
    with ThreadPoolExecutor(BESIDE) as beside:
        shares = beside.map(run, [_dealt(_of(listed), share, BESIDE) for share in range(BESIDE)])
        outcomes = {test: cases for share in shares for test, cases in share.items()}
    for fault in listed:
        yield line(fault, outcomes, seed)


def prove_deep(tier: Tier, seed: int, share: int) -> Iterator[Line]:
    """A share of what other tests cut short on other days."""
    name = f"other tests that go to their full depth only here, {share + 1} of {DEEP_SHARES}"
    whole = dealt(share)
    yield _line(name, whole, run(whole), seed)


def dealt(share: int) -> list[str]:
    """Every so manyth file of the tests that go deep and are no fault's; the tests of one file stay together."""
    return _dealt({*deep()} - _of(faults()), share, DEEP_SHARES)


def _dealt(tests: Collection[str], share: int, shares: int) -> list[str]:
    files = sorted({test.partition("::")[0] for test in tests})[share::shares]
    return [test for test in sorted(tests) if test.partition("::")[0] in files]


def needed() -> frozenset[str]:
    """The runs of which lines are tests of faults."""
    return frozenset(named.partition("::")[0] for fault in faults() for named in fault.lines)


def joined(lines: Mapping[str, Sequence[Line]]) -> dict[str, list[Line]]:
    """The lines of all runs, with those of other runs that are tests of a fault put into the fault's own: each must be
    there, have tried something, and hold.
    """
    listed = {fault.title: fault for fault in faults() if fault.lines}
    return {
        run: [_with(line, listed[line.name], lines) if line.name in listed else line for line in of_run]
        for run, of_run in lines.items()
    }


def _with(line: Line, fault: Fault, lines: Mapping[str, Sequence[Line]]) -> Line:
    broken, tried, told = list[str](), 0, list[str]()
    for named in fault.lines:
        run, _, name = named.partition("::")
        found = [other for other in lines.get(run, ()) if other.name == name]
        tried += sum(other.tried for other in found)
        told.append(f"the line `{name}`")
        if not found or any(other.faults or not other.tried for other in found):
            broken.append(f"{named}: {'does not hold' if found else 'did not run'}")
    return replace(
        line,
        tried=line.tried + tried,
        violations=line.violations + len(broken),
        figures=", ".join(filter(None, (line.figures, *told))),
        found=(*line.found, *broken),
    )


def _of(listed: Sequence[Fault]) -> set[str]:
    return {test for fault in listed for test in fault.tests}


def deep() -> tuple[str, ...]:
    """Every test that goes less deep on other days: it has ``deep`` of ``tests/conftest.py``, or it is a property that
    Hypothesis tries examples of.
    """
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "deep" in text or "given(" in text:
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
            named = [node.name for node in nodes if _cut_short(node)]
            found += [f"{path.relative_to(ROOT)}::{name}" for name in named if name.startswith("test_")]
    return tuple(found)


def _cut_short(test: ast.FunctionDef) -> bool:
    drawn = [node.func.id for node in ast.walk(test) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return "given" in drawn or "deep" in [argument.arg for argument in test.args.args]


def line(fault: Fault, outcomes: Mapping[str, list[str]], seed: int) -> Line:
    """What came of a fault: each test counts with all of its parameters; one that did not run is a violation."""
    return _line(fault.title, fault.tests, outcomes, seed, fault.not_here)


def _line(name: str, tests: Sequence[str], outcomes: Mapping[str, list[str]], seed: int, not_here: str = "") -> Line:
    broken = [f"{test}: {outcome}" for test in tests for outcome in outcomes.get(test, ["did not run"]) if outcome]
    tried = sum(max(1, len(outcomes.get(test, []))) for test in tests)
    names = ", ".join(f"`{test.rpartition('::')[2]}`" for test in tests)
    found = tuple(broken[:MOST_FOUND])
    return Line(PART, name, seed, tried, len(broken), figures=names, found=found, not_here=not_here)


def run(tests: list[str]) -> dict[str, list[str]]:
    """The outcome of each case of each test: empty when it passed, else what pytest says."""
    if not tests:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        ended = subprocess.run([*command, *tests], cwd=ROOT, env={**os.environ, **DEEP}, capture_output=True, text=True)
        if not report.exists():
            raise SystemExit(ended.stdout[-2000:] + ended.stderr[-2000:])
        return _outcomes(ElementTree.parse(report).getroot())


def _outcomes(report: ElementTree.Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for case in report.iter("testcase"):
        path = case.get("classname", "").replace(".", "/") + ".py"
        test = f"{path}::{case.get('name', '').partition('[')[0]}"
        trouble = [child.get("message", child.tag) or child.tag for child in case if child.tag in _TROUBLE]
        found.setdefault(test, []).append(f"{case.get('name')}: {trouble[0][:200]}" if trouble else "")
    return found


_TROUBLE = frozenset({"failure", "error", "skipped"})
"""A test that was skipped has injected nothing."""
