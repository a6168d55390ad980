"""What the collector signs of its built-in files: once, under its own key; another file under a name is found out."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tanmeter
from cloud import accounts, activities, config, factor_shelf, reaccounting, subjects
from cloud.accounting import bundle, contents
from cloud.accounting import library as libraries
from cloud.evidence import account_check, account_pack, archive
from cloud.packed import pack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ChangedError, EvidenceError, SignatureError
from protocols.record.cose import PrivateKey
from tests.cloud import tables

NOW = 1_795_692_000_000
FUELS = "parameters/ndrc-24-2015-fuels.toml"
OLD = "0" * 64
SUBJECT = tables.subject_file(tables.subject("E-1")).encode()
DIESEL = tables.activity_file("E-1", tables.fuel("diesel", "10 t", "2026-10-01", "2026-11-01")).encode()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    key = config.create_key(tmp_path)
    with config.open_store(tmp_path, key) as store:
        subjects.take(store, "s.toml", SUBJECT, by="x", now=NOW)
        activities.declare(store, "a.toml", DIESEL, by="x", now=NOW)
    return tmp_path


def former(store: Store, key: PrivateKey) -> None:
    """The collector has signed, of a former release, another file under one name."""
    named = {**contents.installed(), FUELS: OLD}
    envelope = contents.sign("0.0.9", "2026-01-05", named, key)
    detail = json.dumps({"key": key.public.pem().decode()})
    digest = contents.open_contents(envelope, key.public).digest
    store.keep([JournalRow(0, "contents", digest, 1, "", "", digest, NOW, "", detail, pack(envelope))])


def verified(data: Path) -> tuple[int, dict[str, object]]:
    run = CliRunner().invoke(tanmeter.app, ["factor", "verify", "--data", str(data), "--json"])
    return run.exit_code, json.loads(run.stdout)


def test_every_built_in_file_is_signed_once(data: Path) -> None:
    assert verified(data)[1]["signed"] == []
    key = config.open_key(data)
    with config.open_store(data, key) as store:
        assert factor_shelf.sign_own(store, key, "0.1.0", now=NOW) == []
        assert factor_shelf.sign_own(store, key, "0.1.1", now=NOW) == []
        [signed] = factor_shelf.own(store, key.public)
        assert (signed.release, signed.at, dict(signed.files)) == ("0.1.0", "2026-11-26", dict(contents.installed()))
        known = factor_shelf.library(store)
        for one in (*known.sets.values(), *known.factors.factors):
            assert [(word.how, word.by, word.kid) for word in known.signed(one.sha256)] == [
                ("recorded", "tanmeter 0.1.0", key.public.kid.hex())
            ]
    code, told = verified(data)
    assert (code, told["changed"], told["new"]) == (0, {}, {})
    shown = CliRunner().invoke(
        tanmeter.app, ["--lang", "en", "factor", "show", "ndrc-24-2015-fuels:NCV.diesel", "--data", str(data)]
    )
    assert "comes with tanmeter 0.1.0, recorded and signed by the collector" in shown.stdout


def test_another_file_under_a_name_is_told_and_no_account_is_issued_with_it(data: Path) -> None:
    key = config.open_key(data)
    with config.open_store(data, key) as store:
        before = accounts.close(store, factor_shelf.library(store), "E-1", accounts.period_of("2026-10"), NOW)
        former(store, key)
        assert factor_shelf.sign_own(store, key, "0.1.0", now=NOW) == [FUELS]
        assert len(factor_shelf.own(store)) == 1, "what has changed is not signed"
        library = factor_shelf.library(store)
        again = accounts.close(store, library, "E-1", accounts.period_of("2026-10"), NOW)
        assert again.reference == before.reference, "what was issued with these very bytes stands"
        activities.declare(store, "b.toml", DIESEL.replace(b"2026-1", b"2025-1"), by="x", now=NOW)
        with pytest.raises(ChangedError, match=r"fuels.toml: found .* as signed on 2026-01-05 of tanmeter 0.0.9"):
            accounts.close(store, library, "E-1", accounts.period_of("2025-10"), NOW)
        assert accounts.live(store, library, "E-1", accounts.period_of("2025-10"), NOW).content.totals.total > 30
        assert reaccounting.again(store, library, NOW).failed == []
    code, told = verified(data)
    assert (code, list(told["changed"])) == (4, [FUELS])  # type: ignore[call-overload]


def test_who_adopts_the_new_file_lets_it_in_and_it_is_signed(data: Path) -> None:
    key, office = config.open_key(data), PrivateKey.generate()
    with config.open_store(data, key) as store:
        former(store, key)
        word = (
            'schema = 1\nadoption = "city-1"\nby = "w"\nat = 2026-11-20\n[[file]]\nid = "ndrc-24-2015-fuels"\n'
            f'sha256 = "{contents.installed()[FUELS]}"\n'
        )
        envelope = bundle.sign("city", {"city-1.toml": word.encode()}, office)
        factor_shelf.keep(store, envelope, office.public, now=NOW)
        assert factor_shelf.sign_own(store, key, "0.1.0", now=NOW) == []
        assert [dict(one.files) for one in factor_shelf.own(store)][1:] == [{FUELS: contents.installed()[FUELS]}]
        version = accounts.close(store, factor_shelf.library(store), "E-1", accounts.period_of("2026-10"), NOW)
        assert version.content.totals.total > 30
    assert verified(data)[0] == 0


def test_a_statement_of_another_key_is_none(data: Path) -> None:
    key, other = config.open_key(data), PrivateKey.generate()
    with config.open_store(data, key) as store:
        former(store, other)
        with pytest.raises(SignatureError):
            factor_shelf.sign_own(store, key, "0.1.0", now=NOW)


def test_a_pack_carries_it_and_is_refused_where_it_names_another_file(data: Path) -> None:
    key = config.open_key(data)
    with config.open_store(data, key) as store:
        factor_shelf.sign_own(store, key, "0.1.0", now=NOW)
        version = accounts.close(store, factor_shelf.library(store), "E-1", accounts.period_of("2026-10"), NOW)
        source = account_pack.pack_bytes(store, key, version)
        report = account_check.verify(source)
        assert [check.count for check in report.checks if check.name == "contents"] == [1]
        assert (f"{FUELS}", "recorded") in [(name, one.how) for name, one in report.signed]
        (data / "a.zip").write_bytes(source)
        for lang, told in (
            ("zh", "平台对内置文件的签名记录（份）: 1"),
            ("en", "signed of its built-in files (records): 1"),
        ):
            shown = CliRunner().invoke(tanmeter.app, ["--lang", lang, "evidence", "verify", str(data / "a.zip")])
            assert shown.exit_code == 0 and told in shown.stdout, shown.output
        files = {name: one for name, one in archive.read(source).items() if not name.startswith("manifest")}
        [name] = [one for one in files if one.startswith("contents/")]

        def sealed(envelope: bytes, signer: PrivateKey) -> bytes:
            digest = contents.open_contents(envelope, signer.public).digest
            beside = {one: files[one] for one in files if one != name}
            return archive.write(
                archive.seal({**beside, f"contents/{digest}.cose": envelope}, version.reference, version.digest, key)
            )

        lying = contents.sign("0.1.0", "2026-11-26", {**contents.installed(), FUELS: OLD}, key)
        with pytest.raises(EvidenceError, match="not signed under this name"):
            account_check.verify(sealed(lying, key))
        other = PrivateKey.generate()
        with pytest.raises(EvidenceError, match="contents"):
            account_check.verify(sealed(contents.sign("0.1.0", "2026-11-26", contents.installed(), other), other))


def test_a_library_without_a_collector_refuses_nothing() -> None:
    library = libraries.build()
    assert dataclasses.replace(library).changed() == {}
    library.admit(contents.installed().values())
