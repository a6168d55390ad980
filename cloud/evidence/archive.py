"""The archive: a zip that can be written in one way only, so that no byte of it is free to change."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping

import msgspec

from protocols.errors import EvidenceError, TanmeterError
from protocols.record import cbor, cose, shape

MANIFEST = "manifest.json"
SIGNATURE = "manifest.cose"
MANIFEST_TYPE = "application/tanmeter-manifest+cbor"
MANIFEST_AAD = b"tanmeter-manifest/v1"
LIMIT = 2**31 - 1
"""A larger archive would need zip64: a year of several gateways goes into several packs."""
EPOCH = (1980, 1, 1, 0, 0, 0)
LOCAL = struct.Struct("<4s5H3I2H")
LOCAL_SIGNATURE = b"PK\x03\x04"
CHANGED = "found it changed, expected what its checksum says, in the one way to write it"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's SHA-256 (hex) and length."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in the pack. ``collector`` is (algorithm, SPKI in hex): who put it together."""

    schema: str
    statement: str
    digest: str
    collector: tuple[int, str]
    files: dict[str, FileEntry]

    @property
    def key(self) -> cose.PublicKey:
        """The key the manifest is signed with; EncodingError when it is none."""
        return cose.PublicKey(self.collector[0], bytes.fromhex(self.collector[1]))


def write(files: Mapping[str, bytes]) -> bytes:
    """The zip: names in order, nothing compressed, no dates, no attributes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            archive.writestr(entry, files[name])
    return out.getvalue()


def read(source: bytes) -> dict[str, bytes]:
    """The files of a zip that ``write`` made; EvidenceError names the first file that is not as it must be."""
    files = _entries(source)
    if not files:
        raise EvidenceError("archive", "archive", "found no file in it, expected an evidence pack (.zip)")
    again = write(files)
    if again != source:
        name = _name_at(files, _first_difference(source, again))
        raise EvidenceError(name, "archive", CHANGED)
    return files


def seal(files: Mapping[str, bytes], statement: str, digest: str, signer: cose.Signer) -> dict[str, bytes]:
    """The files with their manifest and the collector's signature over it."""
    entries = {name: FileEntry(hashlib.sha256(files[name]).hexdigest(), len(files[name])) for name in sorted(files)}
    manifest = Manifest("tanmeter-evidence/1", statement, digest, (signer.algorithm, signer.spki.hex()), entries)
    source = _written(manifest)
    payload = cbor.encode({0: 1, 1: hashlib.sha256(source).digest()})
    return {**files, MANIFEST: source, SIGNATURE: cose.sign1(payload, signer, MANIFEST_TYPE, MANIFEST_AAD)}


def check(files: Mapping[str, bytes]) -> Manifest:
    """The manifest, once every file is the one it lists and its signature holds; EvidenceError."""
    manifest = _manifest(files)
    for name in sorted(set(manifest.files) | (set(files) - {MANIFEST, SIGNATURE})):
        if name not in files:
            raise EvidenceError(name, "manifest", "found no such file, expected the one the manifest lists")
        if name not in manifest.files:
            raise EvidenceError(name, "manifest", "found a file that the manifest does not list")
        found = FileEntry(hashlib.sha256(files[name]).hexdigest(), len(files[name]))
        if found != manifest.files[name]:
            expected = manifest.files[name].sha256
            raise EvidenceError(name, "manifest", f"found SHA-256 {found.sha256}, expected {expected}")
    try:
        payload = cose.open1(files[SIGNATURE], manifest.key, MANIFEST_TYPE, MANIFEST_AAD)
        version, digest = shape.fields(cbor.decode(payload), 2, "manifest")
        shape.version(version, "manifest")
        expected_digest = hashlib.sha256(files[MANIFEST]).digest()
        if digest != expected_digest:
            raise EvidenceError(
                MANIFEST, "manifest", f"found SHA-256 {expected_digest.hex()}, the signature is of another"
            )
    except EvidenceError:
        raise
    except (TanmeterError, ValueError) as error:
        raise EvidenceError(SIGNATURE, "manifest", str(error)) from error
    return manifest


def check_collector(file: str, key: cose.PublicKey, collectors: Collection[str]) -> None:
    """That what this file signs is signed by one of these collectors (ids in hex), if any are named; EvidenceError."""
    wanted = {collector.lower().replace("-", "").replace(":", "") for collector in collectors}
    if wanted and key.id.hex() not in wanted:
        detail = f"found the signature of collector {key.id.hex()}, expected one of {', '.join(sorted(wanted))}"
        raise EvidenceError(file, "collector", detail)


def _manifest(files: Mapping[str, bytes]) -> Manifest:
    for name in (MANIFEST, SIGNATURE):
        if name not in files:
            raise EvidenceError(name, "manifest", "found no such file, expected one in every pack")
    try:
        manifest = msgspec.json.decode(files[MANIFEST], type=Manifest)
    except msgspec.DecodeError as error:
        raise EvidenceError(MANIFEST, "manifest", str(error)) from error
    if _written(manifest) != files[MANIFEST] or manifest.schema != "tanmeter-evidence/1":
        raise EvidenceError(
            MANIFEST, "manifest", "found another way to write it, expected the one of tanmeter-evidence/1"
        )
    return manifest


def _written(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _entries(source: bytes) -> dict[str, bytes]:
    """Name and content by the local headers alone; ``read`` holds the whole against what ``write`` makes of them."""
    files: dict[str, bytes] = {}
    at = 0
    while source[at : at + 4] == LOCAL_SIGNATURE and at + LOCAL.size <= len(source):
        *_, checksum, size, _, name_length, extra_length = LOCAL.unpack_from(source, at)
        start = at + LOCAL.size + name_length + extra_length
        name = source[at + LOCAL.size : at + LOCAL.size + name_length].decode("utf-8", "replace")
        if name in files or start + size > len(source):
            raise EvidenceError(name, "archive", "found it twice or cut short, expected it once and whole")
        files[name] = source[start : start + size]
        if zlib.crc32(files[name]) != checksum:
            raise EvidenceError(name, "archive", CHANGED)
        at = start + size
    return files


def _first_difference(one: bytes, two: bytes) -> int:
    """Where two strings of bytes part: the length of what they begin with in common."""
    same, different = 0, min(len(one), len(two)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        same, different = (middle, different) if one[same:middle] == two[same:middle] else (same, middle)
    return same


def _name_at(files: Mapping[str, bytes], at: int) -> str:
    """Which file's part of the canonical archive holds a byte."""
    end = 0
    for name in sorted(files):
        end += LOCAL.size + len(name.encode()) + len(files[name])
        if at < end:
            return name
    return "archive"
