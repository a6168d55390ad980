"""Buildings after GB/T 51366, parks, communities and the ledger of reductions, worked by hand row by row."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest
from msgspec.structs import replace

from cloud.accounting import calculate, factors, indicators, inventory, leaves, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Grade, Line
from cloud.accounting.units import quantity
from protocols.errors import ActivityError

D = Decimal
Case = tuple[str, str, str, D]
"""Row, item, what is given, and the signed tCO2e by hand."""

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
JULY = (date(2025, 7, 1), date(2025, 8, 1))
GRID = D("0.5306")


def entry(row: str, item: str, text: str, label: str = "", proof: str = "P-1", grade: Grade = "declared") -> Entry:
    given = {}
    for part in text.split(", "):
        symbol, _, amount = part.partition(" ")
        given[symbol] = Given(quantity(amount), grade, "report 2025-06")
    return Entry(row, *JUNE, given, item=item, label=label, proof=proof)


def lines(name: str, entries: list[Entry]) -> list[Line]:
    return list(calculate.lines(method.get(name), entries, Programme("S", factors.builtin())))


NATURAL_GAS = 2 * D("389.31") * D("0.0153") * D("0.99") * 44 / 12
STEAM = 100 * (2800 - D("83.74")) / 1000 * D("0.11")
HOT_WATER = 200 * (80 - 20) * D("4.1868") / 1000 * D("0.11")
COAL = 10 * D("24.515") * D("0.02749") * D("0.94") * 44 / 12

WORKED: Mapping[str, tuple[D, list[Case]]] = {
    "gbt-51366-2019": (D("484.851776"), [
        ("51366-01", "natural_gas", "FC 2 1e4Nm3, NCV 389.31 GJ/1e4Nm3", NATURAL_GAS),
        ("51366-02", "", "AD 1000 MWh", 1000 * GRID),
        ("51366-03", "", "AD 500 GJ, EF 0.11 tCO2/GJ", 500 * D("0.11")),
        ("51366-04", "", "AD 300 GJ, EF 0.05 tCO2/GJ", 300 * D("0.05")),
        ("51366-05", "", "proved 120 MWh, purchased 1000 MWh", -120 * GRID),
        ("51366-06", "", "proved 200 MWh, purchased 880 MWh", -200 * GRID),
        ("51366-07", "HFC-134a", "m 150 kg, t 1 a, y 15 a", 150 * D(1) / 15 / 1000 * 1300),
        ("51366-08", "", "AD 1000 m3, EF 0.3 kgCO2/m3", 1000 * D("0.3") / 1000),
        ("51366-09", "", "AD 5000 m2, EF 0.0005 tCO2/m2", -5000 * D("0.0005")),
    ]),
    "tci231-park-2023": (D("626.098029"), [
        ("P-01", "diesel", "FC 10 t", 10 * D("43.33") * D("0.0202") * D("0.98") * 44 / 12),
        ("P-02", "anthracite", "FC 10 t", COAL),
        ("P-03", "CaCO3", "AD 10 t, PUR 0.95", 10 * D("0.95") * D("0.4397")),
        ("P-04", "", "AD 10 t, CC 0.5 tC/t", 10 * D("0.5") * 44 / 12),
        ("P-05", "anaerobic_reactor", "W 10000 m3, COD_in 1 kgCOD/m3, COD_out 0.2 kgCOD/m3, R 100 kgCH4",
         (10000 * (1 - D("0.2")) * D("0.25") * D("0.8") - 100) / 1000 * 21),
        ("P-06", "", "AD 2 t, EF 0.00786 tN2O/t", 2 * D("0.00786") * 310),
        ("P-07", "", "AD 1000 m3, EF 0.3 kgCO2/m3", 1000 * D("0.3") / 1000),
        ("P-08", "municipal_waste", "IW 100 t", 100 * D("0.20") * D("0.39") * D("0.95") * 44 / 12),
        ("P-09", "managed", "MSW 100 t, DOC 0.15 tC/t, R 1 tCH4, OX 0.1",
         (100 * D(1) * D("0.15") * D("0.5") * D("0.5") * 16 / 12 - 1) * (1 - D("0.1")) * 21),
        ("P-10", "", "AD 50 t, EF 4 kgCH4/t", 50 * D(4) / 1000 * 21),
        ("P-11", "", "AD 20 t, EF 0.1 tCO2/t", 20 * D("0.1")),
        ("P-12", "", "AD 1000 MWh", 1000 * GRID),
        ("P-13", "", "AD 100 MWh", -100 * GRID),
        ("P-14", "", "proved 300 MWh, purchased 1000 MWh", -300 * GRID),
        ("P-15", "", "AD 500 GJ", 500 * D("0.11")),
        ("P-16", "", "Ma 100 t, En 2800 kJ/kg", STEAM),
        ("P-17", "", "Ma 200 t, T 80 ℃", HOT_WATER),
        ("P-18", "", "AD 50 GJ", -50 * D("0.11")),
    ]),
    "tci231-community-2023": (D("583.179212"), [
        ("C-01", "", "AD 1000 MWh", 1000 * GRID),
        ("C-02", "", "AD 100 MWh", -100 * GRID),
        ("C-03", "", "proved 300 MWh, purchased 1000 MWh", -300 * GRID),
        ("C-04", "", "AD 500 GJ", 500 * D("0.11")),
        ("C-05", "", "Ma 100 t, En 2800 kJ/kg", STEAM),
        ("C-06", "", "Ma 200 t, T 80 ℃", HOT_WATER),
        ("C-07", "municipal_waste", "IW 100 t", 100 * D("0.20") * D("0.39") * D("0.95") * 44 / 12),
        ("C-08", "unmanaged_deep", "MSW 100 t, DOC 0.15 tC/t",
         100 * D("0.8") * D("0.15") * D("0.5") * D("0.5") * 16 / 12 * 21),
        ("C-09", "", "AD 100 t, EF 0.2 tCO2/t", 100 * D("0.2")),
        ("C-10", "natural_gas", "FC 2 1e4Nm3", NATURAL_GAS),
    ]),
    "tci231-reduction-2023": (D("-2956.336"), [
        ("R01-B", "", "AD 100 t, EF 0.9 tCO2/t", -100 * D("0.9")),
        ("R01-P", "", "AD 100 t, EF 0.2 tCO2/t", 100 * D("0.2")),
        ("R01-L", "", "AD 100 t·km, EF 0.00006 tCO2/t·km", 100 * D("0.00006")),
        ("R02-B", "", "AD 1000 m3, EF 0.5 kgCO2/m3", -1000 * D("0.5") / 1000),
        ("R02-P", "", "AD 1000 m3, EF 0.1 kgCO2/m3", 1000 * D("0.1") / 1000),
        ("R02-L", "", "AD 10 MWh, EF 0.5 tCO2/MWh", 10 * D("0.5")),
        ("R03-B", "", "AD 800 MWh", -800 * GRID),
        ("R03-P", "", "AD 1000 t, EF 0.27 tCO2/t", 1000 * D("0.27")),
        ("R03-L", "", "AD 5000 km, EF 900000 mgCO2/km", 5000 * D("900000") / 10**9),
        ("R04-B", "", "AD 720 GJ", -720 / D("3.6") * GRID),
        ("R04-P", "", "AD 5 MWh, EF 0.5 tCO2/MWh", 5 * D("0.5")),
        ("R04-L", "", "AD 1 t, EF 0.1 tCO2/t", D("0.1")),
        ("R05-B", "", "AD 10 1e4Nm3, EF 19.7 tCO2/1e4Nm3", -10 * D("19.7")),
        ("R05-P", "", "AD 20 MWh, EF 0.5 tCO2/MWh", 20 * D("0.5")),
        ("R05-L", "", "AD 3 t, EF 0.1 tCO2/t", 3 * D("0.1")),
        ("R06-B", "", "AD 10 t, EF 2 tCO2/t", -10 * D(2)),
        ("R06-P", "", "AD 10 t, EF 0.5 tCO2/t", 10 * D("0.5")),
        ("R06-L", "", "AD 10 t, EF 0.1 tCO2/t", 10 * D("0.1")),
        ("R07-B", "", "AD 10000 m3, EF 0.8 kgCO2/m3", -10000 * D("0.8") / 1000),
        ("R07-P", "", "AD 10000 m3, EF 0.3 kgCO2/m3", 10000 * D("0.3") / 1000),
        ("R07-L", "", "AD 4 t, EF 0.5 tCO2/t", 4 * D("0.5")),
        ("R08-B", "", "AD 1000 t, EF 0.02 tCO2/t", -1000 * D("0.02")),
        ("R08-P", "", "AD 1000 t, EF 0.005 tCO2/t", 1000 * D("0.005")),
        ("R08-L", "", "AD 1000 t, EF 0.001 tCO2/t", 1000 * D("0.001")),
        ("R09-B", "", "AD 1000 t, EF 0.6 tCO2/t", -1000 * D("0.6")),
        ("R09-P", "", "AD 1000 t, EF 0.3 tCO2/t", 1000 * D("0.3")),
        ("R09-L", "", "AD 1000 t, EF 0.01 tCO2/t", 1000 * D("0.01")),
        ("R10-B", "", "AD 100 MWh, EF 0.6 tCO2/MWh", -100 * D("0.6")),
        ("R10-P", "", "AD 80 MWh, EF 0.6 tCO2/MWh", 80 * D("0.6")),
        ("R10-L", "", "AD 2 t, EF 0.44 tCO2/t", 2 * D("0.44")),
        ("R11-B", "", "AD 2 each, EF 5 tCO2/each", -2 * D(5)),
        ("R11-P", "", "AD 2 each, EF 1 tCO2/each", 2 * D(1)),
        ("R11-L", "", "AD 2 each, EF 0.5 tCO2/each", 2 * D("0.5")),
        ("R12-B", "", "AD 2 hm2, EF 0.0003 tCO2/m2", -20000 * D("0.0003")),
        ("R12-P", "", "AD 1 t, EF 3 tCO2/t", D(3)),
        ("R12-L", "", "AD 1 t, EF 0.2 tCO2/t", D("0.2")),
        ("R13-B", "", "AD 10 hm2, EF 0.0005 tCO2/m2", -100000 * D("0.0005")),
        ("R13-P", "", "AD 2 t, EF 3 tCO2/t", 2 * D(3)),
        ("R13-L", "", "AD 2 t, EF 0.2 tCO2/t", 2 * D("0.2")),
        ("R14-B", "", "AD 5 hm2, EF 0.0004 tCO2/m2", -50000 * D("0.0004")),
        ("R14-P", "", "AD 1 t, EF 3 tCO2/t", D(3)),
        ("R14-L", "", "AD 1 t, EF 0.2 tCO2/t", D("0.2")),
        ("R15-B", "", "AD 5 hm2, EF 0.0001 tCO2/m2", -50000 * D("0.0001")),
        ("R15-P", "", "AD 1 t, EF 1 tCO2/t", D(1)),
        ("R15-L", "", "AD 1 t, EF 0.2 tCO2/t", D("0.2")),
        ("R16-B", "", "AD 1 hm2, EF 0.0001 tCO2/m2", -10000 * D("0.0001")),
        ("R16-P", "", "AD 1 t, EF 0.3 tCO2/t", D("0.3")),
        ("R16-L", "", "AD 1 t, EF 0.2 tCO2/t", D("0.2")),
        ("R17-B", "", "AD 1000 MWh", -1000 * GRID),
        ("R17-P", "", "AD 10 MWh, EF 0.5306 tCO2/MWh", 10 * D("0.5306")),
        ("R17-L", "", "AD 1 t, EF 0 tCO2/t", D(0)),
        ("R18-B", "", "AD 2000 MWh", -2000 * GRID),
        ("R18-P", "", "AD 20 MWh, EF 0.5306 tCO2/MWh", 20 * D("0.5306")),
        ("R18-L", "", "AD 1 t, EF 0.4 tCO2/t", D("0.4")),
        ("R19-B", "", "AD 500 MWh", -500 * GRID),
        ("R19-P", "", "AD 3 t, EF 3.1 tCO2/t", 3 * D("3.1")),
        ("R19-L", "", "AD 10000 km, EF 900000 mgCO2/km", 10000 * D("900000") / 10**9),
        ("R20-B", "", "AD 10 t, EF 10 tCO2/t", -10 * D(10)),
        ("R20-P", "", "AD 10 t, EF 1.2 tCO2/t", 10 * D("1.2")),
        ("R20-L", "", "AD 10 t, EF 0.3 tCO2/t", 10 * D("0.3")),
        ("R21-B", "", "AD 300 MWh", -300 * GRID),
        ("R21-P", "", "AD 300 MWh, EF 0.1 tCO2/MWh", 300 * D("0.1")),
        ("R21-L", "", "AD 1 t, EF 0.5 tCO2/t", D("0.5")),
        ("RH2-B", "", "AD 10000 km, EF 900000 mgCO2/km", -10000 * D("900000") / 10**9),
        ("RH2-P", "", "AD 0.8 t, EF 1.2 tCO2/t", D("0.8") * D("1.2")),
        ("RH2-L", "", "AD 0.8 t, EF 0.1 tCO2/t", D("0.8") * D("0.1")),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKED)
def test_every_row_is_what_a_hand_reckons(name: str) -> None:
    total, cases = WORKED[name]
    proof = {row: f"P-{row.partition('-')[0]}-{row if name != 'tci231-reduction-2023' else ''}" for row, *_ in cases}
    found = lines(name, [entry(row, item, text, proof=proof[row]) for row, item, text, _ in cases])
    for line, (row, item, text, expected) in zip(found, cases, strict=True):
        assert abs(line.tco2e - expected) < D("1e-9") * max(1, abs(expected)), (row, item, text, line.tco2e, expected)
    assert abs(sum(line.tco2e for line in found) - total) < D("1e-6"), sum(line.tco2e for line in found)
    assert {row for row, _, _, _ in cases} == set(method.get(name).rows)


def test_reductions_stand_beside_the_inventory() -> None:
    """Nothing of the ledger, nor the green space of a building, enters a total."""
    cases = WORKED["tci231-reduction-2023"][1]
    found = lines(
        "tci231-reduction-2023", [entry(row, item, text, proof=row.partition("-")[0]) for row, item, text, _ in cases]
    )
    totals = inventory.totals(found)
    assert totals.total == 0
    assert totals.reduction == sum(line.tco2e for line in found) < 0
    assert totals.by_leaf["transport.indirect.hydrogen"] == D("-9") + D("0.96") + D("0.08")


def test_the_ledger_has_every_leaf_of_table_2_with_a_named_baseline_and_a_proof() -> None:
    rows = method.get("tci231-reduction-2023").rows.values()
    leaves = {row.leaf for row in rows if isinstance(row.leaf, str) and row.leaf.startswith("reduction.")}
    assert len(leaves) == 21
    assert all(row.class_ == "reduction" and row.proof and row.baseline_zh and row.baseline_en for row in rows)
    for leaf in leaves:
        signs = sorted(row.sign for row in rows if row.leaf == leaf)
        assert signs == [-1, 1, 1], leaf


def test_the_methods_reach_every_leaf_of_the_tree_and_no_other_place() -> None:
    """``leaves`` is what methods are checked against; the tree is Table 2 as printed."""
    found = {leaf.id: leaf for leaf in indicators.tree().leaves}
    assert set(found) == leaves.LEAVES
    assert {name for name, leaf in found.items() if not leaf.in_standard} == leaves.ADDED
    rows = [row for held in method.builtin().values() for row in held.rows.values()]
    assert {
        leaf for row in rows for leaf in ([row.leaf] if isinstance(row.leaf, str) else row.leaf.values())
    } == leaves.LEAVES


def test_a_meter_feeds_one_leaf_of_the_ledger() -> None:
    """The same increments as PV and as captive power would count one kilowatt hour twice."""
    pv = entry("R17-B", "", "AD 1000 MWh", proof="A", grade="metered")
    captive = entry("R21-B", "", "AD 1000 MWh", proof="B", grade="metered")
    with pytest.raises(ActivityError, match=r"report 2025-06 in R17-B \(reduction\.clean\.pv\) too"):
        lines("tci231-reduction-2023", [pv, captive])
    assert len(lines("tci231-reduction-2023", [pv, replace(captive, start=JULY[0], end=JULY[1])])) == 2
    with pytest.raises(ActivityError, match="R17-B/twice"):
        lines("tci231-reduction-2023", [pv, replace(pv, label="twice", proof="C")])


def test_a_proof_counts_for_one_leaf_of_the_ledger() -> None:
    wind = entry("R18-B", "", "AD 1000 MWh", proof="GEC-9")
    with pytest.raises(ActivityError, match=r"proof GEC-9 in R18-B"):
        lines("tci231-reduction-2023", [wind, entry("R17-B", "", "AD 10 MWh", proof="GEC-9")])
    assert (
        len(lines("tci231-reduction-2023", [wind, entry("R18-P", "", "AD 1 MWh, EF 1 tCO2/MWh", proof="GEC-9")])) == 2
    )


def test_no_proof_no_reduction() -> None:
    with pytest.raises(ActivityError, match="no proof"):
        lines("tci231-reduction-2023", [entry("R01-B", "", "AD 1 t, EF 1 tCO2/t", proof="")])


def test_renewables_of_a_building_never_take_off_more_than_it_uses() -> None:
    (line,) = lines("gbt-51366-2019", [entry("51366-05", "", "proved 500 MWh, purchased 400 MWh")])
    assert line.tco2e == -400 * GRID
