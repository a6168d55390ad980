"""What a bus gives: late answers, dead and silent meters, mixed protocols; on simulated lines, in virtual time."""

from benchmarks.pymodbus_master import pymodbus
from simulator.bus_trials import Site, endpoints, live, mixed, modbus_bus
from simulator.late_answers import LIMIT_MS, Master, Scenario, ours, run
from simulator.stations import mostly, spread

QUESTIONS = 10_000
AROUND = spread(0, 2 * LIMIT_MS)
NOW_AND_THEN = mostly(spread(20, 60), spread(LIMIT_MS, 2 * LIMIT_MS), 0.2)
LATER = spread(0, 4 * LIMIT_MS)
SCENARIOS = (
    Scenario("5 Modbus meters, 3 questions of one shape, delay 0..2x", "modbus", 5, 3, AROUND),
    Scenario("1 Modbus register again and again, delay 0..2x", "modbus", 1, 1, AROUND),
    Scenario("5 Modbus meters, a fifth of the answers 1..2x late", "modbus", 5, 3, NOW_AND_THEN),
    Scenario("5 Modbus meters, delay 0..4x: beyond what is known", "modbus", 5, 3, LATER),
    Scenario("5 DL/T 645 meters, 3 items, delay 0..2x", "dlt645", 5, 3, AROUND),
    Scenario("1 DL/T 645 item again and again, delay 0..2x", "dlt645", 1, 1, AROUND),
)
DEAD = tuple(range(0, 30, 3))
ALIVE = tuple(number for number in range(30) if number % 3)


def main() -> None:
    """Print every figure with its target, and what today's gateways do (reference/peers.md)."""
    print(
        f"late answers, {QUESTIONS:,} questions, time limit {LIMIT_MS} ms, 9600 baud: answered, wrong values (target 0)"
    )
    for scenario in SCENARIOS:
        _late("tanmeter", scenario, ours, shared=False)
        if scenario.protocol == "modbus":
            for retries in (0, 3):
                _late(f"pymodbus {retries} retries", scenario, pymodbus(retries), shared=True)
    print("schedule kept by the worst of the living (share of slots answered), bus time of the dead")
    _kept(
        "30 meters of 20 points, 10 s, 10 dead, an hour",
        modbus_bus(30, "10s", 3600, DEAD),
        ALIVE,
        ">= 95 %, dead <= 5 %",
    )
    _kept("4 meters of 20 points, 1 s, all well", modbus_bus(4, "1s", 600), range(4), "100 %; others 50 to 99.9 %")
    _kept("the same, one of four silent", modbus_bus(4, "1s", 600, (2,)), (0, 1, 3), ">= 99 %; others 0 to 23 %")
    _kept(
        "TCP, 10 endpoints, 1 s, 3 silent",
        endpoints(10, 600, (2, 5, 8)),
        (0, 1, 3, 4, 6, 7, 9),
        "100 %; others 3 to 100 %",
    )
    _kept("Modbus 9600-8N1 and DL/T 645 2400-8E1 on one pair", mixed(3600), range(8), "100 %")


def _late(name: str, scenario: Scenario, master: Master, shared: bool) -> None:
    outcome = run(scenario, QUESTIONS, master, shared=shared)
    share = outcome.answered / outcome.asked
    print(
        f"  {scenario.name:52} {name:20} {share:6.1%} answered {outcome.wrong:6,} wrong  {outcome.bus_s:8,.0f} s of bus"
    )


def _kept(name: str, site: Site, living: "range | tuple[int, ...]", target: str) -> None:
    lived = live(site)
    print(f"  {name:52} {lived.kept(living):8.2%}  dead {lived.dead_share:6.2%}  (target {target})")


if __name__ == "__main__":
    main()
