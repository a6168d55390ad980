"""The state folder: what is missing, altered or readable by others is named."""

import stat

import pytest

from edge import config, keys
from protocols.errors import ConfigError
from protocols.record.cose import PrivateKey
from protocols.record.siteconfig import SiteConfig, digest, sign_site


@pytest.fixture
def made(box, kit):
    return box(kit.modbus_port(), kit.sdm(1))


def test_a_folder_as_it_should_be(made):
    made.enrol("http://collector")
    held = config.load(made.state)
    assert held.gateway == made.gateway.public.id and held.previous == digest(held.enrolment)
    assert held.in_force.name == (1, digest(made.envelopes[0]))
    assert held.collector == config.Collector("http://collector", made.collector.public)
    assert [(item.device, [period for _, period in item.queries]) for item in held.plan()] == [(0, [10_000])]


def test_the_newest_configuration_is_in_force(made, kit):
    made.sign(kit.site.format(block="60s") + kit.modbus_port() + kit.sdm(1, period="5s"))
    held = config.load(made.state)
    assert held.in_force.config.number == 2 and held.plan()[0].queries[0][1] == 5000


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda made: (made.state / "gateway.key").unlink(), "gateway.key: found no key"),
        (lambda made: (made.state / "gateway.key").chmod(0o640), "gateway.key: found mode 0640, expected mode 0600"),
        (lambda made: (made.state / "gateway.key").write_bytes(b"x"), "gateway.key: found found no private key"),
        (lambda made: (made.state / "enrolment.cose").unlink(), "enrolment.cose: found No such file"),
        (lambda made: (made.state / "enrolment.cose").write_bytes(b"\xd2\x84"), "enrolment.cose: found"),
        (lambda made: (made.state / "configs" / "0001.cose").unlink(), "configs: found no signed configuration"),
        (lambda made: (made.state / "configs" / "0001.cose").write_bytes(made.envelopes[0][:-9]), "0001.cose: found"),
        (lambda made: next((made.state / "profiles").iterdir()).write_bytes(b"other"), "content with SHA-256"),
        (lambda made: next((made.state / "profiles").iterdir()).unlink(), "profiles/"),
        (lambda made: (made.state / "collector.json").write_text('{"url": "x"}'), "collector.json: found KeyError"),
    ],
)
def test_what_is_wrong_is_named(made, harm, named):
    harm(made)
    with pytest.raises(ConfigError) as refused:
        config.load(made.state)
    assert named in str(refused.value)


def test_a_key_that_is_not_the_enrolled_one_is_named(made):
    (made.state / "gateway.key").unlink()
    keys.create(made.state / "gateway.key")
    with pytest.raises(ConfigError, match=r"enrolment.cose: found an enrolment of"):
        config.load(made.state)


def test_a_configuration_signed_by_somebody_else_is_refused(made):
    other = SiteConfig(2, digest(made.envelopes[0]), b"", (), 0)
    (made.state / "configs" / "0002.cose").write_bytes(sign_site(other, PrivateKey.generate()))
    with pytest.raises(ConfigError, match=r"0002.cose: found .*expected a configuration signed by the technician"):
        config.load(made.state)


def test_a_configuration_that_does_not_follow_is_refused(made):
    other = SiteConfig(2, bytes(32), b"", (), 0)
    (made.state / "configs" / "0002.cose").write_bytes(sign_site(other, made.technician))
    with pytest.raises(ConfigError, match=r"0002.cose: found number 2 after 0000"):
        config.load(made.state)


def test_a_key_is_born_private_and_never_overwritten(tmp_path):
    path = tmp_path / "gateway.key"
    key = keys.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load(path).public == key.public
    with pytest.raises(ConfigError, match="never overwritten"):
        keys.create(path)
    assert keys.load(path).public == key.public
    assert list(tmp_path.iterdir()) == [path]
