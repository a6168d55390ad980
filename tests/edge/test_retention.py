"""What may be deleted, and when; and how long the room is said to last."""

import json

import pytest

from drivers.reading import Exchange
from edge import retention
from edge.covering import enrolling
from edge.outbox import DiskFull, Outbox
from edge.sealer import End, OpenBlock, Planned, Record, close
from protocols.record.block import ClockState
from protocols.record.cose import PrivateKey
from protocols.record.receipt import Receipt, sign_receipt

START = 1_780_000_020_000
KEY = PrivateKey.generate()
GATEWAY = KEY.public.id
CLOCK = ClockState(2, 2, 5, START // 1000)
PLAN = (Planned(0, bytes(16), ((b"ask", 60_000),)),)


@pytest.fixture
def outbox(tmp_path):
    held = Outbox(tmp_path / "outbox.db", GATEWAY, bytes(32), durable=False)
    yield held
    held.close()


def seal(outbox, number, utc=None, lasted=60_000):
    """Seal a block that begins at this UTC; its hash."""
    mono = 60_000 * number
    utc = START + mono if utc is None else utc
    block = OpenBlock(number, 1, mono, utc, CLOCK, (1, bytes(32)), ("1", bytes(32)), PLAN)
    records = [Record(number, -1, Exchange(0, 0, b"ask", bytes(range(200)), 0, mono + 10))]
    outbox.add(records, [block])
    link, end = outbox.chain().link, End(mono + lasted, utc + lasted, CLOCK)
    sealed = close(block, end, records, (), link=link, salt=lambda: bytes(16), signer=KEY)
    outbox.seal(block, sealed, link, end.utc)
    return sealed.hash


def settle(outbox, next_seq, head, level=2):
    return outbox.settle(Receipt(GATEWAY, 0, next_seq, head, level, START), b"receipt %d" % level)


def seqs(outbox):
    return [stored.seq for stored in outbox.batch(0, 0, 1000, 1 << 30)]


def test_a_settled_block_goes_after_thirteen_months_of_life_and_not_before(outbox, monkeypatch):
    monkeypatch.setattr(retention, "KEPT_MS", 10 * 60_000)
    hashes = [seal(outbox, number) for number in range(10)]
    settle(outbox, 5, hashes[4])
    seal(outbox, 10)
    assert seqs(outbox) == list(range(11)), "the oldest ended nine minutes before the newest"
    seal(outbox, 11)
    assert seqs(outbox) == list(range(1, 12))
    for number in range(12, 30):
        seal(outbox, number)
    assert seqs(outbox) == list(range(5, 30)), "what no second copy covers stays, however old"


def test_no_step_of_the_clock_makes_a_block_old(outbox):
    hashes = [seal(outbox, number) for number in range(3)]
    settle(outbox, 3, hashes[-1])
    for number in range(3, 8):
        seal(outbox, number, utc=START + 20 * 365 * 86_400_000 * (number % 2))
    assert seqs(outbox) == list(range(8))


def test_a_receipt_of_level_one_lets_nothing_go(outbox, monkeypatch):
    monkeypatch.setattr(retention, "KEPT_MS", 0)
    hashes = [seal(outbox, number) for number in range(3)]
    settle(outbox, 3, hashes[-1], level=1)
    seal(outbox, 3)
    assert seqs(outbox) == [0, 1, 2, 3] and outbox.counts().settled == 0


@pytest.mark.parametrize(("epoch", "first"), [(0, 1), (1, 0)])
def test_what_one_collector_settled_stays_for_another_that_does_not_hold_it(outbox, monkeypatch, epoch, first):
    """Two of one key: of this epoch, and where the other one stands in the epoch before."""
    monkeypatch.setattr(retention, "KEPT_MS", 0)
    hashes = [seal(outbox, number) for number in range(3)]
    if epoch:
        outbox.open_epoch(1, bytes(32), b"receipt")
        newer = [seal(outbox, number) for number in range(3, 6)]
        outbox.settle(Receipt(GATEWAY, 1, 3, newer[-1], 2, START), b"receipt 2")
    else:
        settle(outbox, 3, hashes[2])
    settle(outbox, 1, hashes[0], level=1)
    seal(outbox, 6)
    kept = [(stored.epoch, stored.seq) for stored in outbox.batch(epoch, 0, 1000, 1 << 30)]
    assert kept == [(epoch, seq) for seq in range(first, 4)]


def test_an_older_receipt_of_level_two_is_not_taken_for_the_newest(outbox):
    hashes = [seal(outbox, number) for number in range(5)]
    settle(outbox, 5, hashes[4], level=1)
    settle(outbox, 3, hashes[2], level=2)
    chain, counts = outbox.chain(), outbox.counts()
    assert (chain.receipt, chain.settled) == (b"receipt 1", b"receipt 2")
    assert (counts.unsettled, counts.settled) == (0, 3)


def test_a_store_that_is_let_grow_old_at_once_loses_a_few_blocks_with_each_seal(outbox, monkeypatch):
    hashes = [seal(outbox, number) for number in range(20)]
    settle(outbox, 20, hashes[-1])
    monkeypatch.setattr(retention, "KEPT_MS", 0)
    seal(outbox, 20)
    assert seqs(outbox) == list(range(retention.MOST_OLD, 21))


def test_while_room_is_low_settled_blocks_go_early_but_never_the_newest(outbox, monkeypatch):
    hashes = [seal(outbox, number) for number in range(20)]
    settle(outbox, 20, hashes[-1])
    monkeypatch.setattr(retention, "free", lambda db: retention.LOW_BYTES - 1)
    seal(outbox, 20)
    assert seqs(outbox) == list(range(retention.MOST_LOW, 21))
    seal(outbox, 21)
    seal(outbox, 22)
    assert seqs(outbox)[-3:] == [20, 21, 22]


def test_days_left_fall_with_what_is_kept_rise_with_what_is_settled_and_are_none_at_the_bound(outbox, monkeypatch):
    monkeypatch.setattr(retention, "free", lambda db: 1 << 40)
    assert outbox.counts().days_left is None
    hashes = [seal(outbox, 0)]
    size = outbox.counts().bytes
    outbox._max_bytes = 100 * size
    assert outbox.counts().days_left == round(99 / 1440, 1)
    outbox._max_bytes = 14_400 * size
    before = outbox.counts().days_left
    assert 9.5 < before <= 10
    hashes += [seal(outbox, number) for number in range(1, 1000)]
    grown = outbox.counts().days_left
    held = outbox.counts().bytes
    assert grown == pytest.approx((outbox._max_bytes - held) / (held / 1000 * 1440), abs=0.1) and grown < before - 0.6
    settle(outbox, 1000, hashes[-1])
    assert outbox.counts().days_left == pytest.approx(grown + 1000 / 1440, abs=0.1), "what may be deleted is room"
    outbox._max_bytes = outbox.counts().bytes
    assert outbox.counts().days_left == round(1000 / 1440, 1)


def test_at_the_bound_nothing_is_kept_on_and_room_is_asked_for_before_readings_begin_again(outbox):
    hashes = [seal(outbox, number) for number in range(6)]
    outbox._max_bytes = outbox.counts().bytes
    with pytest.raises(DiskFull, match="no second copy covers"):
        seal(outbox, 6)
    assert outbox.counts().days_left == 0.0 and outbox.short_of() > 0 and seqs(outbox) == [0, 1, 2, 3, 4, 5]
    settle(outbox, 4, hashes[3])
    assert outbox.short_of() == 0


def test_the_free_disk_bounds_the_days_too(outbox, monkeypatch):
    for number in range(10):
        seal(outbox, number)
    size = outbox.counts().bytes / 10
    monkeypatch.setattr(retention, "free", lambda db: 1440 * size * 1.5)
    assert outbox.counts().days_left == pytest.approx(1.0, abs=0.05)


def named(folder, key):
    """Put a collector's name into the state folder."""
    held = {"url": "http://127.0.0.1:1", "algorithm": key.algorithm, "spki": key.spki.hex()}
    (folder / "collector.json").write_text(json.dumps(held))


def signed(outbox, key, next_seq, head, level):
    held = Receipt(GATEWAY, 0, next_seq, head, level, START)
    assert outbox.settle(held, sign_receipt(held, key))


def test_what_a_former_collector_has_settled_goes_no_more_once_the_box_is_enrolled_elsewhere(
    outbox, tmp_path, monkeypatch
):
    """The new one was told the oldest block that is held, and what follows cannot be joined without it."""
    monkeypatch.setattr(retention, "KEPT_MS", 60_000)
    old, new = PrivateKey.generate(), PrivateKey.generate()
    named(tmp_path, old)
    hashes = [seal(outbox, number) for number in range(10)]
    signed(outbox, old, 8, hashes[7], 2)
    hashes += [seal(outbox, 10)]
    kept = seqs(outbox)
    assert kept[0] > 0, "as long as it is the one in force its word counts"
    named(tmp_path, new)
    hashes += [seal(outbox, number) for number in range(11, 20)]
    assert seqs(outbox)[0] == kept[0]
    signed(outbox, new, 6, hashes[5], 2)
    signed(outbox, new, 9, hashes[8], 1)
    for number in range(20, 25):
        seal(outbox, number)
    assert seqs(outbox)[0] == 6, "what the new one has settled goes, and nothing above it"


def test_nothing_goes_while_the_box_is_being_enrolled(outbox, tmp_path, monkeypatch):
    hashes = [seal(outbox, number) for number in range(10)]
    settle(outbox, 8, hashes[7])
    monkeypatch.setattr(retention, "KEPT_MS", 0)
    with enrolling(tmp_path):
        seal(outbox, 10)
        assert seqs(outbox)[0] == 0
    seal(outbox, 11)
    assert seqs(outbox)[0] == retention.MOST_OLD
