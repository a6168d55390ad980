"""Blocks that nobody has any more: the chain goes on behind them where its operator lets it, and never by itself."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloud import rot, statements
from cloud.accounting import period as periods
from cloud.audit import Audit
from cloud.audit_file import open_file
from cloud.enrolments import open_brought
from cloud.evidence.verify import verify
from cloud.rebook import rebook
from cloud.restore import restore
from cloud.store import Store
from protocols.errors import AccountError, EnrolmentError
from protocols.record import invite, transport
from protocols.record.answer import Answer
from protocols.record.block import Event, EventKind
from protocols.record.cose import PrivateKey
from protocols.record.receipt import Receipt, open_receipt
from tests.cloud.box import DAY, MINUTE, Box
from tests.cloud.evidence.packs import packed
from tests.cloud.store.test_enrolled_again import digest, enrolled_anew
from tests.cloud.test_copy import figures
from tests.cloud.test_restored_anew import keep_copy

LATER = 5 * MINUTE
"""How long the operator's window stays open."""


def receipted(store: Store, box: Box) -> bytes:
    """The newest receipt of a gateway."""
    receipt = store.receipt(box.key.public.id)
    assert receipt is not None
    return receipt


class Set:
    """A collector that holds the first three blocks of a gateway, which holds those from the seventh on."""

    def __init__(self, path: Path) -> None:
        self.box, self.key = Box(), PrivateKey.generate()
        self.store = Store(path, self.key)
        self.box.enrol(self.store)
        self.frames = [self.box.block() for _ in range(10)]
        self.sent(*self.frames[:3])

    def sent(self, *frames: bytes) -> list[Answer]:
        return [verdict.answer for verdict in self.store.append(list(frames), self.box.utc).verdicts]

    def asked(self, seq: int = 6) -> Receipt:
        """What is answered to the gateway, which shows its newest receipt and the oldest block it holds."""
        proof, oldest = receipted(self.store, self.box), transport.unpack(self.frames[seq]).envelope
        brought = open_brought(self.box.enrolment, self.box.config, [self.box.profile], oldest)
        return open_receipt(self.store.readmit(proof, brought, self.box.utc), self.key.public)

    def told(self) -> list[tuple[str, int | None, int | None]]:
        return [(row.kind, row.epoch, row.seq) for row in self.store.incidents()]


@pytest.fixture
def set_back(tmp_path: Path) -> Iterator[Set]:
    made = Set(tmp_path / "a.db")
    yield made
    made.store.close()


def test_without_the_operator_s_leave_it_is_told_once_and_nothing_moves(set_back: Set) -> None:
    for oldest in (6, 6, 8):
        with pytest.raises(EnrolmentError, match=f"stands at 0/3, its gateway holds nothing from there to 0/{oldest}"):
            set_back.asked(oldest)
    assert set_back.told() == [("missing", 0, 6)]
    assert set_back.sent(set_back.frames[6]) == [Answer.GAP]
    assert set_back.sent(*set_back.frames[3:7]) == [Answer.STORED] * 4


def test_an_invitation_that_was_used_is_not_the_operator_s_leave(set_back: Set) -> None:
    """The gateway was enrolled with it: it is the same request again, and a reply that was lost."""
    box, store = set_back.box, set_back.store
    oldest = transport.unpack(set_back.frames[6]).envelope
    code = invite.make(hashlib.sha256(box.key.spki).digest(), set_back.key.spki).format()
    answered = store.enrol(code, box.enrolment, box.config, [box.profile], box.born, oldest=oldest)
    assert open_receipt(answered, set_back.key.public).next_seq == 0
    assert set_back.sent(set_back.frames[6]) == [Answer.GAP] and set_back.told() == []


def test_a_new_invitation_is_but_once(set_back: Set) -> None:
    box, store, code = set_back.box, set_back.store, invite.make(bytes(9), set_back.key.spki)
    store.create_invite(code, None, box.utc + MINUTE, box.utc)

    def shown(seq: int) -> int:
        oldest = transport.unpack(set_back.frames[seq]).envelope
        answered = store.enrol(code.format(), box.enrolment, box.config, [box.profile], box.utc, oldest=oldest)
        return open_receipt(answered, set_back.key.public).next_seq

    assert [shown(5), shown(5), shown(7)] == [5, 5, 0]
    assert set_back.told() == [("start", 0, 5)]
    assert set_back.sent(set_back.frames[7]) == [Answer.GAP]
    assert set_back.sent(set_back.frames[5]) == [Answer.STORED]


def test_a_revoked_gateway_is_not_let_on(set_back: Set) -> None:
    set_back.store.open_window(set_back.box.utc + LATER)
    set_back.store.revoke(set_back.box.key.public.id, "stolen", set_back.box.utc)
    with pytest.raises(EnrolmentError, match="revoked"):
        set_back.asked()
    assert set_back.told() == []


def test_within_the_window_it_goes_on_with_the_oldest_block_and_whatever_is_made_of_the_store_is_the_same(
    set_back: Set, tmp_path: Path
) -> None:
    box, store, frames = set_back.box, set_back.store, set_back.frames
    set_back.sent(frames[8])
    store.open_window(box.utc + LATER)
    first = set_back.asked()
    header = transport.unpack(frames[5])
    assert (first.epoch, first.next_seq, first.head) == (0, 6, header.hash) and set_back.asked() == first
    assert set_back.sent(frames[4], frames[6], frames[7]) == [Answer.GAP, Answer.STORED, Answer.STORED]
    assert set_back.sent(frames[9], frames[5]) == [Answer.STORED, Answer.CONFLICT]
    assert [kind for kind, *_ in set_back.told()] == ["conflict", "conflict", "start"]
    keep_copy(store, tmp_path / "copy", box)
    before = figures(store)
    (held,) = store.gateways()
    assert (held.blocks, held.refused_blocks, held.next_seq) == (7, 0, 10)
    assert rebook(store, held, set_back.key, box.utc).rows == {}
    restore(tmp_path / "copy", tmp_path / "b.db", set_back.key)
    with Store(tmp_path / "b.db", set_back.key) as made:
        assert figures(made) == before
        assert rebook(made, made.gateways()[0], set_back.key, box.utc).rows == {}
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        with open_file(path) as db:
            for since in (None, *range(box.utc - 10 * MINUTE, box.utc, MINUTE)):
                span = None if since is None else (since, box.utc)
                assert Audit(db, box.key.public.id, lambda _: None).run(set_back.key.public, span).differences == []


def test_where_the_block_behind_what_is_lost_is_damaged_its_gateway_is_asked_by_what_that_names(set_back: Set) -> None:
    box, store = set_back.box, set_back.store
    store.open_window(box.utc + LATER)
    asked = set_back.asked()
    set_back.sent(*set_back.frames[6:])
    with store.writing() as db:
        rot.ask(db, box.key.public.id, (0, 6), transport.unpack(set_back.frames[6]).hash)
    answered = open_receipt(store.append([set_back.frames[9]], box.utc).receipt or b"", set_back.key.public)
    assert (answered.epoch, answered.next_seq, answered.head) == (0, 6, asked.head)


def test_a_pack_over_what_is_lost_is_refused_and_one_behind_it_holds(set_back: Set) -> None:
    box, store = set_back.box, set_back.store
    store.open_window(box.utc + LATER)
    set_back.asked()
    set_back.sent(*set_back.frames[6:])
    with pytest.raises(AccountError, match="found block 0/6 after 0/2"):
        packed(store, statements.close(store, "plant-7", DAY, box.utc))
    box.deliver(store, 26 * 60 // 20, 20 * MINUTE)
    following = periods.parse("2026-09-23", ZoneInfo("Asia/Shanghai"))
    (walked,) = verify(packed(store, statements.close(store, "plant-7", following, box.utc))).gateways
    assert walked.refused == {}


@contextmanager
def backed_up(older: Path, box: Box, key: PrivateKey) -> Iterator[Store]:
    """A collector of whose first two blocks there is a backup, and which goes on."""
    with Store(older.with_name("whole.db"), key) as whole:
        box.enrol(whole)
        box.deliver(whole, 2)
        whole.back_up(older)
        yield whole


def begin_epoch(box: Box, receipt: bytes) -> None:
    box.epoch, box.seq, box.previous = 1, 0, digest(receipt)


def test_a_pack_over_the_beginning_of_an_epoch_that_is_lost_is_refused(tmp_path: Path) -> None:
    box, key, older = Box(), PrivateKey.generate(), tmp_path / "older.db"
    with backed_up(older, box, key) as whole:
        begin_epoch(box, receipted(whole, box))
        box.deliver(whole, 2)
        proof = receipted(whole, box)
    with Store(older, key) as store:
        frames = [box.block() for _ in range(3)]
        store.open_window(box.utc + LATER)
        oldest = transport.unpack(frames[0]).envelope
        store.readmit(proof, open_brought(box.enrolment, box.config, [box.profile], oldest), box.utc)
        assert [verdict.answer for verdict in store.append(frames, box.utc).verdicts] == [Answer.STORED] * 3
        with pytest.raises(AccountError, match="found block 1/2 after 0/1"):
            packed(store, statements.close(store, "plant-7", DAY, box.utc))


def test_a_pack_over_the_end_of_an_epoch_that_is_lost_is_refused(tmp_path: Path) -> None:
    box, key, older = Box(), PrivateKey.generate(), tmp_path / "older.db"
    with backed_up(older, box, key) as whole:
        box.deliver(whole, 2)
        receipt = receipted(whole, box)
    begin_epoch(box, receipt)
    with Store(older, key) as store:
        store.remember([receipt], box.utc)
        box.deliver(store, 3)
        with pytest.raises(AccountError, match="found block 1/0 after 0/1, expected 0/3"):
            packed(store, statements.close(store, "plant-7", DAY, box.utc))


@pytest.mark.parametrize("shown", ["its receipt", "an invitation"])
def test_an_epoch_that_began_within_a_boot_whose_beginning_is_lost_is_booked(tmp_path: Path, shown: str) -> None:
    """The boot event lies in a block that is lost; under a new key the box has only this epoch to be enrolled with."""
    box, key, older = Box(), PrivateKey.generate(), tmp_path / "older.db"
    with backed_up(older, box, key) as whole:
        boot = Event(EventKind.BOOT, box.utc, box.utc + MINUTE, "again")
        box.boot, box.utc, box.born = 2, box.utc + MINUTE, box.utc
        box.deliver(whole, 1, events=(boot,))
        box.deliver(whole, 2)
        receipt = receipted(whole, box)
    begin_epoch(box, receipt)
    with Store(older, key) as store:
        first = box.block()
        if shown == "its receipt":
            store.remember([receipt], box.utc)
        else:
            oldest = transport.unpack(first).envelope
            answered = open_receipt(enrolled_anew(store, box, oldest), key.public)
            assert (answered.epoch, answered.next_seq, answered.head) == (1, 0, digest(receipt))
        assert [verdict.answer for verdict in store.append([first], box.utc).verdicts] == [Answer.STORED]
        assert "missing" in {row.kind for row in store.incidents()}
        (held,) = store.gateways()
        assert (held.epoch, held.refused_blocks) == (1, 0)
    with open_file(older) as db:
        assert Audit(db, box.key.public.id, lambda _: None).run(key.public).differences == []
