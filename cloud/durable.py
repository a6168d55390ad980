"""What lasts through a loss of power: the names in a folder, which are written apart from what the files hold."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk; OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
