"""Packs over an epoch that began under a collector whose key is lost: who signed what, by both keys, or refused."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloud import config, formers, statements, ways
from cloud.copier import Copier
from cloud.evidence.verify import verify
from cloud.rebook import rebook
from cloud.restore import restore
from cloud.store import Store
from protocols.errors import AccountError, EnrolmentError, RecordError, SignatureError
from protocols.record import cbor
from protocols.record.block import Event, EventKind
from protocols.record.cose import ES256, PrivateKey
from protocols.record.former import shown, sign_former
from tests.cloud.box import DAY, MINUTE, Box
from tests.cloud.evidence.packs import blocks_of, forged, packed, refused, relaid, unpacked
from tests.cloud.evidence.test_commands import run

REFERENCE = "E-plant-7-2026-09-22"


@dataclass
class Moved:
    """A gateway whose second epoch begins under its first collector, and the second collector, empty yet."""

    box: Box
    first: PrivateKey
    receipt: bytes
    frames: list[bytes]
    store: Store

    @property
    def id(self) -> bytes:
        return self.box.key.public.id

    def word(self, box: Box | None = None, key: PrivateKey | None = None) -> bytes:
        return sign_former((box or self.box).key, (key or self.first).public)

    def show(self) -> None:
        formers.take(self.store, self.word(), [self.receipt], self.box.utc)

    def send(self) -> list[int]:
        return [int(self.store.append([frame], self.box.utc)[0][0].answer) for frame in self.frames]


def moved(store: Store, folder: Path, *, gateway: PrivateKey | None = None, late: bool = False) -> Moved:
    """``late``: the second epoch begins only after the gateway was enrolled with the second collector."""
    box, first = Box(key=gateway or PrivateKey.generate()), PrivateKey.generate()
    with Store(folder / "first.db", first) as before:
        box.enrol(before)
        frames = [box.block() for _ in range(4)]
        for frame in frames:
            receipt = before.append([frame], box.utc)[1]
        assert receipt is not None
    if late:
        box.enrol(store)
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()
    frames += [box.block() for _ in range(5)]
    if not late:
        box.enrol(store)
    return Moved(box, first, receipt, frames, store)


@pytest.fixture
def after(collector: Store, tmp_path: Path) -> Moved:
    return moved(collector, tmp_path)


def test_a_stranger_is_told_which_collector_signed_what(tmp_path: Path) -> None:
    data, out, pem = tmp_path / "data", tmp_path / "pack.zip", tmp_path / "old.pem"
    with config.open_store(data, config.create_key(data)) as store:
        assert store.key is not None
        held, new = moved(store, tmp_path), store.ours.id.hex()
        held.show()
        assert held.send() == [0] * 9
        (told,) = store.incidents()
        assert (
            told.kind == "epoch" and f"of the collector it had before, key {held.first.public.kid.hex()}" in told.detail
        )
    old = held.first.public.id.hex()
    pem.write_bytes(held.first.public.pem())
    assert run("pack", REFERENCE, "-o", str(out), "--data", str(data)).exit_code == 0
    report = json.loads(run("verify", str(out), "--json").stdout)
    assert (report["ok"], report["collector"], report["gateways"][0]["blocks"]) == (True, new, 9)
    (began,) = report["gateways"][0]["began"]
    assert (began["epoch"], began["after"], began["collector"]) == (1, [0, 4], old)
    for language, words in (("en", "the one this gateway says it had before"), ("zh", "此前的平台")):
        text = run("verify", str(out), language=language).stdout
        assert words in text and old in text and new in text
    both = run("verify", str(out), "--collector", new.upper(), "--collector", str(pem), "--json")
    assert json.loads(both.stdout)["ok"] is True
    for known, file in ((new, f"/receipts/{hashlib.sha256(held.receipt).hexdigest()}.cose"), (old, "manifest.json")):
        other = run("verify", str(out), "--collector", known, "--json")
        error = json.loads(other.stdout)["error"]
        assert (other.exit_code, error["rule"]) == (4, "collector") and error["file"].endswith(file)


def test_what_the_gateway_has_not_shown_cannot_be_packed_until_it_is(after: Moved) -> None:
    assert after.send() == [0] * 9, "its blocks are taken all the same: the epoch began before the gateway came here"
    assert "not held" in after.store.incidents()[0].detail
    closed = statements.close(after.store, "plant-7", DAY, after.box.utc)
    with pytest.raises(AccountError, match="its gateway shows it"):
        packed(after.store, closed)
    after.show()
    after.show()
    assert verify(packed(after.store, closed)).gateways[0].began[0].key == after.first.public


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
def test_an_epoch_that_begins_late_under_the_old_receipt_is_taken_once_that_is_shown(
    collector: Store, tmp_path: Path, algorithm: str
) -> None:
    """The box was enrolled anew, and its store was lost before the new collector's first receipt came."""
    key = PrivateKey.generate(ES256) if algorithm == "ES256" else PrivateKey.generate()
    held = moved(collector, tmp_path, gateway=key, late=True)
    assert held.send()[3:5] == [0, 4]
    held.show()
    held.show()
    assert set(held.send()) <= {0, 1}, "stored, or held"
    closed = statements.close(collector, "plant-7", DAY, held.box.utc)
    assert verify(packed(collector, closed)).gateways[0].last == (1, 4)


def test_a_forger_can_put_neither_another_key_nor_another_receipt_in_its_place(after: Moved) -> None:
    after.show()
    after.send()
    pack = packed(after.store, statements.close(after.store, "plant-7", DAY, after.box.utc))
    files = unpacked(pack)
    word = next(name for name in files if "/collectors/" in name)
    receipt = next(name for name in files if "/receipts/" in name)
    other, stranger = PrivateKey.generate(), Box()

    def cases() -> list[tuple[str, Callable[[dict[str, bytes]], Any]]]:
        return [
            (receipt, lambda files: files.pop(word)),
            (receipt, lambda files: files.pop(receipt)),
            (word, lambda files: files.update({word: after.word(stranger)})),
            (word, lambda files: files.update({word: after.word(key=other)})),
            (
                word.replace(after.first.public.kid.hex(), "00" * 8),
                lambda files: files.update({word.replace(after.first.public.kid.hex(), "00" * 8): files[word]}),
            ),
        ]

    for file, change in cases():
        assert refused(forged(pack, change, after.store.key)).file == file


def test_the_end_of_the_epoch_that_the_old_collector_held_cannot_be_dropped(after: Moved) -> None:
    after.show()
    after.send()
    pack = packed(after.store, statements.close(after.store, "plant-7", DAY, after.box.utc))

    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(after.box, files)
        files[name] = relaid([block for index, block in enumerate(sealed) if index != 3])

    error = refused(forged(pack, change, after.store.key))
    assert error.rule == "chain" and "0/3" in str(error)


def test_only_the_gateways_own_word_is_kept(after: Moved) -> None:
    stranger, other = Box(), PrivateKey.generate()
    cases: Sequence[tuple[type[Exception], bytes, bytes]] = [
        (EnrolmentError, after.word(stranger), after.receipt),
        (SignatureError, after.word(key=other), after.receipt),
        (RecordError, after.receipt, after.receipt),
    ]
    for kind, word, receipt in cases:
        with pytest.raises(kind):
            formers.take(after.store, word, [receipt], after.box.utc)
    assert after.store.journal_end() == 0
    after.store.revoke(after.id, "stolen", after.box.utc)
    with pytest.raises(EnrolmentError):
        after.show()


def test_a_second_copy_brings_it_back_and_the_rows_can_be_made_anew(collector: Store, tmp_path: Path) -> None:
    held, copy = moved(collector, tmp_path, late=True), tmp_path / "copy"
    held.show()
    assert held.send() == [0] * 9
    with closing(Copier(collector, copy, lambda: held.box.utc, same_disk=True)):
        pass
    assert collector.key is not None
    restore(copy, tmp_path / "again.db", collector.key)
    with Store(tmp_path / "again.db", collector.key) as again:
        done = rebook(again, again.gateways()[0], collector.key, held.box.utc)
        assert (done.blocks, done.why, done.rows) == (9, "", {})
        closed = statements.close(again, "plant-7", DAY, held.box.utc)
        assert verify(packed(again, closed)).gateways[0].began[0].key == held.first.public


def test_the_rows_of_an_epoch_behind_blocks_that_only_the_old_collector_held_are_made_anew_as_they_are(
    collector: Store, tmp_path: Path
) -> None:
    """The box was started again in a block that is lost: no clock is held against the one before."""
    box, first = Box(), PrivateKey.generate()
    with Store(tmp_path / "first.db", first) as before:
        box.enrol(before)
        kept = [box.block() for _ in range(2)]
        boot = Event(EventKind.BOOT, box.utc, box.utc + MINUTE, "again")
        box.boot, box.utc, box.born = 2, box.utc + MINUTE, box.utc
        receipt = before.append([*kept, box.block(events=(boot,)), box.block()], box.utc)[1]
    assert receipt is not None and collector.key is not None
    box.enrol(collector)
    held = Moved(box, first, receipt, kept, collector)
    assert held.send() == [0] * 2
    held.show()
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()
    held.frames = [box.block() for _ in range(3)]
    assert held.send() == [0] * 3
    done = rebook(collector, collector.gateways()[0], collector.key, box.utc)
    assert (done.blocks, done.why, done.rows) == (5, "", {})


def test_it_comes_in_by_the_way_of_the_receipts(after: Moved) -> None:
    class AtOnce:
        waiting = 0

        async def run(self, job: Callable[[], Any]) -> Any:
            return job()

    collector: Any = SimpleNamespace(store=after.store, writer=AtOnce(), now=lambda: after.box.utc)

    def post(body: bytes) -> int:
        return asyncio.run(ways.serve(collector, "/v1/receipts", body, "en", "test")).status

    assert post(shown(after.word(), [after.receipt])) == 200
    assert formers.named(after.store, after.id, hashlib.sha256(after.receipt).digest()) == after.receipt
    assert post(shown(after.word(), [after.receipt] * (ways.MOST_RECEIPTS + 1))) == 400
    assert post(cbor.encode({0: after.word(), 1: 7})) == post(b"\xa2\x00") == 400
