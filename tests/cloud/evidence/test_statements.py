"""Statements from the store: when a day is closed, by itself and again, what counts in it, and that its pack holds."""

import pytest

from cloud import statements
from cloud.accounting import period as periods
from cloud.accounting.statement import Statement
from cloud.closing import Closer
from cloud.evidence.verify import verify
from cloud.store import Store
from protocols.errors import AccountError
from protocols.record import siteconfig
from tests.cloud.box import DAY, MINUTE, PROFILE, SITE, Box, Silent, store_config
from tests.cloud.evidence.packs import forged, packed, refused


def closed(closer: Closer, now: int) -> list[Statement]:
    """What is closed of the day that the tests are about."""
    found = [statement for site in closer.waiting(now) for statement in closer.close(site, now)]
    return [statement for statement in found if statement.content.period.id == DAY.id]


def test_a_day_of_which_nothing_is_known_is_tried_again_when_something_of_it_comes(collector: Store) -> None:
    box = Box()
    box.enrol(collector)
    closer = Closer(collector)
    assert closed(closer, DAY.end + 2 * 60 * MINUTE) == []
    assert closer.waiting(DAY.end + 2 * 60 * MINUTE) == []
    box.deliver(collector, 110, span=15 * MINUTE)
    found = closed(closer, DAY.end + 8 * 60 * MINUTE)
    assert [one.id for one in found] == ["E-plant-7-2026-09-22"]


def test_a_day_is_closed_by_itself_and_again_when_late_data_changes_it(collector: Store) -> None:
    box = Box()
    box.enrol(collector)
    box.deliver(collector, 80, span=15 * MINUTE)
    closer = Closer(collector)
    assert closed(closer, DAY.end + MINUTE) == []
    (first,) = closed(closer, DAY.end + 2 * 60 * MINUTE)
    assert (first.id, first.version) == ("E-plant-7-2026-09-22", 1)
    assert "account.missing" in first.content.reasons
    box.deliver(collector, 30, span=15 * MINUTE)
    (second,) = closed(closer, DAY.end + 8 * 60 * MINUTE)
    assert (second.version, second.supersedes) == (2, 1)
    assert second.content.reasons == ("factor.earlier-year",)
    assert second.difference is not None
    assert second.difference.tco2 == second.content.tco2 - first.content.tco2 > 0
    assert second.difference.tco2_by_factor == 0
    assert closed(closer, DAY.end + 8 * 60 * MINUTE) == []
    assert [entry.version for entry in statements.versions(collector, first.id)] == [1, 2]
    for version in (first, second):
        assert verify(packed(collector, version)).statement == version


def test_a_month_is_the_sum_of_its_days_and_holds(collector: Store) -> None:
    box = Box(utc=periods.parse("2026-09-29", DAY.zone).start)
    box.enrol(collector)
    box.deliver(collector, 2 * 96 + 4, span=15 * MINUTE)
    month = statements.close(collector, "plant-7", "2026-09", box.utc)
    days = [statements.close(collector, "plant-7", day, box.utc) for day in ("2026-09-29", "2026-09-30")]
    assert month.content.kwh == sum(day.content.kwh for day in days)
    assert month.content.tco2 == sum(day.content.tco2 for day in days)
    assert month.content.gaps[0].kind == "missing"
    assert verify(packed(collector, month)).statement == month


def test_two_gateways_of_one_site_are_one_account(collector: Store, box: Box) -> None:
    second = Box(energy=7_000)
    second.enrol(collector)
    second.deliver(collector, 6)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    amounts = [meter.kwh for meter in closed.content.lines[0].meters]
    assert len(amounts) == 2
    assert closed.content.kwh == sum(amount for amount in amounts if amount)
    pack = packed(collector, closed)
    one, two = box.key.public.id.hex(), second.key.public.id.hex()
    for labels in ((), (one, two), (two, one, two)):
        assert len(verify(pack, labels).gateways) == 2
    assert refused(pack, one).rule == refused(pack, two).rule == "gateway"


def test_a_gateway_hidden_from_the_pack_changes_the_figure(collector: Store, box: Box) -> None:
    second = Box()
    second.enrol(collector)
    second.deliver(collector, 6)
    pack = packed(collector, statements.close(collector, "plant-7", DAY, box.utc))

    def change(files: dict[str, bytes]) -> None:
        for name in [name for name in files if second.key.public.id.hex() in name]:
            del files[name]

    assert refused(forged(pack, change)).rule == "figures"


def test_a_new_role_counts_from_its_configuration_on(collector: Store, box: Box) -> None:
    box.deliver(collector, 11)
    site = SITE.replace(b'address = "2"\n', b'address = "2"\nrole = "purchased"\n')
    envelope = box.configured(2, site, siteconfig.digest(box.config))
    assert store_config(collector, box, envelope)
    box.use(2, envelope, site)
    box.deliver(collector, 30)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    meters = {
        (meter.device, meter.role): meter for meter in (*closed.content.lines[0].meters, *closed.content.breakdown)
    }
    assert set(meters) == {("M-01", "purchased"), ("M-02", "purchased"), ("M-02", "sub")}
    assert meters["M-02", "sub"].runs[-1].end == meters["M-02", "purchased"].runs[0].start
    assert verify(packed(collector, closed)).statement == closed


def test_a_configuration_that_no_block_used_does_not_reach_back(collector: Store, box: Box) -> None:
    silent = Silent()
    silent.enrol(collector)
    silent.deliver(collector, 6)
    first = statements.close(collector, "plant-7", DAY, box.utc)
    assert [meter.kwh is None for meter in first.content.lines[0].meters].count(True) == 1
    site = SITE.replace(b'role = "purchased"', b'role = "sub"')
    assert store_config(collector, silent, silent.configured(2, site, siteconfig.digest(silent.config)))
    assert statements.close(collector, "plant-7", DAY, box.utc) == first
    assert verify(packed(collector, first)).statement == first


def test_a_time_zone_that_no_block_used_does_not_move_the_day(collector: Store, box: Box, statement: Statement) -> None:
    site = SITE.replace(b'name = "Plant 7"', b'name = "Plant 7"\ntimezone = "Asia/Urumqi"')
    assert store_config(collector, box, box.configured(2, site, siteconfig.digest(box.config)))
    assert statements.close(collector, "plant-7", "2026-09-22", box.utc) == statement


def test_a_gateway_without_a_block_in_the_period_has_the_roles_it_had_before(collector: Store, box: Box) -> None:
    """The configuration in force at midnight: not the first one, and not a later one that no block used."""
    before = Box(utc=DAY.start - 30 * MINUTE)
    before.enrol(collector)
    before.deliver(collector, 1)
    previous = before.config
    for number, role in ((2, b"sub"), (3, b"purchased")):
        site = SITE.replace(b'role = "purchased"', b'role = "%s"' % role)
        previous = before.configured(number, site, siteconfig.digest(previous))
        assert store_config(collector, before, previous)
        if number == 2:
            before.use(2, previous, site)
            before.deliver(collector, 1)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert [meter.gateway for meter in closed.content.lines[0].meters] == [box.key.public.id.hex()]
    assert len(closed.content.breakdown) == 3
    pack = packed(collector, closed)
    report = verify(pack)
    assert report.statement == closed
    walked = next(walked for walked in report.gateways if walked.identity.id == before.key.public.id.hex())
    assert (walked.blocks, sorted(walked.identity.configurations)) == (1, [1, 2])


def test_a_count_that_begins_again_within_the_day_holds(collector: Store, box: Box) -> None:
    box.deliver(collector, 14)
    box.energy = 17
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    (meter,) = closed.content.lines[0].meters
    assert [(run.quality, run.kwh is None) for run in meter.runs] == [
        ("measured", False),
        ("suspect", True),
        ("measured", False),
    ]
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert {turn.kind for turn in report.gateways[0].turns} == {"reset"}
    told = collector.incidents()
    assert [incident.kind for incident in told] == ["reset", "reset"]
    assert any("M-01.energy_import: found 0.17 (2026-09-2" in incident.detail for incident in told)


def test_a_ratio_register_that_changed_within_the_day_is_known_to_the_pack(collector: Store) -> None:
    """The pack begins with the block in which the register was last read before the day."""
    setting = PROFILE.replace(
        b'unit = "kW"\nkind = "gauge"\nscale = 0.01\nprimary = false', b'unit = "1"\nkind = "config"'
    )
    setting = setting.replace(b"address = 2", b'address = 2\naffects = ["energy_import"]')
    box = Box(profile=setting, utc=DAY.start - 90 * MINUTE)
    box.enrol(collector)
    box.deliver(collector, 92)
    box.ct = 800
    box.deliver(collector, 3)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    (meter,) = closed.content.lines[0].meters
    before, after = meter.runs
    assert before.closing != after.opening
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert report.gateways[0].blocks < 95
    assert {(turn.kind, turn.before.value, turn.after.value) for turn in report.gateways[0].turns} == {
        ("ratio", 600, 800)
    }
    assert {incident.kind for incident in collector.incidents()} == {"ratio"}


def test_a_site_nobody_knows_has_no_account(collector: Store, box: Box) -> None:
    with pytest.raises(AccountError, match="plant-9"):
        statements.close(collector, "plant-9", "2026-09-22", box.utc)
    with pytest.raises(AccountError, match="plant-9"):
        statements.split(collector, "E-plant-9-2026-09-22")
    with pytest.raises(AccountError, match="no consumption"):
        statements.close(collector, "plant-7", "2026-09-01", box.utc)
