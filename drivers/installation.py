"""A signed site configuration made usable: the site, its profiles by digest, a driver for each device."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from drivers import profile_file
from drivers import site as sites
from drivers.driver import Driver, driver
from drivers.profile import Profile
from drivers.site import Site
from protocols.errors import ChainError, ConfigError

UNASKED = ("hj212",)
"""Protocols whose devices speak unasked: their ports are listened to."""
FLUE_GAS = "flue-gas"
"""The role and the medium of what measures an emission instead of a consumption."""


@dataclass(frozen=True, slots=True, eq=False)
class Installation:
    """What gives a block's bytes their meaning: edge, collector and verifier hold the same one."""

    site: Site
    profiles: Mapping[str, Profile]
    drivers: tuple[Driver, ...]
    digests: tuple[bytes, ...]

    def driver(self, device: int, digest: bytes) -> Driver:
        """The driver of a chunk's device; ChainError unless the configuration has this very entry under the number."""
        if device >= len(self.drivers):
            raise ChainError(f"found device {device}, expected one of the {len(self.drivers)} of the configuration")
        if self.digests[device] != digest:
            expected = self.digests[device].hex()
            raise ChainError(f"device {device}: found entry digest {digest.hex()}, expected {expected}")
        return self.drivers[device]


def install(site_toml: bytes, profiles: Mapping[str, bytes], name: str = "site.toml") -> Installation:
    """The installation of a site file and the profile files it names, by id; ConfigError names the place."""
    site, digests = sites.load_with_digests(site_toml, name)
    loaded = {key: _profile(key, source) for key, source in profiles.items()}
    drivers = tuple(_driver(site, index, loaded, name) for index in range(len(site.device)))
    _check_addresses(site, drivers, name)
    _check_ports(site, drivers, name)
    return Installation(site, loaded, drivers, digests)


def _profile(key: str, source: bytes) -> Profile:
    profile = profile_file.load(source, f"profile {key}")
    if profile.id != key:
        raise ConfigError(f"profile {key}: id", repr(profile.id), repr(key))
    return profile


def _driver(site: Site, index: int, profiles: Mapping[str, Profile], name: str) -> Driver:
    device = site.device[index]
    where = f"{name}: device[{index}]"
    profile = profiles.get(device.profile)
    if profile is None:
        raise ConfigError(f"{where}.profile", repr(device.profile), "a profile: " + ", ".join(sorted(profiles)))
    if device.role != "sub" and (device.role == FLUE_GAS) != (profile.medium == FLUE_GAS):
        expected = f"the role {FLUE_GAS}" if profile.medium == FLUE_GAS else "purchased or sub"
        raise ConfigError(f"{where}.role", f"{device.role!r} for a {profile.medium} profile", expected)
    port = next(port for port in site.port if port.name == device.port)
    if port.device is not None and device.mode is None:
        device = msgspec.structs.replace(device, mode=port.mode)
    return driver(device, profile, port.framing if port.tcp else "rtu", where, site.zone)


def _check_addresses(site: Site, drivers: tuple[Driver, ...], name: str) -> None:
    """Two spellings of one address on one port are one meter: all but Modbus fill short numbers with zeros."""
    seen: set[tuple[str, str, str]] = set()
    for index, (device, held) in enumerate(zip(site.device, drivers, strict=True)):
        protocol = held.profile.protocol
        address = device.address if protocol == "modbus" else device.address.lstrip("0")
        place = (device.port, protocol, address)
        if place in seen:
            where = f"{name}: device[{index}].address"
            raise ConfigError(where, f"{device.address!r} a second time", "one meter an address")
        seen.add(place)


def _check_ports(site: Site, drivers: tuple[Driver, ...], name: str) -> None:
    """A port is asked or listened to: devices that speak unasked share theirs with no others."""
    listening = {port.name for port in site.port if port.listen is not None}
    listening |= {
        device.port for device, held in zip(site.device, drivers, strict=True) if held.profile.protocol in UNASKED
    }
    for index, (device, held) in enumerate(zip(site.device, drivers, strict=True)):
        if device.port in listening and held.profile.protocol not in UNASKED:
            expected = f"a port of its own: on {device.port} devices speak unasked"
            raise ConfigError(f"{name}: device[{index}].port", f"a device of {held.profile.protocol}", expected)
