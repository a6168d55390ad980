"""CBOR as RECORD.md restricts it: one way to write a thing, or EncodingError."""

import io
from typing import Any, NoReturn

import cbor2

from protocols.errors import EncodingError

HIGHEST_KEY = 23
DEEPEST = 16
_LEAST, _MOST = -(1 << 64), (1 << 64) - 1


def encode(value: Any) -> bytes:
    """A value of integers, bytes, texts, arrays, maps and None as bytes; EncodingError on what RECORD.md forbids."""
    _check(value, DEEPEST)
    try:
        return cbor2.dumps(value)
    except (cbor2.CBORError, UnicodeError) as error:
        raise EncodingError(f"found a value that cannot be written ({error})") from error


def decode(data: bytes) -> Any:
    """The one item in ``data``; EncodingError when it is not the permitted way to write it, or more follows."""
    value = _loads(data)
    _check(value, DEEPEST)
    check_written(value, data)
    return value


def decode_to_shape(data: bytes) -> Any:
    """As ``decode``, for whoever holds every part of the item to a type, a range and its keys: here it is not done."""
    value = _loads(data)
    check_written(value, data)
    return value


def written(value: Any) -> bytes:
    """As ``encode``, for a value of which it is known that it is permitted."""
    return cbor2.dumps(value)


def check_written(value: Any, data: bytes) -> None:
    """Check that ``data`` is the one way to write ``value``, which was read from it; EncodingError."""
    again = cbor2.dumps(value)
    if again != data:
        raise EncodingError(
            f"found {_excerpt(data, again)}, expected the shortest way to write it and nothing after it"
        )


def sequence(data: bytes) -> list[tuple[Any, bytes]]:
    """Each item of a CBOR sequence (RFC 8742) with its own bytes; EncodingError."""
    return [(decode(item), item) for item in split(data)]


def split(data: bytes, most: int | None = None) -> list[bytes]:
    """The bytes of each item of a sequence, found but not yet held to the rules; EncodingError when it breaks off, or
    has more than ``most`` items.
    """
    return [item for item, _ in cut(data, most)]


def cut(data: bytes, most: int | None = None) -> list[tuple[bytes, Any]]:
    """As ``split``, each with what it says; that, too, is not held to the rules."""
    stream = io.BytesIO(data)
    decoder = _decoder(stream)
    items: list[tuple[bytes, Any]] = []
    start = 0
    while start < len(data):
        if len(items) == most:
            raise EncodingError(f"found more than {most} items, expected at most {most}")
        try:
            value = decoder.decode()
        except (cbor2.CBORError, TypeError) as error:
            raise EncodingError(f"item {len(items)} at byte {start}: {_reason(error)}") from error
        end = stream.tell()
        items.append((data[start:end], value))
        start = end
    return items


def item(data: bytes, start: int) -> tuple[Any, int]:
    """What the item that begins at ``start`` says, which is not held to the rules, and where it ends; EncodingError."""
    stream = io.BytesIO(data)
    stream.seek(start)
    try:
        return _decoder(stream).decode(), stream.tell()
    except (cbor2.CBORError, TypeError) as error:
        raise EncodingError(f"item at byte {start}: {_reason(error)}") from error


def byte_string(data: bytes, start: int) -> tuple[bytes, int]:
    """The byte string that begins at ``start`` and where it ends; EncodingError unless its head is the shortest."""
    head = data[start] if start < len(data) else -1
    if not 0x40 <= head <= 0x5B:
        raise EncodingError(
            f"found {data[start : start + 1].hex() or 'nothing'} at byte {start}, expected a byte string"
        )
    width = 0 if head < 0x58 else 1 << (head - 0x58)
    first = start + 1 + width
    length = int.from_bytes(data[start + 1 : first]) if width else head - 0x40
    if first > len(data) or first + length > len(data):
        raise EncodingError(f"found {len(data) - start} bytes, expected a byte string of {length}")
    if width and (length < 24 or (width > 1 and length < 1 << (4 * width))):
        raise EncodingError(f"found a length of {length} written in {width} bytes, expected the shortest way")
    return data[first : first + length], first + length


def _decoder(stream: io.BytesIO) -> cbor2.CBORDecoder:
    return cbor2.CBORDecoder(
        stream, allow_indefinite=False, max_depth=DEEPEST, tag_hook=_refuse_tag, semantic_decoders=_TAGS
    )


def _loads(data: bytes) -> Any:
    try:
        return cbor2.loads(
            data,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            max_depth=DEEPEST,
            tag_hook=_refuse_tag,
            semantic_decoders=_TAGS,
        )
    except (cbor2.CBORError, TypeError) as error:
        raise EncodingError(f"found bytes that are not permitted CBOR: {_reason(error)}") from error


def _check(value: Any, depth: int) -> None:
    """EncodingError on a type, an integer, a key order or a depth that RECORD.md does not have."""
    kind = type(value)
    if kind is int:
        if not _LEAST <= value <= _MOST:
            raise EncodingError(f"found an integer of {value.bit_length()} bits, expected at most 64")
    elif kind is list or kind is tuple:
        _check_depth(depth)
        for item in value:
            if type(item) is not int or not _LEAST <= item <= _MOST:
                _check(item, depth - 1)
    elif kind is dict:
        _check_depth(depth)
        last = -1
        for key, item in value.items():
            if type(key) is not int or not last < key <= HIGHEST_KEY:
                raise EncodingError(
                    f"found the map key {key!r} after {last}, expected unsigned keys 0..23 in rising order"
                )
            last = key
            _check(item, depth - 1)
    elif kind is not bytes and kind is not str and value is not None:
        raise EncodingError(f"found a {kind.__name__}, expected an integer, bytes, text, an array, a map or null")


def _check_depth(depth: int) -> None:
    if depth == 0:
        raise EncodingError(f"found arrays or maps more than {DEEPEST} deep")


def _refuse_tag(*_: Any) -> NoReturn:
    raise EncodingError("found a tag, expected none inside")


_TAGS: dict[int, Any] = dict.fromkeys((*range(512), 1004, 43000, 55799), _refuse_tag)
"""Every tag cbor2 would act on by itself: none of them may run on bytes nobody has signed."""


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error)


def _excerpt(data: bytes, again: bytes) -> str:
    at = next(
        (i for i, (one, two) in enumerate(zip(data, again, strict=False)) if one != two), min(len(data), len(again))
    )
    return f"{data[at : at + 8].hex()} at byte {at}"
