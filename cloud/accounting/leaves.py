"""The leaves of the indicator tree (T/CI 231-2023, Table 2): the places at which a line of an account may stand."""

_PRINTED = {
    "energy.direct": "coal other",
    "energy.indirect": "electricity other",
    "industry.direct": "water coal oil gas",
    "industry.indirect": "heat material green thermal cooling",
    "building.indirect": "water thermal green cooling heat",
    "transport.direct": "gasoline diesel gas",
    "transport.indirect": "thermal green hydrogen",
    "park.direct": "water heat gas oil material coal waste recycling",
    "park.indirect": "green thermal heat",
    "community.indirect": "green thermal heat waste",
    "reduction.circular": "byproduct water waste-power residual-energy three-wastes other",
    "reduction.treatment": "sewage soil solid air other",
    "reduction.ecology": "green-space afforestation wetland soil-water other",
    "reduction.clean": "pv wind biomass hydrogen",
    "reduction.captive": "recycled",
}
_ADDED = {"building.direct": "gas oil coal", "community.direct": "gas"}


def _names(groups: dict[str, str]) -> frozenset[str]:
    return frozenset(f"{group}.{leaf}" for group, leaves in groups.items() for leaf in leaves.split())


PRINTED = _names(_PRINTED)
"""The 39 leaves of emission and the 21 of reduction that the table prints."""

ADDED = _names(_ADDED)
"""What the table leaves out and the guidelines ask for: fuels burnt in buildings and communities."""

LEAVES = PRINTED | ADDED
