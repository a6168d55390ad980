"""The configuration an agent runs on: the newest that is whole. A file that rots or was cut short stops no measuring.

What an agent was started with is kept in a second place, so that a configuration that was in force can be put back from
there; one that never was, and does not open, is passed over. Either is flagged until somebody has put the file right.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from drivers.installation import Installation, install
from edge import config, keys
from edge.config import COLLECTOR, CONFIGS, ENROLMENT, KEY, PROFILES, Collector, EdgeConfig, Signed
from edge.durable import sync_folder
from protocols.errors import ConfigError
from protocols.record.cose import PublicKey
from protocols.record.siteconfig import NO_PREVIOUS

KEPT = "kept"


def load(state: Path) -> EdgeConfig:
    """What the state folder holds; where a file of it is wrong, the last good configuration, with what is wrong in
    ``flaws``. ConfigError when there is none, or no key.
    """
    try:
        held = config.load(state)
    except ConfigError as error:
        held = _last_good(state, error)
    with suppress(OSError):  # a full disk: it is kept at the next start
        _keep(state, held)
    return held


def _last_good(state: Path, error: ConfigError) -> EdgeConfig:
    key, kept = keys.load(state / KEY), state / KEPT
    envelope = enrolment = None
    for folder in (state, kept):
        with suppress(ConfigError):
            envelope = config.read(folder / ENROLMENT, "an enrolment")
            enrolment = config.enrolment_of(folder / ENROLMENT, envelope, key)
            break
    if envelope is None or enrolment is None:
        raise error
    good = list(_good(state, enrolment.technician))
    while good:
        with suppress(ConfigError):
            installation = _install(good[-1])
            collector, flaws = _collector(state)
            told = (str(error), *(flaw for flaw in flaws if flaw != str(error)))
            return replace(EdgeConfig(state, key, envelope, tuple(good), installation, collector), flaws=told)
        good.pop()
    raise error


def _good(state: Path, technician: PublicKey) -> Iterator[Signed]:
    """The configurations that are whole, here or where they are kept, up to the first that is neither."""
    roots = (state, state / KEPT)
    names = sorted({path.name for root in roots for path in (root / CONFIGS).glob("*.cose")})
    previous, last = NO_PREVIOUS, 0
    for name in names:
        found = None
        for path, profiles in ((root / CONFIGS / name, other / PROFILES) for root in roots for other in roots):
            with suppress(ConfigError):
                found = config.signed(path, profiles, technician)
                break
        if found is None or found.config.previous != previous or found.config.number <= last:
            return
        last, previous = found.name
        yield found


def _install(signed: Signed) -> Installation:
    profiles = {name: source for (name, _), source in zip(signed.config.profiles, signed.profiles, strict=True)}
    return install(signed.config.site, profiles, f"{CONFIGS}/{signed.config.number:04d}.cose")


def _collector(state: Path) -> tuple[Collector | None, tuple[str, ...]]:
    try:
        return config.load_collector(state / COLLECTOR), ()
    except ConfigError as error:
        return None, (str(error),)


def _keep(state: Path, held: EdgeConfig) -> None:
    """Put a copy of everything that was opened where it is not looked for otherwise."""
    kept = state / KEPT
    files = {kept / ENROLMENT: held.enrolment}
    for signed in held.configurations:
        files[kept / CONFIGS / f"{signed.config.number:04d}.cose"] = signed.envelope
        for (_, sha256), source in zip(signed.config.profiles, signed.profiles, strict=True):
            files[kept / PROFILES / f"{sha256.hex()}.toml"] = source
    for path, content in files.items():
        if not path.exists() or path.read_bytes() != content:
            _place(path, content)


def _place(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)
