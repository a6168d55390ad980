"""The pack of an account: checked without a server, and whatever was changed is refused by file and rule."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from cloud import accounts, activities, evidence_commands, subjects
from cloud.accounting import inventory, signed_activity
from cloud.accounting import library as libraries
from cloud.evidence import account_check, account_pack, archive
from cloud.store import Store
from protocols.errors import AccountError, EvidenceError
from protocols.record.cose import PrivateKey
from tests.cloud import tables

METERS = tables.meter("M-01") + tables.meter("M-77", 'ceiling = "10 kWh"\n')
SUBJECTS = tables.subject_file(tables.subject("S-DEMO", METERS, site="S-DEMO")).encode()


def fuel(item: str, amount: str) -> bytes:
    return tables.activity_file("S-DEMO", tables.fuel(item, amount, "2026-10-03", "2026-10-04")).encode()


@pytest.fixture(scope="module")
def made(full: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Any]:
    """A pack with metered, filled, signed and declared activity, and the gateway it rests on."""
    path = tmp_path_factory.mktemp("pack") / "collector.db"
    full[0].store.back_up(path)
    key, now, signer = full[0].key, full[0].now, PrivateKey.generate()
    with Store(path, key) as store:
        subjects.take(store, "s.toml", SUBJECTS, by="x", now=now)
        subjects.trust(store, "lab", signer.public, now=now)
        gas = fuel("natural_gas", "10 1e4Nm3")
        activities.take_signed(store, "a.cose", signed_activity.sign(gas, signer), now=now)
        activities.declare(store, "b.toml", fuel("diesel", "10 t"), by="w", now=now)
        version = accounts.close(store, libraries.build(), "S-DEMO", accounts.period_of("2026-10-03"), now)
        content = account_pack.pack_bytes(store, key, version)
        with store.writing() as db:
            db.execute("UPDATE closed_intervals SET readings = readings + 1 WHERE device = 'M-01'")
        with pytest.raises(AccountError, match="changed since"):
            account_pack.pack_bytes(store, key, version)
    return content, full[1].id.hex()


def test_a_pack_holds_in_every_point_and_says_on_whom_it_rests(made: tuple[bytes, str]) -> None:
    source, gateway = made
    report = account_check.verify(source)
    assert {check.name: check.count for check in report.checks} == {
        "manifest": len(archive.read(source)) - 2, "lines": 4, "drawn": 1, "intervals": 2, "documents": 2
    }  # fmt: skip
    assert report.gateways == (gateway,), "and no nameless one, for a meter that no gateway holds"
    assert account_check.verify(source, [gateway]).gateways == report.gateways
    with pytest.raises(EvidenceError, match="gateways"):
        account_check.verify(source, ["00" * 16])


def resealed(source: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The pack after somebody changed it and signed the manifest anew, with a key of his own."""
    files = archive.read(source)
    manifest = archive.check(files)
    for name in (archive.MANIFEST, archive.SIGNATURE):
        del files[name]
    change(files)
    digest = manifest.digest
    if account_check.ACCOUNT in files:
        digest = json.loads(files[account_check.ACCOUNT])["digest"]
    return archive.write(archive.seal(files, manifest.statement, digest, PrivateKey.generate()))


def cheaper(files: dict[str, bytes]) -> None:
    """Half the gas, and everything in the account made to fit."""
    version = msgspec.json.decode(files[account_check.ACCOUNT], type=inventory.Version)
    lines = []
    for line in version.content.lines:
        if line.item == "natural_gas":
            half = msgspec.structs.replace(line.activities[0], value=line.activities[0].value / 2)
            line = msgspec.structs.replace(line, activities=(half,), mass=line.mass / 2, tco2e=line.tco2e / 2)
        lines.append(line)
    content = msgspec.structs.replace(version.content, lines=tuple(lines), totals=inventory.totals(lines))
    content = msgspec.structs.replace(content, estimated=inventory.estimated(lines))
    files[account_check.ACCOUNT] = inventory.to_json(
        msgspec.structs.replace(version, content=content, digest=content.digest)
    )


def silent(files: dict[str, bytes]) -> None:
    """The diesel that stands on a word alone told as if its document were known, and everything made to fit."""
    version = msgspec.json.decode(files[account_check.ACCOUNT], type=inventory.Version)
    word = "activity.undocumented"
    assert word in version.content.reasons
    lines = [
        msgspec.structs.replace(line, reasons=tuple(one for one in line.reasons if one != word))
        for line in version.content.lines
    ]
    reasons = tuple(one for one in version.content.reasons if one != word)
    content = msgspec.structs.replace(version.content, lines=tuple(lines), reasons=reasons)
    files[account_check.ACCOUNT] = inventory.to_json(
        msgspec.structs.replace(version, content=content, digest=content.digest)
    )


def signed(files: dict[str, bytes]) -> None:
    """The same diesel told as if its file were signed."""
    version = msgspec.json.decode(files[account_check.ACCOUNT], type=inventory.Version)
    lines = [
        msgspec.structs.replace(
            line, activities=tuple(msgspec.structs.replace(one, grade="imported") for one in line.activities)
        )
        if line.item == "diesel"
        else line
        for line in version.content.lines
    ]
    content = msgspec.structs.replace(version.content, lines=tuple(lines))
    files[account_check.ACCOUNT] = inventory.to_json(
        msgspec.structs.replace(version, content=content, digest=content.digest)
    )
    silent(files)


def edited(prefix: str, before: bytes, after: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        (name,) = [name for name in files if name.startswith(prefix) and before in files[name]]
        files[name] = files[name].replace(before, after)

    return change


def renamed(files: dict[str, bytes]) -> None:
    """An interval less, under the digest of what is left."""
    (name,) = [name for name in files if name.startswith("intervals/") and files[name]]
    text = files.pop(name).split(b"\n", 1)[1]
    files[f"intervals/{hashlib.sha256(text).hexdigest()}.txt"] = text


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (cheaper, "documents"),
        (silent, "documents"),
        (signed, "documents"),
        (edited("factors/", b'"0.5306"', b'"0.5106"'), "factors"),
        (edited("methods/", b'class = "direct_combustion"', b'class = "memo"'), "digest"),
        (edited("parameters/", b"389.31", b"289.31"), "digest"),
        (edited("subject", b'"10 kWh"', b'"1 kWh"'), "digest"),
        (edited("activity/", b"10 t", b"11 t"), "documents"),
        (edited("activity/", b"10 1e4Nm3", b"11 1e4Nm3"), "documents"),
        (edited("account", b'"state": "provisional"', b'"state": "locked"'), None),
        (renamed, "manifest"),
        (lambda files: files.pop("account.json"), "manifest"),
    ],
)
def test_whatever_was_changed_is_refused_by_its_rule(made: Any, change: Any, rule: str | None) -> None:
    source = resealed(made[0], change)
    if rule is None:
        assert (
            account_check.verify(source).version.state == "locked"
        )  # a decision is the collector's word, not a figure
        return
    with pytest.raises(EvidenceError) as raised:
        account_check.verify(source)
    assert raised.value.rule == rule, raised.value


def test_no_byte_of_a_pack_is_free_to_change(made: Any) -> None:
    source = bytearray(made[0])
    for at in range(0, len(source), len(source) // 40):
        source[at] ^= 1
        with pytest.raises(EvidenceError):
            account_check.verify(bytes(source))
        source[at] ^= 1


def test_a_file_that_is_no_pack_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    refused = CliRunner().invoke(evidence_commands.evidence, ["verify", str(tmp_path / "report.pdf")])
    assert isinstance(refused.exception, EvidenceError)
    assert f"{tmp_path / 'report.pdf'}: archive: found no file in it" in str(refused.exception)


def test_the_command_checks_it_without_a_server(made: Any, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(made[0])
    for language in ("zh", "en"):
        shown = CliRunner().invoke(
            evidence_commands.evidence, ["verify", str(tmp_path / "a.zip")], env={"TANMETER_LANG": language}
        )
        assert shown.exit_code == 0 and "A-S-DEMO-2026-10-03@1" in shown.stdout, shown.output
    told = CliRunner().invoke(evidence_commands.evidence, ["verify", str(tmp_path / "a.zip"), "--json"])
    assert json.loads(told.stdout)["ok"] is True
    labels = [
        option
        for one in json.loads(told.stdout)["gateways"]
        for option in ("--gateway", f"{one[:8]}-{one[8:]}".upper())
    ]
    assert CliRunner().invoke(evidence_commands.evidence, ["verify", str(tmp_path / "a.zip"), *labels]).exit_code == 0
    (tmp_path / "b.zip").write_bytes(resealed(made[0], cheaper))
    refused = CliRunner().invoke(evidence_commands.evidence, ["verify", str(tmp_path / "b.zip"), "--json"])
    assert refused.exit_code == 4 and json.loads(refused.stdout)["error"]["rule"] == "documents"
