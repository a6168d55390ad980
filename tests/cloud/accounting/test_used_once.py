"""A certificate is used once in the whole city, however it is spelt, listed or ranged."""

from datetime import date
from decimal import Decimal

import pytest

from cloud import accounts, subjects
from cloud.accounting import activity_file
from cloud.accounting import method as methods
from protocols.errors import ActivityError, ProofError
from tests.cloud import tables
from tests.cloud.accounting.small_city import DAYS, City, gas, green


def test_a_certificate_is_used_once_in_the_city_and_the_other_use_is_named(city: City) -> None:
    city.declare(green("S-DEMO"))
    first = city.close()
    assert first.content.totals.offset < 0
    city.declare(green("S-OTHER", label="second"))
    with pytest.raises(ProofError, match=r"GEC-2026-000042.*A-S-DEMO-2026-10-03.*S-DEMO"):
        city.close("S-OTHER")
    assert accounts.listing(city.store, "S-OTHER", unread={}) == []
    assert city.close() == first


@pytest.mark.parametrize(
    "spelt", ["gec-2026-000042", "GEC-2026-000042 ", "ＧＥＣ－２０２６－０００042", "GEC‑2026-\u200b000042"]
)
def test_another_spelling_is_no_other_certificate(city: City, spelt: str) -> None:
    city.declare(green("S-DEMO"))
    city.close()
    city.declare(green("S-OTHER").replace(b"GEC-2026-000042", spelt.encode()))
    with pytest.raises(ProofError, match="A-S-DEMO-2026-10-03"):
        city.close("S-OTHER")


def certified(subject: str, proof: str) -> bytes:
    return green(subject).replace(b'"GEC-2026-000042"', proof.encode())


@pytest.mark.parametrize("first", ['"GEC-1"', '["GEC-1"]', '["GEC-3", "GEC-1"]'])
@pytest.mark.parametrize("second", ['"gec-1"', '["GEC-2", "GEC‑1 "]'])
def test_a_certificate_beside_others_is_used_once_as_well(city: City, first: str, second: str) -> None:
    city.declare(certified("S-DEMO", first))
    city.close()
    city.declare(certified("S-OTHER", second))
    with pytest.raises(ProofError, match=r"'GEC-1' used in A-S-DEMO-2026-10-03"):
        city.close("S-OTHER")


def test_a_certificate_beside_others_is_used_once_in_one_account(city: City) -> None:
    city.declare(certified("S-DEMO", '["GEC-1", "GEC-2"]'))
    city.declare(certified("S-DEMO", '["GEC-2", "GEC-3"]').replace(b'label = ""', b'label = "again"'))
    with pytest.raises(ProofError, match="GEC-2"):
        city.close()


def test_certificates_come_in_any_order_and_one_in_a_list_is_the_same_as_alone(city: City) -> None:
    def proof(written: str) -> str:
        file = activity_file.read("green", certified("S-DEMO", written))
        (entry,) = activity_file.entries("green", file, methods.get("ndrc-24-2015"), date.min, date.min)
        return entry.proof

    assert proof('[" GEC-1 "]') == proof('"GEC-1"') == "GEC-1"
    assert proof('["GEC-2", "GEC-1"]') == proof('["GEC-1", "GEC-2"]') == "GEC-1; GEC-2"
    city.declare(certified("S-DEMO", '["GEC-2", "GEC-1"]'))
    city.declare(certified("S-OTHER", '["GEC-3", "GEC-4"]'))
    assert city.close().content.totals.offset == city.close("S-OTHER").content.totals.offset < 0


@pytest.mark.parametrize("between", [", ", ",", ";", "；", "，", "、", " and ", " AND ", " a\u200bnd ", "\\n"])
@pytest.mark.parametrize("written", ['"GEC-1{}GEC-2"', '["GEC-1{}GEC-2"]'])
def test_several_certificates_in_one_text_are_refused(city: City, between: str, written: str) -> None:
    with pytest.raises(ActivityError, match=r"activity\[0\]\.proof: found several names.*expected a list"):
        city.declare(certified("S-DEMO", written.format(between)))


def test_ranges_of_two_subjects_that_overlap_are_found(city: City) -> None:
    city.declare(certified("S-DEMO", '"GEC-0001..GEC-0100"'))
    assert city.close().content.totals.offset < 0
    city.declare(certified("S-OTHER", '["GEC-9999", "gec-0099 .. gec-0200"]'))
    with pytest.raises(ProofError, match=r"A-S-DEMO-2026-10-03 \(S-DEMO.*GEC-0001\.\.GEC-0100\)"):
        city.close("S-OTHER")


@pytest.mark.parametrize("written", ['"GEC-1 to 9"', '"0001-0100"', '["GEC-7", "GEC-01至09"]', '"GEC-1..GEC-10"'])
def test_a_range_in_another_form_is_refused_where_it_comes(city: City, written: str) -> None:
    with pytest.raises(ActivityError, match=r"activity\[0\]\.proof: found .*GEC-0001\.\.GEC-0100"):
        city.declare(certified("S-DEMO", written))


@pytest.mark.parametrize(
    "written",
    ["[]", '[""]', '["GEC-1..GEC-9", "GEC-5"]', '["GEC-1", "\u200b"]', '["GEC-1", "gec‑1 "]', '["GEC-1", 2]', "7"],
)
def test_a_list_of_certificates_names_each_once(city: City, written: str) -> None:
    with pytest.raises(ActivityError, match=r"activity\[0\]\.proof: found"):
        city.declare(certified("S-DEMO", written))


@pytest.mark.parametrize("name", ["Brandenburg-1", "P/2026/Rand 7", "合同 2026-01（绿电）"])
def test_a_name_with_blanks_and_signs_in_it_is_one_name(city: City, name: str) -> None:
    city.declare(certified("S-DEMO", f'"{name}"'))
    assert [line.proof for line in city.close().content.lines if line.proof] == [name]


@pytest.mark.parametrize("blank", [" ", "\u200b", "\u3000"])
def test_a_certificate_of_blanks_is_none(city: City, blank: str) -> None:
    city.declare(green("S-DEMO").replace(b"GEC-2026-000042", blank.encode()))
    with pytest.raises(ActivityError, match="found no proof"):
        city.close()


def test_a_certificate_that_its_account_no_longer_uses_is_free(city: City) -> None:
    kept = city.declare(green("S-DEMO"))
    city.close()
    city.declare(gas("1", f'replaces = "{kept.sha256}"'))
    city.close()
    city.declare(green("S-OTHER", label="second"))
    assert city.close("S-OTHER").content.totals.offset < 0


def test_a_certificate_in_two_lines_of_one_account_is_refused(city: City) -> None:
    city.declare(green("S-DEMO"))
    city.declare(green("S-DEMO", label="again"))
    with pytest.raises(ProofError):
        city.close()


def test_baseline_and_project_of_a_reduction_stand_on_one_report_and_nothing_else_does(city: City) -> None:
    roof = '\n[[subject]]\nid = "R-01"\nzh = "屋顶光伏"\nen = "Roof"\nkind = "enterprise"\n'
    roof += 'category = "reduction"\nmethod = "tci231-reduction-2023"\n'
    subjects.take(city.store, "roof.toml", f"schema = 1{roof}".encode(), by="周", now=city.now)
    told, factor = (
        'proof = "MR-2026-10-03"\nAD = "{} MWh"\n',
        'EF = { value = "0.5 tCO2/MWh", document = "supplier" }\n',
    )
    made = tables.entry("R17-B", *DAYS, told.format(100))
    used = tables.entry("R17-P", *DAYS, told.format(2) + factor)
    city.declare(tables.activity_file("R-01", made, used).encode())
    totals = city.close("R-01").content.totals
    assert (totals.total, totals.reduction) == (0, Decimal("-52.06"))
    city.declare(green("S-OTHER").replace(b"GEC-2026-000042", b"MR-2026-10-03"))
    with pytest.raises(ProofError, match=r"MR-2026-10-03.*A-R-01"):
        city.close("S-OTHER")
