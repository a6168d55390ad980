"""One frame as a technician reads it: ``tanmeter decode``. No profile, no request; a line in, a JSON object out."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from protocols import decode_cjt188, decode_dlt645, decode_hj212, decode_mbus, decode_modbus, messages
from protocols.errors import Damaged, ProtocolError
from protocols.explained import Explained

SEPARATORS = str.maketrans(",:;-\"'[]", " " * 8)


@dataclass(frozen=True, slots=True)
class Reader:
    """How one protocol's frames are told. ``strict``: as ``explain``, but only what is surely such a frame.

    ``text``: its frames are lines of text; they are recognised by ``likely`` before anything is taken for hex.
    """

    explain: Callable[[bytes], Explained]
    likely: Callable[[bytes], bool]
    strict: Callable[[bytes], Explained]
    text: bool = False


READERS = {
    "hj212": Reader(decode_hj212.explain, decode_hj212.likely, decode_hj212.exactly, text=True),
    "dlt645": Reader(decode_dlt645.explain, decode_dlt645.likely, decode_dlt645.exactly),
    "cjt188": Reader(decode_cjt188.explain, decode_cjt188.likely, decode_cjt188.exactly),
    "mbus": Reader(decode_mbus.explain, decode_mbus.likely, decode_mbus.strict),
    "modbus-rtu": Reader(decode_modbus.explain_rtu, decode_modbus.likely_rtu, decode_modbus.explain_rtu),
    "modbus-tcp": Reader(decode_modbus.explain_tcp, decode_modbus.likely_tcp, decode_modbus.known_tcp),
}
"""Surest first: in this order ``auto`` tries them."""

BEHIND_NOISE = ("hj212", "dlt645", "cjt188")
"""What ``auto`` also looks for inside a line that is no frame as a whole."""

GUESSES = ("hj212", "mbus", "dlt645", "cjt188", "modbus-tcp", "modbus-rtu")
"""In this order a broken line is taken for what it was meant to be."""

PROTOCOLS = ("auto", *sorted(READERS))
"""What ``explain`` takes as protocol."""


def explain(line: str, protocol: str = "auto", language: messages.Language = "en") -> Explained:
    """What one frame says. ``line``: hex, spaced or not, ``0x`` allowed, or the text of a packet; ``protocol``: one of
    PROTOCOLS; ``language``: of the likely cause of what is wrong.

    ``ok`` true: the frame is good. Then ``protocol``, ``address``, ``control`` (hex; the function for Modbus),
    ``identifier`` (DL/T 645: DI3 first; a Modbus request: function:address+count in hex:hex+decimal; else null) and
    ``values``, a list of {name, value, unit}. A value is text, a number in plain decimal, or null when the meter
    filled it with FF; one that does not fit its form is null with ``raw`` and ``note``. A meter's refusal (D1, Modbus
    exception) is a good frame: ``values`` is empty and ``error`` is {code, reason, message}. ``data`` holds the
    bytes of a content nobody described. HJ 212: ``control`` is CN, and each value has its ``flag`` beside it. CJ/T 188
    also has ``meter_type`` and ``serial``. Frames of DL/T 645, CJ/T 188 and HJ 212 are also found behind noise; of
    several in a line the first that comes from a meter is told (before it goes the echo of the question) and
    ``skipped`` counts the others. DL/T 645 also has ``meaning`` (request, reply or refusal, of which function); a
    request has ``asks``, the names of what it is for, and ``records`` and ``since`` of a load record; an answer joined
    from several frames has their number as ``frames``, a follow-up by itself its own as ``frame``; a status word has
    ``flags``, the names of the bits that are set; ``noise`` is what stood before the frame; ``hint`` a likely mistake.

    ``ok`` false: ``protocol`` (null when ``auto`` found none that fits) and ``error`` {code, message, byte, found,
    expected, cause}; the message names the check that failed, ``byte`` where (from 0), ``cause`` what is likely behind
    it. What is not known of a fault is null.
    """
    if (text := _packet(line, protocol)) is not None:
        return _read(text, _octets(line), language)
    try:
        raw = _from_hex(line)
    except Damaged as error:
        return _bad(None if protocol == "auto" else protocol, error, language)
    return _auto(raw, language) if protocol == "auto" else _read(protocol, raw, language)


def _read(protocol: str, raw: bytes, language: messages.Language) -> Explained:
    try:
        return {"ok": True, "protocol": protocol} | READERS[protocol].explain(raw)
    except ProtocolError as error:
        return _bad(protocol, error, language)


def _bad(protocol: str | None, error: ProtocolError, language: messages.Language) -> Explained:
    told: Explained = {"code": error.code, "message": str(error), "byte": error.at}
    told |= {"found": error.found, "expected": error.expected}
    told["cause"] = messages.text(error.cause, language) if error.cause else None
    return {"ok": False, "protocol": protocol, "error": told}


def _packet(line: str, protocol: str) -> str | None:
    """The protocol whose packets are text, if this line is one of them; asked for by name, any line that is no hex."""
    raw = _octets(line)
    for name, reader in READERS.items():
        if reader.text and protocol in ("auto", name) and reader.likely(raw):
            return name
    return None


def _octets(line: str) -> bytes:
    """The bytes of a line of text; those that were no UTF-8 as they were read (surrogateescape)."""
    try:
        return line.strip().encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.strip().encode("utf-8", "replace")


def _from_hex(line: str) -> bytes:
    """Bytes of a line; separators are white space and ``,:;-``; ``0x``, ``\\x`` before and H behind a byte."""
    tokens = (
        re.sub(r"0[xX]|\\x|(?<=\b[0-9a-fA-F]{2})[hH]\b", " ", line).replace("\ufeff", "").translate(SEPARATORS).split()
    )
    text = "".join(token.zfill(2) if len(token) == 1 else token for token in tokens)
    if wrong := re.search("[^0-9a-fA-F]", text):
        raise Damaged(f"character {wrong.group()!r}, expected hex digits", cause="cause.not_hex")
    if len(text) % 2 or not text:
        raise Damaged(f"{len(text)} hex digits, expected two for each byte of a frame")
    return bytes.fromhex(text)


def _auto(raw: bytes, language: messages.Language) -> Explained:
    """The first protocol whose structure and checksum the whole line has; then those that are found behind noise."""
    failures = {}
    for protocol, reader in _attempts(raw):
        try:
            return {"ok": True, "protocol": protocol} | reader(raw)
        except ProtocolError as error:
            failures[protocol] = error
    guess = next((name for name in GUESSES if READERS[name].likely(raw)), None)
    if guess is not None:
        return _bad(guess, failures[guess], language)
    told = "; ".join(f"{name}: {error}" for name, error in failures.items())
    return _bad(None, Damaged(told, cause="cause.no_protocol_fits"), language)


def _attempts(raw: bytes) -> Iterator[tuple[str, Callable[[bytes], Explained]]]:
    """The readers to try; one of text packets only where they are likely."""
    meant = {name: reader for name, reader in READERS.items() if not reader.text or reader.likely(raw)}
    yield from ((name, reader.strict) for name, reader in meant.items())
    yield from ((name, meant[name].explain) for name in BEHIND_NOISE if name in meant)
