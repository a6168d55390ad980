"""A data logger of HJ 212-2017 at the simulated stack: it speaks unasked, waits for answers, and keeps its history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from protocols import hj212
from protocols.hj212 import Packet
from simulator.truth import Served, TruthLog
from simulator.world import MINUTE_MS, ZONE_MS, World

AREA_M2, KV, AIR_PA = Fraction("1.77"), Fraction("0.92"), Fraction(101_000)
"""The duct, as the site file has it."""
REAL_TIME, MINUTES, HOURS = "2011", "2051", "2061"
SAID_AFTER_MS: Mapping[str, int] = {REAL_TIME: 0, MINUTES: 2_000, HOURS: 5_000}
"""How long after the end of its interval a packet is said."""
RESEND_MS, RESENDS = 10_000, 3
REAL_TIME_FIELD, MEAN = "Rtd", "Avg"
GOOD, CALIBRATING = "N", "C"
PASSWORD = "123456"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gas:
    """The gas of an interval, in the decimals that are sent: % CO2 and O2 dry, m/s, °C, kPa, % of water."""

    co2: str
    o2: str
    velocity: str
    temperature: str
    pressure: str
    moisture: str
    mark: str

    def dry_flow(self) -> Fraction:
        """m3/h, dry and standard, worked out of what is sent."""
        wet = 3600 * AREA_M2 * KV * Fraction(self.velocity)
        dryness = 1 - Fraction(self.moisture) / 100
        pressure = AIR_PA + 1000 * Fraction(self.pressure)
        return wet * 273 / (273 + Fraction(self.temperature)) * pressure / 101_325 * dryness

    def grams_per_hour(self) -> int:
        """CO2 in whole grams an hour, half to even."""
        return round(Fraction(self.co2) * 10 * Fraction(44, 1) / Fraction("22.4") * self.dry_flow())


@dataclass(slots=True)
class Unanswered:
    """A packet that waits for 9014."""

    raw: bytes
    said: int
    left: int


class StackLogger:
    """The logger of one stack. ``plan``: how often each command is said, in ms."""

    def __init__(self, name: str, mn: str, world: World, truth: TruthLog, plan: Mapping[str, int]) -> None:
        self._name, self._mn, self._world, self._truth, self._plan = name, mn, world, truth, plan
        self._parser = hj212.Parser()
        self._unanswered: dict[str, Unanswered] = {}

    def next_due(self, after: int) -> int:
        """When it will speak next (UTC ms), later than ``after``."""
        coming = [
            (after - late) // period * period + period + late
            for late, period in ((SAID_AFTER_MS[cn], period) for cn, period in self._plan.items())
        ]
        waiting = [held.said + RESEND_MS for held in self._unanswered.values()]
        return max(after + 1, min(coming + waiting))

    def speak(self, now: int) -> list[bytes]:
        """What it says at this instant: what is due, and again what was not answered."""
        said = []
        for cn, period in self._plan.items():
            if (now - SAID_AFTER_MS[cn]) % period == 0:
                start = now - SAID_AFTER_MS[cn] - (0 if cn == REAL_TIME else period)
                raw = self._packet(cn, start, now, 5)
                self._unanswered[raw[9:26].decode()] = Unanswered(raw, now, RESENDS)
                said.append(raw)
        return said + self._again(now)

    def hear(self, data: bytes, now: int) -> list[bytes]:
        """What it says to what the box has said."""
        return [said for found in self._parser.feed(data) for said in self._heard(found.packet, now)]

    def forget(self) -> None:
        """A connection is over: half a packet of the box's is not completed on the next one."""
        self._parser = hj212.Parser()

    def _again(self, now: int) -> list[bytes]:
        again = []
        for qn, held in [*self._unanswered.items()]:
            if now - held.said < RESEND_MS:
                continue
            if held.left == 0:
                del self._unanswered[qn]
                continue
            held.said, held.left = now, held.left - 1
            again.append(held.raw)
        return again

    def _heard(self, packet: Packet, now: int) -> Iterator[bytes]:
        if packet.mn != self._mn:
            return
        if packet.cn == "9014":
            self._unanswered.pop(packet.qn, None)
        elif packet.cn in self._plan and packet.cn != REAL_TIME:
            yield from self._history(packet, now)

    def _history(self, packet: Packet, now: int) -> Iterator[bytes]:
        """9011, the intervals that were asked for, 9012."""
        begin, end = (_instant(text) for name in ("BeginTime", "EndTime") for text in packet.texts("", name))
        period = self._plan[packet.cn]
        yield self._answer(packet.qn, "9011", "QnRtn=1")
        for start in range(-(-begin // period) * period, min(end, now - period) + 1, period):
            yield self._packet(packet.cn, start, now, 4)
        yield self._answer(packet.qn, "9012", "ExeRtn=1")

    def _answer(self, qn: str, cn: str, content: str) -> bytes:
        return hj212.frame(f"QN={qn};ST=91;CN={cn};PW={PASSWORD};MN={self._mn};Flag=4;CP=&&{content}&&")

    def _packet(self, cn: str, start: int, now: int, flag: int) -> bytes:
        period = MINUTE_MS if cn == REAL_TIME else self._plan[cn]
        gas = self.gas(start, period)
        mass = _decimal(gas.grams_per_hour(), 3) if gas.mark == GOOD else None
        self._truth.add(start, self._name, [Served(f"{cn}.co2", period, mass)])
        field = REAL_TIME_FIELD if cn == REAL_TIME else MEAN
        sent = {"a05001": gas.co2, "a19001": gas.o2, "a01011": gas.velocity, "a01012": gas.temperature}
        sent |= {"a01013": gas.pressure, "a01014": gas.moisture, "a00000": _decimal(round(gas.dry_flow() * 10 / 36), 3)}
        marks = {"a05001": gas.mark, "a19001": gas.mark}
        items = [f"{code}-{field}={text},{code}-Flag={marks.get(code, GOOD)}" for code, text in sent.items()]
        head = f"QN={_local(now)}{cn[-3:]};ST=31;CN={cn};PW={PASSWORD};MN={self._mn};Flag={flag}"
        return hj212.frame(f"{head};CP=&&DataTime={_local(start)};{';'.join(items)}&&")

    def gas(self, start: int, length: int) -> Gas:
        """The mean of the minutes of an interval; its mark is C when the analyser was calibrated meanwhile."""
        minutes = [start // MINUTE_MS * MINUTE_MS + at for at in range(0, max(length, 1), MINUTE_MS)]
        seen = [self._world.gas(at) for at in minutes]
        loads = [self._world.power_mw("M-04", at) // 27_500 for at in minutes]
        load, count = sum(loads) // len(loads), len(seen)
        return Gas(
            co2=_decimal(sum(one.co2_ppm for one in seen) // count, 4),
            o2=_decimal(sum(one.o2_ppm for one in seen) // count, 4),
            velocity=_decimal(4_000 + 6 * load, 3),
            temperature=_decimal(11_000 + 3 * load, 2),
            pressure=_decimal(-(200 + load // 8), 3),
            moisture=_decimal(sum(one.h2o_ppm for one in seen) // count, 4),
            mark=GOOD if all(one.live for one in seen) else CALIBRATING,
        )


def _decimal(steps: int, places: int) -> str:
    """A whole number of steps as a decimal."""
    sign, digits = "-" * (steps < 0), f"{abs(steps):0{places + 1}d}"
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def _local(utc_ms: int) -> str:
    return f"{EPOCH + timedelta(milliseconds=utc_ms + ZONE_MS):%Y%m%d%H%M%S}"


def _instant(text: str) -> int:
    local = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return (local - EPOCH) // timedelta(milliseconds=1) - ZONE_MS
