"""A block as one zstd frame: bounded whatever comes, and exactly one."""

import resource
import tracemalloc

import cbor2
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodingError, RecordError
from protocols.record import cbor, cose, transport
from protocols.record.block import Chunk, ClockState, Counters, Header, Sealed, Track, open_block, seal

KEY = cose.PrivateKey.generate()
HEADER = Header(
    gateway=KEY.public.id,
    epoch=0,
    seq=0,
    previous=bytes(32),
    boot=1,
    mono=(0, 60_000),
    utc=(0, 60_000),
    clock=ClockState(0, 0, 0, 0),
    configuration=(1, bytes(32)),
    software=("0.1.0", bytes(32)),
    events=(),
)
TRACK = Track.of(b"ask", (1, 2), (b"reply", b"again"))
CHUNKS = [Chunk(device, bytes(16), (TRACK,), (), Counters.of((TRACK,), ()), None, bytes(16)) for device in range(2)]
SEALED = seal(HEADER, CHUNKS, KEY)
ENVELOPE = SEALED.envelope
GOOD = transport.pack(SEALED)


def compressed(data: bytes, stated: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=stated).compress(data)


def streamed(data: bytes, window_log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_what_is_packed_is_unpacked(chunks: list[bytes]) -> None:
    sealed = Sealed(ENVELOPE, tuple(cbor.encode(chunk) for chunk in chunks))
    frame = transport.pack(sealed)
    assert transport.unpack(frame) == sealed
    assert zstandard.ZstdDecompressor().decompress(frame) == b"".join((sealed.envelope, *sealed.chunks))


def test_a_frame_that_does_not_state_its_size_is_unpacked() -> None:
    assert transport.unpack(compressed(b"".join((ENVELOPE, *SEALED.chunks)), stated=False)) == SEALED
    for window_log in (10, 21, 23):
        assert transport.unpack(streamed(b"".join((ENVELOPE, *SEALED.chunks)), window_log)) == SEALED


def test_every_flipped_bit_is_refused_or_harmless() -> None:
    for bit in range(len(GOOD) * 8):
        wrong = bytearray(GOOD)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            found = transport.unpack(bytes(wrong))
            open_block(found, KEY.public)
        except RecordError:
            continue
        assert found == SEALED


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
WRONG = {
    "nothing": b"",
    "no zstd": b"\x00" * 40,
    "not compressed": ENVELOPE,
    "cut short by one": GOOD[:-1],
    "cut in the head": GOOD[:3],
    "a byte after the frame": GOOD + b"\x00",
    "two frames": GOOD + GOOD,
    "a skippable frame before it": SKIPPABLE + GOOD,
    "a skippable frame after it": GOOD + SKIPPABLE,
    "an empty frame": compressed(b""),
    "an empty frame without a size": compressed(b"", stated=False),
    "no envelope first": compressed(SEALED.chunks[0]),
    "an item cut short": compressed(ENVELOPE + b"\x42\x00"),
    "a tag among the chunks": compressed(ENVELOPE + b"\xc1\x00"),
    "an indefinite chunk": compressed(ENVELOPE + b"\xbf\x00\x01\xff"),
    "a window of 16 MiB": streamed(b"".join((ENVELOPE, *SEALED.chunks)), 24),
}


@pytest.mark.parametrize("frame", WRONG.values(), ids=WRONG.keys())
def test_refused(frame: bytes) -> None:
    with pytest.raises(EncodingError):
        transport.unpack(frame)


def test_one_decompressor_reads_every_frame_as_a_new_one_does() -> None:
    stream = compressed(b"".join((ENVELOPE, *SEALED.chunks)), stated=False)
    lying = compressed(bytes(500_000)).replace((500_000).to_bytes(4, "little"), (100).to_bytes(4, "little"), 1)
    bombs = [lying, *[compressed(bytes(5_000_000), stated) for stated in (True, False)]]
    flipped = [GOOD[:at] + bytes([GOOD[at] ^ 1 << at % 8]) + GOOD[at + 1 :] for at in range(len(GOOD))]
    by = transport.decompressor()
    for frame in [*WRONG.values(), *bombs, *[GOOD[:end] for end in range(len(GOOD))], *flipped]:
        assert read(frame, by) == read(frame, transport.decompressor())
        for good in (GOOD, stream):
            assert transport.unwrap(good, by=by) == (ENVELOPE, b"".join(SEALED.chunks))


def read(frame: bytes, by: zstandard.ZstdDecompressor) -> tuple[bytes, bytes] | str:
    try:
        return transport.unwrap(frame, by=by)
    except EncodingError as error:
        return str(error)


def test_the_size_is_capped_to_the_byte() -> None:
    filler = Sealed(ENVELOPE, (cbor.encode(bytes(1000)),))
    size = len(ENVELOPE) + len(filler.chunks[0])
    for stated in (True, False):
        frame = compressed(b"".join((ENVELOPE, *filler.chunks)), stated)
        assert transport.unpack(frame, limit=size) == filler
        with pytest.raises(EncodingError):
            transport.unpack(frame, limit=size - 1)


def test_what_would_not_be_unpacked_is_not_packed() -> None:
    exact = transport.LIMIT - len(ENVELOPE) - 5
    assert len(transport.unpack(transport.pack(Sealed(ENVELOPE, (cbor.encode(bytes(exact)),)))).chunks[0]) == exact + 5
    with pytest.raises(EncodingError):
        transport.pack(Sealed(ENVELOPE, (cbor.encode(bytes(exact + 1)),)))


@pytest.mark.parametrize("stated", [True, False], ids=["size stated", "size not stated"])
def test_a_bomb_of_16_kb_costs_no_memory(stated: bool) -> None:
    bomb = compressed(bytes(500_000_000), stated)
    assert len(bomb) < 17_000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(EncodingError):
            transport.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 16 << 10


def test_a_bomb_that_lies_about_its_size_costs_no_memory() -> None:
    honest = compressed(bytes(500_000))
    parameters = zstandard.get_frame_parameters(honest)
    assert parameters.content_size == 500_000
    lying = honest.replace((500_000).to_bytes(4, "little"), (100).to_bytes(4, "little"), 1)
    assert zstandard.get_frame_parameters(lying).content_size == 100
    with pytest.raises(EncodingError):
        transport.unpack(lying)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    for frame in (data, zstandard.MAGIC_NUMBER.to_bytes(4, "little") + data, compressed(b"\xd2" + data)):
        try:
            found = transport.unpack(frame)
        except EncodingError:
            continue
        assert b"".join((found.envelope, *found.chunks)) == b"\xd2" + data
        assert cbor2.loads(found.envelope).tag == 18
