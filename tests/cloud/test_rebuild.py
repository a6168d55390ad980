"""The collector was lost, or is an older one: its gateways bring everything back, and the figures are the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import closing, commands, statements
from cloud.accounting import period as periods
from cloud.config import create_key
from cloud.store import Store
from protocols.errors import EnrolmentError
from protocols.record import cbor, invite, transport
from protocols.record.answer import Answer, Answers, decode_answers, encode_batch
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt

QUARTER = 900_000
HOUR = 4 * QUARTER
DAY = 24 * HOUR
FIGURES = {
    "intervals": "gateway, device, point, start, end, unit, meter, closed, start_value, start_at, start_epoch,"
    " start_seq, end_value, end_at, end_epoch, end_seq, rolled, multiplier, consumption, readings, expected, quality,"
    " position, period_ms, state, ignored, since, kind, covered_ms, integral",
    "doubts": "*", "settings": "*", "undated": "*", "latest": "*", "events": "*",
    "configs": "number, digest",
    "blocks": "gateway, epoch, seq, hash, utc_start, utc_end, config_number, readings, fault, frame",
    "gateways": "gateway, epoch, next_seq, head, boot, mono, config_number, dated_epoch, dated_boot, dated_mono,"
    " dated_utc, block_start, block_end, blocks,"
    " refused_blocks, readings, due, asked, answered, silent, damaged, refused, gaps",
}  # fmt: skip
"""What a figure rests on. When something came, and in which order with others, is not part of it."""


def figures(store: Store) -> dict[str, list[str]]:
    with store.booked() as db:
        return {
            table: sorted(map(repr, db.execute(f"SELECT {columns} FROM {table}"))) for table, columns in FIGURES.items()
        }


def numbers(store: Store) -> list[Any]:
    """The statements as they stand last: what they say, not when they were made or of how many versions."""
    return [(row.id, row.digest) for row in store.statements()]


def post(house: Any, path: str, body: bytes) -> Answers:
    response = house.client.post(path, content=body)
    assert response.status_code in (200, 409), response.text
    return decode_answers(response.content)


def deliver(house: Any, frames: list[bytes]) -> Answers:
    for at in range(0, len(frames), 64):
        answers = post(house, "/v1/blocks", encode_batch(frames[at : at + 64]))
        assert {verdict.answer for verdict in answers.verdicts} <= {Answer.STORED, Answer.HELD}
    return answers


def enrol(house: Any, rig: Any, proof: object, *oldest: bytes) -> Any:
    body = {0: proof, 1: rig.enrolment, 2: rig.config, 3: rig.profiles} | ({4: oldest[0]} if oldest else {})
    return house.client.post("/v1/enrolments", content=cbor.encode(body))


@pytest.fixture
def rig(full: tuple[Any, Any], tmp_path: Path) -> Any:
    """The gateway of the full collector, to go on from where it stands, with its meters."""
    made = type(full[1])(tmp_path, period="5m")
    apart = ("_meters", "_truth", "truth_path")
    made.__dict__.update({name: value for name, value in vars(full[1]).items() if name not in apart})
    return made


@pytest.fixture
def lost(full: tuple[Any, Any], rig: Any, tmp_path: Path) -> Iterator[tuple[Any, list[bytes], bytes]]:
    """A collector with a day and a half of it, closed; the gateway's blocks, and its newest receipt."""
    house = type(full[0])(_copied(full[0], tmp_path / "lost"), full[0].now, full[0].key)
    with house.store.reading() as db:
        frames = [frame for (frame,) in db.execute("SELECT frame FROM blocks ORDER BY epoch, seq")]
    receipt = house.store.receipt(rig.id)
    assert numbers(house.store) and receipt is not None and len(frames) == rig.seq
    yield house, frames, receipt
    house.close()


def emptied(house: Any, folder: Path, key: PrivateKey) -> Any:
    """Another house with nothing in it."""
    folder.mkdir()
    return type(house)(folder, house.now, key)


def test_fault_57_an_empty_collector_with_its_key_is_rebuilt_by_its_gateways_alone(
    lost: Any, rig: Any, tmp_path: Path
) -> None:
    house, frames, receipt = lost
    before, said = figures(house.store), numbers(house.store)
    again = emptied(house, tmp_path / "again", house.key)
    try:
        asked = again.client.post("/v1/receipts", content=receipt)
        assert (asked.status_code, asked.json()["code"]) == (403, "ENR-401")
        assert enrol(again, rig, receipt).status_code == 403
        again.store.open_window(again.now + 1)
        answer = enrol(again, rig, receipt)
        assert answer.status_code == 201
        first = open_receipt(cbor.decode(answer.content)[2], house.key.public)
        assert (first.epoch, first.next_seq, first.head) == (0, 0, hashlib.sha256(rig.enrolment).digest())
        assert again.client.get("/v1/health").json()["behind_receipts"] == [rig.id.hex()]
        deliver(again, frames)
        closing.close_all(again.store, again.now)
        assert (figures(again.store), numbers(again.store)) == (before, said)
        assert again.client.get("/v1/health").json()["reasons"] == []
        assert [row.kind for row in again.store.incidents()] == ["readmitted"]
    finally:
        again.close()


def test_fault_57_with_the_key_lost_too_a_gateway_enrols_anew_and_brings_everything(
    lost: Any, rig: Any, tmp_path: Path
) -> None:
    house, frames, receipt = lost
    before, said = figures(house.store), numbers(house.store)
    again = emptied(house, tmp_path / "again", PrivateKey.generate())
    try:
        assert again.client.post("/v1/receipts", content=receipt).json()["code"] == "SIG-601"
        again.store.open_window(again.now + 1)
        assert enrol(again, rig, receipt).json()["code"] == "SIG-601"
        code = invite.make(bytes(range(9)), again.key.spki)
        again.store.create_invite(code, None, again.now + HOUR, again.now)
        assert enrol(again, rig, code.format()).status_code == 201
        deliver(again, frames)
        closing.close_all(again.store, again.now)
        assert (figures(again.store), numbers(again.store)) == (before, said)
    finally:
        again.close()


def test_a_gateway_that_has_pruned_says_where_its_chain_begins(lost: Any, rig: Any, tmp_path: Path) -> None:
    house, frames, receipt = lost
    oldest = transport.unpack(frames[40]).envelope
    again = emptied(house, tmp_path / "again", house.key)
    try:
        again.store.open_window(again.now + 1)
        answer = enrol(again, rig, receipt, oldest)
        first = open_receipt(cbor.decode(answer.content)[2], house.key.public)
        assert (first.epoch, first.next_seq) == (0, 40)
        assert enrol(again, rig, receipt, oldest).content == answer.content
        deliver(again, frames[40:])
        kinds = [row.kind for row in again.store.incidents()]
        assert sorted(kinds) == ["readmitted", "start"]
        held = {row.start: row for row in again.store.series(rig.id, "M-01", "energy_import", 0, again.now)}
        for row in house.store.series(rig.id, "M-01", "energy_import", 0, again.now)[43:]:
            assert held[row.start] == row
    finally:
        again.close()


def test_nobody_else_s_block_says_where_a_chain_begins_and_the_revoked_stay_out(
    lost: Any, rig: Any, make_rig: Any, tmp_path: Path, midnight: int
) -> None:
    house, _, receipt = lost
    other = make_rig()
    again = emptied(house, tmp_path / "again", house.key)
    try:
        again.store.open_window(again.now + 1)
        stray = other.block(midnight, midnight + QUARTER).envelope
        assert enrol(again, rig, receipt, stray).json()["code"] == "SIG-601"
        assert enrol(again, other, receipt).json()["code"] == "ENR-401"
        again.store.bar(rig.id, "stolen", again.now)
        assert "revoked" in enrol(again, rig, receipt).json()["detail"]
        assert again.store.gateways() == []
        with pytest.raises(EnrolmentError):
            again.store.remember([receipt], again.now)
    finally:
        again.close()


def test_fault_56_restored_from_an_older_backup_the_gateway_sends_again_and_totals_are_equal(
    lost: Any, rig: Any, tmp_path: Path, midnight: int
) -> None:
    house, frames, _ = lost
    older = tmp_path / "older"
    older.mkdir()
    house.store.back_up(older / "collector.db")
    more = list(rig.history(midnight + DAY + DAY // 2, midnight + DAY + 18 * HOUR, QUARTER))
    house.now = midnight + DAY + 18 * HOUR
    receipt = deliver(house, more).receipt
    again = type(house)(older, house.now, house.key)
    try:
        answers = post(again, "/v1/receipts", receipt or b"")
        assert answers.receipt is not None
        back = open_receipt(answers.receipt, house.key.public)
        assert (answers.verdicts, back.next_seq) == ((), len(frames))
        assert again.client.get("/v1/health").json()["reasons"] == ["restored"]
        deliver(again, [*frames, *more][back.next_seq :])
        assert figures(again.store) == figures(house.store)
        assert [row.kind for row in again.store.incidents()] == ["restored"]
        assert again.client.get("/v1/health").json()["status"] == "ok"
    finally:
        again.close()


def test_fault_58_two_collectors_of_one_key_come_to_the_union_by_sending_again(
    lost: Any, rig: Any, tmp_path: Path, midnight: int
) -> None:
    house, frames, _ = lost
    other = type(house)(_copied(house, tmp_path / "other"), house.now, house.key)
    try:
        left = list(rig.history(midnight + DAY + DAY // 2, midnight + DAY + 15 * HOUR, QUARTER))
        house.now = other.now = midnight + DAY + 15 * HOUR
        far = deliver(house, left).receipt
        answers = post(other, "/v1/blocks", encode_batch(left[-1:]))
        assert answers.verdicts[0].answer == Answer.GAP
        assert open_receipt(answers.receipt or b"", house.key.public).next_seq == len(frames)
        back = post(other, "/v1/receipts", far or b"").receipt
        deliver(other, left[open_receipt(back or b"", house.key.public).next_seq - len(frames) :])
        assert figures(other.store) == figures(house.store)
    finally:
        other.close()


def _copied(house: Any, folder: Path) -> Path:
    folder.mkdir()
    house.store.back_up(folder / "collector.db")
    return folder


def test_fault_60_late_data_makes_a_second_version_beside_the_first(
    full: tuple[Any, Any], house: Any, midnight: int, tmp_path: Path
) -> None:
    rig = type(full[1])(tmp_path, period="5m")
    rig.enrol(house.store, house.key)
    frames = list(rig.history(midnight, midnight + DAY + 2 * HOUR, QUARTER))
    house.now = midnight + DAY + 2 * HOUR
    deliver(house, frames[:60])
    day = periods.parse("2026-10-03", statements.zone_of(house.store, "S-DEMO"))
    first = statements.close(house.store, "S-DEMO", day, house.now)
    kept = house.store.statement(first.id, 1)
    deliver(house, frames[60:])
    second = statements.close(house.store, "S-DEMO", day, house.now + 1)
    assert (first.version, second.version) == (1, 2)
    assert house.store.statement(first.id, 1) == kept
    assert second.difference is not None and second.difference.kwh > 0
    assert second.content.kwh == first.content.kwh + second.difference.kwh
    told = house.client.get(f"/v1/emissions/{second.reference}").json()
    assert [each["supersedes"] for each in told["versions"]] == [None, 1]


def test_a_window_that_is_closed_is_said_to_be_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANMETER_LANG", "en")
    create_key(tmp_path)
    for valid, said in (("72h", "are taken in again"), ("0h", "no gateway is taken in again")):
        commands.readmit(tmp_path, valid)
        assert said in capsys.readouterr().err
