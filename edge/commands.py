"""tanmeter edge: run, status, doctor, clock, salvage."""

import asyncio
import json
import os
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from drivers.quantity import short
from edge import config, control
from edge.clock import UNKNOWN, Clock, SystemClock
from edge.daemon import Daemon
from edge.finding import Check
from edge.vouched import Vouched, vouch
from protocols import messages
from protocols.errors import ChainError, DriftError, PortGone, StoreError

app = typer.Typer(no_args_is_help=True, add_completion=False)

STATE = Path("/var/lib/tanmeter")
State = Annotated[Path, typer.Option("--state", envvar="TANMETER_STATE")]
Json = Annotated[bool, typer.Option("--json")]


@app.command()
def run(
    state: State = STATE,
    verbose: Annotated[bool, typer.Option("--verbose")] = False,
    metrics: Annotated[str, typer.Option("--metrics", metavar="HOST:PORT")] = "",
) -> None:
    """Read the meters, keep the signed record, deliver it; until SIGTERM or Ctrl-C."""
    level = "debug" if verbose else "info"  # the agent takes this process over, and leaves typer and pydantic behind
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edge", str(state), level, *([metrics] if metrics else [])])


@app.command("metrics")
def show_metrics(state: State = STATE) -> None:
    """The running agent's figures as Prometheus text; exit 5 when none runs."""
    from edge.metrics import exposition

    typer.echo(exposition(control.ask(state / config.SOCKET, "status")).decode(), nl=False)


@app.command()
def status(state: State = STATE, as_json: Json = False) -> None:
    """What the running agent is doing; exit 5 when none runs."""
    held = control.ask(state / config.SOCKET, "status")
    typer.echo(json.dumps(held, ensure_ascii=False) if as_json else "\n".join(_lines(held)))


@app.command("export")
def export_readings(
    *,
    since: Annotated[str, typer.Option("--from")],
    until: Annotated[str, typer.Option("--to")] = "",
    form: Annotated[str, typer.Option("--format", metavar="csv|jsonl|parquet")] = "csv",
    device: Annotated[str | None, typer.Option("--device")] = None,
    unsealed: Annotated[bool, typer.Option("--open")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    state: State = STATE,
) -> None:
    """The readings kept on this box, each with its block; beside a running agent or without. Exit 4: damaged blocks."""
    from edge.export_file import export

    bad = export(state, (since, until or datetime.now(UTC).isoformat()), device, unsealed=unsealed, form=form, out=out)
    for block in bad:
        typer.echo(_say_export("damaged", epoch=block.epoch, seq=block.seq, why=block.why), err=True)
    raise typer.Exit(ChainError.exit_code if bad else 0)


def _say_export(name: str, /, **known: object) -> str:
    return messages.text(f"edge.export.{name}", _language(), **known)


@app.command()
def doctor(state: State = STATE, as_json: Json = False) -> None:
    """Check key, configuration, disk, clock, ports, collector, agent; the exit code is that of the first fault."""
    from edge.doctor import examine

    checks = asyncio.run(examine(state, _clock(state)))
    if as_json:
        told = [{name: getattr(check, name) for name in check.__slots__} for check in checks]
        typer.echo(json.dumps({"ok": all(check.ok for check in checks), "checks": told}, ensure_ascii=False))
    else:
        for check in checks:
            name = messages.text(f"edge.doctor.{check.name}", _language(), port=check.subject)
            verdict = messages.text("edge.doctor.ok" if check.ok else "edge.doctor.bad", _language())
            said = _say(f"sync.{check.state}") if check.state else ""
            typer.echo(f"[{verdict}] {name}: {' '.join(filter(None, (check.code, said, check.found)))}".rstrip())
            if not check.ok:
                typer.echo(f"    → {_next_action(check)}")
    raise typer.Exit(next((check.exit_code for check in checks if not check.ok), 0))


def _next_action(check: Check) -> str:
    """What to do about a finding: its code says it, or its name where it has none."""
    if check.code:
        return messages.remedy(check.code, _language())
    return messages.text(f"edge.doctor.{check.name}_remedy", _language())


@app.command("support-bundle")
def support_bundle(
    state: State = STATE,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    log: Annotated[Path | None, typer.Option("--log")] = None,
) -> None:
    """One file for whoever helps from afar: status, checks, log, configuration, faults; without keys or passwords."""
    from edge import support
    from edge.doctor import examine

    def checks() -> list[dict[str, object]]:
        found = asyncio.run(examine(state, _clock(state)))
        return [{name: getattr(check, name) for name in check.__slots__} for check in found]

    site = re.sub(r"[^\w-]", "_", config.site_id(state)) or "box"
    path = out or Path(f"tanmeter-support-{site}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    content = support.bundle(state, log, checks)
    support.place(content, path)
    typer.echo(str(path))
    typer.echo(messages.text("edge.support.done", _language(), bytes=len(content)), err=True)


@app.command()
def salvage(
    store: Annotated[Path, typer.Argument(metavar="FILE")],
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    as_json: Json = False,
) -> None:
    """Recover the signed blocks of a damaged store, which is left as it is; exit 7 when some are damaged or missing."""
    from edge.salvage_command import recover

    raise typer.Exit(recover(store, out, as_json))


@app.command()
def clock(
    state: State = STATE,
    confirm: Annotated[bool, typer.Option("--confirm")] = False,
    as_json: Json = False,
) -> None:
    """What the box knows of the time; --confirm where neither network nor a hardware clock tells it."""
    if confirm:
        vouch(state, SystemClock())
    held = _clock(state)
    found, utc = held.state(), datetime.fromtimestamp(held.utc_ms() / 1000, UTC).isoformat(timespec="seconds")
    if as_json:
        known = {name: getattr(found, name) for name in found.__slots__}
        typer.echo(json.dumps({"utc": utc, "confirmed": confirm, **known}, ensure_ascii=False))
        return
    word = "confirmed" if confirm else "unknown" if found.state == UNKNOWN else "known"
    source = messages.text(f"edge.clock.{found.source}", _language())
    typer.echo(messages.text(f"edge.clock.{word}", _language(), utc=utc, source=source, error_ms=found.error_ms))


def _clock(state: Path) -> Clock:
    """The clock as the agent sees it, its daemon asked just now."""
    daemon = Daemon(SystemClock())
    asyncio.run(daemon.refresh())
    return SystemClock(Vouched(state).knows, daemon.knows)


def _lines(held: dict[str, Any]) -> list[str]:
    """Status for a person."""
    state = _say(f"state.{held['state']}")
    if "site" not in held:
        return [f"{state} {held['why']}", *_disk_full(held)]
    outbox, sync = held["outbox"], held["sync"]
    days = _say("days.unknown") if outbox["days_left"] is None else _say("days", days=f"{outbox['days_left']:.0f}")
    lines = [
        f"{held['site']}  {held['gateway']}  {state} {held['why']}".rstrip(),
        "  " + _say("chain", **{name: held[name] for name in ("boot", "epoch", "next_seq")}, **held["configuration"]),
        "  " + _say("outbox", **outbox, days=days),
        "  " + _say("sync", state=_say(f"sync.{sync['state']}"), error=sync.get("error") or "").rstrip(),
        *([f"    → {messages.remedy(sync['code'], _language())}"] if sync.get("code") else []),
    ]
    lines[3:3] = ["  " + line for line in [*_clock_alarm(held), *_store(held)]]
    lines[1:1] = _disk_full(held)
    lines += [line for port in held["ports"] for line in _port(port)]
    return lines + [line for device in held["devices"] for line in _device(device)]


def _disk_full(held: dict[str, Any]) -> list[str]:
    """What to do where nothing is measured any more."""
    full = held["state"] == "disk-full"
    return [f"  → {messages.remedy(StoreError.code, _language())}"] if full else []


def _clock_alarm(held: dict[str, Any]) -> list[str]:
    """That the clock is off, and what to do."""
    why = held.get("clock", {}).get("alarm", "")
    return [_say("clock", why=why, **_remedied(DriftError.code))] if why else []


def _store(held: dict[str, Any]) -> list[str]:
    """What is wrong with the store."""
    store, behind = held.get("store", {}), held["outbox"].get("left_behind", 0)
    lines = [_say("flaw", flaw=flaw) for flaw in held["configuration"].get("flaws", ())]
    lines += [_say("low")] if store.get("low") else []
    lines += [_say("behind", left_behind=behind)] if behind else []
    lines += [_say("aside", name=name) for name in store.get("aside", ())]
    return lines + [
        _say("damaged", **block, begin=_minute(block["from"]), end=_minute(block["to"]))
        for block in store.get("damaged", ())
    ]


def _minute(utc_ms: int) -> str:
    """An instant as people here read it, to the minute."""
    return datetime.fromtimestamp(utc_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M") if utc_ms else "?"


def _port(port: dict[str, Any]) -> list[str]:
    """A port, and below it what is wrong with it and what to do."""
    lines = ["  " + _say("port", name=port["name"], busy=f"{port['busy']:.1%}")]
    if port["gone"]:
        lines.append("    " + _say("gone", detail=port["gone"], **_remedied(PortGone.code)))
    for trouble in port["troubles"]:
        sure = _say("trouble.sure" if trouble["sure"] else "trouble.likely")
        lines.append("    " + _say("trouble", **trouble | {"sure": sure} | _remedied(trouble["code"])))
    return lines


def _remedied(code: str) -> dict[str, str]:
    return {"code": code, "what": messages.text(code, _language()), "fix": messages.remedy(code, _language())}


def _device(device: dict[str, Any]) -> list[str]:
    at = device["last_answer"]
    seen = datetime.fromtimestamp(at / 1000).astimezone().strftime("%H:%M:%S") if at else "-"
    faults = "  ".join(f"{_say(f'fault.{name}')} {count}" for name, count in device["faults"].items())
    first = _say("device", id=device["id"], profile=device["profile"], seen=seen, answered=device["answered"])
    return [
        f"  {first}  {faults}".rstrip(),
        *(f"    {_value(item)}" for item in device["values"]),
    ]


def _value(item: dict[str, Any]) -> str:
    """A point and what was last read of it: a dash where the meter has no value, no unit where it is a number."""
    value = "-" if item["value"] is None else f"{short(Decimal(item['value'])):f}"
    return f"{item['point']} {value} {'' if item['unit'] == '1' else item['unit']}".rstrip()


def _say(name: str, /, **known: object) -> str:
    return messages.text(f"edge.status.{name}", _language(), **known)


def _language() -> messages.Language:
    return messages.spoken(os.environ)
