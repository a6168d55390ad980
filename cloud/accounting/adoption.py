"""An adoption: who puts a name to the very bytes of sets and methods, what of them was read in the print, what is out.

    schema = 1
    adoption = "city-2026-1"                  # the name of the file
    by = "市碳核算中心 王工"
    at = 2026-11-20

    [[file]]
    id = "ndrc-24-2015-fuels"                 # a parameter set, a file of grid factors, or a method
    sha256 = "…"
    document = "the print it was held against, edition and pages"
    document_sha256 = "…"
    confirmed = ["NCV.anthracite", "CC.anthracite"]       # or ["*"]: all that is in it

    [[file.retired]]
    name = "NCV.lignite"
    replaced_by = "city-lab-2026:NCV.lignite"
    why = "the print has another figure"

A file is never changed, so that its DRAFT becomes REVIEWED, and what is in force becomes RETIRED, only by such a word
about these bytes, signed in a bundle. What is confirmed of a method are its rows, and its own id for its head (edition,
days, GWP set). Without ``confirmed`` an adoption is a signature and changes nothing. RETIRED outweighs REVIEWED; of two
that confirm the same, the earlier one is named, so that a later one changes no account. Pure.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated

import msgspec

from cloud.accounting.factors import Factor, FactorSet
from cloud.accounting.method import Method
from cloud.accounting.parameters import ParameterSet
from cloud.accounting.standing import Status
from drivers import toml
from protocols.errors import ConfigError, FactorError

ALL = "*"
RAISED = ("DRAFT", "TRANSCRIBED")
"""What a confirmation makes REVIEWED."""
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Retired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that is withdrawn: by what it is replaced, and why."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    replaced_by: Annotated[str, msgspec.Meta(min_length=1)]
    why: str = ""


class Of(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one file, by its very bytes."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    sha256: Digest
    document: str = ""
    document_sha256: Digest | None = None
    confirmed: tuple[str, ...] = ()
    retired: tuple[Retired, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    adoption: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    by: Annotated[str, msgspec.Meta(min_length=1)]
    at: date
    file: tuple[Of, ...]


@dataclass(frozen=True, slots=True)
class Adoption:
    """One such file; ``sha256`` is over it. ``files``: what it speaks of, by digest."""

    id: str
    by: str
    at: date
    files: Mapping[str, Of]
    sha256: str


def load(name: str, source: bytes) -> Adoption:
    """The adoption in a file; ConfigError names the place that is wrong."""
    document = toml.load(source, _File, name)
    if document.schema != 1:
        raise ConfigError(f"{name}: schema", str(document.schema), "1")
    if name != f"{document.adoption}.toml":
        raise ConfigError(f"{name}: adoption", repr(document.adoption), f"{name.removesuffix('.toml')!r}, as the file")
    found: dict[str, Of] = {}
    for index, one in enumerate(document.file):
        where = f"{name}: file[{index}]"
        if one.sha256 in found:
            raise ConfigError(f"{where}.sha256", one.sha256, "each file once")
        if one.confirmed and not one.document.strip():
            raise ConfigError(f"{where}.document", "none", "the print that it was held against")
        found[one.sha256] = one
    if not found:
        raise ConfigError(f"{name}: file", "none", "at least one")
    return Adoption(document.adoption, document.by, document.at, found, hashlib.sha256(source).hexdigest())


@dataclass(frozen=True, slots=True)
class _Said:
    """All that adoptions say of one file: name -> who confirmed it first; name -> who retired it."""

    confirmed: Mapping[str, str]
    retired: Mapping[str, tuple[str, Retired]]

    def confirms(self, name: str) -> str:
        """The id of the adoption that confirms a name, "" for none."""
        return self.confirmed.get(name) or self.confirmed.get(ALL, "")


def _said(adoptions: Iterable[Adoption], sha256: str) -> _Said | None:
    """What is said of the bytes of this digest, the earliest word first; None for nothing."""
    confirmed: dict[str, str] = {}
    retired: dict[str, tuple[str, Retired]] = {}
    for adoption in sorted(adoptions, key=lambda one: (one.at, one.id)):
        of = adoption.files.get(sha256)
        if of is not None:
            for name in of.confirmed:
                confirmed.setdefault(name, adoption.id)
            for one in of.retired:
                retired.setdefault(one.name, (adoption.id, one))
    return _Said(confirmed, retired) if confirmed or retired else None


def over_set(held: ParameterSet, adoptions: Iterable[Adoption]) -> ParameterSet:
    """A parameter set as it stands after all that is said of its bytes."""
    said = _said(adoptions, held.sha256)
    if said is None:
        return held
    values = {}
    for symbol, one in held.values.items():
        if symbol in said.retired:
            by, out = said.retired[symbol]
            values[symbol] = replace(one, status="RETIRED", replaced_by=out.replaced_by, reason=out.why, adoption=by)
        elif one.status in RAISED and (by := said.confirms(symbol)):
            values[symbol] = replace(one, status="REVIEWED", reason="", adoption=by)
        else:
            values[symbol] = one
    return replace(held, values=values)


def _over_factor(one: Factor, said: _Said) -> Factor:
    """A grid factor as it stands after what is said of its file."""
    if one.id in said.retired:
        by, out = said.retired[one.id]
        return replace(one, status="RETIRED", replaced_by=out.replaced_by, reason=out.why, adoption=by)
    by = said.confirms(one.id) if one.status in RAISED else ""
    return replace(one, status="REVIEWED", reason="", adoption=by) if by else one


def over_grid(held: FactorSet, adoptions: Iterable[Adoption]) -> FactorSet:
    """Grid factors as they stand after all that is said of their files."""
    known = tuple(adoptions)
    said = {sha256: _said(known, sha256) for sha256 in {one.sha256 for one in held.factors}}
    if not any(said.values()):
        return held
    factors = tuple(one if (of := said[one.sha256]) is None else _over_factor(one, of) for one in held.factors)
    return replace(held, factors=factors)


def over_method(held: Method, adoptions: Iterable[Adoption]) -> Method:
    """A method as it stands after what is said of its file: its rows, and its head under its own id.

    FactorError for one that is retired as a whole.
    """
    said = _said(adoptions, held.sha256)
    if said is None:
        return held
    if held.id in said.retired:
        by, out = said.retired[held.id]
        raise FactorError(f"method {held.id}: found it retired by {by}, expected {out.replaced_by}")
    known = {held.id: held.status, **{name: row.status for name, row in held.rows.items()}}
    adopted = {name: by for name, status in known.items() if status in RAISED and (by := said.confirms(name))}
    retired = {name: out.replaced_by for name, (_, out) in said.retired.items()}
    status: Mapping[str, Status] = {**dict.fromkeys(adopted, "REVIEWED"), **dict.fromkeys(retired, "RETIRED")}
    rows = {name: msgspec.structs.replace(row, status=status.get(name, row.status)) for name, row in held.rows.items()}
    head = status.get(held.id, held.status)
    return replace(held, rows=rows, status=head, adopted=adopted, retired=retired)


def unknown(adoption: Adoption, names: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """What an adoption says of bytes or names that are not held; ``names``: digest of a file -> what is in it."""
    for sha256, of in adoption.files.items():
        if sha256 not in names:
            yield f"{of.id} of {sha256[:16]}"
            continue
        said = (*of.confirmed, *(one.name for one in of.retired))
        yield from (f"{of.id}: {name}" for name in said if name != ALL and name not in names[sha256])
