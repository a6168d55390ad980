"""HTTP to a server that does not behave: what it sends is bounded before it is kept."""

import asyncio
import gzip
import http.server
import socket
import threading
import tracemalloc

import pytest

from edge.transport import LARGEST_ANSWER, HttpTransport, tls
from protocols.errors import AbsentError, UnreachableError

MEGABYTE = 1 << 20


class Server(http.server.ThreadingHTTPServer):
    """Answers every post with ``body``, without end when that is None; keeps the headers it was asked with."""

    def __init__(self, body, encoding="identity"):
        self.body, self.encoding, self.asked = body, encoding, []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.headers)
        self.send_response(200)
        self.send_header("content-encoding", self.server.encoding)
        if (body := self.server.body) is not None:
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("connection", "close")
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    started = []

    def make(*args):
        started.append(Server(*args))
        return started[-1], f"http://127.0.0.1:{started[-1].server_port}"

    yield make
    for server in started:
        server.shutdown()
        server.server_close()


def post(url, times=1):
    async def run():
        transport = HttpTransport(url)
        try:
            return [await transport.post("/v1/blocks", b"x", "a/b") for _ in range(times)]
        finally:
            await transport.close()

    return asyncio.run(run())


def test_an_answer_as_large_as_one_may_be_arrives_over_one_connection(serve):
    server, url = serve(bytes(LARGEST_ANSWER))
    answers = post(url, times=3)
    assert [(answer.status, len(answer.body)) for answer in answers] == [(200, LARGEST_ANSWER)] * 3
    assert server.asked[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [bytes(LARGEST_ANSWER + 1), bytes(50 * MEGABYTE), None])
def test_a_larger_one_or_one_without_end_is_given_up(serve, body):
    _, url = serve(body)
    with pytest.raises(UnreachableError, match=f"at most {LARGEST_ANSWER}"):
        post(url)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_machine_on_which_nobody_listens_is_told_from_a_link_that_is_gone(scheme):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # a port that is taken, and does not listen
        with pytest.raises(AbsentError):
            post(f"{scheme}://127.0.0.1:{held.getsockname()[1]}")
    with pytest.raises(UnreachableError) as found:
        post(f"{scheme}://collector.invalid")
    assert not isinstance(found.value, AbsentError)


def test_the_systems_certificates_are_read_once_however_often_a_collector_is_looked_for():
    assert tls(None) is tls(None)


def test_a_packed_answer_is_never_unpacked(serve):
    packed = gzip.compress(bytes(200 * MEGABYTE), 9)
    assert len(packed) < LARGEST_ANSWER
    _, url = serve(packed, "gzip")
    post(url)  # what is loaded once is not counted
    tracemalloc.start()
    (answer,) = post(url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.body == packed and peak < 2 * MEGABYTE
