"""The collector found and known again: kept addresses, its certificate whatever the date, a link gone half open."""

import asyncio
import datetime
import json
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import edge.transport
from edge.addresses import Addresses
from edge.transport import HttpTransport
from protocols.errors import UnreachableError
from simulator.link import Link

NOBODY = "collector.invalid"
BODY = b"an answer"


class Server:
    """Answers every request alike, with a media type."""

    def __init__(self, media="application/cbor", tls=None, place=("127.0.0.1", 0)):
        self.media, self.tls, self.place, self.hosts = media, tls, place, []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, *self.place, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:-2])
                await reader.readexactly(int(lines["content-length"]))
                self.hosts.append(lines["host"])
                said = f"HTTP/1.1 200 OK\r\ncontent-type: {self.media}\r\ncontent-length: {len(BODY)}\r\n\r\n"
                writer.write(said.encode() + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def tried(transport, times):
    """What came of so many posts, None for those that reached nobody."""
    found = []
    for _ in range(times):
        try:
            found.append((await transport.post("/v1/blocks", b"x", "a/b")).body)
        except UnreachableError:
            found.append(None)
    await transport.close()
    return found


def test_where_the_name_leads_nowhere_a_kept_address_is_tried_next(tmp_path):
    path = tmp_path / "addresses.json"
    path.write_text(json.dumps({NOBODY: ["127.0.0.1"]}))

    async def main():
        async with Server() as server:
            url = f"http://{NOBODY}:{server.port}"
            assert await tried(HttpTransport(url, Addresses(path, NOBODY)), 3) == [None, BODY, BODY]
            assert server.hosts == [f"{NOBODY}:{server.port}"] * 2, "asked by its name all the same"

    asyncio.run(main())


def test_where_the_name_leads_to_somebody_else_a_kept_address_is_tried_next(tmp_path):
    path = tmp_path / "addresses.json"
    path.write_text(json.dumps({"localhost": ["127.0.0.2"]}))

    async def main():
        async with Server("text/html") as other, Server(place=("127.0.0.2", other.port)) as collector:
            await tried(HttpTransport(f"http://localhost:{other.port}", Addresses(path, "localhost")), 3)
            assert (len(other.hosts), len(collector.hosts)) == (1, 2)

    asyncio.run(main())
    assert json.loads(path.read_text()) == {"localhost": ["127.0.0.2"]}


def test_where_the_collector_answered_is_kept_and_where_somebody_else_did_is_not(tmp_path):
    path = tmp_path / "addresses.json"

    async def main(media):
        async with Server(media) as server:
            url = f"http://localhost:{server.port}"
            assert await tried(HttpTransport(url, Addresses(path, "localhost")), 1) == [BODY]

    asyncio.run(main("text/html"))
    assert not path.exists()
    asyncio.run(main("application/cbor"))
    assert json.loads(path.read_text()) == {"localhost": ["127.0.0.1"]}


def test_a_file_of_addresses_that_is_damaged_is_as_good_as_none(tmp_path):
    path = tmp_path / "addresses.json"
    for content in (b"", b"{", b"[]", b'{"a": 5}', b'{"a": ["x", null]}'):
        path.write_bytes(content)
        assert Addresses(path, "a").next() == "a"


def certificate(folder, name, since, host="localhost"):
    """A self-signed certificate for a host that was good for a year, and a context that serves with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(since, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, secret = folder / f"{name}.pem", folder / f"{name}.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return path, context


@pytest.mark.parametrize("since", [2001, 2090])
def test_a_collector_known_by_its_certificate_is_known_whatever_the_clock_says(tmp_path, since):
    own, context = certificate(tmp_path, "own", since)
    other, _ = certificate(tmp_path, "other", since)

    async def main():
        async with Server(tls=context) as server:
            url = f"https://localhost:{server.port}"
            assert await tried(HttpTransport(url, ca=own), 1) == [BODY]
            assert await tried(HttpTransport(url, ca=other), 1) == [None], "another key"
            assert await tried(HttpTransport(f"https://127.0.0.1:{server.port}", ca=own), 1) == [None], "another name"
            assert await tried(HttpTransport(url), 1) == [None], "nobody stands for it"

    asyncio.run(main())


def test_at_a_kept_address_the_collector_is_known_by_the_same_certificate_and_name(tmp_path):
    own, context = certificate(tmp_path, "own", 2001, NOBODY)
    other, _ = certificate(tmp_path, "other", 2001, NOBODY)
    path = tmp_path / "addresses.json"
    path.write_text(json.dumps({NOBODY: ["127.0.0.1"]}))

    async def main():
        async with Server(tls=context) as server:
            url = f"https://{NOBODY}:{server.port}"
            assert await tried(HttpTransport(url, Addresses(path, NOBODY), own), 2) == [None, BODY]
            assert await tried(HttpTransport(url, Addresses(path, NOBODY), other), 2) == [None, None], "another key"

    asyncio.run(main())


def test_a_certificate_file_that_is_missing_is_named_and_does_not_end_the_measuring(tmp_path):
    transport = HttpTransport("https://localhost:1", ca=tmp_path / "gone.pem")
    with pytest.raises(UnreachableError, match="as PEM files"):
        asyncio.run(transport.post("/v1/blocks", b"x", "a/b"))


def test_a_link_that_has_gone_half_open_is_found_out_and_left(monkeypatch):
    assert edge.transport.ANSWER_S + edge.transport.CONNECT_S <= 90
    monkeypatch.setattr(edge.transport, "ANSWER_S", 0.5)

    async def main():
        async with Server() as server:
            link = Link("127.0.0.1", server.port)
            await link.open()
            transport = HttpTransport(f"http://127.0.0.1:{link.port}")
            assert (await transport.post("/v1/blocks", b"x", "a/b")).body == BODY
            link.cut()
            began = time.monotonic()
            with pytest.raises(UnreachableError):
                await transport.post("/v1/blocks", b"x", "a/b")
            assert time.monotonic() - began < 5
            link.mend()
            assert await tried(transport, 1) == [BODY]
            link.close()

    asyncio.run(main())
