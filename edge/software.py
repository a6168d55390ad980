"""Which software is installed: its version and one digest over its files, as every block names them."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("drivers", "edge", "protocols")
SUFFIXES = (".py", ".sql", ".toml")


@cache
def installed() -> tuple[str, bytes]:
    """The version, and the SHA-256 over path and content of each file that makes a record, in order of path."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(file for name in PACKAGES for file in (root / name).rglob("*") if file.suffix in SUFFIXES):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    try:
        return version("tanmeter"), digest.digest()
    except PackageNotFoundError:
        return "0", digest.digest()
