"""tanmeter sim site: says how to reach its meters, serves them, and leaves nothing behind."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path


def test_the_site_says_where_its_meters_are_and_ends_cleanly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        site = subprocess.Popen(
            [sys.executable, "-m", "tanmeter", "sim", "site", "--folder", str(tmp_path), "--tcp-port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert site.stdout is not None
        told = json.loads(site.stdout.readline())
    host, _, found = told["ports"]["feeder-2"].rpartition(":")
    assert int(found) != port
    with socket.create_connection((host, int(found)), 5) as meter:
        meter.sendall(bytes.fromhex("0001 0000 0006 01 04 0048 0002"))
        assert meter.recv(100)[:9] == bytes.fromhex("0001 0000 0007 01 04 04")
    assert Path(told["ports"]["bus-1"]).resolve().is_char_device()
    assert json.loads(Path(told["truth"]).read_text())["device"] == "M-04"
    site.send_signal(signal.SIGTERM)
    assert site.wait(10) == 0
    assert not Path(told["ports"]["bus-1"]).exists()
    site.stdout.close()
