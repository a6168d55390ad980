"""Who a gateway is and what its bytes mean: its enrolment, its signed configurations, the profiles they name."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from drivers.installation import Installation, install
from protocols.errors import EvidenceError, TanmeterError
from protocols.record import cose, siteconfig
from protocols.record.enrolment import Enrolment, open_enrolment
from protocols.record.siteconfig import SiteConfig

ROOT = "gateways/"


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A gateway as its own signature and its technician's say. ``configurations``: number -> (digest, meaning).

    ``files``: the names of the files this was read from.
    """

    folder: str
    enrolment: Enrolment
    enrolment_digest: bytes
    key: cose.PublicKey
    configurations: Mapping[int, tuple[bytes, Installation]]
    files: frozenset[str]

    @property
    def id(self) -> str:
        """The gateway's id in hex: what is printed on its label."""
        return self.key.id.hex()


@contextmanager
def checking(file: str, rule: str) -> Iterator[None]:
    """Whatever of ours goes wrong inside is an EvidenceError about this file and this rule."""
    try:
        yield
    except EvidenceError:
        raise
    except TanmeterError as error:
        raise EvidenceError(file, rule, f"{error.code} {error}") from error


def identify(folder: str, files: Mapping[str, bytes]) -> Identity:
    """The gateway of a folder of the pack; EvidenceError.

    The enrolment is signed by the key it names, and that key is the folder's name. The first configuration is the one
    enrolled, each later one names its predecessor, all are the technician's, and each profile is the one they name.
    """
    where = f"{folder}enrolment.cose"
    with checking(where, "enrolment"):
        envelope = _file(files, where, "enrolment")
        enrolment = open_enrolment(envelope)
        key = enrolment.key
    if folder != f"{ROOT}{key.id.hex()}/":
        raise EvidenceError(where, "enrolment", f"found the key of gateway {key.id.hex()}, expected {folder}'s own")
    configurations: dict[int, tuple[bytes, Installation]] = {}
    used, last = {where}, 0
    for name in sorted(name for name in files if name.startswith(f"{folder}configs/")):
        with checking(name, "configuration"):
            config = siteconfig.open_site(files[name], enrolment.technician)
            if name != f"{folder}configs/{config.number:04d}.cose" or config.number <= last:
                detail = f"found number {config.number} after {last}, expected rising numbers, each in its own file"
                raise EvidenceError(name, "configuration", detail)
            _check_link(name, files[name], config, enrolment, configurations.get(last))
            installation = install(config.site, dict(_profiles(folder, files, config)), "site.toml")
        used |= {name, *(_profile(folder, digest) for _, digest in config.profiles)}
        configurations[config.number] = (siteconfig.digest(files[name]), installation)
        last = config.number
    if not configurations:
        raise EvidenceError(f"{folder}configs/", "configuration", "found none, expected the one that was enrolled")
    return Identity(folder, enrolment, siteconfig.digest(envelope), key, configurations, frozenset(used))


def _check_link(
    name: str, envelope: bytes, config: SiteConfig, enrolment: Enrolment, before: tuple[bytes, Installation] | None
) -> None:
    if before is None and siteconfig.digest(envelope) != enrolment.site_config:
        raise EvidenceError(name, "configuration", f"found another than was enrolled: {enrolment.site_config.hex()}")
    if before is not None and config.previous != before[0]:
        raise EvidenceError(
            name, "configuration", f"found the predecessor {config.previous.hex()}, expected {before[0].hex()}"
        )


def _profiles(folder: str, files: Mapping[str, bytes], config: SiteConfig) -> Iterator[tuple[str, bytes]]:
    """Id and file of each profile that a configuration names, by the digest it names it with."""
    for profile_id, digest in config.profiles:
        name = _profile(folder, digest)
        source = _file(files, name, "profile")
        if hashlib.sha256(source).digest() != digest:
            found = hashlib.sha256(source).hexdigest()
            raise EvidenceError(name, "profile", f"found SHA-256 {found}, expected {digest.hex()}: {profile_id}")
        yield profile_id, source


def _profile(folder: str, digest: bytes) -> str:
    return f"{folder}profiles/{digest.hex()}.toml"


def _file(files: Mapping[str, bytes], name: str, rule: str) -> bytes:
    if name not in files:
        raise EvidenceError(name, rule, "found no such file, expected it in the pack")
    return files[name]
