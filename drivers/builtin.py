"""The profiles that come with tanmeter."""

from importlib.resources import files

from protocols.errors import ConfigError


def builtin_ids() -> tuple[str, ...]:
    """The ids of the profiles that come with tanmeter."""
    names = (entry.name for entry in files("drivers").joinpath("profiles").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def builtin(profile_id: str) -> bytes:
    """The file of a profile that comes with tanmeter; ConfigError when there is none of this id."""
    if profile_id not in builtin_ids():
        raise ConfigError("profile", repr(profile_id), "one of " + ", ".join(builtin_ids()))
    return files("drivers").joinpath("profiles", f"{profile_id}.toml").read_bytes()
