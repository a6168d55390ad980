"""Frames that tell their own length, out of a stream that also carries noise."""

from collections.abc import Callable

End = Callable[[bytearray, int], int]
"""Where a frame that begins at this place ends: 0 when none can, past the buffer when more bytes are needed to tell."""


class Stream:
    """Every byte string that may be a frame, wherever it begins and however the stream is cut, in the order in which
    they end; ``first`` are the bytes that one may begin with. A beginning that claims more than comes does not hide
    what lies behind it; whether a candidate is sound is for the caller to say.
    """

    def __init__(self, end: End, first: bytes, keep: int) -> None:
        self._end, self._keep = end, keep
        self._first = frozenset(first)
        self._buffer = bytearray()
        self._starts: list[int] = []

    @property
    def received(self) -> bytes:
        """The last ``keep`` bytes that came, to explain a failure."""
        return bytes(self._buffer[-self._keep :])

    def feed(self, data: bytes) -> list[bytes]:
        """Every candidate completed by ``data``."""
        known = len(self._buffer)
        self._buffer += data
        complete, waiting = [], []
        starts = [known + at for at, byte in enumerate(data) if byte in self._first]
        for start in (*self._starts, *starts):
            end = self._end(self._buffer, start)
            if end > len(self._buffer):
                waiting.append(start)
            elif end:
                complete.append((end, start))
        found = [bytes(self._buffer[start:end]) for end, start in sorted(complete)]
        self._forget(waiting)
        return found

    def _forget(self, waiting: list[int]) -> None:
        cut = max(0, min([len(self._buffer) - self._keep, *waiting]))
        del self._buffer[:cut]
        self._starts = [start - cut for start in waiting]
