"""tanmeter profile: list, show, test, new, sheet."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from drivers import builtin, busload, compose, profile_file, profile_text, proof, sheet, vocabulary
from drivers.driver import Driver
from drivers.profile import Identify, Profile, Text, digest
from drivers.query import Query
from drivers.site import Port
from edge.placing import meant
from protocols import messages
from protocols.errors import ConfigError
from provisioning import folder

app = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json")]
ProfileDir = Annotated[Path | None, typer.Option()]
Out = Annotated[Path | None, typer.Option("--out", "-o")]
What = Annotated[str, typer.Argument(metavar="ID|FILE")]


@dataclass(frozen=True, slots=True)
class Found:
    """A profile with the file it was read from."""

    profile: Profile
    source: bytes
    name: str


@app.command("list")
def list_(profile_dir: ProfileDir = None, as_json: Json = False) -> None:
    """Every device model that is known: id, protocol, medium, points, how far it was verified, name."""
    entries = [_entry(_find(name, profile_dir)) for name in _ids(profile_dir)]
    if as_json:
        _print({"profiles": entries})
        return
    width = max(len(entry["id"]) for entry in entries)
    for entry in entries:
        line = f"{entry['id']:{width}}  {entry['protocol']:12} {entry['medium']:12} {entry['points']:3}  "
        typer.echo(f"{line}{entry['verified']:10} {entry['title'][_language()]}")


@app.command()
def show(what: What, profile_dir: ProfileDir = None, as_json: Json = False) -> None:
    """What a model is asked, what its answers mean, what its link bears, where that was read."""
    found = _find(what, profile_dir)
    if as_json:
        shown = msgspec.to_builtins(found.profile, builtin_types=(), str_keys=True)
        _print({"profile": shown, "sha256": digest(found.source).hex()})
        return
    for line in _described(found):
        typer.echo(line)


@app.command()
def test(
    what: Annotated[list[str], typer.Argument(metavar="ID|FILE...")],
    profile_dir: ProfileDir = None,
    as_json: Json = False,
) -> None:
    """Check a profile, read its proof frames, make its plan and count its bus time."""
    results = [_examined(_find(one, profile_dir)) for one in what]
    if as_json:
        _print({"profiles": results})
        return
    for result in results:
        bus = "-" if result["bus_ms"] is None else f"{result['bus_ms']:.0f}"
        _say("profile.test.good", **result | {"bus_ms": bus, "questions": len(result["requests"])})
        for asked in result["requests"]:
            time = "" if asked["bus_ms"] is None else f"  {asked['bus_ms']:.0f} ms"
            typer.echo(f"  {asked['request']}  {len(asked['points'])} × {asked['period_ms'] / 1000:g} s{time}")


@app.command()
def new(
    source: Annotated[Path, typer.Option("--from")],
    out: Out = None,
) -> None:
    """Make a profile out of a sheet: checked, with proof frames composed where it has none."""
    from provisioning import workbook

    read = sheet.profile(workbook.read(source), str(source))
    _conventional(read, str(source))
    made = compose.proved(_titled(read), str(source))
    proof.prove(made, str(source))
    claimed, made = made.source.verified, _unproven(made)
    written = profile_text.text(made).encode()
    profile_file.load(written, str(source))
    if out is None:
        typer.echo(written.decode(), nl=False)
    else:
        folder.write(meant(out), written)
        _say("profile.new.done", id=made.id, points=len(made.points), proofs=len(made.proof), file=out)
    if claimed != made.source.verified:
        told = _text("profile.new.unproven", id=made.id, claimed=claimed, verified=made.source.verified)
        typer.echo(told, err=out is None)


@app.command("sheet")
def sheet_(
    what: What,
    out: Out = None,
    profile_dir: ProfileDir = None,
) -> None:
    """Write a profile as a sheet to look at, change, or start a similar model from."""
    from provisioning import workbook

    found = _find(what, profile_dir)
    target = out or Path(f"{found.profile.id}.xlsx")
    workbook.write(target, sheet.tables(found.profile), _language())
    _say("profile.sheet.done", file=target)


def _ids(profile_dir: Path | None) -> Iterator[str]:
    own = {path.stem for path in profile_dir.glob("*.toml")} if profile_dir is not None else set()
    yield from sorted({*builtin.builtin_ids(), *own})


def _find(what: str, profile_dir: Path | None) -> Found:
    """A profile by its file or its id, your own before ours; ConfigError when there is none or it is wrong."""
    path = Path(what)
    own = None if profile_dir is None else profile_dir / f"{what}.toml"
    if path.suffix == ".toml":
        source = folder.read(path, "a profile")
    elif own is not None and own.exists():
        source = folder.read(own, "a profile")
    else:
        source = builtin.builtin(what)
    return Found(profile_file.load(source, what), source, what)


def _entry(found: Found) -> dict[str, Any]:
    profile = found.profile
    return {
        "id": profile.id,
        "protocol": profile.protocol,
        "medium": profile.medium,
        "points": len(profile.points),
        "verified": profile.source.verified,
        "title": {"zh": profile.title.zh, "en": profile.title.en},
        "products": [f"{product.brand} {product.model}" for product in profile.products],
        "sha256": digest(found.source).hex(),
    }


def _described(found: Found) -> Iterator[str]:
    """A profile for a person."""
    profile, language = found.profile, _language()
    link = profile.link
    mode = f"{'/'.join(str(baud) for baud in link.baud)}-8{link.parity}{link.stopbits}"
    yield f"{profile.id}  {getattr(profile.title, language)}  {profile.protocol}  {profile.medium}"
    for product in profile.products:
        yield _line("fits", f"{product.brand} {product.model}" + (f" ({product.note})" if product.note else ""))
    yield _line("source", profile.source.doc)
    yield _line("verified", profile.source.verified)
    if profile.source.note:
        yield _line("note", profile.source.note)
    yield _line("link", _text("profile.show.limits", mode=mode, **msgspec.to_builtins(link)))
    if profile.options:
        yield _line("options", " ".join(f"{key}={value}" for key, value in profile.options.items()))
    if profile.identify is not None:
        yield _line("identify", _marks(profile.identify))
    yield _line("digest", digest(found.source).hex())
    for point in profile.points:
        title = getattr(point.title, language) if point.title is not None else ""
        yield f"  {point.id:28} {'' if point.unit == '1' else point.unit:6} {point.kind:8} {title}"


def _marks(identify: Identify) -> str:
    """What tells that it is this model, in a line."""
    read = identify.read
    words = f"{read.fc:02d} {read.address:04X} = {' '.join(f'{word:04X}' for word in identify.expect)}" if read else ""
    ranges = (f"{name} {low}..{high}" for name, (low, high) in identify.ranges.items())
    return ", ".join(filter(None, (words, *ranges)))


def _conventional(profile: Profile, name: str) -> None:
    """ConfigError for a point of a conventional name in a unit that its quantity is not counted in: 度, v, KWH."""
    for index, point in enumerate(profile.points):
        known = vocabulary.units(point.id)
        if known and point.unit not in known:
            raise ConfigError(
                f"{name}: points[{index}].unit ({point.id})", repr(point.unit), f"one of {', '.join(known)}"
            )


def _examined(found: Found) -> dict[str, Any]:
    """The result of ``test``; ConfigError when a proof does not come out."""
    profile = found.profile
    _conventional(profile, found.name)
    proof.prove(profile, found.name)
    asker = proof.asker(profile, profile.proof[0])
    asked: list[dict[str, Any]] = [
        {
            "request": query.request.hex(" ").upper(),
            "points": list(query.points),
            "period_ms": query.period_ms,
            "bus_ms": _bus_ms(asker, query),
        }
        for query in asker.queries()
    ]
    times = [one["bus_ms"] for one in asked]
    return {
        "id": profile.id,
        "ok": True,
        "verified": profile.source.verified,
        "points": len(profile.points),
        "proofs": len(profile.proof),
        "requests": asked,
        "bus_ms": None if None in times else round(sum(times), 3),
        "sha256": digest(found.source).hex(),
    }


def _bus_ms(asker: Driver, query: Query) -> float | None:
    """How long a question keeps a serial bus busy at the first rate of the profile; None for what speaks unasked."""
    link = asker.profile.link
    mode = f"{link.baud[0]}-8{link.parity}{link.stopbits}"
    return busload.query_ms(asker, query, Port("bus", mode=mode), mode) if query.request else None


def _unproven(profile: Profile) -> Profile:
    """The profile as ``doc-only``, unless it reads a device just as ours of that id: else nobody has checked it."""
    if profile.id in builtin.builtin_ids():
        ours = profile_file.load(builtin.builtin(profile.id), profile.id)
        if _reading(profile) == _reading(ours):
            return profile
    source = msgspec.structs.replace(profile.source, verified="doc-only")
    return msgspec.structs.replace(profile, source=source)


def _reading(profile: Profile) -> tuple[object, ...]:
    """What a check of a profile was about: by these the bytes of a device become values."""
    return profile.protocol, profile.options, profile.points


def _titled(profile: Profile) -> Profile:
    """The profile with titles for points of conventional names that have none."""
    points = tuple(
        msgspec.structs.replace(point, title=_title(point.id)) if point.title is None else point
        for point in profile.points
    )
    return msgspec.structs.replace(profile, points=points)


def _title(name: str) -> Text | None:
    """What a conventional name says in both languages; None for any other."""
    known = messages.catalogue()
    base, _, part = name.rpartition("_")
    if whole := known.get(f"quantity.{name}"):
        return Text(whole["zh"], whole["en"])
    letters, number = part.rstrip("0123456789"), part.lstrip("tq")
    of, piece = known.get(f"quantity.{base}"), known.get(f"quantity.part.{letters or 'number'}")
    if of is None or piece is None:
        return None
    return Text(*(piece[language].format(quantity=of[language], number=number) for language in ("zh", "en")))


def _print(result: dict[str, Any]) -> None:
    typer.echo(json.dumps(result, ensure_ascii=False, default=str))


def _line(label: str, value: object) -> str:
    return f"{_text(f'profile.show.{label}')}: {value}"


def _say(message_id: str, /, **values: object) -> None:
    typer.echo(_text(message_id, **values))


def _text(message_id: str, /, **values: object) -> str:
    return messages.text(message_id, _language(), **values)


def _language() -> messages.Language:
    return messages.spoken(os.environ)
