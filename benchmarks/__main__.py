"""Run the benchmarks: all of them, or those named on the command line."""

import platform
import sys
from importlib import import_module

NAMES = ("record", "ingest", "latency", "outage", "footprint", "decode", "fuzz", "plan", "bus", "agent", "account")
ON_REQUEST = ("link", "memory")
"""Minutes long; ``link`` needs root."""


def main() -> None:
    """Print each figure with its target. Medians; machines are noisy, so compare ratios."""
    names = sys.argv[1:] or NAMES
    print(f"Python {platform.python_version()}, {platform.machine()}, one core per figure unless said")
    for name in names:
        if name not in NAMES + ON_REQUEST:
            raise SystemExit(f"found {name!r}, expected one of {', '.join(NAMES + ON_REQUEST)}")
        print(f"\n{name}: {(import_module(f'benchmarks.{name}').__doc__ or '').splitlines()[0]}")
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
