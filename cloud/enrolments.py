"""Who may deliver: invitations, gateways with their keys, and the signed configurations of their sites."""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud import late_start, receipts, rot, typed
from cloud.database import Database, octets
from cloud.late_start import Start
from cloud.receipts import Issued
from cloud.rows import Configuration, Gateway
from cloud.signatures import signer
from drivers.installation import Installation, install
from protocols.errors import ChainError, ConfigError, ConflictError, EnrolmentError
from protocols.record import enrolment as enrolments
from protocols.record import invite as invites
from protocols.record import siteconfig
from protocols.record.block import open_header
from protocols.record.cose import PublicKey, Signer, kid_of
from protocols.record.enrolment import Enrolment
from protocols.record.receipt import RECEIVED, Receipt, open_receipt, sign_receipt
from protocols.record.siteconfig import SiteConfig

MOST_TRIES = 5
GATEWAY_COLUMNS = (
    "gateway, algorithm, spki, technician_algorithm, technician_spki, site, custody, enrolment, enrolled_at,"
    " revoked_at, reason, epoch, next_seq, head, boot, mono, config_number, block_start, block_end, received_at,"
    " blocks, refused_blocks, readings, due, asked, answered, silent, damaged, refused, gaps"
)
_KNOWN = "SELECT enrolment, revoked_at FROM gateways WHERE gateway = ?"
CONFIG_COLUMNS = "gateway, number, digest, envelope, valid_from, received_at"


class Enrolments(Database):
    """The part of the store that says whose word is taken. ``key`` signs what the collector answers."""

    def __init__(self, path: Path, key: Signer | None = None) -> None:
        super().__init__(path)
        self.key = key
        self._signer = None if key is None else signer(key)
        self._installations: dict[bytes, Installation] = {}

    def create_invite(self, invite: invites.Invite, site: str | None, expires_at: int, now: int) -> None:
        """Keep an invitation, without its secret; EnrolmentError when its id is taken. ``site``: for this id only."""
        salt = os.urandom(16)
        row = (invite.id, _hash(invite.secret, salt), salt, site, now, expires_at)
        with self.writing() as db:
            try:
                db.execute(
                    "INSERT INTO invites (invite, secret_hash, salt, site, created_at, expires_at)"
                    " VALUES (?,?,?,?,?,?)",
                    row,
                )
            except sqlite3.IntegrityError as error:
                raise EnrolmentError(f"an invitation {invite.id} exists already, expected a new one") from error

    def enrol(
        self,
        code: str,
        enrolment: bytes,
        config: bytes,
        profiles: Sequence[bytes],
        now: int,
        *,
        oldest: bytes | None = None,
    ) -> bytes:
        """Take a gateway in, once for one code; the receipt that opens its chain. Nothing is read before the code fits.

        ``oldest``: the envelope of the oldest block it holds, where that is not its first: the chain begins there.
        EnrolmentError when the code is wrong, used, expired or for another site; SignatureError, EncodingError,
        ConfigError on what it brings. The same request again has the same answer: a reply may be lost. Only where the
        oldest block has gone meanwhile, and none is held here, does the chain begin anew behind it. With another code
        from its operator the chain of one that is known goes on behind blocks that are lost.
        """
        invite = invites.parse(code)
        self._try(invite, now)
        self._check_unused(invite, enrolment)
        brought = open_brought(enrolment, config, profiles, oldest)
        request = brought.request
        with self.writing() as db:
            row = db.execute("SELECT site, used_by FROM invites WHERE invite = ?", (invite.id,)).fetchone()
            known = db.execute(_KNOWN, (request.key.id,)).fetchone()
            if row[1] is not None and (row[1] != request.key.id or known is None or known[0] != enrolment):
                raise _used(invite)
            if row[0] is not None and row[0] != request.site_id:
                raise EnrolmentError(f"found site {request.site_id!r}, expected {row[0]!r}: the site of the invitation")
            if known is not None:
                _check_known(brought, known)
            if row[1] is None:
                used = (request.key.id, now, invite.id)
                db.execute("UPDATE invites SET used_by = ?, used_at = ? WHERE invite = ?", used)
            if known is None or late_start.makes_way(db, request.key.id, brought.start):
                return self._admit(db, brought, now)
            return self._welcome_back(db, brought, now, goes_on=row[1] is None)

    def open_window(self, until: int) -> None:
        """Until then (UTC ms) a gateway is taken in again on the strength of a receipt that we signed for it."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('readmit_until', ?)", (until,))

    def window(self) -> int:
        """Until when gateways are taken in again by their receipts (UTC ms); 0 when never."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'readmit_until'").fetchone()
            return 0 if row is None else int(row[0])

    def readmit(self, proof: bytes, brought: "Brought", now: int) -> bytes:
        """Take a gateway in again that we once knew, as a receipt of ours proves; the receipt that opens its chain.

        EnrolmentError outside the window that the operator opened: a store that was lost has forgotten, too, whom it
        revoked; and one that is known goes on behind blocks that are lost only in it. One of which no block is held yet
        begins where it can. SignatureError unless we signed the proof.
        """
        request = brought.request
        receipt = open_receipt(proof, self.ours)
        if receipt.gateway != request.key.id:
            raise EnrolmentError(f"found a receipt of {receipt.gateway.hex()}, expected one of {request.key.id.hex()}")
        with self.writing() as db:
            known = db.execute(_KNOWN, (request.key.id,)).fetchone()
            if known is not None:
                _check_known(brought, known)
                if late_start.makes_way(db, request.key.id, brought.start):
                    return self._admit(db, brought, now)
                within = now < self.window()
                if within or not (refused := late_start.ask(db, request.key.id, brought.start, now)):
                    return self._welcome_back(db, brought, now, goes_on=within)
            elif now >= self.window():
                refused = "found no enrolment, expected one: `tanmeter cloud readmit` takes it in again by its receipt"
            else:
                return self._readmitted(db, receipt, proof, brought, now)
        raise EnrolmentError(f"gateway {request.key.id.hex()}: {refused}")

    def _readmitted(
        self, db: sqlite3.Connection, receipt: Receipt, proof: bytes, brought: "Brought", now: int
    ) -> bytes:
        opened = self._admit(db, brought, now)
        receipts.bring(db, receipt, proof)
        if (receipt.epoch, receipt.next_seq) > (brought.start or (0, 0))[:2]:
            receipts.raise_watermark(db, receipt, now)
        place, detail = (receipt.epoch, receipt.next_seq), f"by its receipt for {receipt.epoch}/{receipt.next_seq}"
        receipts.tell(db, brought.request.key.id, "readmitted", place, detail, now=now)
        return opened

    def _admit(self, db: sqlite3.Connection, brought: "Brought", now: int) -> bytes:
        """A gateway with its first configuration, its chain at its beginning; the receipt that says so."""
        request, site = brought.request, brought.site
        if db.execute("SELECT 1 FROM barred WHERE gateway = ?", (request.key.id,)).fetchone() is not None:
            raise EnrolmentError(f"gateway {request.key.id.hex()} is revoked, expected another key")
        insert_gateway(db, request, brought.enrolment, now, brought.start)
        digest = request.site_config
        _insert_config(db, Configuration(request.key.id, site.number, digest, brought.config, site.valid_from, now))
        _insert_profiles(db, _named(site, brought.profiles))
        epoch, seq, head = brought.start or (0, 0, hashlib.sha256(brought.enrolment).digest())
        if brought.start is not None:
            detail = f"the chain begins with block {epoch}/{seq}: its gateway holds none before"
            receipts.tell(db, request.key.id, "start", (epoch, seq), detail, now=now)
        return self.issue(db, Receipt(request.key.id, epoch, seq, head, RECEIVED, now))

    def put_config(self, gateway: bytes, envelope: bytes, profiles: Sequence[bytes], now: int) -> bool:
        """Take the next site configuration of a gateway; False when it is held already.

        EnrolmentError for an unknown or revoked gateway, SignatureError unless its technician signed, ChainError unless
        it follows the newest, ConflictError for a second one of a number, ConfigError when it is not usable.
        """
        known = self.gateway(gateway)
        if known is None or known.revoked:
            raise EnrolmentError(f"found gateway {gateway.hex()}, expected one that is enrolled")
        site = siteconfig.open_site(envelope, known.technician)
        digest = siteconfig.digest(envelope)
        with self.writing() as db:
            held = dict(db.execute("SELECT number, digest FROM configs WHERE gateway = ?", (gateway,)))
            if held.get(site.number) == digest:
                return False
            if site.number in held:
                raise ConflictError(f"found another configuration {site.number}, expected the one held")
            if site.number < max(held):
                raise ChainError(f"found configuration {site.number}, expected a number above {max(held)}")
            if site.previous != held[max(held)]:
                raise ChainError(f"found a configuration after {site.previous.hex()}, expected {held[max(held)].hex()}")
            _check_usable(site, profiles, known.site)
            _insert_config(db, Configuration(gateway, site.number, digest, envelope, site.valid_from, now))
            _insert_profiles(db, _named(site, profiles))
            return True

    def revoke(self, gateway: bytes, reason: str, at: int) -> None:
        """Take nothing more from a gateway; EnrolmentError when it is unknown."""
        with self.writing() as db:
            done = db.execute(
                "UPDATE gateways SET revoked_at = iif(typeof(revoked_at) = 'integer', revoked_at, ?), reason = ?"
                " WHERE gateway = ?",
                (at, reason, gateway),
            )
            if done.rowcount == 0:
                raise EnrolmentError(f"found gateway {gateway.hex()}, expected one that is enrolled")

    def bar(self, gateway: bytes, reason: str, at: int) -> None:
        """Never take in a gateway that is not enrolled here."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO barred VALUES (?,?,?)", (gateway, at, reason))

    def sites(self) -> list[str]:
        """Every site that a gateway is enrolled for, in order."""
        with self.reading() as db:
            rows = db.execute("SELECT DISTINCT site FROM gateways ORDER BY site")
            return [site for (site,) in rows if isinstance(site, str)]

    def gateways_of(self, site: str) -> list[Gateway]:
        """The gateways enrolled for a site, by id."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {GATEWAY_COLUMNS} FROM gateways WHERE site = ? ORDER BY gateway", (site,))
            return [Gateway.read(row) for row in rows]

    def gateways(self) -> list[Gateway]:
        """Every gateway, by site."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {GATEWAY_COLUMNS} FROM gateways ORDER BY site, gateway")
            return [Gateway.read(row) for row in rows]

    def gateway(self, gateway: bytes) -> Gateway | None:
        """One gateway by its id."""
        with self.reading() as db:
            row = db.execute(f"SELECT {GATEWAY_COLUMNS} FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
            return Gateway.read(row) if row else None

    def gateways_of_technician(self, envelope: bytes) -> list[bytes]:
        """The gateways whose configurations are signed by the key this envelope names; EncodingError."""
        kid = kid_of(envelope)
        return [row.id for row in self.gateways() if not row.revoked and row.technician.kid == kid]

    def set_up(self, after: int) -> tuple[int, set[bytes]]:
        """The gateways that were enrolled or set up anew behind this fact, and the number of the newest one."""
        with self.reading() as db:
            (last,) = db.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()
            query = "SELECT gateway FROM facts WHERE id > ? AND id <= ? AND kind IN ('enrolment', 'configuration')"
            return last, {bytes(row[0]) for row in db.execute(query, (after, last))}

    def configurations(self, gateway: bytes) -> list[Configuration]:
        """The signed configurations of a gateway, by number; RottenError."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {CONFIG_COLUMNS} FROM configs WHERE gateway = ? ORDER BY number", (gateway,))
            return [typed.of(Configuration, row) for row in rows]

    def configuration(self, gateway: bytes, number: int | None = None) -> Configuration | None:
        """One configuration, the newest when no number is given."""
        with self.reading() as db:
            return self.config(db, gateway, number)

    def profile(self, digest: bytes) -> bytes | None:
        """The profile file with this SHA-256."""
        with self.reading() as db:
            row = db.execute("SELECT source FROM profiles WHERE digest = ?", (digest,)).fetchone()
            return octets(row[0]) if row else None

    def installation(self, gateway: bytes, number: int | None = None) -> Installation | None:
        """A configuration made usable, the newest when no number is given."""
        with self.reading() as db:
            config = self.config(db, gateway, number)
            return self.installed(db, config) if config else None

    def config(self, db: sqlite3.Connection, gateway: bytes, number: int | None = None) -> Configuration | None:
        """One configuration as this connection sees it, the newest when no number is given."""
        where = "gateway = ? ORDER BY number DESC LIMIT 1" if number is None else "gateway = ? AND number = ?"
        values = (gateway,) if number is None else (gateway, number)
        row = db.execute(f"SELECT {CONFIG_COLUMNS} FROM configs WHERE {where}", values).fetchone()
        return typed.near(Configuration, row)[0] if row else None

    def installed(self, db: sqlite3.Connection, config: Configuration) -> Installation:
        """A configuration that is held with its profiles as an installation: made once, then remembered.

        RottenError where one of them is not what its digest is of.
        """
        known = self._installations.get(config.digest)
        if known is None:
            site = rot.open_config(db, config)
            sources = {name: rot.profile(db, digest) for name, digest in site.profiles}
            known = self._installations[config.digest] = install(site.site, sources)
        return known

    @property
    def ours(self) -> PublicKey:
        """The collector's key, by which it knows its own receipts."""
        if self.key is None:
            raise ConfigError(str(self.path), "a store opened without the collector's key", "one opened with it")
        return PublicKey(self.key.algorithm, self.key.spki)

    def sign(self, receipt: Receipt) -> bytes:
        """A receipt as it is given out, kept nowhere."""
        if self._signer is None:
            raise ConfigError(str(self.path), "a store opened without the collector's key", "one opened with it")
        return sign_receipt(receipt, self._signer)

    def issue(self, db: sqlite3.Connection, receipt: Receipt, before: Issued | None = None) -> bytes:
        """Sign a receipt and keep it in this transaction: it may leave only after the commit. ``before``: what was
        issued of its gateway and level, where that is known; it moves on.
        """
        envelope = self.sign(receipt)
        receipts.issue(db, receipt, envelope, before or receipts.issued(db, receipt.gateway, receipt.level))
        return envelope

    def _try(self, invite: invites.Invite, now: int) -> None:
        """Count a try before the secret is compared, in a transaction of its own, and take it back when the secret
        fits; EnrolmentError when it does not.
        """
        with self.writing() as db:
            row = db.execute(
                "SELECT secret_hash, salt, expires_at, tries FROM invites WHERE invite = ?", (invite.id,)
            ).fetchone()
            if row is None:
                raise EnrolmentError(f"found no invitation {invite.id}, expected a code this collector gave out")
            secret_hash, salt, expires_at, tries = row
            if now >= expires_at:
                raise EnrolmentError(f"the code {invite.id}-… has expired, expected a new one")
            if tries >= MOST_TRIES:
                raise EnrolmentError(f"the code {invite.id}-… was tried wrongly {tries} times, expected a new one")
            db.execute("UPDATE invites SET tries = tries + 1 WHERE invite = ?", (invite.id,))
        if not hmac.compare_digest(_hash(invite.secret, salt), secret_hash):
            raise EnrolmentError(f"the code {invite.id}-… is wrong, expected the one that was given out")
        with self.writing() as db:
            db.execute("UPDATE invites SET tries = tries - 1 WHERE invite = ?", (invite.id,))

    def _check_unused(self, invite: invites.Invite, enrolment: bytes) -> None:
        """EnrolmentError when the code has been used, but for the same request once more."""
        with self.reading() as db:
            (used_by,) = db.execute("SELECT used_by FROM invites WHERE invite = ?", (invite.id,)).fetchone()
            again = "SELECT 1 FROM gateways WHERE gateway = ? AND enrolment = ?"
            if used_by is not None and db.execute(again, (used_by, enrolment)).fetchone() is None:
                raise _used(invite)

    def _welcome_back(self, db: sqlite3.Connection, brought: "Brought", now: int, *, goes_on: bool) -> bytes:
        request, enrolment = brought.request, hashlib.sha256(brought.enrolment).digest()
        if goes_on:
            late_start.go_on(db, request.key.id, brought.start, now)
        epoch, seq, head = late_start.answered(db, request.key.id, enrolment, brought.start, brought.oldest)
        issued = receipts.opening(db, request.key.id, (epoch, seq))
        return issued or self.issue(db, Receipt(request.key.id, epoch, seq, head, RECEIVED, request.at))


@dataclass(frozen=True, slots=True)
class Brought:
    """What a gateway brings to be enrolled, checked. ``start``: where its chain begins, when not at its first block;
    ``oldest``: the hash of the block there.
    """

    enrolment: bytes
    request: Enrolment
    config: bytes
    site: SiteConfig
    profiles: tuple[bytes, ...]
    start: Start | None
    oldest: bytes


def open_brought(enrolment: bytes, config: bytes, profiles: Sequence[bytes], oldest: bytes | None) -> Brought:
    """What a gateway brings; SignatureError, EncodingError, ChainError, ConfigError on what cannot be.

    ``oldest``: the envelope of the oldest block that it holds, signed by it as any other; None: its first.
    """
    request = enrolments.open_enrolment(enrolment)
    site = siteconfig.open_site(config, request.technician)
    _check_request(request, site, config, profiles)
    start = None
    if oldest is not None:
        header = open_header(oldest, request.key)
        if header.gateway != request.key.id:
            raise ChainError(f"found a block of {header.gateway.hex()}, expected {request.key.id.hex()}")
        if (header.epoch, header.seq) != (0, 0):
            start = (header.epoch, header.seq, header.previous)
    first = hashlib.sha256(oldest or b"").digest()
    return Brought(enrolment, request, config, site, tuple(profiles), start, first)


def _check_known(brought: Brought, known: tuple[bytes, int | None]) -> None:
    """A gateway that is enrolled already comes with the same request, and is not revoked; EnrolmentError."""
    held, revoked_at = known
    if revoked_at is not None:
        raise EnrolmentError(f"gateway {brought.request.key.id.hex()} is revoked, expected another key")
    if held != brought.enrolment:
        raise EnrolmentError(f"gateway {brought.request.key.id.hex()} is enrolled already with another request")


def _used(invite: invites.Invite) -> EnrolmentError:
    return EnrolmentError(f"the code {invite.id}-… has been used, expected a new one")


def _check_request(request: Enrolment, site: SiteConfig, config: bytes, profiles: Sequence[bytes]) -> None:
    """What the request says of its configuration must be so."""
    if siteconfig.digest(config) != request.site_config:
        raise ChainError(
            f"found a configuration {siteconfig.digest(config).hex()}, expected {request.site_config.hex()}"
        )
    if site.number < 1 or (site.number == 1) != (site.previous == siteconfig.NO_PREVIOUS):
        raise ChainError(
            f"found configuration {site.number} after {site.previous.hex()}, expected number 1 after 32 zero bytes,"
            " or a higher one after another"
        )
    _check_usable(site, profiles, request.site_id)


def _check_usable(site: SiteConfig, profiles: Sequence[bytes], site_id: str) -> None:
    installation = install(site.site, _named(site, profiles))
    if installation.site.site.id != site_id:
        raise ConfigError("site.toml: site.id", repr(installation.site.site.id), repr(site_id))


def _named(site: SiteConfig, profiles: Sequence[bytes]) -> dict[str, bytes]:
    """The profile files by the ids under which the signed configuration names their digests."""
    brought = {hashlib.sha256(source).digest(): source for source in profiles}
    for name, digest in site.profiles:
        if digest not in brought:
            raise ConfigError(f"profile {name}", "no file with this SHA-256", digest.hex())
    return {name: brought[digest] for name, digest in site.profiles}


def insert_gateway(
    db: sqlite3.Connection, request: Enrolment, enrolment: bytes, now: int, start: Start | None = None
) -> None:
    """A gateway whose chain stands at its beginning: behind its enrolment, or where its gateway's blocks start."""
    epoch, seq, head = start or (0, 0, hashlib.sha256(enrolment).digest())
    db.execute(
        "INSERT INTO gateways (gateway, algorithm, spki, technician_algorithm, technician_spki, site, custody,"
        " enrolment, enrolled_at, epoch, next_seq, head) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(request.key.id, request.algorithm, request.spki, request.technician_algorithm, request.technician_spki),
            *(request.site_id, request.custody, enrolment, now, epoch, seq, head),
        ),
    )
    if start is not None:
        row = (request.key.id, *start, now)
        db.execute("INSERT OR REPLACE INTO starts (gateway, epoch, seq, previous, at) VALUES (?,?,?,?,?)", row)


def _insert_config(db: sqlite3.Connection, row: Configuration) -> None:
    values = (row.gateway, row.number, row.digest, row.envelope, row.valid_from, row.received_at)
    db.execute(f"INSERT INTO configs ({CONFIG_COLUMNS}) VALUES (?,?,?,?,?,?)", values)


def _insert_profiles(db: sqlite3.Connection, named: dict[str, bytes]) -> None:
    rows = [(hashlib.sha256(source).digest(), source) for source in named.values()]
    db.executemany("INSERT OR IGNORE INTO profiles VALUES (?,?)", rows)


def _hash(secret: str, salt: bytes) -> bytes:
    """Fifty bits of secret, made dear to guess for whoever holds the file."""
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)
