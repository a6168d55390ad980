"""Makes a pack: all that one version of a statement rests on, out of the store, in a file that anyone can check."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from cloud import formers
from cloud.accounting import factors, statement
from cloud.accounting.factors import FactorSet
from cloud.accounting.meters import ENERGY
from cloud.accounting.period import instant
from cloud.accounting.statement import Meter, Statement
from cloud.evidence import archive
from cloud.evidence.chain import BLOCKS, COLLECTORS, Place
from cloud.evidence.identity import ROOT
from cloud.evidence.verify import FACTORS, README, STATEMENT, readme
from cloud.rows import Block, Configuration, Gateway
from cloud.store import Store
from protocols.errors import AccountError
from protocols.record import block, cbor, siteconfig, transport
from protocols.record.cose import Signer
from protocols.record.receipt import claimed_receipt

BY_SETTING = ("ratio", "replaced")
"""The states of an interval that a register of the meter's setting brings about."""


def pack(store: Store, signer: Signer, wanted: Statement, out: BinaryIO) -> None:
    """Write the pack of one version; AccountError when it was never issued, or what it needs is not held."""
    out.write(pack_bytes(store, signer, wanted))


def pack_bytes(store: Store, signer: Signer, wanted: Statement) -> bytes:
    """The pack of one version. The same version from the same record makes the same files."""
    row = store.statement(wanted.id, wanted.version)
    if row is None or row.digest != wanted.digest:
        raise AccountError(f"statement {wanted.reference}: found no such version, expected one that was issued (close)")
    files = {
        STATEMENT: statement.to_json(wanted),
        README: readme(),
        **{f"{FACTORS}{name}": source for name, source in _factor_set(wanted).files.items()},
    }
    for gateway_id in sorted({meter.gateway for meter in _meters(wanted)}):
        gateway = store.gateway(bytes.fromhex(gateway_id))
        if gateway is None:
            raise AccountError(f"statement {wanted.reference}: found no gateway {gateway_id}, expected it to be held")
        files |= dict(_gateway(store, gateway, wanted))
    size = sum(len(data) + 2 * len(name) + 128 for name, data in files.items())
    if size > archive.LIMIT:
        raise AccountError(
            f"statement {wanted.reference}: found {size} bytes of evidence, expected at most 2 GiB: pack its days"
        )
    return archive.write(archive.seal(files, wanted.reference, wanted.digest, signer))


def _factor_set(wanted: Statement) -> FactorSet:
    """The files of the set the statement names. It was made by this edition, or by one that had fewer of them."""
    known = factors.builtin()
    if known.sha256 == wanted.content.factor_set:
        return known
    names = list(known.files)
    for count in range(len(names) - 1, 0, -1):
        held = factors.load({name: known.files[name] for name in names[:count]})
        if held.sha256 == wanted.content.factor_set:
            return held
    found = wanted.content.factor_set
    raise AccountError(f"statement {wanted.reference}: found factor set {found}, expected one this edition has")


def _meters(wanted: Statement) -> list[Meter]:
    content = wanted.content
    return [*(meter for line in content.lines for meter in line.meters), *content.breakdown]


def _gateway(store: Store, gateway: Gateway, wanted: Statement) -> Iterator[tuple[str, bytes]]:
    folder = f"{ROOT}{gateway.id.hex()}/"
    yield f"{folder}enrolment.cose", gateway.enrolment
    held = list(_blocks(store, gateway, wanted))
    configurations = store.configurations(gateway.id)
    newest = max((row.config_number for row, _ in held), default=configurations[0].number)
    for configuration in configurations:
        if configuration.number <= newest:
            yield from _configuration(store, gateway, configuration, folder)
    places = list[Place]()
    for row, frame in held:
        if row.epoch > 0 and row.seq == 0:
            yield from _receipt(store, gateway, frame, folder, places)
        places.append((row.epoch, row.seq))
    if held:
        yield f"{folder}{BLOCKS}", b"".join([cbor.encode(frame) for _, frame in held])


def _blocks(store: Store, gateway: Gateway, wanted: Statement) -> Iterator[tuple[Block, bytes]]:
    """From the block before the period's first register to the one behind its last, as far as the version knew them.

    Where a setting ended a stretch, what the meters said of their settings before is in it; where a block was dated
    later, what dates it.
    """
    places = list(_places(store, gateway, wanted))
    if not places:
        return
    before: Place | None = None
    first = min([*places, *_setting_places(store, gateway, wanted, min(places))])
    found = {first, max(places)} | store.dating_places(gateway.id, {*places, first})
    for row, frame in store.frames(gateway.id, min(found), max(found)):
        if row.ingest_seq <= wanted.as_of:
            if before is not None and row.seq != (before[1] + 1 if row.epoch == before[0] else 0):
                raise _broken(gateway, (row.epoch, row.seq), before, "those between")
            before = (row.epoch, row.seq)
            yield row, frame
    if before is None:
        raise AccountError(f"statement {wanted.reference}: found no block of gateway {gateway.id.hex()}, expected some")


def _places(store: Store, gateway: Gateway, wanted: Statement) -> Iterator[Place]:
    """Blocks that must be in: those of every register, the neighbours' registers, all of the period itself, and the
    one before it, which tells the configuration in force.
    """
    start, end = instant(wanted.content.period.start), instant(wanted.content.period.end)
    for meter in _meters(wanted):
        if meter.gateway != gateway.id.hex():
            continue
        for run in meter.runs:
            yield run.opening.epoch, run.opening.seq
            yield run.closing.epoch, run.closing.seq
        for one in (
            *store.series(gateway.id, meter.device, ENERGY, start - 1, start),
            *store.series(gateway.id, meter.device, ENERGY, end, end + 1),
        ):
            yield one.register_start.epoch, one.register_start.seq
            yield one.register_end.epoch, one.register_end.seq
    before = store.block_before(gateway.id, start, wanted.as_of)
    if before is not None:
        yield before.epoch, before.seq
    within = [row for row in store.blocks_between(gateway.id, start, end) if row.ingest_seq <= wanted.as_of]
    yield from ((row.epoch, row.seq) for row in (within[:1] + within[-1:]))


def _setting_places(store: Store, gateway: Gateway, wanted: Statement, first: Place) -> list[Place]:
    start, end = instant(wanted.content.period.start), instant(wanted.content.period.end)
    devices = {meter.device for meter in _meters(wanted) if meter.gateway == gateway.id.hex()}
    own = [one for device in devices for one in store.series(gateway.id, device, ENERGY, start - 1, end + 1)]
    if not any(one.state in BY_SETTING for one in own):
        return []
    return store.setting_places(gateway.id, first)


def _configuration(
    store: Store, gateway: Gateway, configuration: Configuration, folder: str
) -> Iterator[tuple[str, bytes]]:
    yield f"{folder}configs/{configuration.number:04d}.cose", configuration.envelope
    site = siteconfig.open_site(configuration.envelope, gateway.technician)
    for name, digest in site.profiles:
        source = store.profile(digest)
        if source is None:
            raise AccountError(
                f"gateway {gateway.id.hex()}: found no profile {name}, expected {digest.hex()} to be held"
            )
        yield f"{folder}profiles/{digest.hex()}.toml", source


def _broken(gateway: Gateway, found: Place, before: Place, expected: str) -> AccountError:
    place = f"found block {found[0]}/{found[1]} after {before[0]}/{before[1]}, expected {expected}"
    return AccountError(f"gateway {gateway.id.hex()}: {place}: nobody has them any more, see its incidents")


def _receipt(
    store: Store, gateway: Gateway, frame: bytes, folder: str, before: Sequence[Place]
) -> Iterator[tuple[str, bytes]]:
    """The receipt that the first block of a later epoch names as its predecessor; none where that is the enrolment.
    With one of a collector that the gateway had before goes the gateway's word on its key. ``before``: the blocks of
    the pack before that one; AccountError where the newest one that the receipt says was held is lost.
    """
    header = block.open_header(transport.unpack(frame).envelope, gateway.key)
    named = header.previous
    if named == siteconfig.digest(gateway.enrolment):
        return
    envelope = store.receipt_named(gateway.id, named)
    if envelope is None:
        envelope = formers.named(store, gateway.id, named)
        word = None if envelope is None else formers.word(store, gateway.id, envelope)
        if envelope is None or word is None:
            raise AccountError(
                f"gateway {gateway.id.hex()}: found no receipt {named.hex()}, expected the one an epoch began with:"
                " its gateway shows it when its agent is started next"
            )
        yield f"{folder}{COLLECTORS}{word[0].hex()}.cose", word[1]
    said = claimed_receipt(envelope)
    newest = (said.epoch, said.next_seq - 1)
    if said.next_seq > 0 and before and newest >= before[0] and newest not in before:
        raise _broken(gateway, (header.epoch, header.seq), before[-1], f"{newest[0]}/{newest[1]} and those before it")
    yield f"{folder}receipts/{named.hex()}.cose", envelope
