"""Guidelines 13 to 24, worked by hand: every row with its inputs, the arithmetic written out, and the total."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest
from msgspec.structs import replace

from cloud.accounting import calculate, factors, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.units import quantity
from protocols.errors import ActivityError

D = Decimal
Case = tuple[str, str, str, D]
"""Row, item, what is given ("FC 100 t, NCV 20 GJ/t"), and the signed tCO2e by hand."""

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
GRID = D("0.5306")
"""National average of 2023, the newest published for June 2025 (notice 47 of 2025), tCO2/MWh."""


def entry(row: str, item: str, text: str, proof: str = "GEC-1", label: str = "") -> Entry:
    given = {}
    for part in text.split(", "):
        symbol, _, amount = part.partition(" ")
        given[symbol] = Given(quantity(amount), "declared", "report 2025-06")
    return Entry(row, *JUNE, given, item=item, label=label, proof=proof)


def lines(name: str, entries: list[Entry]) -> list[Line]:
    return list(calculate.lines(method.get(name), entries, Programme("S", factors.builtin())))


def trade(guideline: str, first: int, cold: int = 0) -> list[Case]:
    """Purchased and sold electricity, green power, heat in three forms, heat sold, cold."""
    row = [f"{guideline}-{first + index:02d}" for index in range(7)]
    cases = [
        (row[0], "", "AD 1000 MWh", 1000 * GRID),
        (row[1], "", "AD 100 MWh", -100 * GRID),
        (row[2], "", "proved 1200 MWh, purchased 1000 MWh", -1000 * GRID),
        (row[3], "", "AD 500 GJ", 500 * D("0.11")),
        (row[4], "", "Ma 100 t, En 2800 kJ/kg", 100 * (2800 - D("83.74")) / 1000 * D("0.11")),
        (row[5], "", "Ma 200 t, T 80 ℃", 200 * (80 - 20) * D("4.1868") / 1000 * D("0.11")),
        (row[6], "", "AD 50 GJ", -50 * D("0.11")),
    ]
    if cold:
        cases.append((f"{guideline}-{cold:02d}", "", "AD 100 GJ, EF 0.05 tCO2/GJ", 100 * D("0.05")))
    return cases


NATURAL_GAS = 2 * D("389.31") * D("0.0153") * D("0.99") * 44 / 12
"""2 x 1e4 Nm3."""

WORKED: Mapping[str, tuple[D, list[Case]]] = {
    "ndrc-13-2014": (D("629.500258"), [
        ("13-01", "coke", "FC 100 t", 100 * D("28.446") * D("0.0294") * D("0.93") * 44 / 12),
        ("13-02", "", "AD 1000 t, CC 0.7 tC/t", 1000 * D("0.7") * 44 / 12),
        ("13-03", "washed_coal", "AD 500 t", 500 * D("26.344") * D("0.0254") * 44 / 12),
        ("13-04", "", "AD 700 t, CC 0.85 tC/t", -700 * D("0.85") * 44 / 12),
        ("13-05", "coke", "AD 300 t", -300 * D("28.446") * D("0.0294") * 44 / 12),
        ("13-06", "", "AD 30 1e4Nm3, CC 2.3 tC/1e4Nm3", -30 * D("2.3") * 44 / 12),
        ("13-07", "", "AD 40 t, CC 0.9 tC/t", -40 * D("0.9") * 44 / 12),
        ("13-08", "", "AD 20 t, CC 0.9 tC/t", 20 * D("0.9") * 44 / 12),
        ("13-09", "", "AD 15 t, CC 0.8 tC/t", -15 * D("0.8") * 44 / 12),
        ("13-10", "", "AD 1 t, CC 0.5 tC/t", -1 * D("0.5") * 44 / 12),
        ("13-11", "", "Q 1 1e4Nm3, V 0.99", -1 * D("0.99") * D("19.7")),
        *trade("13", 12, 19),
    ]),
    "ndrc-14-2014": (D("9274.403495"), [
        ("14-01", "bituminous", "FC 100 t", 100 * D("23.204") * D("0.02618") * D("0.93") * 44 / 12),
        ("14-02", "", "Q 5 1e4Nm3, CC 2 tC/1e4Nm3, V_CO2 0.01",
         5 * (2 * D("0.98") * 44 / 12 + D("0.01") * D("19.7"))),
        ("14-03", "", "Q 5 1e4Nm3, V_CH4 0.4", 5 * D("0.4") * (1 - D("0.98")) * D("7.17") * 21),
        ("14-04", "", "Q 1000 1e4Nm3, V 0.005", 1000 * D("0.005") * D("7.17") * 21),
        ("14-05", "", "Q 500 Nm3/min, T 30 d, V 0.005",
         500 * 1440 * 30 * D("0.005") / 10000 * D("7.17") * 21),
        ("14-06", "", "Q 200 1e4Nm3, V 0.4", 200 * D("0.4") * D("7.17") * 21),
        ("14-07", "", "AD 10000 t, q 5 Nm3/t", 10000 * D(5) / 10000 * D("7.17") * 21),
        ("14-08", "", "Q 5 1e4Nm3, V 0.4", -5 * D("0.4") * D("7.17") * 21),
        ("14-09", "", "Q 100 1e4Nm3, V 0.4", -100 * D("0.4") * D("7.17") * 21),
        ("14-10", "", "Q 1000 1e4Nm3, V 0.002", 1000 * D("0.002") * D("19.7")),
        ("14-11", "", "Q 100 1e4Nm3, V 0.002", -100 * D("0.002") * D("19.7")),
        ("14-12", "open_pit", "AD 1000 t", 1000 * D("1.34") / 1000 * 21),
        ("14-13", "", "AD 1000 t, q 2 Sm3/t", 1000 * 2 * D("0.67") / 1000 * 21),
        ("14-14", "high_gas", "AD 1000 t", 1000 * D("2.01") / 1000 * 21),
        *trade("14", 15, 22),
    ]),
    "ndrc-15-2015": (D("2546.913902"), [
        ("15-01", "anthracite", "FC 1000 t", 1000 * D("24.515") * D("0.02749") * D("0.94") * 44 / 12),
        ("15-02", "limestone", "AD 100 t", 100 * D("0.405")),
        ("15-02", "CaCO3", "AD 100 t, PUR 0.95", 100 * D("0.95") * D("0.44")),
        ("15-03", "paper", "W 10000 m3, COD_in 5 kgCOD/m3, COD_out 0.5 kgCOD/m3, S 1000 kgCOD, R 500 kgCH4",
         ((10000 * (5 - D("0.5")) - 1000) * D("0.25") * D("0.5") - 500) / 1000 * 21),
        *trade("15", 4, 11),
    ]),
    "ndrc-16-2015": (D("402.470072"), [
        ("16-01", "coke", "FC 100 t", 100 * D("28.447") * D("0.0295") * D("0.93") * 44 / 12),
        ("16-02", "semi_coke", "AD 10 t", 10 * D("2.853")),
        ("16-02", "natural_gas", "AD 2 1e4Nm3", 2 * D("21.622")),
        ("16-03", "oxalic_acid", "AD 10 t", 10 * D("0.996") * D("0.349")),
        ("16-04", "dolomite", "AD 10 t, PUR 0.9", 10 * D("0.9") * D("0.468")),
        *trade("16", 5, 12),
    ]),
    "ndrc-17-2015": (D("511.075074"), [
        ("17-01", "natural_gas", "FC 2 1e4Nm3, NCV 389.31 GJ/1e4Nm3, CC 0.0153 tC/GJ, OF 0.99", NATURAL_GAS),
        ("17-02", "NF3", "FC 100 kg", (1 - D("0.1")) * 100 * (1 - D("0.8")) / 1000 * 17200),
        ("17-03", "SF6", "FC 50 kg",
         (1 - D("0.1")) * 50 * (1 - D("0.8")) * (1 - D("0.9") * D("0.9")) / 1000 * 22800),
        ("17-04", "HFC-32", "FC 10 kg, U 0.5, a 1, d 0.9", D("0.9") * 10 * D("0.5") * (1 - D("0.9")) / 1000 * 675),
        ("17-05", "NF3", "FC 100 kg", D("0.9") * D("0.09") * 100 / 1000 * 7390),
        ("17-06", "C5F8", "FC 20 kg", D("0.9") * D("0.04") * 20 / 1000 * 12200),
        ("17-07", "c-C4F8O", "FC 10 kg", D("0.9") * D("0.04") * 10 / 1000 * 8830),
        ("17-08", "C2F6", "FC 30 kg", D("0.9") * D("0.2") * 30 * (1 - D("0.9") * D("0.9")) / 1000 * 7390),
        ("17-09", "c-C4F8", "FC 10 kg", D("0.9") * D("0.1") * 10 * (1 - D("0.9") * D("0.9")) / 1000 * 12200),
        ("17-10", "c-C4F8O", "FC 10 kg", D("0.9") * D("0.04") * 10 * (1 - D("0.9") * D("0.9")) / 1000 * 8830),
        *trade("17", 11, 18),
    ]),
    "ndrc-18-2015": (D("2708.815172"), [
        ("18-01", "natural_gas", "FC 2 1e4Nm3, NCV 389.31 GJ/1e4Nm3, CC 0.0153 tC/GJ, OF 0.99", NATURAL_GAS),
        ("18-02", "SF6", "opening 100 kg, closing 80 kg, bought 50 kg, sold 60 kg",
         (100 - 80 + 50 - 60) / D(1000) * 23900),
        ("18-03", "SF6", "n 2000 each", 2000 * D("0.342") * D("146.05") / 1000000 * 23900),
        ("18-04", "", "W 10 t, P 0.2", 10 * D("0.2") * 44 / (D("0.2") * 44 + D("0.8") * D("39.95"))),
        *trade("18", 5, 12),
    ]),
    "ndrc-19-2015": (D("417.900629"), [
        ("19-01", "diesel", "FC 10 t, NCV 43 GJ/t, CC 0.0202 tC/GJ, OF 0.98",
         10 * 43 * D("0.0202") * D("0.98") * 44 / 12),
        ("19-02", "CaCO3", "AD 1000 t, PUR 0.9, F 0.95", 1000 * D("0.9") * D("0.4397") * D("0.95")),
        ("19-03", "MgCO3", "AD 100 t, PUR 0.5", -100 * D("0.5") * D("0.5220")),
        *trade("19", 4, 11),
    ]),
    "ndrc-20-2015": (D("312.826212"), [
        ("20-01", "natural_gas", "FC 2 1e4Nm3", NATURAL_GAS),
        ("20-02", "NaHCO3", "AD 10 t", 10 * D("0.5237")),
        ("20-03", "filled_once", "AD 100 tCO2", 100 * D("0.40")),
        ("20-03", "filled_twice", "AD 50 tCO2", 50 * D("0.60")),
        ("20-04", "beverage", "W 20000 m3, COD_in 4 kgCOD/m3, COD_out 1 kgCOD/m3",
         20000 * (4 - 1) * D("0.25") * D("0.5") / 1000 * 21),
        *trade("20", 5, 12),
    ]),
    "ndrc-21-2015": (D("89.516854"), [
        ("21-01", "natural_gas", "FC 20000 Nm3", NATURAL_GAS),
        ("21-02", "gasoline", "FC 3 t", 3 * D("44.80") * D("0.0189") * D("0.98") * 44 / 12),
        *trade("21", 3, 10),
        ("21-11", "", "AD 1000 m3, EF 0.3 kgCO2/m3", 1000 * D("0.3") / 1000),
    ]),
    "ndrc-22-2015": (D("183.747487"), [
        ("22-01", "lng", "FC 10 t", 10 * D("41.868") * D("0.0153") * D("0.99") * 44 / 12),
        ("22-02", "diesel", "V 1000 L", D("2.6419028944")),
        ("22-03", "gasoline", "V 2 m3, rho 0.74 t/m3",
         2 * D("0.74") * D("44.80") * D("0.0189") * D("0.98") * 44 / 12),
        ("22-04", "natural_gas", "FC 2 1e4Nm3", NATURAL_GAS),
        ("22-05", "car.gasoline.cn4-on", "AD 1000000 km", D(1000000) * 57 / 10**9 * 21),
        ("22-06", "heavy.diesel.all", "AD 1000000 km", D(1000000) * 175 / 10**9 * 21),
        ("22-07", "heavy.natural_gas.cn4-on", "AD 1000000 km", D(1000000) * 900 / 10**9 * 21),
        ("22-08", "light.gasoline.cn1", "AD 1000000 km", D(1000000) * 122 / 10**9 * 310),
        ("22-09", "heavy.diesel.all", "AD 1000000 km", D(1000000) * 30 / 10**9 * 310),
        ("22-10", "car.lpg.cn2", "AD 1000000 km", D(1000000) * 23 / 10**9 * 310),
        ("22-11", "", "M 1000 kg", 1000 * D(12) / 60 * D("0.325") * 44 / 12 / 1000),
        *trade("22", 12),
    ]),
    "ndrc-23-2015": (D("61284.374926"), [
        ("23-01", "natural_gas", "FC 2 1e4Nm3", NATURAL_GAS),
        ("23-02", "", "AD 1000 t, recovered 2 tHFC-23, destroyed 10 tHFC-23", (1000 * D("0.015") - 2 - 10) * 11700),
        ("23-03", "", "AD 10 tHFC-23", 10 * D(44) / 70),
        ("23-04", "HFC-134a", "AD 1000 t", 1000 * D("0.005") * 1300),
        ("23-05", "SF6", "AD 10 t", 10 * D("0.08") * 23900),
        ("23-06", "SF6", "AD 10 t", 10 * D("0.002") * 23900),
        *trade("23", 7, 14),
    ]),
    "ndrc-24-2015": (D("1787.098576"), [
        ("24-01", "anthracite", "FC 1000 t", 1000 * D("24.515") * D("0.02749") * D("0.94") * 44 / 12),
        ("24-02", "CaMg(CO3)2", "AD 100 t, PUR 0.98", 100 * D("0.98") * D("0.4773")),
        ("24-03", "anaerobic_reactor", "W 10000 m3, COD_in 3 kgCOD/m3, COD_out 1 kgCOD/m3",
         10000 * (3 - 1) * D("0.25") * D("0.8") / 1000 * 21),
        ("24-04", "", "Q 0.1 1e4Nm3, V 0.6", -D("0.1") * D("0.6") * D("0.99") * D("7.17") * 21),
        ("24-05", "", "Q 0.1 1e4Nm3, V 0.6", -D("0.1") * D("0.6") * D("7.17") * 21),
        ("24-06", "", "Q 0.1 1e4Nm3, V 0.6, share 0.98", -D("0.1") * D("0.6") * D("0.98") * D("7.17") * 21),
        ("24-07", "", "Q 2 1e4Nm3, V 0.99", -2 * D("0.99") * D("19.7")),
        *trade("24", 8, 16),
        ("24-15", "", "Q 10 Nm3/min, T 5 d, V 0.6, share 0.98",
         -10 * 1440 * 5 * D("0.6") * D("0.98") / 10000 * D("7.17") * 21),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKED)
def test_every_row_of_the_guideline_is_what_a_hand_reckons(name: str) -> None:
    total, cases = WORKED[name]
    found = lines(name, [entry(row, item, text, label=str(index)) for index, (row, item, text, _) in enumerate(cases)])
    for line, (row, item, text, expected) in zip(found, cases, strict=True):
        assert abs(line.tco2e - expected) < D("1e-9") * max(1, abs(expected)), (row, item, text, line.tco2e, expected)
    assert abs(sum(line.tco2e for line in found) - total) < D("1e-6"), sum(line.tco2e for line in found)


@pytest.mark.parametrize("name", WORKED)
def test_no_row_of_the_guideline_is_left_out(name: str) -> None:
    assert {row for row, _, _, _ in WORKED[name][1]} == set(method.get(name).rows)


def test_road_diesel_is_the_published_figure_to_ten_digits() -> None:
    """0.84 kg/L x 43.33 MJ/kg x 20.2 gC/MJ x 0.98 x 44/12 = 2.6419028944 kgCO2/L (guideline 22, pages 10-15 and 60)."""
    by_hand = D("0.84") * D("43.33") * D("0.0202") * D("0.98") * 44 / 12
    (line,) = lines("ndrc-22-2015", [entry("22-02", "diesel", "V 1000 L")])
    assert line.tco2e == D("2.6419028944") == by_hand


def test_steam_with_the_heat_of_cold_water_taken_off_and_by_the_reading_that_does_not() -> None:
    """1000 kg at 2800 kJ/kg: 0.2987886 t here; GB/T 32151.34 as read elsewhere counts the whole enthalpy, 0.308 t."""
    (steam,) = lines("ndrc-24-2015", [entry("24-12", "", "Ma 1000 kg, En 2800 kJ/kg")])
    (whole,) = lines("ndrc-24-2015", [entry("24-11", "", "AD 2.8 GJ")])
    assert (steam.tco2e, whole.tco2e) == (D("0.2987886"), D("0.308"))
    assert whole.tco2e - steam.tco2e == D("83.74") / 1000 * D("0.11")


def test_proved_green_power_nets_to_the_published_case() -> None:
    """100 MWh of the grid and 20 + 30 MWh proved, all purchased: 53.06 t, as if what is proved were 0."""
    bought = [entry("24-08", "", "AD 150 MWh")]
    proved = [
        entry("24-10", "", f"proved {amount} MWh, purchased 150 MWh", proof=f"GEC-{amount}", label=f"{amount}")
        for amount in (20, 30)
    ]
    assert sum(line.tco2e for line in lines("ndrc-24-2015", bought + proved)) == D("53.06")


def test_default_and_measured_gas_content_of_an_open_pit_agree() -> None:
    """2.0 m3/t at 20 ℃ x 0.67 kg/m3 = 1.34 kg/t; with the density of 0 ℃ it would be 7 % more."""
    default = entry("14-12", "open_pit", "AD 1000 t")
    measured = entry("14-13", "", "AD 1000 t, q 2 Sm3/t", label="face 2")
    first, second = lines("ndrc-14-2014", [default, measured])
    assert first.tco2e == second.tco2e
    with pytest.raises(ActivityError, match="reckons the same thing in another way"):
        lines("ndrc-14-2014", [default, replace(measured, label="")])
    assert round(D("7.17") / 10 / D("0.67") - 1, 2) == D("0.07")


def test_urea_keeps_its_share_until_the_print_is_seen() -> None:
    held = method.get("ndrc-22-2015").parameter("P_urea", None)
    assert (held.quantity.value, held.standing, held.status) == (D("0.325"), "memory", "DRAFT")


OURS = [known for known in method.builtin().values() if (known.industry or 99) >= 13]


@pytest.mark.parametrize("known", OURS, ids=lambda known: known.id)
def test_everything_says_its_name_its_source_and_its_doubts_in_both_languages(known: method.Method) -> None:
    names = [(known.zh, known.en), (known.reason_zh, known.reason)]
    for row in known.rows.values():
        names += [(row.zh, row.en), (row.source_zh, row.source)]
        names += [(item.zh, item.en) for item in known.items(row).values()]
        names += [(row.baseline_zh, row.baseline_en)] if row.class_ == "reduction" else []
    for held in known.sets:
        names += [(value.zh, value.en) for value in held.values.values()]
    for zh, en in names:
        assert re.search(r"[\u4e00-\u9fff]", zh), (zh, en)
        assert en and not re.search(r"[a-z]_[a-z]|[\u4e00-\u9fff]", en), (zh, en)
