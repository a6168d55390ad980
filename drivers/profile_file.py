"""A profile file into a profile: what the types cannot say is checked here, protocol by protocol."""

from functools import lru_cache

from drivers import toml
from drivers.profile import Profile
from drivers.profile_checks import check

MOST_KEPT = 128
"""Profiles kept read: the ones that come with tanmeter, and a site's own; every meter of a model asks for its own."""


@lru_cache(MOST_KEPT)
def load(source: bytes, name: str = "profile") -> Profile:
    """The profile in a TOML document; ConfigError names the place that is wrong."""
    profile = toml.load(source, Profile, name)
    check(profile, name)
    return profile
