"""The command line of the gateway and the agent's local door, as a user meets them."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import typer

from edge import commands, control, doctor
from edge.clock import Alarm, SystemClock
from edge.log import Calm, to_stream
from protocols.errors import UnreachableError

TANMETER = Path(sys.executable).with_name("tanmeter")


def tanmeter(*arguments):
    return subprocess.run(
        [TANMETER, "--lang", "en", "edge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_help_begins_in_the_language_that_was_asked_for():
    assert "the gateway: run, status, doctor, metrics" in tanmeter("--help").stdout


def test_status_without_an_agent_is_exit_five(tmp_path):
    said = tanmeter("status", "--state", tmp_path)
    assert said.returncode == 5 and said.stderr.startswith("SYN-502") and "tanmeter edge run" in said.stderr


def test_run_without_a_box_names_what_is_missing(tmp_path):
    said = tanmeter("run", "--state", tmp_path)
    assert said.returncode == 6 and said.stderr.startswith("CFG-101") and "site init" in said.stderr


def test_doctor_names_each_fault_and_its_remedy(box, kit):
    made = box(kit.serial_port(device="/dev/does-not-exist"), kit.sdm(1, "bus"))
    (made.state / "gateway.key").chmod(0o644)
    said = tanmeter("doctor", "--json", "--state", made.state)
    checks = {check["name"]: check for check in json.loads(said.stdout)["checks"]}
    assert said.returncode == 6
    assert (checks["key"]["ok"], checks["key"]["code"]) == (False, "CFG-101")
    assert not checks["configuration"]["ok"]
    (made.state / "gateway.key").chmod(0o600)
    told = tanmeter("doctor", "--state", made.state)
    assert "/dev/does-not-exist: not there" in told.stdout and "BUS-106" in told.stdout and "→" in told.stdout
    assert "site enrol" in told.stdout
    assert told.returncode in (3, 8), "the first fault that is left: the clock of this box, or the port"


@pytest.mark.parametrize(("language", "word"), [("zh", "NTP"), ("en", "NTP")])
def test_a_clock_that_nobody_keeps_has_a_remedy(language, word, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TANMETER_LANG", language)
    adrift = doctor.Check("clock", "", False, "source 0", "CLK-401", 8)

    async def examine(state, clock):
        return [adrift]

    monkeypatch.setattr(doctor, "examine", examine)
    with pytest.raises(typer.Exit):
        commands.doctor(tmp_path)
    assert word in capsys.readouterr().out.partition("→")[2]


@pytest.mark.parametrize(
    ("language", "said"), [("zh", "平台忙，正分几次读取"), ("en", "the collector is busy and reads the block")]
)
def test_the_doctor_says_a_state_of_the_delivery_in_words(language, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TANMETER_LANG", language)

    async def examine(state, clock):
        return [doctor.Check("delivery", "", True, "", state="taken in turns")]

    monkeypatch.setattr(doctor, "examine", examine)
    with pytest.raises(typer.Exit):
        commands.doctor(tmp_path)
    assert capsys.readouterr().out.partition(": ")[2].startswith(said)


@pytest.mark.parametrize(("period", "code"), [("1s", "CFG-103"), ("60s", "")])
def test_doctor_tells_how_much_of_a_bus_is_asked_for(box, kit, period, code):
    made = box(kit.serial_port(), *(kit.sdm(number, "bus", period) for number in range(1, 11)))
    said = tanmeter("doctor", "--json", "--state", made.state)
    [load] = [check for check in json.loads(said.stdout)["checks"] if check["name"] == "load"]
    assert (load["ok"], load["code"]) == (not code, code) and "%" in load["found"]


def mode_of(path):
    return path.stat().st_mode & 0o777


def ask(path, *lines):
    """What the door answers to raw lines."""

    async def main():
        async def status():
            return {"state": "running"}

        async with control.serve(path, {"status": status}):
            reader, writer = await asyncio.open_unix_connection(path)
            answers = []
            for line in lines:
                writer.write(line + b"\n")
                answers.append(json.loads(await reader.readline()))
            writer.close()
            mode = mode_of(path)
            return answers, mode, await asyncio.to_thread(control.ask, path, "status")

    return asyncio.run(main())


def test_the_door_answers_each_line_and_survives_nonsense(tmp_path):
    answers, mode, asked = ask(tmp_path / "c.sock", b"nonsense", b'{"command": "status"}', b'{"command": "rm"}', b"[1]")
    assert answers[1] == {"state": "running"} == asked and mode == 0o600
    assert all("expected a command: status" in answers[n]["error"] for n in (0, 2, 3))
    assert not (tmp_path / "c.sock").exists()


def test_the_door_is_found_behind_a_path_longer_than_a_socket_bears(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    async def main():
        async def status():
            return {"state": "running"}

        async with control.serve(folder / "control.sock", {"status": status}):
            return await asyncio.to_thread(control.ask, folder / "control.sock", "status")

    assert asyncio.run(main()) == {"state": "running"}
    with pytest.raises(UnreachableError):
        control.ask(folder / "nothing" / "control.sock", "status")


def test_a_door_left_by_a_killed_agent_is_replaced(tmp_path):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(UnreachableError):
        control.ask(path, "status")
    assert ask(path, b'{"command": "status"}')[0] == [{"state": "running"}]


def test_a_log_line_is_json_and_a_sentence_at_a_terminal():
    class Terminal(StringIO):
        def isatty(self):
            return True

    plain, terminal = StringIO(), Terminal()
    for stream in (plain, terminal):
        log = to_stream(stream, "en", "info")
        log("info", "bus_fault", fault="BUS-106", port="bus", why="unplugged")
        log("debug", "sealed", epoch=0, seq=1, exchanges=2)
    told = json.loads(plain.getvalue())
    assert (told["level"], told["code"], told["port"]) == ("info", "bus_fault", "bus")
    assert told["msg"] == "[BUS-106] port bus: unplugged"
    assert terminal.getvalue().endswith(" [BUS-106] port bus: unplugged\n") and "{" not in terminal.getvalue()


def test_the_systems_clock_agrees_with_itself():
    clock = SystemClock()
    mono, utc = clock.mono_ms(), clock.utc_ms()
    assert 0 <= clock.mono_ms() - mono < 5000 and 0 <= clock.utc_ms() - utc < 5000
    state = clock.state()
    assert (state.source, state.state) in ((2, 2), (0, 0), (1, 0), (0, 1), (1, 1))
    assert state.error_ms >= 0


def test_an_alarm_rung_before_the_wait_is_not_missed():
    async def main():
        alarm = Alarm()
        alarm.ring()
        await asyncio.wait_for(alarm.wait(), 1)
        asyncio.get_running_loop().call_soon(alarm.ring)
        await asyncio.wait_for(alarm.wait(60), 1)
        await alarm.wait(0.001)

    asyncio.run(main())


def test_the_agents_process_loads_nothing_it_does_not_need():
    asked = "import edge.__main__, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    for name in ("numpy", "fastapi", "rich", "typer", "pydantic", "httpx", "serial", "sqlalchemy"):
        assert f"'{name}'" not in loaded, f"found {name} in the agent's process"


def test_the_journal_has_the_time_already_and_wants_the_priority():
    stream = StringIO()
    log = to_stream(stream, "en", "info", site="S-1", journal=True)
    log("warning", "undecoded", device="M-01", port="bus", why="odd")
    priority, told = stream.getvalue()[:3], json.loads(stream.getvalue()[3:])
    assert priority == "<4>" and "ts" not in told
    assert (told["site"], told["meter"], told["port"], told["code"]) == ("S-1", "M-01", "bus", "undecoded")


def test_a_meter_that_comes_and_goes_all_day_does_not_fill_the_log():
    now, stream = 0, StringIO()
    log = Calm(to_stream(stream, "en", "info"), lambda: now)
    for now in range(0, 86_400_000, 1000):
        log("warning", "bus_fault", port="bus", fault="BUS-106", why=f"gone at {now}")
        log("info", "bus_fault_over", port="bus", fault="BUS-106", why="back")
        if now == 43_200_000:
            log("error", "bus_fault", port="other", fault="BUS-106", why="its own affair")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) <= 2 * 5 * 24 * 6 + 1 and len(stream.getvalue()) < 400_000
    assert sum(line.get("repeated", 0) + 1 for line in lines if line.get("port") == "bus") >= 2 * (86_400 - 600)
    assert [line["why"] for line in lines if line["port"] == "other"] == ["its own affair"]


def test_a_log_under_the_journal_is_known_by_its_stream(tmp_path):
    with (tmp_path / "log").open("w+") as stream:
        held = os.fstat(stream.fileno())
        code = "from edge.log import to_stderr; to_stderr('en')('info', 'stopped')"
        for journal in (f"{held.st_dev}:{held.st_ino}", "1:1"):
            environment = {**os.environ, "JOURNAL_STREAM": journal}
            subprocess.run([sys.executable, "-c", code], stderr=stream, env=environment, check=True)
        first, second = (tmp_path / "log").read_text().splitlines()
    assert first.startswith('<6>{"level"') and second.startswith('{"ts"')
