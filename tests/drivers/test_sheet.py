"""A profile as sheets and as its file: both ways give the same profile; what does not fit is named by its cell."""

from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from drivers import builtin, cell, compose, profile_file, profile_text, sheet
from drivers.profile import Identify, Point, Profile, Read
from drivers.proof import prove
from drivers.sheet import Table
from protocols.errors import ConfigError

PROFILES = {name: profile_file.load(builtin.builtin(name), name) for name in builtin.builtin_ids()}
every_profile = pytest.mark.parametrize("model", PROFILES.values(), ids=PROFILES)
MODEL = Table(
    "model",
    ("key", "value"),
    (
        ("id", "acme"),
        ("title.zh", "表"),
        ("title.en", "meter"),
        ("protocol", "modbus"),
        ("medium", "electricity"),
        ("source.doc", "manual p. 3"),
        ("source.verified", "doc-only"),
        ("products[0].brand", "ACME"),
        ("products[0].model", "1"),
        ("link.baud", "9600, 2400"),
        ("link.readable", "0x0002-0x0009 16..17"),
    ),
)
COLUMNS = ("id", "unit", "kind", "fc", "address", "type", "scale", "modulus")
ROWS = (
    ("energy_import", "kWh", "counter", "3", "0x000A", "u32", "0.01", "42949672.96"),
    ("voltage_a", "V", "gauge", "3.0", "61H", "u16", "0.1", ""),
)
POINTS = Table("points", COLUMNS, ROWS)


@every_profile
def test_sheets_of_a_profile_are_read_as_that_profile(model: Profile) -> None:
    assert sheet.profile(sheet.tables(model), "x.xlsx") == model


@every_profile
def test_the_text_of_a_profile_is_read_as_that_profile(model: Profile) -> None:
    assert profile_file.load(profile_text.text(model).encode(), model.id) == model


def test_identification_survives_both_ways() -> None:
    marks = Identify(Read(3, 0xFC02), (0x70,), {"frequency": (Decimal(45), Decimal("65.5"))})
    model = msgspec.structs.replace(PROFILES["eastron-sdm630"], identify=marks)
    assert sheet.profile(sheet.tables(model), "x.csv") == model
    assert profile_file.load(profile_text.text(model).encode()) == model


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ({"meter_type": "20", "flow_decimals": 2}, 'meter_type="20" flow_decimals=2'),
        ({"stack": {"area_m2": Decimal("0.95"), "swept": True}}, "stack.area_m2=0.95 stack.swept=yes"),
        ({"options": {"units": {"B02": "m3/h", "S08": "k Pa"}, "x": "no"}}, None),
        ({"a": "", "b": -3, "c": Decimal("-0.5"), "d": "-0.5", "e": False}, None),
    ],
)
def test_options_of_a_protocols_own_keep_their_types(held: dict[str, object], text: str | None) -> None:
    written = cell.write(held, "options")
    assert text in (written, None)
    assert cell.read(written, sheet.hint(Profile, "options")) == held


@pytest.mark.parametrize("text", ["units", "units.a=1 units.a.b=2", "a = 1"])
def test_options_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name=value|not both"):
        cell.read(text, sheet.hint(Profile, "options"))


def test_a_small_sheet_becomes_a_profile_whose_proofs_are_composed() -> None:
    made = compose.proved(sheet.profile((POINTS, MODEL), "acme.xlsx"))
    assert made.points[1].address == 0x61 and made.link.baud == (9600, 2400)
    assert made.link.readable == ((2, 9), (16, 17)) and made.products[0].model == "1"
    assert {point for proof in made.proof for point in proof.expect} == {"energy_import", "voltage_a"}
    assert all(proof.source == compose.COMPOSED for proof in made.proof)
    prove(made)


@pytest.mark.parametrize(
    ("row", "column", "text", "place", "expected"),
    [
        (0, "scale", "0,1", "sheet points, row 2, column G (scale)", "a number"),
        (1, "address", "sixty", "sheet points, row 3, column E (address)", "0x0061"),
        (1, "type", "u61", "sheet points, row 3, column F (type)", "u16"),
        (1, "kind", "guage", "sheet points, row 3, column C (kind)", "gauge"),
        (1, "id", "energy_import", "sheet points, row 3, column A (id)", "each id once"),
        (0, "modulus", "", "sheet points, row 2, column H (modulus)", "rolls over"),
        (0, "modulus", "-1", "sheet points, row 2, column H (modulus)", "above 0"),
        (1, "id", "U a", "sheet points, row 3, column A (id)", "regex"),
        (0, "fc", "1", "sheet points, row 2, column F (type)", "bit with fc"),
    ],
)
def test_what_does_not_fit_is_named_by_its_cell(row: int, column: str, text: str, place: str, expected: str) -> None:
    rows = [list(entry) for entry in ROWS]
    rows[row][COLUMNS.index(column)] = text
    bad = replace(POINTS, rows=tuple(tuple(entry) for entry in rows))
    with pytest.raises(ConfigError) as caught:
        sheet.profile((bad, MODEL), "acme.xlsx")
    assert caught.value.path == f"acme.xlsx: {place}"
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("key", "text", "place", "expected"),
    [
        ("medium", "steam", "sheet model, row 6, column B (value)", "electricity"),
        ("link.baud", "fast", "sheet model, row 11, column B (value)", "a whole number"),
        ("link.readable", "9-2", "sheet model (link.readable[0])", "first <= last"),
        ("id", "", "sheet model (", "'id'"),
    ],
)
def test_the_models_data_is_named_by_its_cell(key: str, text: str, place: str, expected: str) -> None:
    rows = tuple((name, text if name == key else value) for name, value in MODEL.rows)
    with pytest.raises(ConfigError) as caught:
        sheet.profile((POINTS, replace(MODEL, rows=rows)), "acme.xlsx")
    assert caught.value.path.startswith("acme.xlsx") and expected in str(caught.value)
    assert place in caught.value.path or key == "id"


def test_an_unknown_key_and_an_unknown_column_are_guessed() -> None:
    rows = (*MODEL.rows, ("link.paritty", "N"))
    with pytest.raises(ConfigError, match=r"row 13, column A .*link\.parity"):
        sheet.profile((POINTS, replace(MODEL, rows=rows)), "acme.xlsx")
    with pytest.raises(ConfigError, match=r"column G: found 'scael'.*scale"):
        columns = tuple("scael" if name == "scale" else name for name in COLUMNS)
        sheet.profile((replace(POINTS, columns=columns), MODEL), "acme.xlsx")


def test_blank_rows_do_not_shift_what_is_named() -> None:
    numbered = replace(POINTS, rows=(ROWS[0], ("voltage_a", "V", "gauge", "3", "x", "u16", "", "")), numbers=(2, 9))
    with pytest.raises(ConfigError, match="row 9, column E"):
        sheet.profile((numbered, MODEL), "acme.xlsx")


def test_a_sheet_without_points_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sheet points"):
        sheet.profile((MODEL,), "acme.xlsx")


def test_drop_downs_offer_what_the_type_allows() -> None:
    assert cell.choices(sheet.hint(Point, "fc")) == ("1", "2", "3", "4")
    assert cell.choices(sheet.hint(Point, "primary")) == ("yes", "no")
    assert cell.choices(sheet.hint(Point, "unit")) == ()
    assert "counter" in cell.choices(sheet.hint(Point, "kind"))


def test_letters_count_on_beyond_z() -> None:
    assert [sheet.letters(number) for number in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]
