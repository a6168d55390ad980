"""The invented city: the same for the same seed, and good enough to be accounted by the real methods."""

import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tanmeter
from cloud.accounting import activity_file, calculate, factors, method, subject_file
from cloud.accounting.given import Programme
from protocols.errors import ConfigError
from simulator import city

MONTHS = ("2026-09", "2026-10")


@pytest.fixture(scope="module")
def made() -> city.City:
    return city.city(1, MONTHS)


def test_one_seed_is_one_city(made: city.City) -> None:
    assert city.city(1, MONTHS) == made
    assert city.city(2, MONTHS).activity != made.activity


def test_every_enterprise_can_be_accounted_by_its_method(made: city.City) -> None:
    subjects = subject_file.read("subjects.toml", made.subjects).subjects
    methods = set()
    for name, files in made.activity.items():
        used = method.get(subjects[name].method)
        methods.add(used.id)
        programme = Programme(name, factors.builtin())
        file = activity_file.read("october", files["2026-10"])
        entries = activity_file.entries("october", file, used, date(2026, 10, 1), date(2026, 11, 1))
        lines = list(calculate.lines(used, entries, programme))
        total = sum(line.tco2e for line in lines if line.class_ != "reduction")
        if used.category == "reduction":
            assert total == 0 and sum(line.tco2e for line in lines) < -1000, "a ledger beside the inventory"
            continue
        quota = Decimal(subjects[name].target[0].tco2e) / 12
        assert Decimal("0.7") < total / quota < Decimal("1.3"), name
    assert len(made.activity) >= 35
    assert len(methods) >= 25


def test_who_declares_has_a_document_of_each_month_that_its_file_names_by_digest(made: city.City) -> None:
    assert set(made.documents) == {"E-05", "E-16", "E-27", "E-31"}
    for name, documents in made.documents.items():
        for month, document in documents.items():
            file = activity_file.read(month, made.activity[name][month])
            assert {entry["sha256"] for entry in file.activity} == {hashlib.sha256(document).hexdigest()}
            amounts = [value["value"] for entry in file.activity for value in entry.values() if isinstance(value, dict)]
            assert amounts and all(amount in document.decode() for amount in amounts)
    assert not any("sha256" in entry for entry in activity_file.read("x", made.activity["E-08"]["2026-10"]).activity)


def test_everybody_belongs_to_the_city_in_the_end(made: city.City) -> None:
    subjects = subject_file.read("subjects.toml", made.subjects).subjects
    for name in subjects:
        at = name
        while subjects[at].membership:
            at = subjects[at].membership[0].of
        assert at == "C-01"


def test_the_command_writes_it_and_refuses_a_month_that_is_none(tmp_path: Path) -> None:
    run = CliRunner().invoke(tanmeter.app, ["sim", "city", str(tmp_path), "--until", "2026-01", "--months", "2"])
    assert run.exit_code == 0
    assert {file.name for file in (tmp_path / "activity" / "E-24").iterdir()} == {"2025-12.toml", "2026-01.toml"}
    with pytest.raises(ConfigError, match="2026-13"):
        city.months("2026-13", 1)
