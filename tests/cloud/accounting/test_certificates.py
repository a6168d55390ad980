"""Ranges of certificates: written in one form, each certificate in them used once, and none hidden by another form."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.accounting import certificates
from cloud.accounting.certificates import Used, each_named, ends, fault, joined, meet
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ProofError
from protocols.record.cose import PrivateKey

KEY = PrivateKey.generate()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "c.db", KEY) as opened:
        yield opened


def claim(store: Store, subject: str, proofs: Mapping[str, str], version: int = 1) -> None:
    detail = json.dumps({"as_of": 0, "proofs": proofs, "tco2e": "0"})
    place = (f"A-{subject}-2026", version, subject, "2026", f"{subject}{version}")
    store.keep([JournalRow(0, "account", *place, 1, "", detail, b"")])


def singles(name: str) -> set[str]:
    """Every certificate of a name or range, one by one."""
    first, last = ends(name)
    if first == last:
        return {first}
    stem = certificates.stem(first)
    width = len(first) - len(stem)
    return {f"{stem}{number:0{width}}" for number in range(int(first[len(stem) :]), int(last[len(stem) :]) + 1)}


def test_a_range_is_its_first_and_last_and_all_between() -> None:
    assert ends("GEC-2026-000001..GEC-2026-000100") == ("GEC-2026-000001", "GEC-2026-000100")
    assert each_named("ｇｅｃ‑01 .. GEC-03; GEC-7") == {"GEC-01..GEC-03", "GEC-7"}
    assert each_named("GEC-0001-0100..gec-0001-0100; 合同..合同") == {"GEC-0001-0100", "合同"}
    assert meet(each_named("GEC-001..GEC-100"), each_named("X; gec-042"))
    assert not meet(each_named("GEC-001..GEC-100"), each_named("GEC-42; GEC-101; GEC-0A; GED-042"))


@pytest.mark.parametrize(
    "text",
    [
        *("GEC-1 to 9", "GEC-1 to GEC-9", "GEC-000001至000100", "GEC-01到GEC-09", "GEC-1～9", "GEC-1 ~ GEC-9"),
        *("0001-0100", "GEC-0001-0100", "GEC-0001–0100", "GEC-01-GEC-09", "GEC-1 - 9", "GEC-1 – GEC-9"),
        *("GEC-1->9", "GEC-1 through 9", "GEC-1...GEC-9", "GEC-1-10", "GEC-9-GEC-10", "GEC 8–112", "绿证9-10", "1-100"),
    ],
)
def test_what_reads_as_a_range_and_is_not_written_as_one_is_told(text: str) -> None:
    assert fault(text)


@pytest.mark.parametrize(
    "text", ["GEC-1..GEC-10", "GEC-9..GEC-1", "GEC-1..9", "GEC-1..", "..GEC-1", "A1..B2", "A1..A2..A3"]
)
def test_a_range_whose_ends_do_not_go_together_is_told(text: str) -> None:
    assert "ends" in fault(text) or "reads as" in fault(text)


def test_a_range_of_more_than_anybody_buys_is_told() -> None:
    assert "10000001 certificates" in fault("G00000001..G10000001")
    assert fault("G00000001..G10000000") == ""


@pytest.mark.parametrize(
    "text",
    [
        *("GEC-2026-000042", "MR-2026-03-10", "Brandenburg-1", "P/2026/Rand 7", "合同 2026-01（绿电）", "I-REC 12-3"),
        *("0001-0100..0001-0100", "GEC-01..GEC-09", "Phase 2 to Berlin", "2026到货单", "GEC-0100-0001", "TOWER9"),
        *("GEC-2026-100042", "GEC-1999-10000", "P-7-012", "MR-2026-3-10", "GEC-10-9", "GEC-7-7", "P-7-12..P-7-12"),
    ],
)
def test_a_name_that_is_no_range_and_a_range_as_it_should_be_pass(text: str) -> None:
    assert fault(text) == ""


def test_an_overlap_in_another_subject_is_refused_and_named(store: Store) -> None:
    claim(store, "S-A", {"GEC-0001..GEC-0100": "green"})
    for taken in ("GEC-0100..GEC-0200", "GEC-0042", "GEC-0010..GEC-0020", "GEC-0000..GEC-9999"):
        with pytest.raises(ProofError, match=r"used in A-S-A-2026 \(S-A, green: GEC-0001\.\.GEC-0100\)"):
            claim(store, "S-B", {taken: "green"})
    claim(store, "S-B", {"GEC-0101..GEC-0200": "green", "GEC-042": "other width", "GED-0042": "other name"})
    with pytest.raises(ProofError, match="S-B, other width: GEC-042"):
        claim(store, "S-C", {"GEC-001..GEC-100": "green"})


def test_a_range_that_an_account_gives_back_is_free_as_far_as_it_did(store: Store) -> None:
    claim(store, "S-A", {"GEC-0001..GEC-0100": "green"})
    claim(store, "S-A", {"GEC-0001..GEC-0050": "green"}, version=2)
    claim(store, "S-B", {"GEC-0051..GEC-0100": "green"})
    with pytest.raises(ProofError, match="S-B"):
        claim(store, "S-A", {"GEC-0001..GEC-0051": "green"}, version=3)


NAMES = st.tuples(st.sampled_from(["G", "G-", "G1-"]), st.integers(1, 2), st.integers(0, 99), st.integers(0, 30)).map(
    lambda one: _name(*one)
)


def _name(stem: str, width: int, first: int, more: int) -> str:
    most = 10**width - 1
    low = min(first, most)
    high = min(low + more, most)
    return f"{stem}{low:0{width}}" + (f"..{stem}{high:0{width}}" if high > low else "")


@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=8), NAMES)
def test_what_meets_is_what_has_a_certificate_in_common(held: list[str], name: str) -> None:
    used: Used[int] = Used()
    for index, one in enumerate(held):
        used.add(one, index)
    expected = {index for index, one in enumerate(held) if singles(one) & singles(name)}
    assert {use for _, use in used.of(name)} == expected
    assert meet(held, [name]) == bool(expected) == meet(each_named(name), each_named(joined(held)))


def test_the_store_and_its_trigger_find_what_has_a_certificate_in_common(store: Store) -> None:
    """The journal asks and says who has it; the trigger stands behind it. Both against certificates one by one."""
    drawn: list[str] = []

    @settings(max_examples=60, deadline=None, database=None)
    @given(NAMES)
    def draw(name: str) -> None:
        drawn.append(name)

    draw()
    held: dict[str, str] = {}
    with store.writing() as db:
        for index, name in enumerate(drawn):
            taken = [own for own in held if singles(own) & singles(name)]
            first, last = ends(name)
            row = (first, last, f"A-{index}", f"S-{index}", "green")
            if taken:
                with pytest.raises(sqlite3.IntegrityError, match="used once"):
                    db.execute("INSERT INTO proofs VALUES (?,?,?,?,?)", row)
            else:
                db.execute("INSERT INTO proofs VALUES (?,?,?,?,?)", row)
                held[name] = f"S-{index}"
    assert len(held) > 3
    for name in drawn:
        with pytest.raises(ProofError):
            claim(store, "S-X", {name: "green"})


def test_certificates_of_a_store_of_before_ranges_are_used_still(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    Store(path, KEY).close()
    with sqlite3.connect(path) as db:
        db.executescript("""DROP TRIGGER proofs_once; DROP TABLE proofs;
            CREATE TABLE proofs (proof TEXT NOT NULL, account TEXT NOT NULL, subject TEXT NOT NULL, use TEXT NOT NULL,
                PRIMARY KEY (proof, account)) WITHOUT ROWID;
            CREATE TRIGGER proofs_once BEFORE INSERT ON proofs WHEN EXISTS (
                SELECT 1 FROM proofs WHERE proof = new.proof AND (subject, use) <> (new.subject, new.use)
            ) BEGIN SELECT RAISE(ABORT, 'a proof is used once'); END;
            INSERT INTO proofs VALUES ('GEC-0042', 'A-S-A-2025', 'S-A', 'green');
            ALTER TABLE gateways DROP COLUMN dated_epoch; ALTER TABLE gateways DROP COLUMN dated_boot;
            ALTER TABLE gateways DROP COLUMN dated_mono; ALTER TABLE gateways DROP COLUMN dated_utc;
            UPDATE meta SET value = 6 WHERE name = 'schema';""")
    db.close()
    with Store(path, KEY) as store, pytest.raises(ProofError, match="A-S-A-2025"):
        claim(store, "S-B", {"GEC-0001..GEC-0100": "green"})
