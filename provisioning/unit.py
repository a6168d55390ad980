"""The systemd units of gateway and collector, filled in for this installation; put in place on a box or in an image."""

import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from protocols.errors import ConfigError

UNITS = Path("etc/systemd/system")
USERS = Path("etc/sysusers.d")
TUNING = Path("etc/sysctl.d")
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")
"""What ProtectHome and PrivateTmp keep from a service."""
STATE = Path("/var/lib")
PLACE = re.compile(r"[\w.:\[\]-]+:\d+")
SEEN = re.compile(r"(/[\w.+@-]+)+")
"""An absolute path in which systemd finds nothing to read otherwise."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service: its unit file by name, the user it runs as, what that user is, and its folder.

    ``tuning``: what it wants of the kernel, as a sysctl.d file; empty for nothing.
    """

    name: str
    user: str
    about: str
    folder: Path
    tuning: str = ""

    def text(self, program: Path, folder: Path | None = None, *, metrics: str = "", copy: Path | None = None) -> str:
        """The unit file. ``metrics``: where it serves them; ``copy``: the folder of the collector's second copy.

        ConfigError unless the folder is one below /var/lib, where systemd makes it, and the service can see the copy.
        """
        held = folder or self.folder
        if held.parent != STATE or held.name in ("", "..") or not SEEN.fullmatch(str(held)):
            expected = f"a folder in {STATE}, as StateDirectory wants, without a blank or a % in its name"
            raise ConfigError("the folder of the service", str(held), expected)
        if not SEEN.fullmatch(str(program)):
            raise ConfigError("the program of the service", str(program), "an absolute path without a blank or a %")
        if metrics and not PLACE.fullmatch(metrics):
            raise ConfigError("--metrics", repr(metrics), "an address like 127.0.0.1:9109")
        if copy is not None and not (SEEN.fullmatch(str(copy)) and ".." not in copy.parts and _is_seen(copy)):
            raise ConfigError("--copy", str(copy), "a folder of another disk: an absolute path outside /home and /tmp")
        options = [f" --metrics {metrics}"] if metrics else []
        options += [f" --copy {copy}"] if copy else []
        template = files("provisioning").joinpath("systemd", f"{self.name}.service").read_text("utf-8")
        return template.format(
            program=program,
            folder=held,
            user=self.user,
            directory=held.name,
            options="".join(options),
            mounts=f"RequiresMountsFor={copy}\n" if copy else "",
            writable=f"ReadWritePaths={copy}\n" if copy else "",
        )

    def users(self) -> str:
        """The sysusers.d file that makes its user."""
        return f'u {self.user} - "{self.about}" {self.folder}\n'


EDGE = Unit(
    "tanmeter-edge",
    "tanmeter",
    "tanmeter gateway",
    STATE / "tanmeter",
    "# tanmeter gateway. Since Linux 6.5 a connection that nobody answers is asked for each second: five packets in\n"
    "# the five seconds of a look for the collector instead of three, all day long while it is away. The dash: older\n"
    "# kernels have no such setting.\n"
    "-net.ipv4.tcp_syn_linear_timeouts = 0\n",
)
CLOUD = Unit("tanmeter-cloud", "tanmeter-collector", "tanmeter collector", STATE / "tanmeter-collector")


def install(unit: Unit, text: str, program: Path, root: Path) -> tuple[Path, ...]:
    """Put the unit and its user's file in place below ``root``; which files those are.

    ConfigError when the service could not see the program, or the files cannot be written.
    """
    if not _is_seen(program):
        raise ConfigError(
            "the program of the service", str(program), "one outside /home, /root and /tmp: /opt/tanmeter"
        )
    made = {
        root / UNITS / f"{unit.name}.service": text,
        root / USERS / f"{unit.name}.conf": unit.users(),
    }
    if unit.tuning:
        made[root / TUNING / f"{unit.name}.conf"] = unit.tuning
    for path, content in made.items():
        _place(path, content)
    return tuple(made)


def _is_seen(path: Path) -> bool:
    """Whether the service sees what is there."""
    return not f"{path}/".startswith(HIDDEN)


def _place(path: Path, text: str) -> None:
    """Write the file whole."""
    aside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a place that this user may write: run it as root") from error
