"""What a run leaves behind: a dated report a person reads, and the exchanges as vectors that every build replays."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from device_at_hand import DeviceAtHand

from drivers import replay
from drivers.profile import digest
from protocols.errors import ProtocolError

PASSED = "passed"


def write(device: DeviceAtHand, folder: Path, now: datetime) -> Path:
    """Write the report of a run; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device.profile.id}-{now:%Y%m%d-%H%M%S}.md"
    path.write_text("\n".join(_lines(device, now)) + "\n", "utf-8")
    return path


def append_vectors(device: DeviceAtHand, folder: Path, now: datetime) -> Path:
    """Append every good exchange to the profile's file of captured vectors, each question once; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device.profile.id}.json"
    held: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    held.append(
        {
            "profile": device.profile.id,
            "profile_sha256": digest(device.wanted.source).hex(),
            "captured": now.isoformat(timespec="seconds"),
            "simulated": device.wanted.simulated,
            "address": device.wanted.address,
            "framing": device.port.framing if device.port.tcp else "rtu",
            "exchanges": list(_exchanges(device)),
        }
    )
    path.write_text(json.dumps(held, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


def _exchanges(device: DeviceAtHand) -> Iterator[dict[str, Any]]:
    """The last good answer to each question of the plan, with what it says."""
    for query in device.queries():
        reply = device.answers.get(query.request)
        if reply is None:
            continue
        try:
            values = replay.values(device.driver, query.request, reply)
        except ProtocolError as error:
            yield {"request": query.request.hex(" "), "response": reply.hex(" "), "error": error.code}
            continue
        told = {point: None if value is None else str(value) for point, value in values.items()}
        yield {"request": query.request.hex(" "), "response": reply.hex(" "), "values": told}


def _verdict(device: DeviceAtHand) -> str:
    """In one word; a display that nobody read off leaves the tests incomplete."""
    others = [result for result in device.results.values() if result != PASSED]
    if not others:
        return PASSED
    return "incomplete" if all(result.startswith("skipped") for result in others) else "FAILED"


def _lines(device: DeviceAtHand, now: datetime) -> Iterator[str]:
    profile, wanted = device.profile, device.wanted
    yield f"# {profile.id}: {_verdict(device)}, {now:%Y-%m-%d %H:%M} UTC\n"
    yield f"- {profile.title.zh} · {profile.title.en}; profile SHA-256 `{digest(wanted.source).hex()}`"
    place = "simulated from the profile itself" if wanted.simulated else wanted.place
    yield f"- Device: {place}, address {wanted.address}"
    yield f"- Line: {device.port.tcp or device.port.mode}; profile says verified: {profile.source.verified}\n"
    yield "## Checks\n\n| check | result |\n| --- | --- |"
    for name, result in device.results.items():
        yield f"| {name} | {_cell(result)} |"
    yield "\n## Values\n\n| point | value | unit | typed in |\n| --- | --- | --- | --- |"
    for point in profile.points:
        if point.id in device.found:
            value = device.found[point.id]
            typed = wanted.readings.get(point.id, "")
            yield f"| `{point.id}` | {'-' if value is None else value} | {point.unit} | {typed} |"
    yield "\n## Line\n"
    yield from _timing(device)
    if device.notes:
        yield "\n## Notes\n"
        yield from (f"- {note}" for note in device.notes)


def _timing(device: DeviceAtHand) -> Iterator[str]:
    times = sorted(asked.first_ms for asked in device.asked if asked.reply)
    errors = [asked for asked in device.asked if asked.error]
    yield f"- {len(device.asked)} questions, {len(errors)} without an answer"
    if times:
        link = device.profile.link
        found = f"{median(times):.0f} ms (median), {times[-1]:.0f} ms at most"
        yield f"- first byte after {found}; profile: {link.turnaround_ms} ms"
    for asked in errors[:20]:
        yield f"- `{asked.request.hex(' ').upper()}`: {asked.error}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:400]
