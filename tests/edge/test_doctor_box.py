"""The doctor on the box itself: every check finds what it is for, and says what to do."""

import asyncio
import os
import sqlite3
import time
from dataclasses import replace

import pytest
import typer

from edge import commands, config, doctor, doctor_box
from edge.clock import SystemClock
from edge.finding import doubt
from edge.software import installed
from protocols import messages
from protocols.errors import SignatureError
from protocols.record.cose import PrivateKey

WELL = {
    "outbox": {"days_left": 400.0},
    "software": {"sha256": installed()[1].hex()},
    "sync": {"state": "idle", "error": "", "code": ""},
}
DAY_MS = 86_400_000


@pytest.fixture
def measured(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    kit.world(made, {"net": kit.registers()}, transport=kit.collector(made)).run(190)
    return made


def checks(made, told=WELL, after_ms=0, start=1_780_000_020_000):
    found = doctor_box.box_checks(config.load(made.state), told, start + after_ms)
    return {check.name: check for check in found}


def test_a_sound_box_is_well_in_every_respect(measured):
    found = checks(measured)
    assert [check.name for check in found.values() if not check.ok] == []
    assert sqlite3.sqlite_version in found["store"].found and "newest 4 blocks verified" in found["store"].found
    assert found["watermark"].found == "0/4" and found["days"].found == "400"
    assert not (measured.state / ".fsync").exists()


def write(made, statement, *values):
    db = sqlite3.connect(made.state / "outbox.db")
    db.execute(statement, values)
    db.commit()
    db.close()


def flipped(made):
    db = sqlite3.connect(made.state / "outbox.db")
    (frame,) = db.execute("SELECT frame FROM block WHERE seq = 2").fetchone()
    db.close()
    broken = bytearray(frame)
    broken[40] ^= 1
    write(made, "UPDATE block SET frame = ? WHERE seq = 2", bytes(broken))


def torn(made):
    path = made.state / "outbox.db"
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("state", "code", "ok"),
    [
        ("idle", "", True),
        ("taken in turns", "", True),
        ("held up", "ENR-401", False),
        ("held up", "", False),
        ("not understood", "SYN-505", False),
    ],
)
def test_a_collector_that_takes_nothing_is_a_fault_with_a_next_action(measured, state, code, ok):
    sync = {"state": state, "error": "why", "code": code}
    check = checks(measured, {**WELL, "sync": sync})["delivery"]
    assert (check.ok, check.code, check.state) == (ok, code, state)
    assert ok or (commands._next_action(check) and "why" in check.found)


@pytest.mark.parametrize(
    ("harm", "name", "code", "word"),
    [
        (flipped, "store", "SIG-602", "0/2"),
        (torn, "store", "STO-103", ""),
        (lambda made: write(made, "UPDATE chain SET next_seq = 2"), "watermark", "STO-103", "it has gone back"),
        (lambda made: (made.state / "watermark").write_bytes(b"\xff" * 8192), "watermark", "STO-101", "no slot"),
    ],
)
def test_what_is_wrong_with_the_store_is_found(measured, harm, name, code, word):
    harm(measured)
    check = checks(measured)[name]
    assert (check.ok, check.code) == (False, code) and word in check.found and "\n" not in check.found
    assert messages.remedy(check.code, "zh") and messages.remedy(check.code, "en")


def test_a_slow_card_is_named(measured, monkeypatch):
    monkeypatch.setattr(doctor_box, "FSYNC_MS", 10)
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(0.03))
    check = checks(measured)["fsync"]
    assert (check.ok, check.code) == (False, "STO-101") and "ms for an fsync" in check.found


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({**WELL, "outbox": {"days_left": 12.0}}, "days"),
        ({**WELL, "software": {"sha256": "00" * 32}}, "software"),
    ],
)
def test_what_the_running_agent_tells_is_judged(measured, told, name):
    check = checks(measured, told)[name]
    assert not check.ok and check.exit_code == 8
    assert all(messages.text(f"edge.doctor.{name}_remedy", language) for language in ("zh", "en"))


def test_a_collector_that_has_not_been_heard_for_a_day_is_doubtful(measured):
    assert checks(measured)["receipt"].ok
    check = checks(measured, after_ms=2 * DAY_MS)["receipt"]
    assert not check.ok and check.found == "48 h"


def test_a_box_that_was_just_enrolled_waits_for_no_receipt(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    assert checks(made)["receipt"].ok, "no agent has run"
    seen = {}

    async def ask(world):
        await asyncio.sleep(5)
        seen.update(checks(made))

    kit.world(made, {"net": kit.registers()}, transport=kit.collector(made)).run(10, ask)
    assert seen["watermark"].found == "0/0" and seen["receipt"].ok, "no block is sealed"


@pytest.mark.parametrize(
    ("said", "well"),
    [
        ("ActiveState=active\nWatchdogUSec=1min\nNRestarts=1\n", True),
        ("ActiveState=active\nWatchdogUSec=0\nNRestarts=0\n", False),
        ("ActiveState=activating\nWatchdogUSec=1min\nNRestarts=0\n", False),
        ("ActiveState=active\nWatchdogUSec=1min\nNRestarts=40\n", False),
    ],
)
def test_the_service_is_watched_or_it_is_not(tmp_path, said, well):
    check = doctor_box._service(lambda command: said, tmp_path)
    assert check.ok is well and "NRestarts" in check.found
    assert messages.text("edge.doctor.service_remedy", "zh") and doctor_box._service(systemd=tmp_path / "none").ok


def test_they_are_among_the_doctors_checks(measured):
    found = asyncio.run(doctor.examine(measured.state, SystemClock()))
    assert {"fsync", "store", "watermark", "service", "receipt"} <= {check.name for check in found}
    assert all(messages.text(f"edge.doctor.{check.name}", "en", port=check.subject) for check in found)


def test_a_key_that_signs_what_nobody_believes_is_found(measured):
    held = config.load(measured.state)
    assert doctor._signs(held).startswith("Ed25519 ")
    with pytest.raises(SignatureError):
        doctor._signs(replace(held, key=PrivateKey.generate()))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_has_no_code_has_a_next_action_too(language, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TANMETER_LANG", language)

    async def examine(state, clock):
        return [doubt("days", "12")]

    monkeypatch.setattr(doctor, "examine", examine)
    with pytest.raises(typer.Exit):
        commands.doctor(tmp_path)
    assert messages.text("edge.doctor.days_remedy", language) in capsys.readouterr().out


def test_an_agent_that_waits_for_its_disk_is_not_well(measured, monkeypatch):
    monkeypatch.setattr(doctor, "ask", lambda path, command: {"state": "disk-full", "why": "nothing left", "ports": []})
    found = {check.name: check for check in asyncio.run(doctor.examine(measured.state, SystemClock()))}
    assert (found["agent"].ok, found["agent"].code) == (False, "STO-101")
    assert "nothing left" in found["agent"].found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_box_that_is_not_enrolled_is_told_to_enrol_and_not_to_look_at_the_network(
    measured, language, monkeypatch, capsys
):
    monkeypatch.setenv("TANMETER_LANG", language)
    (measured.state / config.COLLECTOR).unlink()
    with pytest.raises(typer.Exit):
        commands.doctor(measured.state)
    told = capsys.readouterr().out
    assert "tanmeter site enrol" in told and messages.remedy("SYN-501", language) not in told
