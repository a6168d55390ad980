"""Enrolment: the box shows its key and its configuration, the collector shows the key that the invite code names."""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from drivers.site import HIGHEST_PORT
from edge import mqtt, returning
from edge.config import COLLECTOR, OUTBOX, load_collector
from edge.covering import enrolling
from edge.transport import tls, unreachable
from protocols import messages
from protocols.errors import ConfigError, EncodingError, EnrolmentError, StrangerError, UnreachableError
from protocols.record import cbor, invite, shape
from protocols.record.block import open_header
from protocols.record.cose import PublicKey
from protocols.record.receipt import Receipt, open_receipt
from provisioning import folder
from provisioning.folder import Box

TIMEOUT_S = 20.0
LONGEST_ANSWER = 1 << 16
SERVER_ERROR = 500
CERTIFICATES = "collector-ca.pem"


@dataclass(frozen=True, slots=True)
class Way:
    """How blocks shall go: ``ca``: the certificates that the other side's must hang on; ``mqtt``: a broker's address,
    instead of the address at which the box enrols. What collector.json says beside stays there."""

    ca: Path | None = None
    mqtt: str | None = None


DIRECT = Way()


def enrol(
    state: Path,
    code: str,
    url: str,
    client: httpx.Client | None = None,
    *,
    instead: bool = False,
    way: Way = DIRECT,
) -> Receipt:
    """Enrol the box in ``state`` with the collector at ``url``; its first receipt, once collector.json is written.

    ``instead``: of the collector it is enrolled with, which is no more, or has lost its key. EnrolmentError when the
    code or the collector's key is wrong or it says no, UnreachableError when it cannot be reached or somebody else
    answers, ConfigError when the box is not set up or enrolled elsewhere. Calling again is harmless.
    """
    wanted = invite.parse(code)
    address = _address(url)
    target = address if way.mqtt is None else _broker(way.mqtt)
    with enrolling(state), contextlib.ExitStack() as stack:
        box = folder.read_box(state)
        first = box.configs[0]
        body = {0: wanted.format(), 1: box.envelope, 2: first.envelope, 3: first.profiles}
        start = None if (oldest := returning.oldest_held(state / OUTBOX)) is None else _start(oldest, box)
        if oldest is not None and start is not None:
            body[4] = oldest
        asking = client or stack.enter_context(_client(address, way.ca))
        key, envelope = _read_answer(_post(f"{address}/v1/enrolments", cbor.encode(body), asking))
        if invite.fingerprint(key.spki) != wanted.fingerprint:
            found, expected = invite.fingerprint(key.spki).hex(), wanted.fingerprint.hex()
            raise EnrolmentError(f"found a collector with the key {found}, expected {expected} of the invite code")
        receipt = open_receipt(envelope, key)
        _check_receipt(receipt, box, start)
        _keep(state, target, key, instead, way.ca)
    return receipt


def _broker(url: str) -> str:
    """A broker's address as it is kept; ConfigError."""
    mqtt.place(url, "--mqtt")
    return url.rstrip("/")


def _address(url: str) -> str:
    """The collector's address as it is kept; ConfigError."""
    try:
        parsed = httpx.URL(url) if re.fullmatch("[!-~]+", url) else httpx.URL("")
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    known = parsed.scheme in ("http", "https") and parsed.host and (parsed.port or 0) <= HIGHEST_PORT
    if not known or parsed.query or parsed.fragment:
        raise ConfigError("--collector", repr(url), "an address like https://collector.example")
    return url.rstrip("/")


def _client(address: str, ca: Path | None) -> httpx.Client:
    secure = address.startswith("https://")
    return httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=tls(ca) if secure else False)


def _post(address: str, body: bytes, client: httpx.Client) -> bytes:
    """The body of a good answer; EnrolmentError with the collector's own words otherwise, UnreachableError."""
    headers = {"Content-Type": "application/cbor", "Accept-Language": messages.spoken(os.environ)}
    try:
        with client.stream("POST", address, content=body, headers=headers) as response:
            data = _read(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unreachable(address, error) from error
    if response.is_success:
        return data
    if response.status_code >= SERVER_ERROR:
        raise UnreachableError(f"{address}: found status {response.status_code}, expected an answer")
    why = _refusal(data)
    if not why:
        found = f"status {response.status_code} without a word of a collector on this"
        raise StrangerError(f"{address}: found {found}, expected its answer: is --collector its address?")
    raise EnrolmentError(f"the collector says no: {why}")


def _read(response: httpx.Response) -> bytes:
    data = b""
    for part in response.iter_bytes():
        data += part
        if len(data) > LONGEST_ANSWER:
            raise UnreachableError(
                f"{response.url}: found an answer over {LONGEST_ANSWER} bytes, expected a collector's"
            )
    return data


def _refusal(data: bytes) -> str:
    """What a collector's problem (RFC 9457) says; nothing where it is none, or that there is no such address."""
    match _json(data):
        case {"code": "API-404"}:
            return ""
        case {"code": str(), "detail": str(detail)}:
            return detail
        case {"code": str(), "title": str(title)}:
            return title
    return ""


def _read_answer(data: bytes) -> tuple[PublicKey, bytes]:
    try:
        algorithm, spki, receipt = shape.fields(cbor.decode(data), 3, "answer to the enrolment")
        key = PublicKey(shape.integer(algorithm, "collector algorithm"), shape.octets(spki, "collector key"))
        return key, shape.octets(receipt, "first receipt")
    except EncodingError as error:
        raise StrangerError(f"found an answer that is not a collector's ({error})") from error


def _start(oldest: bytes, box: Box) -> tuple[int, int, bytes] | None:
    """Where the chain begins that the box still holds: epoch, seq, and the hash before; None: at its first block."""
    header = open_header(oldest, box.enrolment.key)
    return None if (header.epoch, header.seq) == (0, 0) else (header.epoch, header.seq, header.previous)


def _check_receipt(receipt: Receipt, box: Box, start: tuple[int, int, bytes] | None) -> None:
    expected = start or (0, 0, hashlib.sha256(box.envelope).digest())
    if (receipt.gateway, receipt.epoch, receipt.next_seq, receipt.head) != (box.enrolment.key.id, *expected):
        raise EnrolmentError(f"found a receipt for another gateway or request ({receipt}), expected one for this box")


def _keep(state: Path, address: str, key: PublicKey, instead: bool, ca: Path | None) -> None:
    path = state / COLLECTOR
    held = load_collector(path)
    before = {} if held is None or instead else _json(path.read_bytes())
    if held is not None and held.key != key and instead:  # a copy: the box has a collector at every instant
        folder.write_private(path.with_name(f"collector-{held.key.kid.hex()}.json"), path.read_bytes())
    elif held is not None and held.key != key:
        expected = "the same collector, or --new-collector when that one is no more"
        raise ConfigError(str(path), f"a box enrolled with {held.url}", expected)
    contents = {**before, "url": address, "algorithm": key.algorithm, "spki": key.spki.hex()}
    if ca is not None:
        folder.write(state / CERTIFICATES, folder.read(ca, "the certificates of the collector"))
        contents["ca"] = CERTIFICATES
    folder.write_private(path, json.dumps(contents, indent=1).encode() + b"\n")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
