"""Who stands for UTC: the kernel, chrony as it answers, a hardware clock, a technician; and none of them for long."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.clock import INFORMATIVE, SYNCHRONISED, SystemClock
from edge.daemon import STALE_MS, Daemon, chrony, chronyc
from edge.vouched import Vouched, vouch
from protocols.record.block import ClockState

LOCAL = "7F7F0101,,5,1795646996.512600736,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,0.000000000,0.0,Normal\n"  # noqa: E501
"""As chronyd 4.3 says it that has no source but itself."""
HEARD_MS = 1_795_646_900_000
UNREACHED = "^,?,127.0.0.1,0,0,0,4294967295,0.000000000,0.000000000,0.000000000\n"
TRACKING = "CB00710A,203.0.113.10,2,1795646900.250000000,-0.000120000,0.000010000,0.000030000,-3.1,0.001,0.050,0.024000000,0.003000000,64.2,Normal\n"  # noqa: E501
SOURCES = "".join(
    f"^,{mark},203.0.113.{number},1,6,377,12,0.000010000,0.000012000,0.013000000\n"
    for number, mark in ((10, "*"), (11, "+"), (12, "+"), (13, "x"))
)
NTS = "".join(f"203.0.113.{number},NTS,1,15,256,33,0,0,8,64\n" for number in (10, 11, 12))


def test_chrony_tells_the_error_and_whether_three_sources_agree() -> None:
    word = chrony([TRACKING, SOURCES, ""])
    assert word is not None and word.agreed
    assert word.state == ClockState(2, 2, 16, 1_795_646_900), "0.12 + 3 + 24/2 ms, rounded up"
    alone = chrony([TRACKING, SOURCES.splitlines()[0], ""])
    assert alone is not None and not alone.agreed


def test_one_authenticated_source_is_enough_and_a_receiver_of_ones_own() -> None:
    word = chrony([TRACKING, SOURCES.splitlines()[0], NTS])
    assert word is not None and word.agreed and word.state.source == 3
    mixed = chrony([TRACKING, SOURCES, NTS.splitlines()[0]])
    assert mixed is not None and mixed.state.source == 2, "what is chosen beside it is not authenticated"
    word = chrony([TRACKING, "#,*,PPS,0,4,377,5,0.0,0.0,0.000000146\n", ""])
    assert word is not None and word.agreed and word.state.source == 4


@pytest.mark.parametrize("reports", [
    [LOCAL, UNREACHED, ""],
    ["", "", ""],
    ["506 Cannot talk to daemon\n", "", ""],
    [TRACKING.replace("Normal", "Not synchronised"), SOURCES, ""],
    [TRACKING.replace("0.024000000", "?"), SOURCES, ""],
    ["\ufffd,,,\n", ",,,,\n", ","],
])  # fmt: skip
def test_a_daemon_that_knows_nothing_or_is_not_understood_leaves_it_to_the_kernel(reports: list[str]) -> None:
    assert chrony(reports) is None


Source = Callable[[int, int], ClockState | None]


class Set(SystemClock):
    """A clock in the hand of the test: monotonic ms, and UTC so far from what it began with."""

    def __init__(self, *others: Source, rtc: Path = Path("/nowhere")) -> None:
        super().__init__(*others, rtc=rtc)
        self.mono, self.off = 0, 0

    def mono_ms(self) -> int:
        return self.mono

    def utc_ms(self) -> int:
        return HEARD_MS + self.mono + self.off

    def asked(self, daemon: Daemon) -> ClockState | None:
        return daemon.knows(self.mono_ms(), self.utc_ms())


def answering(reports: dict[str, str]) -> Callable[[str], str]:
    return lambda report: reports[report]


def test_a_word_holds_a_while_with_a_growing_error_and_nobody_waits_for_the_daemon() -> None:
    clock, slow = Set(), {"tracking": TRACKING, "sources": SOURCES, "authdata": ""}

    def ask(report: str) -> str:
        time.sleep(0.1)
        return slow[report]

    async def polled() -> int:
        asked, ticks = asyncio.ensure_future(daemon.refresh()), 0
        while not asked.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    daemon = Daemon(clock, ask)
    assert clock.asked(daemon) is None and not daemon.agreed()
    assert asyncio.run(polled()) >= 5, "the loop goes on while the daemon is asked"
    clock.mono = 100_000
    later = clock.asked(daemon)
    assert later is not None and later.error_ms == 16 + 50 and daemon.agreed()
    clock.mono = STALE_MS + 1
    assert clock.asked(daemon) is None and not daemon.agreed()


@pytest.mark.parametrize("off", [-3_600_000, 7_000, 20 * 365 * 86_400_000])
def test_a_word_says_nothing_of_a_clock_that_was_set_after_it_until_a_server_is_heard_again(off: int) -> None:
    clock, says = Set(), {"tracking": TRACKING, "sources": SOURCES, "authdata": ""}
    daemon = Daemon(clock, answering(says))
    asyncio.run(daemon.refresh())
    assert daemon.agreed()
    clock.mono, clock.off = 1_000, off
    assert clock.asked(daemon) is None and not daemon.agreed()
    asyncio.run(daemon.refresh())
    assert clock.asked(daemon) is None and not daemon.agreed(), "chrony has not noticed: it has heard nobody since"
    clock.off = 0
    assert clock.asked(daemon) is not None and daemon.agreed(), "set back to where it was"
    clock.off, says["tracking"] = off, TRACKING.replace("1795646900.25", "1795646960.25")
    asyncio.run(daemon.refresh())
    assert clock.asked(daemon) is not None and daemon.agreed(), "the servers say so"


def test_sources_that_agree_on_another_time_do_not_bear_this_clock_out() -> None:
    clock, says = Set(), {"sources": SOURCES, "authdata": ""}
    daemon = Daemon(clock, answering(says))
    for off, state in ((7.2, SYNCHRONISED), (100.0, INFORMATIVE), (630_720_000.0, INFORMATIVE)):
        says["tracking"] = TRACKING.replace("-0.000120000", f"{off:.9f}")
        asyncio.run(daemon.refresh())
        said = clock.asked(daemon)
        assert said is not None and said.state == state and said.error_ms > off * 1000 and not daemon.agreed()


def test_a_technicians_word_comes_before_a_daemon_that_keeps_the_clock_no_longer(tmp_path, monkeypatch) -> None:
    boot, clock, says = tmp_path / "boot_id", Set(), {"tracking": TRACKING, "sources": UNREACHED, "authdata": ""}
    daemon, word = Daemon(clock, answering(says)), Vouched(tmp_path, boot)
    clock.off = 20 * 3_600_000
    asyncio.run(daemon.refresh())
    boot.write_text("one\n")
    vouch(tmp_path, clock, boot)
    known = Set(word.knows, daemon.knows, rtc=tmp_path)
    known.off = clock.off
    assert clock.asked(daemon) == ClockState(2, INFORMATIVE, 36_016, HEARD_MS // 1000)
    monkeypatch.setattr("edge.clock._adjtimex", lambda kernel: -1)
    assert known.state().source == 5


def test_a_daemon_that_hangs_or_is_not_there_says_nothing_within_its_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chronyc("tracking") == ""
    hanging = tmp_path / "chronyc"
    hanging.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr("edge.daemon.PATIENCE_S", 0.2)
    begun = time.monotonic()
    assert chronyc("tracking") == "" and time.monotonic() - begun < 5
    hanging.write_text(f"#!/bin/sh\ncat <<END\n{LOCAL}END\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("edge.daemon.PATIENCE_S", 5)
    assert chronyc("tracking") == LOCAL


def test_a_hardware_clock_stands_for_utc_only_where_utc_is_its_own(tmp_path) -> None:
    def source(seconds: float) -> int:
        (tmp_path / "since_epoch").write_text(f"{int(time.time() + seconds)}\n")
        return SystemClock(rtc=tmp_path)._resting

    assert [source(0), source(-30), source(-86_400 * 365), source(600)] == [1, 1, 0, 0]
    assert SystemClock(rtc=tmp_path / "none")._resting == 0


def test_a_technicians_word_holds_in_its_boot_and_while_the_clock_is_left_alone(tmp_path) -> None:
    boot, clock = tmp_path / "boot_id", SystemClock(rtc=tmp_path)
    boot.write_text("one\n")
    word = Vouched(tmp_path, boot)
    mono, utc = clock.mono_ms(), clock.utc_ms()
    assert word.knows(mono, utc) is None
    vouch(tmp_path, clock, boot)
    said = word.knows(mono, utc)
    assert said is not None and (said.source, said.state) == (5, 1) and 30_000 <= said.error_ms <= 30_010
    grown = word.knows(mono + 86_400_000, utc + 86_400_000)
    assert grown is not None and 73_000 <= grown.error_ms <= 73_300, "500 ppm of a day more"
    assert word.knows(mono, utc + 6_000) is None, "somebody has set the clock since"
    boot.write_text("two\n")
    assert Vouched(tmp_path, boot).knows(mono, utc) is None
    (tmp_path / "clock.json").write_text("[1]")
    assert Vouched(tmp_path, boot).knows(mono, utc) is None


def test_the_command_tells_what_stands_for_the_clock_and_takes_a_word_for_it(tmp_path) -> None:
    def clock(*options: str) -> dict:
        said = subprocess.run(
            [sys.executable, "-m", "tanmeter", "edge", "clock", "--state", str(tmp_path), "--json", *options],
            capture_output=True, text=True, timeout=60, check=True, env=os.environ,
        )  # fmt: skip
        return json.loads(said.stdout)

    if (before := clock())["state"] == 2:
        pytest.skip("this machine's clock is synchronised: nobody's word is needed")
    assert not before["confirmed"]
    assert clock("--confirm")["source"] == 5
    assert clock()["source"] == 5
