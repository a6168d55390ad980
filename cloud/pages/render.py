"""Templates to HTML: one environment, the reader's language, and how numbers, times and bytes are written."""

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache, partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from drivers.quantity import short
from protocols import messages

ZONE = "Asia/Shanghai"
"""Where days begin when no site says otherwise."""

INSTANT = re.compile(
    r"(?<![\w.:/-])(?:(?:UTC )?(?P<ms>[1-4]\d{12})(?![\w/-]|[.:]\d| [(])"
    r"|(?P<text>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00))"
)
"""An instant as a detail holds it. A number before a parenthesis is a register, whose instant is in there."""
FIGURE = re.compile(r"(?<![\w.:/@-])-?\d{4,}(?:\.\d+)?(?![\w:/@-]|\.\d)")
"""A number of four digits or more in a text; no part of a date, a name or a digest."""
NOT_COUNTED = ("year", "period", "gateway", "meter", "others", "symbol", "by", "reason")
"""Gaps of warnings and findings that are filled with years and names."""
NARROW = "\u202f"
"""The narrow no-break space between groups of three digits."""

COUNTED = ("person", "each", "CNY", "1e4CNY", "1e4Nm3")
"""Units of what an intensity is divided by that have a word in each language."""
DECIMALS = 3
COOKIE = "tanmeter_lang"


def language(request: Request) -> messages.Language:
    """The language asked for by ``?lang=``, else the one chosen before, else Accept-Language, else zh."""
    chosen = request.query_params.get("lang") or request.cookies.get(COOKIE)
    if chosen == "zh":
        return "zh"
    if chosen == "en":
        return "en"
    return messages.language(request.headers.get("accept-language"))


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A template as an answer in the reader's language; a language chosen by ``?lang=`` is remembered."""
    chosen = language(request)
    zone = ZoneInfo(context.pop("zone", ZONE))
    html = (
        environment()
        .get_template(template)
        .render(
            t=partial(_text, chosen),
            coded=partial(_coded, chosen),
            lang=chosen,
            other=_with_language(request, "en" if chosen == "zh" else "zh"),
            clock=partial(clock, zone=zone),
            iso=partial(iso, zone=zone),
            dated=partial(dated, zone=zone),
            **context,
        )
    )
    answer = HTMLResponse(
        html, status, {"content-language": {"zh": "zh-CN", "en": "en"}[chosen], "cache-control": "no-cache"}
    )
    if request.query_params.get("lang") in ("zh", "en"):
        answer.set_cookie(COOKIE, chosen, max_age=31_536_000, samesite="lax", httponly=True)
    return answer


@cache
def environment() -> Environment:
    """The templates with the filters they use; an undefined name is an error, every value is escaped."""
    made = Environment(
        loader=PackageLoader("cloud.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "num": number,
            "near": near,
            "plain": plain,
            "hex": spaced,
            "brief": brief,
            "ago": partial(span, form="ago"),
            "span": span,
            "percent": percent,
            "signed": signed,
            "size": size,
            "unit": unit,
        }
    )
    return made


def number(value: Decimal | int | str | None, places: int | None = None) -> str:
    """A number in groups of three, exact unless ``places`` are asked for; an en dash for none."""
    if value is None:
        return "–"
    exact = Decimal(value)
    if places is not None and exact.is_finite():
        exact = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{exact:,f}".replace(",", NARROW).replace("-", "−")


def finding(message_id: str, lang: messages.Language, figures: Mapping[str, str]) -> str:
    """The text of a warning or a finding, its numbers in groups of three."""
    shown = {
        name: text if name in NOT_COUNTED else FIGURE.sub(lambda found: number(found[0]), text)
        for name, text in figures.items()
    }
    return messages.text(message_id, lang, **shown)


def plain(value: Decimal) -> str:
    """A number as a machine reads it."""
    return f"{value:f}"


def near(value: Decimal | None) -> str:
    """A number exactly, unless a binary float has made it long. Zeros behind the third decimal are left off."""
    if value is None or not value.is_finite():
        return number(value)
    told = short(value)
    rounded = round(told, DECIMALS)
    return number(min(told, rounded, key=_decimals) if told == rounded else told)


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def percent(value: Decimal | float | None) -> str:
    """A ratio as a percentage with one decimal; 100 % only when nothing is missing."""
    if value is None:
        return "–"
    shown = Decimal(value).scaleb(2).quantize(Decimal("0.1"))
    if shown == 100 and Decimal(value) < 1:
        shown = Decimal("99.9")
    return f"{shown.normalize():f}{NARROW}%"


def signed(value: Decimal | None) -> str:
    """A relative change as a percentage with its sign; an en dash where there is nothing to compare with."""
    if value is None:
        return "–"
    shown = value.scaleb(2).quantize(Decimal("0.1"))
    return f"{'+' if shown > 0 else ''}{number(shown)}{NARROW}%"


def unit(name: str, lang: messages.Language | None = None) -> str:
    """A unit as people write it: nothing for a pure number. ``lang``: what an intensity is for one of, in words."""
    above, slash, below = name.rpartition("/")
    if lang is not None and slash and below in COUNTED:
        name = f"{above}/{messages.text(f'page.unit.{below}', lang)}"
    written = name.replace("CO2", "CO₂").replace("m3", "m³").replace("m2", "m²").replace("degC", "°C")
    return "" if name == "1" else written


def spaced(data: bytes) -> str:
    """Bytes as hexadecimal pairs with spaces, as technicians write frames."""
    return data.hex(" ").upper()


def brief(data: bytes | str, width: int = 6) -> str:
    """The beginning and the end of a hash."""
    text = data if isinstance(data, str) else data.hex()
    return text if len(text) <= 2 * width + 1 else f"{text[:width]}…{text[-4:]}"


def size(octets: int) -> str:
    """A number of bytes for a person."""
    if octets < 1024:
        return f"{octets} B"
    return f"{octets / 1024:.1f} KiB" if octets < 1 << 20 else f"{octets / (1 << 20):.1f} MiB"


def span(ms: int, lang: messages.Language, form: Literal["span", "ago"] = "span") -> str:
    """How long ``ms`` is, or ``ago``: how long ago that was, in its largest fitting unit."""
    seconds = max(ms, 0) // 1000
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return messages.text(f"page.{form}.{unit}", lang, n=seconds // length)
    return messages.text(f"page.{form}.second", lang, n=seconds)


def clock(ms: int | None, pattern: str = "%Y-%m-%d %H:%M:%S", zone: tzinfo | None = None) -> str:
    """An instant (UTC ms) as the site's clock shows it."""
    if ms is None:
        return "–"
    try:
        return datetime.fromtimestamp(ms // 1000, zone or ZoneInfo(ZONE)).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


@lru_cache(maxsize=4096)
def iso(ms: int | None, zone: tzinfo | None = None) -> str:
    """An instant (UTC ms) in RFC 3339 with the offset, ms only when there are any; as ms where no calendar reaches."""
    if ms is None:
        return ""
    try:
        shown = datetime.fromtimestamp(ms // 1000, zone or ZoneInfo(ZONE)).replace(microsecond=ms % 1000 * 1000)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
    return shown.isoformat(timespec="milliseconds" if ms % 1000 else "seconds")


def dated(detail: str, zone: tzinfo | None = None) -> str:
    """A stored sentence with the instants in it, in UTC ms or RFC 3339, as ``iso`` writes them; a register's value and
    what lies outside the years of any record stay as they are.
    """

    def shown(found: re.Match[str]) -> str:
        if found["ms"]:
            return iso(int(found["ms"]), zone)
        return datetime.fromisoformat(found["text"]).astimezone(zone or ZoneInfo(ZONE)).isoformat(timespec="seconds")

    return INSTANT.sub(shown, detail)


def _text(chosen: messages.Language, message_id: str, **values: object) -> str:
    return messages.text(f"page.{message_id}", chosen, **values)


def _coded(chosen: messages.Language, what: str, number: int) -> str:
    """What a number stands for; the number itself where we know none: its row has rotted, or who wrote it is newer."""
    named = f"page.{what}.{number}"
    return messages.text(named, chosen) if named in messages.catalogue() else str(number)


def _with_language(request: Request, chosen: str) -> str:
    return str(request.url.include_query_params(lang=chosen).replace(scheme="", netloc=""))
