"""``tanmeter bus plan``: fields in, requests and bus time out; whatever is wrong is named by its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protocols.errors import ConfigError
from provisioning.bus_commands import app

RUN = CliRunner()


def run(folder: Path, document: Any, *options: str, source: bytes | None = None) -> str:
    path = folder / "fields.json"
    path.write_bytes(source if source is not None else json.dumps(document).encode())
    result = RUN.invoke(app, ["plan", str(path), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def planned(folder: Path, document: Any, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(folder, document, "--json", *options))
    return found


def test_the_plan_is_the_exact_minimum(tmp_path: Path) -> None:
    fields = {"fields": [[0, 2], [20, 2], [41, 2]]}
    found = planned(tmp_path, fields, "--baud", "9600", "--turnaround-ms", "20", "--max-registers", "125")
    assert found["requests"] == [[0, 22], [41, 2]]  # gaps of 18 and 19: the break-even at 9600 and 20 ms is 18
    assert found["bus_ms"] == pytest.approx((13 + 44 + 13 + 4 + 4 * 3.5) * 11 / 9.6 + 40, abs=1e-5)


def test_the_order_and_the_overlap_of_fields_do_not_matter(tmp_path: Path) -> None:
    assert planned(tmp_path, {"fields": [[40, 2], [0, 4], [2, 4], [40, 2]]})["requests"] == [[0, 6], [40, 2]]
    assert planned(tmp_path, {"fields": []}) == {"requests": [], "bus_ms": 0.0}
    assert planned(tmp_path, {"fields": [[65535, 1], [0, 1]]})["requests"] == [[0, 1], [65535, 1]]


def test_limits_and_forbidden_registers_hold(tmp_path: Path) -> None:
    fields = [[0, 2], [4, 2], [8, 2]]
    assert planned(tmp_path, {"fields": fields})["requests"] == [[0, 10]]
    assert planned(tmp_path, {"fields": fields}, "--max-registers", "6")["requests"] == [[0, 2], [4, 6]]
    assert planned(tmp_path, {"fields": fields, "forbidden": [[6, 7]]})["requests"] == [[0, 6], [8, 2]]
    assert planned(tmp_path, {"fields": fields, "readable_gaps": False})["requests"] == fields
    held = {"fields": fields, "readable_gaps": False, "readable": [[2, 3]]}
    assert planned(tmp_path, held)["requests"] == [[0, 6], [8, 2]]


def test_line_settings_count(tmp_path: Path) -> None:
    one = {"fields": [[0, 1]]}
    assert planned(tmp_path, one, "--parity", "N")["bus_ms"] == pytest.approx((15 + 7) * 10 / 9.6 + 20, abs=1e-5)
    assert planned(tmp_path, one, "--stopbits", "2")["bus_ms"] == pytest.approx((15 + 7) * 12 / 9.6 + 20, abs=1e-5)
    fast = planned(tmp_path, one, "--baud", "38400", "--turnaround-ms", "2.5")
    assert fast["bus_ms"] == pytest.approx(15 * 11 / 38.4 + 3.5 + 2.5, abs=1e-5)


def test_a_person_gets_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANMETER_LANG", "en")
    lines = run(tmp_path, {"fields": [[100, 2], [0, 2]]}).splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["0", "2"], ["100", "2"]]
    assert lines[-1].startswith("2 fields in 2 requests")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (b"", "fields.json"),
        (b"\xff", "fields.json"),
        (b"[" * 100_000, "fields.json"),
        (b"[[0, 1]]", "fields.json"),
        (b"{}", "no key 'fields'"),
        (b'{"fields": 7}', "fields.json: fields"),
        (b'{"fields": [[0]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 1, 2]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 1], ["1", 1]]}', "fields.json: fields[1][0]"),
        (b'{"fields": [[0, 1], [1.5, 1]]}', "fields.json: fields[1][0]"),
        (b'{"fields": [[true, 1]]}', "fields.json: fields[0][0]"),
        (b'{"fields": [[NaN, 1]]}', "fields.json: fields[0][0]"),
        (b'{"fields": [[-1, 1]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 0]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 126]]}', "fields.json: fields[0]"),
        (b'{"fields": [[65534, 4]]}', "fields.json: fields[0]"),
        (b'{"fields": [[65536, 1]]}', "fields.json: fields[0]"),
        (b'{"fields": [[99999999999999999999999, 1]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 1]], "field": []}', "did you mean 'fields'"),
        (b'{"fields": [[0, 1]], "fields": []}', "a second time"),
        (b'{"fields": [[0, 4]], "forbidden": [[2, 2]]}', "fields.json: fields[0]"),
        (b'{"fields": [[0, 4]], "forbidden": [[9, 2]]}', "fields.json: forbidden[0]"),
        (b'{"fields": [[0, 4]], "readable": [[0, 65536]]}', "fields.json: readable[0]"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(tmp_path: Path, source: bytes, place: str) -> None:
    with pytest.raises(ConfigError) as error:
        run(tmp_path, None, "--json", source=source)
    assert place in str(error.value)


def test_a_file_that_is_not_there_and_a_time_that_is_none(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["plan", str(tmp_path / "none.json")])
    assert isinstance(result.exception, ConfigError) and "none.json" in str(result.exception)
    assert RUN.invoke(app, ["plan", "-", "--turnaround-ms", "nan"], input="{}").exit_code == 2
    assert RUN.invoke(app, ["plan", "-", "--json"], input='{"fields": [[1, 1]]}').exit_code == 0
    assert RUN.invoke(app, ["plan", "-", "--baud", "0"], input="{}").exit_code == 2
