"""No driver of any profile writes, freezes, clears, switches or resets: it asks for reads, whatever it is told."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers import builtin
from drivers.driver import Driver
from protocols.errors import ProtocolError
from tests.read_only.drivers import DRIVERS, asked, sweep


def test_every_profile_has_a_driver_here() -> None:
    assert {name.split()[0] for name in DRIVERS} == set(builtin.builtin_ids())


@pytest.mark.parametrize("name", DRIVERS)
def test_no_driver_asks_for_anything_but_a_read(name: str) -> None:
    held = DRIVERS[name]
    sweep(held)
    for query in held.driver.queries():
        if query.request:
            assert next(held.driver.read(query.request)) == query.request, "what is yielded is what was planned"


def more_follows(request: bytes, data: bytes, number: int) -> bytes:
    """A DL/T 645 reply that says there is more (2007: B1 and B2; 1997: A1 and A2), from the meter that was asked."""
    body = request.lstrip(b"\xfe")
    new = body[8] >= 0x10
    width = 4 if new else 2
    tail = bytes([number + 0x33 & 0xFF]) if number and new else b""
    inner = body[10 : 10 + width] + data + tail
    frame = body[:8] + bytes([(body[8] & 0xF0 | (2 if number else 1)) | 0xA0, len(inner)]) + inner
    return frame + bytes([sum(frame) & 0xFF, 0x16])


replies = st.one_of(
    st.binary(max_size=40),
    st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=17),
    st.integers(0, 7),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(DRIVERS)), st.data())
def test_no_answer_makes_a_driver_ask_for_anything_but_a_read(name: str, data: st.DataObject) -> None:
    """Random bytes, the proofs of the profile, broken, and answers that go on and on."""
    held = DRIVERS[name]
    requests = [request for request in asked(held.driver) if request]
    if not requests:
        return
    request, drawn = data.draw(st.sampled_from(requests)), data.draw(replies)
    for reply in told(held.driver, request, drawn):
        try:
            follow = held.driver.follow_up(request, reply)
        except ProtocolError:
            continue
        if follow is not None:
            held.judge(follow)


def told(held: Driver, request: bytes, drawn: bytes | list[bytes] | int) -> Iterator[bytes]:
    """What a meter may have said so far, in growing order."""
    proofs = [bytes.fromhex(proof.response) for proof in held.profile.proof] if held.profile.protocol != "hj212" else []
    if isinstance(drawn, bytes):
        yield drawn
    elif isinstance(drawn, int):
        for response in proofs:
            yield response
            yield response[: len(response) - drawn]
            yield response + response
    elif held.profile.protocol.startswith("dlt645"):
        so_far = b""
        for number, data in enumerate(drawn):
            so_far += more_follows(request, data, number)
            yield so_far
