"""How a simulated meter hears a frame of a serial bus: it begins with 68, ends with 16, and its bytes are summed up."""

from collections.abc import Iterator

START, END = 0x68, 0x16
BYTE_GAP_MS = 500
"""After a longer silence the beginning of a frame is forgotten (DL/T 645-2007, 5.3.2)."""


class Ear:
    """Frames come in pieces, with noise between them; a damaged one is not heard.

    ``length_at``: where in a frame the number of its data bytes stands, behind which they follow. ``starts_again_at``:
    where the 68 stands a second time, if it does.
    """

    def __init__(self, length_at: int, starts_again_at: int = 0) -> None:
        self._length_at, self._again = length_at, starts_again_at
        self._heard = bytearray()
        self._heard_at = 0

    def frames(self, data: bytes, utc_ms: int) -> Iterator[bytes]:
        """Every whole frame that these bytes complete."""
        if utc_ms - self._heard_at > BYTE_GAP_MS:
            self._heard.clear()
        self._heard_at = utc_ms
        self._heard += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> bytes | None:
        heard, least = self._heard, self._length_at + 3
        while True:
            start = heard.find(START)
            del heard[: len(heard) if start < 0 else start]
            if len(heard) < least:
                return None
            if heard[self._again] == START:
                length = least + heard[self._length_at]
                if len(heard) < length:
                    return None
                frame = bytes(heard[:length])
                if frame[-1] == END and sum(frame[:-2]) & 0xFF == frame[-2]:
                    del heard[:length]
                    return frame
            del heard[0]
