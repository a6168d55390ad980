"""Whatever rots in an entry of the journal is named, as far as it can be told, and put back out of a second copy."""

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import pytest

from cloud import (
    accounts,
    activities,
    cross_checks,
    early_warning,
    factor_shelf,
    formers,
    mend_journal,
    serve,
    subjects,
)
from cloud.accounting import bundle, signed_activity
from cloud.accounting import library as libraries
from cloud.city import City
from cloud.copier import Copier
from cloud.journal import KINDS
from cloud.journal_check import CHECKS
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import RottenError
from protocols.record.cose import PrivateKey
from protocols.record.former import sign_former
from protocols.record.receipt import RECEIVED, Receipt, sign_receipt
from tests.cloud import tables
from tests.cloud.accounting.test_factor_commands import SET
from tests.cloud.box import Box
from tests.cloud.conftest import House

MAY = accounts.period_of("2023-05")
QUOTA = 'target = [{ year = 2023, tco2e = "10", kind = "quota", document = "quota 7" }]\n'
FILE = tables.subject_file(tables.subject("MILL", QUOTA, zh="面粉厂", en="Mill")).encode()
OFFICE = PrivateKey.generate()
BUNDLE = bundle.sign("市中心", {"city-lab-2025.toml": SET}, OFFICE)
CHECK = b"""schema = 1
subject = "MILL"
period = "2023-05"
[[steam]]
meter = "H-1"
mpa = "1"
celsius = "300"
enthalpy = "3051"
"""
COLUMNS = [one.name for one in fields(JournalRow)]
UNTOLD = {
    ("subject", "detail"),
    ("mark", "detail"),
    ("mark", "digest"),
    ("mark", "id"),
    ("former", "body"),
    ("subject", "digest"),
    *((kind, "at") for kind in CHECKS),
    *((kind, "period") for kind in CHECKS if kind not in ("account", "mark", "check")),
    *((kind, "subject") for kind in CHECKS if kind not in ("account", "mark", "check", "activity", "subject")),
    *((kind, "by") for kind in ("file", "subject", "activity", "account", "check", "warning")),
    *((kind, "detail") for kind in ("file", "check", "former")),
    *((kind, "version") for kind in CHECKS if kind != "account"),
    ("warning", "id"),
}
"""What of which kind no digest is of, nor is it said twice: a copy tells. (At the end of the body about a former
collector is the signature of its gateway.)
"""


def _of_meter(amount: str, more: str = "") -> bytes:
    given = f"document = 'bill'\nAD = '{amount} MWh'\n{more}"
    return tables.activity_file("MILL", tables.entry("24-08", "2023-05-01", "2023-06-01", given)).encode()


@pytest.fixture
def kept(house: Any, tmp_path: Path) -> Iterator[Any]:
    """A collector with an entry of every kind in its journal, and its second copy."""
    store, now, box, former = house.store, house.now, Box(), PrivateKey.generate()
    box.enrol(store)
    receipt = sign_receipt(Receipt(box.key.public.id, 0, 0, box.previous, RECEIVED, box.utc), former)
    formers.take(store, sign_former(box.key, former.public), [receipt], now)
    factor_shelf.sign_own(store, house.key, "0.1.0", now=now)
    factor_shelf.keep(store, BUNDLE, OFFICE.public, now=now)
    subjects.trust(store, "王工", OFFICE.public, now=now)
    subjects.take(store, "mill", FILE, by="demo", now=now)
    activities.declare(store, "declared", _of_meter("1000"), by="demo", now=now)
    activities.take_signed(store, "signed", signed_activity.sign(_of_meter("7", "label = 'b'"), OFFICE), now=now)
    accounts.close(store, libraries.build(), "MILL", MAY, now)
    accounts.lock(store, "A-MILL-2023-05", ["Li", "Wang"], now, closure="partial")
    cross_checks.take(store, "check", CHECK, by="Li", now=now)
    early_warning.watch(City(store), 0, now)
    Copier(store, tmp_path / "copy", lambda: now, same_disk=True).close()
    assert {row.kind for row in everything(store)} == set(CHECKS) == set(KINDS)
    yield house


def everything(store: Store) -> list[JournalRow]:
    with store.reading() as db:
        return [JournalRow(*row) for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM journal ORDER BY number")]


def flipped(value: Any) -> Any:
    """One bit of it is another; of a text it is a letter or a digit that becomes another one, if there is one."""
    if isinstance(value, int):
        return value ^ 4
    content = bytearray(value.encode() if isinstance(value, str) else value)
    at = next((at for at in reversed(range(len(content))) if chr(content[at]).isalnum()), len(content) - 1)
    content[at] ^= 1
    return content.decode("utf-8", "replace") if isinstance(value, str) else bytes(content)


def test_a_sound_journal_is_found_sound(kept: Any, tmp_path: Path) -> None:
    before = everything(kept.store)
    assert mend_journal.rotten(kept.store) == []
    assert mend_journal.mend(kept.store, tmp_path / "copy") == [] and everything(kept.store) == before


@pytest.mark.parametrize("kind", CHECKS)
def test_a_bit_in_any_column_is_named_where_it_can_be_told_and_put_back_by_a_copy(
    kept: Any, tmp_path: Path, kind: str
) -> None:
    before = everything(kept.store)
    row = next(one for one in before if one.kind == kind)
    named = set()
    for column, value in zip(COLUMNS[1:], astuple(row)[1:], strict=True):
        if value in ("", b""):
            continue
        with kept.store.writing() as db:
            db.execute(f"UPDATE journal SET {column} = ? WHERE number = ?", (flipped(value), row.number))
        assert everything(kept.store) != before, column
        found = [one.number for one in mend_journal.rotten(kept.store)]
        assert found in ([], [row.number]), column
        named |= {column} if found else set()
        assert len(mend_journal.mend(kept.store, tmp_path / "copy")) == 1, column
        assert everything(kept.store) == before, column
    told = {column for column, value in zip(COLUMNS[1:], astuple(row)[1:], strict=True) if value not in ("", b"")}
    assert named == told - {column for one, column in UNTOLD if one == kind}


def test_an_entry_of_another_history_is_not_put_in_the_place_of_ours(kept: Any, tmp_path: Path) -> None:
    other = House(tmp_path / "other", kept.now)
    subjects.take(other.store, "city", tables.subject_file(tables.subject("CITY")).encode(), by="x", now=1)
    before = everything(other.store)
    assert before and mend_journal.mend(other.store, tmp_path / "copy") == []
    assert everything(other.store) == before
    other.close()


def test_an_older_generation_of_a_copy_puts_nothing_in_the_place_of_what_the_newest_one_holds(
    house: Any, tmp_path: Path
) -> None:
    """A backup was put back, and the same file taken in again: it has the same number, and came at another time."""
    house.store.back_up(tmp_path / "older.db")

    def taken(store: Store, now: int) -> list[JournalRow]:
        subjects.take(store, "mill", FILE, by="demo", now=now)
        box = Box()
        box.enrol(store)
        box.deliver(store, 1)
        Copier(store, tmp_path / "copy", lambda: now, same_disk=True).close()
        return everything(store)

    taken(house.store, house.now)
    with Store(tmp_path / "older.db", house.key) as older:
        before = taken(older, house.now + 1)
        assert len(list((tmp_path / "copy").glob("0*"))) == 2
        assert mend_journal.mend(older, tmp_path / "copy") == [] and everything(older) == before


def test_factors_that_have_rotted_stop_every_account_and_come_back_with_the_same_bundle(kept: Any) -> None:
    def rot(how: str, kind: str) -> None:
        with kept.store.writing() as db:
            assert db.execute(f"UPDATE journal SET {how} WHERE kind = ?", (kind,)).rowcount == 1

    name = hashlib.sha256(BUNDLE).hexdigest()
    for how in ("body = x'00'", "detail = '{}'", "detail = '{'", "body = 7"):
        rot(how, "bundle")
        with pytest.raises(RottenError, match=f"bundle {name}"):
            factor_shelf.library(kept.store)
        health = kept.client.get("/v1/health").json()
        assert health["unreadable"]["factors"] == [name] and "rotten" in health["reasons"]
        assert kept.client.get("/v1/factors").status_code == 503
        factor_shelf.keep(kept.store, BUNDLE, OFFICE.public, now=kept.now + 1)
        assert mend_journal.rotten(kept.store) == [] and kept.client.get("/v1/factors").status_code == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("now", ["'{}x'", "'a'", "x'00'"])
def test_an_entry_whose_kind_has_rotted_is_named_and_comes_back_as_it_was_when_it_is_kept_again(
    kept: Any, kind: str, now: str
) -> None:
    before = everything(kept.store)
    (row, *_) = [one for one in before if one.kind == kind]
    with kept.store.writing() as db:
        db.execute(f"UPDATE journal SET kind = {now.format(kind)} WHERE number = ?", (row.number,))
    assert [one.number for one in kept.store.strays()] == [row.number]
    health = kept.client.get("/v1/health").json()
    assert health["unreadable"]["entries"] == [f"entry {row.number} of the journal"] and "rotten" in health["reasons"]
    with pytest.raises(RottenError, match=f"{kind} "):
        kept.store.keep([replace(row, digest="another")])
    assert kept.store.keep([row]) == [row.number] and everything(kept.store) == before
    assert kept.client.get("/v1/health").json()["unreadable"]["entries"] == []


@pytest.mark.parametrize("kind", ["bundle", "contents", "activity"])
def test_no_figure_is_drawn_up_as_if_that_whose_kind_has_rotted_had_never_been(kept: Any, kind: str) -> None:
    with kept.store.writing() as db:
        assert db.execute("UPDATE journal SET kind = 'x' || kind WHERE kind = ?", (kind,)).rowcount
    with pytest.raises(RottenError, match=f"{kind} .*of the kind 'x{kind}'"):
        accounts.close(kept.store, factor_shelf.library(kept.store), "MILL", MAY, kept.now)
    told = kept.client.get("/v1/factors")
    assert (told.status_code, told.json().get("code")) == ((200, None) if kind == "activity" else (503, "STO-106"))
    if kind == "bundle":
        factor_shelf.keep(kept.store, BUNDLE, OFFICE.public, now=kept.now + 1)
        assert kept.client.get("/v1/factors").status_code == 200 and mend_journal.rotten(kept.store) == []


@pytest.mark.parametrize(
    ("kind", "how"), [("activity", "detail = '{}'"), ("activity", "detail = '{'"), ("signer", "body = x'00'")]
)
def test_an_account_cannot_be_drawn_up_of_what_has_rotted_and_says_so(kept: Any, kind: str, how: str) -> None:
    with kept.store.writing() as db:
        assert db.execute(f"UPDATE journal SET {how} WHERE kind = ?", (kind,)).rowcount
    with pytest.raises(RottenError, match=f"{kind} "):
        accounts.close(kept.store, libraries.build(), "MILL", MAY, kept.now)


def test_what_was_signed_of_built_in_files_has_rotted_and_the_collector_starts(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with kept.store.writing() as db:
        assert db.execute("UPDATE journal SET detail = '{' WHERE kind = 'contents'").rowcount == 1
    serve._sign_own(kept.store, kept.key, "en")
    assert "STO-106 contents" in (told := capsys.readouterr().err) and "cloud mend --copy" in told


def test_the_same_subject_file_puts_back_the_one_that_has_rotted(kept: Any) -> None:
    before = everything(kept.store)
    with kept.store.writing() as db:
        assert db.execute("UPDATE journal SET body = x'00' WHERE kind = 'file'").rowcount == 1
    assert City(kept.store).unread().keys() == {"MILL"}
    (held,) = subjects.take(kept.store, "mill", FILE, by="another", now=kept.now + 1)
    assert held.version == 1 and City(kept.store).unread() == {} and everything(kept.store) == before
