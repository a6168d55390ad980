"""Modbus/TCP Security against pymodbus, with certificates made here; RTU over TCP; and ports with the wrong framing."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymodbus import ModbusDeviceIdentification
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers import site as sites
from drivers.replay import replay_chunk
from drivers.site import Port
from edge import config, wire
from edge.agent import Agent
from edge.clock import SystemClock
from protocols import modbus, modbus_identification
from protocols.errors import ConfigError, PortGone, ProtocolError

Make = Callable[[], ModbusTcpServer]
"""Makes a server, which needs a running loop."""

ENOUGH_S = 20
ENERGY = [0x449A, 0x5000, 0x3F00, 0x0000]
"""1234.5 and 0.5, as an SDM630 holds them."""


class Authority:
    """Who vouches for the meters of one plant; writes what it signs as PEM files."""

    def __init__(self, folder: Path, name: str = "plant") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = self._write(f"{name}-ca.pem", self._signed(self._name, self._key, [], True))

    def issue(self, name: str, hosts: list[x509.GeneralName]) -> tuple[str, str]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(f"{name}.pem", self._signed(subject, key, hosts, False)), self._write(f"{name}.key", pem)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, hosts: list[x509.GeneralName], authority: bool
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if hosts:
            made = made.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def plant(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


LOOPBACK = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


def meter() -> SimDevice:
    return SimDevice(1, SimData(0x48, values=ENERGY, datatype=DataType.REGISTERS))


def server_context(plant: Authority, hosts: list[x509.GeneralName]) -> ssl.SSLContext:
    """A meter that wants to know who asks, as the specification says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*plant.issue("meter", hosts))
    context.load_verify_locations(plant.file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def serving(server: ModbusTcpServer) -> str:
    await server.serve_forever(background=True)
    return f"127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"


def tls_server(plant: Authority, hosts: list[x509.GeneralName]) -> Make:
    """pymodbus frames TLS without a header unless told: the specification wants that of Modbus TCP."""
    context = server_context(plant, hosts)
    return partial(ModbusTlsServer, [meter()], framer=FramerType.SOCKET, address=("127.0.0.1", 0), sslctx=context)


def agent_reads(box, kit, make: Make, **port: str):
    """What the record says after the agent has run against this server."""

    async def main():
        server = make()
        place = await serving(server)
        lines = "".join(f'{key} = "{value}"\n' for key, value in port.items())
        points = ["energy_import", "energy_export"]
        made = box(
            kit.modbus_port(place=place) + lines, kit.meter(1, "net", "eastron-sdm630", points, "200ms"), block="1s"
        )
        stop = asyncio.Event()
        agent = Agent(made.state, SystemClock(), wire.wire, None, Random(1))
        running = asyncio.ensure_future(agent.run(stop))
        try:
            await agent.ready(running)
            async with asyncio.timeout(ENOUGH_S):
                status = await agent.status()
                while not running.done() and status["devices"][0]["answered"] < 4:
                    await asyncio.wait({running}, timeout=0.05)
                    status = await agent.status()
        finally:
            stop.set()
            await running
            await server.shutdown()
        return made

    made = asyncio.run(main())
    installation, found = config.load(made.state).installation, {}
    for header, chunks in made.blocks():
        for chunk in chunks:
            for reading in replay_chunk(installation, header, chunk):
                found.setdefault(reading.point, set()).add(str(reading.value))
    return found


READ = {"energy_import": {"1234.5"}, "energy_export": {"0.5"}}


def test_a_meter_behind_tls_that_wants_to_know_who_asks(box, kit, plant):
    cert, key = plant.issue("gateway", [])
    server = tls_server(plant, LOOPBACK)
    assert agent_reads(box, kit, server, framing="modbus-tls", tls_ca=plant.file, tls_cert=cert, tls_key=key) == READ


def test_a_meter_whose_certificate_is_made_out_to_a_name(box, kit, plant):
    cert, key = plant.issue("gateway", [])
    server = tls_server(plant, [x509.DNSName("stack.plant")])
    options = {"tls_ca": plant.file, "tls_cert": cert, "tls_key": key, "tls_name": "stack.plant"}
    assert agent_reads(box, kit, server, framing="modbus-tls", **options) == READ


def opened(make: Make, **port: str) -> None:
    """Open a port and ask once; raises what the wire raises."""

    async def main():
        server = make()
        place = await serving(server)
        try:
            held = wire.wire(Port("net", tcp=place, framing="modbus-tls", **port))
            await held.open()
            await held.write(modbus.Request(1, 4, 0x48, 2).tcp())
            async with asyncio.timeout(5):
                while not await held.read(1):
                    continue
            await held.close()
        finally:
            await server.shutdown()

    asyncio.run(main())


def test_a_meter_that_another_vouches_for_is_refused(plant, tmp_path):
    other = Authority(tmp_path, "other")
    with pytest.raises(PortGone, match="certificate verify failed"):
        opened(tls_server(plant, LOOPBACK), tls_ca=other.file)


def test_a_meter_with_the_certificate_of_another_host_is_refused(plant):
    with pytest.raises(PortGone, match="IP address mismatch"):
        opened(tls_server(plant, [x509.DNSName("elsewhere.plant")]), tls_ca=plant.file)


def test_without_a_certificate_of_ours_such_a_meter_hangs_up(plant):
    with pytest.raises(PortGone):
        opened(tls_server(plant, LOOPBACK), tls_ca=plant.file)


def test_a_meter_that_does_not_speak_tls_is_refused(plant):
    with pytest.raises(PortGone):
        opened(partial(ModbusTcpServer, [meter()], address=("127.0.0.1", 0)), tls_ca=plant.file)


def test_files_that_are_not_there_are_named(plant):
    with pytest.raises(PortGone, match=r"/nowhere\.pem.*expected certificates and a key in PEM"):
        opened(tls_server(plant, LOOPBACK), tls_ca="/nowhere.pem")


SITE = """
schema = 1
site = {{ id = "S", name = "S" }}
port = [{{ name = "net", {} }}]
device = [{{ id = "M", profile = "p", port = "net", address = "1" }}]
"""


@pytest.mark.parametrize(
    ("port", "path", "expected"),
    [
        ('tcp = "h:802", framing = "modbus-tls"', "tls_ca", "who vouches"),
        ('tcp = "h:802", framing = "modbus-tls", tls_ca = "ca.pem"', "tls_ca", "an absolute path"),
        ('tcp = "h:802", framing = "modbus-tls", tls_ca = "/ca.pem", tls_cert = "/c"', "tls_cert", "both or neither"),
        ('device = "/dev/tty", framing = "modbus-tls", tls_ca = "/ca.pem"', "framing", "tcp = host:802"),
        ('tcp = "h:502", tls_ca = "/ca.pem"', "tls_ca", 'framing = "modbus-tls"'),
    ],
)
def test_tls_settings_that_do_not_fit_are_named(port: str, path: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        sites.load(SITE.format(port).encode())
    assert caught.value.path == f"site.toml: port[0].{path}"


def test_rtu_over_tcp(box, kit):
    server = partial(ModbusTcpServer, [meter()], framer=FramerType.RTU, address=("127.0.0.1", 0))
    assert agent_reads(box, kit, server, framing="rtu") == READ


def failure(make: Make, asked: bytes, recogniser: type) -> ProtocolError:
    """What is said of a server's answer to a question in the wrong framing."""

    async def main():
        server = make()
        place = await serving(server)
        held, heard = wire.TcpWire(place), recogniser(asked)
        try:
            await held.open()
            await held.write(asked)
            while data := await held.read(0.5):
                heard.feed(data)
        except PortGone:
            pass
        finally:
            await held.close()
            await server.shutdown()
        return heard.failure()

    return asyncio.run(main())


def test_a_modbus_tcp_server_asked_in_rtu_is_named():
    """From register 0 on, what follows unit and function is the protocol id a Modbus TCP server looks for."""
    asked = modbus.Request(1, 4, 0, 2).rtu()
    units = [SimDevice(0, SimData(0, values=[0], datatype=DataType.REGISTERS))]
    server = partial(ModbusTcpServer, units, address=("127.0.0.1", 0))
    error = failure(server, asked, modbus.RtuRecogniser)
    assert 'framing = "modbus-tcp"' in str(error) and error.cause == "cause.modbus.tcp_in_rtu"


@pytest.mark.parametrize("framing", ["rtu", "modbus-tcp"])
def test_a_device_says_what_it_is(framing):
    names = {"VendorName": "Acrel", "ProductCode": "ADL400", "MajorMinorRevision": "V1.2", "ModelName": "ADL400-C"}
    make = partial(
        ModbusTcpServer,
        [meter()],
        framer=FramerType.RTU if framing == "rtu" else FramerType.SOCKET,
        identity=ModbusDeviceIdentification(info_name=names),
        address=("127.0.0.1", 0),
    )

    async def main():
        server = make()
        held = wire.TcpWire(await serving(server))
        talk = modbus_identification.identify(1, framing)
        asked = next(talk)
        try:
            await held.open()
            while True:
                heard, found = modbus_identification.recogniser(asked, framing), None
                await held.write(asked)
                while found is None:
                    found = heard.feed(await held.read(1))
                asked = talk.send(found)
        except StopIteration as done:
            return done.value
        finally:
            await held.close()
            await server.shutdown()

    told = asyncio.run(main())
    assert {
        "vendor": "Acrel",
        "product_code": "ADL400",
        "revision": "V1.2",
        "model": "ADL400-C",
    }.items() <= told.items()
