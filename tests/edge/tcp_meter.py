"""A meter at the end of a real socket, for agents that run in a process of their own."""

import contextlib
import socket
import threading
from collections import Counter

from protocols import modbus


class TcpMeter:
    """A Modbus TCP meter on a free port whose register counts the questions; its connections can be cut.

    It keeps every reply it has given.
    """

    def __init__(self):
        self.served: Counter[bytes] = Counter()
        self._count = 0
        self._held: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self):
        """End every connection there is."""
        for connection in self._held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._held.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(256):
                asked = modbus.parse_tcp(data)
                self._count += 1
                pdu = bytes([asked.function, 4]) + self._count.to_bytes(4)
                reply = modbus.frame_tcp(asked.transaction, asked.unit, pdu)
                self.served[reply] += 1
                connection.sendall(reply)
