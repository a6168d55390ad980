"""Table 2's tree: whole, every leaf has a method that fills it, and every node is the sum of its lines."""

from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.accounting import indicators, inventory, membership
from cloud.accounting import method as methods
from cloud.accounting.boundary import bridge
from cloud.accounting.line import Line
from cloud.accounting.subject import Subject
from protocols.errors import ConfigError, UnknownNameError

TREE = indicators.tree()
EMISSIONS = [leaf for leaf in TREE.leaves if not leaf.id.startswith("reduction.")]
MakeLine = Callable[..., Line]
ALONE = membership.of([Subject("S-1", "S-1", "S-1", "enterprise", "industry")])


def rolled_up(lines: list[Line]) -> dict[str, indicators.Rolled]:
    """Every node that these lines of S-1 come to."""
    return indicators.spread(bridge("S-1", ALONE, lines).by_leaf)


def test_the_tree_holds_what_the_print_has_and_says_what_is_ours() -> None:
    printed = [leaf for leaf in EMISSIONS if leaf.in_standard]
    assert len(printed) == 39 and all(leaf.level == 6 for leaf in printed)
    assert len(TREE.leaves) - len(EMISSIONS) == 21
    assert {leaf.id for leaf in EMISSIONS if not leaf.in_standard} == {
        "building.direct.gas", "building.direct.oil", "building.direct.coal", "community.direct.gas"
    }  # fmt: skip
    assert {node.level for node in TREE.nodes.values()} == {1, 2, 3, 4, 5, 6}
    assert list(TREE.ambiguities) == [f"A{number}" for number in range(1, 14)]
    assert {note for node in TREE.nodes.values() for note in node.notes} == set(TREE.ambiguities)
    assert all(node.zh and node.en for node in TREE.nodes.values())


def test_the_order_of_the_print_is_kept() -> None:
    order = [leaf.zh.removesuffix("（负值）") for leaf in EMISSIONS if leaf.in_standard]
    assert "".join(order) == (
        "煤其他电其他水煤油气热原材料绿电火电冷水火电绿电冷热汽油柴油天然气火电绿电氢"
        "水热气油料煤垃圾处理垃圾回收绿电火电热力绿电火电热力垃圾"
    )


def test_every_leaf_of_every_method_is_in_the_tree_and_every_leaf_has_a_method() -> None:
    filled: dict[str, set[str]] = {}
    for name in methods.builtin():
        for row in methods.get(name).rows.values():
            for leaf in (row.leaf,) if isinstance(row.leaf, str) else row.leaf.values():
                assert (TREE.leaf(leaf).class_ == "reduction") == (row.class_ == "reduction"), f"{name} {row.row}"
                filled.setdefault(leaf, set()).add(name)
    assert {leaf.id for leaf in TREE.leaves} == set(filled)


def test_each_intensity_is_derived_from_a_total_and_never_summed(make_line: MakeLine) -> None:
    derived = {node.id: node.derived_from for node in TREE.nodes.values() if node.metric not in (None, "total")}
    assert derived["industry.product-intensity"] == "industry.total" and len(derived) == 7
    rolled = rolled_up([make_line("S-1", "10")])
    assert rolled["industry.total"].tco2e == rolled["industry"].tco2e == rolled["emission"].tco2e == 10
    assert not set(derived) & set(rolled)


LEAVES = st.sampled_from([(leaf.id, leaf.class_) for leaf in TREE.leaves] + [("industry.direct.coal", "memo")])
LINES = st.lists(st.tuples(LEAVES, st.decimals(-(10**6), 10**6, places=12)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_a_roll_up_is_the_sum_of_its_lines(make_line: MakeLine, found: list[tuple[tuple[str, str], Decimal]]) -> None:
    lines = [make_line("S-1", str(size), leaf=leaf, class_=kind) for (leaf, kind), size in found]
    rolled, totals = rolled_up(lines), inventory.totals(lines)
    top = rolled.get("emission", indicators.Rolled())
    assert top.tco2e == totals.total
    assert sum(rolled[name].reduction for name in ("emission", "reduction") if name in rolled) == totals.reduction
    for name, node in rolled.items():
        below = [rolled[child] for child in TREE.children.get(name, ()) if child in rolled]
        assert not below or sum((one.tco2e for one in below), Decimal(0)) == node.tco2e
        assert not below or sum(one.lines for one in below) == node.lines


def test_hydrogen_is_shown_in_transport_and_takes_nothing_off_it(make_line: MakeLine) -> None:
    hydrogen = make_line("S-1", "-5", leaf="transport.indirect.hydrogen", class_="reduction")
    power = make_line("S-1", "8", leaf="transport.indirect.thermal")
    rolled = rolled_up([hydrogen, power])
    assert (rolled["transport"].tco2e, rolled["transport"].reduction) == (8, -5)


def test_a_strange_leaf_and_a_tree_that_does_not_hang_together_are_refused(make_line: MakeLine) -> None:
    with pytest.raises(UnknownNameError, match=r"industry\.total"):
        rolled_up([make_line("S-1", "1", leaf="industry.total")])
    source = files("cloud.accounting").joinpath("indicators.toml").read_bytes()
    for found, instead in (
        (b'parent = "energy.total"', b'parent = "energy.totals"'),
        (b'class = "indirect_cooling"\n', b""),
        (b'notes = ["A13"]', b'notes = ["A14"]'),
        (b'derived_from = "park.total"', b'derived_from = "parks"'),
    ):
        assert found in source
        with pytest.raises(ConfigError):
            indicators.load("mutant", source.replace(found, instead, 1))


def test_table_1_gives_every_accounted_subject_its_four_indicators() -> None:
    table = indicators.table1()
    for category in ("energy", "industry", "building", "transport", "reduction", "park", "community"):
        assert table.due(category) == ("total", "intensity", "change", "reduction")
    assert [one.id for one in table.function][4] == "early-warning" and len(table.terminal) == 5
    with pytest.raises(UnknownNameError):
        table.due("moon")
