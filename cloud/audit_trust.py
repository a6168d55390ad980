"""What an audit trusts of a gateway: nothing but its enrolment, and what that leads to by signatures and digests."""

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from cloud.difference import Differences
from cloud.ingest import Head
from drivers.installation import Installation, install
from protocols.errors import ChainError, TanmeterError
from protocols.record import enrolment as enrolments
from protocols.record import siteconfig
from protocols.record.cose import PublicKey
from protocols.record.enrolment import Enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig


@dataclass(frozen=True, slots=True)
class Trusted:
    """``head``: where its chain begins. ``configurations``: digest and meaning of each that is good, by number."""

    key: PublicKey
    head: Head
    configurations: Mapping[int, tuple[bytes, Installation]]


def trusted(db: sqlite3.Connection, gateway: bytes, differences: Differences) -> Trusted | None:
    """What can be trusted; None when the enrolment itself is not good. What is not is told."""
    row = db.execute(
        "SELECT enrolment, algorithm, spki, technician_algorithm, technician_spki, site, custody FROM gateways"
        " WHERE gateway = ?",
        (gateway,),
    ).fetchone()
    if row is None:
        differences.told("enrolment", gateway.hex(), "found nothing, expected the enrolment of what is kept")
        return None
    envelope, *kept = row
    try:
        request = enrolments.open_enrolment(envelope)
        if request.key.id != gateway:
            raise ChainError(f"found the enrolment of {request.key.id.hex()}, expected that of {gateway.hex()}")
    except TanmeterError as error:
        differences.told("enrolment", gateway.hex(), f"{error.code} {error}")
        return None
    technician = (request.technician_algorithm, request.technician_spki)
    made = [request.algorithm, request.spki, *technician, request.site_id, request.custody]
    differences.same("enrolment", gateway.hex(), kept, made)
    start = db.execute("SELECT epoch, seq, previous FROM starts WHERE gateway = ?", (gateway,)).fetchone()
    epoch, seq, previous = start or (0, 0, hashlib.sha256(envelope).digest())
    head = Head(epoch, seq, previous, None, None, 0)
    return Trusted(request.key, head, _configurations(db, gateway, request, differences))


def _configurations(
    db: sqlite3.Connection, gateway: bytes, request: Enrolment, differences: Differences
) -> dict[int, tuple[bytes, Installation]]:
    """Those that the technician signed, each after the one before, with the profiles they name."""
    found: dict[int, tuple[bytes, Installation]] = {}
    previous: bytes | None = None
    rows = db.execute(
        "SELECT number, digest, envelope, valid_from FROM configs WHERE gateway = ? ORDER BY number", (gateway,)
    )
    for number, digest, envelope, valid_from in rows:
        made = siteconfig.digest(envelope)
        try:
            site = siteconfig.open_site(envelope, request.technician)
            _check_follows(site, made, previous, request)
            found[site.number] = (made, install(site.site, _profiles(db, site)))
            kept = (number, digest, valid_from)
            differences.same("configuration", str(number), kept, (site.number, made, site.valid_from))
        except TanmeterError as error:
            differences.told("configuration", str(number), f"{error.code} {error}")
        previous = made
    if previous is None:
        differences.told("configuration", "1", "found none, expected the one of the enrolment")
    return found


def _check_follows(site: SiteConfig, digest: bytes, previous: bytes | None, request: Enrolment) -> None:
    if previous is None and digest != request.site_config:
        raise ChainError(f"found {digest.hex()}, expected {request.site_config.hex()}: the one of the enrolment")
    if previous is not None and site.previous != previous:
        raise ChainError(f"found a configuration after {site.previous.hex()}, expected {previous.hex()}")
    if site.number == 1 and site.previous != NO_PREVIOUS:
        raise ChainError("found configuration 1 after another, expected it to be the first")


def _profiles(db: sqlite3.Connection, site: SiteConfig) -> dict[str, bytes]:
    """The profile files by their ids, each with the digest that is signed; ChainError."""
    found = {}
    for name, digest in site.profiles:
        row = db.execute("SELECT source FROM profiles WHERE digest = ?", (digest,)).fetchone()
        if row is None or hashlib.sha256(row[0]).digest() != digest:
            raise ChainError(f"profile {name}: found no file with the SHA-256 {digest.hex()}, expected it to be kept")
        found[name] = bytes(row[0])
    return found
