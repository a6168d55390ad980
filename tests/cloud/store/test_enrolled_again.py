"""A gateway comes with its enrolment once more, by another invitation: it is answered where its blocks begin."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cloud.audit import Audit
from cloud.audit_file import open_file
from cloud.enrolments import open_brought
from cloud.store import Store
from protocols.errors import EnrolmentError
from protocols.record import invite, siteconfig, transport
from protocols.record.answer import Answer
from protocols.record.block import open_header
from protocols.record.cose import PrivateKey
from protocols.record.receipt import open_receipt
from tests.cloud.box import MINUTE, Box


def enrolled_anew(store: Store, box: Box, oldest: bytes | None = None, entropy: int = 0) -> bytes:
    """What the gateway is answered to one more invitation."""
    assert store.key is not None
    made = invite.make(bytes(range(entropy, entropy + 9)), store.key.spki)
    store.create_invite(made, None, box.utc + MINUTE, box.utc)
    return store.enrol(made.format(), box.enrolment, box.config, [box.profile], box.utc, oldest=oldest)


@pytest.mark.parametrize("epoch", [0, 1])
def test_where_it_holds_no_more_than_its_newest_blocks_it_is_answered_there(tmp_path: Path, epoch: int) -> None:
    """A box takes no receipt but one for the first block that it holds: of its epoch, within it, or the next one."""
    box, key = Box(), PrivateKey.generate()
    with Store(tmp_path / "a.db", key) as store:
        box.enrol(store)
        if epoch:
            box.deliver(store, 2)
            box.epoch, box.seq, box.previous = 1, 0, digest(store.receipt(box.key.public.id))
        box.deliver(store, 5)
        frames = [frame for _, frame in store.frames(box.key.public.id, (epoch, 0), (epoch, 4))]
        for number, frame in enumerate((*frames, box.block(), frames[2])):
            sealed = transport.unpack(frame)
            header = open_header(sealed.envelope, box.key.public)
            receipt = open_receipt(enrolled_anew(store, box, sealed.envelope, number), key.public)
            assert (receipt.epoch, receipt.next_seq, receipt.head) == (epoch, header.seq, header.previous)
        first = open_receipt(enrolled_anew(store, box, entropy=50), key.public)
        assert (first.epoch, first.next_seq, first.head) == (0, 0, digest(box.enrolment))
    with open_file(tmp_path / "a.db") as db:
        assert Audit(db, box.key.public.id, lambda _: None).run(key.public).differences == []
    with closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute("UPDATE blocks SET frame = x'00' WHERE epoch = ? AND seq = 0", (epoch,))
    with open_file(tmp_path / "a.db") as db:
        found = Audit(db, box.key.public.id, lambda _: None).run(key.public).differences
    assert ("block", f"{epoch}/0") in {(difference.what, difference.name) for difference in found}


def test_where_its_first_block_is_another_than_the_one_held_it_is_answered_where_the_chain_began(
    tmp_path: Path,
) -> None:
    box, key = Box(), PrivateKey.generate()
    with Store(tmp_path / "a.db", key) as store:
        box.enrol(store)
        box.deliver(store, 3)
        box.seq, box.previous = 2, bytes(32)
        other = transport.unpack(box.block()).envelope
        receipt = open_receipt(enrolled_anew(store, box, other), key.public)
        assert (receipt.epoch, receipt.next_seq) == (0, 0)


def digest(envelope: bytes | None) -> bytes:
    """The hash by which an envelope is named."""
    assert envelope is not None
    return siteconfig.digest(envelope)


def begun_late(store: Store, box: Box, frames: list[bytes]) -> bytes:
    """Enrol a box that holds these blocks and none before; its receipt."""
    return enrolled_anew(store, box, transport.unpack(frames[0]).envelope)


def test_a_chain_that_begins_with_a_later_block_is_audited_as_any_other(tmp_path: Path) -> None:
    box, key = Box(), PrivateKey.generate()
    frames = [box.block() for _ in range(9)]
    with Store(tmp_path / "a.db", key) as store:
        begun_late(store, box, frames[5:])
        store.append(frames[5:], box.utc)
    with open_file(tmp_path / "a.db") as db:
        assert Audit(db, box.key.public.id, lambda _: None).run(key.public).differences == []


def test_where_the_first_block_is_gone_before_any_came_the_chain_begins_with_the_next_one(tmp_path: Path) -> None:
    """The box has let go of it with its newest block: it did not know yet that nobody has a second copy any more."""
    box, key = Box(), PrivateKey.generate()
    frames = [box.block() for _ in range(10)]
    with Store(tmp_path / "a.db", key) as store:
        proof = begun_late(store, box, frames[5:])

        def asked(seq: int) -> int:
            oldest = transport.unpack(frames[seq]).envelope
            brought = open_brought(box.enrolment, box.config, [box.profile], oldest)
            return open_receipt(store.readmit(proof, brought, box.utc), key.public).next_seq

        assert store.append(frames[6:8], box.utc).verdicts[0].answer == Answer.GAP
        assert (asked(5), asked(6)) == (5, 6)
        assert {verdict.answer for verdict in store.append(frames[6:8], box.utc).verdicts} == {Answer.STORED}
        with pytest.raises(EnrolmentError, match="tanmeter cloud readmit"):
            asked(9)
    with open_file(tmp_path / "a.db") as db:
        assert Audit(db, box.key.public.id, lambda _: None).run(key.public).differences == []


def test_what_a_gateway_brings_of_before_a_late_beginning_is_no_fork(tmp_path: Path) -> None:
    box, key = Box(), PrivateKey.generate()
    with Store(tmp_path / "a.db", key) as lost:
        box.enrol(lost)
        box.deliver(lost, 3)
        earlier = lost.receipt(box.key.public.id)
        assert earlier is not None
    box.epoch, box.seq, box.previous = 1, 0, digest(earlier)
    frames = [box.block() for _ in range(6)]
    with Store(tmp_path / "b.db", key) as store:
        begun_late(store, box, frames[2:])
        assert store.append(frames[2:], box.utc).verdicts[-1].answer == Answer.STORED
        store.remember([earlier], box.utc)
        assert [row.kind for row in store.incidents()] == ["start"]
