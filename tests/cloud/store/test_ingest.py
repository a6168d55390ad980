"""The five answers, rule by rule: what is wrong with a frame decides what is said of it, and what follows goes on."""

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cloud import reader
from cloud.store import Store
from drivers import columns, replay
from drivers.builtin import builtin
from drivers.driver import Driver
from drivers.query import Values
from protocols import modbus
from protocols.record import siteconfig, transport
from protocols.record.answer import Answer, Verdict
from protocols.record.block import ClockState, Counters, Event, EventKind, Fault, Sealed, Track
from protocols.record.cose import ES256, PrivateKey
from protocols.record.receipt import Receipt, open_receipt
from tests.cloud import tables

LATER = 1_790_100_000_000


def say(store: Store, *frames: bytes) -> list[Answer]:
    return [verdict.answer for verdict in store.append(frames, LATER)[0]]


def one(store: Store, frame: bytes) -> Verdict:
    ((verdict,), *_) = store.append([frame], LATER)
    return verdict


def receipt(store: Store, envelope: bytes | None) -> Receipt:
    assert envelope is not None
    return open_receipt(envelope, store.ours)


def test_the_next_block_is_stored_and_receipted(enrolled: Any, store: Store) -> None:
    frames = [enrolled.block(), enrolled.block()]
    verdicts, envelope, _ = store.append(frames, LATER)
    assert [verdict.answer for verdict in verdicts] == [Answer.STORED, Answer.STORED]
    assert receipt(store, envelope) == Receipt(enrolled.id, 0, 2, enrolled.previous, 1, LATER)
    assert store.block(enrolled.id, 0, 1) == frames[1]
    assert store.receipt(enrolled.id) == envelope


def test_a_block_sent_again_is_held_and_counted_once(enrolled: Any, store: Store) -> None:
    frame, other = enrolled.block(), enrolled.block()
    first = store.append([frame, other], LATER)
    before = (store.intervals(), store.counts(), store.power_series(0, LATER))
    verdicts, envelope, _ = store.append([frame, other, frame], LATER + 1)
    assert [(verdict.answer, verdict.wanted) for verdict in verdicts] == [(Answer.HELD, 2)] * 3
    assert envelope == first[1]
    assert (store.intervals(), store.counts(), store.power_series(0, LATER)) == before


def test_a_block_that_is_ahead_is_told_what_is_wanted(enrolled: Any, store: Store) -> None:
    first, second, third = enrolled.block(), enrolled.block(), enrolled.block()
    assert one(store, third) == Verdict(Answer.GAP, 0, "SIG-602", "found seq 2, expected 0")
    assert say(store, first, third, second, third) == [Answer.STORED, Answer.GAP, Answer.STORED, Answer.STORED]


def test_a_block_ahead_that_names_a_device_nobody_has_is_answered(enrolled: Any, store: Store) -> None:
    first, nobody = enrolled.block(), replace(enrolled.chunk(1, [], []), device=7)
    second, third = enrolled.block(), enrolled.block(chunks=[*enrolled.chunks(), nobody])
    assert say(store, first, third, second) == [Answer.STORED, Answer.GAP, Answer.STORED]
    (refused,) = store.quarantine()
    assert store.quarantined(refused.id) == third


@pytest.mark.parametrize(("ahead", "stored"), [(1, 3), (1 << 19, 4)], ids=["each by itself", "read together"])
def test_a_batch_ends_where_another_block_like_the_last_would_take_too_long(
    box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int, stored: int
) -> None:
    """What was read together with the blocks before it takes next to nothing: it is taken up to the very end."""
    monkeypatch.setattr(reader, "AHEAD_BYTES", ahead)
    ticks = (number * 0.03 for number in count())
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=0.1, processor=lambda: next(ticks)) as store:
        box.enrol(store)
        assert say(store, *[box.block() for _ in range(6)]) == [Answer.STORED] * stored + [Answer.GAP] * (6 - stored)


@pytest.mark.parametrize(("reading", "stored"), [(0.0, 6), (0.08, 3), (9.0, 1)])
def test_what_it_takes_to_read_a_batch_counts(box: Any, tmp_path: Path, reading: float, stored: int) -> None:
    ticks = chain([0.0], (reading + 0.02 * number for number in count()))
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=0.11, processor=lambda: next(ticks)) as store:
        box.enrol(store)
        assert say(store, *[box.block() for _ in range(6)]) == [Answer.STORED] * stored + [Answer.GAP] * (6 - stored)


def test_another_block_of_the_same_seq_is_a_conflict_and_both_are_kept(enrolled: Any, store: Store) -> None:
    twin = replace(enrolled)
    held, other = enrolled.block(), twin.block(custody=1)
    assert say(store, held) == [Answer.STORED]
    before = store.intervals()
    assert [one(store, other).answer for _ in range(2)] == [Answer.CONFLICT] * 2
    assert store.block(enrolled.id, 0, 0) == held
    (kept,) = store.quarantine()
    assert store.quarantined(kept.id) == other
    (incident,) = store.incidents()
    assert (incident.kind, incident.gateway, incident.epoch, incident.seq) == ("conflict", enrolled.id, 0, 0)
    assert store.intervals() == before
    assert say(store, enrolled.block()) == [Answer.STORED]


def test_a_fork_is_a_conflict_and_a_new_epoch_goes_on(enrolled: Any, store: Store) -> None:
    _, envelope, _ = store.append([enrolled.block()], LATER)
    stray = enrolled.seal(structs.replace(enrolled.header(), previous=bytes(32)))
    assert one(store, transport.pack(stray)).answer == Answer.CONFLICT
    assert [incident.kind for incident in store.incidents()] == ["fork"]
    assert envelope is not None
    enrolled.epoch, enrolled.seq, enrolled.previous = 1, 0, hashlib.sha256(envelope).digest()
    assert say(store, enrolled.block(), enrolled.block()) == [Answer.STORED, Answer.STORED]
    assert receipt(store, store.receipt(enrolled.id)).epoch == 1


def test_a_new_epoch_must_follow_a_receipt_of_ours(enrolled: Any, store: Store) -> None:
    _, envelope, _ = store.append([enrolled.block()], LATER)
    assert envelope is not None
    enrolled.epoch, enrolled.seq, enrolled.previous = 1, 0, bytes(32)
    assert "a receipt this collector issued" in one(store, transport.pack(enrolled.seal())).detail
    enrolled.previous = hashlib.sha256(envelope).digest()
    late = transport.pack(enrolled.seal(enrolled.header(seq=3)))
    assert one(store, late).wanted == 0
    assert say(store, enrolled.block()) == [Answer.STORED]


def test_anyone_else_is_refused(enrolled: Any, store: Store, make_box: Callable[..., Any]) -> None:
    stranger = make_box()
    (verdict,), envelope, _ = store.append([stranger.block()], LATER)
    assert (verdict.answer, verdict.code, envelope) == (Answer.REFUSED, "ENR-401", None)
    forged = replace(enrolled)
    forged.key = Forger(enrolled.key)
    verdict = one(store, forged.block())
    assert (verdict.answer, verdict.code) == (Answer.REFUSED, "SIG-601")
    assert say(store, enrolled.block()) == [Answer.STORED]
    assert [kept.code for kept in store.quarantine()] == ["SIG-601", "ENR-401"]
    assert not any(kept.signed for kept in store.quarantine())


class Forger:
    """Signs under the name of another key."""

    def __init__(self, victim: PrivateKey) -> None:
        self._own, self.public = PrivateKey.generate(), victim.public
        self.algorithm, self.spki = victim.algorithm, victim.spki

    def sign(self, data: bytes) -> bytes:
        return self._own.sign(data)


def test_a_revoked_gateway_is_refused(enrolled: Any, store: Store) -> None:
    first, second = enrolled.block(), enrolled.block()
    assert say(store, first) == [Answer.STORED]
    store.revoke(enrolled.id, "stolen", LATER)
    (verdict,), envelope, _ = store.append([second], LATER)
    assert (verdict.answer, verdict.code, envelope) == (Answer.REFUSED, "ENR-401", None)
    assert store.block_row(enrolled.id, 0, 1) is None


def test_what_another_process_writes_is_known_with_the_next_batch(enrolled: Any, store: Store) -> None:
    frames = [enrolled.block() for _ in range(4)]
    assert say(store, frames[0]) == [Answer.STORED]
    with Store(store.path, store.key) as other:
        assert say(other, frames[1]) == [Answer.STORED]
        assert say(store, frames[1], frames[2]) == [Answer.HELD, Answer.STORED]
        assert say(other, frames[2], frames[3]) == [Answer.HELD, Answer.STORED]
        other.revoke(enrolled.id, "stolen", LATER)
    assert say(store, enrolled.block()) == [Answer.REFUSED]
    assert store.counts().blocks == 4 and receipt(store, store.receipt(enrolled.id)).next_seq == 4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: b"",
        lambda frame: frame[:-1],
        lambda frame: frame + b"x",
        lambda frame: frame[:20] + b"\0" + frame[21:],
    ],
    ids=["empty", "truncated", "over-long", "altered"],
)
def test_bytes_that_are_no_frame_are_refused_and_the_frame_itself_is_still_taken(
    enrolled: Any, store: Store, spoil: Callable[[bytes], bytes]
) -> None:
    frame, after = enrolled.block(), enrolled.block()
    assert say(store, spoil(frame), frame, after) == [Answer.REFUSED, Answer.STORED, Answer.STORED]


def test_an_altered_reading_is_refused_and_the_true_block_is_still_taken(enrolled: Any, store: Store) -> None:
    frame = enrolled.block()
    sealed = transport.unpack(frame)
    chunk = bytearray(sealed.chunks[0])
    chunk[-40] ^= 1
    altered = transport.pack(replace(sealed, chunks=(bytes(chunk), *sealed.chunks[1:])))
    verdict = one(store, altered)
    assert (verdict.answer, verdict.code) == (Answer.REFUSED, "SIG-602")
    assert "root" in verdict.detail
    assert say(store, frame) == [Answer.STORED]
    assert store.counts().refused_blocks == 0


def test_every_flipped_byte_of_a_block_is_refused(enrolled: Any, store: Store) -> None:
    frame = enrolled.block()
    sealed = transport.unpack(frame)
    data = b"".join((sealed.envelope, *sealed.chunks))
    lengths = [len(sealed.envelope), *map(len, sealed.chunks)]
    flipped = []
    for at in range(len(data)):
        spoilt = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        parts, start = [], 0
        for length in lengths:
            parts.append(spoilt[start : start + length])
            start += length
        flipped.append(transport.pack(Sealed(parts[0], tuple(parts[1:]))))
    assert set(say(store, *flipped)) == {Answer.REFUSED}
    assert store.counts().blocks == 0
    assert say(store, frame) == [Answer.STORED]


def test_an_unknown_configuration_waits_until_it_is_sent(enrolled: Any, store: Store, make_site: Any) -> None:
    site = make_site()
    second = enrolled.signed_config(2, site, siteconfig.digest(enrolled.config))
    enrolled.use(second, 2, site)
    frame = enrolled.block()
    verdict = one(store, frame)
    assert (verdict.answer, verdict.code, verdict.wanted) == (Answer.REFUSED, "CFG-102", 0)
    assert store.quarantine() == []
    assert store.put_config(enrolled.id, second, enrolled.profiles, LATER)
    assert say(store, frame) == [Answer.STORED]


def impossible(box: Any, case: str) -> bytes:
    """A block that is signed and in its place, and cannot be."""
    times, reply = list(range(50, 60_000, 10_000)), box.reply(1, 7)
    chunks = box.chunks()
    other = box.chunk(1, times, [reply] * 6)
    changes: dict[str, Any] = {}
    if case == "boot without an event":
        changes = {"boot": box.boot + 1, "mono": (0, 60_000)}
    elif case == "monotonic time does not touch":
        changes = {"mono": (box.mono + 1, box.mono + 60_001)}
    elif case == "boot number falls":
        event = Event(EventKind.BOOT, box.utc, box.utc, "")
        changes = {"boot": 0, "mono": (0, 60_000), "events": (event,)}
    elif case == "clocks apart":
        changes = {"utc": (box.utc, box.utc + 3_600_000)}
    elif case == "another configuration of this number":
        changes = {"configuration": (1, bytes(32))}
    elif case == "device is missing":
        chunks = chunks[:1]
    elif case == "device of no number":
        chunks = [chunks[0], replace(other, device=2)]
    elif case == "more chunks than devices":
        chunks = [*chunks, replace(other, device=2)]
    elif case == "device digest":
        chunks = [chunks[0], replace(other, device_digest=bytes(16))]
    elif case == "too few were due":
        chunks = [chunks[0], box.chunk(1, times[:4], [reply] * 4)]
    elif case == "too many were due":
        many = list(range(50, 60_000, 6_000))
        chunks = [chunks[0], box.chunk(1, many, [reply] * 10)]
    elif case == "request of no plan":
        faults = (Fault(3, 1, 1),)
        tracks = other.tracks
        chunks = [chunks[0], replace(other, faults=faults, counters=Counters.of(tracks, faults))]
    elif case == "reply with a wrong checksum":
        chunks = [chunks[0], box.chunk(1, times, [*[reply] * 5, reply[:-1] + b"\0"])]
    elif case == "reply of another meter":
        chunks = [chunks[0], box.chunk(1, times, [*[reply] * 5, box.reply(0, 7)])]
    return bytes(box.block(chunks=chunks, **changes))


CASES: Sequence[tuple[str, str]] = [
    ("boot without an event", "without a boot event"),
    ("monotonic time does not touch", "monotonic time from"),
    ("boot number falls", "a higher number"),
    ("clocks apart", "a clock step event"),
    ("another configuration of this number", "configuration 1"),
    ("device is missing", "device 1: found 0 due"),
    ("device of no number", "device 2"),
    ("more chunks than devices", "found 3 chunks"),
    ("device digest", "digest"),
    ("too few were due", "device 1: found 4 due"),
    ("too many were due", "device 1: found 10 due"),
    ("request of no plan", "request 1 of a plan of 1"),
    ("reply with a wrong checksum", ""),
    ("reply of another meter", ""),
]


@pytest.mark.parametrize(("case", "reason"), CASES, ids=[case for case, _ in CASES])
def test_impossible_content_is_quarantined_with_the_reason_and_blocks_nothing(
    enrolled: Any, store: Store, case: str, reason: str
) -> None:
    before = enrolled.block()
    bad = impossible(enrolled, case)
    assert say(store, before) == [Answer.STORED]
    booked = store.intervals()
    verdict = one(store, bad)
    assert verdict.answer == Answer.REFUSED
    assert reason in verdict.detail
    assert verdict.wanted == 2
    (kept,) = store.quarantine()
    assert (store.quarantined(kept.id), kept.reason, kept.signed) == (bad, verdict.detail, True)
    row = store.block_row(enrolled.id, 0, 1)
    assert row is not None and row.fault is not None and reason in row.fault
    assert store.intervals() == booked
    if case == "another configuration of this number":
        enrolled.use(enrolled.config, 1, enrolled.site)
    follows = enrolled.block(chunks=enrolled.chunks())
    assert say(store, bad, follows) == [Answer.HELD, Answer.STORED]
    assert len(store.incidents()) == 0


def test_a_lower_configuration_number_is_refused(enrolled: Any, store: Store, make_site: Any) -> None:
    first = (enrolled.config, 1, enrolled.site)
    second = enrolled.signed_config(2, make_site(), siteconfig.digest(enrolled.config))
    store.put_config(enrolled.id, second, enrolled.profiles, LATER)
    enrolled.use(second, 2, make_site())
    good = enrolled.block()
    enrolled.use(*first)
    bad = enrolled.block()
    assert say(store, good, bad) == [Answer.STORED, Answer.REFUSED]
    assert "found configuration 1 after 2" in store.quarantine()[0].reason
    bad = enrolled.block()
    assert say(store, bad) == [Answer.REFUSED]
    enrolled.use(second, 2, make_site())
    assert say(store, enrolled.block()) == [Answer.STORED]


def test_a_clock_step_that_is_declared_is_taken(enrolled: Any, store: Store) -> None:
    step = Event(EventKind.CLOCK_STEP, enrolled.utc, enrolled.utc + 3_600_000, "ntp")
    boots = enrolled.header().events
    assert say(store, enrolled.block(utc=(enrolled.utc, enrolled.utc + 3_660_000), events=(*boots, step))) == [
        Answer.STORED
    ]


def test_a_reboot_with_its_event_goes_on(enrolled: Any, store: Store) -> None:
    first = enrolled.block()
    second = enrolled.block(**enrolled.reboot(600_000))
    third = enrolled.block()
    assert say(store, first, second, third) == [Answer.STORED] * 3
    assert [event.detail for event in store.events(enrolled.id)] == ["power cut", "first"]


def test_a_box_that_does_not_know_the_time_loses_no_energy(enrolled: Any, store: Store) -> None:
    frames = [enrolled.block()]
    now, enrolled.utc = enrolled.utc, 60_000
    changes = {**enrolled.reboot(0), "clock": ClockState(0, 0, 0, 0)}
    frames.append(enrolled.block(**changes))
    enrolled.utc = now + 120_000
    frames.append(enrolled.block())
    assert say(store, *frames) == [Answer.STORED] * 3
    rows = [row.interval for row in store.intervals(device="M-01")]
    assert [(row.start, row.readings) for row in rows] == [(rows[0].start, 12)]
    assert rows[0].consumption == (rows[0].register_end.value - rows[0].register_start.value) * 80
    assert rows[0].register_end.value * 100 == enrolled.energy - 1


def test_a_chip_signs_with_its_own_algorithm(store: Store, make_box: Callable[..., Any]) -> None:
    box = make_box(key=PrivateKey.generate(ES256))
    box.enrol(store)
    assert say(store, box.block()) == [Answer.STORED]


def test_a_batch_of_two_gateways_takes_the_first(enrolled: Any, store: Store, make_box: Callable[..., Any]) -> None:
    other = make_box()
    other.enrol(store)
    assert say(store, enrolled.block(), other.block()) == [Answer.STORED, Answer.REFUSED]
    assert store.gateway(other.id).next_seq == 0  # type: ignore[union-attr]


def replays(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The answers that are read one by one from now on."""
    read, values = list[bytes](), replay.values

    def counted(driver: Driver, request: bytes, reply: bytes) -> Values:
        read.append(reply)
        return values(driver, request, reply)

    monkeypatch.setattr(replay, "values", counted)
    return read


@pytest.mark.parametrize("place", [0, 700, 59_999])
def test_a_broken_answer_among_very_many_is_found_before_they_are_read_one_by_one(
    enrolled: Any, store: Store, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Beyond the plan, whose number bounds the others: one register of the same meter, asked 60,000 times a minute."""
    body, answer = bytes([1, 3, 0, 2, 0, 1]), bytes([1, 3, 2, 0, 7])
    request = body + modbus.crc(body).to_bytes(2, "little")
    answers = [answer + modbus.crc(answer).to_bytes(2, "little")] * 60_000
    answers[place] = answer + b"\x00\x00"
    own, *others = enrolled.chunks()
    tracks = (*own.tracks, Track.of(request, [0] * len(answers), answers))
    odd = replace(own, tracks=tracks, counters=Counters.of(tracks, ()))
    frame, read = enrolled.block(chunks=[odd, *others]), replays(monkeypatch)
    verdict = one(store, frame)
    assert (verdict.answer, verdict.code) == (Answer.REFUSED, "BUS-102") and "CRC" in verdict.detail
    assert answers[place] in read and len(read) <= 2 * columns.SOME


def test_very_many_answers_that_are_read_one_by_one_are_held_to_the_plan_first(
    make_box: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty-five thousand answers of a water meter in a minute: all alike, they travel in a kilobyte."""
    profile = builtin("cjt188-water")
    proof = tomllib.loads(profile.decode())["proof"][0]
    answer = bytes.fromhex(proof["response"])
    device = f'[[device]]\nid = "W"\nprofile = "cjt188-water"\nport = "bus-1"\naddress = "{answer[2:9][::-1].hex()}"\n'
    meter = make_box(site=tables.site(f'{device}role = "purchased"\n').encode(), profile=profile)
    meter.enrol(store)
    times = [number * 2 for number in range(25_000)]
    read = replays(monkeypatch)
    verdict = one(store, meter.block(chunks=[meter.chunk(0, times, [answer] * len(times))]))
    assert verdict.answer == Answer.REFUSED and "found 25000 due" in verdict.detail
    assert read == []
    assert one(store, meter.block(chunks=[meter.chunk(0, times[:1], [answer])])).answer == Answer.STORED
    assert read == [answer]
