"""Mends blocks that rotted in the store: from a second copy, or by having their gateways asked for them again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloud import rebook, receipts, rot, segments
from cloud.rebook import Rebooked
from cloud.rot import Place
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ConfigError, RecordError, UnknownNameError
from protocols.record import block, transport
from protocols.record.cose import Signer
from protocols.record.enrolment import open_enrolment


@dataclass(frozen=True, slots=True)
class Damaged:
    """A block whose row is not what was signed. ``hash``: what the chain says it has; ``why``: what was found.

    ``outcome``: ``mended`` from the second copy, ``hash`` where only its stored hash was wrong, ``place`` where its row
    named another place than it was signed for, ``asked`` of its gateway, or ``lost``: nobody can be asked, because the
    gateway is revoked or has no such block.
    """

    gateway: Gateway
    place: Place
    hash: bytes
    why: str
    outcome: str = ""

    def plain(self) -> dict[str, str | int]:
        """As a command tells it."""
        epoch, seq = self.place
        return {
            "gateway": self.gateway.id.hex(),
            "epoch": epoch,
            "seq": seq,
            "outcome": self.outcome,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Mended:
    """What was looked at, and what became of each block that was damaged."""

    blocks: int
    damaged: tuple[Damaged, ...]

    @property
    def left(self) -> int:
        """How many are not put back."""
        return sum(damaged.outcome in ("asked", "lost") for damaged in self.damaged)


def mend(store: Store, copy: Path | None, chosen: str, now: int) -> Mended:
    """Prove every block of the gateways whose ids begin with ``chosen``, and mend those that do not hold.

    It may run beside the collector. ConfigError where ``copy`` is none, UnknownNameError where no id begins so;
    SpoiltError when the file itself is damaged.
    """
    check_copy(copy)
    found: dict[tuple[bytes, Place], tuple[Damaged, bytes]] = {}
    looked_at = 0
    gateways = chosen_of(store, chosen)
    if chosen and not gateways:
        raise UnknownNameError("--gateway", chosen, "the beginning of an id that `tanmeter cloud gateways` lists")
    for gateway in gateways:
        for damaged, frame in _look(store, gateway):
            looked_at += 1
            if damaged is not None:
                found[gateway.id, damaged.place] = damaged, frame
    good = {key: frame for key, (damaged, frame) in found.items() if _holds(damaged, frame)}
    if copy is not None and len(good) < len(found):
        good |= _copied(copy, {key: damaged for key, (damaged, _) in found.items() if key not in good})
    done = [_settle(store, damaged, good.get(key), own, now) for key, (damaged, own) in found.items()]
    return Mended(looked_at, tuple(done))


def check_copy(copy: Path | None) -> None:
    """ConfigError where this is given and no second copy."""
    if copy is not None and not (copy.is_dir() and segments.generations(copy)):
        raise ConfigError(f"--copy {copy}", "no generation of a copy", "the folder given to `serve --copy`")


@dataclass(frozen=True, slots=True)
class Booked:
    """What became of the gateways that were booked anew; ``arrivals``: blocks whose time of arrival was put right."""

    arrivals: int
    rebooked: tuple[Rebooked, ...]

    @property
    def rows(self) -> int:
        """How many rows were put right."""
        return sum(sum(one.rows.values()) for one in self.rebooked)

    @property
    def left(self) -> int:
        """How many gateways could not be booked anew."""
        return sum(bool(one.why) for one in self.rebooked)


def rebook_all(store: Store, key: Signer, copy: Path | None, chosen: str, now: int) -> Booked:
    """Make what is booked of the gateways whose ids begin with ``chosen`` anew; ``store`` is served by nobody else."""
    arrivals = 0 if copy is None else rebook.put_arrivals_right(store, copy, chosen)
    done = [rebook.rebook(store, gateway, key, now) for gateway in chosen_of(store, chosen)]
    return Booked(arrivals, tuple(done))


def chosen_of(store: Store, chosen: str) -> list[Gateway]:
    """The gateways whose ids begin so, each with the key of its enrolment: it may be the row's that has rotted."""
    found = [gateway for gateway in store.gateways() if gateway.id.hex().startswith(chosen.lower())]
    return [gateway if rot.has_its_key(gateway) else _enrolled(gateway) for gateway in found]


def _enrolled(gateway: Gateway) -> Gateway:
    try:
        key = open_enrolment(gateway.enrolment).key
    except RecordError:
        return gateway
    return msgspec.structs.replace(gateway, algorithm=key.algorithm, spki=key.spki) if key.id == gateway.id else gateway


def mend_one(store: Store, gateway: bytes, place: Place, now: int) -> Damaged | None:
    """One block by itself, without a second copy. None: it holds, or it is known not to."""
    found = store.gateway(gateway)
    with store.reading() as db:
        known = rot.is_known(db, gateway, place)
        query = "SELECT hash FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?"
        row = db.execute(query, (gateway, *place)).fetchone()
    if found is None or row is None or known:
        return None
    frame = store.block(gateway, *place) or b""
    damaged = _judge(store, found, place, row[0], frame)
    return None if damaged is None else _settle(store, damaged, frame if _holds(damaged, frame) else None, frame, now)


def _judge(store: Store, gateway: Gateway, place: Place, kept: bytes, frame: bytes) -> Damaged | None:
    try:
        rot.prove(frame, gateway.id, gateway.key, place, kept)
    except (RecordError, *rot.UNREADABLE) as error:
        return Damaged(gateway, place, _linked(store, gateway, place, kept), str(error))
    return None


def _look(store: Store, gateway: Gateway) -> Iterator[tuple[Damaged | None, bytes]]:
    """Every block of a gateway: None where it holds, else what is wrong with it and the bytes that it has."""
    for rows in rot.blocks_of(store, gateway.id):
        for epoch, seq, sha256, _, frame in rows:
            damaged = _judge(store, gateway, (epoch, seq), sha256, frame)
            yield damaged, b"" if damaged is None else frame


def _linked(store: Store, gateway: Gateway, place: Place, kept: bytes) -> bytes:
    """The hash a block must have: what the block after it names, or the head of the chain; else what its row says."""
    if place == (gateway.epoch, gateway.next_seq - 1):
        return gateway.head
    try:
        following = store.block(gateway.id, place[0], place[1] + 1)
        return kept if following is None else block.open_header(transport.unwrap(following)[0], gateway.key).previous
    except (RecordError, *rot.UNREADABLE):
        return kept


def _holds(damaged: Damaged, frame: bytes) -> bool:
    try:
        rot.prove(frame, damaged.gateway.id, damaged.gateway.key, damaged.place, damaged.hash)
    except (RecordError, *rot.UNREADABLE):
        return False
    return True


def _copied(copy: Path, wanted: dict[tuple[bytes, Place], Damaged]) -> dict[tuple[bytes, Place], bytes]:
    """What a second copy holds of these blocks, each proven."""
    found: dict[tuple[bytes, Place], bytes] = {}
    for folder in segments.generations(copy):
        for record in segments.whole(folder):
            if record.kind != segments.BLOCK:
                continue
            gateway, epoch, seq, _, frame = record.fields
            damaged = wanted.get((gateway, (epoch, seq)))
            if damaged is not None and _holds(damaged, frame):
                found[gateway, damaged.place] = frame
    return found


def _settle(store: Store, damaged: Damaged, good: bytes | None, own: bytes, now: int) -> Damaged:
    """Put the block back, or have it asked for; whoever looks into incidents is told either way."""
    gateway, place, signed = damaged.gateway, damaged.place, _signed_for(damaged.gateway, own)
    with store.writing() as db:
        if good is not None:
            outcome = "hash" if good == own else "mended"
            rot.put_back(db, gateway.id, place, damaged.hash, good)
            whence = "its stored hash, by the chain" if good == own else "from the second copy"
            receipts.tell(db, gateway.id, "mended", place, f"{damaged.why}; put back: {whence}", now=now)
        elif signed is not None and signed != place and rot.move(db, gateway.id, place, signed):
            outcome = "place"
            receipts.tell(db, gateway.id, "mended", signed, f"{damaged.why}; put back to its place", now=now)
        elif not _has(gateway, place):
            outcome = "lost"
        else:
            outcome = "lost" if gateway.revoked else "asked"
            if rot.ask(db, gateway.id, place, damaged.hash):
                left = "its gateway is revoked" if gateway.revoked else "its gateway is asked for it again"
                receipts.tell(db, gateway.id, "damaged", place, f"{damaged.why}; {left}", now=now)
    return Damaged(gateway, place, damaged.hash, damaged.why, outcome)


def _has(gateway: Gateway, place: Place) -> bool:
    """Whether there is such a place in its chain."""
    return all(isinstance(number, int) for number in place) and place < (gateway.epoch, gateway.next_seq)


def _signed_for(gateway: Gateway, frame: bytes) -> Place | None:
    """For which place its gateway signed a block; None where it is not whole."""
    try:
        sealed = transport.unpack(frame)
        header = block.open_header(sealed.envelope, gateway.key)
        rot.prove(frame, gateway.id, gateway.key, (header.epoch, header.seq), sealed.hash)
    except (RecordError, *rot.UNREADABLE):
        return None
    return header.epoch, header.seq
