"""Configurations change while blocks wait, and the process is killed: the same rows as of booking at once."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud import interval_rows, store
from cloud.commands import app
from cloud.keys import load_or_create
from cloud.store import Store
from protocols import modbus
from protocols.record.answer import Answer
from protocols.record.block import Chunk
from protocols.record.cose import PrivateKey
from protocols.record.siteconfig import digest
from tests.cloud import tables
from tests.cloud.store.conftest import Box
from tests.cloud.store.test_dating import MINUTE, UNKNOWN, Clocked
from tests.cloud.store.test_unbooked import Clock, audited, image, rows

RATIO = '[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "{ct}"\n'


def device(name: str, address: int, *, ct: str = "400/5", serial: str = "SN1", period: str = "10s") -> str:
    more = f'serial = "{serial}"\nperiod = "{period}"\n{RATIO.format(ct=ct)}'
    return tables.device(name, "two-points", more, address=address)


@dataclass
class Changing(Box):
    """A gateway whose meters are those of the configuration in force; each counts a hundredth a reading."""

    counts: dict[str, int] = field(default_factory=lambda: {"M-01": 100_000, "M-02": 7, "M-03": 500})
    sent: list[tuple[bool, bytes]] = field(default_factory=list)

    def chunks(self, span: int = 60_000) -> list[Chunk]:
        found = []
        for number, one in enumerate(self.installation.site.device):
            (query,) = self.installation.drivers[number].queries()
            times = list(range(50, span, query.period_ms))
            first, self.counts[one.id] = self.counts[one.id], self.counts[one.id] + len(times)
            replies = [self.said(int(one.address), first + index) for index in range(len(times))]
            found.append(self.chunk(number, times, replies))
        return found

    def said(self, address: int, energy: int) -> bytes:
        body = bytes([address, 3, 6]) + energy.to_bytes(4) + (6_000).to_bytes(2)
        return body + modbus.crc(body).to_bytes(2, "little")


M1, M2, M3 = device("M-01", 1), device("M-02", 2), device("M-03", 3)
SITES = {
    "as before": M1 + M2,
    "another ratio": device("M-01", 1, ct="600/5") + M2,
    "another meter": device("M-01", 1, serial="SN9") + M2,
    "another pace": device("M-01", 1, period="20s") + device("M-02", 2, period="30s"),
    "in another order": M2 + M1,
    "one less": M1,
    "one more": M1 + M3 + M2,
}


@dataclass
class Life:
    """What a gateway sends: blocks, and before which of them its next configuration comes."""

    clocked: Clocked
    configurations: dict[int, bytes] = field(default_factory=dict)

    def configure(self, change: str) -> None:
        box, site = self.clocked.box, tables.site(SITES[change]).encode()
        number, previous = box.configuration
        envelope = box.signed_config(number + 1, site, previous)
        assert digest(envelope) != previous
        self.configurations[len(self.clocked.frames)] = envelope
        box.use(envelope, number + 1, site)

    def step(self, chance: random.Random) -> None:
        clocked = self.clocked
        match chance.choice(("good", "good", "lost", "unknown", "right", "configured", "configured")):
            case "good":
                clocked.run(chance.choice((1, 2, 9, 17)))
            case "lost":
                clocked.boot(10 * MINUTE, 60_000, UNKNOWN)
            case "unknown":
                clocked.run(chance.choice((1, 3, 20)), UNKNOWN)
            case "right":
                clocked.correct()
            case "configured" if len(clocked.frames) not in self.configurations:
                self.configure(chance.choice(list(SITES)))


def lived(chance: random.Random) -> Life:
    life = Life(Clocked(Changing(site=tables.site(SITES["as before"]).encode())))
    life.clocked.run(3)
    for _ in range(12):
        life.step(chance)
    life.clocked.run(1)
    return life


def give(held: Store, life: Life, first: int, count: int) -> None:
    """The next blocks in one batch, and the configurations before and among them."""
    box = life.clocked.box
    for at in range(first, first + count):
        if at in life.configurations:
            assert held.put_config(box.id, life.configurations[at], box.profiles, life.clocked.true)
    verdicts = held.append(life.clocked.frames[first : first + count], life.clocked.true).verdicts
    assert {verdict.answer for verdict in verdicts} == {Answer.STORED}, verdicts


def killed(held: Store, to: Path, key: PrivateKey, clock: Clock) -> Store:
    """The store as a process that is killed now leaves it, opened by the next one."""
    image(held.path, to)
    held._unbooked.clear()
    held.close()
    return Store(to, key, clock=clock, processor=Clock(0.0011))


@pytest.mark.parametrize("seed", range(6))
def test_whenever_it_is_killed_the_rows_are_those_of_booking_at_once(tmp_path: Path, seed: int) -> None:
    chance, key, clock = random.Random(seed), PrivateKey.generate(), Clock()
    life, place = lived(chance), 0
    box, frames = life.clocked.box, life.clocked.frames
    with Store(tmp_path / "once.db", key) as once:
        box.enrol(once)
        for at in range(len(frames)):
            give(once, life, at, 1)
            once.book()
        wanted = rows(once)
    held = Store(tmp_path / "0.db", key, clock=clock, processor=Clock(0.0011))
    box.enrol(held)
    while place < len(frames):
        count = min(chance.choice((1, 2, 5, 14)), len(frames) - place)
        give(held, life, place, count)
        place += count
        for _ in range(chance.choice((0, 0, 1, 3))):
            clock.now += store.BOOK_AFTER_S
            held.rest()
        if chance.random() < 0.6:
            held = killed(held, tmp_path / f"{place}.db", key, clock)
    assert rows(held) == wanted
    held.close()
    found = audited(held.path, box.id)
    assert (found.differences, found.unbooked, found.blocks) == ([], 0, len(frames))


@pytest.mark.parametrize("is_booked", [False, True])
def test_what_nothing_booked_was_read_under_is_not_gone_on_under_after_a_kill(tmp_path: Path, is_booked: bool) -> None:
    """Blocks that have no time yet came under another pace: up to the first one that is dated the former one counts."""
    key, life = PrivateKey.generate(), Life(Clocked(Changing(site=tables.site(SITES["as before"]).encode())))
    box, clocked = life.clocked.box, life.clocked
    clocked.run(2)
    life.configure("another pace")
    clocked.boot(5 * MINUTE, 60_000, UNKNOWN)
    clocked.run(2, UNKNOWN)
    before = len(clocked.frames)
    clocked.correct()
    expected = list[dict[tuple[str, str], int]]()
    for is_killed in (False, True):
        held = Store(tmp_path / f"{is_killed}.db", key)
        box.enrol(held)
        give(held, life, 0, before)
        if is_booked:
            held.book()
        if is_killed:
            held = killed(held, tmp_path / "again.db", key, Clock())
        give(held, life, before, 1)
        found = [row.interval for row in held.intervals(gateway=box.id)]
        expected.append({(one.device, one.point): one.expected for one in found})
        held.close()
    # seven minutes at 10 s, the other eight at 20 or 30 s
    assert expected == [{("M-01", "energy_import"): 42 + 24, ("M-02", "energy_import"): 42 + 16}] * 2


def test_counts_by_a_plan_that_was_not_in_force_are_named_by_the_audit_and_put_right_by_the_commands(
    tmp_path: Path,
) -> None:
    """An earlier version, killed while blocks of two configurations waited, booked what was due by the wrong one."""
    key = load_or_create(tmp_path / "collector.key")
    life = Life(Clocked(Changing(site=tables.site(SITES["as before"]).encode())))
    box, clocked = life.clocked.box, life.clocked
    clocked.run(33)
    life.configure("another pace")
    clocked.boot(5 * MINUTE, 60_000, UNKNOWN)
    clocked.run(2, UNKNOWN)
    clocked.correct()
    clocked.run(70)
    with Store(tmp_path / "collector.db", key) as held:
        box.enrol(held)
        for at in range(len(clocked.frames)):
            give(held, life, at, 1)
        wanted = rows(held)
        with held.writing() as db:
            place = interval_rows.COLUMNS.index("expected") - 1
            db.execute("UPDATE closed_intervals SET expected = expected * 2 + 1 WHERE start % 1800000 = 0")
            db.execute(f"UPDATE open_intervals SET rows = json_set(rows, '$[0][{place}]', 7777)")
        with held.reading() as db:
            (changed,) = db.execute("SELECT count(*) FROM closed_intervals WHERE start % 1800000 = 0").fetchone()
        assert rows(held) != wanted and changed > 4
    found = run("audit", tmp_path, 4)["gateways"][0]["differences"]
    names = [one["name"] for one in found if one["what"] == "interval"]
    assert all(name.endswith(" expected") for name in names) and len(names) == len(found) == changed + 1
    done = run("mend", tmp_path, 0, "--rebook")["rebooked"][0]["rows"]
    assert done["closed_intervals"] == changed and done.keys() == {"closed_intervals", "open_intervals"}
    assert run("audit", tmp_path, 0)["found"] == 0
    with Store(tmp_path / "collector.db", key) as held:
        assert rows(held) | {"incidents": []} == wanted


def run(command: str, folder: Path, code: int, *more: str) -> Any:
    """What a command says as JSON."""
    done = CliRunner().invoke(app, [command, "--data", str(folder), *more, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout)
