"""A box enrols with the real collector over its own routes, in one process."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from cloud.app import create_app
from cloud.collector import Collector
from cloud.store import Store
from cloud.writer import Writer
from drivers.builtin import builtin
from edge.config import load
from protocols.errors import ConfigError, EnrolmentError
from protocols.record import invite
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
