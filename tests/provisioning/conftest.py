"""A site file and its technician, for setting boxes up."""

import pytest

from protocols.record.cose import PrivateKey

SITE = """\
schema = 1

[site]
id = "S-1"
name = "示例"

[[port]]
name = "tcp-1"
tcp = "127.0.0.1:502"

[[device]]
id = "M-01"
profile = "acrel-adl400"
port = "tcp-1"
address = "1"
role = "purchased"

[[device]]
id = "M-02"
profile = "eastron-sdm630"
port = "tcp-1"
address = "2"
parent = "M-01"
"""


@pytest.fixture
def site() -> bytes:
    return SITE.encode()


@pytest.fixture(scope="session")
def technician() -> PrivateKey:
    return PrivateKey.generate()
