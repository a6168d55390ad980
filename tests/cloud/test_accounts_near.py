"""Late data make only those subjects due of whom a meter may be where they came: no version that is due is missed."""

import random

import pytest

from cloud import activities, subjects
from cloud.account_closing import AccountCloser
from cloud.store import Store
from tests.cloud import tables
from tests.cloud.accounting.small_city import all_closed, restarted
from tests.cloud.box import MINUTE, SITE
from tests.cloud.test_account_closing import put_right, rot
from tests.cloud.test_closing import BEGIN, HOUR, QUARTER, SLOW, Slow

NOW = BEGIN + 50 * HOUR
BY_SITE = tables.meter("M-02", 'class = "0.5"\n')
PLACES = ("plant-1", "plant-2", "plant-2", "plant-3")
"""Of each gateway its site: of one there are two."""


def at(place: str, meters: tuple[bytes, bytes] = (b"M-01", b"M-02")) -> Slow:
    site = SITE.replace(b'"plant-7"', f'"{place}"'.encode())
    for known, name in zip((b"M-01", b"M-02"), meters, strict=True):
        site = site.replace(known, name)
    return Slow(profile=SLOW, utc=BEGIN, place=place, site=site)


def configured(store: Store, box: Slow, site: bytes) -> None:
    number, digest = box.configuration
    envelope = box.configured(number + 1, site, digest)
    assert store.put_config(box.key.public.id, envelope, [box.profile], NOW)
    box.use(number + 1, envelope, site)


@pytest.fixture
def boxes(store: Store) -> list[Slow]:
    """Four gateways with almost a month that is over, each at another point of it, and subjects of every kind."""
    found = [
        at(place, (b"M-03", b"M-04") if number == 2 else (b"M-01", b"M-02")) for number, place in enumerate(PLACES)
    ]
    for number, box in enumerate(found):
        box.enrol(store)
        box.deliver(store, 6 + number, span=4 * HOUR)
    store.book()
    subjects.take(store, "city.toml", city([box.key.public.id.hex() for box in found]), by="w", now=BEGIN)
    for name in ("stack", "without"):
        bill = tables.activity_file(name, tables.fuel("natural_gas", "1 1e4Nm3", "2026-09-01", "2026-09-30"))
        activities.declare(store, "bill.toml", bill.encode(), by="w", now=BEGIN)
    return found


def city(gateways: list[str]) -> bytes:
    """Subjects with meters by site, by gateway, at two sites, below another one, in a stack, and without any."""

    def meter(number: int, device: str = "M-01", more: str = "") -> str:
        return tables.meter(device, f'class = "0.5"\ngateway = "{gateways[number]}"\n{more}')

    stack = '[[subject.monitor]]\nstack = "DA001"\ndevice = "M-01"\npoint = "energy_import"\nlines = ["24-01"]\n'
    stack += f'uncertainty = "6"\ndocument = "calibration"\ngateway = "{gateways[3]}"\n'
    below = 'role = "sub"\nof = "M-01.energy_import"\n'
    days = "until = 2026-09-30\n", "from = 2026-09-30\n"
    return tables.subject_file(
        tables.subject("by-site", BY_SITE, site="plant-1"),
        tables.subject(
            "of-two-boxes",
            tables.meter("M-02", 'class = "0.5"\n') + tables.meter("M-04", 'class = "1"\n'),
            site="plant-2",
        ),
        tables.subject("by-gateway", meter(0) + meter(1, more=f'label = "B"\n{days[0]}'), site="plant-3"),
        tables.subject("of-two-sites", meter(2, "M-03") + meter(3)),
        tables.subject("taken-over", meter(1, more=days[1]) + meter(3, "M-02", more=below), site="plant-1"),
        tables.subject("stack", stack),
        tables.subject("without", site="plant-1"),
    ).encode()


NEAR = {
    "plant-1": ["by-gateway", "by-site"],
    "plant-2": ["by-gateway", "of-two-boxes", "of-two-sites", "taken-over"],
    "plant-3": ["of-two-sites", "stack", "taken-over"],
}


@pytest.mark.parametrize("number", range(4))
def test_late_data_concern_those_with_a_meter_at_their_site(store: Store, boxes: list[Slow], number: int) -> None:
    closer = AccountCloser(store, durable=True)
    assert closer.waiting(NOW) == sorted({name for names in NEAR.values() for name in names} | {"without"})
    all_closed(closer, NOW)
    closer = restarted(closer, NOW)
    assert closer.waiting(NOW) == []
    boxes[number].deliver(store, 1, span=QUARTER)
    assert closer.waiting(NOW) == NEAR[PLACES[number]]


@pytest.mark.parametrize("number", range(4))
def test_a_gateway_that_is_set_up_anew_concerns_whose_meter_may_be_there(
    store: Store, boxes: list[Slow], number: int
) -> None:
    """By its name, or by its site; and each box that is installed elsewhere in the city concerns nobody."""
    closer, place = AccountCloser(store, durable=True), PLACES[number]
    all_closed(closer, NOW)
    closer = restarted(closer, NOW)
    at("plant-9").enrol(store)
    assert closer.waiting(NOW) == []
    configured(store, boxes[number], boxes[number].site)
    by_name = {0: {"by-gateway"}, 1: {"by-gateway", "taken-over"}, 2: {"of-two-sites"}}.get(number, set(NEAR[place]))
    by_site = {"plant-1": {"by-site"}, "plant-2": {"of-two-boxes"}}.get(place, set())
    assert set(closer.waiting(NOW)) == by_name | by_site
    all_closed(closer, NOW)
    closer = restarted(closer, NOW)
    at(place).enrol(store)
    assert set(closer.waiting(NOW)) == by_site


@pytest.mark.parametrize("seed", range(4))
def test_late_data_leave_nothing_that_one_who_looks_at_everybody_finds(
    store: Store, boxes: list[Slow], seed: int
) -> None:
    """Also over restarts, whether or not what was known was written down, when a meter is looked for elsewhere, and
    when gateways come, or are set up with other meters."""
    chance, closer, found = random.Random(seed), AccountCloser(store, durable=True), list[str]()
    for _ in range(16):
        for box in chance.sample(boxes, chance.choice((1, 1, 2))):
            box.deliver(store, 1, span=chance.choice((QUARTER, HOUR, 4 * HOUR)))
        if chance.random() < 0.2:
            moved = tables.subject("by-site", BY_SITE, site=chance.choice(("plant-1", "plant-3")))
            subjects.take(store, "moved.toml", tables.subject_file(moved).encode(), by="w", now=NOW)
        if chance.random() < 0.2:
            box = chance.choice(boxes)
            configured(store, box, at(box.place, chance.choice(((b"M-01", b"M-02"), (b"M-03", b"M-04")))).site)
        if chance.random() < 0.2:
            boxes.append(at(chance.choice(PLACES)))
            boxes[-1].enrol(store)
        if chance.random() < 0.2:
            closer = AccountCloser(store, durable=True)
        found += [version.reference for version in all_closed(closer, NOW)]
        assert all_closed(AccountCloser(store), NOW) == []
        if chance.random() < 0.2:
            closer = restarted(closer, NOW)
    assert {name for names in NEAR.values() for name in names} <= {name[2:-10] for name in found}
    assert len(found) > 20


def test_what_has_come_and_cannot_be_read_concerns_those_with_a_meter_at_its_site(
    store: Store, boxes: list[Slow]
) -> None:
    """Its newest block only lets open intervals grow, so that nothing else tells of it."""
    closer = AccountCloser(store)
    boxes[0].deliver(store, 1, span=5 * MINUTE)
    all_closed(closer, NOW)
    assert all_closed(closer, NOW) == []
    boxes[0].deliver(store, 1, span=5 * MINUTE)
    store.book()
    with store.writing() as db:
        sound = rot(db, boxes[0], "substr(rows, 3)")
    boxes[3].deliver(store, 1, span=QUARTER)
    assert closer.waiting(NOW) == sorted({*NEAR["plant-1"], *NEAR["plant-3"]})
    put_right(store, boxes[0], sound)
    assert "A-by-site-2026-09@2" in [version.reference for version in all_closed(closer, NOW)]
    assert all_closed(AccountCloser(store), NOW) == []
