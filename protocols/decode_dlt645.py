"""A DL/T 645 frame of either edition as a technician reads it: the meaning of its identifier, without any profile."""

from collections.abc import Sequence

from protocols import dlt645, dlt645_1997, dlt645_identifiers, dlt645_identifiers_1997
from protocols.dlt645_edition import Edition
from protocols.dlt645_faults import diagnose, header, seven_bits
from protocols.dlt645_forms import Format, fields, told
from protocols.dlt645_frame import ERROR, FUNCTION, MORE, REPLY, Frame, Parser, refusal
from protocols.dlt645_functions import is_1997, meaning
from protocols.errors import Damaged, ProtocolError
from protocols.explained import Explained, rest
from protocols.explained import refusal as refused

NAMED = 8
"""Names of a block that a request tells before it says how many more there are."""

_ADDRESS = Format("N" * 12, "", False, "communication_address")
_TIME = Format("YYMMDDhhmmss", "", False, "time")


def explain(raw: bytes) -> Explained:
    """The frame in these bytes, joined with its follow-up frames; Damaged with the place and the likely cause.

    Of several the first from a meter is told. A request alone is told too, unless a broken answer stands behind it.
    """
    found = Parser().feed(raw)
    if not found:
        raise diagnose(raw)
    frames = [frame for frame, _ in found]
    chosen = next((at for at, frame in enumerate(frames) if frame.control & REPLY), 0)
    if not frames[chosen].control & REPLY:
        _check_behind(raw, found[-1][1])
    told, used = _joined(frames[chosen:])
    skipped = len(frames) - used
    return told | _before(raw, found[0][1]) | ({"skipped": skipped} if skipped else {})


def exactly(raw: bytes) -> Explained:
    """As ``explain``, but the whole line must be one frame; Damaged."""
    return _frame(dlt645.decode(raw))


def likely(raw: bytes) -> bool:
    """Whether a broken line was meant to be such a frame."""
    return header(raw) is not None


def _check_behind(raw: bytes, last: bytes) -> None:
    """Damaged when what follows our own question begins a frame that does not end."""
    end = raw.rindex(last) + len(last)
    if header(raw[end:]) is None:
        return
    error = diagnose(raw[end:])
    place = None if error.at is None else end + error.at
    message = f"behind a request: {error}"
    raise Damaged(message, at=place, found=error.found, expected=error.expected, cause=error.cause)


def _before(raw: bytes, first: bytes) -> Explained:
    """What stands before the first frame and is no preamble: noise, or the name of a device server."""
    noise = raw[: raw.index(first)].rstrip(bytes([dlt645.PREAMBLE]))
    if not noise:
        return {}
    lost: Explained = {"hint": "FE came as 7E: the port may be set to 7 data bits, then no byte is what was sent"}
    return {"noise": noise.hex(" ").upper(), **(lost if seven_bits(raw) else {})}


def _joined(frames: Sequence[Frame]) -> tuple[Explained, int]:
    """The first frame with those that continue it, and how many were used; alone when the rest does not fit."""
    first = frames[0]
    edition = dlt645_1997.EDITION if is_1997(first) else dlt645.EDITION
    if first.control != edition.read | REPLY | MORE:
        return _frame(first), 1
    identifier = edition.identifier_of(first)
    for count in range(2, len(frames) + 1):
        try:
            request = edition.read_request(first.address, identifier)
            data = edition.payload(request, b"".join(frame.to_bytes() for frame in frames[:count]))
        except ProtocolError:
            continue
        return _head(first) | {"identifier": identifier, "frames": count} | _content(edition, identifier, data), count
    return _frame(first), 1


def _head(frame: Frame) -> Explained:
    told: Explained = {"address": frame.address, "control": f"{frame.control:02X}", "identifier": None, "values": []}
    if is_1997(frame):
        told["note"] = "DL/T 645-1997"
    return told | {"meaning": meaning(frame)}


def _frame(frame: Frame) -> Explained:
    """One frame, whatever it is."""
    head = _head(frame)
    if frame.control & REPLY and frame.control & ERROR:
        return head | _refused(frame)
    if frame.control == dlt645.FIND | REPLY and len(frame.data) == _ADDRESS.width:
        return head | {"values": [told(frame.data, _ADDRESS)]}
    if frame.control == 0x08 and len(frame.data) == _TIME.width:
        return head | {"values": [told(frame.data, _TIME)]}
    edition = dlt645_1997.EDITION if is_1997(frame) else dlt645.EDITION
    if frame.control & FUNCTION not in (edition.read, edition.follow) or len(frame.data) < edition.width:
        return head | rest(frame.data)
    return head | _identified(edition, frame)


def _identified(edition: Edition, frame: Frame) -> Explained:
    """A read or its answer: the identifier and, from the meter, what it holds."""
    identifier, data = edition.identifier_of(frame), frame.data[edition.width :]
    found: Explained = {"identifier": identifier}
    if not frame.control & REPLY:
        return found | _asks(edition, identifier) | _which(edition, frame, data) | _unshifted(edition, frame)
    if frame.control & FUNCTION == edition.follow:
        return found | _part(edition, data)
    content = _content(edition, identifier, data)
    if frame.control & MORE:
        content = _whole_ones(edition, identifier, data) | {"note": "more frames follow"}
    return found | content | ({} if content.get("values") else _unshifted(edition, frame))


def _content(edition: Edition, identifier: str, data: bytes) -> Explained:
    old = edition is dlt645_1997.EDITION
    tell = dlt645_identifiers_1997.content if old else dlt645_identifiers.content
    values, left = tell(identifier, data)
    return {"values": values} | rest(left)


def _whole_ones(edition: Edition, identifier: str, data: bytes) -> Explained:
    """Of the first frame of several: the fields that are whole; the rest comes with the next frame."""
    forms = _describe(edition, identifier)
    size = count = 0
    while count < len(forms) and size + forms[count].width <= len(data):
        size, count = size + forms[count].width, count + 1
    if len(forms) < 2 or not count:
        return rest(data)
    return {"values": [one for form_at in [fields(data[:size], forms[:count])[0]] for one in form_at]} | rest(
        data[size:]
    )


def _asks(edition: Edition, identifier: str) -> Explained:
    """The names of what a request is for."""
    names = [form.name for form in _describe(edition, identifier)]
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return {"asks": names[:NAMED] + more} if names else {}


def _which(edition: Edition, frame: Frame, tail: bytes) -> Explained:
    """What a request says behind its identifier: the number of a follow-up frame, or which load records."""
    if frame.control == dlt645.FOLLOW and len(tail) == 1:
        return {"frame": tail[0]}
    if edition is dlt645.EDITION and len(tail) in edition.tails[1:] and edition.identifier_of(frame).startswith("06"):
        since = told(tail[1:], Format("YYMMDDhhmm", "", False, "since"))["value"] if tail[1:] else None
        return {"records": tail[0]} | ({"since": since} if tail[1:] else {})
    return rest(tail)


def _part(edition: Edition, data: bytes) -> Explained:
    """A follow-up frame by itself: its content hangs on the frames before it."""
    if edition.numbered and data:
        return {"frame": data[-1]} | rest(data[:-1])
    return rest(data)


def _unshifted(edition: Edition, frame: Frame) -> Explained:
    """A hint where an unknown identifier is a known one to which 33H was never added."""
    named = edition.identifier_of(frame)
    plain = bytes((byte + 0x33) & 0xFF for byte in bytes.fromhex(named)).hex().upper()
    if _describe(edition, named) or not _describe(edition, plain):
        return {}
    return {"hint": f"{plain} was meant, perhaps: then the sender forgot to add 33H to the data"}


def _describe(edition: Edition, identifier: str) -> tuple[Format, ...]:
    old = edition is dlt645_1997.EDITION
    return dlt645_identifiers_1997.describe(identifier) if old else dlt645_identifiers.describe(identifier)


def _refused(frame: Frame) -> Explained:
    if not frame.data:
        raise Damaged(f"control {frame.control:02X} without data, expected an error word", at=10, cause=None)
    return {"error": refused(refusal(frame), frame.data[0])}
