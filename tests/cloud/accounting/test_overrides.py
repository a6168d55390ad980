"""Which values an account is drawn up with: a set over another where a subject says so, adoptions, and their proof."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

import tanmeter
from cloud import account_proof, accounts, activities, config, factor_shelf, reaccounting, subjects
from cloud.account_closing import AccountCloser
from cloud.accounting import bundle, parameters
from cloud.accounting import factors as grids
from cloud.accounting import method as methods
from cloud.accounting.inventory import Version
from cloud.accounting.line import Used
from cloud.evidence import account_check, account_pack, archive
from cloud.packed import pack
from cloud.store import Store
from protocols.errors import ConfigError, EvidenceError, FactorError, LockedError, MethodError, TanmeterError
from protocols.record.cose import PrivateKey
from tests.cloud import tables
from tests.cloud.accounting.small_city import all_closed

JUNE = "2023-06"
NOW = 1_700_000_000_000
FUELS, GUIDE = "ndrc-24-2015-fuels", "ndrc-24-2015"
HEAD = tables.subject_file(tables.subject("S-1", 'region = "{region}"\n'))
USES = """[[subject.factors]]
set = "{name}"
over = "{over}"
from = {since}
"""
TICKETS, BILL = (hashlib.sha256(paper).hexdigest() for paper in (b"weighbridge: 100 t", b"bill: 100 MWh"))
PAPER = '{symbol} = {{ value = "{value}", document = "{document}", sha256 = "{sha256}" }}\n'
ACTIVITY = tables.activity_file(
    "S-1",
    tables.entry(
        "24-01",
        "2023-06-01",
        "2023-07-01",
        'item = "lignite"\n' + PAPER.format(symbol="FC", value="100 t", document="weighbridge", sha256=TICKETS),
    ),
)
POWER = tables.activity_file(
    "S-1",
    tables.entry(
        "24-08",
        "2021-06-01",
        "2021-07-01",
        PAPER.format(symbol="AD", value="100 MWh", document="bill", sha256=BILL),
    ),
)
VALUES = (("NCV.lignite", "11.9", "GJ/t"), ("CC.lignite", "0.0281", "tC/GJ"), ("OF.lignite", "0.95", "1"))
GRID = """schema = 1
over = "cn-grid-2021"
data_year = 2021
unit = "kgCO2/kWh"
publisher = "省生态环境厅"
notice = "公报 2024 第 3 号"
published = 2024-05-01
[[factor]]
id = "city.grid.hebei@2021"
basis = "average"
region = "hebei"
zh = "河北"
en = "Hebei"
value = "0.7000"
status = "REVIEWED"
row = "表 2，第 4 页"
uncertainty = "5"
"""


def lab(name: str = "city-lab-2023", ncv: str = "11.9", **more: str) -> bytes:
    text = f'schema = 1\nid = "{name}"\nedition = "2023"\ndocument = "report 7"\npublisher = "City laboratory"\n'
    for symbol, value, unit in VALUES:
        number = ncv if symbol.startswith("NCV") else value
        text += f'[[parameter]]\nsymbol = "{symbol}"\nvalue = "{number}"\nunit = "{unit}"\nrow = "table 2, page 4"\n'
        text += 'status = "REVIEWED"\nstanding = "confirmed"\ntier = "supplier"\nuncertainty = "1.5"\n'
        text += 'zh = "褐煤"\nen = "x"\n'
        text += "".join(f"{key} = {word}\n" for key, word in more.items())
    return text.encode()


def adoption(name: str, *files: str, at: str = "2026-11-20") -> bytes:
    return f'schema = 1\nadoption = "{name}"\nby = "王工"\nat = {at}\n{"".join(files)}'.encode()


def of(name: str, sha256: str, confirmed: str = "", retired: str = "") -> str:
    text = f'[[file]]\nid = "{name}"\nsha256 = "{sha256}"\ndocument = "print"\nconfirmed = [{confirmed}]\n'
    if retired:
        symbol, instead = retired.split("=")
        text += f'[[file.retired]]\nname = "{symbol}"\nreplaced_by = "{instead}"\n'
    return text


METHOD = of(GUIDE, methods.get(GUIDE).sha256, f'"{GUIDE}", "24-01", "24-08"')


@dataclass
class House:
    """A collector with one subject, whose figures are all declared."""

    store: Store
    key: PrivateKey
    data: Path
    signer: PrivateKey

    def take(self, **files: bytes) -> bundle.Bundle:
        sources = {f"{name.replace('_', '-')}.toml": source for name, source in files.items()}
        return factor_shelf.keep(self.store, bundle.sign("市中心", sources, self.signer), self.signer.public, now=NOW)

    def uses(self, *pairs: tuple[str, str], since: str = "2023-01-01", region: str = "national") -> None:
        uses = "".join(USES.format(name=name, over=over, since=since) for name, over in pairs)
        subjects.take(self.store, "s.toml", (HEAD.format(region=region) + uses).encode(), by="周", now=NOW)

    def close(self, period: str = JUNE) -> Version:
        library = factor_shelf.library(self.store)
        return accounts.close(self.store, library, "S-1", accounts.period_of(period), NOW)

    def lock(self, version: Version) -> Version:
        return accounts.lock(self.store, version.reference, ["王", "李"], NOW)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    key = config.create_key(tmp_path)
    with Store(tmp_path / config.STORE, key) as store:
        made = House(store, key, tmp_path, PrivateKey.generate())
        made.uses()
        activities.declare(store, "a.toml", ACTIVITY.encode(), by="周", now=NOW)
        yield made


def used(version: Version, symbol: str) -> Used:
    return next(one for one in version.content.lines[0].parameters if one.symbol == symbol)


def locked(house: House) -> Version:
    """The account drawn up with the laboratory's table and a method that somebody has read in its print."""
    house.take(city_lab_2023=lab(), city_2026_1=adoption("city-2026-1", METHOD))
    house.uses(("city-lab-2023", FUELS))
    return house.lock(house.close())


def test_a_reviewed_set_and_a_method_that_was_read_make_an_account_lockable(house: House) -> None:
    first = house.close()
    with pytest.raises(LockedError, match="not confirmed"):
        house.lock(first)
    assert used(first, "NCV").set_sha256 is msgspec.UNSET and b"set_sha256" not in msgspec.json.encode(first.content)
    second = locked(house)
    assert (second.version, second.state, second.closure, second.content.reasons) == (2, "locked", "complete", ())
    own = used(second, "NCV")
    assert (own.id, own.over, str(own.value)) == ("city-lab-2023:NCV.lignite", f"{FUELS}:NCV.lignite", "11.9")
    assert own.set_sha256 == second.content.parameter_sets["city-lab-2023"]
    assert (own.tier, str(own.uncertainty), own.status) == ("supplier", "1.5", "REVIEWED")
    assert second.content.lines[0].adoptions == ("city-2026-1",) and list(second.content.adoptions or {}) == [
        "city-2026-1"
    ]
    again = reaccounting.again(house.store, factor_shelf.library(house.store), NOW)
    assert (again.made, again.failed) == (0, [])
    checks = account_proof.verify(house.store, factor_shelf.library(house.store), second.reference, NOW)
    assert {check.outcome for check in checks} == {"held"}, checks


@pytest.mark.parametrize(("lang", "words"), [("zh", "代替"), ("en", "in place of")])
def test_the_account_on_a_terminal_says_what_stepped_back(house: House, lang: str, words: str) -> None:
    version = locked(house)
    asked = ["--lang", lang, "account", "explain", version.reference, "--data", str(house.data)]
    shown = CliRunner().invoke(tanmeter.app, asked, env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.exception
    assert words in shown.output and f"{FUELS}:NCV.lignite" in shown.output


def test_an_imported_set_changes_nothing_until_a_subject_names_it(house: House) -> None:
    first = house.close()
    house.take(city_lab_2023=lab(), word=adoption("word", of(GUIDE, methods.get(GUIDE).sha256)))
    assert house.close() == first


def test_a_retired_value_is_refused_and_its_replacement_named(house: House) -> None:
    first = house.close()
    held = parameters.builtin()[FUELS]
    out = of(FUELS, held.sha256, retired="NCV.lignite=city-lab-2023:NCV.lignite")
    house.take(city_lab_2023=lab(), out=adoption("out", out))
    with pytest.raises(FactorError, match=r"retired, expected city-lab-2023:NCV\.lignite"):
        house.close()
    with pytest.raises(LockedError, match=r"retired, expected city-lab-2023:NCV\.lignite"):
        accounts.lock(house.store, first.reference, ["王", "李"], NOW, closure="exceptions")
    assert all_closed(AccountCloser(house.store), NOW) == []
    found = account_proof.verify(house.store, factor_shelf.library(house.store), first.reference, NOW)
    assert [check.outcome for check in found if check.name == "account"] == ["later"]
    assert account_check.verify(account_pack.pack_bytes(house.store, house.key, first)).version == first
    house.uses(("city-lab-2023", FUELS))
    assert used(house.close(), "NCV").id == "city-lab-2023:NCV.lignite"
    house.take(row=adoption("row", of(GUIDE, methods.get(GUIDE).sha256, retired="24-01=24-02")))
    with pytest.raises(MethodError, match="24-01 retired, expected 24-02"):
        house.close()


def corrected(house: House, before: str, after: str) -> Version:
    """The account after its file was replaced by one in which this is otherwise."""
    digest = activities.listing(house.store, "S-1")[-1].sha256
    text = ACTIVITY.replace(before, after).replace("[[", f'replaces = "{digest}"\n[[', 1)
    activities.declare(house.store, "b.toml", text.encode(), by="周", now=NOW)
    return house.close()


def test_a_complete_lock_takes_no_declared_amount_without_its_document(house: House) -> None:
    locked(house)
    version = corrected(house, f', sha256 = "{TICKETS}"', "")
    assert version.content.reasons == ("activity.undocumented",)
    with pytest.raises(LockedError, match=r"found 1 things.*activity\.undocumented: 24-01/lignite 2023-06-01"):
        house.lock(version)
    taken = accounts.lock(house.store, version.reference, ["王", "李"], NOW, closure="exceptions")
    assert (taken.closure, taken.exceptions) == ("exceptions", ("activity.undocumented: 24-01/lignite 2023-06-01",))


def test_days_that_a_source_leaves_out_take_a_partial_lock_or_a_word_that_it_was_not_there(house: House) -> None:
    whole = locked(house)
    version = corrected(house, "until = 2023-07-01", "until = 2023-06-21")
    assert version.content.reasons == ("activity.left-out",)
    assert version.content.totals == whole.content.totals, "what is left out lowers no figure"
    for closure in ("complete", "exceptions"):
        with pytest.raises(LockedError, match=r"24-01/lignite 2023-06-21--2023-07-01.*--partial"):
            accounts.lock(house.store, version.reference, ["王", "李"], NOW, closure=closure)  # type: ignore[arg-type]
    taken = accounts.lock(house.store, version.reference, ["王", "李"], NOW, closure="partial")
    assert taken.exceptions == ("activity.left-out: 24-01/lignite 2023-06-21--2023-07-01",)
    uses = HEAD.format(region="national") + USES.format(name="city-lab-2023", over=FUELS, since="2023-01-01")
    gone = '[[subject.in_use]]\nrow = "24-01"\nuntil = 2023-06-21\ndocument = "boiler sold"\n'
    subjects.take(house.store, "s.toml", (uses + gone).encode(), by="周", now=NOW)
    assert house.lock(house.close()).closure == "complete"


def test_an_account_that_only_an_older_engine_drew_up_otherwise_is_not_issued_again(house: House) -> None:
    """What a version says decides, not the name of the program: the old one stays locked."""
    version = locked(house)
    lines = tuple(msgspec.structs.replace(line, engine="lines/1") for line in version.content.lines)
    content = msgspec.structs.replace(version.content, engine="account/2", lines=lines)
    old = msgspec.structs.replace(version, content=content, digest=content.digest, version=version.version + 1)
    house.store.keep([accounts.row_of(old, NOW)])
    assert house.close() == accounts.issued(house.store, version.id, old.version)
    checks = account_proof.verify(house.store, factor_shelf.library(house.store), old.reference, NOW)
    assert {check.outcome for check in checks} == {"held"}
    library = factor_shelf.library(house.store)
    assert account_check.verify(account_pack.pack_bytes(house.store, house.key, accounts.get(house.store, old.id)))
    assert reaccounting.again(house.store, library, NOW).made == 0


def test_a_measured_value_needs_no_default(house: House) -> None:
    held = parameters.builtin()[FUELS]
    house.take(out=adoption("out", of(FUELS, held.sha256, retired="NCV.lignite=nothing")))
    measured = ACTIVITY + 'NCV = { value = "12 GJ/t", document = "laboratory 9" }\n'
    digest = activities.listing(house.store, "S-1")[0].sha256
    replaced = measured.replace("[[", f'replaces = "{digest}"\n[[', 1)
    activities.declare(house.store, "b.toml", replaced.encode(), by="周", now=NOW)
    assert used(house.close(), "NCV").tier == "measured"


def test_two_sets_that_give_the_same_value_are_refused(house: House) -> None:
    house.take(city_lab_2023=lab(), other_lab=lab("other-lab"))
    house.uses(("city-lab-2023", FUELS), ("other-lab", FUELS))
    with pytest.raises(FactorError, match="city-lab-2023 and other-lab in its place, expected exactly one"):
        house.close()
    house.uses(("city-lab-2023", ""))
    with pytest.raises(FactorError, match="found it in"):
        house.close()
    house.uses(("city-lab-2023", GUIDE))
    with pytest.raises(FactorError, match="no symbol that both have"):
        house.close()


@pytest.mark.parametrize(("since", "told"), [("2023-06-15", "expected it over the whole period"), ("2023-07-01", "")])
def test_a_set_counts_over_a_whole_period_or_not_at_all(house: House, since: str, told: str) -> None:
    house.take(city_lab_2023=lab())
    house.uses(("city-lab-2023", FUELS), since=since)
    if told:
        with pytest.raises(FactorError, match=told):
            house.close()
    else:
        assert used(house.close(), "NCV").over is msgspec.UNSET


def test_a_value_is_refused_outside_its_validity(house: House) -> None:
    house.take(city_lab_2023=lab(valid_until="2023-06-20"))
    house.uses(("city-lab-2023", FUELS))
    with pytest.raises(FactorError, match="valid from ever until 2023-06-20"):
        house.close()


def test_a_subject_file_names_only_what_is_held(house: House) -> None:
    with pytest.raises(ConfigError, match=r"factors\[0\]\.set"):
        house.uses(("city-lab-2023", FUELS))
    house.take(city_lab_2023=lab())
    with pytest.raises(ConfigError, match=r"factors\[0\]\.over"):
        house.uses(("city-lab-2023", "ndrc-99"))


def test_grid_factors_stand_over_those_they_name(house: House) -> None:
    activities.declare(house.store, "b.toml", POWER.encode(), by="周", now=NOW)
    house.uses(region="hebei")
    before = house.close("2021-06")
    assert used(before, "EF").status == "DRAFT"
    house.take(city_grid_2021=GRID.encode())
    assert house.close("2021-06") == before
    house.uses(("city-grid-2021", "cn-grid-2021"), since="2021-01-01", region="hebei")
    after = house.close("2021-06")
    own = used(after, "EF")
    assert (own.id, own.over, own.status, str(own.uncertainty)) == (
        *("city.grid.hebei@2021", "cn.grid.hebei@2021", "REVIEWED", "5"),
    )
    assert str(after.content.totals.total) == "70" and "city-grid-2021.toml" in (after.content.factor_files or {})
    source = account_pack.pack_bytes(house.store, house.key, after)
    assert account_check.verify(source).version == after
    assert account_check.verify(account_pack.pack_bytes(house.store, house.key, before)).version == before
    unsigned = without(source, "bundles/")
    with pytest.raises(EvidenceError, match="nobody signed"):
        account_check.verify(unsigned)
    with pytest.raises(ConfigError, match="cn-grid-2021"):
        house.uses(("city-grid-2021", "cn-grid-2022"), region="hebei")


def test_a_retired_grid_factor_never_gives_way_to_an_earlier_year() -> None:
    held = grids.builtin().files["cn-grid-2022.toml"].decode()
    text = held.replace('status = "TRANSCRIBED"', 'status = "RETIRED"\nreplaced_by = "cn.x@2022"', 1)
    known = grids.load({**grids.builtin().files, "cn-grid-2022.toml": text.encode()})
    with pytest.raises(FactorError, match=r"retired, expected cn\.x@2022"):
        grids.resolve(known, "average", "national", 2022)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (of(FUELS, "ab" * 32), f"{FUELS} of abab"),
        (of(FUELS, parameters.builtin()[FUELS].sha256, '"NCV.nothing"'), "NCV.nothing"),
    ],
)
def test_an_adoption_of_what_is_not_held_is_not_taken(house: House, said: str, told: str) -> None:
    with pytest.raises(FactorError, match=told):
        house.take(word=adoption("word", said))
    assert factor_shelf.held(house.store) == []


def test_an_adoption_says_against_what_it_was_held(house: House) -> None:
    nothing = of(FUELS, parameters.builtin()[FUELS].sha256, '"*"').replace('document = "print"', 'document = ""')
    with pytest.raises(ConfigError, match="the print"):
        house.take(word=adoption("word", nothing))


def test_a_later_adoption_of_the_same_changes_no_account(house: House) -> None:
    first = locked(house)
    house.take(a_later=adoption("a-later", METHOD, at="2026-11-25"))
    assert house.close().digest == first.digest


def test_what_is_adopted_makes_newer_versions_by_itself(house: House) -> None:
    house.close()
    known = accounts.get(house.store, f"A-S-1-{JUNE}")
    month = accounts.period_of(JUNE)

    closer, later = AccountCloser(house.store), month.end + 10 * 86_400_000
    assert all_closed(closer, later) == []
    everything = of(FUELS, parameters.builtin()[FUELS].sha256, '"*"')
    house.take(city_2026_1=adoption("city-2026-1", METHOD, everything))
    assert [version.reference for version in all_closed(closer, later)] == [f"{known.id}@2"]
    assert all_closed(closer, later) == [] and list(closer._looked.under) == [known.id]
    assert house.lock(accounts.get(house.store, known.id)).exceptions == ()


def without(source: bytes, prefix: str) -> bytes:
    return resealed(source, lambda files: [files.pop(name) for name in list(files) if name.startswith(prefix)])


def resealed(source: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    """The pack after somebody changed it and signed the manifest anew, with a key of his own."""
    files = archive.read(source)
    manifest = archive.check(files)
    for name in (archive.MANIFEST, archive.SIGNATURE):
        del files[name]
    change(files)
    return archive.write(archive.seal(files, manifest.statement, manifest.digest, PrivateKey.generate()))


def put(prefix: str, before: bytes, after: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        (name,) = [name for name in files if name.startswith(prefix) and before in files[name]]
        files[name] = files[name].replace(before, after)

    return change


def test_a_pack_with_imported_sets_is_proved_without_us(house: House) -> None:
    version = locked(house)
    source = account_pack.pack_bytes(house.store, house.key, version)
    report = account_check.verify(source)
    assert report.version == version and report.foreign == ()
    assert {(name, one.how, one.by) for name, one in report.signed} == {
        ("parameters/city-lab-2023.toml", "published", "市中心"),
        (f"methods/{GUIDE}.toml", "adopted", "王工"),
    }
    for change, rule in (
        (put("parameters/city-lab", b"11.9", b"11.8"), "digest"),
        (put("bundles/", b"11.9", b"11.8"), "bundles"),
        (put("subject", b"2023-01-01", b"2023-07-01"), "digest"),
    ):
        with pytest.raises(EvidenceError) as raised:
            account_check.verify(resealed(source, change))
        assert raised.value.rule == rule, raised.value
    with pytest.raises(EvidenceError) as raised:
        account_check.verify(without(source, "bundles/"))
    assert raised.value.rule == "bundles", raised.value


def test_a_set_that_was_tampered_with_on_the_shelf_stops_everything(house: House) -> None:
    kept = house.take(city_lab_2023=lab())
    envelope, _ = factor_shelf.envelope(house.store, kept.digest)
    with house.store.writing() as db:
        db.execute("UPDATE journal SET body = ? WHERE kind = 'bundle'", (pack(envelope.replace(b"11.9", b"11.8")),))
    with pytest.raises(TanmeterError):
        factor_shelf.library(house.store)


def test_who_signed_is_shown_and_can_be_read(house: House, tmp_path: Path) -> None:
    (tmp_path / "private.pem").write_bytes(house.signer.pem())
    (tmp_path / "public.pem").write_bytes(house.signer.public.pem())
    out, data = str(tmp_path / "a.cose"), ["--data", str(house.data)]

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(tanmeter.app, list(words), catch_exceptions=True)
        assert done.exit_code == code or (code and done.exception), (done.output, done.exception)
        return done.output

    signed = ["--id", "city-2", "--by", "王工", "--key", str(tmp_path / "private.pem"), "-o", out]
    run(
        "factor",
        "adopt",
        f"method:{GUIDE}",
        FUELS,
        *signed,
        "--document",
        "印刷本",
        "--confirm",
        "24-01",
        "--confirm",
        "NCV.lignite",
    )
    verified = json.loads(run("factor", "verify", out, "--key", str(tmp_path / "public.pem"), "--json"))
    assert [(one["file"], one["confirmed"]) for one in verified["adopted"]] == [
        (GUIDE, ["24-01"]),
        (FUELS, ["NCV.lignite"]),
    ]
    run("factor", "import", out, "--key", str(tmp_path / "public.pem"), *data)
    house.take(city_lab_2023=lab())
    for language, unknown in (("zh", "未知"), ("en", "unknown")):
        shown = run("--lang", language, "factor", "show", f"{FUELS}:NCV.lignite", *data)
        assert all(word in shown for word in ("REVIEWED", unknown, "default", "王工", "印刷本", "city-2")), shown
        shown = run("--lang", language, "factor", "show", "city-lab-2023:NCV.lignite", *data)
        assert all(word in shown for word in ("± 1.5 %", "supplier", "table 2, page 4", "市中心")), shown
    rows = [json.loads(line) for line in run("factor", "list", "--json", *data, "--set", FUELS).splitlines()]
    assert [row["id"] for row in rows if row["adoption"] == "city-2"] == [f"{FUELS}:NCV.lignite"]
    run("factor", "adopt", f"method:{GUIDE}", *signed, "--document", "x", "--confirm", "nothing", code=8)


@pytest.mark.parametrize(("lang", "words"), [("zh", "代替"), ("en", "in place of")])
def test_the_page_of_a_line_says_what_stepped_back(full: Any, tmp_path: Path, lang: str, words: str) -> None:
    found = type(full[0])(tmp_path, NOW)
    house = House(found.store, found.key, tmp_path, PrivateKey.generate())
    house.uses()
    activities.declare(house.store, "a.toml", ACTIVITY.encode(), by="周", now=NOW)
    version = locked(house)
    path = f"/accounts/{version.reference}/lines/{version.content.lines[0].digest[:16]}?lang={lang}"
    shown = found.client.get(path, headers={"accept": "text/html"}).text
    own = used(version, "NCV")
    assert f"{words} {own.over}" in shown and str(own.set_sha256)[:16] in shown, shown
    found.close()


@pytest.mark.parametrize(
    ("lang", "days", "part", "word"),
    [
        ("zh", "20/30 天", "覆盖期间 30 天中的 20 天", "未附文件"),
        ("en", "20 of 30 days", "of 20 of the 30 days", "no document"),
    ],
)
def test_a_page_says_which_days_it_is_of_and_what_stands_on_a_word(
    full: Any, tmp_path: Path, lang: str, days: str, part: str, word: str
) -> None:
    found = type(full[0])(tmp_path, NOW)
    house = House(found.store, found.key, tmp_path, PrivateKey.generate())
    house.uses()
    source = ACTIVITY.replace("until = 2023-07-01", "until = 2023-06-21").replace(f', sha256 = "{TICKETS}"', "")
    activities.declare(house.store, "a.toml", source.encode(), by="周", now=NOW)
    version = house.close()
    path = f"/accounts/{version.reference}"
    shown = found.client.get(f"{path}?lang={lang}", headers={"accept": "text/html"}).text
    assert f'<span class="badge warn">{days}</span>' in shown and f'<span class="badge warn">{word}</span>' in shown
    assert "24-01/lignite 2023-06-21--2023-07-01" in shown, "and the reason names the days"
    line = found.client.get(
        f"{path}/lines/{version.content.lines[0].digest[:16]}?lang={lang}", headers={"accept": "text/html"}
    ).text
    assert part in line
    explained = found.client.get(f"/v1{path}/explain").json()
    assert explained["left_out"] == [{"line": "24-01/lignite", "start": "2023-06-21", "end": "2023-07-01"}]
    assert explained["lines"][0]["covers"] == {"days": "20", "of": 30, "owing": True}
    assert found.client.get(f"/v1{path}/lines").json()["data"][0]["covers"] == {"days": "20", "of": 30, "owing": True}
    assert {one["id"] for one in explained["reasons"]} >= {"activity.left-out", "activity.undocumented"}
    gone = '[[subject.in_use]]\nuntil = 2023-06-21\ndocument = "works closed"\n'
    subjects.take(house.store, "s.toml", (HEAD.format(region="national") + gone).encode(), by="周", now=NOW)
    closed = house.close()
    shown = found.client.get(f"/accounts/{closed.reference}?lang={lang}", headers={"accept": "text/html"}).text
    assert f'<span class="badge info">{days}</span>' in shown and "2023-06-21--" not in shown
    found.close()
