"""The list of faults: complete, every entry with tests that exist or a reason, and a line says what came of them."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from proofs import faults
from proofs.__main__ import RUNS, chosen
from proofs.faults import LISTED, Fault
from proofs.line import Line

ROOT = Path(__file__).parents[2]


def test_every_fault_of_the_list_is_there_once() -> None:
    assert [fault.number for fault in faults.faults()] == list(range(1, LISTED + 1))


def test_the_page_of_the_proof_has_every_fault_with_its_promise() -> None:
    page = (ROOT / "docs" / "proof.md").read_text("utf-8")
    rows = [f"| {fault.number} | {fault.name} | {fault.promise} |" for fault in faults.faults()]
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("fault", faults.faults(), ids=lambda fault: str(fault.number))
def test_a_fault_names_tests_that_exist_or_says_why_it_has_none(fault: Fault) -> None:
    assert fault.tests or fault.not_here
    for test in fault.tests:
        path, _, name = test.partition("::")
        written = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if hasattr(node, "name")}
        assert name in written, f"{path} has no {name}"


def test_a_line_that_is_a_test_of_a_fault_is_one_that_a_run_yields() -> None:
    assert faults.needed() <= set(RUNS)
    assert faults.needed() < set(chosen(["faults"])) and chosen(["link"]) == ["link:prove"]
    sources = [ast.walk(ast.parse(path.read_text("utf-8"))) for path in (ROOT / "proofs").glob("*.py")]
    written = [node.value for nodes in sources for node in nodes if isinstance(node, ast.Constant)]
    names = tuple(text for text in written if isinstance(text, str) and len(text) > 10)
    for fault in faults.faults():
        assert all(named.endswith(names) and fault.tests for named in fault.lines), fault


def test_a_fault_fails_with_the_line_that_is_its_test_or_without_it() -> None:
    (fault,) = [fault for fault in faults.faults() if fault.number == 8]
    (named,) = fault.lines
    run, _, name = named.partition("::")
    own = faults.line(fault, {test: [""] for test in fault.tests}, 7)

    def told(*others: Line) -> Line:
        (line,) = faults.joined({"faults:prove": [own], run: others})["faults:prove"]
        return line

    held = Line("kills", name, 7, 300, 0)
    assert told(held).faults == () and told(held).tried == own.tried + 300 and name in told(held).figures
    assert told(replace(held, violations=1)).faults and told(replace(held, tried=0, not_here="no strace")).faults
    assert "did not run" in told().faults[-1] and "does not hold" in told(replace(held, control=True)).faults[-1]


def test_what_is_cut_short_on_other_days_is_run_whole() -> None:
    whole = faults.deep()
    assert "tests/edge/test_robust.py::test_twenty_cuts_in_a_row_are_no_boot_loop_and_fill_nothing" in whole
    assert "tests/cloud/evidence/test_changed.py::test_every_single_changed_byte_is_refused_with_its_file" in whole
    assert "tests/drivers/test_profiles.py::test_garbage_is_a_protocol_error" in whole
    assert "tests/drivers/test_columns.py::test_registers_of_every_type_are_the_same_both_ways" in whole
    assert faults.DEEP == {"TANMETER_TESTS": "full"}
    named = {test for fault in faults.faults() for test in fault.tests}
    shares = [test for share in range(faults.DEEP_SHARES) for test in faults.dealt(share)]
    assert sorted(shares) == sorted({*whole} - named), "each is dealt to one run"


def test_a_test_that_fails_or_does_not_run_is_told() -> None:
    fault = Fault(1, "name", "promise", ("a.py::test_x", "a.py::test_y"))
    held = faults.line(fault, {"a.py::test_x": ["", ""], "a.py::test_y": [""]}, 7)
    assert (held.tried, held.violations, held.faults) == (3, 0, ())
    broken = faults.line(fault, {"a.py::test_x": ["", "test_x[2]: it broke"]}, 7)
    assert broken.violations == 2 and "did not run" in broken.found[1]
    assert broken.faults


def test_outcomes_are_those_of_the_tests(tmp_path: Path) -> None:
    module = tmp_path / "test_made.py"
    module.write_text(
        "import pytest\ndef test_good(): pass\ndef test_bad(): assert 1 == 2\ndef test_not(): pytest.skip('no')\n"
    )
    found = faults.run([str(module)])
    outcomes = {name.partition("::")[2]: cases for name, cases in found.items()}
    assert outcomes["test_good"] == [""]
    assert "1 == 2" in outcomes["test_bad"][0] and "no" in outcomes["test_not"][0]
