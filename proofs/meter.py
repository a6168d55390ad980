"""A Modbus TCP meter outside of everything that is killed: its registers count the questions it was asked."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from protocols import modbus


@dataclass(slots=True)
class Meter:
    """Any number of units on a free port of this machine. ``served``: each reply that went out, by unit, in order."""

    served: dict[int, list[int]] = field(default_factory=dict)
    place: str = ""
    _server: socket.socket | None = None

    def open(self) -> None:
        """Answer from now on."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(256):
                asked = modbus.parse_tcp(data)
                served = self.served.setdefault(asked.unit, [])
                served.append(count := len(served) + 1)
                pdu = bytes([asked.function, 4]) + count.to_bytes(4)
                connection.sendall(modbus.frame_tcp(asked.transaction, asked.unit, pdu))
