"""The ways in: batches, enrolments, configurations; caps, answers and statuses."""

import asyncio
import threading
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud import body, ways
from cloud.app import create_app
from cloud.collector import Collector
from cloud.problem import Problem
from cloud.store import Answered
from cloud.writer import MOST_WAITING, Writer
from protocols.errors import StoreError
from protocols.record import cbor, invite, siteconfig, transport
from protocols.record.answer import Answer, decode_answers, encode_batch
from protocols.record.cose import PrivateKey, PublicKey
from protocols.record.receipt import open_receipt

QUARTER = 900_000


def send(house: Any, *frames: bytes) -> Any:
    return house.client.post("/v1/blocks", content=encode_batch(frames))


def answers(response: Any) -> list[Answer]:
    return [verdict.answer for verdict in decode_answers(response.content).verdicts]


def test_a_batch_is_stored_and_receipted_and_held_the_second_time(house: Any, rig: Any, midnight: int) -> None:
    rig.enrol(house.store, house.key)
    frames = list(rig.history(midnight, midnight + 3 * QUARTER, QUARTER))
    first, second = send(house, *frames), send(house, *frames)
    assert (first.status_code, answers(first)) == (200, [Answer.STORED] * 3)
    assert (second.status_code, answers(second)) == (200, [Answer.HELD] * 3)
    receipt = open_receipt(decode_answers(first.content).receipt or b"", house.key.public)
    assert (receipt.gateway, receipt.next_seq, receipt.head) == (rig.id, 3, rig.previous)


def test_a_gap_is_409_and_says_what_is_wanted(house: Any, rig: Any, midnight: int) -> None:
    rig.enrol(house.store, house.key)
    frames = list(rig.history(midnight, midnight + 3 * QUARTER, QUARTER))
    response = send(house, frames[0], frames[2])
    verdicts = decode_answers(response.content).verdicts
    assert response.status_code == 409
    assert [verdict.answer for verdict in verdicts] == [Answer.STORED, Answer.GAP]
    assert verdicts[1].wanted == 1


def test_an_altered_and_a_forged_block_are_403_and_kept_as_evidence(
    house: Any, rig: Any, make_rig: Any, altered: Any, midnight: int
) -> None:
    rig.enrol(house.store, house.key)
    sealed = rig.block(midnight, midnight + QUARTER)
    forged = make_rig().block(midnight, midnight + QUARTER)
    assert send(house, altered(sealed)).status_code == 403
    assert send(house, transport.pack(forged)).status_code == 403
    assert send(house, transport.pack(sealed)).status_code == 200
    codes = {entry["code"] for entry in house.client.get("/v1/incidents").json()["data"]}
    assert codes == {"SIG-602", "ENR-401"}


def test_a_revoked_gateway_is_refused(house: Any, rig: Any, midnight: int) -> None:
    rig.enrol(house.store, house.key)
    house.store.revoke(rig.id, "stolen", midnight)
    response = send(house, *rig.history(midnight, midnight + QUARTER, QUARTER))
    assert (response.status_code, answers(response)) == (403, [Answer.REFUSED])


def test_enrolment_by_code_then_a_new_configuration(house: Any, rig: Any, midnight: int) -> None:
    code = invite.make(bytes(9), house.key.spki)
    house.store.create_invite(code, None, midnight + 1, midnight)
    request = cbor.encode({0: code.format(), 1: rig.enrolment, 2: rig.config, 3: rig.profiles})
    first, again = (house.client.post("/v1/enrolments", content=request) for _ in range(2))
    answer = cbor.decode(first.content)
    assert first.status_code == 201
    assert answer[1] == house.key.spki
    assert open_receipt(answer[2], PublicKey(answer[0], answer[1])).head == siteconfig.digest(rig.enrolment)
    assert cbor.decode(again.content)[2] == answer[2]
    source = siteconfig.open_site(rig.config, rig.technician.public)
    second = siteconfig.SiteConfig(2, siteconfig.digest(rig.config), source.site, source.profiles, midnight)
    change = cbor.encode({0: siteconfig.sign_site(second, rig.technician), 1: rig.profiles})
    assert [house.client.post("/v1/configs", content=change).status_code for _ in range(2)] == [201, 200]
    stranger = cbor.encode({0: siteconfig.sign_site(second, PrivateKey.generate()), 1: rig.profiles})
    refused = house.client.post("/v1/configs", content=stranger)
    assert (refused.status_code, refused.json()["code"]) == (403, "ENR-401")


def test_a_wrong_code_is_403_with_the_next_action(house: Any, rig: Any) -> None:
    code = invite.make(bytes(9), house.key.spki).format()
    request = cbor.encode({0: code, 1: rig.enrolment, 2: rig.config, 3: rig.profiles})
    response = house.client.post("/v1/enrolments", content=request, headers={"accept-language": "en"})
    assert response.status_code == 403
    assert response.json()["code"] == "ENR-401"
    assert "one-time code" in response.json()["fix"]


def test_a_full_disk_is_507_and_an_overloaded_writer_503(house: Any) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def full(batches: Any) -> Any:
        entered.set()
        let_go.wait(10)
        raise StoreError("no space left on device")

    writer = Writer(full)
    client = type(house.client)(create_app(Collector(house.store, house.key, writer)))
    data = encode_batch([b"x"])

    async def crowd() -> list[Any]:
        first = asyncio.create_task(writer.append([b"x"]))
        await asyncio.to_thread(entered.wait, 10)
        rest = [asyncio.create_task(writer.append([b"x"])) for _ in range(MOST_WAITING + 1)]
        await asyncio.sleep(0)
        let_go.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    outcomes = asyncio.run(crowd())
    response = client.post("/v1/blocks", content=data)
    writer.close()
    told = [outcome.status for outcome in outcomes if isinstance(outcome, Problem)]
    assert told == [503]
    assert sum(isinstance(outcome, StoreError) for outcome in outcomes) == MOST_WAITING + 1
    assert (response.status_code, response.json()["code"]) == (507, "STO-101")
    assert response.headers["retry-after"]


def test_the_more_waits_the_longer_a_back_fill_is_asked_to_wait() -> None:
    answered = Answered((), None, None)
    pauses = [decode_answers(ways._answers(answered, waiting)).pause_ms for waiting in (0, 16, 17, 36, 256, 10_000)]
    assert pauses == [0, 0, 50, 1000, 10_000, 10_000]


def test_requests_that_wait_together_are_committed_together() -> None:
    calls: list[int] = []
    entered, let_go = threading.Event(), threading.Event()

    def append(batches: Any) -> list[Any]:
        calls.append(len(batches))
        entered.set()
        let_go.wait(10)
        return [tuple(frames) for frames in batches]

    writer = Writer(append)

    async def crowd() -> list[Any]:
        first = asyncio.create_task(writer.append([b"0"]))
        await asyncio.to_thread(entered.wait, 10)
        rest = [asyncio.create_task(writer.append([b"%d" % number])) for number in range(1, 9)]
        await asyncio.sleep(0)
        let_go.set()
        return await asyncio.gather(first, *rest)

    assert asyncio.run(crowd()) == [(b"%d" % number,) for number in range(9)]
    writer.close()
    assert calls == [1, 8]


def asgi(scope_headers: list[tuple[bytes, bytes]], messages: list[dict[str, Any]], **more: Any) -> tuple[Any, int]:
    """What reading a body gives, and how many messages were taken for it."""
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(messages):
            await asyncio.Event().wait()
        taken += 1
        return messages[taken - 1]

    try:
        return asyncio.run(body.read({"type": "http", "headers": scope_headers}, receive, **more)), taken  # type: ignore[arg-type]
    except Problem as problem:
        return problem, taken


def test_a_body_above_the_cap_is_refused_before_more_is_read() -> None:
    piece = {"type": "http.request", "body": bytes(1 << 19), "more_body": True}
    stated, taken_stated = asgi([(b"content-length", b"1048577")], [piece])
    chunked, taken_chunked = asgi([], [piece] * 100)
    lying, taken_lying = asgi([(b"content-length", b"10")], [piece] * 100)
    assert [stated.status, chunked.status, lying.status] == [413, 413, 413]
    assert [taken_stated, taken_chunked, taken_lying] == [0, 3, 3]
    whole, _ = asgi([], [piece, {**piece, "more_body": False}])
    assert len(whole) == 1 << 20


def test_a_body_that_dribbles_or_breaks_off_is_given_up() -> None:
    slow, _ = asgi([], [{"type": "http.request", "body": b"a", "more_body": True}], seconds=0.01)
    gone, _ = asgi([], [{"type": "http.disconnect"}])
    assert (slow.status, gone.status) == (408, 400)


def test_a_large_post_is_413_over_http(house: Any) -> None:
    response = house.client.post("/v1/blocks", content=bytes(1 << 21))
    assert (response.status_code, response.json()["code"]) == (413, "API-413")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["/v1/blocks", "/v1/enrolments", "/v1/configs"]))
def test_no_bytes_make_it_fail(house: Any, data: bytes, path: str) -> None:
    response = house.client.post(path, content=data)
    assert 400 <= response.status_code < 500
    assert response.headers["x-request-id"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_cbor_and_no_altered_frame_makes_it_fail(house: Any, rig: Any, midnight: int, data: st.DataObject) -> None:
    scalars = st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=10) | st.none()
    values = st.lists(scalars | st.lists(scalars, max_size=3), max_size=5)
    request = cbor.encode(dict(enumerate(data.draw(values))))
    for path in ("/v1/enrolments", "/v1/configs", "/v1/blocks"):
        assert 400 <= house.client.post(path, content=request).status_code < 500
    if house.store.gateway(rig.id) is None:
        rig.enrol(house.store, house.key)
        house.frame = transport.pack(rig.block(midnight, midnight + QUARTER))
    frame = bytearray(house.frame)
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    assert send(house, bytes(frame)).status_code in (200, 403)


def test_a_batch_that_cannot_be_worked_on_takes_no_other_down() -> None:
    entered, let_go = threading.Event(), threading.Event()

    def append(batches: Any) -> list[Any]:
        entered.set()
        let_go.wait(10)
        if [b"poison"] in batches:
            raise OverflowError("too large")
        return [tuple(frames) for frames in batches]

    writer = Writer(append)

    async def crowd() -> list[Any]:
        first = asyncio.create_task(writer.append([b"0"]))
        await asyncio.to_thread(entered.wait, 10)
        rest = [asyncio.create_task(writer.append([frame])) for frame in (b"1", b"poison", b"2")]
        await asyncio.sleep(0)
        let_go.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    zero, one, poison, two = asyncio.run(crowd())
    writer.close()
    assert (zero, one, two) == ((b"0",), (b"1",), (b"2",))
    assert isinstance(poison, OverflowError)


def test_a_body_of_a_million_small_items_is_refused_unread(house: Any) -> None:
    room = 1_000_000
    bomb = b"\xa4\x00\x60\x01\x40\x02\x40\x03\x9a" + room.to_bytes(4) + b"\x80" * room
    for path in ("/v1/enrolments", "/v1/configs"):
        began = time.process_time()
        response = house.client.post(path, content=bomb)
        assert time.process_time() - began < 0.5
        assert (response.status_code, response.json()["code"]) == (400, "REC-601")
        assert "at most 128" in response.json()["detail"]
        assert house.client.post(path, content=b"\x9f\xff").json()["code"] == "REC-601"
