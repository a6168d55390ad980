"""The block: sealed and opened, and a refusal for every rule of RECORD.md."""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from protocols.errors import ChainError, EncodingError, RecordError, SignatureError
from protocols.record import cbor, cose, merkle
from protocols.record.block import (
    BLOCK_AAD,
    BLOCK_TYPE,
    Chunk,
    ClockState,
    Counters,
    Event,
    EventKind,
    Fault,
    Header,
    Sealed,
    Track,
    open_block,
    open_header,
    seal,
)

KEYS = {algorithm: cose.PrivateKey.generate(algorithm) for algorithm in (cose.EDDSA, cose.ES256)}
KEY = KEYS[cose.EDDSA]
BOTH = pytest.mark.parametrize("key", KEYS.values(), ids=["Ed25519", "ES256"])

HEADER = Header(
    gateway=KEY.public.id,
    epoch=0,
    seq=7,
    previous=bytes(range(32)),
    boot=3,
    mono=(120_000, 180_000),
    utc=(1_790_000_000_000, 1_790_000_060_003),
    clock=ClockState(2, 2, 5, 1_789_999_990),
    configuration=(1, b"c" * 32),
    software=("0.1.0", b"s" * 32),
    events=(Event(EventKind.CONFIGURATION, 1_790_000_000_000, 1_790_000_000_001, "site.toml changed"),),
)
TRACKS = (
    Track.of(b"ask", (-20, 10_000, 20_000), (b"one", b"two", b"six")),
    Track.of(b"ask", (30_000,), (b"four",)),
    Track.of(b"", (60_000,), (b"heard",)),
)
FAULTS = (
    Fault(1, 0, 1),
    Fault(2, 0, 2),
    Fault(3, 1, 3),
    Fault(4, 1, 4),
    Fault(5, 1, 5),
    Fault(6, 1, 6),
    Fault(60_000, 1, 7),
)
CHUNK = Chunk(2, b"d" * 16, TRACKS, FAULTS, Counters.of(TRACKS, FAULTS), (1_790_000_000_500, -497), b"s" * 16)
OTHER = Chunk(5, b"e" * 16, TRACKS[:1], (), Counters.of(TRACKS[:1], ()), None, b"t" * 16)


@BOTH
def test_what_is_sealed_opens(key: cose.PrivateKey) -> None:
    sealed = seal(HEADER, (CHUNK, OTHER), key)
    header, chunks = open_block(sealed, key.public)
    assert chunks == (CHUNK, OTHER)
    assert header == structs.replace(HEADER, chunks=(2, merkle.root(sealed.chunks)))
    assert open_header(sealed.envelope, key.public) == header
    assert sealed.hash == hashlib.sha256(sealed.envelope).digest()


def test_chunks_are_laid_in_the_order_of_their_devices() -> None:
    assert seal(HEADER, (OTHER, CHUNK), KEY) == seal(HEADER, (CHUNK, OTHER), KEY)


def test_a_block_without_a_device_is_a_block() -> None:
    header, chunks = open_block(seal(HEADER, (), KEY), KEY.public)
    assert chunks == () and header.chunks == (0, hashlib.sha256().digest())


def test_replies_are_laid_in_columns() -> None:
    assert TRACKS[0].columns == b"otsnwieox"
    assert TRACKS[0].replies() == [b"one", b"two", b"six"]
    written = cbor.decode(CHUNK.to_bytes())
    assert written[2][0] == {0: b"ask", 1: 3, 2: [-20, 10_020, 10_000], 3: b"otsnwieox"}
    assert written[4] == [12, 9, 5, 1, 2, 1]


@pytest.mark.parametrize(
    ("times", "replies"),
    [((), ()), ((1,), (b"a", b"b")), ((1, 2), (b"a", b"bb")), ((1,), ())],
    ids=["no exchange", "a time missing", "two lengths", "a reply missing"],
)
def test_not_a_track(times: tuple[int, ...], replies: tuple[bytes, ...]) -> None:
    with pytest.raises(EncodingError):
        Track.of(b"ask", times, replies)


@BOTH
def test_every_flipped_bit_is_refused(key: cose.PrivateKey) -> None:
    sealed = seal(HEADER, (OTHER, replace(OTHER, device=6)), key)
    for part, data in enumerate((sealed.envelope, *sealed.chunks)):
        for bit in range(len(data) * 8):
            wrong = bytearray(data)
            wrong[bit // 8] ^= 1 << bit % 8
            parts = [sealed.envelope, *sealed.chunks]
            parts[part] = bytes(wrong)
            with pytest.raises(RecordError):
                open_block(Sealed(parts[0], tuple(parts[1:])), key.public)


@pytest.mark.parametrize(
    "chunks",
    [lambda a, b: (a,), lambda a, b: (b, a), lambda a, b: (a, b, b), lambda a, b: (a, a), lambda a, b: ()],
    ids=["one missing", "exchanged", "one added", "one replaced", "none"],
)
def test_other_chunks_are_refused(chunks: Callable[[bytes, bytes], tuple[bytes, ...]]) -> None:
    sealed = seal(HEADER, (CHUNK, OTHER), KEY)
    with pytest.raises(ChainError):
        open_block(Sealed(sealed.envelope, chunks(*sealed.chunks)), KEY.public)


def test_a_block_of_another_key_is_refused() -> None:
    sealed = seal(HEADER, (CHUNK,), KEY)
    with pytest.raises(SignatureError):
        open_block(sealed, cose.PrivateKey.generate().public)


def written_header() -> dict[int, Any]:
    """The header map of a right block with the two chunks."""
    return cbor.decode(cose.unverified(seal(HEADER, (CHUNK, OTHER), KEY).envelope))


def opened(header: dict[int, Any] | bytes, leaves: tuple[bytes, ...]) -> None:
    payload = header if isinstance(header, bytes) else cbor.encode(header)
    open_block(Sealed(cose.sign1(payload, KEY, BLOCK_TYPE, BLOCK_AAD), leaves), KEY.public)


def test_the_handmade_block_is_otherwise_right() -> None:
    opened(written_header(), seal(HEADER, (CHUNK, OTHER), KEY).chunks)


GAP = [5, 0, 0, ""]
WRONG_HEADERS: dict[str, tuple[int, Any]] = {
    "version 2": (0, 2),
    "version null": (0, None),
    "gateway of 15 bytes": (1, bytes(15)),
    "gateway a text": (1, "gateway"),
    "epoch negative": (2, -1),
    "seq negative": (3, -1),
    "seq null": (3, None),
    "previous of 31 bytes": (4, bytes(31)),
    "previous null": (4, None),
    "boot negative": (5, -1),
    "monotonic of one": (6, [0]),
    "monotonic negative": (6, [-1, 60_000]),
    "monotonic backwards": (6, [60_000, 59_999]),
    "utc of three": (7, [0, 0, 0]),
    "utc a text": (7, ["now", 0]),
    "clock of three": (8, [0, 0, 0]),
    "clock source 6": (8, [6, 0, 0, 0]),
    "clock state 3": (8, [0, 3, 0, 0]),
    "clock error negative": (8, [0, 0, -1, 0]),
    "last sync negative": (8, [0, 0, 0, -1]),
    "configuration without digest": (9, [1]),
    "configuration digest of 20 bytes": (9, [1, bytes(20)]),
    "configuration number negative": (9, [-1, bytes(32)]),
    "software without digest": (10, ["0.1.0"]),
    "software name bytes": (10, [b"0.1.0", bytes(32)]),
    "chunks without root": (11, [2]),
    "chunks one too many": (11, [3, None]),
    "chunks root wrong": (11, [2, bytes(32)]),
    "events null": (12, None),
    "event kind 0": (12, [[0, 0, 0, ""]]),
    "event kind 12": (12, [[12, 0, 0, ""]]),
    "event of three": (12, [[1, 0, 0]]),
    "event detail bytes": (12, [[1, 0, 0, b""]]),
    "custody 4": (13, 4),
    "custody null": (13, None),
    "counter a number": (14, 7),
    "counter of one": (14, [7]),
    "counter negative": (14, [1, -1]),
    "checkpoint of two": (15, [bytes(8), 1]),
    "checkpoint origin of 7 bytes": (15, [bytes(7), 1, bytes(32)]),
    "checkpoint size negative": (15, [bytes(8), -1, bytes(32)]),
    "checkpoint root of 31 bytes": (15, [bytes(8), 1, bytes(31)]),
}


@pytest.mark.parametrize(("field", "value"), WRONG_HEADERS.values(), ids=WRONG_HEADERS.keys())
def test_a_wrong_header_is_refused(field: int, value: Any) -> None:
    header = written_header()
    if field == 11 and len(value) == 2 and value[1] is None:
        value = [value[0], header[11][1]]
    with pytest.raises(RecordError):
        opened(header | {field: value}, seal(HEADER, (CHUNK, OTHER), KEY).chunks)


def test_a_header_with_other_keys_is_refused() -> None:
    leaves = seal(HEADER, (CHUNK, OTHER), KEY).chunks
    header = written_header()
    for missing in range(16):
        with pytest.raises(EncodingError):
            opened({key: value for key, value in header.items() if key != missing}, leaves)
    for other in (header | {16: None}, {key + 1: value for key, value in header.items()}):
        with pytest.raises(EncodingError):
            opened(other, leaves)
    with pytest.raises(EncodingError):
        opened(cbor.encode(list(header.values())), leaves)


def test_a_signed_header_in_another_encoding_is_refused() -> None:
    leaves = seal(HEADER, (CHUNK, OTHER), KEY).chunks
    right = cbor.encode(written_header())
    assert right[:3] == b"\xb0\x00\x01"
    longer, trailing = b"\xb0\x00\x18\x01" + right[3:], right + b"\x00"
    exchanged = b"\xb0\x01" + right[4:21] + b"\x00\x01" + right[21:]
    for payload in (longer, trailing, exchanged, b"\xbf" + right[1:] + b"\xff"):
        with pytest.raises(EncodingError):
            opened(payload, leaves)


def test_a_hardware_counter_and_a_checkpoint_are_kept() -> None:
    header = structs.replace(
        HEADER, counter=(1, 42), checkpoint=(b"o" * 8, 9, b"r" * 32), custody=2, epoch=1, events=()
    )
    assert open_block(seal(header, (), KEY), KEY.public)[0] == structs.replace(header, chunks=(0, merkle.root(())))


WRONG_CHUNKS: dict[str, dict[int, Any]] = {
    "device negative": {0: -1},
    "device digest of 32 bytes": {1: bytes(32)},
    "tracks null": {2: None},
    "one request and length in two tracks": {2: [{0: b"", 1: 1, 2: [0], 3: b"x"}] * 2, 3: [], 4: [2, 2, 2, 0, 0, 0]},
    "fault of two": {3: [[0, 0]]},
    "fault code 0": {3: [[0, 0, 0]]},
    "fault code 8": {3: [[0, 0, 8]]},
    "fault time negative": {3: [[-1, 0, 1]]},
    "fault query negative": {3: [[0, -1, 1]]},
    "counters of five": {4: [12, 9, 5, 1, 2]},
    "counters negative": {4: [12, 9, 5, 1, 4, -1]},
    "asked is not the sum of its outcomes": {4: [12, 10, 5, 1, 2, 1]},
    "answered more than the replies": {4: [13, 10, 6, 1, 2, 1]},
    "answered fewer than the replies": {4: [11, 8, 4, 1, 2, 1]},
    "silent but no fault says so": {4: [13, 10, 5, 2, 2, 1]},
    "damaged but no fault says so": {4: [13, 10, 5, 1, 3, 1]},
    "refused but no fault says so": {4: [13, 10, 5, 1, 2, 2]},
    "due fewer than asked and not asked": {4: [11, 9, 5, 1, 2, 1]},
    "meter clock of one": {5: [1]},
    "meter clock a number": {5: 1},
    "salt of 8 bytes": {6: bytes(8)},
    "salt null": {6: None},
}


WRONG_TRACKS: dict[str, Any] = {
    "of three fields": {0: b"", 1: 1, 2: [0]},
    "an array": [b"", 1, [0], b"x"],
    "request a text": {0: "ask", 1: 1, 2: [0], 3: b"x"},
    "length negative": {0: b"", 1: -1, 2: [0], 3: b"x"},
    "of empty replies": {0: b"", 1: 0, 2: [0], 3: b""},
    "without an exchange": {0: b"", 1: 1, 2: [], 3: b""},
    "time null": {0: b"", 1: 1, 2: [None], 3: b"x"},
    "columns one short": {0: b"", 1: 2, 2: [0, 1], 3: b"abc"},
    "columns one long": {0: b"", 1: 2, 2: [0, 1], 3: b"abcde"},
    "columns a text": {0: b"", 1: 1, 2: [0], 3: "x"},
}
DO_NOT_FIT: dict[str, dict[int, Any]] = {
    "due more, and no event declares a gap": {4: [13, 9, 5, 1, 2, 1]},
    "reply after the block": {2: [{0: b"", 1: 1, 2: [60_001], 3: b"x"}], 3: [], 4: [1, 1, 1, 0, 0, 0]},
    "reply long before the block": {2: [{0: b"", 1: 1, 2: [-60_001], 3: b"x"}], 3: [], 4: [1, 1, 1, 0, 0, 0]},
    "second reply after the block": {2: [{0: b"", 1: 1, 2: [0, 60_001], 3: b"xy"}], 3: [], 4: [2, 2, 2, 0, 0, 0]},
    "fault after the block": {2: [], 3: [[60_001, 0, 1]], 4: [1, 1, 0, 1, 0, 0]},
}


@pytest.mark.parametrize("changes", WRONG_CHUNKS.values(), ids=WRONG_CHUNKS.keys())
def test_a_wrong_chunk_is_refused(changes: dict[int, Any]) -> None:
    leaf = cbor.encode(cbor.decode(CHUNK.to_bytes()) | changes)
    with pytest.raises(RecordError):
        Chunk.from_bytes(leaf)
    with pytest.raises(RecordError):
        opened(written_header() | {11: [1, merkle.root([leaf])]}, (leaf,))


@pytest.mark.parametrize("track", WRONG_TRACKS.values(), ids=WRONG_TRACKS.keys())
def test_a_wrong_track_is_refused(track: Any) -> None:
    """The counters fit in number, so that nothing but the track is wrong."""
    count = len(track[2]) if type(track) is dict and 2 in track else 1
    counters = [count, count, count, 0, 0, 0]
    with pytest.raises(EncodingError, match="track"):
        Chunk.from_bytes(cbor.encode(cbor.decode(CHUNK.to_bytes()) | {2: [track], 3: [], 4: counters}))


@pytest.mark.parametrize("changes", DO_NOT_FIT.values(), ids=DO_NOT_FIT.keys())
def test_a_chunk_that_does_not_fit_its_block_is_refused(changes: dict[int, Any]) -> None:
    leaf = cbor.encode(cbor.decode(CHUNK.to_bytes()) | changes)
    Chunk.from_bytes(leaf)
    with pytest.raises(ChainError):
        opened(written_header() | {11: [1, merkle.root([leaf])]}, (leaf,))


def test_the_last_instant_of_a_block_belongs_to_it() -> None:
    for time in (-60_000, 60_000):
        leaf = cbor.encode(
            cbor.decode(CHUNK.to_bytes()) | {2: [{0: b"", 1: 1, 2: [time], 3: b"x"}], 3: [], 4: [1, 1, 1, 0, 0, 0]}
        )
        opened(written_header() | {11: [1, merkle.root([leaf])]}, (leaf,))


def test_a_chunk_in_another_encoding_is_refused() -> None:
    right = OTHER.to_bytes()
    assert right[:3] == b"\xa7\x00\x05"
    for leaf in (b"\xa7\x00\x18\x05" + right[3:], right + b"\x00", right[:-1], b"\xbf" + right[1:] + b"\xff"):
        with pytest.raises(EncodingError):
            opened(written_header() | {11: [1, merkle.root([leaf])]}, (leaf,))


def test_devices_out_of_order_or_twice_are_refused() -> None:
    for leaves in ((OTHER.to_bytes(), CHUNK.to_bytes()), (CHUNK.to_bytes(), replace(OTHER, device=2).to_bytes())):
        with pytest.raises(ChainError, match="rising order"):
            opened(written_header() | {11: [2, merkle.root(leaves)]}, leaves)
    with pytest.raises(ChainError):
        seal(HEADER, (CHUNK, replace(OTHER, device=2)), KEY)


@pytest.mark.parametrize("kind", [EventKind.GAP, EventKind.DISK, EventKind.POWER_LOSS, EventKind.SHUTDOWN])
def test_a_declared_gap_explains_what_was_due(kind: EventKind) -> None:
    chunk = replace(CHUNK, counters=Counters.of(TRACKS, FAULTS, undeclared=3))
    assert chunk.counters.due == 15
    header = structs.replace(HEADER, events=(Event(kind, HEADER.utc[0] + 5, HEADER.utc[1] + 9, "disk full"),))
    assert open_block(seal(header, (chunk,), KEY), KEY.public)[1] == (chunk,)
    with pytest.raises(ChainError, match="unaccounted for"):
        seal(HEADER, (chunk,), KEY)
    for start, end in ((0, 1), (0, HEADER.utc[0] - 1), (HEADER.utc[1] + 1, HEADER.utc[1] + 2)):
        with pytest.raises(ChainError, match="unaccounted for"):
            seal(structs.replace(HEADER, events=(Event(kind, start, end, "of another block"),)), (chunk,), KEY)


@pytest.mark.parametrize(
    "header",
    [
        structs.replace(HEADER, seq=-1),
        structs.replace(HEADER, previous=b""),
        structs.replace(HEADER, custody=9),
        structs.replace(HEADER, mono=(5, 4)),
    ],
    ids=["seq negative", "no previous", "custody 9", "time backwards"],
)
def test_nothing_is_signed_that_would_not_open(header: Header) -> None:
    for chunks in ((CHUNK,), ()):
        with pytest.raises(RecordError):
            seal(header, chunks, KEY)


@pytest.mark.parametrize(
    "chunk",
    [
        replace(CHUNK, salt=b""),
        replace(CHUNK, counters=replace(CHUNK.counters, silent=2)),
        replace(CHUNK, tracks=(replace(TRACKS[0], columns=b"short"),)),
        replace(CHUNK, faults=(*FAULTS, Fault(0, 0, 0))),
    ],
    ids=["no salt", "a silence too many", "a column short", "fault code 0"],
)
def test_no_chunk_is_signed_that_would_not_open(chunk: Chunk) -> None:
    with pytest.raises(RecordError):
        seal(HEADER, (chunk,), KEY)


octets16, octets32 = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
unsigned, signed = st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1)
instants = st.integers(0, 253_402_300_799_999)
spans = st.integers(0, 2**40)


@st.composite
def tracks(draw: st.DrawFn) -> list[Track]:
    kinds = draw(st.lists(st.tuples(st.binary(max_size=12), st.integers(1, 40)), max_size=4, unique=True))
    found = []
    for request, length in kinds:
        times = draw(st.lists(st.integers(-60_000, 60_000), min_size=1, max_size=6))
        replies = draw(st.lists(st.binary(min_size=length, max_size=length), min_size=len(times), max_size=len(times)))
        assert Track.of(request, times, replies).replies() == replies
        found.append(Track.of(request, times, replies))
    return found


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    laid = tuple(draw(tracks()))
    faults = tuple(draw(st.lists(st.builds(Fault, st.integers(0, 60_000), unsigned, st.integers(1, 7)), max_size=5)))
    clock = draw(st.none() | st.tuples(signed, signed))
    device = draw(st.integers(0, 500))
    return Chunk(device, draw(octets16), laid, faults, Counters.of(laid, faults), clock, draw(octets16))


@st.composite
def usual_chunks(draw: st.DrawFn) -> Chunk:
    """Of a device that answered all it was asked."""
    tracks = []
    for request in draw(st.lists(st.binary(max_size=9), min_size=1, max_size=3, unique=True)):
        times = draw(st.lists(st.integers(-60_000, 60_000), min_size=1, max_size=6))
        length = draw(st.integers(1, 6))
        tracks.append(Track.of(request, times, [draw(st.binary(min_size=length, max_size=length)) for _ in times]))
    digest, salt = draw(st.binary(min_size=16, max_size=16)), draw(st.binary(min_size=16, max_size=16))
    return Chunk(draw(st.integers(0, 300)), digest, tuple(tracks), (), Counters.of(tracks, ()), None, salt)


headers = st.builds(
    lambda start, span, **rest: Header(mono=(start, start + 60_000 + span), **rest),
    start=spans,
    span=spans,
    gateway=octets16,
    epoch=unsigned,
    seq=unsigned,
    previous=octets32,
    boot=unsigned,
    utc=st.tuples(instants, instants),
    clock=st.builds(ClockState, st.integers(0, 5), st.integers(0, 2), unsigned, unsigned),
    configuration=st.tuples(unsigned, octets32),
    software=st.tuples(st.text(max_size=20), octets32),
    events=st.lists(
        st.builds(Event, st.sampled_from(EventKind), instants, instants, st.text(max_size=20)), max_size=3
    ).map(tuple),
    custody=st.integers(0, 3),
    counter=st.none() | st.tuples(unsigned, unsigned),
    checkpoint=st.none() | st.tuples(st.binary(min_size=8, max_size=8), unsigned, octets32),
)


@settings(deadline=None)
@given(headers, st.lists(chunks(), max_size=3, unique_by=lambda chunk: chunk.device))
def test_any_block_opens_as_it_was_sealed(header: Header, found: list[Chunk]) -> None:
    sealed = seal(header, found, KEY)
    opened_header, opened_chunks = open_block(sealed, KEY.public)
    assert opened_chunks == tuple(sorted(found, key=lambda chunk: chunk.device))
    assert structs.replace(opened_header, chunks=(0, b"")) == header


@given(chunks(), st.data())
def test_a_flipped_bit_in_a_leaf_opens_as_another_chunk_or_not_at_all(chunk: Chunk, data: st.DataObject) -> None:
    leaf = bytearray(chunk.to_bytes())
    assert Chunk.from_bytes(bytes(leaf)) == chunk
    bit = data.draw(st.integers(0, len(leaf) * 8 - 1))
    leaf[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(RecordError):
        assert Chunk.from_bytes(bytes(leaf)) != chunk


@given(st.binary(max_size=80))
def test_any_bytes_as_a_leaf_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        Chunk.from_bytes(data)


def way(read: Any) -> Any:
    """The chunk, or the kind of error."""
    try:
        return read()
    except RecordError as error:
        return type(error)


@settings(max_examples=150)
@given(usual_chunks() | st.just(CHUNK), st.data())
def test_a_chunk_cut_from_a_sequence_is_the_same_chunk(chunk: Chunk, data: st.DataObject) -> None:
    """Also with a part of another type or size, and with another byte in it."""
    leaf = chunk.to_bytes()
    if data.draw(st.booleans()):
        said = cbor.decode(leaf)
        odd = st.sampled_from([True, False, 1.0, None, -1, 1 << 63, b"", "x", [], {}, [True], [0]])
        inner = data.draw(st.booleans()) and said[2]
        (said[2][0] if inner else said)[data.draw(st.integers(0, 3 if inner else 6))] = data.draw(odd)
        leaf = cbor2.dumps(said)
    elif data.draw(st.booleans()):
        changed = bytearray(leaf)
        changed[data.draw(st.integers(0, len(leaf) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        leaf = bytes(changed)
    try:
        items = cbor.cut(leaf)
    except EncodingError:
        return
    if len(items) == 1:
        assert way(lambda: Chunk.of_item(*items[0])) == way(lambda: Chunk.from_bytes(leaf))


@pytest.mark.parametrize("keys", [[False, True, 2, 3, 4, 5, 6], [0, 1.0, 2, 3, 4, 5, 6], [1, 0, 2, 3, 4, 5, 6]])
def test_keys_that_only_look_like_the_right_ones_are_refused(keys: list[Any]) -> None:
    said = cbor.decode(CHUNK.to_bytes())
    leaf = cbor2.dumps(dict(zip(keys, said.values(), strict=True)))
    assert len(cbor2.loads(leaf)) == 7
    for read in (lambda: Chunk.from_bytes(leaf), lambda: Chunk.of_item(*cbor.cut(leaf)[0])):
        with pytest.raises(EncodingError):
            read()
