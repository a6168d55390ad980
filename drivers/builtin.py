"""The profiles that come with tanmeter."""

from difflib import get_close_matches
from importlib.resources import files

from protocols.errors import ConfigError

NEAR = 5
"""So many ids are named to whoever asks for one that is none."""


def builtin_ids() -> tuple[str, ...]:
    """The ids of the profiles that come with tanmeter."""
    names = (entry.name for entry in files("drivers").joinpath("profiles").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def builtin(profile_id: str) -> bytes:
    """The file of a profile that comes with tanmeter; ConfigError when there is none of this id."""
    if profile_id not in builtin_ids():
        raise ConfigError("profile", repr(profile_id), near(profile_id))
    return files("drivers").joinpath("profiles", f"{profile_id}.toml").read_bytes()


def near(profile_id: str) -> str:
    """What may have been meant by an id that is none."""
    found = "".join(f"{name}, " for name in get_close_matches(profile_id, builtin_ids(), NEAR))
    listed = "that `tanmeter profile list` shows"
    return f"one of {found}or another {listed}" if found else f"one {listed}"
