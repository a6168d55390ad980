"""Evidence packs and statements at the command line: packed, verified, closed, explained."""

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud import account_commands, config, evidence_commands
from protocols.errors import ConfigError, EvidenceError
from tests.cloud.box import Box


def run(*arguments: str, language: str = "en") -> Result:
    return CliRunner().invoke(evidence_commands.evidence, arguments, env={"TANMETER_LANG": language})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A collector's data folder with a gateway that has delivered six minutes."""
    folder = tmp_path / "data"
    with config.open_store(folder, config.create_key(folder)) as store:
        box = Box()
        box.enrol(store)
        box.deliver(store, 6)
    return folder


def test_pack_then_verify_shows_the_way_from_the_tonne_to_the_frame(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    made_ = run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data), "--json")
    assert json.loads(made_.stdout)["statement"] == "E-plant-7-2026-09-22@1"
    for language, word in (("en", "opening"), ("zh", "起码")):
        shown = run("verify", str(out), language=language)
        assert shown.exit_code == 0
        for part in (word, "cn.grid.national@2023", "0.5306", "← 01 03 06", "公告2025年第47号"):
            assert part in shown.stdout
    report = json.loads(run("verify", str(out), "--json").stdout)
    assert report["ok"] is True
    assert report["gateways"][0]["blocks"] == 6


def test_a_pack_takes_the_place_of_a_file_only(data: Path, tmp_path: Path) -> None:
    """As root, ``-o /dev/null`` had put a file in its place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for out in (pipe, tmp_path, Path(), tmp_path / "nowhere" / "pack.zip", tmp_path / ("甲" * 85)):
        refused = run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data)).exception
        assert isinstance(refused, ConfigError) and f"--out {out}: found " in str(refused)
    assert pipe.is_fifo() and {path.name for path in tmp_path.iterdir()} == {"data", "pipe"}


def test_a_changed_pack_exits_with_4_and_its_name(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data))
    altered = bytearray(out.read_bytes())
    altered[altered.index(b"blocks.cborseq") + 200] ^= 1
    out.write_bytes(altered)
    shown = run("verify", str(out), "--json")
    assert shown.exit_code == 4
    told = json.loads(shown.stdout)
    assert told["ok"] is False
    assert told["error"]["file"].endswith("blocks.cborseq")
    assert run("verify", str(out)).exception.exit_code == 4  # type: ignore[union-attr]


def test_what_is_mistyped_is_no_pack_that_is_refused(data: Path, tmp_path: Path) -> None:
    """A name of no file had the words of an altered pack, and exit 4; so had an id that cannot be one."""
    out = tmp_path / "pack.zip"
    run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data))
    key = config.open_key(data).public
    for words in (
        (str(tmp_path / "pakc.zip"),),
        (str(tmp_path),),
        (str(out), "--gateway", "zz"),
        (str(out), "--collector", key.kid.hex()),
        (str(out), "--collector", str(tmp_path / "collector.pem")),
    ):
        wrong = run("verify", *words).exception
        assert isinstance(wrong, ConfigError) and words[-1] in str(wrong)
    (gateway,) = json.loads(run("verify", str(out), "--json").stdout)["gateways"]
    label = "-".join(re.findall("....", gateway["id"].upper()))
    assert run("verify", str(out), "--gateway", label, "--collector", key.id.hex()).exit_code == 0
    other = run("verify", str(out), "--gateway", key.id.hex()).exception
    assert isinstance(other, EvidenceError)


def test_close_list_and_explain(data: Path) -> None:
    runner = CliRunner()

    def ask(*arguments: str) -> str:
        done = runner.invoke(account_commands.account, [*arguments, "--data", str(data)], env={"TANMETER_LANG": "zh"})
        assert done.exit_code == 0, done.output
        return done.stdout

    first = json.loads(ask("close", "plant-7", "2026-09-22", "--json"))
    again = json.loads(ask("close", "plant-7", "2026-09-22", "--json"))
    assert first == again
    assert json.loads(ask("list", "--json")) == first
    assert "E-plant-7-2026-09-22@1" in ask("list")
    assert "止码" in ask("explain", "E-plant-7-2026-09-22")
    explained = json.loads(ask("explain", "E-plant-7-2026-09-22@1", "--json"))
    assert explained["result"] == {"value": first["tco2"], "unit": "tCO2"}
    assert explained["inputs"][0]["meters"][0]["runs"][0]["opening"]["seq"] == 2
    assert explained["inputs"][1]["factor"] == "cn.grid.national@2023"
