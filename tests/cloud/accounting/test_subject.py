"""Subject files: what they say, and what is refused with the place that is wrong."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.accounting import method as methods
from cloud.accounting import subject_file as subjects
from protocols.errors import ConfigError

FILE = """
schema = 1
[[subject]]
id = "S-0012"
zh = "示例水泥厂"
en = "Example cement works"
kind = "enterprise"
category = "industry"
method = "ndrc-24-2015"
site = "S-0012"
place = { lon = "113.32", lat = "23.13" }
[[subject.membership]]
of = "P-01"
share = "0.6"
from = 2025-01-01
until = 2026-01-01
[[subject.membership]]
of = "P-02"
from = 2026-01-01
[[subject.meter]]
device = "M-01"
point = "energy_import"
row = "24-08"
symbol = "AD"
class = "0.5"
[[subject.meter]]
device = "M-02"
point = "energy_import"
row = "24-08"
symbol = "AD"
role = "sub"
of = "M-01.energy_import"
[[subject.meter]]
device = "G-01"
point = "volume"
row = "24-01"
item = "natural_gas"
symbol = "FC"
normal = { value = "0.93 Nm3/m3", document = "contract 2025-7" }
[[subject.denominator]]
kind = "output"
product = "clinker"
value = "120000 t"
period = "2025-06"
document = "production report 2025-06"
uncertainty = "1"
[[subject.target]]
year = 2025
tco2e = "98000"
kind = "quota"
[[subject.baseline]]
id = "B-1"
period = "2020"
tco2e = "101234.5"
method = "ndrc-24-2015"
document = "verification report 2021"
"""


def test_a_subject_file_says_who_belongs_where_and_what_feeds_what() -> None:
    file = subjects.read("city.toml", FILE.encode())
    one = file.subjects["S-0012"]
    assert one.members_of(date(2025, 12, 31)) == {"P-01": Decimal("0.6")}
    assert one.members_of(date(2026, 1, 1)) == {"P-02": Decimal(1)}
    assert [meter.role for meter in one.meter] == ["main", "sub", "main"]
    assert one.denominator[0].quantity.value == 120000
    subjects.bind(one, methods.get("ndrc-24-2015"))
    assert file.sha256 == subjects.read("other-name.toml", FILE.encode()).sha256


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ('kind = "enterprise"', 'kind = "enterprize"', "did you mean 'enterprise'"),
        ("until = 2026-01-01", "until = 2024-01-01", "membership[0].until"),
        ("from = 2026-01-01", 'from = 2025-06-01\nshare = "1.2"', "membership[1].share"),
        ('of = "P-02"\nfrom = 2026-01-01', 'of = "P-01"\nfrom = 2025-12-31', "membership[1]"),
        ('of = "P-02"', 'of = "S-0012"', "another subject"),
        ('of = "M-01.energy_import"', 'of = "M-07.energy_import"', "meter[1].of"),
        ('value = "0.93 Nm3/m3"', 'value = "0.93"', "meter[2].normal.value"),
        ('value = "120000 t"', 'value = "120000 CNY"', "denominator[0].value"),
        ('value = "120000 t"', 'value = "0 t"', "denominator[0].value"),
        ('period = "2025-06"', 'period = "June"', "denominator[0].period"),
        ('tco2e = "98000"', 'tco2e = "NaN"', "target[0].tco2e"),
        ('lat = "23.13"', 'lat = "123.13"', "place.lat"),
        ('kind = "enterprise"', 'kind = "enterprise"\noutline = [["113", "23"], ["114", "23"]]', "outline"),
        (
            'kind = "enterprise"',
            'kind = "enterprise"\noutline = [["1", "2"], ["3", "4"], ["5", "95"]]',
            "outline[2][1]",
        ),
        ('normal = { value = "0.93 Nm3/m3"', 'pressure = "pressure"\nnormal = { value = "0.93 Nm3/m3"', "pressure"),
        ('class = "0.5"', 'semantics = "instantaneous"', "meter[0].ceiling"),
        ('class = "0.5"', 'class = "0.5"\naccuracy = "1"', "accuracy"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(found: str, instead: str, told: str) -> None:
    assert FILE.count(found) >= 1
    with pytest.raises(ConfigError) as raised:
        subjects.read("city.toml", FILE.replace(found, instead, 1).encode())
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ('row = "24-08"', 'row = "24-80"', "24-80"),
        ('symbol = "AD"', 'symbol = "FC"', "FC"),
        ('item = "natural_gas"', 'item = "natural_gaz"', "did you mean 'natural_gas'"),
    ],
)
def test_a_meter_feeds_a_symbol_that_its_row_has(found: str, instead: str, told: str) -> None:
    one = subjects.read("city.toml", FILE.replace(found, instead).encode()).subjects["S-0012"]
    with pytest.raises(ConfigError, match=told):
        subjects.bind(one, methods.get("ndrc-24-2015"))
