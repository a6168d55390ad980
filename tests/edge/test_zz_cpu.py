import time, signal, os, subprocess, sys, threading, socket
from pathlib import Path
from protocols import modbus

PTS = [
    "voltage_a",
    "voltage_b",
    "voltage_c",
    "current_a",
    "current_b",
    "current_c",
    "power_a",
    "power_b",
    "power_c",
    "apparent_power_a",
    "apparent_power_b",
    "apparent_power_c",
    "reactive_power_a",
    "reactive_power_b",
    "reactive_power_c",
    "power_factor_a",
    "power_factor_b",
    "power_factor_c",
    "power",
    "frequency",
]


def test_cpu(box, kit, capsys):
    srv = socket.create_server(("127.0.0.1", 0))

    def serve(c):
        while d := c.recv(256):
            a = modbus.parse_tcp(d)
            out = bytes([0x42, 0x28, 0, 0]) * (a.count // 2 + 1)
            out = out[: 2 * a.count]
            c.sendall(modbus.frame_tcp(a.transaction, a.unit, bytes([a.function, len(out)]) + out))

    def acc():
        while True:
            c, _ = srv.accept()
            threading.Thread(target=serve, args=(c,), daemon=True).start()

    threading.Thread(target=acc, daemon=True).start()
    place = f"127.0.0.1:{srv.getsockname()[1]}"
    made = box(
        *(kit.modbus_port(f"n{i}", place) for i in range(10)),
        *(kit.meter(i + 1, f"n{i}", "eastron-sdm630", PTS, "1s") for i in range(10)),
        block="60s",
    )
    p = subprocess.Popen([sys.executable, "-P", "-m", "edge", str(made.state), "info"], stderr=subprocess.PIPE)

    def cpu():
        f = Path(f"/proc/{p.pid}/stat").read_text().split()
        return (int(f[13]) + int(f[14])) / 100

    time.sleep(5)
    a = cpu()
    time.sleep(70)
    b = cpu()
    rss = [l for l in Path(f"/proc/{p.pid}/status").read_text().splitlines() if "VmRSS" in l]
    p.send_signal(signal.SIGTERM)
    p.wait()
    blocks = made.blocks()
    n = sum(c.counters.answered for _, cs in blocks for c in cs)
    due = sum(c.counters.due for _, cs in blocks for c in cs)
    with capsys.disabled():
        print("\ncpu s per 1000 readings", (b - a) / (70 * 200) * 1000, "share of core", (b - a) / 70, rss, n, due)
