"""One meter of two subjects: told when the second of them comes, unless something says which of them counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud import bindings, subjects
from cloud.accounting import subject_file as files
from cloud.packed import pack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols import messages
from protocols.errors import OvertakenError, SharedMeterError
from protocols.record.cose import PrivateKey
from tests.cloud import tables

NOW = 1_790_000_000_000
METER = {"device": "M-01", "point": "energy_import", "row": "24-08", "symbol": "AD"}
FAR = "0f" * 16
"""A gateway that is not enrolled."""


def meter(**says: str) -> str:
    """A meter as a subject file has it; days are written without quotes."""
    said = {**METER, **says}
    days = {"from": said.pop("since", ""), "until": said.pop("until", "")}
    parts = [f'{key} = "{value}"' for key, value in said.items()] + [
        f"{key} = {day}" for key, day in days.items() if day
    ]
    return f"{{ {', '.join(parts)} }}"


def works(name: str, *meters: str, more: str = "", site: str = "S-FAR", method: str = "ndrc-24-2015") -> str:
    said = f"meter = [{', '.join(meters)}]\n{more}\n"
    return tables.subject(name, said, zh=f"厂{name}", en=f"Works {name}", method=method, site=site)


def member(of: str, since: str = "2025-01-01", share: str = "1") -> str:
    return f'membership = [{{ of = "{of}", from = {since}, share = "{share}" }}]\n'


def whole(mode: str) -> str:
    return f'metering = [{{ class = "indirect_electricity", mode = "{mode}" }}]\n'


@dataclass
class Town:
    store: Store

    def take(self, *texts: str) -> list[int]:
        """The versions that stand after this file."""
        source = ("schema = 1\n" + "".join(texts)).encode()
        return [one.version for one in subjects.take(self.store, "new.toml", source, by="周", now=NOW)]

    def refuses(self, *texts: str) -> str:
        """What is said of this file; nothing of it is kept."""
        before = self.store.journal_end()
        with pytest.raises(SharedMeterError) as refused:
            self.take(*texts)
        assert self.store.journal_end() == before
        return str(refused.value)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Store(tmp_path / "collector.db", PrivateKey.generate()) as store:
        yield Town(store)


def test_the_second_subject_with_a_meter_is_refused_and_told_who_has_it(town: Town) -> None:
    assert town.take(works("S-A", meter(since="2026-01-01"))) == [1]
    said = town.refuses(works("S-B", meter()))
    for part in (
        "new.toml",
        "S-B",
        "M-01.energy_import",
        "site S-FAR",
        "S-A (厂S-A, Works S-A)",
        "24-08",
        "2026-01-01",
    ):
        assert part in said
    assert SharedMeterError.code == "ACC-807"
    for language, remedy in (("zh", 'role = "sub"'), ("en", "[[subject.metering]]")):
        assert remedy in messages.remedy("ACC-807", language)


def test_in_one_file_too_and_whichever_comes_first(town: Town) -> None:
    town.refuses(works("S-A", meter()), works("S-B", meter()))
    town.take(works("S-B", meter()))
    assert "which S-B" in town.refuses(works("S-A", meter()))


def test_a_subject_may_come_again_changed_and_give_its_meter_away_in_the_same_file(town: Town) -> None:
    town.take(works("S-A", meter()), works("S-B"))
    assert town.take(works("S-A", meter(label="north")), works("S-B")) == [2, 1]
    town.refuses(works("S-B", meter()))
    assert town.take(works("S-A"), works("S-B", meter())) == [3, 2]
    assert "which S-B" in town.refuses(works("S-A", meter()))


def test_a_meter_changes_hands_on_a_day(town: Town) -> None:
    town.take(works("S-A", meter(until="2026-10-01")))
    town.refuses(works("S-B", meter(since="2026-09-30")))
    assert town.take(works("S-B", meter(since="2026-10-01"))) == [1]
    town.refuses(works("S-A", meter(until="2026-10-02")))


def test_other_points_devices_sites_and_gateways_are_other_meters(town: Town) -> None:
    town.take(works("S-A", meter()), works("S-B", meter(point="energy_export"), meter(device="M-02")))
    assert town.take(works("S-C", meter(), site="S-ELSE"), works("S-D", meter(), site="")) == [1, 1]
    assert town.take(works("S-E", meter(), site=""), works("S-F", meter(gateway="0e" * 16), site="S-NEW")) == [1, 1]
    town.take(works("S-G", meter(gateway=FAR), site="S-NEW"))
    assert f"gateway {FAR}" in town.refuses(works("S-H", meter(gateway=FAR), site="S-OLD"))


def test_a_gateway_that_is_not_enrolled_is_taken_to_be_at_its_subjects_site(town: Town) -> None:
    town.take(works("S-A", meter()))
    town.refuses(works("S-B", meter(gateway=FAR)))
    assert town.take(works("S-B", meter(gateway=FAR), site="S-ELSE")) == [1]


def test_an_enrolled_gateway_says_where_a_meter_is_and_whether_it_is_there(full: Any, tmp_path: Path) -> None:
    full[0].store.back_up(tmp_path / "collector.db")
    with Store(tmp_path / "collector.db", full[0].key) as store:
        town, own = Town(store), full[0].store.gateways_of("S-DEMO")[0].id.hex()
        town.take(works("S-A", meter(), site="S-DEMO"))
        assert "of site S-DEMO" in town.refuses(works("S-B", meter(), site="S-DEMO"))
        assert f"gateway {own} of site S-DEMO" in town.refuses(works("S-B", meter(gateway=own), site="S-ELSE"))
        assert town.take(works("S-B", meter(gateway=FAR), site="S-DEMO")) == [1]


def test_a_meter_below_another_subjects_main_meter_is_in_it_already(full: Any, tmp_path: Path) -> None:
    """M-02 hangs below M-01 in the signed site file: its kWh would be the tenant's and once more the landlord's."""
    full[0].store.back_up(tmp_path / "collector.db")
    with Store(tmp_path / "collector.db", full[0].key) as store:
        town, here = Town(store), "S-DEMO"
        tenant, below = works("S-T", meter(device="M-02"), site=here), meter(device="M-02", row="24-09")
        town.take(works("S-L", meter(), site=here))
        said = town.refuses(tenant)
        assert "M-02.energy_import as a main meter below M-01, which is one of S-L" in said
        town.take(works("S-L", meter(until="2026-10-01"), site=here))
        assert town.take(works("S-T", meter(device="M-02", since="2026-10-01"), site=here)) == [1]
        assert "below M-01" in town.refuses(works("S-L", meter(), site=here))
        assert town.take(works("S-L", meter(), below, site=here)) == [3], "what it sells over M-02 is taken off"
        town.refuses(works("S-L", meter(), meter(device="M-02", row="24-09", since="2026-11-01"), site=here))
        assert town.take(
            works("S-L", meter(), site=here, more=whole("MAIN_TOTAL")),
            works("S-T", meter(device="M-02"), site=here, more=member("S-L")),
        ) == [4, 2]


def test_a_sub_meter_is_shown_and_never_counted(town: Town) -> None:
    town.take(works("S-A", meter(), meter(device="M-02", role="sub", of="M-01.energy_import")))
    assert town.take(works("S-B", meter(device="M-02"))) == [1]
    town.refuses(works("S-A", meter(), meter(device="M-02")))


def test_what_one_sells_and_the_other_buys_over_a_meter_is_no_sum(town: Town) -> None:
    town.take(works("S-A", meter(row="24-09")))
    assert town.take(works("S-B", meter())) == [1]
    assert "which S-A" in town.refuses(works("S-C", meter(row="24-09")))
    assert "which S-B" in town.refuses(works("S-B", meter()), works("S-C", meter()))


def test_a_reduction_or_a_subject_without_a_method_counts_nothing_twice(town: Town) -> None:
    town.take(works("S-A", meter()))
    assert town.take(works("S-R", meter(row="R17-B"), method="tci231-reduction-2023")) == [1]
    assert town.take(works("S-P", meter(), method="")) == [1]


@pytest.mark.parametrize("mode", ["MAIN_TOTAL", "SUB_SUM", "MAIN_WITH_BREAKDOWN"])
def test_a_whole_that_says_how_it_stands_to_its_member_may_share_its_meter(town: Town, mode: str) -> None:
    town.take(works("S-P", meter(), more=whole(mode)), works("S-Q", more=member("S-P")))
    assert town.take(works("S-E", meter(), more=member("S-Q"))) == [1]
    assert "which S-P" in town.refuses(works("S-X", meter()))


def test_a_whole_settles_nothing_of_who_is_not_all_in_it_of_another_class_or_where_both_count(town: Town) -> None:
    town.take(works("S-P", meter(), more=whole("MAIN_TOTAL")))
    town.refuses(works("S-E", meter()))
    town.refuses(works("S-E", meter(), more=member("S-P", share="0.5")))
    town.refuses(works("S-E", meter(row="24-11"), more=member("S-P")))
    town.take(works("S-E", meter(), more=member("S-P")))
    town.refuses(works("S-P", meter(), more=whole("INDEPENDENT")))
    town.refuses(works("S-P", meter()))


def test_what_stood_between_a_whole_and_its_member_is_not_taken_away_under_them(town: Town) -> None:
    """Neither of the two whose meter it is changes: what changes is the district that the one is in by."""
    town.take(works("S-P", meter(), more=whole("MAIN_TOTAL")), works("S-Q", more=member("S-P")))
    town.take(works("S-E", meter(), more=member("S-Q")))
    assert "S-E" in town.refuses(works("S-Q"))


def test_versions_of_before_that_have_no_brief_count_as_well(town: Town) -> None:
    source = ("schema = 1\n" + works("S-A", meter())).encode()
    file = files.read("old", source)
    town.store.keep(
        [
            JournalRow(0, "file", file.sha256, 1, "", "", file.sha256, NOW, "", "{}", pack(source)),
            JournalRow(0, "subject", "S-A", 1, "S-A", "", file.sha256, NOW, "", "{}", b""),
        ]
    )
    assert "which S-A" in town.refuses(works("S-B", meter()))


def test_a_brief_holds_what_counts_and_no_more() -> None:
    text = works("S-A", meter(since="2026-01-01"), meter(role="sub", of="M-01.energy_import"), more=whole("SUB_SUM"))
    (one,) = files.read("x", ("schema = 1\n" + text).encode()).subjects.values()
    kept = bindings.of_brief(bindings.brief(one))
    assert kept is not None and kept.metering == one.metering and kept.meter == one.meter[:1]
    assert "semantics" not in bindings.brief(one) and bindings.of_brief("{}") is None


def test_two_files_that_come_at_once_are_held_against_each_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is kept after everything was looked at, just before this one is."""
    keep, other = Store.keep, [works("S-B", meter())]

    def slow(store: Store, rows: list[JournalRow], **how: Any) -> list[int]:
        if other:
            town.take(other.pop())
        return keep(store, rows, **how)

    monkeypatch.setattr(Store, "keep", slow)
    with pytest.raises(SharedMeterError, match="which S-B"):
        town.take(works("S-A", meter()))
    with pytest.raises(OvertakenError, match="subject S-B behind number 0"):
        town.store.keep([], behind=("subject", 0))


def test_one_saidamong_hundreds_opens_no_file_of_theirs(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.take(*(works(f"S-{number}", meter(), site=f"X-{number}") for number in range(300)))
    opened, source = [], subjects.source

    def counted(store: Store, sha256: str) -> bytes:
        opened.append(sha256)
        return source(store, sha256)

    monkeypatch.setattr(subjects, "source", counted)
    assert town.take(works("S-NEW", meter(), site="X-NEW")) == [1]
    assert len(opened) == 1, "its own, to show what stands"
    assert "which S-123" in town.refuses(works("S-TWICE", meter(), site="X-123"))
    assert len(opened) == 1
