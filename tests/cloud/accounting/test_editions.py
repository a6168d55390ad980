"""Newer editions beside older ones: what differs between them, and how one of them is chosen."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from cloud.accounting import calculate, factors, method, restated
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.units import quantity
from protocols.errors import ActivityError, MethodError

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
D = Decimal


def one(name: str, row: str, given: Mapping[str, str], item: str = "") -> Decimal:
    """tCO2e of a single entry."""
    entry = Entry(row, *JUNE, {symbol: Given(quantity(text), "declared", "r") for symbol, text in given.items()}, item)
    (line,) = calculate.lines(method.get(name), [entry], Programme("S", factors.builtin()))
    return line.tco2e


def test_aluminium_by_the_newer_edition() -> None:
    """Fewer tonnes of perfluorocarbons at a larger GWP; 0.411 tC of anode for 0.42; no slope."""
    tonnes = {"AD": "20000 t"}
    old = one("ndrc-05-2013", "05-04", tonnes) + one("ndrc-05-2013", "05-05", tonnes)
    new = one("mee-2024-aluminium", "05-04", tonnes) + one("mee-2024-aluminium", "05-05", tonnes)
    assert old == (20000 * (D("0.034") * 6500 + D("0.0034") * 9200) / 1000) == Decimal("5045.6")
    assert new == (20000 * (D("0.020") * 6630 + D("0.0011") * 11100) / 1000) == Decimal("2896.2")
    anode = [one(name, "05-03", {"P": "20000 t"}) for name in ("ndrc-05-2013", "mee-2024-aluminium")]
    assert abs(anode[0] - anode[1] - (20000 * (D("0.42") - D("0.411")) * D("0.976") * 44 / 12)) < Decimal("1e-7")
    assert {"05-06", "05-07"} <= set(method.get("ndrc-05-2013").rows)
    assert "SLOPE" not in {row.block for row in method.get("mee-2024-aluminium").rows.values()}


def test_slope_and_default_agree_at_the_frequency_that_joins_them() -> None:
    """0.143 x AEM = 0.034 kg/t at 0.23776 minutes of a pot day; C2F6 is a tenth of CF4 both ways."""
    given = {"P": "20000 t", "AEM": "0.237762237762237762 min"}
    assert abs(one("ndrc-05-2013", "05-06", given) - one("ndrc-05-2013", "05-04", {"AD": "20000 t"})) < Decimal("1e-6")
    assert abs(one("ndrc-05-2013", "05-07", given) - one("ndrc-05-2013", "05-05", {"AD": "20000 t"})) < Decimal("1e-6")


def test_a_potline_is_reckoned_in_one_way() -> None:
    def both(labels: tuple[str, str], days: tuple[date, date] = JUNE) -> list[Line]:
        tonnes, effect = (Given(quantity(text), "declared", "r") for text in ("20000 t", "0.3 min"))
        first = Entry("05-04", *JUNE, {"AD": tonnes}, label=labels[0])
        second = Entry("05-06", *days, {"P": tonnes, "AEM": effect}, label=labels[1])
        programme = Programme("S", factors.builtin())
        return list(calculate.lines(method.get("ndrc-05-2013"), [first, second], programme))

    with pytest.raises(ActivityError, match="found it beside 05-04"):
        both(("potline 1", "potline 1"))
    with pytest.raises(ActivityError, match="found it beside 05-04"):
        both(("", ""), (date(2025, 6, 30), date(2025, 7, 30)))
    assert len(both(("potline 1", "potline 2"))) == len(both(("", ""), (date(2025, 7, 1), date(2025, 8, 1)))) == 2


def test_steel_by_the_newer_edition() -> None:
    steel = {"AD": "100000 t"}
    assert one("ndrc-03-2013", "03-12", steel, "crude_steel") == -1540
    assert one("mee-2025-steel", "03-12", steel, "crude_steel") == -3700
    old, new = (method.get(name) for name in ("ndrc-03-2013", "mee-2025-steel"))
    assert (len(old.items(old.row("03-04"))), len(new.items(new.row("03-04")))) == (5, 12)
    assert one("mee-2025-steel", "03-12", {"AD": "1 t"}, "coal_tar") == Decimal("-2.699")
    assert one("mee-2025-steel", "03-12", {"AD": "1 t"}, "crude_benzol") == Decimal("-3.382")
    with pytest.raises(ActivityError, match="expected one of pig_iron, crude_steel, methanol"):
        one("ndrc-03-2013", "03-12", {"AD": "1 t"}, "coal_tar")


ANALYSIS = {"M": "1000 t", "CaO": "65 %", "MgO": "2.2 %"}


def test_cement_by_the_newer_edition_is_another_method() -> None:
    """2013 asks the laboratory for CaO and MgO; the newer one takes a factor and subtracts what replaced limestone."""
    assert abs(one("ndrc-08-2013", "08-04", ANALYSIS) - Decimal("534.914285714286")) < Decimal("1e-9")
    assert one("mee-2024-cement", "08-04", {"AD": "1000 t"}, "portland") == 535
    found = method.get("mee-2024-cement")
    assert [found.parameter("EF_clinker.{item}", item).quantity.value for item in found.items(found.row("08-04"))] == [
        Decimal(text) for text in ("0.535", "0.550", "0.413", "0.292")
    ]
    assert one("mee-2024-cement", "08-20", {"AD": "100 t"}, "carbide_slag") == -48
    assert one("mee-2024-cement", "08-01", {"FC": "1 t"}, "anthracite") > one(
        "mee-2024-cement", "08-18", {"FC": "1 t"}, "anthracite"
    )


def test_power_by_the_newer_edition() -> None:
    """Equal carbon: 0.99 instead of 0.98 burns out, and desulphurisation is left out."""
    old = one("ndrc-01-2013", "01-01", {"FC": "1000 t", "NCV": "20 GJ/t", "CC": "0.027 tC/GJ"})
    new = one("mee-2022-power", "01-01", {"AD": "1000 t", "CC": "0.54 tC/t"})
    assert (old, new) == (Decimal("1940.4"), Decimal("1960.2"))
    assert "CARB" not in {row.block for row in method.get("mee-2022-power").rows.values()}
    unmeasured, unconventional = (
        one("mee-2022-power", row, {"FC": "1000 t", "NCV": "20 GJ/t"}) for row in ("01-02", "01-03")
    )
    assert round(unmeasured, 6) == round((1000 * 20 * D("0.03085") * D("0.99") * 44 / 12), 6)
    assert unmeasured > unconventional > new


def test_editions_are_told_apart_by_programme_and_day() -> None:
    """Never by the latest: in 2024 a cement works of the emissions trading and one of the twenty-four reckon apart."""
    cement = [known for known in method.builtin().values() if known.industry == 8]
    assert {known.programme for known in cement} == {"ndrc-24", "mee-ets"}
    newer = method.get("mee-2024-cement")
    assert not newer.in_force(date(2024, 6, 1), date(2024, 7, 1))
    assert newer.in_force(*JUNE) and method.get("ndrc-08-2013").in_force(*JUNE)
    known = [(one.industry, one.programme) for one in method.builtin().values() if one.industry is not None]
    assert len(set(known)) == len(known)
    assert method.choose("mee-ets/8", *JUNE) is newer
    assert method.choose("ndrc-24/8", date(2024, 6, 1), date(2024, 7, 1)).id == "ndrc-08-2013"
    assert method.choose("mee-2024-cement", *JUNE) is newer
    with pytest.raises(MethodError, match="none in force, of mee-2024-cement from 2024-09-13; expected one"):
        method.choose("mee-ets/8", date(2024, 6, 1), date(2024, 7, 1))
    with pytest.raises(MethodError, match="found 'mee-ets/9', expected"):
        method.choose("mee-ets/9", *JUNE)


def test_two_editions_in_force_are_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(method.builtin())
    known["x"] = replace(known["mee-2024-cement"], id="x")
    monkeypatch.setattr(method, "builtin", lambda: known)
    with pytest.raises(MethodError, match="more than one in force, of mee-2024-cement from 2024-09-13, x from"):
        method.choose("mee-ets/8", *JUNE)


def test_the_same_activity_under_the_newer_edition() -> None:
    """The rows that both editions have, from a potline of 2013 to the newer one: -2149.4 of PFC, -644.16 of anode."""
    old, new = method.get("ndrc-05-2013"), method.get("mee-2024-aluminium")
    given = {"AD": Given(quantity("20000 t"), "declared", "r")}
    entries = [
        Entry("05-03", *JUNE, {"P": Given(quantity("20000 t"), "declared", "r")}),
        *(Entry(row, *JUNE, given) for row in ("05-04", "05-05")),
        Entry("05-08", *JUNE, {"AD": Given(quantity("120 t"), "declared", "r")}),
    ]
    programme = Programme("S", factors.builtin())
    before = sum(line.tco2e for line in calculate.lines(old, entries, programme))
    after = sum(line.tco2e for line in calculate.lines(new, restated.entries(entries, old, new), programme))
    pfc = 20000 * (D("0.020") * 6630 + D("0.0011") * 11100 - D("0.034") * 6500 - D("0.0034") * 9200) / 1000
    anode = 20000 * (D("0.411") - D("0.42")) * (1 - D("0.02") - D("0.004")) * 44 / 12
    assert (pfc, round(anode, 2)) == (Decimal("-2149.4"), Decimal("-644.16"))
    assert abs(after - before - pfc - anode) < Decimal("1e-6")


def test_steel_restated_takes_an_oxidation_fraction_that_is_given() -> None:
    """45000 t of coke burnt to 98 %, 100000 t of crude steel: heat, carbon and 0.037 of the newer edition."""
    old, new = method.get("ndrc-03-2013"), method.get("mee-2025-steel")
    coke = {"FC": Given(quantity("45000 t"), "declared", "r"), "OF": Given(quantity("98 %"), "declared", "r")}
    steel = {"AD": Given(quantity("100000 t"), "declared", "r")}
    entries = [Entry("03-01", *JUNE, coke, item="coke"), Entry("03-12", *JUNE, steel, item="crude_steel")]
    programme = Programme("S", factors.builtin())
    before, after = (
        sum(line.tco2e for line in calculate.lines(one, found, programme))
        for one, found in ((old, entries), (new, restated.entries(entries, old, new)))
    )
    heat = D("28.435") * D("0.02942") - D("28.447") * D("0.0295")
    assert abs(after - before - (45000 * heat * D("0.98") * 44 / 12 - 100000 * (D("0.037") - D("0.0154")))) < D("1e-6")


def test_an_analysis_of_clinker_is_nothing_the_newer_edition_can_take() -> None:
    entry = Entry("08-04", *JUNE, {name: Given(quantity(text), "declared", "r") for name, text in ANALYSIS.items()})
    with pytest.raises(MethodError, match="found none, expected one row that counts what 08-04"):
        restated.entries([entry], method.get("ndrc-08-2013"), method.get("mee-2024-cement"))
