"""Accounts in a store: drawn from meters and documents; issued, locked, superseded, never rewritten."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from cloud import account_proof, accounts, journal, reaccounting, statements, subjects
from cloud.account_closing import AccountCloser
from cloud.accounting import feeds
from cloud.copied import gather
from cloud.intervals import INTERVAL_MS
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import AccountError, ConfigError, LockedError, OvertakenError, RottenError
from tests.cloud.accounting.small_city import DAY, LIBRARY, SUBJECTS, City, all_closed, gas, green, restarted

NONE = '{"proofs": {}}'
"""Of an account without a certificate."""


def test_a_metered_account_equals_the_statement_of_the_same_meters(city: City) -> None:
    version = city.close()
    statement = statements.get(city.store, "E-S-DEMO-2026-10-03")
    assert version.content.totals.total == statement.content.tco2.quantize(Decimal("1e-12"))
    assert [line.id for line in version.content.lines] == ["24-08/M-01", "24-08/M-04"]
    line = version.content.lines[0]
    assert (line.activities[0].grade, line.activities[0].uncertainty) == ("metered", Decimal("0.5774"))
    assert version.content.coverage.readings > 500
    assert version.reference == "A-S-DEMO-2026-10-03@1" and version.state == "provisional"


def test_nothing_new_is_issued_while_nothing_has_changed(city: City) -> None:
    assert city.close() == city.close()
    assert accounts.live(city.store, LIBRARY, "S-DEMO", DAY, city.now).version == 1


def test_late_data_make_a_version_beside_the_old_one_which_stays_readable(city: City) -> None:
    first = city.close()
    kept = city.declare(gas("1.5"))
    draft = accounts.live(city.store, LIBRARY, "S-DEMO", DAY, city.now)
    assert draft.difference is not None and draft.version == 0 and draft.digest != first.digest
    second = city.close()
    assert (second.version, second.supersedes) == (2, 1)
    difference = second.difference
    assert difference.activity == difference.total == second.content.totals.direct > 0
    assert [effect.id for effect in difference.effects] == ["24-01/natural_gas@2026-10-03"]
    old = accounts.get(city.store, f"{first.id}@1")
    assert (old.state, old.digest, old.content) == ("superseded", first.digest, first.content)
    assert second.content.lines[0].activities[0].sha256 == kept.sha256
    assert second.content.lines[0].activities[0].by == "王工"


@pytest.mark.parametrize("same", ["王 ", "王\u200b", "\u3000王"])
def test_one_person_in_two_spellings_is_not_four_eyes(city: City, same: str) -> None:
    reference = city.close().reference
    with pytest.raises(ConfigError, match="four eyes"):
        accounts.lock(city.store, reference, ["王", same], city.now, closure="exceptions")
    with pytest.raises(ConfigError, match="four eyes"):
        accounts.lock(city.store, reference, ["Wang", "ＷＡＮＧ"], city.now, closure="exceptions")
    with pytest.raises(ConfigError, match="four eyes"):
        accounts.lock(city.store, reference, ["王", "\u200b"], city.now, closure="exceptions")
    assert accounts.get(city.store, reference).locked_by == ()


def test_two_people_lock_a_version_and_what_is_not_confirmed_is_listed(city: City) -> None:
    version = city.close()
    with pytest.raises(LockedError, match=r"method\.draft"):
        accounts.lock(city.store, version.reference, ["王"], city.now)
    once = accounts.lock(city.store, version.reference, ["王"], city.now, closure="exceptions")
    assert (once.state, once.locked_by, once.closure) == ("provisional", ("王",), "")
    with pytest.raises(ConfigError, match="four eyes"):
        accounts.lock(city.store, version.reference, ["王"], city.now, closure="exceptions")
    with pytest.raises(LockedError, match="to say the same"):
        accounts.lock(city.store, version.reference, ["李"], city.now, closure="partial")
    locked = accounts.lock(city.store, version.reference, ["李"], city.now, closure="exceptions")
    assert (locked.state, locked.locked_by, locked.closure) == ("locked", ("王", "李"), "exceptions")
    assert "method.draft: ndrc-24-2015 24-08" in locked.exceptions and "factor.earlier-year" in locked.exceptions
    assert locked.digest == version.digest
    with pytest.raises(LockedError, match="found it locked"):
        accounts.lock(city.store, version.reference, ["赵", "钱"], city.now, closure="exceptions")
    city.declare(gas("1.5"))
    newer = city.close()
    assert accounts.get(city.store, f"{version.id}@1").state == "superseded"
    assert accounts.get(city.store, f"{version.id}@1").locked_by == ("王", "李")
    with pytest.raises(LockedError, match="superseded"):
        accounts.lock(city.store, f"{version.id}@1", ["赵", "钱"], city.now, closure="exceptions")
    assert accounts.get(city.store, newer.id).state == "provisional"


def test_an_open_period_is_never_locked(city: City) -> None:
    period = accounts.period_of("2026-10-04")
    version = accounts.close(city.store, LIBRARY, "S-DEMO", period, city.now)
    assert version.content.reasons[0] == "account.open" and version.content.period.through.startswith("2026-10-04T11:5")
    with pytest.raises(LockedError, match="open"):
        accounts.lock(city.store, version.reference, ["王", "李"], city.now, closure="partial")


def test_unknown_time_takes_a_partial_lock(city: City) -> None:
    more = SUBJECTS.replace('device = "M-04"', 'device = "M-77"', 1)
    subjects.take(city.store, "city.toml", more.encode(), by="周", now=city.now)
    version = city.close()
    assert "account.missing" in version.content.reasons
    assert [(gap.rule, gap.value) for gap in version.content.filled] == [("none", None)]
    with pytest.raises(LockedError, match="--partial"):
        accounts.lock(city.store, version.reference, ["王", "李"], city.now, closure="exceptions")
    assert accounts.lock(city.store, version.reference, ["王", "李"], city.now, closure="partial").closure == "partial"


def test_a_meter_that_vanishes_costs_its_ceiling_and_shows_it(city: City) -> None:
    whole = city.close()
    more = SUBJECTS.replace('device = "M-04"', 'device = "M-77"\nceiling = "500 kWh"', 1)
    subjects.take(city.store, "city.toml", more.encode(), by="周", now=city.now)
    version = city.close()
    line = next(line for line in version.content.lines if line.label == "M-77")
    assert line.activities[0].value == 12000 and line.activities[0].estimated == 1
    assert "activity.estimated" in line.reasons and version.content.estimated > 0
    assert version.difference.boundary == version.difference.total
    assert version.content.totals.total > whole.content.totals.total
    checks = account_proof.verify(city.store, LIBRARY, version.reference, city.now)
    assert {check.outcome for check in checks} == {"held"}


def test_a_subject_changes_by_versions_and_an_unchanged_one_keeps_its_own(city: City) -> None:
    again = SUBJECTS.replace("Another works", "Another plant")
    subjects.take(city.store, "city.toml", again.encode(), by="周", now=city.now)
    assert [held.version for held in subjects.roll(city.store).held.values()] == [1, 1, 2]
    assert subjects.get(city.store, "S-OTHER", 1).subject.en == "Another works"
    with pytest.raises(AccountError, match="no method"):
        city.close("P-01")


def test_a_second_copy_and_a_restored_store_hold_the_same_accounts(city: City, tmp_path: Path) -> None:
    city.declare(green("S-DEMO"))
    version = city.close()
    accounts.lock(city.store, version.reference, ["王", "李"], city.now, closure="exceptions")
    with city.store.reading() as db:
        rows = [JournalRow(*record.fields) for record in gather(db, 1 << 40, 0, []) if record.kind == 10]
    with Store(tmp_path / "again.db", None) as again:
        with again.writing() as db:
            for row in rows:
                journal.restore(db, row)
        assert accounts.get(again, version.reference) == accounts.get(city.store, version.reference)
        with pytest.raises(OvertakenError):
            again.keep([JournalRow(0, "account", version.id, 1, "S-DEMO", DAY.id, "00", 0, "", NONE, b"")])
        with again.reading() as db:
            assert db.execute("SELECT proof FROM proofs").fetchall() == [("GEC-2026-000042",)]


def test_intervals_that_came_since_are_told_from_intervals_that_were_altered(city: City) -> None:
    version = city.close()

    def found(change: str) -> tuple[str, str]:
        where = "gateway = ? AND device = 'M-01' AND point = 'energy_import' AND start >= ? AND start < ?"
        place = feeds.place(version.content.lines[0].activities[0].reference)
        assert place is not None
        with city.store.writing() as db:
            values = (bytes.fromhex(place.gateway), place.start, place.start + 2 * INTERVAL_MS)
            assert db.execute(f"UPDATE closed_intervals SET {change} WHERE {where}", values).rowcount == 2
        checks = account_proof.verify(city.store, LIBRARY, version.reference, city.now)
        return next((one.outcome, one.detail) for one in checks if one.name == "activity 24-08/M-01.AD")

    outcome, detail = found("readings = readings + 1")
    assert (outcome, detail[:6]) == ("failed", "found ")
    assert found("ingest_seq = ingest_seq + 1000000") == ("later", "2 intervals have come or changed since")


def test_a_version_that_was_altered_in_the_store_is_found_out(city: City) -> None:
    version = city.close()
    with city.store.writing() as db:
        db.execute("UPDATE journal SET digest = ? WHERE kind = 'account'", ("00" * 32,))
    with pytest.raises(RottenError, match="expected 0000"):
        accounts.get(city.store, version.reference)


def test_last_month_is_closed_by_itself_and_again_only_when_something_changed(city: City) -> None:
    def due() -> list[str]:
        return [version.reference for version in all_closed(AccountCloser(city.store), city.now)]

    month = gas("1.5", start="2026-09-01", end="2026-10-01").replace(b"S-DEMO", b"S-OTHER")
    assert due() == []
    kept = city.declare(month)
    assert due() == ["A-S-OTHER-2026-09@1"]
    assert due() == []
    city.declare(month.replace(b"1.5", b"1.6").replace(b"[[", f'replaces = "{kept.sha256}"\n[['.encode(), 1))
    assert due() == ["A-S-OTHER-2026-09@2"]
    city.close()
    assert due() == []
    assert accounts.get(city.store, "A-S-OTHER-2026-09@1").state == "superseded"


@pytest.mark.parametrize("restarts", [False, True])
def test_the_closer_of_accounts_misses_nothing_that_a_new_one_would_find(city: City, restarts: bool) -> None:
    closer = AccountCloser(city.store, durable=True)

    def due() -> list[str]:
        nonlocal closer
        found = [version.reference for version in all_closed(closer, city.now)]
        closer = restarted(closer, city.now) if restarts else closer
        assert all_closed(AccountCloser(city.store), city.now) == []
        return found

    hour = 3_600_000
    assert due() == []
    month = gas("1.5", start="2026-09-01", end="2026-10-01")
    kept = city.declare(month.replace(b"S-DEMO", b"S-OTHER"))
    assert due() == ["A-S-OTHER-2026-09@1"] and due() == []
    city.declare(gas("1.5"))
    city.close()
    assert due() == []
    city.now = DAY.end + hour - 1
    assert due() == []
    city.declare(gas("1.7").replace(b"S-DEMO", b"S-OTHER"))
    running = accounts.close(city.store, LIBRARY, "S-OTHER", accounts.period_of("2026-10-03--2026-10-05"), city.now)
    assert "account.open" in running.content.reasons and due() == []
    city.now = accounts.period_of("2026-10-04").end + hour
    assert due() == ["A-S-OTHER-2026-10-03--2026-10-05@2"]
    file = month.replace(b"S-DEMO", b"S-OTHER").replace(b"1.5", b"1.6")
    city.declare(file.replace(b"[[", f'replaces = "{kept.sha256}"\n[['.encode(), 1))
    assert due() == ["A-S-OTHER-2026-09@2"]
    city.now = accounts.period_of("2026-10").end + hour - 1
    assert due() == []
    city.now += 1
    assert "A-S-DEMO-2026-10@1" in due()


def test_a_new_factor_makes_newer_versions_of_the_same_activity(city: City) -> None:
    city.declare(gas("1.5"))
    before = city.close()
    assert reaccounting.again(city.store, LIBRARY, city.now).made == 0
    known = LIBRARY.factors
    newest = replace(
        known.get("cn.grid.national@2023"), id="cn.grid.national@2026", data_year=2026, value=Decimal("0.5")
    )
    library = replace(LIBRARY, factors=replace(known, factors=(*known.factors, newest), sha256="ab" * 32))
    done = reaccounting.again(city.store, library, city.now)
    assert (done.seen, done.made, done.failed) == (1, 1, [])
    after = accounts.get(city.store, before.id)
    assert (after.version, after.difference.activity) == (2, 0)
    assert after.difference.vintage == after.difference.factor == after.difference.total < 0
    assert "factor.earlier-year" not in after.content.reasons
    assert reaccounting.again(city.store, library, city.now).made == 0
    assert accounts.content(city.store, library, "S-DEMO", DAY, city.now)[0].digest == after.digest


def test_a_walk_over_the_accounts_meets_each_once_whatever_is_issued_meanwhile(city: City) -> None:
    def issued(subject: str, version: int) -> JournalRow:
        return JournalRow(0, "account", f"A-{subject}", version, subject, "2026-09", f"{version}", 0, "", NONE, b"x")

    names = [f"S-{number:03}" for number in range(2 * journal.PAGE + 1)]
    city.store.keep([issued(name, 1) for name in names])
    city.store.keep([issued(names[0], 2)])
    seen = []
    for row in city.store.walk("account"):
        if len(seen) % 50 == 0:
            city.store.keep([issued(row.subject, 2)])
        seen.append((row.subject, row.version))
    assert seen == [*((name, 1) for name in names[1:]), (names[0], 2)]
    assert [row.version for row in city.store.walk("account", subject=names[1])] == [2]
    assert list(city.store.walk("account", subject=names[1], period="2026-10")) == []
    assert [row.body for row in city.store.walk("account", period="2026-09")] == [b"x"] * len(names)


def test_an_open_period_of_documents_alone_is_issued_once_a_day(city: City) -> None:
    city.declare(gas("1.5", start="2026-10-01", end="2026-10-02").replace(b"S-DEMO", b"S-OTHER"))
    october = accounts.period_of("2026-10")
    first = accounts.close(city.store, LIBRARY, "S-OTHER", october, city.now)
    assert first.content.period.through == "2026-10-04T00:00:00+08:00" and "account.open" in first.content.reasons
    assert accounts.close(city.store, LIBRARY, "S-OTHER", october, city.now + 60_000) == first


@pytest.mark.parametrize(
    ("memberships", "told"),
    [
        ('C = [], A = [("P", "0.8"), ("Q", "0.8")], P = [("C", "1")], Q = [("C", "1")]', "expected 1 at most"),
        ('P = [("C", "1")], C = [("P", "1")]', "no circle"),
    ],
)
def test_a_membership_that_gives_away_more_than_all_is_refused_when_it_comes(
    city: City, memberships: str, told: str
) -> None:
    """Each file is sound by itself; with what is held it is not. One slip must not stop the city's figures."""
    parts = re.findall(r"(\w+) = (\[[^\]]*\])", memberships)
    files = [(name, re.findall(r'"(\w+)", "([\d.]+)"', shares)) for name, shares in parts]
    texts = [
        f'schema = 1\n[[subject]]\nid = "{name}"\nzh = "x"\nen = "x"\nkind = "park"\ncategory = "park"\n'
        + "".join(
            f'[[subject.membership]]\nof = "{of}"\nshare = "{share}"\nfrom = 2025-01-01\n' for of, share in shares
        )
        for name, shares in files
    ]
    with pytest.raises(AccountError, match=told):
        for text in texts:
            subjects.take(city.store, "park.toml", text.encode(), by="周", now=city.now)
