"""Delivery against a collector by hand: only its own signed receipt settles, the backlog goes first."""

import asyncio
from collections import Counter
from random import Random

import pytest

from edge.outbox import Stored
from edge.retry import FIRST_S, LONGEST_S, LOOK_S, MOST_TURNS, Retry
from edge.session import understand
from edge.transport import Response
from protocols.errors import AbsentError, StrangerError, TrustError, UnreachableError
from protocols.record import transport
from protocols.record.answer import Answer, Answers, Verdict, decode_answers, encode_answers
from protocols.record.block import EventKind, open_header
from protocols.record.cose import PrivateKey
from protocols.record.receipt import Receipt, open_receipt, sign_receipt

BLOCKS = "/v1/blocks"


def unsettled(made):
    outbox = made.outbox()
    try:
        return outbox.counts().unsettled
    finally:
        outbox.close()


def test_each_block_is_delivered_as_soon_as_it_is_sealed(site):
    _made, world, collector = site
    world.run(179)
    posted = [at for at, path in collector.posts if path == BLOCKS]
    assert [round(at) for at in posted[:2]] == [60, 120]
    assert (collector.configs, len(collector.held)) == (1, 3)


def test_the_newest_block_goes_first_then_the_backlog_in_batches_and_nothing_twice(site):
    made, world, collector = site
    collector.instead = UnreachableError("no route")

    async def mend(world):
        await asyncio.sleep(6000)
        collector.instead = None

    world.run(6179, mend)
    chain, counts = chain_and_counts(made)
    assert len(collector.held) == chain.link.seq and counts.unsettled == 0
    first = collector.seen[0]
    assert first[0] - 6000 <= LOOK_S, "the link is found within seconds, however long it was gone"
    assert first[2] == max(seq for at, _, seq in collector.seen if at < 6010), "what is live goes first"
    assert sorted(seq for _, _, seq in collector.seen) == list(range(chain.link.seq)), "and nothing goes twice"
    back = [at for at, path in collector.posts if path == BLOCKS and at >= 6000]
    at_once, live = [at for at in back if at - back[0] < 2], [at for at in back if at - back[0] >= 2]
    assert len(at_once) <= 4, "the backlog goes in a few batches at once"
    assert [round(at) for at in live] == [6060, 6120, 6179], "and blocks are as short as ever again"


@pytest.mark.parametrize(
    ("error", "most"),
    [(TrustError("expired"), 600), (AbsentError("refused"), 600), (UnreachableError("no route"), 8000)],
)
def test_who_refuses_over_a_link_that_is_there_is_tried_seldom_and_a_link_that_is_gone_often(site, error, most):
    _made, world, collector = site
    tries = []

    async def refused(path, body, content_type):
        tries.append(asyncio.get_running_loop().time())
        raise error

    collector.post = refused
    world.run(4 * 3600)
    assert most / 3 < len(tries) <= most


def test_while_the_collector_is_away_for_long_blocks_are_longer_and_nothing_of_them_is_less(site):
    made, world, collector = site
    collector.instead = UnreachableError("no route")
    world.run(6 * 3600 - 1)
    blocks = made.blocks()
    lengths = [header.utc[1] - header.utc[0] for header, _ in blocks]
    assert set(lengths[:59]) == {60_000} and max(lengths) == 900_000 and len(blocks) < 100
    due = sum(chunk.counters.due for _, chunks in blocks for chunk in chunks)
    answered = sum(chunk.counters.answered for _, chunks in blocks for chunk in chunks)
    assert due == answered == 6 * 360


def test_a_collector_that_asks_a_back_fill_to_wait_still_gets_the_live_blocks(site):
    made, world, collector = site
    collector.instead = UnreachableError("no route")

    async def mend(world):
        await asyncio.sleep(7000)
        collector.pause_ms, collector.instead = 90_000, None

    world.run(7500, mend)
    posts = [at for at, path in collector.posts if path == BLOCKS and at > 7000]
    minutes = [round(at) for at in posts if at % 60 < 0.1]
    assert minutes[:8] == [7020, *range(7080, 7500, 60)], "a block is seen when it is sealed"
    back = [at for at in posts if at % 60 >= 0.1 and at < 7499]
    assert [round(at - back[0]) for at in back] == [0, 0, 90], "and the backlog waits as it was asked"
    assert unsettled(made) <= 3


def test_the_newest_receipt_is_shown_at_the_start_and_to_a_collector_that_is_behind_it(site):
    _made, world, collector = site
    world.run(179)
    assert collector.shown == [], "a box without a receipt has nothing to show"

    async def restore(world):
        await asyncio.sleep(130)
        del collector.held[1:]

    world.run(239, restore)
    shown = [open_receipt(envelope, collector.key.public).next_seq for envelope in collector.shown]
    assert shown == [3, 5], "once at the start, once when the collector has fallen behind"
    chain, counts = chain_and_counts(_made)
    assert len(collector.held) == chain.link.seq and counts.unsettled == 0


def test_a_delivery_that_goes_well_is_not_told_each_minute_and_what_is_on_its_way_is_not_called_delivered(site):
    _made, world, collector = site
    post, seen = collector.post, []

    async def slow(path, body, content_type):
        if path == BLOCKS:
            await asyncio.sleep(5)
            seen.append((await world.agents[-1].status())["sync"]["state"])
        return await post(path, body, content_type)

    collector.post = slow
    world.run(600)
    assert set(seen[1:]) == {"delivering"} and len(seen) > 8
    assert [known["state"] for event, known in world.logged if event == "sync"] == ["idle"]


def test_after_a_minutes_outage_the_link_is_found_within_seconds(site):
    _made, world, collector = site

    async def cut(world):
        await asyncio.sleep(58)
        collector.instead = UnreachableError("no route")
        await asyncio.sleep(60)
        collector.instead = None

    world.run(179, cut)
    tries = [at for at, path in collector.posts if path == BLOCKS]
    found = next(at for at in tries if at >= 118)
    assert found - 118 <= LOOK_S
    assert len(collector.held) == 3


@pytest.mark.parametrize(
    "strange",
    [
        Response(200, b"<html><body>Please log in</body></html>"),
        Response(302, b""),
        Response(200, b""),
        Response(204, b""),
        Response(500, b"oops"),
        Response(200, encode_answers(Answers((Verdict(Answer.STORED, 1, "", ""),)))),
    ],
)
def test_an_answer_that_is_not_the_collectors_settles_nothing(site, strange):
    made, world, collector = site
    collector.instead = strange
    world.run(179)
    assert unsettled(made) == 3
    collector.instead = None
    world.run(70)
    assert unsettled(made) <= 2 and len(collector.held) >= 4


def test_an_old_answer_that_somebody_gives_again_settles_nothing_new(site):
    made, world, collector = site
    real, kept = collector.post, []

    async def replayed(path, body, content_type):
        if path != BLOCKS:
            return await real(path, body, content_type)
        if not kept:
            kept.append(await real(path, body, content_type))
            return kept[0]
        return kept[0]

    collector.post = replayed
    world.run(299)
    assert unsettled(made) == 4 and len(collector.held) == 1
    collector.post = real
    world.run(100)
    assert unsettled(made) == 0 and len(collector.held) == 7


def test_a_receipt_signed_by_another_key_settles_nothing(site):
    made, world, collector = site
    collector.key = PrivateKey.generate()
    world.run(119)
    assert unsettled(made) == 2


def test_a_receipt_for_another_gateway_settles_nothing(site):
    made, world, collector = site
    real = collector.receipt
    collector.receipt = lambda: real(gateway=bytes(16))
    world.run(119)
    assert unsettled(made) == 2


def test_a_restart_goes_on_from_the_receipt(site):
    _made, world, collector = site

    async def cut(world):
        await asyncio.sleep(130)
        collector.instead = UnreachableError("no route")

    world.run(179, cut)
    assert len(collector.held) == 2
    collector.instead = None
    collector.posts.clear()
    world.run(70)
    assert len(collector.held) == 5
    first = next(at for at, path in collector.posts if path == BLOCKS)
    assert first < 1, "the block sealed at the stop is sent at the start"


def test_a_collector_that_lost_its_newest_blocks_gets_them_again(site):
    _made, world, collector = site

    async def restore(world):
        await asyncio.sleep(190)
        del collector.held[1:]

    world.run(250, restore)
    assert len(collector.held) == 5


def test_a_gap_answer_is_answered_with_the_block_that_is_wanted(site):
    _made, world, collector = site
    world.run(179)
    collector.held.clear()
    world.run(70)
    assert len(collector.held) >= 4


def test_while_the_collector_takes_nothing_it_is_offered_one_block_and_what_is_live(site):
    """Each try is paid for: a day of them with a whole batch would be gigabytes."""
    _made, world, collector = site
    collector.instead = UnreachableError("no route")
    world.run(1200)
    collector.instead, collector.verdicts = None, lambda header: Verdict(Answer.CONFLICT, 0, "SIG-603", "another block")
    world.run(1200)
    offered = Counter(seq for _, _, seq in collector.seen)
    assert offered[0] > 10 and max(count for seq, count in offered.items() if seq) <= 3
    collector.verdicts = lambda header: None
    world.run(200)
    assert len(collector.held) >= 43


def test_a_refused_block_is_kept_marked_and_not_sent_again(site):
    made, world, collector = site

    def refuse_one(header):
        if header.seq != 1:
            return None
        collector.held[1:] = [b"quarantined" + bytes(21)]
        return Verdict(Answer.REFUSED, 2, "SIG-602", "impossible content")

    real = collector._take

    def take(frame):
        verdict = real(frame)
        if verdict.answer == Answer.REFUSED:
            collector.held[1:] = [transport.unpack(frame).hash]
        return verdict

    collector._take, collector.verdicts = take, refuse_one
    world.run(239)
    assert len(collector.held) == 4
    outbox = made.outbox()
    counts = outbox.counts()
    outbox.close()
    assert (counts.refused, counts.blocks) == (1, 4)
    assert [known["seq"] for event, known in world.logged if event == "refused"] == [1]


def test_an_unknown_configuration_is_posted_and_the_block_sent_again(site):
    _made, world, collector = site
    collector.verdicts = lambda header: (
        None if collector.configs > 1 else Verdict(Answer.REFUSED, header.seq, "CFG-102", "unknown configuration")
    )
    world.run(100)
    assert (collector.configs, len(collector.held)) == (2, 2)


def test_a_block_that_is_read_in_several_turns_is_sent_again_within_seconds(site):
    """It is no failure: nobody waits longer and longer, and with it for what is live."""
    _made, world, collector = site
    turns, told, fifth = [], [], asyncio.Event()

    def later(header):
        if header.seq > 0 or len(turns) == 10:
            return None
        turns.append(header)
        if len(turns) == 5:
            fifth.set()
        return Verdict(Answer.GAP, None, "", "the rest in another one")

    async def ask(world):
        await fifth.wait()
        told.append((await world.agents[0].status())["sync"])

    collector.verdicts = later
    world.run(100, ask)
    assert (len(turns), len(collector.held)) == (10, 2)
    assert (told[0]["state"], told[0]["error"]) == ("taken in turns", ""), "and nobody need do anything"
    assert "held up" not in told[0]["results"] and told[0]["results"]["taken in turns"] >= 4
    assert [event["state"] for name, event in world.logged if name == "sync"] == ["idle", "taken in turns", "idle"]


def test_a_collector_that_never_has_done_with_a_block_is_named(site):
    _made, world, collector = site
    collector.verdicts = lambda header: Verdict(Answer.GAP, None, "", "the rest in another one")
    told = {}

    async def ask(world):
        await asyncio.sleep(290)
        told.update((await world.agents[0].status())["sync"])

    world.run(299, ask)
    assert told["state"] == "held up" and told["results"]["taken in turns"] == MOST_TURNS


def test_a_gateway_that_is_not_known_keeps_its_blocks_to_be_sent(site):
    made, world, collector = site
    collector.verdicts = lambda header: Verdict(Answer.REFUSED, None, "ENR-401", "revoked")
    told = {}

    async def ask(world):
        await asyncio.sleep(170)
        told.update(await world.agents[0].status())

    world.run(179, ask)
    assert unsettled(made) == 3
    assert (told["sync"]["state"], told["sync"]["error"]) == ("held up", "revoked")


def test_a_card_that_was_rolled_back_whole_opens_a_new_epoch_and_says_why(site):
    made, world, collector = site
    world.run(59)
    files = {path: path.read_bytes() for path in [*made.state.glob("outbox.db*"), made.state / "watermark"]}
    world.run(179)
    for path in made.state.glob("outbox.db*"):
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)
    world.run(250)
    outbox = made.outbox()
    chain, counts = outbox.chain(), outbox.counts()
    outbox.close()
    assert chain.link.epoch == 1 == collector.epoch
    assert counts.unsettled == 0, "known at the start by the receipt, before anything was sealed in vain"
    assert any(event == "new_epoch" for event, _ in world.logged)
    assert len(collector.held) == chain.link.seq >= 4
    opened = _opened(made, 1)
    assert any(
        event.kind == EventKind.DISK and "epoch 1" in event.detail for header in opened for event in header.events
    )


def _opened(made, epoch):
    outbox = made.outbox()
    held = [stored for stored in outbox.batch(epoch, 0, 64, 1 << 20) if stored.epoch == epoch]
    outbox.close()
    return [open_header(transport.unpack(stored.frame).envelope, made.gateway.public) for stored in held]


def test_a_conflict_opens_a_new_epoch(site):
    _made, world, collector = site
    collector.held.append(bytes(32))
    world.run(239)
    assert collector.epoch == 1 and len(collector.held) >= 2


def chain_and_counts(made):
    outbox = made.outbox()
    try:
        return outbox.chain(), outbox.counts()
    finally:
        outbox.close()


def test_a_conflict_that_no_receipt_bears_out_is_an_objection_and_gives_nothing_up(site):
    """On the way every verdict is changed to a conflict, under a receipt the collector once signed."""
    made, world, collector = site
    old, real, told = collector.receipt(), collector.post, {}

    async def changed(path, body, content_type):
        answer = await real(path, body, content_type)
        if path != BLOCKS:
            return answer
        count = len(decode_answers(answer.body).verdicts)
        verdicts = [Verdict(Answer.CONFLICT, 0, "SIG-603", "another block")] * count
        return Response(409, encode_answers(Answers(tuple(verdicts), old)))

    async def mend(world):
        await asyncio.sleep(170)
        told.update((await world.agents[0].status())["sync"])
        collector.post = real

    collector.post = changed
    world.run(299, mend)
    chain, counts = chain_and_counts(made)
    assert (told["state"], told["error"]) == ("held up", "another block")
    assert chain.link.epoch == 0 and counts.left_behind == 0
    assert len(collector.held) == 5, "all of it arrived once nobody stood in the way"
    tries = [at for at, path in collector.posts if path == BLOCKS and at < 170]
    assert 3 <= len(tries) <= 30, "tried again, with more and more time in between"


def test_a_refusal_that_no_receipt_bears_out_is_sent_again(site):
    """On the way the first block's verdict is changed to a refusal: the receipt shows that the chain did not go on."""
    made, world, collector = site
    old, real = collector.receipt(), collector.post
    altered = []

    async def post(path, body, content_type):
        if path != BLOCKS or altered:
            return await real(path, body, content_type)
        altered.append(len(collector.held))
        return Response(200, encode_answers(Answers((Verdict(Answer.REFUSED, 1, "SIG-602", "impossible"),), old)))

    collector.post = post
    world.run(119)
    _, counts = chain_and_counts(made)
    assert altered == [0] and len(collector.held) == 2
    assert (counts.refused, counts.unsettled) == (0, 0)
    assert "refused" not in [event for event, _ in world.logged]


def test_a_receipt_of_the_epoch_that_was_left_opens_no_other(site):
    """The collector of a fork first wants the configurations, with its receipt of before; then it goes on."""
    made, world, collector = site
    collector.held.append(bytes(32))
    asked = []

    def configuration_first(header):
        if header.epoch == 0 or len(asked) > 2:
            return None
        asked.append(header.epoch)
        return Verdict(Answer.REFUSED, 0, "CFG-102", "unknown configuration")

    collector.verdicts = configuration_first
    world.run(239)
    chain, _ = chain_and_counts(made)
    assert (chain.link.epoch, collector.epoch, set(asked)) == (1, 1, {1})
    assert len(collector.held) == chain.link.seq >= 2


def test_a_collector_restored_from_before_the_fork_gets_the_epoch_from_its_beginning(site):
    made, world, collector = site
    collector.held.append(bytes(32))

    async def restore(world):
        await asyncio.sleep(190)
        collector.epoch, collector.held = 0, [bytes(32)]
        real = collector._take

        def take(frame):
            header = open_header(transport.unpack(frame).envelope, made.gateway.public)
            if header.epoch > collector.epoch and header.seq:
                return Verdict(Answer.GAP, 0, "SIG-602", "a gap")
            return real(frame)

        collector._take = take

    world.run(299, restore)
    chain, _ = chain_and_counts(made)
    assert chain.link.epoch == 1 == collector.epoch
    assert len(collector.held) == chain.link.seq >= 3


def test_a_collector_restored_from_before_a_refused_block_gets_that_again(site):
    made, world, collector = site
    real, refused = collector._take, []

    def take(frame):
        verdict = real(frame)
        header = open_header(transport.unpack(frame).envelope, made.gateway.public)
        if header.seq != 1 or verdict.answer != Answer.STORED:
            return verdict
        refused.append(header.seq)
        return Verdict(Answer.REFUSED, 2, "SIG-602", "impossible content")

    async def restore(world):
        await asyncio.sleep(190)
        collector.held.clear()

    collector._take = take
    world.run(299, restore)
    _, counts = chain_and_counts(made)
    assert refused == [1, 1] and len(collector.held) == 5
    assert (counts.refused, counts.unsettled) == (1, 0)


# ---- without an agent

KEY, GATEWAY = PrivateKey.generate(), bytes(range(16))
SENT = [Stored(0, 0, b"a"), Stored(0, 1, b"b")]


def answers(*kinds, receipt=None):
    return encode_answers(Answers(tuple([Verdict(kind, 1, "X", "why") for kind in kinds]), receipt))


def test_the_verdicts_must_be_as_many_as_the_blocks():
    with pytest.raises(UnreachableError, match="1 verdicts, expected 2"):
        understand(SENT, 200, answers(Answer.STORED), GATEWAY, KEY.public)


def test_a_captive_portal_is_called_one_and_shown_and_a_code_is_passed_on_where_it_is_known():
    with pytest.raises(StrangerError, match="<html>log in"):
        understand(SENT, 200, b"<html>log in here</html>", GATEWAY, KEY.public)
    for code, shown in (("ENR-401", "ENR-401"), ("XXX-999", "")):
        told = encode_answers(Answers(tuple([Verdict(Answer.REFUSED, 1, code, "revoked") for _ in SENT]), None))
        assert understand(SENT, 403, told, GATEWAY, KEY.public).code == shown


@pytest.mark.parametrize("status", [200, 403, 409])
def test_verdicts_come_with_every_status_that_carries_them(status):
    receipt = sign_receipt(Receipt(GATEWAY, 0, 1, bytes(32), 1, 5), KEY)
    reply = understand(SENT, status, answers(Answer.STORED, Answer.CONFLICT, receipt=receipt), GATEWAY, KEY.public)
    assert reply.receipt == Receipt(GATEWAY, 0, 1, bytes(32), 1, 5)
    assert (reply.objection, reply.refused) == ("why", ())


def test_nobody_there_is_looked_for_within_seconds_at_random_however_long_it_has_been():
    retry = Retry(Random(1))
    waits = [retry.unreachable() for _ in range(1000)]
    assert max(waits) <= LOOK_S and min(waits) < LOOK_S / 20
    # Linux asks at 0, 1 and 3 s and we give up at 5: after that no more than four seconds lie between two packets
    assert max(retry.unreachable(5.0) for _ in range(1000)) <= LOOK_S - 2


def test_who_asks_for_the_same_without_end_is_not_given_it_within_seconds_for_ever():
    retry = Retry(Random(0))
    assert max(retry.later() for _ in range(MOST_TURNS)) <= FIRST_S
    assert retry.later() is None
    retry.succeeded()
    assert max(retry.later() for _ in range(MOST_TURNS)) <= FIRST_S


def test_a_busy_collector_is_given_more_and_more_time_at_random():
    retry = Retry(Random(1))
    assert retry.busy() <= 2.0
    waits = [retry.busy() for _ in range(200)]
    assert max(waits) <= LONGEST_S and max(waits) > 50 and min(waits[10:]) < 10
    asked = [retry.busy(30.0) for _ in range(50)]
    assert min(asked) >= 30.0 and max(asked) - min(asked) > 30, "and not all of them after the same time"
