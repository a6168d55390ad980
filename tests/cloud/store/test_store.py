"""Everything committed is there, once, whatever happens to the process, the disk and the order of things."""

import asyncio
import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from cloud import database, keys, receipts, ways
from cloud.enrolments import MOST_TRIES
from cloud.rows import StatementRow
from cloud.store import Store
from cloud.writer import Writer
from protocols.errors import (
    ChainError,
    ConfigError,
    ConflictError,
    EnrolmentError,
    OvertakenError,
    SignatureError,
    StoreError,
)
from protocols.record import invite, siteconfig, transport
from protocols.record.answer import Answer, encode_batch
from protocols.record.block import Event, EventKind, Fault
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt

NOON = 1_790_000_100_000
LATER = 1_790_100_000_000
HOUR = 3_600_000


def table(store: Store) -> list[Any]:
    """The intervals without the numbers that say when they came."""
    rows = store.intervals(limit=100_000)
    return sorted((row.interval for row in rows), key=lambda it: (it.device, it.point, it.start))


def eventful(box: Any) -> list[bytes]:
    """Two hours with a reboot, a silent meter and a new ratio's boundary in them."""
    frames = [box.block() for _ in range(20)]
    frames.append(box.block(**box.reboot(25 * 60_000)))
    frames += [box.block() for _ in range(10)]
    silent = [Fault(at, 0, 1) for at in range(50, 60_000, 10_000)]
    for _ in range(16):
        times = list(range(50, 60_000, 10_000))
        frames.append(
            box.block(chunks=[box.chunk(0, [], [], silent), box.chunk(1, times, [box.reply(1, 9)] * len(times))])
        )
    return frames + [box.block() for _ in range(20)]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_into_batches_and_any_restart_holds_the_same(
    tmp_path: Path, make_box: Callable[..., Any], data: st.DataObject
) -> None:
    box, key = make_box(), PrivateKey.generate()
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    with Store(folder / "whole.db", key) as whole:
        box.enrol(whole)
        frames = eventful(box)
        assert {verdict.answer for verdict in whole.append(frames, LATER)[0]} == {Answer.STORED}
        path, left = folder / "split.db", frames
        split = Store(path, key)
        box.enrol(split)
        while left:
            count = data.draw(st.integers(1, len(left)))
            split.append(left[: count + 1], LATER)
            left = left[count:]
            if data.draw(st.booleans()):
                split.close()
                split = Store(path, key)
        assert table(split) == table(whole)
        assert split.latest() == whole.latest()
        assert split.gateways() == whole.gateways()
        assert [replace(row, mean=0) for row in split.power_series(0, LATER)] == [
            replace(row, mean=0) for row in whole.power_series(0, LATER)
        ]
        split.close()


def test_intervals_name_the_blocks_that_hold_their_registers(box: Any, store: Store) -> None:
    box.enrol(store)
    store.append(eventful(box), LATER)
    for it in store.series(box.id, "M-01", "energy_import", 0, LATER):
        for register in (it.register_start, it.register_end):
            block = store.block_row(box.id, register.epoch, register.seq)
            assert block is not None
            assert block.utc_start <= register.at < block.utc_end
    rows = store.series(box.id, "M-01", "energy_import", 0, LATER)
    assert {row.quality for row in rows} == {"measured", "estimated"}
    energy = sum((row.consumption or Decimal(0) for row in rows), Decimal(0))
    assert energy == Decimal(box.energy - 1 - 100_000) / 100 * 80


def test_sums_live_values_and_health(box: Any, store: Store) -> None:
    box.enrol(store)
    gap = Event(EventKind.GAP, NOON, NOON, "told")
    store.append([box.block(events=(*box.header().events, gap)), *[box.block() for _ in range(29)]], LATER)
    meters = [(device, "energy_import") for device in ("M-01", "M-02", "M-03")]
    first, second = store.sums(box.id, meters, 0, LATER)
    assert (first.device, first.consumption, first.intervals) == ("M-01", Decimal("143.20"), 2)
    assert (second.device, second.consumption) == ("M-02", 0)
    begin = NOON - NOON % 900_000
    halves = [store.sums(box.id, meters[:1], at, at + 900_000) for at in (begin, begin + 900_000)]
    assert [half.consumption for (half,) in halves] == [Decimal("72.00"), Decimal("71.20")]
    values = {(value.device, value.point): value for value in store.latest()}
    assert values["M-01", "power"].primary_value == Decimal("4800.00")
    assert values["M-01", "energy_import"].value == Decimal(box.energy - 1) / 100
    assert [(row.mean, row.peak, row.samples) for row in store.power_series(0, LATER, device="M-01")] == [
        (4800, 4800, 90)
    ] * 2
    gateway = store.gateway(box.id)
    assert gateway is not None
    assert (gateway.blocks, gateway.readings, gateway.asked, gateway.answered) == (30, 720, 360, 360)
    assert (gateway.gaps, gateway.lag_ms) == (1, LATER - box.utc)
    assert store.counts().blocks == 30


def test_pages_skip_and_repeat_nothing(box: Any, store: Store) -> None:
    box.enrol(store)
    store.append([box.block() for _ in range(100)], LATER)
    seen, after = [], 0
    while page := store.intervals(after, limit=3):
        seen += page
        after = page[-1].ingest_seq
    assert len(seen) == len({row.ingest_seq for row in seen}) == len(store.intervals())
    assert store.intervals(limit=-1) == seen
    assert after <= store.as_of()
    store.append([box.block()], LATER)
    grown = store.intervals(after)
    assert {row.interval.start for row in grown} == {max(row.interval.start for row in seen)}
    blocks = store.blocks(box.id, limit=7, newest_first=True)
    assert [row.seq for row in blocks] == list(range(100, 93, -1))
    assert [row.seq for row in store.blocks(box.id, limit=3, before=blocks[-1].ingest_seq, newest_first=True)] == [
        93,
        92,
        91,
    ]
    assert [row.seq for row, _ in store.frames(box.id, (0, 3), (0, 6))] == [3, 4, 5, 6]


def test_a_full_disk_keeps_nothing_and_receipts_nothing_until_there_is_room(box: Any, store: Store) -> None:
    box.enrol(store)
    store.append([box.block()], LATER)
    store.book()
    frames = [box.block() for _ in range(60)]
    with store.writing() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    before = (store.counts(), store.receipt(box.id), table(store))
    with pytest.raises(StoreError, match="full"):
        store.append(frames, LATER)
    assert (store.counts(), store.receipt(box.id), table(store)) == before
    store._writer.execute("PRAGMA max_page_count = 1000000")
    verdicts, receipt, _ = store.append(frames, LATER)
    assert {verdict.answer for verdict in verdicts} == {Answer.STORED}
    assert receipt is not None


def test_a_failed_commit_is_forgotten_in_memory_too(box: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    box.enrol(store)
    store.append([box.block()], LATER)
    frames = [box.block() for _ in range(20)]

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("cloud.ledger.Ledger.close", fail)
        with pytest.raises(StoreError):
            store.append(frames, LATER)
    assert store.counts().blocks == 1
    assert {verdict.answer for verdict in store.append(frames, LATER)[0]} == {Answer.STORED}
    rows = store.series(box.id, "M-01", "energy_import", 0, LATER)
    assert sum(row.readings for row in rows) == 21 * 6


KILLED = """
import sys
from pathlib import Path
from cloud.store import Store
from protocols.record.answer import decode_batch
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt
folder = Path(sys.argv[1])
key = PrivateKey.from_pem((folder / "key").read_bytes())
store = Store(folder / "collector.db", key)
frames = decode_batch((folder / "frames").read_bytes(), 10_000)
for at in range(0, len(frames), 3):
    _, receipt, _ = store.append(frames[at : at + 3], int(sys.argv[2]))
    print(open_receipt(receipt, key.public).next_seq, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 20])
def test_killed_at_any_instant_what_was_receipted_is_there(tmp_path: Path, box: Any, lines: int) -> None:
    key = PrivateKey.generate()
    (tmp_path / "key").write_bytes(key.pem())
    with Store(tmp_path / "collector.db", key) as store:
        box.enrol(store)
    frames = [box.block() for _ in range(600)]
    (tmp_path / "frames").write_bytes(encode_batch(frames))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(LATER)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(lines)]
    child.kill()
    told += [int(line) for line in child.stdout.read().split()]
    child.wait()
    with Store(tmp_path / "collector.db", key) as store:
        gateway = store.gateway(box.id)
        assert gateway is not None
        assert told[-1] <= gateway.next_seq < len(frames)
        assert gateway.blocks == gateway.next_seq == len(store.blocks(box.id, limit=1000))
        rest = store.append(frames[gateway.next_seq - 1 : gateway.next_seq + 2], LATER)[0]
        assert [verdict.answer for verdict in rest] == [Answer.HELD, Answer.STORED, Answer.STORED]
        rows = store.series(box.id, "M-01", "energy_import", 0, LATER)
        assert sum(row.readings for row in rows) == 6 * (gateway.next_seq + 2)


def test_gateways_deliver_at_once_while_others_read(store: Store, make_box: Callable[..., Any]) -> None:
    boxes = [make_box() for _ in range(4)]
    for box in boxes:
        box.enrol(store)
    batches = {box.id: [box.block() for _ in range(12)] for box in boxes}

    def deliver(frames: list[bytes]) -> None:
        for at in range(0, len(frames), 2):
            assert {verdict.answer for verdict in store.append(frames[at : at + 2], LATER)[0]} == {Answer.STORED}
            assert store.latest()
            assert store.intervals()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, batches.values()))
    assert [row.blocks for row in store.gateways()] == [12] * 4


def test_another_process_may_move_the_chain(tmp_path: Path, box: Any) -> None:
    key = PrivateKey.generate()
    with Store(tmp_path / "c.db", key) as one, Store(tmp_path / "c.db", key) as other:
        box.enrol(one)
        for index in range(40):
            store = one if index % 3 else other
            assert store.append([box.block()], LATER)[0][0].answer == Answer.STORED
        rows = one.series(box.id, "M-01", "energy_import", 0, LATER)
        assert sum(row.readings for row in rows) == 240


def test_batches_of_several_gateways_share_a_commit(store: Store, make_box: Callable[..., Any]) -> None:
    boxes = [make_box(), make_box()]
    for box in boxes:
        box.enrol(store)
    answers = store.append_batches([[box.block(), box.block()] for box in boxes], LATER)
    for box, (verdicts, receipt, _) in zip(boxes, answers, strict=True):
        assert [verdict.answer for verdict in verdicts] == [Answer.STORED, Answer.STORED]
        assert receipt is not None and store.key is not None
        assert open_receipt(receipt, store.key.public).gateway == box.id  # type: ignore[attr-defined]


def test_only_so_many_unsigned_bytes_are_kept(box: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.ledger.MOST_UNSIGNED", 5)
    store.append([bytes([index]) for index in range(20)], LATER)
    store.append([bytes([19])], LATER)
    kept = store.quarantine()
    assert [store.quarantined(row.id) for row in kept] == [bytes([index]) for index in range(19, 14, -1)]


def test_a_database_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE accounts (id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a collector's"):
        Store(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("accounts",)]
    assert len(path.read_bytes()) == len(before)
    (tmp_path / "noise.db").write_bytes(os.urandom(4096))
    with pytest.raises(StoreError):
        Store(tmp_path / "noise.db")


def test_statements_are_versions(store: Store) -> None:
    first = StatementRow("E-plant-7-2026-10-03", 1, "aa", "plant-7", "2026-10-03", LATER, b"{}")
    second = replace(first, version=2, digest="bb", content=b'{"late": 1}')
    other = replace(first, id="E-plant-7-2026-10-04", period="2026-10-04")
    for statement in (first, first, second, other):
        store.put_statement(statement)
    with pytest.raises(OvertakenError, match="version 1"):
        store.put_statement(replace(first, digest="cc"))
    assert store.statement(first.id) == second
    assert store.statement(first.id, 1) == first
    assert store.statement(first.id, 3) is None
    assert store.statement_versions(first.id) == [first, second]
    assert store.statements() == [other, second]
    assert store.statements("elsewhere") == []


# ---- enrolment ----


def test_enrolment_answers_with_the_receipt_that_opens_the_chain(box: Any, store: Store) -> None:
    code = box.invited(store)
    envelope = store.enrol(code, box.enrolment, box.config, box.profiles, NOON)
    assert store.key is not None
    receipt = open_receipt(envelope, store.key.public)  # type: ignore[attr-defined]
    assert (receipt.gateway, receipt.epoch, receipt.next_seq, receipt.level) == (box.id, 0, 0, 1)
    assert receipt.head == box.previous
    assert store.enrol(code, box.enrolment, box.config, box.profiles, NOON) == envelope
    gateway = store.gateway(box.id)
    assert gateway is not None
    assert (gateway.site, gateway.key, gateway.technician) == ("plant-7", box.key.public, box.technician.public)
    assert store.installation(box.id) is not None


def test_a_code_is_good_once(store: Store, make_box: Callable[..., Any]) -> None:
    box, other = make_box(), make_box()
    code = box.invited(store)
    store.enrol(code, box.enrolment, box.config, box.profiles, NOON)
    with pytest.raises(EnrolmentError, match="has been used"):
        store.enrol(code, other.enrolment, other.config, box.profiles, NOON)
    assert [row.id for row in store.gateways()] == [box.id]


def test_a_code_bears_five_wrong_tries(box: Any, store: Store) -> None:
    code = box.invited(store)
    wrong = _with_secret(code, "0000000000")
    for _ in range(5):
        with pytest.raises(EnrolmentError, match="is wrong"):
            store.enrol(wrong, box.enrolment, box.config, box.profiles, NOON)
    with pytest.raises(EnrolmentError, match="5 times"):
        store.enrol(code, box.enrolment, box.config, box.profiles, NOON)
    assert store.gateways() == []


def test_a_code_expires_is_known_and_may_be_for_one_site(box: Any, store: Store, make_box: Callable[..., Any]) -> None:
    code = box.invited(store)
    with pytest.raises(EnrolmentError, match="expired"):
        store.enrol(code, box.enrolment, box.config, box.profiles, NOON + HOUR)
    other = make_box()
    with pytest.raises(EnrolmentError, match="found no invitation"):
        store.enrol(invite.make(b"\xff" * 9, b"").format(), box.enrolment, box.config, box.profiles, NOON)
    elsewhere = other.invited(store, site="plant-8")
    with pytest.raises(EnrolmentError, match="plant-8"):
        store.enrol(elsewhere, other.enrolment, other.config, box.profiles, NOON)


def test_the_secret_of_a_code_is_not_kept(box: Any, store: Store) -> None:
    code = box.invited(store).replace("-", "")
    with store.reading() as db:
        dump = "\n".join(map(str, db.execute("SELECT * FROM invites")))
    assert code[:4] in dump
    assert code[4:14] not in dump


def test_an_enrolment_must_fit_what_it_brings(box: Any, store: Store, make_box: Callable[..., Any]) -> None:
    code, other = box.invited(store), make_box()
    with pytest.raises(ConfigError, match="SHA-256"):
        store.enrol(code, box.enrolment, box.config, [], NOON)
    with pytest.raises(SignatureError):
        store.enrol(code, box.enrolment, other.config, box.profiles, NOON)
    with pytest.raises(ConfigError, match=r"site\.id"):
        store.enrol(code, box.request(site_id="plant-8"), box.config, box.profiles, NOON)
    again = box.signed_config(1, box.site + b"\n", siteconfig.NO_PREVIOUS)
    with pytest.raises(ChainError):
        store.enrol(code, box.enrolment, again, box.profiles, NOON)
    store.enrol(code, box.enrolment, box.config, box.profiles, NOON)


def test_the_same_key_with_another_request_or_after_revocation_is_refused(box: Any, store: Store) -> None:
    box.enrol(store)
    code = replace(box, key=PrivateKey.generate()).invited(store)
    with pytest.raises(EnrolmentError, match="enrolled already"):
        store.enrol(code, box.request(nonce=b"\1" * 16), box.config, box.profiles, NOON)
    store.revoke(box.id, "lost", LATER)
    with pytest.raises(EnrolmentError, match="revoked"):
        store.enrol(code, box.enrolment, box.config, box.profiles, NOON)
    with pytest.raises(EnrolmentError):
        store.revoke(bytes(16), "who", LATER)


def test_configurations_follow_one_another(box: Any, store: Store, make_site: Any) -> None:
    box.enrol(store)
    profiles, first = box.profiles, siteconfig.digest(box.config)
    second = box.signed_config(2, make_site(), first)
    assert store.gateways_of_technician(second) == [box.id]
    assert not store.put_config(box.id, box.config, profiles, LATER)
    assert store.put_config(box.id, second, profiles, LATER)
    assert not store.put_config(box.id, second, profiles, LATER)
    with pytest.raises(ConflictError):
        store.put_config(box.id, box.signed_config(2, make_site(""), first), profiles, LATER)
    with pytest.raises(ChainError):
        store.put_config(box.id, box.signed_config(3, make_site(""), first), profiles, LATER)
    with pytest.raises(SignatureError):
        stranger = replace(box, technician=PrivateKey.generate())
        store.put_config(box.id, stranger.signed_config(3, make_site(), siteconfig.digest(second)), profiles, LATER)
    with pytest.raises(EnrolmentError):
        store.put_config(bytes(16), second, profiles, LATER)
    assert [config.number for config in store.configurations(box.id)] == [1, 2]
    assert store.configuration(box.id) == store.configurations(box.id)[1]


# ---- the collector's key ----


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "collector.key"
    key = keys.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load_or_create(path).spki == key.spki
    assert [entry.name for entry in path.parent.iterdir()] == ["collector.key"]
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        keys.load_or_create(path)
    path.chmod(0o600)
    path.write_bytes(b"not a key")
    with pytest.raises(ConfigError, match="not a private key"):
        keys.load_or_create(path)
    with pytest.raises(ConfigError):
        keys.load(tmp_path / "none")


def _with_secret(code: str, secret: str) -> str:
    known = invite.parse(code)
    return invite.Invite(known.id, secret, known.fingerprint).format()


def test_after_a_disk_that_failed_nothing_is_written_until_it_is_opened_again(
    box: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.enrol(store)
    frame = box.block()

    def fail(*_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("cloud.ledger.Ledger.close", fail)
        with pytest.raises(StoreError, match="I/O"):
            store.append([frame], LATER)
    with pytest.raises(StoreError, match="reopened"):
        store.append([frame], LATER)
    with Store(store.path, store.key) as again:
        assert again.append([frame], LATER)[0][0].answer == Answer.STORED


def test_nothing_is_read_before_the_code_fits(store: Store, box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = box.invited(store)
    read: list[object] = []
    monkeypatch.setattr("cloud.enrolments.install", lambda *given: read.append(given))
    monkeypatch.setattr("protocols.record.enrolment.open_enrolment", lambda *given: read.append(given))
    unknown = invite.make(bytes(range(9)), PrivateKey.generate().spki).format()
    wrong = _with_another_secret(code)
    for found in (unknown, wrong):
        with pytest.raises(EnrolmentError):
            store.enrol(found, box.enrolment, box.config, box.profiles, NOON)
    with pytest.raises(EnrolmentError, match="expired"):
        store.enrol(code, box.enrolment, box.config, box.profiles, NOON + 2 * HOUR)
    assert read == []


def _with_another_secret(code: str) -> str:
    """A code of the same invitation whose secret is another."""
    held = invite.parse(code)
    return replace(held, secret=held.secret[::-1]).format()


def test_the_right_code_with_wrong_files_may_be_tried_again(store: Store, box: Any) -> None:
    code = box.invited(store)
    for _ in range(MOST_TRIES + 1):
        with pytest.raises(ConfigError):
            store.enrol(code, box.enrolment, box.config, [], NOON)
    store.enrol(code, box.enrolment, box.config, box.profiles, NOON)
    other = type(box)()
    with pytest.raises(EnrolmentError, match="has been used"):
        store.enrol(code, other.enrolment, other.config, [], NOON)


@pytest.mark.parametrize(("number", "previous"), [(0, bytes(32)), (2, bytes(32)), (1, b"x" * 32)])
def test_the_first_configuration_has_number_one_and_follows_none(
    store: Store, box: Any, number: int, previous: bytes
) -> None:
    box.config = box.signed_config(number, box.site, previous)
    box.enrolment = box.request()
    with pytest.raises(ChainError, match=f"found configuration {number}"):
        box.enrol(store)


def test_two_boxes_of_one_technician_take_each_its_own_configurations(
    store: Store, make_box: Callable[..., Any]
) -> None:
    technician = PrivateKey.generate()
    first = make_box(technician=technician)
    other = make_box(technician=technician, site=first.site + b"\n# the second cabinet\n")
    first.enrol(store)
    other.enrol(store)
    collector = SimpleNamespace(store=store)
    for box in (first, other):
        envelope = box.signed_config(2, box.site + b"# 2\n", siteconfig.digest(box.config))
        offers = [ways._put(collector, envelope, box.profiles, NOON) for _ in range(2)]  # type: ignore[arg-type]
        assert offers == [True, False]
        assert [config.number for config in store.configurations(box.id)] == [1, 2]
    stray = first.signed_config(3, first.site, b"x" * 32)
    with pytest.raises(ChainError, match="found a configuration after 7878"):
        ways._put(collector, stray, first.profiles, NOON)  # type: ignore[arg-type]


def test_what_is_refused_is_bounded_in_bytes_and_in_number(
    box: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.enrol(store)
    held = box.block()
    store.append([held], LATER)
    monkeypatch.setattr("cloud.ledger.MOST_UNSIGNED_BYTES", 2_500)
    monkeypatch.setattr("cloud.ledger.MOST_SIGNED", 3)
    monkeypatch.setattr("cloud.ledger.MOST_INCIDENTS", 2)
    store.append([os.urandom(1_000) for _ in range(5)], LATER)
    header = box.header(epoch=0, seq=0)
    twins = [
        transport.pack(box.seal(structs.replace(header, software=(str(turn), bytes(32))), [])) for turn in range(5)
    ]
    assert {verdict.answer for verdict in store.append(twins, LATER)[0]} == {Answer.CONFLICT}
    kept = store.quarantine()
    assert [store.quarantined(row.id) for row in kept if row.signed] == twins[:1:-1]
    assert sum(not row.signed for row in kept) == 2
    assert len(store.incidents()) == 2
    monkeypatch.setattr("cloud.ledger.MOST_SIGNED_BYTES", len(twins[4]) + len(twins[3]))
    store.append([held, transport.pack(box.seal(structs.replace(header, custody=1), []))], LATER)
    assert sum(row.signed for row in store.quarantine()) < 3


def in_file_alone(path: Path, copy: Path) -> int:
    """How many blocks the database holds without its log."""
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as db:
        return int(db.execute("SELECT count(*) FROM blocks").fetchone()[0])


def test_the_log_is_folded_when_nobody_waits_and_at_last_whoever_waits(
    tmp_path: Path, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy, key = tmp_path / "fold.db", tmp_path / "alone.db", PrivateKey.generate()
    with Store(path, key) as store:
        box.enrol(store)
        store.append([box.block()], LATER)
    monkeypatch.setattr(database, "FOLD_IN_A_LULL", 40)
    with Store(path, key) as store:
        store.append([box.block()], LATER)
        store.tidy(lull=True)
        assert in_file_alone(path, copy) == 1
        for _ in range(6):
            store.append([box.block()], LATER)
            store.book()
        assert in_file_alone(path, copy) == 1
        store.tidy(lull=True)
        assert in_file_alone(path, copy) == 8
        monkeypatch.setattr(database, "FOLD_AT_ONCE", 40)
        for _ in range(6):
            store.append([box.block()], LATER)
            store.book()
        assert in_file_alone(path, copy) > 8


def test_a_writer_tidies_up_when_nothing_waits() -> None:
    tidied = threading.Event()
    writer = Writer(lambda batches: [len(batch) for batch in batches], tidied.set)

    async def once() -> object:
        return await writer.append([b"a", b"b"])

    assert asyncio.run(once()) == 2 and tidied.wait(5)
    writer.close()


def kept_receipts(store: Store) -> list[tuple[int, int, int]]:
    """Epoch, next seq and whether for good, in the order of the chain."""
    with store.reading() as db:
        return list(db.execute("SELECT epoch, next_seq, kept FROM receipts ORDER BY epoch, next_seq, at"))


def test_receipts_are_let_go_but_for_the_first_of_a_day_and_the_newest(
    store: Store, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "PASSING", 3)
    monkeypatch.setattr(receipts, "AT_ONCE", 1)
    asked = (box.invited(store), box.enrolment, box.config, box.profiles, NOON)
    opened = store.enrol(*asked)
    for day in range(3):
        for _ in range(5):
            store.append([box.block()], LATER + day * 24 * HOUR)
    for_good = [(0, 0, 1), (0, 1, 1), (0, 6, 1), (0, 11, 1)]
    assert kept_receipts(store) == [*for_good, *[(0, next_seq, 0) for next_seq in (13, 14, 15)]]
    assert store.enrol(*asked) == opened


@pytest.mark.parametrize("shown", [1, 7])
def test_an_epoch_begins_with_a_receipt_that_was_shown_however_old_it_is(
    store: Store, box: Any, monkeypatch: pytest.MonkeyPatch, shown: int
) -> None:
    monkeypatch.setattr(receipts, "PASSING", 3)
    monkeypatch.setattr(receipts, "AT_ONCE", 1)
    box.enrol(store)
    given = [store.append([box.block()], LATER).receipt for _ in range(8)]
    began = given[shown]
    assert began is not None
    store.remember([began], LATER)
    for _ in range(6):
        store.append([box.block()], LATER)
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(began).digest()
    assert [verdict.answer for verdict in store.append([box.block(**box.reboot(0))], LATER).verdicts] == [Answer.STORED]
    for _ in range(6):
        store.append([box.block()], LATER)
    assert store.receipt_named(box.id, hashlib.sha256(began).digest()) == began
    assert len(kept_receipts(store)) == 1 + 1 + 1 + 3


def test_the_receipt_an_epoch_began_with_stays_unshown(store: Store, box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "PASSING", 3)
    monkeypatch.setattr(receipts, "AT_ONCE", 1)
    box.enrol(store)
    began = [store.append([box.block()], LATER).receipt for _ in range(5)][-1]
    assert began is not None
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(began).digest()
    for _ in range(8):
        store.append([box.block(**({} if box.seq else box.reboot(0)))], LATER)
    assert store.receipt_named(box.id, hashlib.sha256(began).digest()) == began


def test_what_can_wait_rests_between_reads_and_nobody_else_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rests, long_s = list[float](), 0.03
    monkeypatch.setattr(database, "LONG_S", long_s)
    monkeypatch.setattr(database.time, "sleep", rests.append)

    def compute() -> None:
        end = time.thread_time() + 2 * long_s
        while time.thread_time() < end:
            pass

    compute()
    store.counts()
    assert rests == []
    with store.patiently():
        compute()
        store.counts()
        assert len(rests) == 1 and rests[0] >= database.RESTS * 2 * long_s
        store.counts()
        compute()
    assert len(rests) == 2, "behind the last read as well"
    compute()
    store.counts()
    assert len(rests) == 2
