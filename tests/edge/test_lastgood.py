"""A file of the configuration that is wrong: measuring goes on with the last good one, and it is told."""

import pytest

from edge import config, lastgood
from protocols.errors import ConfigError
from protocols.record.block import EventKind


@pytest.fixture
def made(box, kit):
    return box(kit.modbus_port(), kit.sdm(1))


def signed(made, kit, period="5s"):
    made.sign(kit.site.format(block="60s") + kit.modbus_port() + kit.sdm(1, period=period))
    return made.state / "configs" / f"{len(made.envelopes):04d}.cose"


def test_a_new_configuration_that_was_cut_short_is_passed_over_and_told(made, kit):
    world, told = kit.world(made, {"net": kit.registers()}), {}
    world.run(70)
    path = signed(made, kit)
    path.write_bytes(path.read_bytes()[:-20])

    async def during(world):
        told.update(await world.agents[-1].status())

    world.run(70, during)
    assert told["configuration"]["number"] == 1 and "0002.cose" in told["configuration"]["flaws"][0]
    assert ("last_good", "error") in world.levels
    blocks = made_blocks(made)
    assert {header.configuration[0] for header, _ in blocks} == {1}
    assert any(
        "last good" in e.detail for header, _ in blocks for e in header.events if e.kind == EventKind.CONFIGURATION
    )
    assert sum(chunk.counters.answered for _, chunks in blocks for chunk in chunks) >= 13


def made_blocks(made):
    for path in sorted((made.state / "configs").glob("*.cose"))[1:]:
        path.unlink()
    return made.blocks()


@pytest.mark.parametrize(
    "harm",
    [
        lambda state: (state / "configs" / "0002.cose").write_bytes(b""),
        lambda state: (state / "configs" / "0001.cose").unlink(),
        lambda state: next((state / "profiles").iterdir()).write_bytes(b"other"),
        lambda state: (state / "enrolment.cose").write_bytes(b"\xd2"),
        lambda state: (state / "collector.json").write_text("{"),
    ],
)
def test_what_was_in_force_stays_in_force_when_its_file_rots(made, kit, harm):
    signed(made, kit)
    before = lastgood.load(made.state)
    harm(made.state)
    with pytest.raises(ConfigError):
        config.load(made.state)
    after = lastgood.load(made.state)
    assert len(after.flaws) == 1 and not before.flaws
    assert (after.in_force, after.previous, after.plan()) == (before.in_force, before.previous, before.plan())
    assert after.configurations == before.configurations


def test_without_any_good_configuration_or_key_nothing_runs(made):
    (made.state / "configs" / "0001.cose").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"0001.cose"):
        lastgood.load(made.state)
    (made.state / "gateway.key").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"gateway.key"):
        lastgood.load(made.state)
