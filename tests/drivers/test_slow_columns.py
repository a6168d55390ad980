"""What is read piece by piece against replay: the same values and refusals, whatever the pieces hold."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import builtin, columns, profile_file, replay
from drivers.columns import Layouts, replay_track
from drivers.driver import Driver, driver
from drivers.profile import Profile, Proof, octets
from drivers.proof import asker
from drivers.query import Values
from drivers.site import Device
from protocols import hj212, mbus, modbus
from protocols.cjt188_units import UNITS
from protocols.errors import Impossible, ProtocolError
from protocols.record.block import Track

EXAMPLES = settings.default.max_examples
PROOFS = [
    (model, proof)
    for name in builtin.builtin_ids()
    for model in [profile_file.load(builtin.builtin(name), name)]
    for proof in model.proof
]


def told(held: Driver, track: Track) -> object:
    """What replay says reply by reply: the values with all their digits, or the error. Replies are of their own time
    where all of the track are.
    """
    found, dated = [], True
    try:
        for at, reply in zip(track.times, track.replies(), strict=True):
            readings = replay.replay(held, track.request, reply, at, 0)
            dated = dated and held.stamp(track.request, reply) is not None
            found.append([(reading.point, str(reading.value), reading.quality, reading.at) for reading in readings])
    except ProtocolError as error:
        return type(error), str(error)
    if not dated:
        found = [[(*said[:3], at) for said in one] for at, one in zip(track.times, found, strict=True)]
    return found


def told_by_column(held: Driver, track: Track, layouts: Layouts) -> object:
    """The same of the columns; a point that a reply does not hold is absent there."""
    try:
        table = replay_track(held, track, layouts)
    except ProtocolError as error:
        return type(error), str(error)
    times = table.times if table.stamps is None else table.stamps
    return [
        [(column.point.id, str(column.decimal(at)), column.quality(at), times[at]) for column in table]
        for at in range(len(times))
    ]


def mended(protocol: str, reply: bytearray) -> bytes:
    """The reply with its checksum made right."""
    if protocol == "modbus":
        reply[-2:] = modbus.crc(bytes(reply[:-2])).to_bytes(2, "little")
    elif protocol == "hj212":
        reply[-4:] = hj212.checksum(bytes(reply[6:-4]))
    elif protocol == "mbus":
        at = 1 if reply[0] == 0xE5 else 0
        while at < len(reply):
            end = min(at + 6 + reply[at + 1] if at + 1 < len(reply) else len(reply), len(reply))
            reply[end - 2] = sum(reply[at + 4 : end - 2]) & 0xFF
            at = end
    else:
        start = max(reply.find(0x68), 0)
        reply[-2] = sum(reply[start:-2]) & 0xFF
    return bytes(reply)


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.sampled_from(PROOFS), st.integers(1, 3), st.booleans(), st.data())
def test_tampered_replies_are_the_same_both_ways(
    of: tuple[Profile, Proof], some: int, mend: bool, data: st.DataObject
) -> None:
    """Any bytes set to anything, with the checksum made right again or not, in pieces of any size."""
    model, proof = of
    request, reply = octets(proof.request), octets(proof.response)
    held, layouts, replies = asker(model, proof), Layouts(), []
    for _ in range(4):
        broken = bytearray(reply)
        for place in data.draw(st.lists(st.integers(0, len(reply) - 1), max_size=3)):
            near = st.sampled_from([reply[place] ^ 1, reply[place] ^ 0x80, 0xFF, 0x99])
            broken[place] = data.draw(near | st.integers(0, 255))
        replies.append(mended(model.protocol, broken) if mend else bytes(broken))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "SOME", some)
        for many in (replies, [replies[0]] * 2):
            track = Track.of(request, range(len(many)), many)
            expected = told(held, track)
            found = told_by_column(held, track, layouts)
            if isinstance(expected, list) and isinstance(found, list):
                for one, other in zip(found, expected, strict=True):
                    assert [said for said in one if said in other or said[1] != "None"] == other
            else:
                assert found == expected


HEADER = bytes.fromhex("78563412 2423 28 04 2A 00 0000")
STEP = 8
"""Telegrams as long as there are that may be read without a pause: each takes up to two milliseconds."""
CO2 = next(model for model, _ in PROOFS if model.id == "hj212-co2")


def telegram(record: str) -> tuple[Driver, bytes, bytes]:
    """A heat meter of M-Bus that answers with one record."""
    model = next(held for held, _ in PROOFS if held.id == "mbus-heat")
    held = driver(Device(id="M", profile=model.id, port="p", address="1"), model)
    return held, held.queries()[0].request, mbus.Frame(8, 1, 0x72, HEADER + bytes.fromhex(record)).to_bytes()


def packet(number: bytes) -> tuple[Driver, bytes, bytes]:
    """A packet of a flue-gas monitor in which every value is this number."""
    proof = CO2.proof[0]
    said = re.sub(rb"-Rtd=[0-9.]+", b"-Rtd=" + number, octets(proof.response))
    return asker(CO2, proof), octets(proof.request), hj212.frame(said[6:-4].decode()).rstrip()


def test_telegrams_are_read_some_milliseconds_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    held, request, reply = telegram("0406 01000000" + "2F" * (252 - 12 - 6))
    read, values = list[bytes](), replay.values

    def counted(driver: Driver, request: bytes, reply: bytes) -> Values:
        read.append(reply)
        return values(driver, request, reply)

    monkeypatch.setattr(replay, "values", counted)
    work, before = columns.steps([(held, Track.of(request, [0] * 60, [reply] * 60))], Layouts()), 0
    for _ in work:
        assert len(read) - before <= STEP
        before = len(read)
    assert len(read) == 60


@pytest.mark.parametrize(
    "answer",
    [
        telegram("0707 FFFFFFFFFFFFFF7F"),
        telegram("0707 01000000000000A0"),
        telegram("0507 FFFF7F7F"),
        packet(b"9" * 15),
    ],
    ids=["whole", "negative", "real", "text"],
)
def test_a_number_that_no_column_holds_is_impossible_both_ways(answer: tuple[Driver, bytes, bytes]) -> None:
    """At the collector it would be no refused reply but an overflow: the block could never be taken."""
    held, request, reply = answer
    track = Track.of(request, [0], [reply])
    kind, said = told(held, track)  # type: ignore[misc]
    assert kind is Impossible and said.endswith("expected less than 2^63")
    assert told_by_column(held, track, Layouts()) == (kind, said)


def test_the_greatest_numbers_that_a_column_holds_are_read_both_ways() -> None:
    for held, request, reply in (telegram("0703 FFFFFFFFFFFFFF7F"), packet(b"9" * 9)):
        track = Track.of(request, [0], [reply])
        expected = told(held, track)
        assert isinstance(expected, list)
        found = told_by_column(held, track, Layouts())
        assert isinstance(found, list) and [said for said in found[0] if said in expected[0]] == expected[0]


CJT188 = [(model, proof) for model, proof in PROOFS if model.protocol == "cjt188"]
codes = st.sampled_from(sorted(UNITS)) | st.integers(0, 255)
pairs = st.integers(0, 99).map(lambda number: int(f"{number:02d}", 16))
fields = st.lists(pairs, min_size=4, max_size=4) | st.sampled_from([[0xFF] * 4, [0x99] * 4, [0, 0, 0, 0x85]])
settings_of = {
    "units": st.sampled_from(["after", "before"]),
    "status": st.sampled_from(["standard", "mirrored"]),
    "energy_decimals": st.integers(0, 8),
    "flow_decimals": st.integers(0, 4),
    "volume_decimals": st.integers(0, 4),
    "volume_unit": st.sampled_from(["29", "2C", "2E"]),
    "energy_unit": st.sampled_from(["05", "08", "11"]),
}


@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(st.sampled_from(CJT188), st.fixed_dictionaries({}, optional=settings_of), st.integers(1, 4), st.data())
def test_answers_of_cjt188_are_the_same_both_ways(
    of: tuple[Profile, Proof], options: dict[str, object], count: int, data: st.DataObject
) -> None:
    """Whatever number and unit stands in each field, under the options of any maker."""
    model, proof = of
    reply = octets(proof.response).lstrip(b"\xfe")
    device = Device(id="M", profile=model.id, port="p", address=reply[8:1:-1].hex().upper(), options=options)
    held = driver(device, model)
    replies, kept = [], data.draw(st.none() | st.lists(codes, min_size=8, max_size=8))
    for _ in range(count):
        one, before = bytearray(reply), options.get("units", model.options.get("units")) == "before"
        for index, at in enumerate(range(14, len(one) - 11, 5)):
            field, code = data.draw(fields), kept[index] if kept is not None else data.draw(codes)
            one[at : at + 5] = bytes([code, *field] if before else [*field, code])[: len(one) - 11 - at]
        one[-4:-2] = data.draw(st.binary(min_size=2, max_size=2))
        one[13] = data.draw(st.integers(0, 255))
        replies.append(mended("cjt188", one))
    track = Track.of(held.queries()[0].request, range(count), replies)
    assert told_by_column(held, track, Layouts()) == told(held, track)


@pytest.mark.parametrize(("model", "proof"), CJT188, ids=lambda one: getattr(one, "id", ""))
def test_answers_of_cjt188_are_read_at_once(model: Profile, proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those of another type than was asked (25 or 27 for 20), and with the identifier the other way round."""
    request, reply = octets(proof.request).lstrip(b"\xfe"), octets(proof.response).lstrip(b"\xfe")
    held, read = asker(model, proof), list[bytes]()
    track = Track.of(request, [0], [reply])
    expected, values = told(held, track), replay.values

    def counted(driver: Driver, request: bytes, reply: bytes) -> Values:
        read.append(reply)
        return values(driver, request, reply)

    monkeypatch.setattr(replay, "values", counted)
    assert told_by_column(held, track, Layouts()) == expected
    assert (read == []) == (reply[1] == request[1] and reply[11:13] == request[11:13])


def test_meters_with_other_options_are_not_read_as_one() -> None:
    """One model, two devices: what a digit is worth is set for each."""
    model, proof = next((model, proof) for model, proof in CJT188 if model.id == "cjt188-water")
    request, reply = octets(proof.request), octets(proof.response)
    address = reply[8:1:-1].hex().upper()
    layouts = [
        Layouts().of(
            driver(Device(id="M", profile=model.id, port="p", address=address, options=own), model), request, 35
        )
        for own in ({}, {"volume_decimals": 3}, {})
    ]
    laid = np.frombuffer(reply * 2, np.uint8).reshape(2, 35, 1)
    plain, thousandths, same = layouts
    assert plain.is_like(same) and not plain.is_like(thousandths)
    stretches = columns.read_stacked([(plain, 1), (thousandths, 1)], laid)
    tenfold = [stretch.whole[0][0][stretch.first, 0] for stretch in stretches if stretch is not None]
    assert tenfold[0] == 10 * tenfold[1] > 0
