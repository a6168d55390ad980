"""The command line: one door; loads a room only when it is asked for."""


def main() -> None:
    raise SystemExit(2)
