"""The truth log: every register a simulated meter served, when, raw and in its unit. Outside everything that is tested.

One JSON object a line: ``utc_ms``, ``device``, ``served``: [register, raw, value, ...]. A register is a data
identifier of DL/T 645 (``00010000``) or ``function:address`` of Modbus (``4:72``); a value is a decimal string, null
when the meter says it has none.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from protocols.errors import StoreError


@dataclass(frozen=True, slots=True)
class Served:
    """One register as it went out: its raw number (null: none) and its value as a decimal string."""

    register: str
    raw: int | None
    value: str | None


class TruthLog:
    """Appends what was served to a file, line by line before the meter answers (``buffered``: when it is closed)."""

    def __init__(self, path: Path, buffered: bool = False) -> None:
        self._file: TextIO = path.open("a", encoding="ascii", buffering=1 << 20 if buffered else 1)

    def add(self, utc_ms: int, device: str, served: Sequence[Served]) -> None:
        """Note one answer of a device."""
        parts = ",".join(f'["{one.register}",{_number(one.raw)},{_text(one.value)}]' for one in served)
        self._file.write(f'{{"utc_ms":{utc_ms},"device":"{device}","served":[{parts}]}}\n')

    def close(self) -> None:
        """Write what is buffered and let go of the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Span:
    """A rate per hour over a stretch of time (UTC ms, ms)."""

    start: int
    length: int
    rate: Decimal


def spoken(path: Path, device: str, register: str) -> list[Span]:
    """The spans that a device told under a register, its raw number their length; those without a value are left out.

    StoreError when a line is not one of ours; the last one may be half written.
    """
    found = []
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n") and f'["{register}",' in line:
                entry = _entry(line, path)
                found += [
                    Span(entry["utc_ms"], raw, Decimal(value))
                    for name, raw, value in entry["served"]
                    if entry["device"] == device and name == register and value is not None
                ]
    return found


@dataclass(slots=True)
class Truth:
    """What a truth log says, for one register of each device: the times it was served and its values."""

    registers: dict[str, str]
    times: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Decimal]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        """Take in the log (its last line may be half written); StoreError when a line is not one of ours."""
        wanted = {device: f'"{register}",' for device, register in self.registers.items()}
        with path.open(encoding="ascii") as lines:
            for line in lines:
                if line.endswith("\n") and any(mark in line for mark in wanted.values()):
                    self._take(line, path)

    def at(self, device: str, utc_ms: int) -> Decimal | None:
        """The register as last served at or before this instant; None when it had not been."""
        place = bisect_right(self.times.get(device, []), utc_ms)
        return self.values[device][place - 1] if place else None

    def nearest(self, device: str, utc_ms: int) -> Decimal | None:
        """The register as served nearest to this instant, the earlier of two as near; None when it never was."""
        times = self.times.get(device, [])
        place = min(range(len(times)), key=lambda index: abs(times[index] - utc_ms), default=None)
        return None if place is None else self.values[device][place]

    def _take(self, line: str, path: Path) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
            device = entry["device"]
            for register, _raw, value in entry["served"]:
                if register == self.registers.get(device) and value is not None:
                    self.times.setdefault(device, []).append(entry["utc_ms"])
                    self.values.setdefault(device, []).append(Decimal(value))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: found {line.strip()!r}, expected a line of a truth log") from error


def _entry(line: str, path: Path) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise StoreError(f"{path}: found {line.strip()!r}, expected a line of a truth log") from error
    return entry


def _number(raw: int | None) -> str:
    return "null" if raw is None else str(raw)


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
