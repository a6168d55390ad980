"""A box that measures before it is enrolled begins to deliver by itself, and never ends for want of a collector."""

import asyncio
from functools import partial
from itertools import pairwise


def test_a_box_enrolled_while_it_measures_delivers_what_it_has(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    collector = kit.collector(made)
    world = kit.world(made, {"net": kit.registers()})

    async def enrol_later(_):
        await asyncio.sleep(150)
        made.enrol()
        await asyncio.sleep(20)
        assert (await world.agents[-1].status())["sync"]["state"] != "not enrolled"

    world.run(239, enrol_later, ways=lambda held: collector)
    assert len(collector.held) >= 3
    assert ("enrolled", {"url": "http://127.0.0.1:1"}) in world.logged


def test_an_enrolment_that_cannot_be_used_is_told_and_measuring_goes_on(box, kit):
    from edge.transport import transport

    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})

    async def spoil(_):
        await asyncio.sleep(30)
        (made.state / "collector.json").write_text("{")
        await asyncio.sleep(30)
        sync = (await world.agents[-1].status())["sync"]
        assert (sync["state"], sync["code"]) == ("no way", "CFG-101") and "collector.json" in sync["error"]

    world.run(119, spoil, ways=partial(transport, made.state))
    (made.state / "collector.json").unlink()
    assert any(event == "enrolment" for event, _ in world.logged)
    assert sum(chunk.counters.answered for _, chunks in made.blocks() for chunk in chunks) == 12


def test_two_clocks_cut_off_to_milliseconds_make_no_sliver_of_a_block(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1), block="10s")
    world = kit.world(made, {"net": kit.registers()})

    async def waver(_):
        for count in range(30):
            world.step_ms = -(count % 2) - count // 10
            await asyncio.sleep(3.3)

    world.run(99, waver)
    blocks = made.blocks()
    lengths = [header.mono[1] - header.mono[0] for header, _ in blocks[1:-1]]
    assert len(lengths) >= 8 and min(lengths) > 9_000
    assert all(later.utc[0] >= earlier.utc[1] - 5 for (earlier, _), (later, _) in pairwise(blocks))
