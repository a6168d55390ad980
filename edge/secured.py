"""Modbus/TCP Security (port 802): the TLS of a port. The meter must prove who it is, and we do where it asks.

MODBUS/TCP Security Protocol Specification, MB-TCP-Security-v21: TLS 1.2 or newer, certificates on both sides, then the
frames of Modbus TCP as they are.
"""

import ssl

from drivers.site import Port
from protocols.errors import PortGone


def context(port: Port) -> ssl.SSLContext:
    """What a connection to this port is secured with, read anew, so that a renewed certificate counts; PortGone."""
    try:
        made = ssl.create_default_context(cafile=port.tls_ca)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if port.tls_cert is not None:
            made.load_cert_chain(port.tls_cert, port.tls_key)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        paths = ", ".join(str(path) for path in (port.tls_ca, port.tls_cert, port.tls_key) if path is not None)
        raise PortGone(f"{port.tcp}: {paths}: {error}; expected certificates and a key in PEM") from error
    return made


def name(port: Port) -> str:
    """Whose certificate the meter must show."""
    return port.tls_name or str(port.tcp).rpartition(":")[0]
