"""Files of activity in a store: declared, corrected, signed, and refused where they do not fit or count twice."""

import json

import pytest

from cloud import activities, subjects
from cloud.accounting import beside, draw, replayed, signed_activity
from protocols.errors import ActivityError, ConfigError, EnrolmentError, SignatureError, UnitError, UnknownNameError
from protocols.record.cose import ES256, PrivateKey
from tests.cloud import tables
from tests.cloud.accounting.small_city import DAYS, City, gas


def test_a_corrected_file_stands_instead_of_the_one_it_names(city: City) -> None:
    wrong = city.declare(gas("15"))
    before = city.close()
    city.declare(gas("1.5", f'replaces = "{wrong.sha256}"'))
    after = city.close()
    assert after.content.totals.direct * 10 == before.content.totals.direct
    assert [(kept.sha256 == wrong.sha256, bool(kept.replaced_by)) for kept in activities.listing(city.store)] == [
        (True, True),
        (False, False),
    ]
    assert after.difference.activity == after.difference.total
    with pytest.raises(ActivityError, match="which stands instead of it"):
        city.declare(gas("0.1", f'replaces = "{wrong.sha256}"'))
    assert city.close() == after


def test_two_files_for_one_source_are_never_added_up_silently(city: City) -> None:
    city.declare(gas("1.5"))
    city.declare(gas("1.6"))
    with pytest.raises(ActivityError, match="twice"):
        city.close()


def bill(label: str, more: str = "") -> bytes:
    told = f'label = "{label}"\n{more}\nAD = {{ value = "1 MWh", document = "bill" }}'
    return tables.activity_file("S-DEMO", tables.entry("24-08", *DAYS, told)).encode()


def test_a_bill_beside_the_meter_of_its_row_is_not_complete_until_it_is_told_apart(city: City) -> None:
    metered = next(line.id for line in city.close().content.lines if line.row == "24-08")
    kept = city.declare(bill("bill"))
    doubled = city.close().content
    assert beside.BESIDE in doubled.reasons
    named = [one for one in draw.unconfirmed(doubled) if one.startswith(beside.BESIDE)]
    assert any(metered in one and "24-08/bill" in one for one in named), named
    city.declare(bill("bill", "beside = true").replace(b"[[", f'replaces = "{kept.sha256}"\n[['.encode(), 1))
    told = city.close().content
    assert beside.BESIDE not in told.reasons and told.totals.total == doubled.totals.total
    city.declare(bill("second bill"))
    assert beside.BESIDE in city.close().content.reasons, "the third is told apart from neither"


def test_two_bills_that_overlap_are_named_and_two_labels_of_one_file_are_not(city: City) -> None:
    one = gas("1.5").replace(b"item", b'label = "A"\nitem')
    other = gas("1.6").replace(b"item", b'label = "B"\nitem')
    kept = city.declare(one + b"[[activity]]" + other.partition(b"[[activity]]")[2])
    assert beside.BESIDE not in city.close().content.reasons
    city.declare(gas("1.7").replace(b"item", b'label = "C"\nitem'))
    found = [one for one in draw.unconfirmed(city.close().content) if one.startswith(beside.BESIDE)]
    assert any("natural_gas/A + 24-01/natural_gas/C" in one for one in found), found
    assert kept.count == 2


def test_a_declared_file_that_comes_signed_rises_and_never_falls(city: City) -> None:
    def grade() -> str:
        return next(line for line in city.close().content.lines if line.row == "24-01").activities[0].grade

    key = PrivateKey.generate()
    subjects.trust(city.store, "计量科", key.public, now=city.now)
    source = gas("1.5")
    assert city.declare(source).grade == "declared" and grade() == "declared"
    signed = activities.take_signed(city.store, "a.cose", signed_activity.sign(source, key), now=city.now)
    assert (signed.grade, signed.by, grade()) == ("imported", "计量科", "imported")
    assert city.declare(source).grade == "imported" and grade() == "imported"
    held = city.store.entry_versions("activity", signed.sha256)
    assert [(row.version, row.by) for row in held] == [(1, "王工"), (2, "计量科")], "the declared one is kept"
    assert len(activities.listing(city.store, "S-DEMO")) == 1


@pytest.mark.parametrize(
    ("report", "signed", "status"),
    [("", False, "DRAFT"), ("5" * 64, False, "REVIEWED"), ("", True, "REVIEWED")],
)
def test_a_measured_value_on_a_name_alone_stays_a_draft(city: City, report: str, signed: bool, status: str) -> None:
    lab = f'NCV = {{ value = "389 GJ/1e4Nm3", document = "report 7", sha256 = "{report}" }}\n'
    source = gas("1.5") + lab.encode()
    if signed:
        key = PrivateKey.generate()
        subjects.trust(city.store, "化验室", key.public, now=city.now)
        activities.take_signed(city.store, "a.cose", signed_activity.sign(source, key), now=city.now)
    else:
        city.declare(source)
    version = city.close()
    line = next(line for line in version.content.lines if line.row == "24-01")
    used = next(one for one in line.parameters if one.symbol == "NCV")
    named = "parameter.unproved: 24-01/natural_gas.NCV (report 7)"
    assert (used.status, named in draw.unconfirmed(version.content)) == (status, status == "DRAFT")
    assert list(replayed.faults(version.content)) == []


def test_a_digest_that_is_none_is_refused(city: City) -> None:
    with pytest.raises(ActivityError, match="64 hex digits"):
        city.declare(gas("1.5").replace(b'tainty = "1"', b'tainty = "1", sha256 = "ab"'))


def test_a_signed_file_is_taken_from_a_registered_key_only_and_kept_byte_for_byte(city: City) -> None:
    key, other = PrivateKey.generate(), PrivateKey.generate()
    kid = subjects.trust(city.store, "计量科", key.public, now=city.now)
    source = gas("1.5")
    kept = activities.take_signed(city.store, "a.cose", signed_activity.sign(source, key), now=city.now)
    assert activities.content(city.store, kept.sha256)[1] == source
    line = city.close().content.lines[0].activities[0]
    assert (line.grade, line.by, line.sha256, line.reference) == ("imported", "计量科", kept.sha256, "gas bill 10-2026")
    with pytest.raises(EnrolmentError, match="no key"):
        activities.take_signed(city.store, "a.cose", signed_activity.sign(source, other), now=city.now)
    with pytest.raises(ActivityError, match="expected a signed correction"):
        city.declare(gas("0.1", f'replaces = "{kept.sha256}"'))
    altered = signed_activity.sign(source, key).replace(b"1.5 1e4", b"0.5 1e4")
    with pytest.raises(SignatureError):
        activities.take_signed(city.store, "a.cose", altered, now=city.now)
    subjects.distrust(city.store, kid, now=city.now)
    with pytest.raises(EnrolmentError, match="no longer trusted"):
        activities.take_signed(city.store, "b.cose", signed_activity.sign(gas("2"), key), now=city.now)
    assert activities.content(city.store, kept.sha256)[1] == source
    with pytest.raises(ConfigError, match="Ed25519"):
        subjects.trust(city.store, "x", PrivateKey.generate(ES256).public, now=city.now)


@pytest.mark.parametrize(
    ("source", "error", "told"),
    [
        (gas("1.5", start="2026-10-02", end="2026-10-04"), None, "across the edge"),
        (gas("1.5") + gas("1").partition(b"[[activity]]")[2].join([b"[[activity]]", b""]), ActivityError, "twice"),
        (gas("1e999"), ActivityError, "expected at most"),
        (gas("1.5").replace(b'tainty = "1"', b'tainty = "1", estimated = "5"'), ActivityError, "from 0 to 1"),
        (gas("1.5").replace(b"until = 2026-10-04\n", b""), ActivityError, "no from and until"),
        (gas("1.5").replace(b"1e4Nm3", b"m3"), None, "FC"),
        (gas("1.5", 'replaces = "00"'), ActivityError, "replaces"),
        (gas("1.5").replace(b"S-DEMO", b"S-NONE"), UnknownNameError, "S-NONE"),
        (gas("1.5").replace(b"S-DEMO", b"P-01"), ActivityError, "no method"),
    ],
)
def test_activity_that_does_not_fit_is_refused(city: City, source: bytes, error: type[Exception], told: str) -> None:
    with pytest.raises(error or (ActivityError, UnitError), match=told):
        city.declare(source)
        city.close()


def test_json_gives_the_same_as_toml(city: City) -> None:
    entry = {"row": "24-01", "item": "natural_gas", "from": "2026-10-03", "until": "2026-10-04", "FC": "1.5 1e4Nm3"}
    city.declare(json.dumps({"schema": 1, "subject": "S-DEMO", "activity": [entry]}).encode())
    as_json = city.close().content.totals
    assert as_json.direct > 0
    again = {**entry, "until": "October"}
    with pytest.raises(ActivityError, match="October"):
        city.declare(json.dumps({"schema": 1, "subject": "S-DEMO", "activity": [again]}).encode())


def test_a_file_that_would_wear_the_reader_out_is_refused_before_it_is_read(city: City) -> None:
    with pytest.raises(ActivityError, match="cut it by month"):
        city.declare(b'schema = 1\nsubject = "S-DEMO"\n#' + b"x" * (5 << 20))
