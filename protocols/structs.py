"""What msgspec knows of the typed structs that files are read into.

It learns a type when the first value is converted to it. A thread that converts to the same type meanwhile finds it
half learnt, and the process dies of it (seen with msgspec 0.22): so everything is learnt before there are threads.
"""

from collections.abc import Iterator

import msgspec


def learn() -> None:
    """Have msgspec learn every struct that has been imported; to be called before any thread is started."""
    for kind in _kinds(msgspec.Struct):
        msgspec.json.Decoder(kind)


def _kinds(parent: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from _kinds(kind)
