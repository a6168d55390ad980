"""Enrolment against a collector that is played here with real keys: what it takes, and what makes the box refuse it."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

import edge.config
from drivers.builtin import builtin
from edge.config import load
from edge.covering import lets_go
from protocols.errors import (
    ConfigError,
    EnrolmentError,
    SignatureError,
    StrangerError,
    TanmeterError,
    UnreachableError,
)
from protocols.record import cbor, invite
from protocols.record.cose import ES256, PrivateKey
from protocols.record.enrolment import Enrolment, open_enrolment
from protocols.record.receipt import RECEIVED, Receipt, sign_receipt
from protocols.record.siteconfig import digest, open_site
from provisioning import site_init
from provisioning.enrol import Way, enrol

NOW = 1_790_000_000_000
URL = "http://collector.example/base/"


@dataclass
class Collector:
    """Checks what a collector must check; ``alter`` and ``signer`` make it a wrong one."""

    key: PrivateKey
    invite: invite.Invite
    alter: Callable[[Receipt], Receipt] = lambda receipt: receipt
    signer: PrivateKey | None = None
    taken: Enrolment | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("POST", "http://collector.example/base/v1/enrolments")
        body = cbor.decode(request.content)
        assert invite.parse(body[0]) == self.invite
        self.taken = open_enrolment(body[1])
        config = open_site(body[2], self.taken.technician)
        assert digest(body[2]) == self.taken.site_config
        assert [hashlib.sha256(source).digest() for source in body[3]] == [sha256 for _, sha256 in config.profiles]
        receipt = Receipt(self.taken.key.id, 0, 0, hashlib.sha256(body[1]).digest(), RECEIVED, NOW)
        envelope = sign_receipt(self.alter(receipt), self.signer or self.key)
        return httpx.Response(201, content=cbor.encode({0: self.key.algorithm, 1: self.key.spki, 2: envelope}))


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.fixture
def state(tmp_path: Path, site: bytes, technician: PrivateKey) -> Path:
    site_init.init(tmp_path / "box", site, site_init.gather(site), technician, NOW)
    return tmp_path / "box"


@pytest.fixture(params=["Ed25519", "ES256"])
def collector(request: pytest.FixtureRequest) -> Collector:
    key = PrivateKey.generate(ES256) if request.param == "ES256" else PrivateKey.generate()
    return Collector(key, invite.make(b"nine byte", key.spki))


def test_a_box_enrols_and_knows_its_collector(state: Path, collector: Collector) -> None:
    receipt = enrol(state, collector.invite.format().lower(), URL, client(collector.answer))
    assert collector.taken is not None and receipt.gateway == collector.taken.key.id
    assert json.loads((state / "collector.json").read_bytes()) == {
        "url": "http://collector.example/base",
        "algorithm": collector.key.algorithm,
        "spki": collector.key.spki.hex(),
    }
    assert load(state).collector == edge.config.Collector("http://collector.example/base", collector.key.public)
    assert enrol(state, collector.invite.format(), URL, client(collector.answer)) == receipt


def test_the_first_configuration_is_what_enrols(
    state: Path, site: bytes, technician: PrivateKey, collector: Collector
) -> None:
    """Whatever has been signed since: the request names the first."""
    profiles = site_init.gather(site) | {"acrel-adl400": builtin("acrel-adl400") + b"\n"}
    assert site_init.sign(state, site + b"\n", profiles, technician, NOW) == 2
    enrol(state, collector.invite.format(), URL, client(collector.answer))


def refused(state: Path, collector: Collector, error: type[TanmeterError], said: str) -> None:
    with pytest.raises(error, match=said):
        enrol(state, collector.invite.format(), URL, client(collector.answer))
    assert not (state / "collector.json").exists()


def test_a_broker_and_certificates_of_ones_own_are_kept_with_what_else_the_file_says(
    state: Path, collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "city.pem").write_bytes(b"certificates")
    way = Way(tmp_path / "city.pem", "mqtts://broker.example:8883")
    enrol(state, collector.invite.format(), URL, client(collector.answer), way=way)
    path = state / edge.config.COLLECTOR
    path.write_text(json.dumps({**json.loads(path.read_text()), "user": "box", "password": "secret"}))
    enrol(state, collector.invite.format(), URL, client(collector.answer), way=Way(mqtt="mqtt://other.example"))
    held = edge.config.load_collector(path)
    assert held is not None and held.ca is not None
    assert (held.url, held.user, held.password) == ("mqtt://other.example", "box", "secret")
    assert held.ca.read_bytes() == b"certificates"


def test_the_file_that_may_hold_a_password_is_for_the_agents_user_alone(state: Path, collector: Collector) -> None:
    agent = 12_345 if os.geteuid() == 0 else os.geteuid()
    os.chown(state, agent, -1)
    for _ in range(2):
        enrol(state, collector.invite.format(), URL, client(collector.answer))
        held = (state / edge.config.COLLECTOR).stat()
        assert (held.st_mode & 0o777, held.st_uid) == (0o600, agent)


@pytest.mark.parametrize("url", ["https://broker.example", "mqtt://user:password@broker.example", "mqtt://"])
def test_what_is_no_broker_is_told_before_the_code_leaves_the_box(state: Path, collector: Collector, url: str) -> None:
    with pytest.raises(ConfigError, match="--mqtt"):
        enrol(state, collector.invite.format(), URL, client(collector.answer), way=Way(mqtt=url))
    assert collector.taken is None


def test_a_collector_with_another_key_is_refused(state: Path, collector: Collector) -> None:
    collector.key = PrivateKey.generate()
    refused(state, collector, EnrolmentError, "of the invite code")


def test_a_receipt_of_another_key_is_refused(state: Path, collector: Collector) -> None:
    collector.signer = PrivateKey.generate()
    refused(state, collector, SignatureError, "found key")


@pytest.mark.parametrize(
    "alter",
    [
        lambda receipt: replace(receipt, gateway=bytes(16)),
        lambda receipt: replace(receipt, head=bytes(32)),
        lambda receipt: replace(receipt, next_seq=7),
        lambda receipt: replace(receipt, epoch=1),
    ],
    ids=["gateway", "head", "next seq", "epoch"],
)
def test_a_receipt_for_something_else_is_refused(
    state: Path, collector: Collector, alter: Callable[[Receipt], Receipt]
) -> None:
    collector.alter = alter
    refused(state, collector, EnrolmentError, "for another gateway or request")


PROBLEM = json.dumps({"title": "no", "code": "ENR-401", "detail": "the code K7QF has expired"}).encode()
ANSWERS: dict[str, tuple[httpx.Response, type[TanmeterError], str]] = {
    "a problem with a detail": (httpx.Response(403, content=PROBLEM), EnrolmentError, "K7QF has expired"),
    "a problem without": (
        httpx.Response(409, content=b'{"title": "Conflict", "code": "SIG-603"}'),
        EnrolmentError,
        "Conflict",
    ),
    "no problem document": (httpx.Response(404, content=b"<html>"), StrangerError, "status 404"),
    "no such address": (httpx.Response(404, json={"code": "API-404", "detail": "none"}), StrangerError, "status 404"),
    "a redirect": (httpx.Response(302, headers={"Location": "http://elsewhere/"}), StrangerError, "status 302"),
    "a server error": (httpx.Response(502, content=b"bad gateway"), UnreachableError, "status 502"),
    "something else": (httpx.Response(200, content=b"<html>"), StrangerError, "not a collector's"),
    "nothing": (httpx.Response(200), StrangerError, "not a collector's"),
    "no key": (
        httpx.Response(200, content=cbor.encode({0: -19, 1: b"key", 2: b""})),
        StrangerError,
        "not a collector's",
    ),
    "far too much": (httpx.Response(200, content=bytes(1 << 20)), UnreachableError, "over 65536 bytes"),
}


@pytest.mark.parametrize(("response", "error", "said"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_bad_answer_is_told(state: Path, response: httpx.Response, error: type[TanmeterError], said: str) -> None:
    code = invite.make(bytes(9), b"spki").format()
    with pytest.raises(error, match=said):
        enrol(state, code, URL, client(lambda request: response))
    assert not (state / "collector.json").exists()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_collector_is_asked_to_say_why_not_in_the_language_of_this_run(
    state: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANMETER_LANG", language)

    def answer(request: httpx.Request) -> httpx.Response:
        said = {"code": "ENR-401", "detail": f"no, in {request.headers['Accept-Language']}"}
        return httpx.Response(403, json=said)

    with pytest.raises(EnrolmentError, match=f"says no: no, in {language}"):
        enrol(state, invite.make(bytes(9), b"spki").format(), URL, client(answer))


def test_a_collector_out_of_reach_is_told(state: Path) -> None:
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        enrol(state, invite.make(bytes(9), b"spki").format(), "http://127.0.0.1:1")


WRONG = ["", "collector.example", "ftp://x", "http://", "http://x\n", "http://x ", "http://例\ud800"]
WRONG += ["http://[::1", "http://x:99999", "http://x:y", "https://x/?site=1", "https://x/#1"]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_address_is_told(state: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="--collector"):
        enrol(state, invite.make(bytes(9), b"spki").format(), url)


def test_a_mistyped_code_never_leaves_the_box(state: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("the code was sent")

    code = invite.make(bytes(9), b"spki").format()
    wrong = ("1" if code[0] == "0" else "0") + code[1:]
    with pytest.raises(EnrolmentError, match="mistyped"):
        enrol(state, wrong, URL, client(answer))


def test_a_box_stays_with_its_collector(state: Path, collector: Collector) -> None:
    enrol(state, collector.invite.format(), URL, client(collector.answer))
    before = (state / "collector.json").read_bytes()
    other = PrivateKey.generate()
    second = Collector(other, invite.make(b"other nin", other.spki))
    with pytest.raises(ConfigError, match=r"enrolled with http://collector\.example"):
        enrol(state, second.invite.format(), URL, client(second.answer))
    assert (state / "collector.json").read_bytes() == before


@pytest.mark.parametrize(
    "contents",
    [b"", b"[]", b"{}", b'{"url": 1, "algorithm": -19, "spki": ""}', b'{"url": "u", "algorithm": -19, "spki": "xy"}'],
)
def test_a_damaged_collector_file_is_told(state: Path, collector: Collector, contents: bytes) -> None:
    (state / "collector.json").write_bytes(contents)
    with pytest.raises(ConfigError, match=r"collector\.json"):
        enrol(state, collector.invite.format(), URL, client(collector.answer))


def test_no_box_no_enrolment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tanmeter site init"):
        enrol(tmp_path, invite.make(bytes(9), b"spki").format(), URL)


def test_the_oldest_block_stays_where_it_is_while_the_box_is_being_enrolled(state: Path, collector: Collector) -> None:
    """Whether it goes well or not: the agent deletes nothing meanwhile, and afterwards goes on."""
    seen = []

    def busy(request: httpx.Request) -> httpx.Response:
        with lets_go(state, None) as may:
            seen.append(may)
        return httpx.Response(503) if len(seen) == 1 else collector.answer(request)

    with pytest.raises(UnreachableError):
        enrol(state, collector.invite.format(), URL, client(busy))
    with lets_go(state, None) as may:
        assert may
    enrol(state, collector.invite.format(), URL, client(busy))
    assert seen == [False, False]
