"""What a box must bear: size of an edge install, memory of an idle agent."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
MIB = 1 << 20


def main() -> None:
    """Print both figures."""
    with tempfile.TemporaryDirectory() as folder:
        size, packages = installed_size(Path(folder))
        print(f"edge install with [edge]      {size / MIB:8.1f} MiB  ({packages} distributions; target <= 65 MB)")
        print(f"idle agent, resident          {idle_agent(Path(folder)) / MIB:8.1f} MiB  (target <= 60 MB)")


def installed_size(folder: Path) -> tuple[int, int]:
    """Bytes and distributions that ``pip install tanmeter[edge]`` adds to an empty environment."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    site = folder / "site"
    constraints = folder / "pins.txt"
    lines = (ROOT / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
    constraints.write_text("\n".join(line.rstrip(" \\") for line in lines if "==" in line))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--constraint", str(constraints)]
    subprocess.run([*pip, f"{wheel}[edge]"], check=True, capture_output=True)
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return size, len(list(site.glob("*.dist-info")))


def idle_agent(folder: Path) -> int:
    """Resident bytes of an agent whose one meter does not answer, after ten seconds."""
    state = folder / "state"
    device = "id=M-01,profile=acrel-adl400,port=lan,address=1,role=purchased"
    tanmeter = [sys.executable, "-m", "tanmeter"]
    flags = ["--id", "S-1", "--name", "bench", "--port", "name=lan,tcp=127.0.0.1:9,framing=rtu", "--device", device]
    key = ["--technician-key", str(folder / "technician.key")]
    subprocess.run([*tanmeter, "site", "init", "--state", str(state), *flags, *key], check=True, capture_output=True)
    agent = subprocess.Popen([*tanmeter, "edge", "run", "--state", str(state)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(10)
        pages = int(Path(f"/proc/{agent.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    finally:
        agent.terminate()
        agent.wait()
