"""What two subjects count by a gateway or a meter tree that came after their files: told, and no complete lock."""

from typing import Any

import pytest

from cloud import accounts, bindings, cross_checks, early_warning, factor_shelf, shared_meters, subjects
from cloud.accounting.inventory import Version
from cloud.accounting.warning import Alarm
from cloud.city import City
from cloud.store import Store
from protocols.errors import LockedError, SharedMeterError
from protocols.record import cbor, siteconfig, transport
from tests.cloud import conftest, tables

DAY = 86_400_000
MIDNIGHT = 1_790_956_800_000
"""2026-10-03 00:00 in Shanghai."""
HERE = "S-DEMO"


def works(name: str, device: str, *, gateway: str = "", site: str = HERE, more: str = "", meter: str = "") -> str:
    bound = f'{more}{tables.meter(device)}gateway = "{gateway}"\n{meter}'
    return tables.subject(name, bound, zh=f"厂{name}", en=f"Works {name}", site=site)


def take(house: Any, *texts: str) -> None:
    subjects.take(house.store, "new.toml", ("schema = 1\n" + "".join(texts)).encode(), by="周", now=house.now)


def look(house: Any, after: int = 0) -> list[tuple[str, str]]:
    """What happened to the warnings of whoever has meters where something was set up, and of whoever changed."""
    city = City(house.store)
    _, near = early_warning.set_up(city, after)
    _, changed = early_warning.concerned(city, 0)
    events = early_warning.judge_each(city, dict.fromkeys((*near, *changed)), house.now)
    return [(event.subject, event.happened) for event in events if event.kind == "shared"]


def alarms(store: Store) -> list[Alarm]:
    return early_warning.listing(store, standing=True, kind="shared")


def configure(house: Any, rig: Any, number: int, site: str, since: int) -> int:
    """The technician at the cabinet sends the next configuration; the status of the answer."""
    (held,) = house.store.configurations(rig.id)[-1:]
    source = site.format(period="60s", block="15m").encode()
    profiles = siteconfig.open_site(held.envelope, rig.technician.public).profiles
    config = siteconfig.SiteConfig(number, held.digest, source, profiles, since)
    envelope = siteconfig.sign_site(config, rig.technician)
    sent = house.client.post("/v1/configs", content=cbor.encode({0: envelope, 1: rig.profiles}))
    return int(sent.status_code)


def account(house: Any, name: str, period: str) -> Version:
    library, day = factor_shelf.library(house.store), accounts.period_of(period)
    return accounts.close(house.store, library, name, day, house.now)


def shared(house: Any, version: Version) -> list[str]:
    return [one.about for one in cross_checks.findings(house.store, version.content) if one.id == "shared"]


def test_a_gateway_that_is_enrolled_elsewhere_than_believed_is_told_to_both_and_stops_a_complete_lock(
    house: Any, rig: Any
) -> None:
    """S-B's file says that gateway stands at S-ELSE; it is enrolled at S-DEMO, where S-A's file has M-01."""
    own, most = rig.id.hex(), 'ceiling = "1 MWh"\n'
    take(house, works("S-A", "M-01", meter=most), works("S-B", "M-01", gateway=own, site="S-ELSE", meter=most))
    assert look(house) == [] and house.client.get("/v1/health").json()["reasons"] == []
    rig.enrol(house.store, house.key)
    house.store.append([transport.pack(rig.block(MIDNIGHT, MIDNIGHT + 900_000))], house.now + 900_000)
    assert look(house) == [("S-A", "raised"), ("S-B", "raised")]
    assert look(house) == [], "once"
    health = house.client.get("/v1/health").json()
    told = [f"W-{name}-shared-{own[:12]}-M-01.energy_import" for name in ("S-A", "S-B")]
    assert (health["status"], health["reasons"]) == ("degraded", ["shared"])
    assert sorted(health["shared_meters"]) == told
    for path, language, text in (
        ("/", "zh", "S-B (M-01.energy_import) 也作为主表计入"),
        (f"/gateways/{own}", "en", "S-B (M-01.energy_import) counts"),
    ):
        page = house.client.get(path, headers={"accept-language": language}).text
        assert text in page and "S-A (M-01.energy_import)" in page and f"/gateways/{own}" in page
    house.now += 2 * DAY
    for name, other in (("S-A", "S-B"), ("S-B", "S-A")):
        version, about = account(house, name, "2026-10-03"), f"M-01.energy_import ({other}: M-01.energy_import)"
        assert shared(house, version) == [about]
        with pytest.raises(LockedError, match=r"not confirmed \(check\.shared"):
            accounts.lock(house.store, version.reference, ["王", "李"], house.now)
        locked = accounts.lock(house.store, version.reference, ["王", "李"], house.now, closure="exceptions")
        assert f"check.shared: {about}" in locked.exceptions
        page = house.client.get(f"/accounts/{version.reference}", headers={"accept-language": "zh"}).text
        assert about in page and "未了结" in page
    for name in told:
        early_warning.acknowledge(house.store, name, "周", "十月底前分表", house.now)
    assert house.client.get("/v1/health").json()["reasons"] == [], "somebody has it in hand"
    assert shared(house, version), "and the accounts still say it"
    given_away = works("S-B", "M-01", gateway=own, site="S-ELSE", meter="until = 2026-10-01\n")
    with pytest.raises(SharedMeterError):
        take(house, given_away)
    take(house, given_away, works("S-A", "M-01", meter="from = 2026-10-01\n"))
    assert look(house) == [("S-A", "cleared"), ("S-B", "cleared")]
    assert shared(house, version) == [] and alarms(house.store) == []


def test_a_new_meter_tree_is_taken_and_told_from_its_day_on(
    house: Any, make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-L has the main meter, S-T one of its own beside it; from 3 October on the tree says that it hangs below.

    Of 100 MWh by M-01 and 40 MWh by M-02 the city has 140 MWh before that day, and after it 140 where 100 came in.
    """
    below = conftest.SITE
    apart = below.replace('address = "058581160068"\nparent = "M-01"', 'address = "058581160068"')
    monkeypatch.setattr(conftest, "SITE", apart)
    rig = make_rig()
    rig.enrol(house.store, house.key)
    take(house, works("S-L", "M-01"), works("S-T", "M-02"))
    assert look(house) == []
    for start in (MIDNIGHT - 900_000, MIDNIGHT):
        house.store.append([transport.pack(rig.block(start, start + 900_000))], start + 900_000)
    house.now += 2 * DAY
    before, after = (
        {name: account(house, name, day) for name in ("S-L", "S-T")} for day in ("2026-10-02", "2026-10-03")
    )
    assert configure(house, rig, 2, below, MIDNIGHT) == 201, "a technician at the cabinet is not stopped"
    assert look(house) == [("S-L", "raised"), ("S-T", "raised")]
    assert {one.subject: (one.figures["others"], one.figures["since"]) for one in alarms(house.store)} == {
        "S-L": ("S-T (M-02.energy_import)", "2026-10-03"),
        "S-T": ("S-L (M-01.energy_import)", "2026-10-03"),
    }
    assert [shared(house, one) for one in before.values()] == [[], []], "what was apart stays apart"
    assert [shared(house, after[name]) for name in ("S-L", "S-T")] == [
        ["M-01.energy_import (S-T: M-02.energy_import)"],
        ["M-02.energy_import (S-L: M-01.energy_import)"],
    ]
    assert configure(house, rig, 3, below.replace("办公楼", "办公"), MIDNIGHT + DAY) == 201
    assert look(house) == [] and shared(house, after["S-T"]), "a configuration that says it again is no new beginning"
    assert configure(house, rig, 4, apart, MIDNIGHT + DAY) == 201
    assert look(house) == [("S-L", "cleared"), ("S-T", "cleared")]
    assert shared(house, after["S-T"]) == []


def test_a_file_that_leaves_it_as_it_is_is_taken_and_one_that_makes_another_is_not(house: Any, rig: Any) -> None:
    member = 'membership = [{ of = "S-P", from = 2025-01-01 }]\n'
    park = tables.subject("S-P", zh="园", en="Park", kind="park", category="park", method="")
    take(house, park, works("S-L", "M-01", more=member), works("S-T", "M-02", more=member))
    rig.enrol(house.store, house.key)
    assert look(house) == [("S-L", "raised"), ("S-T", "raised")]
    take(house, park.replace("Park", "The park"))
    assert subjects.get(house.store, "S-P").version == 2, "everybody below it is looked at, and nothing new is found"
    with pytest.raises(SharedMeterError, match=r"M-03\.energy_import as a main meter below M-01"):
        take(house, works("S-N", "M-03"))
    take(
        house,
        works("S-T", "M-02", more=f'{member}metering = [{{ class = "indirect_electricity", mode = "SUB_SUM" }}]\n'),
    )
    take(house, works("S-L", "M-01", more=member.replace("S-P", "S-T")))
    assert look(house) == [("S-L", "cleared"), ("S-T", "cleared")], "the one says how it stands to the other"


def test_three_that_count_one_meter_are_critical(house: Any, rig: Any) -> None:
    take(house, works("S-A", "M-01"), works("S-B", "M-02"), works("S-C", "M-03"))
    rig.enrol(house.store, house.key)
    assert sorted(look(house)) == [("S-A", "critical"), ("S-B", "raised"), ("S-C", "raised")]
    assert {one.level for one in alarms(house.store)} == {"2", "3"}


def test_one_gateway_among_hundreds_of_subjects_opens_no_file_and_no_other_configuration(
    house: Any, rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at is who may be at that gateway, by the briefs in the journal."""
    take(house, *(works(f"S-{number}", "M-01", site=f"X-{number}") for number in range(300)))
    take(house, works("S-A", "M-01"), works("S-B", "M-02"))
    rig.enrol(house.store, house.key)
    seen: list[int] = []
    doubles = bindings.doubles

    def counted(*given: Any) -> Any:
        seen.append(len(given[1].subjects))
        return doubles(*given)

    with monkeypatch.context() as patched:
        patched.setattr(bindings, "doubles", counted)
        patched.setattr(subjects, "source", None)
        assert [one.other.id for one in shared_meters.of_subject(house.store, "S-A")] == ["S-B"]
        assert shared_meters.of_subject(house.store, "S-7") == [] and seen == [2]
    city = City(house.store)
    facts, near = early_warning.set_up(city, 0)
    assert near == ["S-A", "S-B"] and early_warning.set_up(city, facts) == (facts, [])
