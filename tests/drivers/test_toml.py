"""What is wrong in a site file is named: the place, what was found, what was expected."""

import pytest

from drivers import site, toml
from protocols.errors import ConfigError

GOOD = b"""schema = 1
[site]
id = "S-1"
name = "works"
[[port]]
name = "bus"
device = "/dev/ttyUSB0"
[[device]]
id = "M-01"
profile = "acrel-adl400"
port = "bus"
address = "1"
"""


@pytest.mark.parametrize(
    ("good", "bad", "where", "expected"),
    [
        (b'address = "1"', b'address = "1"\nrole = "purchsed"', "device[0].role", "did you mean 'purchased'"),
        (b'name = "works"', b'name = "works"\nlanguage = "de"', "site.language", "one of zh, en"),
        (b"schema = 1", b"schema = 2", "schema", "one of 1"),
        (b'address = "1"', b"address = 1", "device[0].address", "str"),
        (b'profile = "acrel-adl400"', b'profil = "x"', "device[0].profil", "did you mean 'profile'"),
        (b'[[port]]\nname = "bus"', b'[[port]]\nnam = "bus"', "port[0].nam", "did you mean 'name'"),
        (b'name = "works"\n', b"", "site", "the key 'name'"),
        (b'name = "works"', b'name = "works"\nblock = "9999999h"', "site.block", "1s to 1d"),
        (b'device = "/dev/ttyUSB0"', b'device = "/dev/ttyUSB0"\nmode = "0-8E1"', "port[0].mode", "9600-8E1"),
        (b'device = "/dev/ttyUSB0"', b'tcp = "127.0.0.1:99999"', "port[0].tcp", "65535"),
        (b"[[device]]", b'[[port]]\nname = "two"\ndevice = "/dev/ttyUSB0"\n[[device]]', "port[1]", "one owner"),
        (b'address = "1"', b'address = "1"\npoints = ["power", "power"]', "device[0].points", "each point once"),
    ],
)
def test_the_place_and_what_was_expected_are_named(good: bytes, bad: bytes, where: str, expected: str) -> None:
    site.load(GOOD)
    with pytest.raises(ConfigError) as caught:
        site.load(GOOD.replace(good, bad))
    assert caught.value.path == f"site.toml: {where}"
    assert expected in caught.value.expected


@pytest.mark.parametrize("bad", [b"a = " + b"[" * 100_000, b"a" + b".a" * 20_000 + b" = 1", b"a = " + b"{a=" * 9_000])
def test_a_document_without_end_is_refused_at_once(bad: bytes) -> None:
    with pytest.raises(ConfigError, match=r"site\.toml"):
        toml.parse(bad, "site.toml")
