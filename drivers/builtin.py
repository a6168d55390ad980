"""The profiles that come with tanmeter."""

from difflib import get_close_matches
from importlib.resources import files

from protocols.errors import ConfigError

NEAR = 5
"""So many ids are named to whoever asks for one that is none."""
LISTED = "one that `tanmeter profile list` shows, or a file whose name ends in .toml"


def builtin_ids() -> tuple[str, ...]:
    """The ids of the profiles that come with tanmeter."""
    names = (entry.name for entry in files("drivers").joinpath("profiles").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def builtin(profile_id: str) -> bytes:
    """The file of a profile that comes with tanmeter; ConfigError when there is none of this id."""
    if profile_id not in (known := builtin_ids()):
        near = "".join(f"{name}, " for name in get_close_matches(profile_id, known, NEAR))
        expected = f"one of {near}or another that `tanmeter profile list` shows" if near else LISTED
        raise ConfigError("profile", repr(profile_id), expected)
    return files("drivers").joinpath("profiles", f"{profile_id}.toml").read_bytes()
