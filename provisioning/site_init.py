"""Setting a box up: its key is born on it, the site file is signed, the record begins. And every change after that."""

import difflib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from drivers import busload
from drivers import site as sites
from drivers.builtin import builtin, builtin_ids, near
from drivers.installation import Installation, install
from edge.config import ENROLMENT, KEY
from protocols.errors import ConfigError
from protocols.record.cose import PrivateKey, PublicKey, kid_of
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, digest, open_site, sign_site
from provisioning import folder, keys

FILE_CUSTODY = 0
_Contents = tuple[bytes, tuple[tuple[str, bytes], ...]]
"""A site file and the (id, SHA-256) of each profile it names."""


def init(
    state: Path,
    site_toml: bytes,
    profiles: Mapping[str, bytes],
    technician: PrivateKey,
    now_ms: int,
    *,
    name: str = "site.toml",
    overload: bool = False,
) -> None:
    """Set up the box in ``state``: gateway key, profiles, configuration 1, enrolment request.

    ConfigError when the site file is wrong or the box is set up already, and when a port is asked for too much of its
    time, unless ``overload``. Cut short at any point, the same call
    finishes: the enrolment request is written last, and nothing counts before it.
    """
    installation = _admitted(site_toml, profiles, name, overload)
    refuse_second(state)
    config = _first(state, (site_toml, _digests(site_toml, profiles)), technician, now_ms, name)
    _keep_profiles(state, config, profiles)
    key = keys.load_or_create(state / KEY)
    folder.write(state / folder.SITE, site_toml)
    envelope = folder.read(folder.config_path(state, 1), "the configuration just signed")
    request = _request(key, technician, installation, envelope, now_ms)
    folder.write_new(state / ENROLMENT, sign_enrolment(request, key))


def refuse_second(state: Path) -> None:
    """ConfigError where a box is set up already: better told before anything is asked."""
    if (state / ENROLMENT).exists():
        box = folder.read_box(state)
        found = f"a box that is set up: site {box.enrolment.site_id}, gateway {box.enrolment.key.id.hex()}"
        raise ConfigError(str(state), found, "an empty folder (a changed site file is signed with tanmeter site sign)")


def sign(
    state: Path,
    site_toml: bytes,
    profiles: Mapping[str, bytes],
    technician: PrivateKey,
    now_ms: int,
    *,
    name: str = "site.toml",
    overload: bool = False,
) -> int:
    """Make a changed site file the configuration in force; its number. Unchanged, nothing is signed.

    ConfigError when the file is wrong, gives a meter another number or is of another site, or the key is not the
    technician's whom the collector knows, and when a port is asked for too much of its time, unless ``overload``.
    """
    box = folder.read_box(state)
    if technician.public != box.enrolment.technician:
        found, expected = technician.public.kid.hex(), box.enrolment.technician.kid.hex()
        raise ConfigError("--technician-key", f"key {found}", f"key {expected}, with which this box was set up")
    _check_change(box.newest.site, site_toml, name)
    _admitted(site_toml, profiles, name, overload)
    previous = box.newest
    wanted = (site_toml, _digests(site_toml, profiles))
    if (previous.site, previous.profiles) != wanted:
        config = SiteConfig(previous.number + 1, digest(box.configs[-1].envelope), *wanted, now_ms)
        _keep_profiles(state, config, profiles)
        folder.write_new(folder.config_path(state, config.number), sign_site(config, technician))
        previous = config
    folder.write(state / folder.SITE, site_toml)
    return previous.number


def changes(state: Path, site_toml: bytes) -> str:
    """What a site file changes in the configuration in force, line by line; empty when nothing."""
    newest = folder.read_box(state).newest
    before, after = newest.site.decode().splitlines(), site_toml.decode("utf-8", "replace").splitlines()
    names = (f"configuration {newest.number}", f"configuration {newest.number + 1}")
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm="", n=2))


def gather(site_toml: bytes, profile_dir: Path | None = None, name: str = "site.toml") -> dict[str, bytes]:
    """The profiles a site file names: ``ID.toml`` of ``profile_dir``, else the one that comes with us; ConfigError."""
    found: dict[str, bytes] = {}
    for index, device in enumerate(sites.load(site_toml, name).device):
        path = profile_dir / f"{device.profile}.toml" if profile_dir else None
        if path is not None and path.is_file():
            found[device.profile] = folder.read(path, "a profile")
        elif device.profile in builtin_ids():
            found[device.profile] = builtin(device.profile)
        else:
            expected = near(device.profile) + (f", or {path}" if path else "")
            raise ConfigError(f"{name}: device[{index}].profile", repr(device.profile), expected)
    return found


def _admitted(site_toml: bytes, profiles: Mapping[str, bytes], name: str, overload: bool) -> Installation:
    """The installation that the file describes, whose ports can bear what they are asked."""
    installation = install(site_toml, _named(site_toml, profiles, name), name)
    if not overload:
        busload.admit(installation.site, installation.drivers, installation.profiles, name)
    return installation


def _first(state: Path, contents: _Contents, technician: PrivateKey, now_ms: int, name: str) -> SiteConfig:
    """Configuration 1: signed now, or the same one signed before a set-up was cut short."""
    path = folder.config_path(state, 1)
    if not path.exists():
        config = SiteConfig(1, NO_PREVIOUS, *contents, now_ms)
        folder.write_new(path, sign_site(config, technician))
        return config
    expected = f"the same {name} and technician's key as then, or an empty folder"
    if not _signed_by(path, technician.public):
        raise ConfigError(str(path), "an unfinished set-up, signed by another technician's key", expected)
    held = open_site(folder.read(path, expected), technician.public)
    if (held.site, held.profiles) != contents:
        raise ConfigError(str(path), "an unfinished set-up with another site file or profile", expected)
    return held


def _signed_by(path: Path, key: PublicKey) -> bool:
    return kid_of(folder.read(path, "a signed configuration")) == key.kid


def _request(
    key: PrivateKey, technician: PrivateKey, installation: Installation, config: bytes, now_ms: int
) -> Enrolment:
    return Enrolment(
        algorithm=key.algorithm,
        spki=key.spki,
        technician_algorithm=technician.algorithm,
        technician_spki=technician.spki,
        site_id=installation.site.site.id,
        site_config=digest(config),
        custody=FILE_CUSTODY,
        at=now_ms,
        nonce=os.urandom(16),
    )


def _named(site_toml: bytes, profiles: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """The profiles the site file names, of those there are."""
    wanted = {device.profile for device in sites.load(site_toml, name).device}
    return {key: source for key, source in profiles.items() if key in wanted}


def _digests(site_toml: bytes, profiles: Mapping[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    named = _named(site_toml, profiles, "site.toml")
    return tuple((key, hashlib.sha256(named[key]).digest()) for key in sorted(named))


def _keep_profiles(state: Path, config: SiteConfig, profiles: Mapping[str, bytes]) -> None:
    for key, sha256 in config.profiles:
        folder.write(folder.profile_path(state, sha256), profiles[key])


def _check_change(before: bytes, after: bytes, name: str) -> None:
    """A device's number is its place in the file and stays its own; a site stays itself. ConfigError."""
    old, new = sites.load(before, "the configuration in force"), sites.load(after, name)
    if new.site.id != old.site.id:
        raise ConfigError(
            f"{name}: site.id", repr(new.site.id), f"{old.site.id!r}: another site needs a box of its own"
        )
    numbers = {device.id: number for number, device in enumerate(old.device)}
    for number, device in enumerate(new.device):
        if numbers.get(device.id, number) != number:
            expected = f"it at device[{numbers[device.id]}]: a meter keeps its number, new ones come last"
            raise ConfigError(f"{name}: device[{number}]", f"{device.id!r}", expected)
