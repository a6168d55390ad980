"""method and factor at the command line: what an auditor reads, and bundles under a publisher's signature."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tanmeter
from cloud import config, factor_shelf
from cloud.accounting import bundle, parameters
from cloud.accounting import library as libraries
from cloud.packed import pack
from cloud.store import Store
from protocols.errors import ConfigError, EncodingError, FactorError, RottenError, SignatureError
from protocols.record.cose import PrivateKey

SET = b"""schema = 1
id = "city-lab-2025"
edition = "2025"
document = "report 7"
[[parameter]]
symbol = "NCV.biogas"
value = "215.4"
unit = "GJ/1e4Nm3"
status = "DRAFT"
standing = "transcribed"
row = ""
zh = "a"
en = "b"
"""
GRID = b"""schema = 1
data_year = 2024
unit = "kgCO2/kWh"
publisher = "P"
notice = "N"
published = 2026-06-01
[[factor]]
id = "cn.grid.national@2024"
basis = "average"
region = "national"
zh = "a"
en = "b"
value = "0.5200"
status = "DRAFT"
reason = "made up"
"""


@pytest.fixture(scope="module")
def signer() -> PrivateKey:
    return PrivateKey.generate()


def run(*words: str) -> str:
    result = CliRunner().invoke(tanmeter.app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_and_a_method_as_a_machine_reads_them() -> None:
    listed = [json.loads(line) for line in run("method", "list", "--json").splitlines()]
    assert "ndrc-24-2015" in [one["id"] for one in listed]
    shown = json.loads(run("method", "show", "ndrc-24-2015", "--json"))
    fuel = shown["rows"][0]
    assert fuel["formula"] == "FC·NCV·CC·OF·44/12"
    assert {"id": "ndrc-24-2015-fuels:NCV.anthracite", "value": "24.515", "unit": "GJ/t"}.items() <= fuel["items"][
        "anthracite"
    ][0].items()


@pytest.mark.parametrize(
    ("language", "words"), [("zh", ["须有凭证", "无烟煤"]), ("en", ["needs a proof", "Anthracite"])]
)
def test_a_method_as_a_person_reads_it(language: str, words: list[str]) -> None:
    shown = run("--lang", language, "method", "show", "ndrc-24-2015")
    assert all(word in shown for word in [*words, "FC·NCV·CC·OF·44/12", "24.515 GJ/t"])


def test_every_value_is_listed_with_its_standing() -> None:
    rows = [json.loads(line) for line in run("factor", "list", "--json").splitlines()]
    assert len(rows) > sum(len(held.values) for held in parameters.builtin().values())
    assert all(row["document"] and row["status"] and row["standing"] for row in rows)
    assert json.loads(run("factor", "show", "cn.grid.national@2023", "--json"))["value"] == "0.5306"


def test_sign_verify_import_and_choose(tmp_path: Path, signer: PrivateKey) -> None:
    (tmp_path / "city-lab-2025.toml").write_bytes(SET)
    (tmp_path / "cn-grid-2024.toml").write_bytes(GRID)
    (tmp_path / "private.pem").write_bytes(signer.pem())
    (tmp_path / "public.pem").write_bytes(signer.public.pem())
    out, key, data = (str(tmp_path / name) for name in ("b.cose", "public.pem", "data"))
    files = [str(tmp_path / name) for name in ("city-lab-2025.toml", "cn-grid-2024.toml")]
    run("factor", "sign", *files, "--publisher", "市中心", "--key", str(tmp_path / "private.pem"), "-o", out)
    assert "市中心" in run("factor", "verify", out, "--key", key)
    collector = config.create_key(tmp_path / "data")
    for _ in range(2):
        run("factor", "import", out, "--key", key, "--data", data)
    with Store(tmp_path / "data" / config.STORE, collector) as store:
        library = factor_shelf.library(store)
        assert [(row.kind, row.by) for row in store.journal(0, 9)] == [("bundle", "市中心")]
    assert library.factors.get("cn.grid.national@2024").data_year == 2024
    assert "city-lab-2025:NCV.biogas" in run("factor", "list", "--data", data, "--set", "city-lab-2025")


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    """It was said to be a record that had been changed on its way."""
    (tmp_path / "no.pem").write_bytes(SET)
    no = str(tmp_path / "no.pem")
    for call in (["factor", "verify", no, "--key", no], ["evidence", "verify", no, "--collector", no]):
        with pytest.raises(ConfigError, match=r"no\.pem: found no key in PEM, expected a public key"):
            run(*call)
    with pytest.raises(ConfigError, match=r"no\.pem: found no key in PEM, expected a private key"):
        run("factor", "sign", no, "--publisher", "P", "--key", no, "-o", no)


def test_a_changed_bundle_or_another_key_is_refused(tmp_path: Path, signer: PrivateKey) -> None:
    envelope = bundle.sign("P", {"city-lab-2025.toml": SET}, signer)
    with pytest.raises(SignatureError):
        bundle.open_bundle(envelope, PrivateKey.generate().public)
    for index in range(0, len(envelope), 37):
        changed = bytearray(envelope)
        changed[index] ^= 1
        with pytest.raises((SignatureError, EncodingError)):
            bundle.open_bundle(bytes(changed), signer.public)
    with Store(tmp_path / config.STORE, PrivateKey.generate()) as store:
        factor_shelf.keep(store, envelope, signer.public, now=1)
        other = bundle.sign("P", {"cn.toml": GRID}, signer)
        with store.writing() as db:
            db.execute("UPDATE journal SET body = ?", (pack(other),))
        with pytest.raises(RottenError, match="digest"):
            factor_shelf.library(store)


def test_what_contradicts_what_is_held_is_refused(tmp_path: Path, signer: PrivateKey) -> None:
    with Store(tmp_path / config.STORE, PrivateKey.generate()) as store:

        def take(name: str, source: bytes) -> None:
            factor_shelf.keep(store, bundle.sign("P", {name: source}, signer), signer.public, now=1)

        take("city-lab-2025.toml", SET)
        with pytest.raises(FactorError, match="other bytes"):
            take("city-lab-2025.toml", SET.replace(b"215.4", b"216.4"))
        with pytest.raises(FactorError, match="each once"):
            take("mine.toml", GRID.replace(b"2024", b"2023").replace(b'"N"', b'"M"'))
        with pytest.raises(FactorError, match="same basis, region and year"):
            take("rival.toml", GRID.replace(b"2024", b"2023").replace(b"cn.grid", b"my.grid"))
        assert factor_shelf.library(store).factors == libraries.build().factors
    with pytest.raises(ConfigError):
        bundle.sign("P", {"city-lab-2025.toml": SET.replace(b"GJ", b"GX")}, signer)
