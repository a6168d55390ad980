"""A profile file into a profile: what the types cannot say is checked here, protocol by protocol."""

from drivers import toml
from drivers.profile import Profile
from drivers.profile_checks import check


def load(source: bytes, name: str = "profile") -> Profile:
    """The profile in a TOML document; ConfigError names the place that is wrong."""
    profile = toml.load(source, Profile, name)
    check(profile, name)
    return profile
