"""The disk burnt with the key on it: the store is made anew from its second copy under another key, and goes on."""

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud import config, factor_shelf, formers, statements, taking
from cloud.audit import Audit
from cloud.audit_file import open_file
from cloud.commands import app
from cloud.copier import Copier
from cloud.evidence.verify import verify
from cloud.rebook import rebook
from cloud.restore import restore
from cloud.soundness import check
from cloud.store import Store
from protocols.errors import AccountError, ConfigError, EnrolmentError, StoreError
from protocols.record.answer import Answer
from protocols.record.cose import PrivateKey
from protocols.record.former import sign_former
from protocols.record.receipt import open_receipt
from tests.cloud.box import DAY, Box
from tests.cloud.evidence.packs import packed
from tests.cloud.store.test_enrolled_again import enrolled_anew
from tests.cloud.test_copy import figures

RELEASE = "0.1.0"


@dataclass
class Burnt:
    """What is left of a collector: its second copy. ``receipt``: what the gateway's second epoch began with."""

    box: Box
    key: PrivateKey
    receipt: bytes
    copy: Path
    figures: dict[str, list[str]]

    def shown(self, store: Store) -> None:
        formers.take(store, sign_former(self.box.key, self.key.public), [self.receipt], self.box.utc)


def keep_copy(store: Store, folder: Path, box: Box) -> None:
    with closing(Copier(store, folder, lambda: box.utc, same_disk=True)):
        pass


@pytest.fixture
def burnt(tmp_path: Path) -> Burnt:
    """A gateway delivered in two epochs; an account file, the release's contents and a statement were there too."""
    data, box = tmp_path / "old", Box()
    key = config.create_key(data)
    with config.open_store(data, key) as store:
        assert factor_shelf.sign_own(store, key, RELEASE, now=box.utc) == []
        box.enrol(store)
        box.deliver(store, 4)
        receipt = store.receipt(box.key.public.id)
        assert receipt is not None
        box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()
        box.deliver(store, 5)
        statements.close(store, "plant-7", DAY, box.utc)
        keep_copy(store, tmp_path / "copy", box)
        found = figures(store, "journal")
    return Burnt(box, key, receipt, tmp_path / "copy", found)


def run(*arguments: str, language: str = "en") -> Result:
    return CliRunner().invoke(app, arguments, env={"TANMETER_LANG": language})


def taken(store: Store, frame: bytes, box: Box) -> Answer:
    return store.append([frame], box.utc).verdicts[0].answer


def test_without_its_key_it_says_what_is_needed_and_writes_nothing(burnt: Burnt, tmp_path: Path) -> None:
    data = tmp_path / "new"
    arguments = ("restore", "--copy", str(burnt.copy), "--data", str(data))
    keyless = run(*arguments)
    assert isinstance(keyless.exception, ConfigError) and "--new-key" in str(keyless.exception)
    nowhere = run("restore", "--copy", str(tmp_path), "--data", str(data), "--new-key")
    assert isinstance(nowhere.exception, ConfigError) and not data.exists()
    stranger = config.create_key(data)
    another = run(*arguments)
    assert isinstance(another.exception, ConfigError)
    for said in (stranger.public.kid.hex(), burnt.key.public.kid.hex(), "--new-key"):
        assert said in str(another.exception)
    assert [path.name for path in data.iterdir()] == [config.KEY]


def test_where_its_key_is_not_lost_nobody_is_sent_to_enrol_its_gateways_anew(burnt: Burnt, tmp_path: Path) -> None:
    (tmp_path / "old" / config.STORE).unlink()
    again = run("restore", "--copy", str(burnt.copy), "--data", str(tmp_path / "old"), "--new-key")
    assert isinstance(again.exception, ConfigError) and "it is not lost" in str(again.exception)
    assert not (tmp_path / "old" / config.STORE).exists()
    done = run("restore", "--copy", str(burnt.copy), "--data", str(tmp_path / "old"))
    assert done.exit_code == 0 and "enrolled anew" not in done.stderr


def test_under_a_new_key_it_has_the_same_figures_and_takes_its_gateway_on(burnt: Burnt, tmp_path: Path) -> None:
    data, box = tmp_path / "new", burnt.box
    done = run("restore", "--copy", str(burnt.copy), "--data", str(data), "--new-key", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout) == {"gateways": 1, "blocks": 9, "statements": 1, "left": 0}
    key = config.open_key(data)
    assert key.public != burnt.key.public and key.public.id.hex() in done.stderr
    with config.open_store(data, key) as store:
        assert figures(store, "journal") == burnt.figures
        assert check(store, key.public, box.utc) == []
        assert factor_shelf.sign_own(store, key, RELEASE, now=box.utc) == []
        (said,) = factor_shelf.own(store, key.public)
        assert (said.release, said.kid) == (RELEASE, key.public.kid.hex())
        assert taken(store, box.block(), box) == Answer.STORED
        first = open_receipt(enrolled_anew(store, box), key.public)
        assert (first.epoch, first.next_seq, first.head) == (0, 0, hashlib.sha256(box.enrolment).digest())
        assert open_receipt(store.receipt(box.key.public.id) or b"", key.public).next_seq == box.seq
        statement = statements.close(store, "plant-7", DAY, box.utc)
        with pytest.raises(AccountError, match="its gateway shows it"):
            packed(store, statement)
        burnt.shown(store)
        (walked,) = verify(packed(store, statement)).gateways
        assert [(one.epoch, one.key) for one in walked.began] == [(1, burnt.key.public)]
    with open_file(data / config.STORE) as db:
        found = Audit(db, box.key.public.id, lambda _: None).run(key.public)
    assert (found.differences, found.blocks) == ([], 10)


def test_what_is_made_anew_has_a_second_copy_that_it_can_be_made_of_once_more(burnt: Burnt, tmp_path: Path) -> None:
    box, key, second = burnt.box, PrivateKey.generate(), tmp_path / "second"
    restore(burnt.copy, tmp_path / "new.db", key, new_key=True)
    with Store(tmp_path / "new.db", key) as store:
        with pytest.raises(ConfigError, match="a copy of the collector"):
            keep_copy(store, burnt.copy, box)
        burnt.shown(store)
        box.deliver(store, 2)
        keep_copy(store, second, box)
        before = figures(store)
    for again, but in ((key, ()), (PrivateKey.generate(), ("journal",))):
        path = tmp_path / f"{again.public.kid.hex()}.db"
        made = restore(second, path, again, new_key=bool(but))
        with Store(path, again) as store:
            assert made.blocks == 11 and figures(store, *but) == {
                name: before[name] for name in before if name not in but
            }
            assert rebook(store, store.gateways()[0], again, box.utc).rows == {}
            (walked,) = verify(packed(store, statements.close(store, "plant-7", DAY, box.utc))).gateways
            assert [(one.epoch, one.key) for one in walked.began] == [(1, burnt.key.public)]


def test_a_backup_is_taken_in_the_same_way_and_is_not_touched_itself(burnt: Burnt, tmp_path: Path) -> None:
    box, backup = burnt.box, tmp_path / "backup.db"
    with config.open_store(tmp_path / "old", burnt.key) as store:
        store.back_up(backup)
        frames = [box.block(), box.block()]
        assert [taken(store, frame, box) for frame in frames] == [Answer.STORED] * 2
    older = backup.read_bytes()
    own = run("restore", "--copy", str(backup), "--data", str(tmp_path / "old"), "--new-key")
    assert isinstance(own.exception, ConfigError) and "a store" in str(own.exception)
    (tmp_path / "old" / config.STORE).unlink()
    own = run("restore", "--copy", str(backup), "--data", str(tmp_path / "old"), "--new-key")
    assert isinstance(own.exception, ConfigError) and "it is not lost" in str(own.exception)
    data = tmp_path / "new"
    config.create_key(data)
    keyed = run("restore", "--copy", str(backup), "--data", str(data))
    assert isinstance(keyed.exception, ConfigError) and burnt.key.public.kid.hex() in str(keyed.exception)
    done = run("restore", "--copy", str(backup), "--data", str(data), "--new-key", "--json")
    assert json.loads(done.stdout) == {"gateways": 1, "blocks": 9, "statements": 1, "left": 0}, done.exception
    assert backup.read_bytes() == older and sorted(path.name for path in data.iterdir()) == [config.STORE, config.KEY]
    key = config.open_key(data)
    with config.open_store(data, key) as store:
        assert figures(store, "journal") == burnt.figures
        assert check(store, key.public, box.utc) == []
        enrolled_anew(store, box)
        burnt.shown(store)
        assert [taken(store, frame, box) for frame in frames] == [Answer.STORED] * 2
        (walked,) = verify(packed(store, statements.close(store, "plant-7", DAY, box.utc))).gateways
        assert [(one.epoch, one.key) for one in walked.began] == [(1, burnt.key.public)]
    with open_file(data / config.STORE) as db:
        assert Audit(db, box.key.public.id, lambda _: None).run(key.public).differences == []


def test_of_a_backup_with_a_rotten_block_what_stands_before_it_can_be_had(burnt: Burnt, tmp_path: Path) -> None:
    with config.open_store(tmp_path / "old", burnt.key) as store:
        with store.writing() as db:
            db.execute("UPDATE blocks SET frame = zeroblob(30) WHERE epoch = 1 AND seq = 2")
            db.execute("DELETE FROM facts WHERE kind = 'mended'")
        store.back_up(tmp_path / "backup.db")
    key = PrivateKey.generate()
    with pytest.raises(StoreError, match="block 1/2"):
        restore(tmp_path / "backup.db", tmp_path / "new.db", key, new_key=True)
    made = restore(tmp_path / "backup.db", tmp_path / "new.db", key, new_key=True, up_to_damage=True)
    assert (made.blocks, made.left) == (6, 3)


def test_who_was_revoked_stays_out_under_the_new_key(burnt: Burnt, tmp_path: Path) -> None:
    with config.open_store(tmp_path / "old", burnt.key) as store:
        store.revoke(burnt.box.key.public.id, "stolen", burnt.box.utc)
        keep_copy(store, burnt.copy, burnt.box)
    key = PrivateKey.generate()
    restore(burnt.copy, tmp_path / "new.db", key, new_key=True)
    with Store(tmp_path / "new.db", key) as store, pytest.raises(EnrolmentError, match="revoked"):
        enrolled_anew(store, burnt.box)


def test_batches_that_came_when_nothing_waited_are_taken_whatever_waits_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much was booked meanwhile as no store that is made anew has time for."""
    monkeypatch.setattr(taking, "MOST_WAITING", 200)
    monkeypatch.setattr("cloud.store.AT_ONCE", 150)
    box, key = Box(), PrivateKey.generate()
    with Store(tmp_path / "old.db", key) as store:
        box.enrol(store)
        for many in (1, 3, 1, 3):
            frames = [box.block() for _ in range(many)]
            assert {verdict.answer for verdict in store.append(frames, box.utc).verdicts} == {Answer.STORED}
            store.book()
        keep_copy(store, tmp_path / "copy", box)
        before = figures(store)
        assert rebook(store, store.gateways()[0], key, box.utc).rows == {}
    assert restore(tmp_path / "copy", tmp_path / "new.db", key).blocks == 8
    with Store(tmp_path / "new.db", key) as store:
        assert figures(store) == before
