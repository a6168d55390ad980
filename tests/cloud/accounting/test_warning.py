"""Early warning: burn-down, drift, gaps; raised once, cleared lower, acknowledged by somebody."""

from datetime import date
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.accounting import signals, warning
from cloud.accounting.signals import Level, Signal
from cloud.accounting.subject import Target
from cloud.accounting.warning import Alarm, Event
from protocols import messages
from protocols.errors import ConfigError, LockedError

QUOTA = Target(2026, "36500", "quota")
LEVEL = Level(Decimal("1.05"), Decimal("1"), Decimal("1.2"))
AT = "2026-07-01T00:00:00+08:00"


def test_a_quota_burns_down_against_its_even_path() -> None:
    """After 100 days the path is 10,000 t; 12,500 are gone, so 24,000 last 192 days where 265 are left."""
    burn = signals.burn_down(QUOTA, Decimal(12_500), date(2026, 4, 11))
    assert (burn.path, burn.ratio, burn.days_left, burn.year_left) == (10_000, Decimal("1.25"), 192, 265)
    found = signals.burning("S-1", burn)
    assert found is not None and found.kind == "quota" and found.figures["until"] == "2026-10-20"


def test_days_that_have_no_account_do_not_make_a_quota_last_longer() -> None:
    """92 of 304 days are held: at their pace 40,000 t of the quota are gone, not 12,105, and nothing is left."""
    day = date(2026, 11, 1)
    some = signals.burn_down(QUOTA, Decimal(12_105), day, Decimal(40_000))
    assert (some.emitted, some.days_left) == (12_105, 0) and some.ratio is not None
    assert f"{some.ratio:.4f}" == "1.3158"
    blind = signals.burn_down(QUOTA, Decimal(12_105), day)
    assert blind.days_left == 612 and blind.ratio is not None and blind.ratio < some.ratio
    told = signals.burning("S-1", some)
    assert told is not None and told.level == some.ratio and "≈ 40000" in told.figures["emitted"]


@pytest.mark.parametrize(
    ("emitted", "day", "left", "ratio"),
    [
        ("36500", date(2026, 12, 1), 0, True),
        ("40000", date(2026, 6, 1), 0, True),
        ("0", date(2026, 6, 1), None, True),
        ("0", date(2026, 1, 1), None, False),
        ("36000", date(2027, 3, 1), 5, True),
    ],
)
def test_the_ends_of_a_burn_down(emitted: str, day: date, left: int | None, ratio: bool) -> None:
    burn = signals.burn_down(QUOTA, Decimal(emitted), day)
    assert burn.days_left == left and (burn.ratio is not None) is ratio


def test_a_target_of_nothing_is_missed_by_anything() -> None:
    found = signals.burning("S-1", signals.burn_down(Target(2026, "0", "target"), Decimal(1), date(2026, 3, 1)))
    assert found is not None and found.level.is_infinite()
    raised = warning.judge(None, found, LEVEL, AT)
    assert raised is not None and (raised.happened, raised.level) == ("critical", "∞")


STEADY = [Decimal(value) for value in ("1.00", "1.02", "0.98", "1.01", "0.99", "1.00")]


def level(values: list[Decimal], kind: str) -> Decimal:
    return next(one.level for one in signals.drift("S-1", "output", values) if one.kind == kind)


def test_an_intensity_that_stays_raises_nothing_and_one_that_creeps_does() -> None:
    steady, creeping = [*STEADY, *STEADY], [*STEADY, *[Decimal("1.03")] * 8]
    assert level(steady, "ewma") < 1 and level(steady, "cusum") < 1
    assert level(creeping, "ewma") > 1 and level(creeping, "cusum") > 1
    assert signals.drift("S-1", "output", creeping)[0].figures["direction"] == "+"
    assert signals.drift("S-1", "output", [*STEADY, *[Decimal("0.97")] * 8])[0].figures["direction"] == "-"


WINTERS = [
    Decimal(value) for value in ("1.1", "1.0", "1.0", "1.1", "1.4", "1.9", "2.5", "2.9", "3.0", "2.8", "2.2", "1.6")
]
"""A heated house, May to April."""


def seasonal(*off: str) -> tuple[Signal, ...]:
    """Of the year of ``WINTERS`` and of the months after it, each so far off what that month had."""
    values = [*WINTERS, *(was + Decimal(one) for was, one in zip(WINTERS, off, strict=False))]
    return signals.drift("S-1", "area", values, before=[*[None] * 12, *WINTERS[: len(off)]])


def test_a_season_is_no_drift_once_the_year_before_is_held() -> None:
    """By its summer the house drifts every winter; by the winter before it does not."""
    noise = ("0.01", "-0.01") * 6
    assert all(one.level > 2 for one in signals.drift("S-1", "area", WINTERS))
    assert all(one.level > 2 for one in signals.drift("S-1", "area", [*WINTERS, *WINTERS]))
    for months in range(6, 13):
        found = seasonal(*noise[:months])
        assert [one.kind for one in found] == ["ewma", "cusum"] and all(one.level < 1 for one in found)
    ewma, cusum = seasonal(*noise[:6], *["0.06"] * 6)
    assert ewma.level > 1 and cusum.level > 1 and ewma.figures == {"before": "1.6", "last": "1.66", "direction": "+"}
    ewma, cusum = seasonal(*["-0.10", "-0.11"] * 6)
    assert ewma.level > 2 and cusum.figures["direction"] == "-", "a step that every month shares is seen"


def test_differences_to_last_year_by_hand() -> None:
    """Six differences of 0.01 and -0.01 by turns lie 0.02 apart: a spread of 0.02 sqrt(pi) / 2 = 0.0177245. Then 0.06.

    Distances 0.5642, -0.5642, ... and 3.3851. CUSUM: 0 after the sixth, 3.3851 - 0.5 = 2.8851 over 5. EWMA: 0.1128,
    -0.0226, 0.0948, -0.0370, 0.0832, -0.0463, then 0.2 x 3.3851 - 0.8 x 0.0463 = 0.6400, over
    3 sqrt(0.2 / 1.8 (1 - 0.8^14)) = 0.9778.
    """
    ewma, cusum = seasonal(*["0.01", "-0.01"] * 3, "0.06")
    assert f"{cusum.level:.4f}" == "0.5770" and f"{ewma.level:.4f}" == "0.6546"
    assert ewma.figures == {"before": "2.5", "last": "2.56", "direction": "+"}


def test_without_the_same_months_it_is_as_before_and_the_message_says_so() -> None:
    def message(found: Signal) -> str:
        return stood(found).message

    values = [*WINTERS, *WINTERS[:7]]
    whole: list[Decimal | None] = [*[None] * 12, *WINTERS[:7]]
    plain = signals.drift("S-1", "area", values)
    for before in ([*whole[:-1], None], [None] * 14 + whole[14:]):
        assert signals.drift("S-1", "area", values, before=before) == plain
    assert signals.drift("S-1", "area", values, before=whole) != plain
    assert "未扣除季节影响" in messages.text(message(plain[0]), "zh", **plain[0].figures)
    assert message(seasonal(*["0"] * 7)[1]) == "warning.cusum-season"


def test_a_year_like_the_one_before_clears_what_its_season_had_raised() -> None:
    """It stands while only the first half year is known, down to the level that clears, which is lower."""
    raised = stood(signals.drift("S-1", "area", [*WINTERS, *WINTERS[:5]])[0])
    (ewma, _) = seasonal(*["0"] * 6)
    assert ewma.level == 0
    cleared = warning.judge(raised, ewma, signals.levels()["ewma"], AT)
    assert cleared is not None and cleared.happened == "cleared"
    between = signals.Signal(ewma.kind, ewma.subject, ewma.about, Decimal("0.9"), ewma.figures)
    assert warning.judge(raised, between, signals.levels()["ewma"], AT) is None, "0.9 is below 1 and not below 0.7"


def stood(found: Signal) -> Alarm:
    """The warning that a signal raises, however low it is."""
    level = signals.levels()[found.kind]
    event = warning.judge(
        None, signals.Signal(found.kind, found.subject, found.about, level.critical, found.figures), level, AT
    )
    assert event is not None
    alarm = warning.stands([event])
    assert alarm is not None
    return alarm


def test_the_charts_by_hand() -> None:
    """One distance of 3: EWMA 0.2 x 3 = 0.6 over 3 x sqrt(0.2 / 1.8 x (1 - 0.8^2)) = 0.6, so 1. CUSUM 2.5 / 5."""
    known = signals.levels()
    assert signals.ewma([Decimal(3)], known["ewma"]).quantize(Decimal("1e-20")) == 1
    assert signals.cusum([Decimal(3)], known["cusum"]) == Decimal("0.5")
    assert signals.cusum([Decimal(-3), Decimal(-3)], known["cusum"]) == -1


def test_too_few_periods_say_nothing_and_a_flat_reference_divides_by_nothing() -> None:
    assert signals.drift("S-1", "output", STEADY) == ()
    flat = [Decimal(1)] * 6
    assert signals.drift("S-1", "output", [*flat, Decimal(1)]) == ()
    assert signals.drift("S-1", "output", [*flat, Decimal("1.1")])[1].level > 1


def test_missing_is_the_greater_of_what_was_lost_and_what_was_filled() -> None:
    found = signals.missing("S-1", "2026-06", 80, 100, Decimal("0.05"))
    assert found is not None and found.level == Decimal("0.2") and found.figures["lost"] == "20"
    filled = signals.missing("S-1", "2026-06", 100, 100, Decimal("0.3"))
    assert filled is not None and filled.level == Decimal("0.3")
    assert signals.missing("S-1", "2026-06", 0, 0, Decimal(0)) is None


def test_a_width_that_is_not_known_says_nothing() -> None:
    assert signals.wider("S-1", "2026-06", None, Decimal(3)) is None
    assert signals.wider("S-1", "2026-06", Decimal(3), Decimal(0)) is None
    found = signals.wider("S-1", "2026-06", Decimal(6), Decimal(3))
    assert found is not None and found.level == 2
    assert signals.flue_gas("S-1", "DA001", None) is None


def signal(at: str) -> Signal:
    return Signal("quota", "S-1", "2026", Decimal(at), {"emitted": at})


def told(*found: str, acknowledged_after: int | None = None) -> tuple[list[str], Alarm | None]:
    events: list[Event] = []
    for index, at in enumerate(found):
        event = warning.judge(warning.stands(events), signal(at), LEVEL, f"2026-07-{index + 1:02}T00:00:00+08:00")
        events += [event] if event else []
        if index == acknowledged_after:
            standing = warning.stands(events)
            assert standing is not None
            events.append(warning.acknowledge(standing, "王工", "检修期间", AT))
    return [event.happened for event in events], warning.stands(events)


def test_a_figure_at_the_edge_does_not_ring_all_day() -> None:
    happened, found = told("1.04", "1.06", "1.04", "1.06", "1.01", "1.06")
    assert happened == ["raised"] and found is not None and found.since.startswith("2026-07-02")
    happened, found = told("1.06", "0.99", "1.04", "1.06")
    assert happened == ["raised", "cleared", "raised"]
    assert found is not None and found.since.startswith("2026-07-04") and found.id == "W-S-1-quota-2026"


def test_an_acknowledgement_holds_until_it_gets_worse_or_comes_back() -> None:
    _, found = told("1.06", "1.07", acknowledged_after=0)
    assert found is not None and (found.state, found.by, found.why) == ("acknowledged", "王工", "检修期间")
    happened, found = told("1.06", "1.30", "1.25", "1.15", acknowledged_after=0)
    assert happened == ["raised", "acknowledged", "critical"]
    assert found is not None and (found.state, found.critical, found.by) == ("raised", True, "")
    happened, found = told("1.06", "0.9", "1.06", acknowledged_after=0)
    assert happened == ["raised", "acknowledged", "cleared", "raised"] and found is not None and found.state == "raised"


def test_nobody_acknowledges_without_a_name_a_reason_or_a_warning() -> None:
    _, standing = told("1.06")
    assert standing is not None
    for by, why in (("", "why"), ("me", " ")):
        with pytest.raises(ConfigError):
            warning.acknowledge(standing, by, why, AT)
    _, over = told("1.06", "0.5")
    _, seen = told("1.06", acknowledged_after=0)
    for found in (over, seen):
        assert found is not None
        with pytest.raises(LockedError):
            warning.acknowledge(found, "me", "why", AT)


@given(st.lists(st.decimals(0, 2, places=2), max_size=40))
def test_a_warning_stands_exactly_from_raise_to_clear(found: list[Decimal]) -> None:
    stands = False
    events: list[Event] = []
    for at in found:
        stands = at >= LEVEL.raise_ or (stands and at >= LEVEL.clear)
        event = warning.judge(warning.stands(events), signal(str(at)), LEVEL, AT)
        events += [event] if event else []
        now = warning.stands(events)
        assert (now is not None and now.standing) is stands
    happened = [event.happened for event in events]
    assert all(one != following for one, following in pairwise(happened))


def test_every_kind_has_its_texts_and_fills_their_gaps() -> None:
    drifting = signals.drift("S-1", "output", [*STEADY, Decimal(2)])
    burn = signals.burn_down(QUOTA, Decimal(20_000), date(2026, 4, 11))
    given = [
        *drifting,
        *seasonal(*["0"] * 7),
        signals.burning("S-1", burn),
        signals.missing("S-1", "m", 1, 2, Decimal(0)),
    ]
    given.append(signals.burning("S-1", signals.burn_down(Target(2026, "9", "target"), Decimal(8), date(2026, 4, 1))))
    given += [signals.wider("S-1", "m", Decimal(2), Decimal(1)), signals.flue_gas("S-1", "DA001", Decimal(3))]
    figures = {"meter": "M-01.energy", "gateway": "0f", "others": "S-2 (M-01.energy)", "since": "–", "until": "–"}
    given.append(signals.shared("S-1", "0f-M-01.energy", 2, figures))
    assert {one.kind for one in given if one} == set(signals.KINDS)
    for one in given:
        assert one is not None
        assert messages.text(stood(one).message, "zh", **one.figures)
        assert messages.text(stood(one).message, "en", **one.figures)


def test_levels_out_of_order_are_refused() -> None:
    source = files("cloud.accounting").joinpath("warning_levels.toml").read_bytes()
    for found, instead in ((b'clear = "0.8"', b'clear = "1.8"'), (b"[flue-gas]", b"[smoke]"), (b"schema = 1", b"")):
        with pytest.raises(ConfigError):
            signals.levels(source.replace(found, instead, 1))
