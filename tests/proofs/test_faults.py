"""The list of faults: complete, every entry with tests that exist or a reason, and a line says what came of them."""

import ast
from pathlib import Path

import pytest

from proofs import faults
from proofs.faults import LISTED, Fault

ROOT = Path(__file__).parents[2]


def test_every_fault_of_the_list_is_there_once() -> None:
    assert [fault.number for fault in faults.faults()] == list(range(1, LISTED + 1))


@pytest.mark.parametrize("fault", faults.faults(), ids=lambda fault: str(fault.number))
def test_a_fault_names_tests_that_exist_or_says_why_it_has_none(fault: Fault) -> None:
    assert fault.tests or fault.not_here
    for test in fault.tests:
        path, _, name = test.partition("::")
        written = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if hasattr(node, "name")}
        assert name in written, f"{path} has no {name}"


def test_what_is_cut_short_on_other_days_is_run_whole() -> None:
    whole = faults.deep()
    assert "tests/edge/test_robust.py::test_twenty_cuts_in_a_row_are_no_boot_loop_and_fill_nothing" in whole
    assert "tests/cloud/test_evidence.py::test_every_single_changed_byte_is_refused_with_its_file" in whole
    assert "tests/drivers/test_profiles.py::test_garbage_is_a_protocol_error" in whole
    assert "tests/drivers/test_columns.py::test_registers_of_every_type_are_the_same_both_ways" in whole
    assert faults.DEEP == {"TANMETER_TESTS": "full"}


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
