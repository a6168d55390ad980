"""The keys of a set-up: the gateway's, born on the box, and the technician's, which signs what hangs on the wires."""

import os
from pathlib import Path

from edge import keys
from protocols.record.cose import PrivateKey
from provisioning import folder


def create(path: Path) -> PrivateKey:
    """A new key in this file, mode 0600; ConfigError when there is a file already or none may be made, StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return keys.create(path)
    except OSError as error:
        raise folder.failure(path, error) from error


def load_or_create(path: Path) -> PrivateKey:
    """The key in this file, made at first use."""
    return keys.load(path) if path.exists() else create(path)


def technician_path() -> Path:
    """Where a technician's key lies unless he says otherwise."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "tanmeter" / "technician.key"
