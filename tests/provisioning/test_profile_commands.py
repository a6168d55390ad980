"""tanmeter profile: what a person types, and what comes back."""

import csv
import json
import os
from pathlib import Path

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from drivers import builtin, profile_file
from protocols.errors import ConfigError
from provisioning import workbook
from provisioning.profile_commands import app

IDS = builtin.builtin_ids()


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANMETER_LANG", "en")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_names_every_profile_with_what_is_known_of_it() -> None:
    listed = json.loads(run("list", "--json"))["profiles"]
    assert tuple(entry["id"] for entry in listed) == IDS
    assert {"protocol", "medium", "points", "verified", "title", "products", "sha256"} <= set(listed[0])
    text = run("list")
    assert all(name in text for name in IDS)


def test_show_tells_points_link_and_source() -> None:
    text = run("show", "eastron-sdm630")
    assert "voltage_a 40..300" in text
    assert "mbmd" in text and "energy_import" in text and "kWh" in text and "at most 50 registers" in text
    shown = json.loads(run("show", "eastron-sdm630", "--json"))
    assert shown["profile"]["id"] == "eastron-sdm630" and len(shown["sha256"]) == 64


def test_test_reads_the_proofs_and_counts_the_bus_time() -> None:
    results = json.loads(run("test", *IDS, "--json"))["profiles"]
    assert [result["id"] for result in results] == list(IDS) and all(result["ok"] for result in results)
    sdm = next(result for result in results if result["id"] == "eastron-sdm630")
    unasked = {result["id"] for result in results if result["bus_ms"] is None}
    assert unasked == {name for name in IDS if name.startswith("hj212")}
    assert sdm["bus_ms"] == pytest.approx(sum(one["bus_ms"] for one in sdm["requests"]), abs=0.01)
    assert "good" in run("test", "eastron-sdm630")


def test_a_profile_that_is_not_known_and_one_that_is_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'acme', expected one that `tanmeter profile list` shows"):
        run("show", "acme")
    bad = tmp_path / "acme.toml"
    bad.write_bytes(builtin.builtin("eastron-sdm630").replace(b'voltage_a = "230.5"', b'voltage_a = "230.6"'))
    with pytest.raises(ConfigError, match=r"proof\[0\].expect"):
        run("test", bad)


def test_profiles_of_ones_own_come_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_bytes(builtin.builtin("acrel-adl400").replace(b'"acrel-adl400"', b'"acme"'))
    assert "acme" in run("list", "--profile-dir", tmp_path)
    assert json.loads(run("show", "acme", "--profile-dir", tmp_path, "--json"))["profile"]["id"] == "acme"


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
@pytest.mark.parametrize("name", IDS)
def test_a_profile_through_a_file_is_the_same_profile(tmp_path: Path, name: str, suffix: str) -> None:
    run("sheet", name, "--out", tmp_path / f"s{suffix}")
    run("new", "--from", tmp_path / f"s{suffix}", "--out", tmp_path / "s.toml")
    made = profile_file.load((tmp_path / "s.toml").read_bytes())
    assert made == profile_file.load(builtin.builtin(name))


def test_the_workbook_helps_whoever_fills_it_in(tmp_path: Path) -> None:
    run("sheet", "eastron-sdm630", "--out", tmp_path / "s.xlsx")
    points = load_workbook(tmp_path / "s.xlsx")["points"]
    offered = {rule.formula1 for rule in points.data_validations.dataValidation}
    assert any("f32" in text and "u16" in text for text in offered) and any("ABCD" in text for text in offered)
    model = load_workbook(tmp_path / "s.xlsx")["model"]
    assert {"modbus,dlt645" in rule.formula1 for rule in model.data_validations.dataValidation} == {True, False}
    unfilled = {row[0].value: row[2].value for row in model.iter_rows(min_row=2) if not row[1].value}
    assert unfilled["link.forbidden"] is None and unfilled["link.readable_gaps"] == "no" and unfilled["period"] == "60s"
    assert points["A1"].value == "id" and points.freeze_panes == "B2"


def test_headings_are_understood_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANMETER_LANG", "zh")
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.xlsx")
    book = load_workbook(tmp_path / "s.xlsx")
    headings = [str(one.value) for one in book["测点"][1]]
    assert "测点名\nid" in headings
    for number, heading in enumerate(headings, 1):
        book["测点"].cell(1, number).value = heading.split("\n")[0]
    book.save(tmp_path / "zh.xlsx")
    run("new", "--from", tmp_path / "zh.xlsx", "--out", tmp_path / "s.toml")
    assert profile_file.load((tmp_path / "s.toml").read_bytes()) == profile_file.load(builtin.builtin("acrel-adl400"))


def test_a_wrong_cell_of_a_workbook_is_named(tmp_path: Path) -> None:
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.xlsx")
    book = load_workbook(tmp_path / "s.xlsx")
    page = book["points"]
    scale = next(one.column for one in page[1] if str(one.value).endswith("scale"))
    page.cell(5, scale).value = "one tenth"
    book.save(tmp_path / "bad.xlsx")
    letter = page.cell(5, scale).column_letter
    with pytest.raises(ConfigError, match=rf"sheet points, row 5, column {letter} \(scale\): found 'one tenth'"):
        run("new", "--from", tmp_path / "bad.xlsx")


def test_a_csv_as_a_chinese_excel_writes_it_is_read(tmp_path: Path) -> None:
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text("utf-8-sig")
    (tmp_path / "gbk.csv").write_bytes(text.encode("gb18030"))
    assert "安科瑞" in run("new", "--from", tmp_path / "gbk.csv")


def test_a_model_that_is_none_has_those_named_that_are_written_alike() -> None:
    with pytest.raises(ConfigError, match=r"expected one of eastron-sdm230, .*or another that `tanmeter profile list`"):
        run("show", "eastron-sdm231")
    with pytest.raises(ConfigError, match="expected one that `tanmeter profile list` shows"):
        run("show", "七号表")


def test_a_unit_in_which_nobody_counts_the_quantity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(builtin.builtin("acrel-adl400").decode().replace('unit = "kWh"', 'unit = "度"'))
    with pytest.raises(ConfigError, match=r"\(energy_total\): found '度', expected one of kWh, MWh"):
        run("test", tmp_path / "acme.toml")
    run("sheet", tmp_path / "acme.toml", "--out", tmp_path / "s.csv")
    with pytest.raises(ConfigError, match="found '度'"):
        run("new", "--from", tmp_path / "s.csv")


@pytest.mark.parametrize("claimed", ["simulator", "bench", "field"])
@pytest.mark.parametrize(("ours", "theirs"), [("#id,acrel-adl400", "#id,acme"), ("frequency", "frequency_grid")])
def test_what_reads_otherwise_than_ours_is_written_as_doc_only(
    tmp_path: Path, ours: str, theirs: str, claimed: str
) -> None:
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.csv")
    text = (
        (tmp_path / "s.csv").read_text("utf-8-sig").replace("#source.verified,simulator", f"#source.verified,{claimed}")
    )
    (tmp_path / "s.csv").write_text(text.replace(ours, theirs), "utf-8")
    told = run("new", "--from", tmp_path / "s.csv", "--out", tmp_path / "s.toml")
    assert f"verified = {claimed}" in told and "written as doc-only" in told
    assert profile_file.load((tmp_path / "s.toml").read_bytes()).source.verified == "doc-only"
    printed = CliRunner().invoke(app, ["new", "--from", str(tmp_path / "s.csv")])
    assert printed.stdout == (tmp_path / "s.toml").read_text("utf-8") and "doc-only" in printed.stderr


def test_a_profile_that_reads_as_ours_keeps_how_far_ours_was_checked(tmp_path: Path) -> None:
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text("utf-8-sig").replace("#link.turnaround_ms,50", "#link.turnaround_ms,80")
    (tmp_path / "s.csv").write_text(text, "utf-8")
    assert "doc-only" not in run("new", "--from", tmp_path / "s.csv", "--out", tmp_path / "s.toml")
    made = profile_file.load((tmp_path / "s.toml").read_bytes())
    assert (made.source.verified, made.link.turnaround_ms) == ("simulator", 80)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_with_other_separators_is_read(tmp_path: Path, separator: str) -> None:
    run("sheet", "acrel-adl400", "--out", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(encoding="utf-8-sig", newline="") as held:
        rows = list(csv.reader(held))
    with (tmp_path / "other.csv").open("w", encoding="utf-8-sig", newline="") as held:
        csv.writer(held, delimiter=separator).writerows(rows)
    run("new", "--from", tmp_path / "other.csv", "--out", tmp_path / "s.toml")
    assert profile_file.load((tmp_path / "s.toml").read_bytes()) == profile_file.load(builtin.builtin("acrel-adl400"))


def test_a_sheet_without_proofs_and_titles_gets_them(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "#id,acme\n#title.zh,表\n#title.en,meter\n#protocol,modbus\n#medium,electricity\n"
        "#source.doc,manual\n#source.verified,doc-only\n\n"
        "id,unit,kind,fc,address,type,modulus,#remark\nenergy_import,kWh,counter,3,0,u32,4294967296,as on the label\n"
    )
    run("new", "--from", tmp_path / "s.csv", "--out", tmp_path / "acme.toml")
    assert "good" in run("test", tmp_path / "acme.toml")
    made = profile_file.load((tmp_path / "acme.toml").read_bytes())
    assert made.points[0].title is not None and made.points[0].title.zh == "正向有功电能"
    assert [proof.source for proof in made.proof] == ["composed from the document"]


@pytest.mark.parametrize("name", ["s.ods", "s"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"\.xlsx or \.csv"):
        workbook.read(tmp_path / name)


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(ConfigError, match="an Excel workbook"):
        workbook.read(tmp_path / "s.xlsx")


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    run("sheet", "eastron-sdm630", "--out", tmp_path / "s.csv")
    for pipe, words in (("p.toml", ("new", "--from", tmp_path / "s.csv")), ("p.csv", ("sheet", "eastron-sdm630"))):
        os.mkfifo(tmp_path / pipe)
        with pytest.raises(ConfigError, match="found no file"):
            run(*words, "--out", tmp_path / pipe)
        assert (tmp_path / pipe).is_fifo()
