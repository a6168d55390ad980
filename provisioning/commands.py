"""tanmeter site: init, sign, enrol, show."""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from drivers import site as sites
from edge.config import COLLECTOR, load_collector
from edge.keys import load as load_key
from protocols import messages
from protocols.errors import ConfigError, TanmeterError
from protocols.record.cose import PrivateKey
from protocols.record.siteconfig import digest
from provisioning import enrol as enrolling
from provisioning import folder, keys, site_init
from provisioning.folder import Box
from provisioning.questions import ask
from provisioning.site_file import Wishes, compose

app = typer.Typer(no_args_is_help=True, add_completion=False)

State = Annotated[Path, typer.Option("--state", envvar="TANMETER_STATE")]
TechnicianKey = Annotated[Path | None, typer.Option()]
ProfileDir = Annotated[Path | None, typer.Option()]
Overload = Annotated[bool, typer.Option("--overload")]
STATE = Path("/var/lib/tanmeter")


@app.command()
def init(
    *,
    state: State = STATE,
    site_id: Annotated[str, typer.Option("--id")] = "",
    name: Annotated[str, typer.Option()] = "",
    port: Annotated[list[str] | None, typer.Option()] = None,
    device: Annotated[list[str] | None, typer.Option()] = None,
    timezone: Annotated[str, typer.Option()] = "Asia/Shanghai",
    region: Annotated[str, typer.Option()] = "",
    block: Annotated[str, typer.Option()] = "",
    file: Annotated[Path | None, typer.Option()] = None,
    profile_dir: ProfileDir = None,
    technician_key: TechnicianKey = None,
    overload: Overload = False,
) -> None:
    """Set this box up: its key is born here, the site file is signed, the record can begin. Asks on a terminal."""
    site_init.refuse_second(state)
    now = _now_ms()
    wishes = Wishes(site_id, name, timezone, region, _language(), block, port or (), device or ())
    asked = file is None and _lacking(wishes)
    source = compose(_complete(wishes, profile_dir), now) if file is None else folder.read(file, "a site file")
    try:
        profiles = site_init.gather(source, profile_dir, str(file or "site.toml"))
        technician = _technician(technician_key or keys.technician_path())
        site_init.init(state, source, profiles, technician, now, name=str(file or "site.toml"), overload=overload)
    except TanmeterError:
        if asked:
            folder.write(state / folder.SITE, source)
            _talk("site.init.kept", path=state / folder.SITE)
        raise
    box = folder.read_box(state)
    _say("site.init.done", site=box.enrolment.site_id, gateway=box.enrolment.key.id.hex())
    _talk("site.init.next")


@app.command()
def sign(
    state: State = STATE,
    file: Annotated[Path | None, typer.Option()] = None,
    profile_dir: ProfileDir = None,
    technician_key: TechnicianKey = None,
    overload: Overload = False,
) -> None:
    """Check a changed site file, show the change and make it the next signed configuration."""
    path = file or state / folder.SITE
    source = folder.read(path, "a site file")
    profiles = site_init.gather(source, profile_dir, str(path))
    signing = technician_key or keys.technician_path()
    if not signing.exists():
        raise ConfigError(str(signing), "no key", "the one with which this box was set up: --technician-key FILE")
    key = load_key(signing)
    before, change = folder.read_box(state).newest.number, site_init.changes(state, source)
    number = site_init.sign(state, source, profiles, key, _now_ms(), name=str(path), overload=overload)
    if change:
        typer.echo(change)
    _say("site.sign.done" if number != before else "site.sign.same", number=number)


@app.command()
def enrol(
    code: Annotated[str, typer.Argument()],
    collector: Annotated[str, typer.Option()],
    state: State = STATE,
    *,
    instead: Annotated[bool, typer.Option("--new-collector")] = False,
    ca: Annotated[Path | None, typer.Option()] = None,
    mqtt: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Enrol this box with a collector; the code also pins the collector's key."""
    enrolling.enrol(state, code, collector, instead=instead, way=enrolling.Way(ca, mqtt))
    known = load_collector(state / COLLECTOR)
    if known is not None:
        _say("site.enrol.done", url=known.url, key=known.key.kid.hex())


@app.command()
def show(
    state: State = STATE,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """What is set up here: site, gateway, meters, configuration in force, collector. Every signature is checked."""
    found = overview(state)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    number, signed = found["configuration"]["number"], found["configuration"]["valid_from"]
    for label, value in (
        ("site.show.site", f"{found['site']} {found['name']}"),
        ("site.show.gateway", found["gateway"]),
        ("site.show.technician", found["technician"]),
        ("site.show.configuration", f"{number} ({signed})"),
        ("site.show.collector", found["collector"] or messages.text("site.show.none", _language())),
        *(("site.show.device", _device_line(device)) for device in found["devices"]),
    ):
        typer.echo(f"{messages.text(label, _language())}: {value}")
    if found["unsigned_changes"]:
        _talk("site.show.unsigned")


def overview(state: Path) -> dict[str, Any]:
    """What ``show --json`` prints; ConfigError when nothing is set up, RecordError when something does not verify."""
    box = folder.read_box(state)
    newest = box.newest
    site = sites.load(newest.site, f"configuration {newest.number}")
    collector = load_collector(state / COLLECTOR)
    return {
        "site": site.site.id,
        "name": site.site.name,
        "gateway": box.enrolment.key.id.hex(),
        "technician": box.enrolment.technician.kid.hex(),
        "configuration": {
            "number": newest.number,
            "digest": digest(box.configs[-1].envelope).hex(),
            "valid_from": datetime.fromtimestamp(newest.valid_from // 1000, UTC).isoformat(),
        },
        "devices": [_device_entry(device) for device in site.device],
        "collector": collector.url if collector else None,
        "collector_key": collector.key.kid.hex() if collector else None,
        "unsigned_changes": _unsigned(state, box),
    }


def _device_entry(device: sites.Device) -> dict[str, Any]:
    return {key: getattr(device, key) for key in ("id", "name", "profile", "port", "address", "role", "parent")}


def _device_line(device: dict[str, Any]) -> str:
    return " ".join(str(device[key]) for key in ("id", "profile", "port", "address", "role", "name") if device[key])


def _unsigned(state: Path, box: Box) -> bool:
    path = state / folder.SITE
    return path.exists() and folder.read(path, "a site file") != box.newest.site


def _technician(path: Path) -> PrivateKey:
    """The technician's key, made where there is none; ConfigError."""
    known, key = path.exists(), keys.load_or_create(path)
    if not known:
        _talk("site.init.technician", path=path)
    return key


def _lacking(wishes: Wishes) -> list[str]:
    """The options without which there is no site."""
    given = {"--id": wishes.id, "--port": wishes.ports, "--device": wishes.devices}
    return [option for option, value in given.items() if not value]


def _complete(wishes: Wishes, profile_dir: Path | None) -> Wishes:
    """The wishes with nothing missing: asked for on a terminal, otherwise ConfigError."""
    missing = _lacking(wishes)
    if missing and not _on_terminal():
        raise ConfigError(missing[0], "nothing", "a value (or --file, or a terminal to ask on)")
    if missing:
        return ask(wishes, _language(), profile_dir)
    return wishes


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _language() -> messages.Language:
    return messages.spoken(os.environ)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(message_id: str, **values: object) -> None:
    typer.echo(messages.text(message_id, _language(), **values))


def _talk(message_id: str, **values: object) -> None:
    typer.echo(messages.text(message_id, _language(), **values), err=True)
