"""Checks a pack and makes its figure again: no server, no network, no trust in whoever put the pack together."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from cloud.accounting import factors, period, statement
from cloud.accounting.electricity import Increment, MeterRole, account
from cloud.accounting.factors import NATIONAL, Basis, Factor, FactorSet
from cloud.accounting.meters import Configured, increments
from cloud.accounting.period import Period
from cloud.accounting.statement import Content, Register, Statement
from cloud.evidence import archive
from cloud.evidence.chain import Walked, walk
from cloud.evidence.identity import ROOT, checking, identify
from drivers.installation import Installation
from drivers.replay import replay
from protocols.errors import EvidenceError
from protocols.record import block, transport

STATEMENT = "statement.json"
FACTORS = "factors/"
README = "README.txt"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule that holds: its name (message ``evidence.check.<name>``) and over how many things."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Frame:
    """The exchange that a register was read in, with what it says."""

    epoch: int
    seq: int
    at: int
    request: bytes
    reply: bytes
    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Report:
    """A pack that holds: the statement it proves, what was checked, and by whose keys.

    ``better``: factors this software would take in place of the pack's: published since, or left out of it.
    """

    statement: Statement
    manifest: archive.Manifest
    checks: tuple[Check, ...]
    gateways: tuple[Walked, ...]
    better: tuple[Factor, ...]

    def frame(self, gateway: str, device: str, point: str, register: Register) -> Frame | None:
        """The frame a register was read from; None where its block is not in the pack."""
        for walked in self.gateways:
            if walked.identity.id == gateway and (register.epoch, register.seq) in walked.frames:
                return _frame(walked, device, point, register)
        return None

    def to_json(self) -> dict[str, Any]:
        """The report for a machine."""
        content = self.statement.content
        return {
            "ok": True,
            "statement": self.statement.reference,
            "digest": self.statement.digest,
            "site": content.site,
            "period": content.period.id,
            "through": content.period.through,
            "tco2": str(content.tco2),
            "kwh": str(content.kwh),
            "factors": [{"id": line.factor.id, "value": str(line.factor.value)} for line in content.lines],
            "better_factors": [factor.id for factor in self.better],
            "provisional": content.provisional,
            "reasons": list(content.reasons),
            "coverage": msgspec.to_builtins(content.coverage),
            "shares": msgspec.to_builtins(content.shares),
            "gaps": len(content.gaps),
            "checks": [{"name": check.name, "count": check.count} for check in self.checks],
            "gateways": [_walked_json(walked) for walked in self.gateways],
            "collector": self.manifest.key.id.hex(),
        }


def readme() -> bytes:
    """The text that every pack of this edition has for whoever unzips it."""
    return resources("cloud.evidence").joinpath(README).read_bytes()


def verify(
    source: bytes | Path,
    gateways: Collection[str] = (),
    collectors: Collection[str] = (),
    *,
    basis: Basis = "average",
    region: str = NATIONAL,
) -> Report:
    """The report on a pack that holds in every point; EvidenceError names the first file and rule that does not.

    ``gateways``: the ids (hex) of all boxes whose labels were read; the pack must rest on these and on no other.
    ``collectors``: the ids (hex) of those whose signature may stand in it, on the manifest or a receipt.
    ``basis`` and ``region``: the rule for the factor, which is not the collector's to choose.
    """
    data = _bytes(source)
    files = archive.read(data)
    manifest = archive.check(files)
    claimed = _statement(files, manifest)
    _check_rule(claimed.content, basis, region)
    held = _factors(files, claimed.content)
    walks = tuple(walk(identify(folder, files), files, manifest.key) for folder in _folders(files))
    _check_names(files, walks)
    _check_gateways(claimed.content, walks, gateways)
    for file, key in [(archive.MANIFEST, manifest.key), *((one.file, one.key) for each in walks for one in each.began)]:
        archive.check_collector(file, key, collectors)
    chosen = _period(claimed.content, walks)
    _check_figures(claimed, chosen, held, walks)
    checks = (
        Check("archive", len(data)),
        Check("manifest", len(manifest.files)),
        Check("configuration", sum(len(walked.identity.configurations) for walked in walks)),
        Check("signature", sum(walked.blocks for walked in walks)),
        Check("chain", sum(walked.blocks for walked in walks)),
        Check("coverage", sum(walked.blocks - len(walked.refused) for walked in walks)),
        Check("replay", sum(walked.readings for walked in walks)),
        Check("factor", len(held.factors)),
        Check("figures", claimed.content.inputs.count),
    )
    return Report(claimed, manifest, checks, walks, tuple(_better(claimed.content)))


def _bytes(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise EvidenceError(str(source), "archive", f"{error.strerror}, expected an evidence pack (.zip)") from error


def _statement(files: Mapping[str, bytes], manifest: archive.Manifest) -> Statement:
    with checking(STATEMENT, "statement"):
        claimed = statement.from_json(files.get(STATEMENT, b""))
        content = claimed.content
        if (manifest.statement, manifest.digest) != (claimed.reference, claimed.digest):
            raise EvidenceError(
                archive.MANIFEST, "statement", f"found {manifest.statement}, expected {claimed.reference}"
            )
        if claimed.id != statement.statement_id(content.site, content.period.id):
            raise EvidenceError(STATEMENT, "statement", f"found the id {claimed.id}, expected it from site and period")
    return claimed


def _check_rule(content: Content, basis: Basis, region: str) -> None:
    found = (content.method.basis, content.method.region)
    if found != (basis, region):
        detail = f"found the factor chosen by {found[0]}, {found[1]}, expected by {basis}, {region}"
        raise EvidenceError(STATEMENT, "factor", detail)


def _factors(files: Mapping[str, bytes], content: Content) -> FactorSet:
    """The factors in the pack: the set the statement names, each the one that this software knows, too."""
    sources = {name.removeprefix(FACTORS): files[name] for name in files if name.startswith(FACTORS)}
    with checking(FACTORS, "factor"):
        held = factors.load(sources)
    if held.sha256 != content.factor_set:
        raise EvidenceError(FACTORS, "factor", f"found the set {held.sha256}, expected {content.factor_set}")
    known = {factor.id: factor for factor in factors.builtin().factors}
    used = {line.factor.id for line in content.lines}
    for factor in held.factors:
        name = f"{FACTORS}{factor.file}"
        if factor.id in used and factor.id not in known:
            raise EvidenceError(name, "factor", f"found {factor.id}, which this edition of the verifier does not know")
        published = known.get(factor.id, factor)
        if _said(factor) != _said(published):
            detail = f"{factor.id}: found {_said(factor)}, expected {_said(published)}"
            raise EvidenceError(name, "factor", detail)
    return held


def _better(content: Content) -> Iterator[Factor]:
    """The factors known here that the same rule would have chosen instead."""
    for line in content.lines:
        ours = factors.resolve(factors.builtin(), content.method.basis, content.method.region, line.year).factor
        if ours.id != line.factor.id:
            yield ours


def _said(factor: Factor) -> str:
    return f"{factor.value} {factor.unit} {factor.basis} {factor.region} {factor.data_year} {factor.notice}"


def _folders(files: Mapping[str, bytes]) -> list[str]:
    return sorted({"/".join(name.split("/")[:2]) + "/" for name in files if name.startswith(ROOT)})


def _check_names(files: Mapping[str, bytes], walks: tuple[Walked, ...]) -> None:
    """Nothing rides along that no rule looks at."""
    read = {STATEMENT, README, archive.MANIFEST, archive.SIGNATURE}.union(*(walked.files for walked in walks))
    for name in files:
        if name not in read and not name.startswith(FACTORS):
            raise EvidenceError(name, "archive", "found a file that a pack does not have")
    if files.get(README) != readme():
        raise EvidenceError(README, "archive", "found another text or none, expected the one of this edition")


def _check_gateways(content: Content, walks: tuple[Walked, ...], gateways: Collection[str]) -> None:
    for walked in walks:
        site = walked.identity.enrolment.site_id
        if site != content.site:
            where = f"{walked.identity.folder}enrolment.cose"
            raise EvidenceError(where, "enrolment", f"found a gateway of site {site}, expected {content.site}")
    found = {walked.identity.id for walked in walks}
    wanted = {gateway.lower().replace("-", "").replace(":", "") for gateway in gateways}
    if wanted and wanted != found:
        detail = f"found {', '.join(sorted(found)) or 'none'}, expected {', '.join(sorted(wanted))}"
        raise EvidenceError(ROOT, "gateway", detail)


def _period(content: Content, walks: tuple[Walked, ...]) -> Period:
    zones = {walked.identity.configurations[number][1].site.zone.key for walked in walks for number in _used(walked)}
    if zones != {content.period.timezone}:
        found = content.period.timezone
        raise EvidenceError(STATEMENT, "statement", f"found the time zone {found}, expected the signed {sorted(zones)}")
    with checking(STATEMENT, "statement"):
        return period.parse(content.period.id, ZoneInfo(content.period.timezone))


def _used(walked: Walked) -> set[int]:
    """The configurations that booked blocks name; the first where there is no such block."""
    return {booked.configuration for booked in walked.booked.values()} or {min(walked.identity.configurations)}


def _check_figures(claimed: Statement, chosen: Period, held: FactorSet, walks: tuple[Walked, ...]) -> None:
    """The content made again from the replayed registers; EvidenceError names what the statement says otherwise."""
    with checking(STATEMENT, "figures"):
        meters, moved = _moved(walks, chosen)
        content = claimed.content
        again = account(
            content.site,
            chosen,
            meters,
            moved,
            held,
            closed=_minted(claimed) >= chosen.end,
            basis=content.method.basis,
            region=content.method.region,
        )
    different = _differences(content, again)
    if different:
        raise EvidenceError(STATEMENT, "figures", "; ".join(different))


def _moved(walks: tuple[Walked, ...], chosen: Period) -> tuple[list[MeterRole], list[Increment]]:
    meters: list[MeterRole] = []
    moved: list[Increment] = []
    for walked in walks:
        within = [one for one in walked.intervals if one.start < chosen.end and one.end > chosen.start]
        own, increments_ = increments(_configured(walked, chosen), within)
        meters += own
        moved += increments_
    return meters, moved


def _configured(walked: Walked, chosen: Period) -> Configured:
    configurations, booked = walked.identity.configurations, walked.booked

    def installation(number: int) -> Installation:
        return configurations[number][1]

    def number_at(epoch: int, seq: int) -> int:
        return booked[epoch, seq].configuration

    return Configured(walked.identity.id, _in_force(walked, chosen), installation, number_at)


def _in_force(walked: Walked, chosen: Period) -> frozenset[int]:
    """Each configuration that a block of the period names; else the newest named before it, or the first of all."""
    booked = walked.booked.values()
    within = [one.configuration for one in booked if one.utc[0] < chosen.end and one.utc[1] > chosen.start]
    before = [one.configuration for one in booked if one.utc[1] <= chosen.start]
    return frozenset(within or [max(before, default=min(walked.identity.configurations))])


def _minted(claimed: Statement) -> int:
    try:
        return period.instant(claimed.minted_at)
    except ValueError as error:
        raise EvidenceError(STATEMENT, "statement", f"minted_at: {error}") from error


def _differences(claimed: Content, again: Content) -> list[str]:
    """Each part of the statement that the replayed record does not bear out."""
    found = []
    for name in Content.__struct_fields__:
        stated, computed = getattr(claimed, name), getattr(again, name)
        if stated != computed:
            found.append(f"{name}: found {_short(stated)}, computed {_short(computed)}")
    return found


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 160 else f"{text[:157]}..."


def _frame(walked: Walked, device: str, point: str, register: Register) -> Frame | None:
    """Open the block once more and look for the reading of this very instant."""
    sealed = transport.unpack(walked.frames[register.epoch, register.seq])
    header, chunks = block.open_block(sealed, walked.identity.key)
    installation = walked.identity.configurations[header.configuration[0]][1]
    at, start = period.instant(register.at), header.utc[0] + walked.shift_of(register.epoch, register.seq)
    for chunk in chunks:
        if installation.site.device[chunk.device].id != device:
            continue
        driver = installation.drivers[chunk.device]
        for track in chunk.tracks:
            for time, reply in zip(track.times, track.replies(), strict=True):
                for reading in replay(driver, track.request, reply, start + time, chunk.device):
                    names = (reading.point, driver.profile.point(reading.point).of)
                    if reading.at == at and point in names and reading.value is not None:
                        value = str(statement.plain(reading.value))
                        return Frame(register.epoch, register.seq, at, track.request, reply, value, reading.unit)
    return None


def _walked_json(walked: Walked) -> dict[str, Any]:
    return {
        "id": walked.identity.id,
        "algorithm": walked.identity.key.algorithm,
        "custody": walked.identity.enrolment.custody,
        "technician": walked.identity.enrolment.technician.kid.hex(),
        "configurations": sorted(walked.identity.configurations),
        "blocks": walked.blocks,
        "first": walked.first,
        "last": walked.last,
        "exchanges": walked.exchanges,
        "readings": walked.readings,
        "began": [
            {
                "epoch": one.epoch,
                "after": [one.receipt.epoch, one.receipt.next_seq],
                "at": one.receipt.at,
                "collector": one.key.id.hex(),
            }
            for one in walked.began
        ],
        "refused": [{"epoch": epoch, "seq": seq, "why": why} for (epoch, seq), why in walked.refused.items()],
    }
