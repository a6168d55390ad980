"""A box enrols with the real collector over its own routes, in one process."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from cloud.app import create_app
from cloud.collector import Collector
from cloud.copier import Copier
from cloud.restore import restore
from cloud.store import Store
from cloud.writer import Writer
from drivers.builtin import builtin
from edge import returning
from edge.config import EdgeConfig, load
from edge.sealer import End, Link, OpenBlock, close
from protocols.errors import ConfigError, EnrolmentError
from protocols.record import invite
from protocols.record.block import ClockState
from protocols.record.cose import PrivateKey
from provisioning import site_init
from provisioning.enrol import enrol

NOW = 1_790_000_000_000
HOUR = 3_600_000
URL = "http://testserver"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "collector.db", PrivateKey.generate()) as opened:
        yield opened


@pytest.fixture
def client(store: Store) -> Iterator[httpx.Client]:
    writer = Writer(lambda batches: store.append_batches(batches, NOW))
    try:
        yield TestClient(create_app(Collector(store, store.key, writer, lambda: NOW)))
    finally:
        writer.close()


@pytest.fixture
def state(tmp_path: Path, site: bytes, technician: PrivateKey) -> Path:
    site_init.init(tmp_path / "box", site, site_init.gather(site), technician, NOW)
    return tmp_path / "box"


def invited(store: Store, entropy: bytes = b"nine byte", site: str | None = None) -> str:
    made = invite.make(entropy, store.key.spki)
    store.create_invite(made, site, NOW + HOUR, NOW)
    return made.format()


def test_both_sides_know_each_other_afterwards(state: Path, store: Store, client: httpx.Client) -> None:
    receipt = enrol(state, invited(store), URL, client)
    config = load(state)
    assert config.collector is not None and config.collector.key.spki == store.key.spki
    (known,) = store.gateways()
    assert known.id == config.gateway == receipt.gateway and known.site == "S-1"
    assert receipt.head == config.previous


def test_a_lost_answer_is_asked_for_again(state: Path, store: Store, client: httpx.Client) -> None:
    code = invited(store)
    first = enrol(state, code, URL, client)
    (state / "collector.json").unlink()
    assert enrol(state, code, URL, client) == first
    assert len(store.gateways()) == 1


def test_a_code_is_good_once(
    tmp_path: Path, site: bytes, technician: PrivateKey, state: Path, store: Store, client: httpx.Client
) -> None:
    code = invited(store)
    enrol(state, code, URL, client)
    site_init.init(tmp_path / "second", site, site_init.gather(site), technician, NOW)
    with pytest.raises(EnrolmentError, match="has been used"):
        enrol(tmp_path / "second", code, URL, client)
    assert not (tmp_path / "second/collector.json").exists()


def test_a_code_for_another_site_or_nobody_is_refused(state: Path, store: Store, client: httpx.Client) -> None:
    with pytest.raises(EnrolmentError, match="the site of the invitation"):
        enrol(state, invited(store, site="S-9"), URL, client)
    with pytest.raises(EnrolmentError, match="found no invitation"):
        enrol(state, invite.make(b"other nin", store.key.spki).format(), URL, client)
    assert not (state / "collector.json").exists()


def test_a_box_may_have_changed_before_it_enrols(
    state: Path, site: bytes, technician: PrivateKey, store: Store, client: httpx.Client
) -> None:
    profiles = site_init.gather(site) | {"acrel-adl400": builtin("acrel-adl400") + b"\n"}
    assert site_init.sign(state, site, profiles, technician, NOW) == 2
    enrol(state, invited(store), URL, client)
    assert [held.number for held in store.configurations(load(state).gateway)] == [1]


def test_a_box_goes_to_a_new_collector_when_its_own_has_lost_its_key(
    state: Path, store: Store, client: httpx.Client, tmp_path: Path
) -> None:
    enrol(state, invited(store), URL, client)
    with Store(tmp_path / "new.db", PrivateKey.generate()) as other:
        writer = Writer(lambda batches: other.append_batches(batches, NOW))
        new = TestClient(create_app(Collector(other, other.key, writer, lambda: NOW)))
        try:
            with pytest.raises(ConfigError, match="--new-collector"):
                enrol(state, invited(other), URL, new)
            receipt = enrol(state, invited(other, b"bits nine"), URL, new, instead=True)
        finally:
            writer.close()
        config = load(state)
        assert config.collector is not None and config.collector.key.spki == other.key.spki
        assert (receipt.next_seq, receipt.head) == (0, config.previous)
        assert (state / f"collector-{store.ours.kid.hex()}.json").exists()


def test_a_box_whose_oldest_block_went_after_a_lost_answer_begins_behind_it(
    state: Path, store: Store, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again it holds less than it did; a second copy that has seen both requests brings back the later start."""
    gateway, code = load(state), invited(store)
    first, second = (oldest_of(gateway, seq) for seq in (7, 9))
    monkeypatch.setattr(returning, "oldest_held", lambda outbox: first)
    assert (held := enrol(state, code, URL, client)).next_seq == 7
    with closing(Copier(store, tmp_path / "copy", lambda: NOW, same_disk=True)):
        pass
    (state / "collector.json").unlink()
    monkeypatch.setattr(returning, "oldest_held", lambda outbox: second)
    later = enrol(state, code, URL, client)
    assert (later.next_seq, later.head) == (9, bytes([9]) * 32) and enrol(state, code, URL, client) == later
    monkeypatch.setattr(returning, "oldest_held", lambda outbox: first)
    with pytest.raises(EnrolmentError, match="for another gateway or request"):
        enrol(state, code, URL, client)
    with closing(Copier(store, tmp_path / "copy", lambda: NOW, same_disk=True)):
        pass
    assert store.key is not None and isinstance(store.key, PrivateKey)
    restore(tmp_path / "copy", tmp_path / "again.db", store.key)
    with Store(tmp_path / "again.db", store.key) as again:
        for found in (*store.gateways(), *again.gateways()):
            assert (found.id, found.next_seq, found.head) == (held.gateway, 9, later.head)
        assert [row.number for row in again.configurations(held.gateway)] == [1]
    assert [row.seq for row in store.incidents() if row.kind == "start"] == [9, 7]


def oldest_of(held: EdgeConfig, seq: int) -> bytes:
    """The envelope of a block that the box holds as its oldest."""
    block = OpenBlock(1, 1, 0, NOW, ClockState(2, 2, 5, 0), held.in_force.name, ("1", bytes(32)), held.plan())
    link = Link(held.gateway, 0, seq, bytes([seq]) * 32)
    end = End(60_000, NOW + 60_000, block.clock)
    return close(block, end, [], (), link=link, salt=lambda: bytes(16), signer=held.key).envelope
