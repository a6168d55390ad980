"""Green power by certificates of 1 MWh each: no more is claimed than they cover, counted by hand."""

from datetime import date

import pytest

from cloud.accounting import activity_file, certificates, method, proofs
from protocols.errors import ActivityError

METHOD = method.get("ndrc-24-2015")


def take(proof: str, proved: str = "100 MWh", more: str = "", row: str = "24-10") -> None:
    """As a file that comes in is looked at."""
    given = f'proved = "{proved}"\npurchased = "1000 MWh"' if row == "24-10" else f'AD = "{proved}"'
    source = f'schema = 1\nsubject = "S-1"\n[[activity]]\nrow = "{row}"\nproof = {proof}\n{given}\n{more}\n'
    file = activity_file.read("june.toml", source.encode())
    june = date(2026, 6, 1), date(2026, 7, 1)
    proofs.check("june.toml", activity_file.entries("june.toml", file, METHOD, *june), METHOD)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("GEC-0001..GEC-0100", 100),  # 100 - 1 + 1
        ("GEC-0042", 1),
        ("GEC-0001..GEC-0100; GEC-0201..GEC-0250; GEC-7", 151),  # 100 + 50 + 1
        ("GEC-0007..GEC-0007", 1),
        ("GEC-9999998..GEC-9999999", 2),
        ("", 0),
    ],
)
def test_certificates_are_counted(text: str, count: int) -> None:
    assert certificates.count(text) == count


@pytest.mark.parametrize(
    ("proof", "proved"),
    [
        ('"GEC-0001..GEC-0100"', "100 MWh"),
        ('"GEC-0001..GEC-0100"', "99.5 MWh"),  # the half of the last one is lost
        ('"GEC-0001..GEC-0100"', "100000 kWh"),
        ('["GEC-0001..GEC-0060", "GEC-0101..GEC-0139", "GEC-0200"]', "100 MWh"),  # 60 + 39 + 1
        ('"GEC-1"', "1 MWh"),
    ],
)
def test_what_certificates_cover_may_be_claimed(proof: str, proved: str) -> None:
    take(proof, proved)


@pytest.mark.parametrize(
    ("proof", "proved", "found"),
    [
        ('"GEC-0001..GEC-0100"', "100.5 MWh", "100.5 MWh by 100 certificates"),
        ('"GEC-0001..GEC-0100"', "100001 kWh", "100.001 MWh by 100"),
        ('"GEC-0001..GEC-0099"', "100 MWh", "100 MWh by 99"),
        ('["GEC-0001..GEC-0060", "GEC-0101..GEC-0139"]', "100 MWh", "100 MWh by 99"),
        ('"GEC-1"', "200 MWh", "200 MWh by 1 certificate of"),
    ],
)
def test_more_than_certificates_cover_is_refused(proof: str, proved: str, found: str) -> None:
    with pytest.raises(ActivityError, match=rf"june.toml: activity\[0\]\.proved: found {found}") as refused:
        take(proof, proved)
    assert "covers =" in str(refused.value), "it says how a contract is told"


def test_a_contract_says_what_it_covers_and_no_more_is_claimed() -> None:
    take('"合同 2026-06（绿电）"', "400 MWh", 'covers = "400 MWh"')
    take('"合同 2026-06（绿电）"', "400 MWh", 'covers = "0.5 GWh"')
    with pytest.raises(ActivityError, match="found 400 MWh, expected at most the 399 MWh"):
        take('"合同 2026-06（绿电）"', "400 MWh", 'covers = "399 MWh"')
    with pytest.raises(ActivityError, match="400 MWh by 1 certificate"):
        take('"合同 2026-06（绿电）"', "400 MWh")


@pytest.mark.parametrize("covers", ['"400 t"', '"0 MWh"', '"-1 MWh"', "400", '"much"'])
def test_what_a_contract_covers_is_an_amount_of_power(covers: str) -> None:
    with pytest.raises(ActivityError, match=r"activity\[0\]\.covers"):
        take('"合同"', "400 MWh", f"covers = {covers}")


def test_what_is_no_green_power_covers_nothing() -> None:
    with pytest.raises(ActivityError, match="only of green power"):
        take('""', "10 MWh", 'covers = "10 MWh"', row="24-08")
    take('""', "10 MWh", row="24-08")


def test_a_hidden_range_is_told_before_its_power() -> None:
    with pytest.raises(ActivityError, match=r"what reads as a range in 'GEC-1-10'.*GEC-0001\.\.GEC-0100"):
        take('"GEC-1-10"', "10 MWh")
