"""Evidence packs: what holds verifies without a server, and whatever was changed is refused by file and rule."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from typer.testing import CliRunner, Result

from cloud import account_commands, config, evidence_commands, statements
from cloud.accounting import factors
from cloud.accounting import period as periods
from cloud.accounting import statement as made
from cloud.accounting.electricity import account
from cloud.accounting.statement import Statement
from cloud.closing import Closer
from cloud.evidence import archive
from cloud.evidence.pack import pack_bytes
from cloud.evidence.verify import verify
from cloud.store import Store
from drivers.installation import install
from protocols import modbus
from protocols.errors import AccountError, EvidenceError
from protocols.record import cbor, invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Fault, Header, Sealed, Track, seal
from protocols.record.cose import ES256, PrivateKey, Signer
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, sign_site
from tests.cloud import tables

DAY = periods.parse("2026-09-22", ZoneInfo("Asia/Shanghai"))
MINUTE = 60_000

PROFILE = tables.profile(
    "test-meter",
    """\
[[points]]
id = "energy_import"
fc = 3
address = 0
type = "u32"
unit = "kWh"
kind = "counter"
scale = 0.01
primary = false
modulus = 10000
max_rate_per_h = 1000
[[points]]
id = "active_power"
fc = 3
address = 2
type = "i16"
unit = "kW"
kind = "gauge"
scale = 0.01
primary = false
""",
    proof=("01 03 00 00 00 03 05 CB", "01 03 06 00 00 30 39 00 64 25 9F"),
).encode()

MAIN = 'role = "purchased"\n[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'
SITE = tables.site(tables.device("M-01", "test-meter", MAIN) + tables.device("M-02", "test-meter", address=2)).encode()


@dataclass
class Box:
    """A gateway in the hand of a test: keys, a chain, and two meters that count 1 and 2 hundredths a reading."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    technician: PrivateKey = field(default_factory=PrivateKey.generate)
    site: bytes = SITE
    profile: bytes = PROFILE
    ct: int = 600
    utc: int = DAY.start - 2 * MINUTE
    epoch: int = 0
    seq: int = 0
    boot: int = 1
    energy: int = 100_000

    def __post_init__(self) -> None:
        self.config = self.configured(1, self.site, NO_PREVIOUS)
        keys = (self.key.algorithm, self.key.spki, self.technician.algorithm, self.technician.spki)
        request = Enrolment(*keys, "plant-7", siteconfig.digest(self.config), 0, self.utc, bytes(16))
        self.enrolment = sign_enrolment(request, self.key)
        self.previous = hashlib.sha256(self.enrolment).digest()
        self.use(1, self.config, self.site)
        self.born = self.utc - 1000

    def configured(self, number: int, site: bytes, previous: bytes) -> bytes:
        profiles = (("test-meter", hashlib.sha256(self.profile).digest()),)
        return sign_site(SiteConfig(number, previous, site, profiles, 0), self.technician)

    def use(self, number: int, envelope: bytes, site: bytes) -> None:
        self.configuration = (number, siteconfig.digest(envelope))
        self.installation = install(site, {"test-meter": self.profile})

    def enrol(self, store: Store) -> None:
        assert store.key is not None
        code = invite.make(hashlib.sha256(self.key.spki).digest(), store.key.spki)
        store.create_invite(code, None, self.utc + MINUTE, self.utc)
        store.enrol(code.format(), self.enrolment, self.config, [self.profile], self.utc)

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        (query,) = self.installation.drivers[device].queries()
        times = range(50, span, 10_000)
        replies = [self.reply(device, self.energy + step * index) for index in range(len(times))]
        track = Track.of(query.request, times, replies)
        counters = Counters.of([track], [])
        return Chunk(device, self.installation.digests[device], (track,), (), counters, None, bytes(16))

    def reply(self, device: int, energy: int) -> bytes:
        body = bytes([device + 1, 3, 6]) + energy.to_bytes(4) + self.ct.to_bytes(2)
        return body + modbus.crc(body).to_bytes(2, "little")

    def block(self, span: int = MINUTE, **changes: Any) -> bytes:
        """The next block, as a frame; ``changes`` are of its header."""
        boots = () if self.seq or self.epoch else (Event(EventKind.BOOT, self.utc, self.utc, "first"),)
        mono = (self.utc - self.born, self.utc - self.born + span)
        header = Header(
            self.key.public.id, self.epoch, self.seq, self.previous, self.boot, mono, (self.utc, self.utc + span),
            ClockState(2, 2, 5, 0), self.configuration, ("0.1", bytes(32)), boots,
        )  # fmt: skip
        chunks = [self.chunk(0, span, 1), self.chunk(1, span, 2)]
        sealed = seal(msgspec.structs.replace(header, **changes), chunks, self.key)
        self.energy += 2 * len(range(50, span, 10_000))
        self.previous, self.seq, self.utc = sealed.hash, self.seq + 1, self.utc + span
        return transport.pack(sealed)

    def deliver(self, store: Store, blocks: int, span: int = MINUTE, **changes: Any) -> None:
        for _ in range(blocks):
            verdicts, *_ = store.append([self.block(span, **changes)], self.utc + 1)
            assert [int(verdict.answer) for verdict in verdicts] == [0], verdicts


class Silent(Box):
    """A gateway whose meters do not answer."""

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        faults = tuple(Fault(at, 0, 1) for at in range(50, span, 10_000))
        return Chunk(
            device, self.installation.digests[device], (), faults, Counters.of((), faults), None, bytes([step] * 16)
        )


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "collector.db", PrivateKey.generate()) as opened:
        yield opened


@pytest.fixture
def box(collector: Store) -> Box:
    """An enrolled gateway that has delivered six minutes over midnight."""
    found = Box()
    found.enrol(collector)
    found.deliver(collector, 6)
    return found


@pytest.fixture
def statement(collector: Store, box: Box) -> Statement:
    return statements.close(collector, "plant-7", DAY, box.utc)


@pytest.fixture
def pack(collector: Store, statement: Statement) -> bytes:
    assert collector.key is not None
    return pack_bytes(collector, collector.key, statement)


def unpacked(pack: bytes) -> dict[str, bytes]:
    files = archive.read(pack)
    return {name: data for name, data in files.items() if name not in (archive.MANIFEST, archive.SIGNATURE)}


def forged(pack: bytes, change: Callable[[dict[str, bytes]], None], signer: Signer | None = None) -> bytes:
    """The pack with its files changed and the manifest signed anew, by a collector of the forger's own."""
    files = unpacked(pack)
    change(files)
    claimed = made.from_json(files["statement.json"])
    return archive.write(archive.seal(files, claimed.reference, claimed.digest, signer or PrivateKey.generate()))


def refused(pack: bytes, *gateways: str) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        verify(pack, gateways)
    return caught.value


def blocks_of(box: Box, files: dict[str, bytes]) -> tuple[str, list[Sealed]]:
    name, frames, at = f"gateways/{box.key.public.id.hex()}/blocks.cborseq", [], 0
    while at < len(files[name]):
        frame, at = cbor.byte_string(files[name], at)
        frames.append(transport.unpack(frame))
    return name, frames


def relaid(sealed: list[Sealed]) -> bytes:
    return b"".join(cbor.encode(transport.pack(block)) for block in sealed)


# ---- what holds ----


def test_an_untouched_pack_holds_and_says_the_figure(pack: bytes, statement: Statement, box: Box) -> None:
    report = verify(pack)
    assert report.statement == statement
    assert [walked.identity.id for walked in report.gateways] == [box.key.public.id.hex()]
    assert report.gateways[0].blocks == 6
    assert report.gateways[0].readings == 6 * 6 * 2 * 2
    assert statement.content.coverage.readings == 4 * 6


def test_the_figure_is_the_registers_times_the_ratio_times_the_factor(statement: Statement) -> None:
    run = statement.content.lines[0].meters[0].runs[0]
    assert run.multiplier == 80
    assert statement.content.kwh == (run.closing.value - run.opening.value) * 80
    assert statement.content.tco2 * 1000 == statement.content.kwh * statement.content.lines[0].factor.value
    assert statement.content.breakdown[0].device == "M-02"


def test_the_tree_ends_in_the_frame_that_was_on_the_wire(pack: bytes, box: Box) -> None:
    report = verify(pack)
    meter = report.statement.content.lines[0].meters[0]
    for register in (meter.runs[0].opening, meter.runs[-1].closing):
        frame = report.frame(meter.gateway, meter.device, meter.point, register)
        assert frame is not None
        assert frame.value == str(register.value)
        assert int.from_bytes(frame.reply[3:7]) == register.value * 100
        assert frame.request == bytes.fromhex("010300000003" + "05cb")


def test_the_same_version_packs_to_the_same_bytes(collector: Store, statement: Statement, pack: bytes) -> None:
    assert collector.key is not None
    assert pack_bytes(collector, collector.key, statement) == pack


def test_an_older_version_still_packs_and_holds_after_late_data(
    collector: Store, box: Box, statement: Statement
) -> None:
    assert collector.key is not None
    box.deliver(collector, 10)
    newer = statements.close(collector, "plant-7", DAY, box.utc)
    assert (newer.version, newer.supersedes) == (2, 1)
    assert newer.difference is not None
    assert newer.difference.kwh == newer.content.kwh - statement.content.kwh > 0
    for version in (statement, newer):
        assert verify(pack_bytes(collector, collector.key, version)).statement == version
    assert statements.get(collector, statement.reference) == statement


def test_no_new_version_without_a_change(collector: Store, box: Box, statement: Statement) -> None:
    assert statements.close(collector, "plant-7", DAY, box.utc) == statement
    assert statements.live(collector, "plant-7", DAY, box.utc) == statement
    assert [entry.version for entry in statements.versions(collector, statement.id)] == [1]


def test_live_does_not_write(collector: Store, box: Box) -> None:
    assert statements.live(collector, "plant-7", DAY, box.utc).version == 0
    assert statements.listing(collector) == []


def test_a_draft_is_not_packed(collector: Store, box: Box) -> None:
    assert collector.key is not None
    draft = statements.live(collector, "plant-7", DAY, box.utc)
    with pytest.raises(AccountError, match="issued"):
        pack_bytes(collector, collector.key, draft)


def test_a_closed_day_with_a_gap_holds(collector: Store) -> None:
    assert collector.key is not None
    box = Box()
    box.enrol(collector)
    box.deliver(collector, 40, span=15 * MINUTE)
    lost = Event(EventKind.POWER_LOSS, box.utc, box.utc + 8_100_000, "dark")
    back = Event(EventKind.BOOT, box.utc, box.utc + 8_100_000, "dark")
    box.utc, box.boot = box.utc + 8_100_000, 2
    box.deliver(collector, 1, span=15 * MINUTE, events=(lost, back))
    box.deliver(collector, 50, span=15 * MINUTE)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert [gap.kind for gap in closed.content.gaps] == ["estimated"]
    assert closed.content.gaps[0].kwh is not None
    assert closed.content.shares.missing_ms == 0
    assert verify(pack_bytes(collector, collector.key, closed)).statement == closed


def test_a_changed_ratio_holds_from_its_date_and_does_not_reach_back(collector: Store, box: Box) -> None:
    assert collector.key is not None
    site = SITE.replace(
        b'ct = "400/5"', b'ct = "400/5"\n[[device.ratios]]\nfrom = 2026-09-22T00:20:00+08:00\nct = "600/5"'
    )
    envelope = box.configured(2, site, siteconfig.digest(box.config))
    assert store_config(collector, box, envelope)
    box.use(2, envelope, site)
    box.deliver(collector, 40)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    runs = closed.content.lines[0].meters[0].runs
    assert [(str(run.multiplier), run.start[11:16]) for run in runs] == [("80", "00:00"), ("120", "00:20")]
    report = verify(pack_bytes(collector, collector.key, closed))
    assert sorted(report.gateways[0].identity.configurations) == [1, 2]


def store_config(store: Store, box: Box, envelope: bytes) -> bool:
    return store.put_config(box.key.public.id, envelope, [PROFILE], box.utc)


def test_a_later_epoch_brings_the_receipt_it_begins_with(collector: Store, box: Box) -> None:
    assert collector.key is not None
    receipt = collector.receipt(box.key.public.id)
    assert receipt is not None
    box.epoch, box.seq, box.previous, box.boot = 1, 0, hashlib.sha256(receipt).digest(), 2
    box.deliver(collector, 1, events=(Event(EventKind.BOOT, box.utc, box.utc, "store rebuilt"),))
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    pack = pack_bytes(collector, collector.key, closed)
    assert verify(pack).gateways[0].last == (1, 20)
    name = next(name for name in unpacked(pack) if "/receipts/" in name)

    def change(files: dict[str, bytes]) -> None:
        del files[name]

    assert refused(forged(pack, change)).file == name


def test_the_end_of_an_epoch_cannot_be_dropped_below_the_receipt_that_the_next_one_names(
    collector: Store, box: Box
) -> None:
    """The receipt may be older than the newest block of its epoch; what it names must be there."""
    _, receipt, _ = collector.append([box.block()], box.utc)
    assert receipt is not None
    box.deliver(collector, 2)
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()
    box.deliver(collector, 9)
    pack = packed(collector, statements.close(collector, "plant-7", DAY, box.utc))
    assert verify(pack).gateways[0].blocks == 18
    assert collector.key is not None

    def without(*places: int) -> bytes:
        def change(files: dict[str, bytes]) -> None:
            name, sealed = blocks_of(box, files)
            files[name] = relaid([block for index, block in enumerate(sealed) if index not in places])

        return forged(pack, change, collector.key)

    error = refused(without(6, 7, 8))
    assert (error.rule, error.file.rsplit(" ", 1)[1]) == ("chain", "1/0")
    assert "0/6" in str(error)
    assert refused(without(7, 8)).rule == "figures"


def test_a_signed_block_that_cannot_be_is_kept_in_the_chain_and_not_booked(collector: Store, box: Box) -> None:
    assert collector.key is not None
    before = box.boot
    frame = box.block(boot=before + 1)
    verdicts, *_ = collector.append([frame], box.utc)
    assert int(verdicts[0].answer) == 4
    box.boot = before
    box.deliver(collector, 1, events=(Event(EventKind.BOOT, box.utc, box.utc, "again"),), boot=before + 2)
    box.boot = before + 2
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    report = verify(pack_bytes(collector, collector.key, closed))
    assert list(report.gateways[0].refused) == [(0, 6)]


def test_a_block_that_names_another_digest_for_a_configuration_books_nothing(collector: Store, box: Box) -> None:
    own = box.configuration
    box.configuration = (1, bytes(32))
    verdicts, *_ = collector.append([box.block()], box.utc)
    assert int(verdicts[0].answer) == 4
    box.configuration = own
    box.deliver(collector, 10)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert list(report.gateways[0].refused) == [(0, 6)]


def test_a_block_of_a_configuration_that_is_not_in_the_pack_is_refused(pack: bytes, box: Box) -> None:
    box.configuration = (7, bytes(32))

    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        files[name] = relaid([*sealed, transport.unpack(box.block())])

    assert refused(forged(pack, change)).rule == "configuration"


def test_a_chip_key_signs_as_well(collector: Store) -> None:
    assert collector.key is not None
    box = Box(key=PrivateKey.generate(ES256))
    box.enrol(collector)
    box.deliver(collector, 5)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert verify(pack_bytes(collector, collector.key, closed)).statement == closed


def test_the_gateway_on_the_label_can_be_asked_for(pack: bytes, box: Box) -> None:
    own = box.key.public.id.hex()
    assert verify(pack, [own.upper()]).gateways[0].identity.id == own
    assert refused(pack, "00" * 16).rule == "gateway"
    assert refused(pack, own, "00" * 16).rule == "gateway"


# ---- what was changed ----


def test_every_single_changed_byte_is_refused_with_its_file(pack: bytes, deep: Callable[[int, int], int]) -> None:
    """Every byte in the proof; every day one of five."""
    names = set(archive.read(pack)) | {"archive"}
    for at in range(0, len(pack), deep(1, 5)):
        altered = bytearray(pack)
        altered[at] ^= 1 << at % 8
        error = refused(bytes(altered))
        assert error.exit_code == 4
        assert error.file in names or error.rule == "archive", (at, error)


def test_every_bit_around_the_heads_of_the_archive_is_refused(pack: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(pack)) as held:
        starts = [entry.header_offset for entry in held.infolist()]
        tail = held.start_dir
    places = {at for start in starts for at in range(start, start + 46)} | set(range(tail, len(pack), 3))
    for at in sorted(places):
        for bit in (0, 3, 6, 7):
            altered = bytearray(pack)
            altered[at] ^= 1 << bit
            refused(bytes(altered))


@pytest.mark.parametrize("cut", [0, 1, 22, 1000, -1, -22])
def test_a_pack_cut_short_is_refused(pack: bytes, cut: int) -> None:
    assert refused(pack[:cut]).rule == "archive"


def test_bytes_after_or_before_the_pack_are_refused(pack: bytes) -> None:
    assert refused(pack + b"\0").rule == "archive"
    assert refused(b"\0" + pack).rule == "archive"


def test_a_changed_figure_under_a_new_manifest_signature(pack: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        claimed = made.from_json(files["statement.json"])
        content = msgspec.structs.replace(claimed.content, tco2=claimed.content.tco2 / 2)
        better = msgspec.structs.replace(claimed, content=content, digest=made.digest(content))
        files["statement.json"] = made.to_json(better)

    error = refused(forged(pack, change))
    assert (error.file, error.rule) == ("statement.json", "figures")
    assert "tco2" in str(error)


def test_a_block_dropped_from_the_chain(pack: bytes, box: Box) -> None:
    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        files[name] = relaid(sealed[:2] + sealed[3:])

    error = refused(forged(pack, change))
    assert error.rule == "chain"
    assert "0/3" in error.file


def test_blocks_dropped_from_the_end_change_the_figure(pack: bytes, box: Box) -> None:
    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        files[name] = relaid(sealed[:-1])

    assert refused(forged(pack, change)).rule == "figures"


def test_a_chunk_altered_and_packed_again(pack: bytes, box: Box) -> None:
    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        leaf = sealed[4].chunks[0]
        chunk = Chunk.from_bytes(leaf)
        replies = [box.reply(0, 1) for _ in chunk.tracks[0].times]
        better = replace(chunk, tracks=(Track.of(chunk.tracks[0].request, chunk.tracks[0].times, replies),))
        sealed[4] = Sealed(sealed[4].envelope, (better.to_bytes(), *sealed[4].chunks[1:]))
        files[name] = relaid(sealed)

    error = refused(forged(pack, change))
    assert error.rule == "tree"
    assert "0/4" in error.file


def test_a_block_signed_by_another_key(pack: bytes, box: Box) -> None:
    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        stranger = Box(site=box.site)
        sealed[3] = transport.unpack(stranger.block())
        files[name] = relaid(sealed)

    error = refused(forged(pack, change))
    assert error.rule == "signature"
    assert "block 3" in error.file


def test_a_block_of_another_history_of_the_same_gateway(pack: bytes, box: Box) -> None:
    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        other = Box(key=box.key, technician=box.technician, energy=5)
        sealed[0] = transport.unpack(other.block())
        files[name] = relaid(sealed)

    assert refused(forged(pack, change)).rule == "chain"


@pytest.mark.parametrize("own", [True, False])
def test_a_changed_ratio_in_the_site_file(pack: bytes, box: Box, own: bool) -> None:
    """Whoever signs it: not the technician, or the technician himself afterwards."""

    def change(files: dict[str, bytes]) -> None:
        name = f"gateways/{box.key.public.id.hex()}/configs/0001.cose"
        site = SITE.replace(b"400/5", b"200/5")
        signer = box if own else Box()
        files[name] = signer.configured(1, site, NO_PREVIOUS)

    error = refused(forged(pack, change))
    assert error.rule == "configuration"
    assert error.file.endswith("configs/0001.cose")


def test_a_swapped_profile(pack: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = next(name for name in files if "/profiles/" in name)
        files[name] = files[name].replace(b"scale = 0.01", b"scale = 0.001")

    error = refused(forged(pack, change))
    assert error.rule == "profile"


def test_a_changed_factor(pack: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = "factors/cn-grid-2023.toml"
        files[name] = files[name].replace(b'value = "0.5306"', b'value = "0.1306"')
        claimed = made.from_json(files["statement.json"])
        sources = {name.removeprefix("factors/"): files[name] for name in files if name.startswith("factors/")}
        content = msgspec.structs.replace(claimed.content, factor_set=factors.load(sources).sha256)
        files["statement.json"] = made.to_json(
            msgspec.structs.replace(claimed, content=content, digest=made.digest(content))
        )

    error = refused(forged(pack, change))
    assert (error.file, error.rule) == ("factors/cn-grid-2023.toml", "factor")
    assert "0.5306" in str(error)


def test_a_newer_factor_left_out_is_told(collector: Store, box: Box) -> None:
    earlier = factors.load({name: data for name, data in factors.builtin().files.items() if "2023" not in name})
    closed = statements.close(collector, "plant-7", DAY, box.utc, earlier)
    assert closed.content.lines[0].factor.id == "cn.grid.national@2022"
    report = verify(packed(collector, closed))
    assert [factor.id for factor in report.better] == ["cn.grid.national@2023"]
    newer = statements.close(collector, "plant-7", DAY, box.utc)
    assert newer.difference is not None
    assert newer.difference.tco2 == newer.difference.tco2_by_factor != 0
    assert verify(packed(collector, newer)).better == ()


def test_another_site_under_the_same_blocks(pack: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        claimed = made.from_json(files["statement.json"])
        content = msgspec.structs.replace(claimed.content, site="plant-8")
        files["statement.json"] = made.to_json(
            msgspec.structs.replace(claimed, id="E-plant-8-2026-09-22", content=content, digest=made.digest(content))
        )

    assert refused(forged(pack, change)).rule == "enrolment"


def test_a_file_too_many_and_a_file_too_few(pack: bytes, box: Box) -> None:
    def add(files: dict[str, bytes]) -> None:
        files["gateways/notes.txt"] = b"trust me"

    def remove(files: dict[str, bytes]) -> None:
        del files[f"gateways/{box.key.public.id.hex()}/enrolment.cose"]

    def hide(files: dict[str, bytes]) -> None:
        files[f"gateways/{box.key.public.id.hex()}/configs/notes.txt"] = b"trust me"

    for change in (add, remove, hide):
        refused(forged(pack, change))


def test_a_manifest_signed_by_somebody_else_for_the_collector(pack: bytes) -> None:
    files = archive.read(pack)
    stranger = PrivateKey.generate()
    other = archive.read(forged(pack, lambda _: None, stranger))
    files[archive.SIGNATURE] = other[archive.SIGNATURE]
    assert refused(archive.write(files)).file == archive.SIGNATURE


def test_an_honest_pack_signed_by_another_collector_rests_on_the_gateway_alone(pack: bytes) -> None:
    stranger = PrivateKey.generate()
    report = verify(forged(pack, lambda _: None, stranger))
    assert report.manifest.key.spki == stranger.spki


@pytest.mark.parametrize(("basis", "region"), [("average", "yunnan"), ("fossil", "national")])
def test_the_rule_for_the_factor_is_not_the_collectors_to_choose(
    pack: bytes, collector: Store, monkeypatch: pytest.MonkeyPatch, basis: factors.Basis, region: str
) -> None:
    """A pack made by another rule holds in all its numbers, for whoever asks for that rule and for nobody else."""
    other = partial(account, basis=basis, region=region)
    monkeypatch.setattr(statements, "account", other)
    lie = statements.live(collector, "plant-7", DAY, made_at(pack))

    def change(files: dict[str, bytes]) -> None:
        first = msgspec.structs.replace(lie, version=1, supersedes=None, difference=None)
        files["statement.json"] = made.to_json(first)

    error = refused(forged(pack, change))
    assert (error.file, error.rule) == ("statement.json", "factor")
    assert f"{basis}, {region}" in str(error)
    assert verify(forged(pack, change), basis=basis, region=region).statement.content == lie.content


def made_at(pack: bytes) -> int:
    return periods.instant(made.from_json(unpacked(pack)["statement.json"]).minted_at)


@pytest.mark.parametrize(
    "name", ["enrolment.cose.exe", "profiles/../../x", "receipts/anything", "receipts/", "blocks.cborseq.old"]
)
def test_nothing_rides_along_in_a_gateways_folder(pack: bytes, box: Box, name: str) -> None:
    name = f"gateways/{box.key.public.id.hex()}/{name}"
    error = refused(forged(pack, lambda files: files.update({name: b"MZ"})))
    assert (error.file, error.rule) == (name, "archive")


def test_the_readme_is_the_one_that_every_pack_has(pack: bytes) -> None:
    for text in (None, b"install trust-me"):

        def change(files: dict[str, bytes], text: bytes | None = text) -> None:
            del files["README.txt"]
            files |= {} if text is None else {"README.txt": text}

        assert refused(forged(pack, change)).file == "README.txt"


# ---- by itself ----


def test_verifying_needs_no_server_no_database_and_no_numbers_library(pack: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(pack)
    script = (
        "import sys\nfrom pathlib import Path\nfrom cloud.evidence.verify import verify\n"
        "print(verify(Path(sys.argv[1])).statement.reference)\n"
        "heavy = {'fastapi', 'numpy', 'sqlite3', 'httpx', 'socket', 'starlette', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "E-plant-7-2026-09-22@1\n"


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04", b"hello"):
        assert refused(data).rule == "archive"
    with pytest.raises(EvidenceError, match="archive"):
        verify(tmp_path / "nowhere.zip")


# ---- at the command line ----


def run(*arguments: str, language: str = "en") -> Result:
    return CliRunner().invoke(evidence_commands.evidence, arguments, env={"TANMETER_LANG": language})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A collector's data folder with a gateway that has delivered six minutes."""
    folder = tmp_path / "data"
    with config.open_store(folder, config.create_key(folder)) as store:
        box = Box()
        box.enrol(store)
        box.deliver(store, 6)
    return folder


def test_pack_then_verify_shows_the_way_from_the_tonne_to_the_frame(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    made_ = run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data), "--json")
    assert json.loads(made_.stdout)["statement"] == "E-plant-7-2026-09-22@1"
    for language, word in (("en", "opening"), ("zh", "起码")):
        shown = run("verify", str(out), language=language)
        assert shown.exit_code == 0
        for part in (word, "cn.grid.national@2023", "0.5306", "← 01 03 06", "公告2025年第47号"):
            assert part in shown.stdout
    report = json.loads(run("verify", str(out), "--json").stdout)
    assert report["ok"] is True
    assert report["gateways"][0]["blocks"] == 6


def test_a_changed_pack_exits_with_4_and_its_name(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    run("pack", "E-plant-7-2026-09-22", "-o", str(out), "--data", str(data))
    altered = bytearray(out.read_bytes())
    altered[altered.index(b"blocks.cborseq") + 200] ^= 1
    out.write_bytes(altered)
    shown = run("verify", str(out), "--json")
    assert shown.exit_code == 4
    told = json.loads(shown.stdout)
    assert told["ok"] is False
    assert told["error"]["file"].endswith("blocks.cborseq")
    assert run("verify", str(out)).exception.exit_code == 4  # type: ignore[union-attr]


def test_close_list_and_explain(data: Path) -> None:
    runner = CliRunner()

    def ask(*arguments: str) -> str:
        done = runner.invoke(account_commands.account, [*arguments, "--data", str(data)], env={"TANMETER_LANG": "zh"})
        assert done.exit_code == 0, done.output
        return done.stdout

    first = json.loads(ask("close", "plant-7", "2026-09-22", "--json"))
    again = json.loads(ask("close", "plant-7", "2026-09-22", "--json"))
    assert first == again
    assert json.loads(ask("list", "--json")) == first
    assert "E-plant-7-2026-09-22@1" in ask("list")
    assert "止码" in ask("explain", "E-plant-7-2026-09-22")
    explained = json.loads(ask("explain", "E-plant-7-2026-09-22@1", "--json"))
    assert explained["result"] == {"value": first["tco2"], "unit": "tCO2"}
    assert explained["inputs"][0]["meters"][0]["runs"][0]["opening"]["seq"] == 2
    assert explained["inputs"][1]["factor"] == "cn.grid.national@2023"


# ---- versions from the store ----


def packed(store: Store, statement: Statement) -> bytes:
    assert store.key is not None
    return pack_bytes(store, store.key, statement)


def closed(closer: Closer, now: int) -> list[Statement]:
    """What is closed of the day that the tests are about."""
    found = [statement for site in closer.waiting(now) for statement in closer.close(site, now)]
    return [statement for statement in found if statement.content.period.id == DAY.id]


def test_a_day_of_which_nothing_is_known_is_tried_again_when_something_of_it_comes(collector: Store) -> None:
    box = Box()
    box.enrol(collector)
    closer = Closer(collector)
    assert closed(closer, DAY.end + 2 * 60 * MINUTE) == []
    assert closer.waiting(DAY.end + 2 * 60 * MINUTE) == []
    box.deliver(collector, 110, span=15 * MINUTE)
    found = closed(closer, DAY.end + 8 * 60 * MINUTE)
    assert [one.id for one in found] == ["E-plant-7-2026-09-22"]


def test_a_day_is_closed_by_itself_and_again_when_late_data_changes_it(collector: Store) -> None:
    box = Box()
    box.enrol(collector)
    box.deliver(collector, 80, span=15 * MINUTE)
    closer = Closer(collector)
    assert closed(closer, DAY.end + MINUTE) == []
    (first,) = closed(closer, DAY.end + 2 * 60 * MINUTE)
    assert (first.id, first.version) == ("E-plant-7-2026-09-22", 1)
    assert "account.missing" in first.content.reasons
    box.deliver(collector, 30, span=15 * MINUTE)
    (second,) = closed(closer, DAY.end + 8 * 60 * MINUTE)
    assert (second.version, second.supersedes) == (2, 1)
    assert second.content.reasons == ("factor.earlier-year",)
    assert second.difference is not None
    assert second.difference.tco2 == second.content.tco2 - first.content.tco2 > 0
    assert second.difference.tco2_by_factor == 0
    assert closed(closer, DAY.end + 8 * 60 * MINUTE) == []
    assert [entry.version for entry in statements.versions(collector, first.id)] == [1, 2]
    for version in (first, second):
        assert verify(packed(collector, version)).statement == version


def test_a_month_is_the_sum_of_its_days_and_holds(collector: Store) -> None:
    box = Box(utc=periods.parse("2026-09-29", DAY.zone).start)
    box.enrol(collector)
    box.deliver(collector, 2 * 96 + 4, span=15 * MINUTE)
    month = statements.close(collector, "plant-7", "2026-09", box.utc)
    days = [statements.close(collector, "plant-7", day, box.utc) for day in ("2026-09-29", "2026-09-30")]
    assert month.content.kwh == sum(day.content.kwh for day in days)
    assert month.content.tco2 == sum(day.content.tco2 for day in days)
    assert month.content.gaps[0].kind == "missing"
    assert verify(packed(collector, month)).statement == month


def test_two_gateways_of_one_site_are_one_account(collector: Store, box: Box) -> None:
    second = Box(energy=7_000)
    second.enrol(collector)
    second.deliver(collector, 6)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    amounts = [meter.kwh for meter in closed.content.lines[0].meters]
    assert len(amounts) == 2
    assert closed.content.kwh == sum(amount for amount in amounts if amount)
    pack = packed(collector, closed)
    one, two = box.key.public.id.hex(), second.key.public.id.hex()
    for labels in ((), (one, two), (two, one, two)):
        assert len(verify(pack, labels).gateways) == 2
    assert refused(pack, one).rule == refused(pack, two).rule == "gateway"


def test_a_gateway_hidden_from_the_pack_changes_the_figure(collector: Store, box: Box) -> None:
    second = Box()
    second.enrol(collector)
    second.deliver(collector, 6)
    pack = packed(collector, statements.close(collector, "plant-7", DAY, box.utc))

    def change(files: dict[str, bytes]) -> None:
        for name in [name for name in files if second.key.public.id.hex() in name]:
            del files[name]

    assert refused(forged(pack, change)).rule == "figures"


def test_a_new_role_counts_from_its_configuration_on(collector: Store, box: Box) -> None:
    box.deliver(collector, 11)
    site = SITE.replace(b'address = "2"\n', b'address = "2"\nrole = "purchased"\n')
    envelope = box.configured(2, site, siteconfig.digest(box.config))
    assert store_config(collector, box, envelope)
    box.use(2, envelope, site)
    box.deliver(collector, 30)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    meters = {
        (meter.device, meter.role): meter for meter in (*closed.content.lines[0].meters, *closed.content.breakdown)
    }
    assert set(meters) == {("M-01", "purchased"), ("M-02", "purchased"), ("M-02", "sub")}
    assert meters["M-02", "sub"].runs[-1].end == meters["M-02", "purchased"].runs[0].start
    assert verify(packed(collector, closed)).statement == closed


def test_a_configuration_that_no_block_used_does_not_reach_back(collector: Store, box: Box) -> None:
    silent = Silent()
    silent.enrol(collector)
    silent.deliver(collector, 6)
    first = statements.close(collector, "plant-7", DAY, box.utc)
    assert [meter.kwh is None for meter in first.content.lines[0].meters].count(True) == 1
    site = SITE.replace(b'role = "purchased"', b'role = "sub"')
    assert store_config(collector, silent, silent.configured(2, site, siteconfig.digest(silent.config)))
    assert statements.close(collector, "plant-7", DAY, box.utc) == first
    assert verify(packed(collector, first)).statement == first


def test_a_time_zone_that_no_block_used_does_not_move_the_day(collector: Store, box: Box, statement: Statement) -> None:
    site = SITE.replace(b'name = "Plant 7"', b'name = "Plant 7"\ntimezone = "Asia/Urumqi"')
    assert store_config(collector, box, box.configured(2, site, siteconfig.digest(box.config)))
    assert statements.close(collector, "plant-7", "2026-09-22", box.utc) == statement


def test_a_gateway_without_a_block_in_the_period_has_the_roles_it_had_before(collector: Store, box: Box) -> None:
    """The configuration in force at midnight: not the first one, and not a later one that no block used."""
    before = Box(utc=DAY.start - 30 * MINUTE)
    before.enrol(collector)
    before.deliver(collector, 1)
    previous = before.config
    for number, role in ((2, b"sub"), (3, b"purchased")):
        site = SITE.replace(b'role = "purchased"', b'role = "%s"' % role)
        previous = before.configured(number, site, siteconfig.digest(previous))
        assert store_config(collector, before, previous)
        if number == 2:
            before.use(2, previous, site)
            before.deliver(collector, 1)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert [meter.gateway for meter in closed.content.lines[0].meters] == [box.key.public.id.hex()]
    assert len(closed.content.breakdown) == 3
    pack = packed(collector, closed)
    report = verify(pack)
    assert report.statement == closed
    walked = next(walked for walked in report.gateways if walked.identity.id == before.key.public.id.hex())
    assert (walked.blocks, sorted(walked.identity.configurations)) == (1, [1, 2])


def test_a_count_that_begins_again_within_the_day_holds(collector: Store, box: Box) -> None:
    box.deliver(collector, 14)
    box.energy = 17
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    (meter,) = closed.content.lines[0].meters
    assert [(run.quality, run.kwh is None) for run in meter.runs] == [
        ("measured", False),
        ("suspect", True),
        ("measured", False),
    ]
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert {turn.kind for turn in report.gateways[0].turns} == {"reset"}
    told = collector.incidents()
    assert [incident.kind for incident in told] == ["reset", "reset"]
    assert any("M-01.energy_import: found 0.17 (2026-09-2" in incident.detail for incident in told)


def test_a_ratio_register_that_changed_within_the_day_is_known_to_the_pack(collector: Store) -> None:
    """The pack begins with the block in which the register was last read before the day."""
    setting = PROFILE.replace(
        b'unit = "kW"\nkind = "gauge"\nscale = 0.01\nprimary = false', b'unit = "1"\nkind = "config"'
    )
    setting = setting.replace(b"address = 2", b'address = 2\naffects = ["energy_import"]')
    box = Box(profile=setting, utc=DAY.start - 90 * MINUTE)
    box.enrol(collector)
    box.deliver(collector, 92)
    box.ct = 800
    box.deliver(collector, 3)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    (meter,) = closed.content.lines[0].meters
    before, after = meter.runs
    assert before.closing != after.opening
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert report.gateways[0].blocks < 95
    assert {(turn.kind, turn.before.value, turn.after.value) for turn in report.gateways[0].turns} == {
        ("ratio", 600, 800)
    }
    assert {incident.kind for incident in collector.incidents()} == {"ratio"}


def test_a_site_nobody_knows_has_no_account(collector: Store, box: Box) -> None:
    with pytest.raises(AccountError, match="plant-9"):
        statements.close(collector, "plant-9", "2026-09-22", box.utc)
    with pytest.raises(AccountError, match="plant-9"):
        statements.split(collector, "E-plant-9-2026-09-22")
    with pytest.raises(AccountError, match="no consumption"):
        statements.close(collector, "plant-7", "2026-09-01", box.utc)
