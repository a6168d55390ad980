"""Evidence packs: whatever was changed is refused by file and rule."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from cloud import statements
from cloud.accounting import factors
from cloud.accounting import period as periods
from cloud.accounting import statement as made
from cloud.accounting.electricity import account
from cloud.evidence import archive
from cloud.evidence.verify import verify
from cloud.store import Store
from protocols.record import cbor, cose, transport
from protocols.record.block import Chunk, Sealed, Track
from protocols.record.cose import PrivateKey
from protocols.record.siteconfig import NO_PREVIOUS
from tests.cloud.box import DAY, SITE, Box
from tests.cloud.evidence.packs import blocks_of, forged, packed, refused, relaid, unpacked


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


def test_a_pack_of_another_version_of_its_format(pack: bytes) -> None:
    files, signer = archive.read(pack), PrivateKey.generate()
    manifest = files[archive.MANIFEST].replace(b'"tanmeter-evidence/1"', b'"tanmeter-evidence/2"')
    manifest = manifest.replace(archive.check(files).key.spki.hex().encode(), signer.spki.hex().encode())
    payload = cbor.encode({0: 1, 1: hashlib.sha256(manifest).digest()})
    signature = cose.sign1(payload, signer, archive.MANIFEST_TYPE, archive.MANIFEST_AAD)
    error = refused(archive.write(files | {archive.MANIFEST: manifest, archive.SIGNATURE: signature}))
    assert (error.file, error.rule) == (archive.MANIFEST, "manifest") and "tanmeter-evidence/1" in str(error)


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
