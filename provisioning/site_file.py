"""A site file out of options like ``id=M-01,profile=eastron-sdm630,port=rs485-1,address=1,ct=400/5``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from drivers import site as sites
from protocols.errors import ConfigError

PORT_KEYS = ("name", "device", "mode", "tcp", "listen", "framing", "tls_ca", "tls_cert", "tls_key", "tls_name")
DEVICE_KEYS = ("id", "profile", "port", "address", "name", "serial", "role", "parent", "period", "mode")
RATIO_KEYS = ("from", "ct", "pt")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a site file shall say, as typed; ``ports`` and ``devices`` as ``key=value,key=value``."""

    id: str
    name: str
    timezone: str
    region: str
    language: str
    block: str
    ports: Sequence[str]
    devices: Sequence[str]


def compose(wishes: Wishes, now_ms: int) -> bytes:
    """The site file; ConfigError names the option that does not fit. A ratio without ``from`` counts from today on."""
    if wishes.timezone not in available_timezones():
        raise ConfigError("--timezone", repr(wishes.timezone), "a time zone like Asia/Shanghai")
    today = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(wishes.timezone)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    ports = [_table("port", pairs(text, "--port", PORT_KEYS)) for text in wishes.ports]
    devices = [_device(pairs(text, "--device", DEVICE_KEYS + RATIO_KEYS), today) for text in wishes.devices]
    head = {"id": wishes.id, "name": wishes.name, "timezone": wishes.timezone, "language": wishes.language}
    optional = {"region": wishes.region, "block": wishes.block}
    site = _lines(head | {key: value for key, value in optional.items() if value})
    text = "".join(["schema = 1\n\n[site]\n", site, *ports, *devices])
    sites.load(text.encode(), "site.toml")
    return text.encode()


def pairs(text: str, option: str, known: Sequence[str]) -> dict[str, str]:
    """``key=value,key=value`` with known keys, each once; ConfigError."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in known:
            raise ConfigError(f"{option} {text}", repr(part.strip()), "key=value with a key of " + ", ".join(known))
        if key in found:
            raise ConfigError(f"{option} {text}", f"{key!r} a second time", "each key once")
        found[key] = value.strip()
    return found


def _device(found: dict[str, str], today: datetime) -> str:
    ratio = {key: found.pop(key) for key in RATIO_KEYS if key in found}
    table = _table("device", found)
    if not ratio:
        return table
    since = _instant(ratio.pop("from", today.isoformat()), today)
    rest = "".join([f", {key} = {_quoted(value)}" for key, value in ratio.items()])
    return f"{table}ratios = [{{ from = {since}{rest} }}]\n"


def _instant(text: str, today: datetime) -> str:
    """An instant with its offset; a date alone begins in the site's zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("--device from", repr(text), "a date like 2026-10-01") from error
    return found.replace(tzinfo=found.tzinfo or today.tzinfo).isoformat()


def _table(name: str, entries: dict[str, str]) -> str:
    return f"\n[[{name}]]\n" + _lines(entries)


def _lines(entries: dict[str, str]) -> str:
    return "".join([f"{key} = {_quoted(value)}\n" for key, value in entries.items()])


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
