"""The addresses at which the collector was found: tried when its name cannot be resolved, or leads elsewhere."""

import contextlib
import json
from ipaddress import ip_address
from pathlib import Path

MOST = 4


class Addresses:
    """Kept in a file, the newest first; a file that cannot be read or written is as good as none.

    What is tried next is the name, then each address, then the name again. An address is no proof of anything: whose
    word an answer is, its signature tells.
    """

    def __init__(self, path: Path, host: str) -> None:
        self._path, self._host = path, host
        self._held = _read(path, host)
        self._turn = 0

    def next(self) -> str:
        """The host to connect to now: its name or an address of it."""
        places = [self._host, *self._held]
        return places[self._turn % len(places)]

    def failed(self) -> None:
        """Nobody of ours was there: try another place."""
        self._turn += 1

    def found(self, address: str) -> None:
        """The collector answered from this address."""
        if address == self._host or not _is_address(address) or self._held[:1] == [address]:
            return
        here = self.next()
        self._held = [address, *(held for held in self._held if held != address)][:MOST]
        self._turn = 0 if here == self._host else 1 + self._held.index(address)
        with contextlib.suppress(OSError):
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(json.dumps({self._host: self._held}) + "\n", "utf-8")
            new.replace(self._path)


def _read(path: Path, host: str) -> list[str]:
    try:
        held = json.loads(path.read_bytes())
        return [address for address in held.get(host, []) if _is_address(address)][:MOST]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def _is_address(text: object) -> bool:
    try:
        ip_address(text)  # type: ignore[arg-type]
    except ValueError:
        return False
    return isinstance(text, str)
