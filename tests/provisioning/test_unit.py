"""The systemd units: locked in by systemd's own measure, and yet the real processes can do their work in them."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from provisioning import unit as units

TANMETER = [sys.executable, "-m", "tanmeter", "--lang", "en"]
PROGRAM = "/opt/tanmeter/bin/tanmeter"
MOST_EXPOSED = 1.5
NO_WRITABLE_CODE = 65
"""prctl(2): PR_SET_MDWE, what MemoryDenyWriteExecute is to a new kernel."""


def tanmeter(*arguments):
    return subprocess.run([*TANMETER, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def analyse(*arguments):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("room", "unit"), [("edge", units.EDGE), ("cloud", units.CLOUD)])
def test_a_unit_is_locked_in_by_systemds_own_measure(tmp_path, room, unit):
    program = tmp_path / "tanmeter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / f"{unit.name}.service"
    path.write_text(tanmeter("unit", room, "--program", program).stdout)
    said = analyse("security", "--offline=true", "--no-pager", path).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None and float(exposure[1]) <= MOST_EXPOSED, said
    assert analyse("verify", path).stderr == "", "every directive is one that systemd knows"


@pytest.mark.parametrize("room", ["edge", "cloud"])
def test_what_a_unit_promises_is_in_it(room):
    text = tanmeter("unit", room, "--program", PROGRAM).stdout
    wanted = ("Type=notify", "WatchdogSec=60", "Restart=always", "StartLimitIntervalSec=0", "LimitCORE=0", "MemoryMax=")
    assert [line for line in wanted if f"\n{line}" not in text] == []
    assert f"ExecStart={PROGRAM} {room} " in text and "{" not in text


def test_a_copy_on_another_disk_is_mounted_before_and_may_be_written(tmp_path):
    copy = "/mnt/other-disk/tanmeter"
    flags = ["--program", PROGRAM, "--copy", copy, "--metrics", "127.0.0.1:9109"]
    said = tanmeter("unit", "cloud", *flags, "--install", "--root", tmp_path)
    assert f"install -d -m 700 -o tanmeter-collector {copy} && systemctl daemon-reload" in said.stderr, said
    path = tmp_path / "etc/systemd/system/tanmeter-cloud.service"
    text = path.read_text()
    started = f"--port 8080 --metrics 127.0.0.1:9109 --copy {copy}"
    assert started in text and f"\nReadWritePaths={copy}\n" in text and f"\nRequiresMountsFor={copy}\n" in text
    path.write_text(text.replace(PROGRAM, sys.executable))
    assert analyse("verify", path).stderr == ""
    bare = tanmeter("unit", "cloud", "--program", PROGRAM).stdout
    assert "RequiresMountsFor" not in bare and "ReadWritePaths" not in bare and "--copy" not in bare


def test_install_puts_the_files_in_place_and_says_what_comes_next(tmp_path):
    said = tanmeter("unit", "edge", "--program", PROGRAM, "--install", "--root", tmp_path)
    assert said.returncode == 0 and "systemctl enable --now tanmeter-edge" in said.stderr
    service = tmp_path / "etc/systemd/system/tanmeter-edge.service"
    assert said.stdout.splitlines()[0] == str(service) and service.stat().st_mode & 0o777 == 0o644
    assert service.read_text() == tanmeter("unit", "edge", "--program", PROGRAM).stdout
    tuning = (tmp_path / "etc/sysctl.d/tanmeter-edge.conf").read_text().splitlines()
    assert [line for line in tuning if line[0] != "#"] == ["-net.ipv4.tcp_syn_linear_timeouts = 0"]
    users = (tmp_path / "etc/sysusers.d/tanmeter-edge.conf").read_text()
    assert users == 'u tanmeter - "tanmeter gateway" /var/lib/tanmeter\n'


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--program", "/home/pi/venv/bin/tanmeter", "--install"), "/home/pi"),
        (("--state", "/srv/tanmeter"), "StateDirectory"),
        (("--state", "/var/lib/炭 表"), "without a blank"),
        (("--state", "/var/lib/%h"), "without a blank"),
        (("--state", "/var/lib/.."), "StateDirectory"),
        (("--program", "/opt/my tools/tanmeter"), "without a blank"),
        (("--program", "tanmeter"), "an absolute path"),
        (("--metrics", "9108"), "127.0.0.1:9109"),
        (("--program", PROGRAM, "--install", "--root", "/proc/nowhere"), "run it as root"),
    ],
)
def test_what_could_never_work_is_refused_with_the_reason(arguments, word):
    said = tanmeter("unit", "edge", *arguments)
    assert said.returncode == 6 and word in said.stderr and said.stdout == ""


@pytest.mark.parametrize("folder", ["copy", "/home/me/copy", "/mnt/a b", "/mnt/%h", "/home", "/mnt/../tmp/copy"])
def test_a_copy_that_the_collector_could_not_write_is_refused(folder):
    said = tanmeter("unit", "cloud", "--copy", folder)
    assert said.returncode == 6 and "--copy" in said.stderr and said.stdout == ""


@cache
def calls(group):
    """The system calls of a group, those of the groups in it among them."""
    names = set()
    for line in analyse("syscall-filter", group).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            names |= calls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return frozenset(names)


def allowed(text):
    """What the filter lines of a unit let through."""
    held = set(calls("@default"))
    for value in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        named = set().union(*(calls(word) if word.startswith("@") else {word} for word in value.lstrip("~").split()))
        held = held - named if value.startswith("~") else held | named
    return held


def used(tmp_path, command, until):
    """The system calls that a process used until then, without memory that is both written and run."""

    def deny():
        ctypes.CDLL(None).prctl(NO_WRITABLE_CODE, 1, 0, 0, 0)

    trace = tmp_path / "trace"
    process = subprocess.Popen(
        ["strace", "-f", "-c", "-S", "name", "-U", "name", "-o", str(trace), *command],
        preexec_fn=deny,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TANMETER_LANG": "en"},
    )
    try:
        until(process)
    finally:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        process.communicate(timeout=30)
    return {name for name in trace.read_text().split()[2:] if name.isidentifier()} - {"total"}


def test_the_gateway_needs_no_call_that_its_unit_refuses(tmp_path):
    """But for how good the clock is (adjtimex): where that is refused, the time daemon knows."""
    state = tmp_path / "state"
    device = "id=M-01,profile=acrel-adl400,port=lan,address=1,role=purchased"
    flags = ["--id", "S-1", "--name", "x", "--port", "name=lan,tcp=127.0.0.1:9,framing=rtu", "--device", device]
    made = tanmeter("site", "init", "--state", state, *flags, "--block", "1s", "--technician-key", tmp_path / "t.key")
    assert made.returncode == 0, made

    def sealed(process):
        for line in process.stderr:
            if '"sealed"' in line:
                return
        raise AssertionError("the agent ended early")

    found = used(tmp_path, [sys.executable, "-P", "-m", "edge", str(state), "debug"], sealed)
    assert {"fdatasync", "socket"} <= found, "the trace is of the agent"
    assert found - allowed(units.EDGE.text(PROGRAM)) <= {"adjtimex", "clock_adjtime", "fchown"}


def test_the_collector_needs_no_call_that_its_unit_refuses(tmp_path):
    def ready(process):
        assert "ready" in process.stderr.readline()
        time.sleep(0.5)

    command = [*TANMETER, "cloud", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    found = used(tmp_path, command, ready)
    assert {"fdatasync", "listen"} <= found
    assert found - allowed(units.CLOUD.text(PROGRAM)) <= {"fchown", "mbind"}, "numpy asks for mbind, and bears a no"
