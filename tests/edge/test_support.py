"""The support bundle: all that helps, no secret, whatever state the box is in."""

import base64
import io
import json
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from edge import support
from edge.redaction import Redaction
from protocols.errors import ConfigError, StoreError
from protocols.record.cose import PrivateKey

CANARY = "correct-horse-battery"


def opened(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return {name: archive.read(name) for name in archive.namelist()}


def chrony_saying(folder, error_s):
    """A folder with a chronyc in it whose clock is known within so much."""
    tracking = f"CB00710A,203.0.113.10,2,{time.time()},0.0,0.0,0.0,0.0,0.0,0.0,0.0,{error_s},64.0,Normal"
    client = folder / "chronyc"
    client.write_text(f"#!/bin/sh\n[ $3 = sources ] && echo '^,*,203.0.113.10' || echo {tracking}\n")
    client.chmod(0o755)
    return folder


@pytest.fixture
def measured(box, kit):
    """A box that has measured, with secrets wherever one could be put."""
    made = box(kit.modbus_port(), kit.sdm(1), kit.sdm(2))
    kit.world(made, {"net": kit.registers()}).run(130)
    made.enrol(f"https://operator:{CANARY}@collector.example/")
    pem = (made.state / "gateway.key").read_bytes()
    raw = base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))
    made.secrets = [pem, raw, raw[-32:], raw.hex().encode(), raw[-32:].hex().encode(), base64.b64encode(raw)]
    made.secrets += [base64.b64encode(raw[-32:]), CANARY.encode(), b"7K2Q-9XWZ-AB3D-EF4G-HJ5K"]
    made.log = made.state.parent / "agent.log"
    lines = [
        b'{"code": "sync", "why": "https://operator:' + CANARY.encode() + b'@collector.example/: refused"}',
        b"password=" + CANARY.encode() + b" next",
        b'{"token": "' + CANARY.encode() + b'", "code": "kept-word"}',
        b"Authorization: Bearer " + CANARY.encode(),
        b"tanmeter site enrol 7K2Q-9XWZ-AB3D-EF4G-HJ5K --collector https://x",
        *made.secrets[:7],
    ]
    made.log.write_bytes(b"\n".join(lines))
    return made


def test_nothing_secret_is_in_it_and_what_helps_is(measured):
    content = support.bundle(measured.state, measured.log, list)
    parts = opened(content)
    everything = b"\0".join((content, *parts.values()))
    found = [secret for secret in measured.secrets if secret in everything]
    assert found == []
    halves = [line for line in measured.secrets[0].splitlines() if not line.startswith(b"-----")]
    assert not any(half in everything for half in halves), "nor a line of the key's file"
    assert b"PRIVATE KEY" not in everything and b"kept-word" in parts["log.txt"]
    assert json.loads(parts["collector.json"])["url"] == "https://***@collector.example/"
    assert b'profile = "eastron-sdm630"' in parts["site.toml"]
    assert json.loads(parts["versions.json"])["sqlite"]
    store = json.loads(parts["store.json"])
    assert store["epochs"][0]["blocks"] == 3 and store["chain"][0]["boot"] == 1
    faults = json.loads(parts["faults.json"])
    assert [event["kind"] for event in faults["events"]] == ["BOOT", "CONFIGURATION", "SHUTDOWN"] and faults[
        "damaged"
    ] == []
    paths = {entry["path"] for entry in json.loads(parts["files.json"])}
    assert {"outbox.db", "gateway.key", "configs/0001.cose"} <= paths
    manifest = json.loads(parts["manifest.json"])["parts"]
    assert "SYN" in manifest["status.json"]["error"] or "NotRunning" in manifest["status.json"]["error"]


def test_it_is_never_larger_than_it_says(measured):
    noise = random.Random(1).randbytes(6 << 20)
    measured.log.write_bytes(noise)
    (measured.state / "learned.json").write_bytes(noise)
    (measured.state / "adapters.json").write_bytes(noise)
    content = support.bundle(measured.state, measured.log, list)
    manifest = json.loads(opened(content)["manifest.json"])["parts"]
    assert len(content) <= support.CAP and manifest["learned.json"]["cut"]
    assert manifest["log.txt"]["bytes"] <= support.LOG_BYTES + 1000


@pytest.mark.parametrize("harm", ["empty", "no store", "torn store", "no enrolment", "torn key"])
def test_a_broken_box_gives_what_it_still_has(measured, harm):
    state = measured.state
    if harm == "empty":
        state = state.parent / "nothing"
        state.mkdir()
    elif harm == "no store":
        for path in state.glob("outbox.db*"):
            path.unlink()
    elif harm == "torn store":
        (state / "outbox.db").write_bytes(os.urandom(100_000))
    elif harm == "no enrolment":
        (state / "enrolment.cose").unlink()
    else:
        (state / "gateway.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nnot base64 at all!\n")
    parts = opened(support.bundle(state, None, list))
    manifest = json.loads(parts["manifest.json"])["parts"]
    assert "versions.json" in parts and "files.json" in parts
    assert any("error" in part for part in manifest.values())


def test_the_command_writes_it_for_this_user_alone_and_says_where_to_when_it_cannot(measured, tmp_path):
    out = tmp_path / "b.zip"
    tanmeter = [sys.executable, "-m", "tanmeter", "--lang", "en", "edge", "support-bundle", "--state", measured.state]
    known = {**os.environ, "PATH": f"{chrony_saying(tmp_path, 1.5)}:{os.environ['PATH']}"}
    said = subprocess.run([*tanmeter, "--log", measured.log, "--out", out], capture_output=True, text=True, env=known)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() == str(out) and out.stat().st_mode & 0o777 == 0o600
    doctor = json.loads(opened(out.read_bytes())["doctor.json"])
    found = {check["name"]: check["found"] for check in doctor}
    assert {"key", "configuration", "disk"} <= found.keys()
    assert found["clock"].startswith("source 2, error 15"), "the clock as the doctor and the agent see it"


def test_a_bundle_takes_the_place_of_a_file_only(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for out in (pipe, tmp_path, Path(), tmp_path / ("甲" * 85), Path("/proc/nowhere/b.zip")):
        with pytest.raises(ConfigError, match=re.escape(f"{out}: found ")):
            support.place(b"x", out)
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_a_full_disk_is_named_and_nothing_is_left_on_it(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("not permitted to mount")
    try:
        with pytest.raises(StoreError, match="No space left"):
            support.place(bytes(100_000), folder / "b.zip")
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_every_form_of_a_key_is_black():
    key = PrivateKey.generate().pem()
    raw = base64.b64decode(b"".join(key.splitlines()[1:-1]))
    redaction = Redaction([key])
    for form in (key, raw, raw[-32:], raw.hex().encode(), raw[-32:].hex().upper().encode(), base64.b64encode(raw)):
        assert redaction.clean(b"before " + form + b" after").startswith(b"before ***"), form
    assert redaction.clean(b"spin = 3, mapping = 4, https://x/y?z=1") == b"spin = 3, mapping = 4, https://x/y?z=1"
