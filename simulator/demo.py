"""The demo: the whole life of a reading in one command, and what is put to the proof in its first minute."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from drivers.quantity import EXACT
from protocols import messages
from protocols.errors import TanmeterError
from simulator import town, trials
from simulator.children import Child
from simulator.stage import DemoFailed, Options, Stage, now_ms
from simulator.town import Town
from simulator.trials import Day, Flow

INTERRUPTED = 130
WATCH_S = 1.0
NOTICED_S = 0.3
"""A process that has just died can be told apart from one that does not answer after this."""
BACK_FILL_S = 180
Say = Callable[..., None]


@dataclass(slots=True)
class Told:
    """What the demo found, as far as it has come."""

    history_blocks: int = 0
    back_filled: int = 0
    refused: int = 0
    evidence_verified: bool = False
    town: Town | None = None
    day: Day | None = None
    flows: tuple[Flow, ...] = ()
    gateway: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)


def speaker(as_json: bool, language: messages.Language) -> Say:
    """Says a message of the catalogue: on standard error when standard output is for the JSON."""
    stream = sys.stderr if as_json else sys.stdout

    def say(message_id: str, **values: object) -> None:
        print(messages.text(f"demo.{message_id}", language, **values), file=stream, flush=True)

    return say


async def run(options: Options, once: bool, as_json: bool, language: messages.Language) -> int:
    """The whole demo; its exit code: 0 when everything held, 1 when something did not, 130 when interrupted before."""
    say, begun = speaker(as_json, language), time.monotonic()
    playing = asyncio.ensure_future(_play(options, once, as_json, say, begun))
    _on_interrupt(playing.cancel)
    try:
        return await playing
    except asyncio.CancelledError:
        say("ended")
        return INTERRUPTED
    except TanmeterError as error:
        say("failed", error=error)
        return error.exit_code


async def _play(options: Options, once: bool, as_json: bool, say: Say, begun: float) -> int:
    told, stage = Told(), Stage(options)
    try:
        await _blame(stage, _prove(stage, told, say))
        seconds = time.monotonic() - begun
        say("held", seconds=round(seconds))
        if as_json:
            print(json.dumps(summary(told, seconds), ensure_ascii=False), flush=True)  # noqa: T201
        if once:
            return 0
        say("page", address=f"{stage.asking.url}/")
        say("pages", address=stage.asking.url)
        await _watch(stage, say)
        return 0
    finally:
        await asyncio.shield(stage.close())


def _on_interrupt(cancel: Callable[[], object]) -> None:
    """Call ``cancel`` at the first Ctrl-C, SIGTERM or hang-up; further ones find the demo ending already."""
    loop = asyncio.get_running_loop()
    interrupts = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupted() -> None:
        for number in interrupts:
            loop.add_signal_handler(number, lambda: None)
        cancel()

    for number in interrupts:
        loop.add_signal_handler(number, interrupted)


async def _blame(stage: Stage, proof: Coroutine[Any, Any, None]) -> None:
    """Await the proof. When it fails because a process died, that is what is told: ChildDied."""
    try:
        await proof
    except (TanmeterError, httpx.HTTPError) as error:
        await asyncio.sleep(NOTICED_S)
        stage.children.check()
        if isinstance(error, TanmeterError):
            raise
        raise DemoFailed(f"the collector: found {error!r}, expected an answer") from error


async def _watch(stage: Stage, say: Say) -> None:
    """Live until Ctrl-C; ChildDied when a process ends by itself."""
    try:
        while True:
            stage.children.check()
            await asyncio.sleep(WATCH_S)
    except asyncio.CancelledError:
        say("ended")


async def _prove(stage: Stage, told: Told, say: Say) -> None:
    """From an empty folder to a verified tonne."""
    await stage.open()
    say("site", seed=stage.options.seed, places=", ".join(stage.places.values()))
    history = asyncio.ensure_future(stage.history())
    try:
        say("enrolled", code=await stage.enrol())
        made = await history
    finally:
        history.cancel()
    told.history_blocks = stage.history_blocks()
    say("history", days=stage.options.days, blocks=told.history_blocks, seconds=f"{made:.1f}")
    stage.sign_live_configuration()
    agent = stage.start_agent()
    filled = await trials.back_fill(stage, told.history_blocks, BACK_FILL_S)
    say("back_filled", blocks=told.history_blocks, seconds=f"{filled:.1f}")
    await trials.live(stage, told.history_blocks)
    say("live")
    await _try(stage, told, say, agent)
    await _count(stage, told)
    told.town = found = await asyncio.to_thread(town.fill, stage.data, stage.options.seed, now_ms())
    say("town", month=found.month, subjects=found.subjects, tco2e=f"{found.tco2e:,.0f}")
    say("works", reference=found.works, tco2e=plain(found.works_tco2e))


async def _try(stage: Stage, told: Told, say: Say, agent: Child) -> None:
    say("cut", seconds=round(trials.CUT_S))
    outage = await trials.cut(stage)
    told.back_filled = outage.blocks
    say("mended", blocks=outage.blocks, seconds=f"{outage.seconds:.1f}")
    crash = await trials.kill(stage, agent)
    say("killed", seq=crash.seq, exchanges=crash.exchanges)
    told.refused = await trials.forge(stage)
    say("refused")
    await trials.replay(stage)
    say("replayed")
    told.day = day = await trials.account(stage)
    for meter in day.meters:
        say("meter", device=meter.device, kwh=plain(meter.booked), truth=plain(meter.expected))
    say("equal", kwh=plain(day.booked_kwh), factor=plain(day.factor), factor_id=day.factor_id, tco2=plain(day.tco2))
    told.flows = (*await trials.flows(stage), await trials.mass(stage))
    for flow in told.flows:
        say("flow", device=flow.device, booked=plain(flow.booked), truth=plain(flow.expected), unit=flow.unit)
    size = await trials.evidence(stage, day.statement)
    told.evidence_verified = True
    say("evidence", statement=day.statement, kilobytes=size // 1024)


async def _count(stage: Stage, told: Told) -> None:
    """What the collector says of itself at the end; DemoFailed when it does not fit what was done."""
    told.gateway, told.health = await stage.asking.gateway(), await stage.asking.get("/v1/health")
    told.back_filled += await trials.history_held(stage)
    incidents = (await stage.asking.get("/v1/incidents"))["data"]
    refused = [entry for entry in incidents if entry["kind"] == "refused"]
    if len(refused) != told.refused or len(incidents) != len(refused):
        raise DemoFailed(f"found the incidents {incidents}, expected {told.refused} refused blocks and nothing else")
    if told.gateway["gaps"] < 1:
        raise DemoFailed("found no gap declared, expected the one of the killed agent")
    if told.back_filled <= told.history_blocks:
        raise DemoFailed(
            f"found {told.back_filled} blocks back-filled, expected more than the {told.history_blocks} of history"
        )


def summary(told: Told, seconds: float) -> dict[str, Any]:
    """The one JSON object; decimals are strings."""
    day, city = told.day, told.town
    assert day is not None and city is not None
    return {
        "gateways": sum(told.health["gateways"].values()),
        "blocks_stored": told.health["blocks"],
        "readings": told.health["readings"],
        "refused": told.refused,
        "expected_kwh": plain(day.expected_kwh),
        "booked_kwh": plain(day.booked_kwh),
        "factor": plain(day.factor),
        "factor_id": day.factor_id,
        "tco2": plain(day.tco2),
        "gaps": told.gateway["gaps"],
        "back_filled_blocks": told.back_filled,
        "evidence_verified": told.evidence_verified,
        "statement": day.statement,
        "meters": {
            meter.device: {
                "role": meter.role,
                "expected_kwh": plain(meter.expected),
                "booked_kwh": plain(meter.booked),
            }
            for meter in day.meters
        },
        "flows": {
            flow.device: {
                "point": flow.point,
                "unit": flow.unit,
                "expected": plain(flow.expected),
                "booked": plain(flow.booked),
            }
            for flow in told.flows
        },
        "city": {"month": city.month, "subjects": city.subjects, "tco2e": plain(city.tco2e)},
        "works": {"account": city.works, "tco2e": plain(city.works_tco2e)},
        "seconds": round(seconds, 1),
    }


def plain(value: Decimal) -> str:
    """A decimal as text, without trailing zeros: equal numbers look equal."""
    return f"{EXACT.normalize(value):f}"


def start(options: Options, once: bool, as_json: bool, language: messages.Language) -> int:
    """Run the demo in a loop of its own."""
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(options, once, as_json, language))
