"""Setting a box up, changing it, and being cut short in between."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from drivers.builtin import builtin
from protocols.errors import ChainError, ConfigError, RecordError
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import open_enrolment
from protocols.record.siteconfig import digest, open_site
from provisioning import folder
from provisioning.site_init import changes, gather, init, sign

NOW = 1_790_000_000_000


def set_up(state: Path, site: bytes, technician: PrivateKey) -> None:
    init(state, site, gather(site), technician, NOW)


def contents(state: Path) -> dict[str, bytes]:
    return {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_a_new_box_has_a_key_a_signed_configuration_and_an_enrolment(
    tmp_path: Path, site: bytes, technician: PrivateKey
) -> None:
    set_up(tmp_path / "box", site, technician)
    state = tmp_path / "box"
    config = open_site((state / "configs/0001.cose").read_bytes(), technician.public)
    assert (config.number, config.previous, config.site, config.valid_from) == (1, bytes(32), site, NOW)
    assert [name for name, _ in config.profiles] == ["acrel-adl400", "eastron-sdm630"]
    for name, sha256 in config.profiles:
        assert hashlib.sha256(builtin(name)).digest() == sha256
        assert (state / "profiles" / f"{sha256.hex()}.toml").read_bytes() == builtin(name)
    enrolment = open_enrolment((state / "enrolment.cose").read_bytes())
    key = PrivateKey.from_pem((state / "gateway.key").read_bytes())
    assert enrolment.key == key.public and enrolment.technician == technician.public
    assert (enrolment.site_id, enrolment.at, enrolment.custody) == ("S-1", NOW, 0)
    assert enrolment.site_config == digest((state / "configs/0001.cose").read_bytes())
    assert (state / "site.toml").read_bytes() == site


def test_nobody_else_can_read_the_key(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    before = os.umask(0)
    try:
        set_up(tmp_path, site, technician)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gateway.key").stat().st_mode) == 0o600


def test_two_boxes_have_two_keys(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path / "one", site, technician)
    set_up(tmp_path / "two", site, technician)
    one, two = folder.read_box(tmp_path / "one"), folder.read_box(tmp_path / "two")
    assert one.enrolment.key != two.enrolment.key and one.enrolment.nonce != two.enrolment.nonce


def test_a_box_is_not_set_up_twice(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=r"site S-1, gateway [0-9a-f]{32}"):
        set_up(tmp_path, site, technician)
    assert contents(tmp_path) == before


class PowerCut(BaseException):
    """The plug is pulled."""


def cut_power_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Pull the plug at the ``number``-th time something is made durable; the list counts how often it is."""
    calls: list[int] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == number:
            raise PowerCut
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


@pytest.mark.parametrize("number", range(1, 13))
def test_a_set_up_cut_short_is_finished_by_the_same_call(
    tmp_path: Path, site: bytes, technician: PrivateKey, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        cut_power_at(patch, number)
        set_up(tmp_path, site, technician)
    path = tmp_path / "gateway.key"
    key = path.read_bytes() if path.exists() else None
    if (tmp_path / "enrolment.cose").exists():
        with pytest.raises(ConfigError, match="a box that is set up"):
            set_up(tmp_path, site, technician)
    else:
        set_up(tmp_path, site, technician)
    box = folder.read_box(tmp_path)
    assert PrivateKey.from_pem(path.read_bytes()).public == box.enrolment.key
    assert (tmp_path / folder.SITE).read_bytes() == site, "the enrolment comes last: a box that has one is whole"
    assert key in (None, path.read_bytes())
    assert not [name for name in contents(tmp_path) if name.startswith(".") or name.endswith(".new")]


def test_how_often_a_set_up_can_be_cut_short(
    tmp_path: Path, site: bytes, technician: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cut_power_at(monkeypatch, 0)
    set_up(tmp_path, site, technician)
    assert len(calls) == 12


def test_an_unfinished_set_up_of_another_kind_is_told(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    (tmp_path / "enrolment.cose").unlink()
    with pytest.raises(ConfigError, match="unfinished set-up with another site file"):
        set_up(tmp_path, site.replace(b"S-1", b"S-2"), technician)
    with pytest.raises(ConfigError, match="another technician"):
        set_up(tmp_path, site, PrivateKey.generate())
    set_up(tmp_path, site, technician)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b'"acrel-adl400"',
            b'"acrel-adl500"',
            r"device\[0\]\.profile: found 'acrel-adl500', expected one of .*acrel-adl400, .*`tanmeter profile",
        ),
        (b"profile =", b"profle =", r"did you mean 'profile'"),
        (b'address = "1"', b'address = "one"', r"device\[0\]\.address"),
        (b"schema = 1", b"schema = 2", r"schema"),
        (b"[site]", b"[site", r"TOML"),
        (b'"M-01"\n\n', b'"M-09"\n\n', r"parent"),
    ],
)
def test_a_wrong_site_file_is_told_and_leaves_nothing(
    tmp_path: Path, site: bytes, technician: PrivateKey, old: bytes, new: bytes, said: str
) -> None:
    wrong = site.replace(old, new) if old in site else site.replace(b'parent = "M-01"', b'parent = "M-09"')
    with pytest.raises(ConfigError, match=said):
        set_up(tmp_path / "box", wrong, technician)
    assert not (tmp_path / "box").exists()


def test_a_profile_of_ones_own_goes_before_ours(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    own = builtin("acrel-adl400") + b"\n# checked on our bench\n"
    (tmp_path / "acrel-adl400.toml").write_bytes(own)
    profiles = gather(site, tmp_path)
    assert profiles == {"acrel-adl400": own, "eastron-sdm630": builtin("eastron-sdm630")}
    init(tmp_path / "box", site, profiles, technician, NOW)
    box = folder.read_box(tmp_path / "box")
    names = [name for name, _ in box.newest.profiles]
    assert dict(zip(names, box.configs[0].profiles, strict=True)) == profiles


def test_a_changed_site_file_is_the_next_configuration(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    changed = site + b'ratios = [{ from = 2026-10-01T00:00:00+08:00, ct = "400/5" }]\n'
    assert '+ratios = [{ from = 2026-10-01T00:00:00+08:00, ct = "400/5" }]' in changes(tmp_path, changed)
    assert sign(tmp_path, changed, gather(changed), technician, NOW + 1000) == 2
    signed = folder.read_box(tmp_path).configs
    first, second = [entry.config for entry in signed]
    assert (second.number, second.previous, second.site, second.valid_from) == (
        2,
        digest(signed[0].envelope),
        changed,
        NOW + 1000,
    )
    assert first.site == site and (tmp_path / "site.toml").read_bytes() == changed
    assert sign(tmp_path, changed, gather(changed), technician, NOW + 2000) == 2
    assert changes(tmp_path, changed) == "" and len(folder.read_box(tmp_path).configs) == 2


@pytest.mark.parametrize("number", range(1, 9))
def test_a_signing_cut_short_is_finished_by_the_same_call(
    tmp_path: Path, site: bytes, technician: PrivateKey, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    set_up(tmp_path, site, technician)
    changed = site + b'serial = "202611"\n'
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        cut_power_at(patch, number)
        sign(tmp_path, changed, gather(changed), technician, NOW)
    assert folder.read_box(tmp_path).newest.number in (1, 2)
    assert sign(tmp_path, changed, gather(changed), technician, NOW) == 2
    assert folder.read_box(tmp_path).newest.site == changed == (tmp_path / "site.toml").read_bytes()


def test_another_profile_alone_is_a_change(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    profiles = gather(site) | {"acrel-adl400": builtin("acrel-adl400") + b"\n"}
    assert sign(tmp_path, site, profiles, technician, NOW) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'id = "S-1"', b'id = "S-2"', r"site\.id: found 'S-2'"),
        (
            b"[[device]]",
            b'[[device]]\nid = "M-00"\nprofile = "acrel-adl400"\nport = "tcp-1"\naddress = "9"\n\n[[device]]',
            r"device\[1\]",
        ),
        (b'port = "tcp-1"', b'port = "tcp-2"', r"device\[0\]\.port"),
    ],
    ids=["another site", "a meter put first", "a port that is not there"],
)
def test_what_may_not_be_signed(
    tmp_path: Path, site: bytes, technician: PrivateKey, old: bytes, new: bytes, said: str
) -> None:
    set_up(tmp_path, site, technician)
    before = contents(tmp_path)
    wrong = site.replace(old, new, 1)
    with pytest.raises(ConfigError, match=said):
        sign(tmp_path, wrong, gather(wrong), technician, NOW)
    assert contents(tmp_path) == before


def test_only_the_technician_of_the_box_signs(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    with pytest.raises(ConfigError, match=technician.public.kid.hex()):
        sign(tmp_path, site + b"\n", gather(site), PrivateKey.generate(), NOW)


def test_no_box_is_told(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    with pytest.raises(ConfigError, match="tanmeter site init"):
        sign(tmp_path, site, gather(site), technician, NOW)


@pytest.mark.parametrize("name", ["enrolment.cose", "configs/0001.cose", "configs/0002.cose"])
def test_an_altered_box_is_noticed(tmp_path: Path, site: bytes, technician: PrivateKey, name: str) -> None:
    set_up(tmp_path, site, technician)
    sign(tmp_path, site + b"\n", gather(site), technician, NOW)
    right = (tmp_path / name).read_bytes()
    for place in range(0, len(right), 7):
        (tmp_path / name).write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        with pytest.raises((RecordError, ConfigError)):
            folder.read_box(tmp_path)


def test_a_missing_or_exchanged_configuration_is_noticed(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    for number in (2, 3):
        assert sign(tmp_path, site + b"\n" * number, gather(site), technician, NOW) == number
    second = folder.config_path(tmp_path, 2)
    held = second.read_bytes()
    second.write_bytes(folder.config_path(tmp_path, 3).read_bytes())
    with pytest.raises(ConfigError):
        folder.read_box(tmp_path)
    second.unlink()
    with pytest.raises(ConfigError):
        folder.read_box(tmp_path)
    second.write_bytes(held)
    assert folder.read_box(tmp_path).newest.number == 3


def test_another_first_configuration_is_noticed(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    """Signed by the right technician, but not the one the enrolment names."""
    set_up(tmp_path / "one", site, technician)
    set_up(tmp_path / "two", site + b"\n", technician)
    (tmp_path / "one/configs/0001.cose").write_bytes((tmp_path / "two/configs/0001.cose").read_bytes())
    with pytest.raises(ChainError, match="set up with"):
        folder.read_box(tmp_path / "one")


def test_an_altered_profile_is_noticed(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    set_up(tmp_path, site, technician)
    box = folder.read_box(tmp_path)
    path = folder.profile_path(tmp_path, box.newest.profiles[0][1])
    path.write_bytes(path.read_bytes() + b"#")
    with pytest.raises(ConfigError, match=str(path)):
        folder.read_box(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, site: bytes, technician: PrivateKey) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="a place this user may write to"):
        set_up(tmp_path / "file" / "box", site, technician)
