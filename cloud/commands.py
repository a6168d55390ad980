"""tanmeter cloud: serve the collector, invite gateways, revoke them, list them; audit is in a file of its own."""

import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import structs

from cloud import config, terminal
from cloud.audit_command import audit
from cloud.collector import health, now_ms
from cloud.rows import Gateway
from drivers import site as sites
from protocols import messages
from protocols.errors import ConfigError, UnknownNameError
from protocols.record import invite as invites

if TYPE_CHECKING:
    from cloud.mend import Booked, Mended

app = typer.Typer(no_args_is_help=True, add_completion=False)

PARTLY = 7
WHOLE = re.compile(r"[0-9a-f]{32}")

Data = Annotated[Path, typer.Option("--data", envvar="TANMETER_DATA")]

Json = Annotated[bool, typer.Option("--json")]


@app.callback()
def cloud() -> None:
    """The collector: takes signed records, verifies them, keeps the account."""


@app.command()
def serve(
    *,
    data: Data = config.DATA,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    copy: Annotated[Path | None, typer.Option()] = None,
    same_disk: Annotated[bool, typer.Option("--copy-on-same-disk")] = False,
    mqtt: Annotated[str | None, typer.Option(envvar="TANMETER_MQTT")] = None,
    mqtt_ca: Annotated[Path | None, typer.Option(envvar="TANMETER_MQTT_CA")] = None,
    mqtt_certificate: Annotated[Path | None, typer.Option(envvar="TANMETER_MQTT_CERTIFICATE")] = None,
    mqtt_key: Annotated[Path | None, typer.Option(envvar="TANMETER_MQTT_KEY")] = None,
    metrics: Annotated[str, typer.Option("--metrics", metavar="HOST:PORT")] = "",
) -> None:
    """Serve pages and API until SIGTERM or Ctrl-C; one line on standard error says where, once it is ready."""
    from cloud.mqtt import Broker, Certificates
    from cloud.serve import Second
    from cloud.serve import serve as run

    broker = None if mqtt is None else Broker.of(mqtt, Certificates(mqtt_ca, mqtt_certificate, mqtt_key))
    second = None if copy is None else Second(copy, same_disk)
    run(data, host, port, terminal.language(), second=second, broker=broker, metrics=metrics)


@app.command()
def backup(file: Annotated[Path, typer.Argument()], data: Data = config.DATA) -> None:
    """Write the collector's store as it stands into one file, while it is served. Its key is not in it."""
    if file.exists():
        raise ConfigError(str(file), "something that is there already", "a name that is free")
    if not file.absolute().parent.is_dir():
        raise ConfigError(str(file), "no such folder", "a name in a folder that is there")
    with terminal.opened(data) as store:
        store.back_up(file)
    terminal.say("cloud.backed_up", file=str(file), size=file.stat().st_size)


@app.command()
def restore(
    copy: Annotated[Path, typer.Option()],
    data: Data = config.DATA,
    damaged: Annotated[bool, typer.Option("--up-to-damage")] = False,
    lost: Annotated[bool, typer.Option("--new-key")] = False,
    as_json: Json = False,
) -> None:
    """Make a collector's store anew from its second copy or a backup; its key has to be in the data folder first.

    With --new-key, where that is lost for good: another key is made, and each gateway has to be enrolled anew.
    """
    from cloud import restore as restoring

    path = data / config.STORE
    restoring.generations(copy, path)
    if not lost and not (data / config.KEY).exists():
        expected = "the collector's own, from where it is backed up (or --new-key, if it is lost)"
        raise ConfigError(f"--data {data}", f"no {config.KEY}", expected)
    key = config.create_key(data) if lost else config.open_key(data)
    made = restoring.restore(copy, path, key, up_to_damage=damaged, new_key=lost)
    if as_json:
        terminal.tell(asdict(made))
    else:
        terminal.say("cloud.restored", **asdict(made))
    if lost:
        terminal.say("cloud.newkey", key=key.public.id.hex())


@app.command()
def mend(
    copy: Annotated[Path | None, typer.Option()] = None,
    data: Data = config.DATA,
    gateway: Annotated[str, typer.Option()] = "",
    rebook: Annotated[bool, typer.Option("--rebook")] = False,
    as_json: Json = False,
) -> None:
    """Prove every stored block by its signature and put back those that rotted, beside a running collector or not.

    They come from the second copy; what is not there, or without one, the gateways are asked for. Configurations,
    profiles and what accounts rest on (subject and activity files, versions, decisions, warnings, keys, factors) come
    from the copy alone where they rotted. Exit 7 while some are not put back. With --rebook, while the collector does
    not run, everything that is booked of the blocks is made anew from them, and what differs is put right.
    """
    from cloud import mend as mending
    from cloud import mend_files, mend_journal

    mending.check_copy(copy)
    with terminal.opened(data) as store:
        if rebook:
            store.serve_alone()
        files = [mend_files.name(file) for file in mend_files.rotten(store)]
        files += [mend_journal.name(row) for row in mend_journal.rotten(store)]
        back = list[str]()
        if copy is not None:
            back += [mend_files.name(file) for file in mend_files.mend(store, copy)]
            back += mend_journal.mend(store, copy)
            files += [file for file in back if file not in files]
        found = mending.mend(store, copy, gateway, now_ms())
        booked = mending.rebook_all(store, config.open_key(data), copy, gateway, now_ms()) if rebook else None
    if as_json:
        told = {"blocks": found.blocks, "damaged": [damaged.plain() for damaged in found.damaged]}
        told |= {"files": [{"name": file, "put_back": file in back} for file in files]}
        terminal.tell(told if booked is None else told | asdict(booked))
    else:
        for file in files:
            terminal.say(f"cloud.mend.{'file' if file in back else 'nofile'}", name=file)
        _show_mended(found, booked)
    if found.left or len(back) < len(files) or (booked is not None and booked.left):
        raise typer.Exit(PARTLY)


def _show_mended(found: "Mended", booked: "Booked | None") -> None:
    language = terminal.language()
    for damaged in found.damaged:
        typer.echo(messages.text(f"cloud.mend.{damaged.outcome}", language, **damaged.plain()))
    terminal.say("cloud.mend.done", blocks=found.blocks, damaged=len(found.damaged), left=found.left)
    if booked is None:
        return
    for one in booked.rebooked:
        rows = ", ".join(f"{name} {count}" for name, count in one.rows.items())
        if one.why or rows:
            outcome = "unbooked" if one.why else "rebooked"
            typer.echo(messages.text(f"cloud.mend.{outcome}", language, gateway=one.gateway, rows=rows, why=one.why))
    totals = {"gateways": len(booked.rebooked), "rows": booked.rows, "arrivals": booked.arrivals, "left": booked.left}
    terminal.say("cloud.mend.booked", **totals)


@app.command()
def invite(
    data: Data = config.DATA,
    site: Annotated[str | None, typer.Option()] = None,
    valid: Annotated[str, typer.Option()] = "72h",
    as_json: Json = False,
) -> None:
    """Make a one-time code by which one gateway can enrol; standard output has the code alone."""
    if site is not None and re.fullmatch(sites.ID, site) is None:
        raise ConfigError("--site", repr(site), "a site's id as it stands in its site.toml, like S-0012")
    key, now = config.open_key(data), now_ms()
    until, expires = _until(valid, now)
    made = invites.make(os.urandom(invites.ENTROPY_BYTES), key.spki)
    with config.open_store(data, key) as store:
        store.create_invite(made, site, until, now)
    if as_json:
        terminal.tell({"code": made.format(), "site": site, "expires_at": expires})
        return
    typer.echo(made.format())
    terminal.say("cloud.invited", until=expires)


@app.command()
def readmit(
    data: Data = config.DATA,
    valid: Annotated[str, typer.Option()] = "72h",
) -> None:
    """After the store was lost: take gateways in again by themselves, on a receipt signed with this collector's key.

    The store has forgotten, too, whom it had revoked: revoke those by their whole ids first.
    """
    until, expires = _until(valid, now_ms(), at_once="0h")
    with terminal.opened(data) as store:
        store.open_window(until)
    terminal.say("cloud.readmitted" if valid == "0h" else "cloud.readmitting", until=expires)


def _until(valid: str, now: int, at_once: str = "") -> tuple[int, str]:
    """So long from now, UTC ms and as a person reads it; ``at_once``: the text for no time at all. ConfigError."""
    try:
        until = now if valid == at_once else now + sites.duration_ms(valid)
        return until, datetime.fromtimestamp(until // 1000, UTC).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise ConfigError("--valid", repr(valid), "a duration like 15m, 72h, 7d") from error


@app.command()
def revoke(
    gateway: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option()],
    data: Data = config.DATA,
) -> None:
    """Take nothing more from a gateway. What it delivered before stays and stays verifiable.

    A whole id that is not enrolled is barred: after a store was lost, before gateways are taken in again.
    """
    with terminal.opened(data) as store:
        rows = store.gateways()
        if WHOLE.fullmatch(gateway) and bytes.fromhex(gateway) not in {row.id for row in rows}:
            store.bar(bytes.fromhex(gateway), reason, now_ms())
            terminal.say("cloud.barred", gateway=gateway)
            return
        found = _one(rows, gateway)
        store.revoke(found.id, reason, now_ms())
    terminal.say("cloud.revoked", gateway=found.id.hex())


@app.command()
def gateways(data: Data = config.DATA, as_json: Json = False) -> None:
    """List the gateways: id, site, health, epoch/next seq, blocks, readings, refused blocks."""
    with terminal.opened(data) as store:
        rows, now = store.gateways(), now_ms()
    if as_json:
        for row in rows:
            terminal.tell(_plain(row, now))
        return
    if not rows:
        terminal.say("cloud.nogateways")
        return
    for row in rows:
        state = messages.text(f"page.health.{health(row, now)}", terminal.language())
        place = f"{row.epoch}/{row.next_seq}"
        typer.echo(f"{row.id.hex()}  {row.site}  {state}  {place}  {row.blocks}  {row.readings}  {row.refused_blocks}")


app.command()(audit)


def _one(rows: list[Gateway], text: str) -> Gateway:
    """The only gateway whose id begins so; UnknownNameError for none or several."""
    found = [row for row in rows if row.id.hex().startswith(text.lower())]
    if len(found) != 1 or not text:
        raise UnknownNameError("gateway", text, "the beginning of one id that `tanmeter cloud gateways` lists")
    return found[0]


def _plain(row: Gateway, now: int) -> dict[str, Any]:
    fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in structs.asdict(row).items()}
    del fields["enrolment"]
    return fields | {"health": health(row, now)}
