"""Blocks of several gateways are read together: to the same answers, receipts and rows as each by itself."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cloud import reader
from cloud.store import Store
from protocols.record.answer import Answer
from protocols.record.cose import PrivateKey, PublicKey
from tests.cloud.store.conftest import NOON, PROFILE

LATER = NOON + 900_000
ODD = ("again", "ahead", "foreign", "flipped", "noise", "doubled", "unplanned")
"""What may be wrong with a frame; the others are the next of their chain."""


def everything(store: Store) -> dict[str, Any]:
    """All that is kept of gateways and their blocks, and what they said last."""
    with store.booked() as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: dict[str, Any] = {
            table: sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in tables if table != "invites"
        }
    return found | {"values": store.latest()}


@pytest.fixture
def boxes(make_box: Callable[..., Any]) -> list[Any]:
    """The first three name their meters alike, so that their chunks look alike; one of these has another profile of the
    same name, by which the same bytes are ten times as much. The next is revoked, and the last is not enrolled.
    """
    other = PROFILE.replace(b"scale = 0.01", b"scale = 0.1")
    return [make_box(), make_box(), make_box(profile=other), make_box(energy=200_000), make_box()]


def drawn(boxes: list[Any], drawn: random.Random) -> list[list[bytes]]:
    """Batches that come at the same time: of a gateway each, with something wrong in some."""
    sent: dict[int, list[bytes]] = {}
    batches = []
    for number in drawn.choices(range(len(boxes)), k=drawn.randint(1, 6)):
        box, held, frames = boxes[number], sent.setdefault(number, []), list[bytes]()
        for _ in range(drawn.randint(0, 4)):
            odd = drawn.choice(ODD) if drawn.random() < 0.3 else ""
            chunks = box.chunks()[::-1] if odd == "unplanned" else None
            frame = box.block(chunks=chunks)
            if odd == "again" and held:
                frames.append(drawn.choice(held))
            if odd == "foreign":
                frames.append(replace(drawn.choice(boxes)).block())
            if odd == "flipped":
                place = drawn.randrange(len(frame))
                frames.append(frame[:place] + bytes([frame[place] ^ 1 << drawn.randrange(8)]) + frame[place + 1 :])
            if odd == "noise":
                frames.append(drawn.randbytes(40))
            later = [box.block()] if odd == "ahead" else []
            frames += [*later, frame, *([frame] if odd == "doubled" else [])]
            held.append(frame)
        batches.append(frames)
    return batches


@pytest.mark.parametrize("ahead", [1, 3_000, reader.AHEAD_BYTES], ids=["by itself", "some", "together"])
@pytest.mark.parametrize("seed", range(6))
def test_batches_of_many_gateways_come_to_what_each_comes_to_by_itself(
    boxes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, ahead: int
) -> None:
    """However much is read at a time."""
    monkeypatch.setattr(reader, "AHEAD_BYTES", ahead)
    chance, key = random.Random(seed), PrivateKey.generate()
    with Store(tmp_path / "one.db", key) as one, Store(tmp_path / "other.db", key) as other:
        for store in (one, other):
            for box in boxes[:4]:
                box.enrol(store)
            store.revoke(boxes[3].id, "gone", NOON)
        for _ in range(4):
            batches = drawn(boxes, chance)
            singly = [other.append(batch, LATER) for batch in batches]
            assert one.append_batches(batches, LATER) == singly
        found, expected = everything(one), everything(other)
        assert [name for name in expected if found[name] != expected[name]] == []


def test_alike_chunks_under_two_profiles_have_each_its_own_values(boxes: list[Any], store: Store) -> None:
    """Their meters are named alike, and what they say is the same: only the profiles they were set up by differ."""
    fine, coarse = boxes[0], boxes[2]
    for box in (fine, coarse):
        box.enrol(store)
    assert store.append([fine.block()], LATER).verdicts[0].answer == Answer.STORED
    coarse.energy = fine.energy
    for _ in range(3):
        answers = store.append_batches([[fine.block()], [coarse.block()]], LATER)
        assert [answer.verdicts[0].answer for answer in answers] == [Answer.STORED] * 2
    (first,), (second,) = [store.series(box.id, "M-01", "energy_import", 0, LATER) for box in (fine, coarse)]
    assert 10 * first.register_end.value == second.register_end.value


def test_a_frame_of_another_gateway_is_not_taken_for_the_own_one(boxes: list[Any], tmp_path: Path) -> None:
    """It is in a batch of its own gateway as well, and may have been read with its key already."""
    mine, its = boxes[0], boxes[1]
    for place in (0, 1):
        with Store(tmp_path / f"{place}.db", PrivateKey.generate()) as store:
            here, there = replace(mine), replace(its)
            for box in (here, there):
                box.enrol(store)
            frame = there.block()
            batches = [[here.block(), frame], [frame]]
            answers = store.append_batches(batches if place == 0 else batches[::-1], LATER)
            own, of_other = answers if place == 0 else answers[::-1]
            assert [verdict.answer for verdict in own.verdicts] == [Answer.STORED, Answer.REFUSED]
            assert own.verdicts[1].code == "SIG-601", own.verdicts[1]
            assert [verdict.answer for verdict in of_other.verdicts] == [Answer.STORED]


class Laborious:
    """A clock of the processor, in seconds: each of these frames takes a whole one to read, and nothing else any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames, self.now, read = set[bytes](), 0.0, reader.Reader.read

        def spent(own: reader.Reader, frame: bytes, key: PublicKey) -> reader.Signed:
            self.now += frame in self.frames
            return read(own, frame, key)

        monkeypatch.setattr(reader.Reader, "read", spent)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def laborious(monkeypatch: pytest.MonkeyPatch) -> Laborious:
    return Laborious(monkeypatch)


def said(answered: Any) -> list[Answer]:
    return [verdict.answer for verdict in answered.verdicts]


def test_what_is_read_of_another_gateway_is_not_on_the_time_of_a_batch(
    boxes: list[Any], tmp_path: Path, laborious: Laborious
) -> None:
    mine, its, third = boxes[:3]
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=0.5, processor=laborious) as store:
        for box in (mine, its, third):
            box.enrol(store)
        laborious.frames = {its.block(), its.block()}
        for before in ([], [[third.block(), b"noise"]]):
            batches = [*before, [mine.block() for _ in range(4)], sorted(laborious.frames)]
            assert said(store.append_batches(batches, LATER)[-2]) == [Answer.STORED] * 4


@pytest.mark.parametrize("behind", [0, 1], ids=["alone", "before another"])
def test_the_first_block_of_a_batch_is_on_its_time(
    boxes: list[Any], tmp_path: Path, laborious: Laborious, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    monkeypatch.setattr(reader, "AHEAD_BYTES", 1)
    mine, its = boxes[:2]
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=0.5, processor=laborious) as store:
        for box in (mine, its):
            box.enrol(store)
        frames = [mine.block() for _ in range(3)]
        laborious.frames = set(frames)
        answers = store.append_batches([frames, *[[its.block()]] * behind], LATER)
        assert said(answers[0]) == [Answer.STORED, Answer.GAP, Answer.GAP]


@pytest.mark.parametrize("odd", [b"", b"\0"], ids=["no byte", "one byte"])
def test_what_cannot_be_read_keeps_no_other_batch_from_being_read_together(
    boxes: list[Any], tmp_path: Path, odd: bytes
) -> None:
    """Python has but one string of no byte, or of one and the same: it lies in several batches."""
    mine, its = boxes[:2]
    ticks = (number * 0.03 for number in count())
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=0.1, processor=lambda: next(ticks)) as store:
        for box in (mine, its):
            box.enrol(store)
        batches = [[its.block(), odd], [mine.block() for _ in range(6)], [odd, its.block()]]
        answers = store.append_batches(batches, LATER)
        assert said(answers[1]) == [Answer.STORED] * 4 + [Answer.GAP] * 2
