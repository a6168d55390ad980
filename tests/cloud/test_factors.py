"""Emission factors: what ships is what was published, and the choice is one factor or an error."""

from dataclasses import replace
from decimal import Decimal

import pytest

from cloud.accounting import factors
from cloud.accounting.factors import DRAFT, EARLIER_YEAR, FactorSet, builtin, load, resolve
from protocols import messages
from protocols.errors import ConfigError, FactorError

FILE = """
schema = 1
data_year = 2030
unit = "kgCO2/kWh"
publisher = "P"
notice = "N"
published = 2031-01-01
absent = ["xizang"]

[[factor]]
id = "cn.grid.national@2030"
basis = "average"
region = "national"
zh = "全国"
en = "China"
value = "0.5000"
status = "TRANSCRIBED"
"""


@pytest.mark.parametrize(
    ("factor_id", "value"),
    [
        ("cn.grid.national@2021", "0.5568"),
        ("cn.grid.national@2022", "0.5366"),
        ("cn.grid.national@2023", "0.5306"),
        ("cn.grid.national.residual@2023", "0.6096"),
        ("cn.grid.national.fossil@2023", "0.8273"),
        ("cn.grid.huabei@2023", "0.6361"),
        ("cn.grid.xinan@2022", "0.2268"),
        ("cn.grid.yunnan@2022", "0.1073"),
        ("cn.grid.yunnan@2023", "0.1333"),
        ("cn.grid.shaanxi@2023", "0.6335"),
        ("cn.grid.shanxi@2023", "0.6634"),
    ],
)
def test_published_values(factor_id: str, value: str) -> None:
    assert builtin().get(factor_id).value == Decimal(value)


def test_each_year_has_the_country_on_three_bases_its_regions_and_thirty_provinces() -> None:
    for year, regions in ((2021, 7), (2022, 7), (2023, 6)):
        own = [entry for entry in builtin().factors if entry.data_year == year]
        assert [entry.basis for entry in own if entry.region == "national"] == ["average", "residual", "fossil"]
        assert len(own) == 3 + regions + 30
        assert all(entry.unit == "kgCO2/kWh" and entry.notice and entry.publisher for entry in own)


def test_the_newest_notice_is_named_down_to_its_attachment() -> None:
    factor = builtin().get("cn.grid.national@2023")
    assert factor.notice.startswith("公告2025年第47号")
    assert factor.published.isoformat() == "2025-12-31"
    assert factor.attachment_sha256 == "d43b60a3eaad9f3fe59ca37c204d3d0e1b6ea52742a092f0d856971a3f018e5a"


def test_what_nobody_saw_in_the_source_is_a_draft_with_its_reason() -> None:
    drafts = {entry.id for entry in builtin().factors if entry.status == "DRAFT"}
    own = {entry.id for entry in builtin().factors if entry.data_year in {2012, 2021}}
    assert drafts == own - {"cn.grid.national@2021", "cn.grid.national.fossil@2021"}
    assert all(bool(entry.reason) == (entry.status == "DRAFT") for entry in builtin().factors)


def test_tibet_and_the_southwest_of_2023_are_not_made_up() -> None:
    with pytest.raises(FactorError):
        resolve(builtin(), "average", "xizang", 2023)
    assert resolve(builtin(), "average", "xinan", 2023).factor.data_year == 2022


def test_the_matching_year_is_final() -> None:
    choice = resolve(builtin(), "average", "national", 2022)
    assert (choice.factor.id, choice.provisional, choice.reasons) == ("cn.grid.national@2022", False, ())


def test_a_year_not_yet_published_takes_the_newest_earlier_one_provisionally() -> None:
    choice = resolve(builtin(), "average", "national", 2026)
    assert (choice.factor.id, choice.reasons) == ("cn.grid.national@2023", (EARLIER_YEAR,))
    assert choice.provisional


def test_a_draft_is_provisional() -> None:
    assert resolve(builtin(), "residual", "national", 2021).reasons == (DRAFT,)


def test_reasons_can_be_read_in_both_languages() -> None:
    for reason in (EARLIER_YEAR, DRAFT):
        assert messages.text(reason, "zh") != messages.text(reason, "en")


@pytest.mark.parametrize(("basis", "region", "year"), [("average", "national", 2020), ("fossil", "huabei", 2023)])
def test_an_unknown_factor_is_an_error_never_zero(basis: factors.Basis, region: str, year: int) -> None:
    with pytest.raises(FactorError, match="expected one"):
        resolve(builtin(), basis, region, year)


def test_two_matches_are_an_error() -> None:
    first = builtin().get("cn.grid.national@2023")
    second = replace(first, id="cn.grid.national.other@2023", value=Decimal("0.5"))
    doubled = FactorSet((first, second), "", {})
    with pytest.raises(FactorError, match=r"cn\.grid\.national@2023 and cn\.grid\.national\.other@2023"):
        resolve(doubled, "average", "national", 2024)


def test_the_set_digest_follows_every_byte_and_every_name() -> None:
    digests = {
        load({"a.toml": FILE.encode()}).sha256,
        load({"b.toml": FILE.encode()}).sha256,
        load({"a.toml": FILE.encode() + b"\n"}).sha256,
    }
    assert len(digests) == 3
    assert load(dict(reversed(builtin().files.items()))).sha256 == builtin().sha256


def test_one_id_in_two_files_is_refused() -> None:
    with pytest.raises(FactorError, match="expected each once"):
        load({"a.toml": FILE.encode(), "b.toml": FILE.encode()})


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('value = "0.5000"', "value = 0.5", r"factor\[0\]\.value"),
        ('value = "0.5000"', 'value = "530.6000"', r"factor\[0\]\.value"),
        ('value = "0.5000"', 'value = "0.0000"', r"factor\[0\]\.value"),
        ('value = "0.5000"', 'value = "5E-1"', r"factor\[0\]\.value"),
        ('unit = "kgCO2/kWh"', 'unit = "tCO2/kWh"', "unit"),
        ('"TRANSCRIBED"', '"DRAFT"', r"factor\[0\]\.reason"),
        ("national@2030", "national@2029", r"factor\[0\]\.id"),
        ('region = "national"', 'region = "xizang"', r"factor\[0\]\.region"),
        ('basis = "average"', 'basis = "marginal"', r"factor\[0\]\.basis"),
        ('notice = "N"', 'notise = "N"', "notise"),
    ],
)
def test_a_wrong_file_is_refused_at_its_place(old: str, new: str, place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        load({"a.toml": FILE.replace(old, new).encode()})
