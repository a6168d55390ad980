"""``python -m proofs.serve DATA PORT``: the collector, as the command starts it."""

import sys
from pathlib import Path

from cloud.accounting import library
from cloud.serve import serve


def prepare() -> None:
    """Read the built-in factors and parameters, once for all processes that are forked from this one."""
    library.build()


def main(data: str, port: str) -> int:
    """Serve until SIGTERM."""
    serve(Path(data), "127.0.0.1", int(port), "en")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
