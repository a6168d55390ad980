"""Checks the pack of an account and draws the account up again from it: no server, no network, nothing believed.

- The manifest is signed, every file is the one it lists, the account is written in its one form, its digest is right.
- Every line comes out of its own symbols, every total out of the lines.
- Method, parameters, grid factors and subject are the files whose digests the account names; drawn up again from
  them, with the activity of the lines, the whole account is the same, byte for byte. What stands in place of a set of
  the method, what confirms a value, and grid factors that this edition does not have are in bundles of the pack, each
  under a signature that holds.
- What the collector signed of its built-in files is under the key of the manifest, and where it is there, it names each
  file that nobody published, with these bytes.
- Every metered amount comes out of the intervals whose digest its line names.
- Every other amount stands in an activity file of the pack, whose signature holds where it has one: what is told as
  imported in a signed one, what is told as documented beside the digest of its document.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib import resources
from typing import Any

import msgspec

from cloud.accounting import (
    activity_file,
    bundle,
    contents,
    factors,
    feeds,
    interval_text,
    inventory,
    parameters,
    replayed,
    restated,
    signed_activity,
)
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting import subject_file as subject_files
from cloud.accounting.bundle import Bundle
from cloud.accounting.contents import Contents
from cloud.accounting.draw import BEFORE, LINES
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Version
from cloud.accounting.library import Library, Signed
from cloud.accounting.line import Grade, Line
from cloud.accounting.metered import metered
from cloud.accounting.method import Method
from cloud.accounting.subject import Subject
from cloud.accounting.units import quantity, unit
from cloud.evidence import archive
from cloud.evidence.verify import Check
from protocols.errors import EvidenceError, TanmeterError
from protocols.record import cose
from protocols.record.cose import PublicKey

ACCOUNT, README, SUBJECT = "account.json", "README.txt", "subject.toml"
METHOD, PARAMETERS, FACTORS = "methods/", "parameters/", "factors/"
INTERVALS, ACTIVITY, KEYS, BUNDLES, CONTENTS = "intervals/", "activity/", "keys/", "bundles/", "contents/"
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """A pack that holds: the version it proves, what was checked, the gateways it rests on, who put it together.

    ``signed``: who published, adopted or recorded which file. ``foreign``: files of the method and its sets that differ
    from those of this edition, and that nobody published or adopted: to be held against the print by whoever reads it.
    """

    version: Version
    checks: tuple[Check, ...]
    gateways: tuple[str, ...]
    collector: str
    signed: tuple[tuple[str, Signed], ...]
    foreign: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report for a machine."""
        content = self.version.content
        return {
            "ok": True,
            "account": self.version.reference,
            "digest": self.version.digest,
            "state": self.version.state,
            "subject": content.subject,
            "period": content.period.id,
            "tco2e": f"{content.totals.total:f}",
            "reasons": list(content.reasons),
            "checks": [{"name": check.name, "count": check.count} for check in self.checks],
            "gateways": list(self.gateways),
            "collector": self.collector,
            "signed": [{"file": name, **asdict(one)} for name, one in self.signed],
            "foreign": list(self.foreign),
        }


def is_account(source: bytes) -> bool:
    """Whether a pack is one of an account; EvidenceError when it is no pack."""
    return ACCOUNT in archive.read(source)


def verify(source: bytes, gateways: Collection[str] = (), collectors: Collection[str] = ()) -> Report:
    """The report on a pack that holds in every point; EvidenceError names the first file and rule that does not.

    ``gateways``: the ids (hex) of all boxes whose labels were read; the pack must rest on these and on no other.
    ``collectors``: the ids (hex) of those whose signature may stand in it.
    """
    files = archive.read(source)
    manifest = archive.check(files)
    archive.check_collector(archive.MANIFEST, manifest.key, collectors)
    version = _version(files, manifest.digest)
    content = version.content
    faults = list(replayed.faults(content))
    if faults:
        raise EvidenceError(ACCOUNT, "lines", faults[0])
    subject, known = _subject(files, version), _library(files, version)
    known = replace(known, contents=_contents(files, manifest.key, known))
    method = _method(files, version, known)
    _redrawn(version, subject, method, known)
    measured = [_measured(files, version, subject, line) for line in content.lines]
    rests = tuple(sorted({gateway for found in measured for gateway in found if gateway}))
    if gateways and set(gateways) != set(rests):
        raise EvidenceError(ACCOUNT, "gateways", f"found {', '.join(rests)}, expected {', '.join(sorted(gateways))}")
    documents = sum(_documented(files, subject, method, line) for line in content.lines)
    checks = (
        Check("manifest", len(manifest.files)),
        Check("lines", len(content.lines)),
        Check("drawn", 1),
        Check("intervals", sum(map(len, measured))),
        Check("documents", documents),
        *([Check("bundles", len(known.bundles))] if known.bundles else []),
        *([Check("contents", len(known.contents))] if known.contents else []),
    )
    signed = tuple((name, one) for name, sha256 in _chosen(files) for one in known.signed(sha256))
    foreign = tuple(_foreign(files, {name for name, one in signed if one.how != "recorded"}))
    return Report(version, checks, rests, manifest.key.id.hex(), signed, foreign)


def _version(files: Files, digest: str) -> Version:
    try:
        version = msgspec.json.decode(_file(files, ACCOUNT), type=Version)
    except msgspec.DecodeError as error:
        raise EvidenceError(ACCOUNT, "form", str(error)) from error
    if inventory.to_json(version) != files[ACCOUNT]:
        raise EvidenceError(ACCOUNT, "form", "found another way to write it, expected the one JSON form")
    if not version.content.digest == version.digest == digest:
        raise EvidenceError(ACCOUNT, "digest", f"found content {version.content.digest}, expected {digest}")
    return version


def _subject(files: Files, version: Version) -> Subject:
    source = _named(files, SUBJECT, version.content.subject_sha256)
    try:
        return subject_files.read(SUBJECT, source).subjects[version.content.subject]
    except (TanmeterError, KeyError) as error:
        raise EvidenceError(SUBJECT, "subject", str(error)) from error


def _library(files: Files, version: Version) -> Library:
    """All that the account was chosen from, out of the pack: its files, its bundles, and the adoptions it names."""
    content = version.content
    bundles = [_bundle(files, name) for name in files if name.startswith(BUNDLES) and name.endswith(".cose")]
    signed = {_sha256(source) for one in bundles for source in one.files.values()}
    grid = {name.removeprefix(FACTORS): source for name, source in files.items() if name.startswith(FACTORS)}
    built = factors.builtin().files
    own = {name: one for name, one in grid.items() if one == built.get(name) or _sha256(one) not in signed}
    adopted = content.adoptions or {}
    try:
        total = factors.load(grid).sha256
        if total != content.factor_set:
            raise EvidenceError(FACTORS, "factors", f"found the set {total}, expected {content.factor_set}")
        for name, source in own.items():
            if built.get(name) != source:
                raise EvidenceError(
                    f"{FACTORS}{name}", "factors", "found a file that nobody signed and this edition lacks"
                )
        sets = {
            one: parameters.load(f"{one}.toml", _named(files, f"{PARAMETERS}{one}.toml", sha256))
            for one, sha256 in content.parameter_sets.items()
        }
        used = [_only(one, {*grid, *(f"{name}.toml" for name in sets)}) for one in bundles]
        held = {name: one.sha256 for name, one in parameters.builtin().items()}
        own_sets = {name: one for name, one in sets.items() if held.get(name) == one.sha256 or one.sha256 not in signed}
        found = libraries.build(used, grid=own, sets=own_sets, adopted=set(adopted.values()))
    except EvidenceError:
        raise
    except TanmeterError as error:
        raise EvidenceError(FACTORS, "factors", str(error)) from error
    if missing := set(adopted) - {one.id for one in found.adoptions}:
        raise EvidenceError(BUNDLES, "bundles", f"found no adoption {min(missing)}, expected it signed in the pack")
    return found


def _bundle(files: Files, name: str) -> Bundle:
    """A bundle of the pack under its digest and its signature."""
    key = _file(files, f"{name.removesuffix('.cose')}.pem")
    try:
        found = bundle.open_bundle(files[name], PublicKey.from_pem(key))
    except TanmeterError as error:
        raise EvidenceError(name, "bundles", str(error)) from error
    if name != f"{BUNDLES}{found.digest}.cose":
        raise EvidenceError(name, "bundles", f"found the digest {found.digest}, expected that in its name")
    return found


def _contents(files: Files, key: PublicKey, known: Library) -> tuple[Contents, ...]:
    """What the collector signed of its releases, and that it names every file here that no bundle publishes."""
    found = []
    for name in (one for one in files if one.startswith(CONTENTS)):
        try:
            one = contents.open_contents(files[name], key)
        except TanmeterError as error:
            raise EvidenceError(name, "contents", str(error)) from error
        if name != f"{CONTENTS}{one.digest}.cose":
            raise EvidenceError(name, "contents", f"found the digest {one.digest}, expected that in its name")
        found.append(one)
    for name, sha256 in _chosen(files) if found else ():
        named = any(one.files.get(name) == sha256 for one in found)
        if not (named or any(True for _ in known.signed(sha256))):
            raise EvidenceError(name, "contents", f"found {sha256}, which the collector has not signed under this name")
    return tuple(found)


def _only(held: Bundle, names: Collection[str]) -> Bundle:
    """A bundle without what the account does not use: it may publish sets that are of no concern here."""
    return replace(
        held,
        grid={name: source for name, source in held.grid.items() if name in names},
        sets={name: one for name, one in held.sets.items() if f"{name}.toml" in names},
    )


def _chosen(files: Files) -> Iterator[tuple[str, str]]:
    """Name and digest of every file that was chosen: method, sets, grid factors."""
    for name, source in files.items():
        if name.startswith((METHOD, PARAMETERS, FACTORS)):
            yield name, _sha256(source)


def _foreign(files: Files, signed: Collection[str]) -> Iterator[str]:
    for name in files:
        if name.startswith((METHOD, PARAMETERS)) and name not in signed:
            own = resources.files("cloud.accounting").joinpath(name)
            if not own.is_file() or own.read_bytes() != files[name]:
                yield name


def _method(files: Files, version: Version, known: Library) -> Method:
    content = version.content
    name = f"{content.method}.toml"
    source = _named(files, f"{METHOD}{name}", content.method_sha256)
    try:
        return methods.load(name, source, known.sets)
    except TanmeterError as error:
        raise EvidenceError(f"{METHOD}{name}", "method", str(error)) from error


def _redrawn(version: Version, subject: Subject, method: Method, known: Library) -> None:
    """EvidenceError unless the account drawn up again from the pack is this one."""
    try:
        found = restated.redrawn(version.content, subject, method, known)
    except TanmeterError as error:
        raise EvidenceError(ACCOUNT, "drawn", str(error)) from error
    if found.digest != version.digest:
        raise EvidenceError(ACCOUNT, "drawn", f"found {found.digest} when drawn up again, expected {version.digest}")


def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _measured(files: Files, version: Version, subject: Subject, line: Line) -> list[str]:
    """The gateway of each metered activity of a line, once its amount has come out of its intervals; empty for a meter
    that no gateway holds, of which nothing is known.
    """
    found = []
    for one in line.activities:
        place = feeds.place(one.reference)
        if place is None:
            continue
        name = f"{INTERVALS}{one.sha256}.txt"
        through = min(place.end, periods.instant(version.content.period.through))
        meter = next((m for m in subject.meter if (m.device, m.point) == (place.device, place.point)), None)
        try:
            own = interval_text.read(_named(files, name, one.sha256).decode())
            ceiling = quantity(meter.ceiling).to(unit(one.unit)) if meter is not None and meter.ceiling else None
            again = metered(name, own, place.start, place.end, through=through, ceiling=ceiling)
        except EvidenceError:
            raise
        except (TanmeterError, UnicodeDecodeError) as error:
            raise EvidenceError(name, "intervals", str(error)) from error
        if (again.amount, again.estimated) != (one.value, one.estimated):
            raise EvidenceError(
                name, "intervals", f"found {again.amount} {again.unit}, expected {one.value} {one.unit}"
            )
        found.append(place.gateway)
    return found


def _documented(files: Files, subject: Subject, method: Method, line: Line) -> int:
    """How many amounts of a line stand in a document of the pack; EvidenceError for one that does not."""
    entry, count = restated.entry(line), 0
    fixed = {
        name: feeds.fixed_value(one)
        for meter in subject.meter if meter.row == line.row
        for name, one in meter.given.items()
    }  # fmt: skip
    for symbol, given in entry.given.items():
        if given.reference.startswith(feeds.METER):
            continue
        told = given if line.engine != LINES[BEFORE] else msgspec.structs.replace(given, proved=False)
        held = symbol in fixed and _stands(fixed[symbol], told)
        if not held and not any(_gives(one, entry, symbol, told) for one in _entries(files, method)):
            raise EvidenceError(
                ACTIVITY,
                "documents",
                f"{line.id}.{symbol}: found {given.quantity.value} in no file that proves it as told, expected one",
            )
        count += 1
    return count


def _gives(found: Entry, wanted: Entry, symbol: str, given: Given) -> bool:
    def place(one: Entry) -> tuple[str, str, str, date, date]:
        return one.row, one.item, one.label, one.start, one.end

    return place(found) == place(wanted) and symbol in found.given and _stands(found.given[symbol], given)


def _stands(found: Given, told: Given) -> bool:
    """Whether an amount in a document is the one that is told, and is proved as it is told to be."""
    if told.grade == "imported" and found.grade != "imported":
        return False
    return found.quantity == told.quantity and (found.proved or not told.proved)


def _entries(files: Files, method: Method) -> Iterator[Entry]:
    """Every entry of every activity file, each file under its digest and its signature."""
    for name, body in files.items():
        if name.startswith(ACTIVITY):
            try:
                source = _opened(files, body) if name.endswith(".cose") else body
                sha256 = name.removeprefix(ACTIVITY).partition(".")[0]
                if hashlib.sha256(source).hexdigest() != sha256:
                    raise EvidenceError(name, "documents", "found other bytes than those it is named by")
                file = activity_file.read(name, source)
                grade: Grade = "imported" if name.endswith(".cose") else "declared"
                yield from activity_file.entries(name, file, method, date.min, date.min, grade=grade)
            except EvidenceError:
                raise
            except TanmeterError as error:
                raise EvidenceError(name, "documents", str(error)) from error


def _opened(files: Files, envelope: bytes) -> bytes:
    kid = cose.kid_of(envelope).hex()
    return signed_activity.open_activity(envelope, PublicKey.from_pem(_file(files, f"{KEYS}{kid}.pem")))


def _file(files: Files, name: str) -> bytes:
    if name not in files:
        raise EvidenceError(name, "manifest", "found no such file, expected it in the pack of an account")
    return files[name]


def _named(files: Files, name: str, sha256: str) -> bytes:
    """A file that the account names by its digest."""
    source = _file(files, name)
    found = hashlib.sha256(source).hexdigest()
    if found != sha256:
        raise EvidenceError(name, "digest", f"found SHA-256 {found}, expected {sha256}: what the account names")
    return source
