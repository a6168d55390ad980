"""MQTT over TLS with a certificate on each side, made here, at a real broker that asks for one.

What is refused is named by its code and loses nothing; a certificate that was renewed counts without a restart.
"""

import asyncio
import datetime
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloud import config as collector_config
from cloud import mqtt
from cloud.collector import Collector
from cloud.mqtt import Broker, Certificates, Door
from edge import control
from edge.clock import SystemClock
from edge.config import COLLECTOR, SOCKET
from edge.config import Collector as Enrolled
from edge.doctor import examine
from edge.mqtt import MqttTransport
from proofs import box as boxes
from proofs.scenes import meter
from protocols.errors import ConfigError, TrustError
from protocols.record.answer import BATCH_TYPE, encode_batch

ACL = Path(__file__).parents[2] / "docs/mosquitto/acl.conf"
BLOCKS = "/v1/blocks"
QUARTER = 900_000
DAYS = (-1, 30)
EXPIRED = (-30, -1)


class Authority:
    """Who vouches for a broker and its clients; what it signs is written as PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.file = self._write(f"{name}.pem", self._signed(self._name, self._key, DAYS, basic))

    def issue(self, name: str, days: tuple[int, int] = DAYS, file: str = "") -> tuple[Path, Path]:
        """A certificate in this name, good between these days from now, and its key."""
        key, subject = (
            ec.generate_private_key(ec.SECP256R1()),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signed = self._signed(subject, key, days, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
        return self._write(f"{file or name}.pem", signed), self._write(f"{file or name}.key", pem)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int], more: x509.ExtensionType
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now + datetime.timedelta(days=days[0]))
        made = made.not_valid_after(now + datetime.timedelta(days=days[1])).add_extension(more, critical=False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        (self._folder / name).write_bytes(content)
        return self._folder / name


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "plant-ca")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority, mosquitto: Callable[..., Any]) -> Any:
    """Asks for a certificate, whose common name is who it lets in."""
    certificate, key = authority.issue("broker")
    asked = (f"cafile {authority.file}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true")
    return mosquitto(*asked, "use_identity_as_username true", "allow_anonymous false", f"acl_file {ACL}")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "AGAIN_S", 0.1)


def url(broker: Any) -> str:
    return f"mqtts://localhost:{broker.port}"


async def beside(door: Door, work: Any) -> None:
    """Do some work while the door is open."""
    task = asyncio.create_task(door.run())
    try:
        async with asyncio.timeout(20):
            await door.connected.wait()
            await work
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_box_and_a_collector_that_show_their_certificates_are_let_in_and_nobody_else(
    house: Any, rig: Any, broker: Any, authority: Authority, tmp_path: Path, midnight: int
) -> None:
    rig.enrol(house.store, house.key)
    house.now = midnight + QUARTER
    body = encode_batch(list(rig.history(midnight, midnight + QUARTER, QUARTER)))
    stranger, name = Authority(tmp_path, "other-ca"), rig.id.hex()
    good = authority.issue(name)
    wrong = {
        "CERTIFICATE_REQUIRED": (authority.file, None, None),
        "CERTIFICATE_EXPIRED": (authority.file, *authority.issue(name, EXPIRED, "old")),
        "UNKNOWN_CA": (authority.file, *stranger.issue(name, file="strange")),
        "CERTIFICATE_VERIFY_FAILED": (stranger.file, *good),
    }

    def box(ca: Path, certificate: Path | None, key: Path | None) -> MqttTransport:
        held = Enrolled(url(broker), house.key.public, ca, certificate=certificate, certificate_key=key)
        return MqttTransport(held, rig.id)

    async def work() -> None:
        for said, files in wrong.items():
            with pytest.raises(TrustError, match=said):
                await box(*files).post(BLOCKS, body, BATCH_TYPE)
        assert house.store.gateway(rig.id).next_seq == 0
        right = box(authority.file, *good)
        assert (await right.post(BLOCKS, body, BATCH_TYPE)).status == 200
        await right.close()

    own = Certificates(authority.file, *authority.issue("collector"))
    collector = Collector(house.store, house.key, house.writer, lambda: house.now)
    asyncio.run(beside(Door(collector, Broker.of(url(broker), own)), work()))
    assert house.store.gateway(rig.id).next_seq == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("none", "CERTIFICATE_REQUIRED"), ("old", "CERTIFICATE_EXPIRED"), ("strange", "CERTIFICATE_VERIFY_FAILED")],
)
def test_a_collector_that_the_broker_does_not_know_says_why_and_goes_on_once_its_certificate_is_right(
    house: Any, broker: Any, authority: Authority, tmp_path: Path, caplog: Any, wrong: str, said: str
) -> None:
    certificate, key = authority.issue("collector", EXPIRED if wrong == "old" else DAYS)
    shutil.copy(Authority(tmp_path, "other-ca").file if wrong == "strange" else authority.file, tmp_path / "ca.pem")
    own = Certificates(tmp_path / "ca.pem", *((None, None) if wrong == "none" else (certificate, key)))
    door = Door(Collector(house.store, house.key, house.writer, lambda: house.now), Broker.of(url(broker), own))

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "cloud.mqtt"]

    async def main() -> None:
        task = asyncio.create_task(door.run())
        async with asyncio.timeout(10):
            while not told():  # noqa: ASYNC110 - what is logged rings no bell
                await asyncio.sleep(0.02)
            assert not door.connected.is_set()
            if wrong != "none":
                shutil.copy(authority.file, tmp_path / "ca.pem")
                authority.issue("collector")
                await door.connected.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert told()[0].startswith(f"MQTT: {TrustError.code} localhost:{broker.port}: ") and said in told()[0]


def test_files_that_do_not_belong_together_are_refused_at_once(
    house: Any, rig: Any, authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    for files in ((certificate, key), (tmp_path / "gone.pem", key)):
        with pytest.raises(ConfigError, match="PEM files"):
            Broker.of("mqtts://localhost", Certificates(authority.file, *files))
        with pytest.raises(ConfigError, match="PEM files"):
            held = Enrolled("mqtts://localhost", house.key.public, certificate=files[0], certificate_key=files[1])
            MqttTransport(held, rig.id)


def test_a_gateway_whose_certificate_has_expired_keeps_all_and_delivers_it_once_it_is_renewed(
    broker: Any, authority: Authority, tmp_path: Path
) -> None:
    """The processes as they run in the field, with what docs/operator.md says in their files."""
    with ExitStack() as held:
        box = boxes.set_up(tmp_path, boxes.site_file(held.enter_context(meter()).place, meters=1, period="1s"))
        own = authority.issue("collector")
        by_mqtt = ["--mqtt", url(broker), "--mqtt-ca", str(authority.file)]
        by_mqtt += ["--mqtt-certificate", str(own[0]), "--mqtt-key", str(own[1])]
        collector = started(held, [*boxes.collector_command(box, 0), *by_mqtt], tmp_path / "collector.log")
        boxes.until(lambda: "http://" in collector.said(), "a collector")
        boxes.enrol_at(box, int(collector.said().split("http://")[1].split("/")[0].rpartition(":")[2]))
        path, name = box.state / COLLECTOR, box.key.public.id.hex()
        files = {"ca": "ca.pem", "certificate": "box.pem", "certificate_key": "box.key"}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"url": url(broker), **files}))
        shutil.copy(authority.file, box.state / "ca.pem")
        renewed(authority, box.state, name, EXPIRED)
        agent = started(held, boxes.agent_command(box), tmp_path / "agent.log")
        boxes.until(lambda: "CERTIFICATE_EXPIRED" in agent.said(), "a certificate that is refused")
        sync = control.ask(box.state / SOCKET, "status")["sync"]
        assert (sync["state"], sync["code"]) == ("unreachable", "SYN-503")
        refused = doctor(box.state)
        assert (refused["broker"].code, refused["broker"].exit_code) == ("SYN-503", 5)
        assert "collector" not in refused, "who is not let in cannot ask behind it"
        boxes.until(lambda: agent.said().count('"sealed"') > 1, "blocks that wait")
        renewed(authority, box.state, name, DAYS)
        boxes.until(lambda: '"state": "idle"' in agent.said(), "all that is delivered")
        well = doctor(box.state)
        assert well["broker"].ok and well["collector"].ok and well["signs"].ok
    sealed = agent.said().count('"sealed"')
    with collector_config.open_store(box.data, collector_config.open_key(box.data)) as store:
        row = store.gateway(box.key.public.id)
        assert row is not None and sealed - 2 <= row.blocks <= sealed and row.next_seq == row.blocks > 1


def renewed(authority: Authority, state: Path, name: str, days: tuple[int, int]) -> None:
    for made, file in zip(authority.issue(name, days), ("box.pem", "box.key"), strict=True):
        shutil.copy(made, state / file)


def doctor(state: Path) -> dict[str, Any]:
    """What the doctor finds, by name."""
    return {check.name: check for check in asyncio.run(examine(state, SystemClock()))}


class Process:
    """A process of its own, and what it has said."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(command, stderr=said, env=os.environ | boxes.ENVIRONMENT)

    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def end(self) -> None:
        self._process.terminate()
        assert self._process.wait(20) == 0, self.said()


def started(held: ExitStack, command: list[str], log: Path) -> Process:
    process = Process(command, log)
    held.callback(process.end)
    return process
