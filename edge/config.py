"""The state folder made usable: the signed configuration in force, its drivers, the keys, where the collector is."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.installation import Installation, install
from edge import keys
from edge.sealer import Planned
from protocols.errors import ConfigError, RecordError
from protocols.record.cose import PrivateKey, PublicKey
from protocols.record.enrolment import Enrolment, open_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, digest, open_site

KEY = "gateway.key"
ENROLMENT = "enrolment.cose"
COLLECTOR = "collector.json"
FORMER = "collector-*.json"
CONFIGS = "configs"
PROFILES = "profiles"
OUTBOX = "outbox.db"
SOCKET = "control.sock"
ADAPTERS = "adapters.json"
LEARNED = "learned.json"
ADDRESSES = "addresses.json"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed site configuration with the profile files it names."""

    envelope: bytes
    config: SiteConfig
    profiles: tuple[bytes, ...]

    @property
    def name(self) -> tuple[int, bytes]:
        """Its number and digest, as blocks name it."""
        return self.config.number, digest(self.envelope)


@dataclass(frozen=True, slots=True)
class Collector:
    """Where blocks are sent, and the key its receipts are signed with.

    Beside them what the way there may need: ``ca``, the certificates it must hang on instead of the system's; at a
    broker the name and password of this box, or its own certificate. Paths lie in the state folder unless absolute.
    """

    url: str
    key: PublicKey
    ca: Path | None = None
    user: str | None = None
    password: str | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EdgeConfig:
    """Everything an agent is started with."""

    state: Path
    key: PrivateKey
    enrolment: bytes
    configurations: tuple[Signed, ...]
    installation: Installation
    collector: Collector | None
    former: tuple[PublicKey, ...] = ()
    """Keys of collectors that the box was enrolled with before."""
    flaws: tuple[str, ...] = ()
    """What is wrong in the folder, where an agent runs on the last good configuration."""

    @property
    def in_force(self) -> Signed:
        """The newest configuration."""
        return self.configurations[-1]

    @property
    def gateway(self) -> bytes:
        """The gateway's id."""
        return self.key.public.id

    @property
    def previous(self) -> bytes:
        """What the first block names as its predecessor: SHA-256 of the enrolment."""
        return digest(self.enrolment)

    def plan(self) -> tuple[Planned, ...]:
        """What is asked of each device."""
        held = self.installation
        return tuple(
            Planned(number, held.digests[number], tuple((query.request, query.period_ms) for query in driver.queries()))
            for number, driver in enumerate(held.drivers)
        )


def technician(state: Path) -> PublicKey:
    """The key that this box's configurations are signed with; ConfigError, RecordError."""
    return open_enrolment(read(state / ENROLMENT, "an enrolment: run `tanmeter site init`")).technician


def site_id(state: Path) -> str:
    """The id of the site this box was set up for, for its log; empty when that cannot be read."""
    try:
        return open_enrolment((state / ENROLMENT).read_bytes()).site_id
    except (OSError, RecordError):
        return ""


def load(state: Path) -> EdgeConfig:
    """What the state folder holds; ConfigError names the file that is wrong."""
    key = keys.load(state / KEY)
    envelope = read(state / ENROLMENT, "an enrolment: run `tanmeter site init`")
    enrolment = enrolment_of(state / ENROLMENT, envelope, key)
    configurations = load_configurations(state, enrolment.technician)
    newest = configurations[-1]
    profiles = {name: source for (name, _), source in zip(newest.config.profiles, newest.profiles, strict=True)}
    installation = install(newest.config.site, profiles, f"{CONFIGS}/{newest.config.number:04d}.cose")
    return EdgeConfig(state, key, envelope, configurations, installation, load_collector(state / COLLECTOR))


def load_configurations(state: Path, technician: PublicKey) -> tuple[Signed, ...]:
    """The signed configurations by rising number, each naming the one before it; ConfigError."""
    paths = sorted((state / CONFIGS).glob("*.cose"))
    if not paths:
        raise ConfigError(str(state / CONFIGS), "no signed configuration", "one: run `tanmeter site init`")
    loaded = [signed(path, state / PROFILES, technician) for path in paths]
    previous, last = NO_PREVIOUS, 0
    for path, each in zip(paths, loaded, strict=True):
        if each.config.previous != previous or each.config.number <= last:
            found = f"number {each.config.number} after {each.config.previous.hex()[:16]}"
            raise ConfigError(str(path), found, f"a number above {last} after {previous.hex()[:16]}")
        last, previous = each.name
    return tuple(loaded)


def load_collector(path: Path) -> Collector | None:
    """The collector this box is enrolled with; None before that. ConfigError."""
    try:
        if not path.exists():
            return None
        held: dict[str, Any] = json.loads(path.read_bytes())
        files = [held.get(name) for name in ("ca", "certificate", "certificate_key")]
        ca, certificate, certificate_key = [None if name is None else path.parent / name for name in files]
        return Collector(
            str(held["url"]),
            PublicKey(int(held["algorithm"]), bytes.fromhex(held["spki"])),
            ca,
            held.get("user"),
            held.get("password"),
            certificate,
            certificate_key,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecordError) as error:
        expected = "url, algorithm and spki: run `tanmeter site enrol` again"
        raise ConfigError(str(path), f"{type(error).__name__}: {error}", expected) from error


def former_collectors(state: Path) -> tuple[PublicKey, ...]:
    """The keys of collectors that the box was enrolled with before, as far as they can be read."""
    found = []
    for path in sorted(state.glob(FORMER)):
        with suppress(ConfigError):
            held = load_collector(path)
            found += [] if held is None else [held.key]
    return tuple(found)


def opened_enrolment(path: Path, envelope: bytes) -> Enrolment:
    """The enrolment in a file; ConfigError."""
    try:
        return open_enrolment(envelope)
    except RecordError as error:
        raise ConfigError(str(path), f"something else ({error})", "the enrolment this gateway signed") from error


def enrolment_of(path: Path, envelope: bytes, key: PrivateKey) -> Enrolment:
    """The enrolment in a file, made with this key; ConfigError."""
    enrolment = opened_enrolment(path, envelope)
    if enrolment.key != key.public:
        raise ConfigError(str(path), f"an enrolment of {enrolment.key.id.hex()}", f"one of {key.public.id.hex()}")
    return enrolment


def signed(path: Path, profiles: Path, technician: PublicKey) -> Signed:
    """A configuration of this technician with its profiles out of a folder; ConfigError."""
    envelope = read(path, "a signed configuration")
    try:
        config = open_site(envelope, technician)
    except RecordError as error:
        expected = "a configuration signed by the technician of the enrolment"
        raise ConfigError(str(path), str(error), expected) from error
    return Signed(envelope, config, tuple(_profile(profiles, sha256) for _, sha256 in config.profiles))


def _profile(folder: Path, sha256: bytes) -> bytes:
    path = folder / f"{sha256.hex()}.toml"
    source = read(path, "the profile that the signed configuration names")
    if (found := hashlib.sha256(source).digest()) != sha256:
        raise ConfigError(str(path), f"content with SHA-256 {found.hex()}", "the content its name says")
    return source


def read(path: Path, expected: str) -> bytes:
    """The file; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), expected) from error
