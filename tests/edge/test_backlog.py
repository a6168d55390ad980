"""What a logger still holds: which intervals are asked for, how often, and until when newer ones wait."""

from decimal import Decimal

import pytest

from drivers import builtin, profile_file
from drivers.driver import driver
from drivers.hj212 import Hj212Driver, instant, interval_start
from drivers.site import Device, Stack
from edge.backlog import ANSWER_MS, MOST_HELD, Backlog
from protocols import hj212
from protocols.hj212 import Found, Packet

PROFILE = profile_file.load(builtin.builtin("hj212-co2"), "hj212-co2")
NAMES = ("co2_minute", "co2_hour", "co2_day")
MINUTES, HOUR, DAY = 600_000, 3_600_000, 86_400_000


def at(text: str) -> int:
    """Local time on a day, as UTC ms."""
    found = instant(f"202611{text}00", MONITOR.zone)
    assert found is not None
    return found


def monitor() -> Hj212Driver:
    made = driver(
        Device(id="S", profile=PROFILE.id, port="p", address="A1", points=NAMES, stack=Stack(Decimal(1))), PROFILE
    )
    assert isinstance(made, Hj212Driver)
    return made


MONITOR = monitor()


def packet(cn: str, time: str = "", more: str = "", qn: str = "1") -> Packet:
    stamp = f"DataTime=202611{time}00" if time else ""
    return hj212.decode(hj212.frame(f"QN={qn};ST=31;CN={cn};PW=1;MN=A1;Flag=5;CP=&&{stamp}{more}&&"))


def asked(held: Backlog, cn: str, time: str, now: str) -> list[str]:
    """CN, begin and end (day, hour, minute) of what is asked when this packet comes."""
    raw = held.ask(packet(cn, time), at(time) if cn != "2011" else None, at(now))
    if raw is None:
        return []
    question = hj212.decode(raw)
    assert held.asking is not None and held.asking.qn == question.qn
    return [question.cn, *(field.text[6:] for field in question.fields)]


def took(held: Backlog, cn: str, time: str, now: str) -> None:
    held.took(packet(cn, time), at(time), at(now))


def test_the_first_packets_ever_ask_for_nothing() -> None:
    held = Backlog(MONITOR)
    held.resume(None, [])
    for cn, time in (("2051", "241000"), ("2061", "240900"), ("2031", "230000")):
        assert asked(held, cn, time, "241010") == []
        took(held, cn, time, "241010")
    assert asked(held, "2051", "241010", "241020") == []


def test_what_lies_between_the_newest_on_record_and_the_one_that_comes_is_asked_for() -> None:
    held = Backlog(MONITOR)
    held.resume(None, [])
    asked(held, "2051", "241000", "241010")
    took(held, "2051", "241000", "241010")
    assert asked(held, "2051", "241100", "241110") == ["2051", "24101000", "24105959"]
    assert held.waits(packet("2051", "241100"), at("241100")) and not held.waits(packet("2061", "241000"), at("241000"))
    assert held.follows(packet("2051", "241050"), at("241050"))
    assert asked(held, "2051", "241110", "241120") == []


def test_days_hours_and_minutes_of_a_box_that_was_away_are_asked_for_within_bounds() -> None:
    held = Backlog(MONITOR)
    held.resume(at("011200"), [])
    found = []
    for _ in range(6):
        if question := asked(held, "2011", "241200", "241200"):
            found.append(question)
            assert held.asking is not None
            held.answered(packet("9012", more="ExeRtn=1", qn=held.asking.qn), at("241200"))
    assert sorted(found) == [
        ["2031", "31000000", "22235959"],
        ["2051", "23120000", "24114959"],
        ["2061", "17120000", "24105959"],
    ]


def test_a_box_that_was_away_begins_behind_what_is_on_record() -> None:
    times = ("240930", "240940", "301000")  # the last is a logger's clock gone wrong
    raws = [hj212.frame(f"CN=2051;MN=A1;CP=&&DataTime=202611{time}00&&")[:-2] for time in times]
    held = Backlog(MONITOR)
    held.resume(at("241003"), raws)
    assert asked(held, "2051", "241030", "241040") == ["2051", "24095000", "24102959"]


def test_a_refusal_and_no_data_are_final_and_silence_is_tried_once_more() -> None:
    for more, cn in (("QnRtn=2", "9011"), ("ExeRtn=100", "9012"), ("ExeRtn=1", "9012")):
        held = Backlog(MONITOR)
        held.resume(at("241000"), [])
        assert asked(held, "2051", "241030", "241040")
        held.answered(packet(cn, more=more, qn="other"), at("241040"))
        assert held.asking is not None
        held.answered(packet(cn, more=more, qn=held.asking.qn), at("241040"))
        assert held.over(at("241040")) and asked(held, "2051", "241030", "241040") == []
    held = Backlog(MONITOR)
    held.resume(at("241000"), [])
    for _ in range(2):
        assert asked(held, "2051", "241030", "241040")
        assert not held.over(at("241040") + ANSWER_MS) and held.over(at("241040") + ANSWER_MS + 1)
    assert asked(held, "2051", "241030", "241040") == []


def test_a_line_that_ends_is_no_answer_and_too_much_held_back_is_enough() -> None:
    held = Backlog(MONITOR)
    held.resume(at("241000"), [])
    for _ in range(4):
        assert asked(held, "2051", "241030", "241040")
        held.lose()
    asked(held, "2051", "241030", "241040")
    held.held = [(0, Found(packet("2051", "241030"), b"", 0))] * MOST_HELD
    assert held.over(at("241040"))


@pytest.mark.parametrize(("period", "expected"), [(MINUTES, "241020"), (HOUR, "241000"), (DAY, "240000")])
def test_intervals_begin_where_the_logger_cuts_them(period: int, expected: str) -> None:
    assert interval_start(at("241025"), period, MONITOR.zone) == at(expected)
