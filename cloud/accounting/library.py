"""All that accounts may choose from: built-in files, what bundles bring beside them, what is said of both. Pure.

- Parameter sets are chosen by the method, which names them; an imported one counts only where a subject file names it.
- Grid factors are chosen by basis, region and year. A file of years or places that nobody had joins in; one that says
  in its head over which file it is (``over``) is kept aside, and counts where a subject file names it.
- An adoption raises or retires what the very bytes it names say, for everybody.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cloud.accounting import adoption, contents, factors, parameters
from cloud.accounting.adoption import Adoption
from cloud.accounting.bundle import Bundle
from cloud.accounting.contents import Contents
from cloud.accounting.factors import Factor, FactorSet
from cloud.accounting.method import Method
from cloud.accounting.parameters import ParameterSet
from protocols.errors import ChangedError, FactorError


@dataclass(frozen=True, slots=True)
class Signed:
    """Who put a name to a file: ``published`` it in a bundle, ``adopted`` its bytes, or ``recorded`` them, as a
    collector does with what its release (``by``) brought; with which key, in which envelope (``bundle``).
    """

    how: Literal["published", "adopted", "recorded"]
    by: str
    kid: str
    bundle: str
    adoption: str = ""
    at: str = ""
    document: str = ""
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """What accounts may choose from, adoptions already heeded. ``factors``: of electricity by year, region and basis;
    ``sets``: parameters by guideline and edition; ``aside``: files of grid factors that stand over others, by id;
    ``contents``: what the collector signed of its own releases.
    """

    factors: FactorSet
    sets: Mapping[str, ParameterSet]
    aside: Mapping[str, bytes] = field(default_factory=dict)
    bundles: tuple[Bundle, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
    contents: tuple[Contents, ...] = ()
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What overrides, and what has changed, were worked out of it, kept at hand."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what is beside the built-in files; "" for nothing."""
        if not self.bundles:
            return ""
        return hashlib.sha256("\n".join(sorted(one.digest for one in self.bundles)).encode()).hexdigest()

    def grid(self, name: str) -> FactorSet:
        """The grid factors of a file that is kept aside, adoptions heeded; FactorError."""
        if name not in self.aside:
            kept = ", ".join(self.aside) or "none"
            raise FactorError(f"grid factors {name}: found none kept aside, expected one of: {kept}")
        return adoption.over_grid(_grid({f"{name}.toml": self.aside[name]}, ()), self.adoptions)

    def signed(self, sha256: str) -> Iterator[Signed]:
        """Everybody who signed for the file of this digest."""
        for bundle in self.bundles:
            for source in bundle.files.values():
                if hashlib.sha256(source).hexdigest() == sha256:
                    yield Signed("published", bundle.publisher, bundle.kid, bundle.digest)
            for word in bundle.adoptions.values():
                if (of := word.files.get(sha256)) is not None:
                    told = (word.id, word.at.isoformat(), of.document, of.confirmed)
                    yield Signed("adopted", word.by, bundle.kid, bundle.digest, *told)
        for one in self.contents:
            if sha256 in one.files.values():
                yield Signed("recorded", f"tanmeter {one.release}", one.kid, one.digest, at=one.at)

    def changed(self) -> dict[str, str]:
        """Built-in files that are others than the collector signed under their names, and that nobody has adopted."""
        key = ("changed", *(one.digest for one in self.contents))
        if key not in self.known:
            adopted = {sha256 for word in self.adoptions for sha256 in word.files}
            found = contents.compare(self.contents, contents.installed()).changed
            self.known[key] = {name: sha256 for name, sha256 in found.items() if sha256 not in adopted}
        return dict(self.known[key])

    def admit(self, digests: Collection[str]) -> None:
        """ChangedError where one of these files was changed under its name."""
        for name, sha256 in self.changed().items() if self.contents else ():
            if sha256 in digests:
                signed = next(one for one in self.contents if name in one.files)
                raise ChangedError(
                    f"{name}: found the SHA-256 {sha256[:16]}, expected {signed.files[name][:16]},"
                    f" as signed on {signed.at} of tanmeter {signed.release}"
                )

    def holding(self, digests: Collection[str]) -> list[Bundle]:
        """The bundles that publish or adopt one of these files, by the digests of the files."""
        return [
            bundle
            for bundle in self.bundles
            if any(hashlib.sha256(source).hexdigest() in digests for source in bundle.files.values())
            or any(sha256 in digests for word in bundle.adoptions.values() for sha256 in word.files)
        ]


def build(
    bundles: Iterable[Bundle] = (),
    *,
    grid: Mapping[str, bytes] | None = None,
    sets: Mapping[str, ParameterSet] | None = None,
    adopted: Collection[str] | None = None,
) -> Library:
    """The built-in library (or ``grid`` and ``sets`` in its place) with bundles beside it.

    FactorError where two of one name, id, or place and year differ. ``adopted``: digests of the adoptions to be heeded,
    all of them as a rule.
    """
    held = tuple(bundles)
    base = dict(factors.builtin().files if grid is None else grid)
    found = dict(parameters.builtin() if sets is None else sets)
    files, aside = dict(base), dict[str, bytes]()
    for bundle in held:
        for name, source in bundle.grid.items():
            _same(files if not factors.over(name, source) else aside, name, source, bundle)
        for name, one in bundle.sets.items():
            if found.setdefault(name, _imported(one)).sha256 != one.sha256:
                raise FactorError(f"set {name} of {bundle.publisher}: found other bytes than held, expected another id")
    words = _words(held, adopted)
    loaded = factors.builtin() if files == factors.builtin().files else _grid(files, base)
    _one_for_each(loaded.factors)
    factors.load({**files, **aside})
    _apart(found, (*files, *aside))
    return Library(
        factors=adoption.over_grid(loaded, words),
        sets={name: adoption.over_set(one, words) for name, one in found.items()} if words else found,
        aside={name.removesuffix(".toml"): source for name, source in aside.items()},
        bundles=held,
        adoptions=words,
    )


def check(known: Library, methods: Mapping[str, Method], named: Collection[str]) -> None:
    """FactorError for one of these adoptions that speaks of bytes or names which are not held."""
    names = {one.sha256: frozenset(one.values) for one in known.sets.values()}
    names |= {one.sha256: frozenset((one.id, *one.rows)) for one in methods.values()}
    grid: dict[str, set[str]] = {}
    for factor in (*known.factors.factors, *(one for name in known.aside for one in known.grid(name).factors)):
        grid.setdefault(factor.sha256, set()).add(factor.id)
    names |= {sha256: frozenset(ids) for sha256, ids in grid.items()}
    for word in (one for one in known.adoptions if one.id in named):
        if missing := list(adoption.unknown(word, names)):
            raise FactorError(
                f"adoption {word.id}: found it to speak of {'; '.join(missing[:3])}, expected files and names held here"
            )


def _imported(held: ParameterSet) -> ParameterSet:
    return replace(held, values={symbol: replace(one, imported=True) for symbol, one in held.values.items()})


def _grid(files: Mapping[str, bytes], base: Collection[str]) -> FactorSet:
    """The grid factors of files, of which those named in ``base`` are built in."""
    found = factors.load(files)
    return replace(found, factors=tuple(replace(one, imported=one.file not in base) for one in found.factors))


def _same(files: dict[str, bytes], name: str, source: bytes, bundle: Bundle) -> None:
    if files.setdefault(name, source) != source:
        raise FactorError(f"{name} of {bundle.publisher}: found other bytes than held, expected another name")


def _words(bundles: Iterable[Bundle], adopted: Collection[str] | None) -> tuple[Adoption, ...]:
    """The adoptions to be heeded, by id; FactorError for two of one id."""
    found: dict[str, Adoption] = {}
    for bundle in bundles:
        for name, word in bundle.adoptions.items():
            if found.setdefault(name, word).sha256 != word.sha256:
                raise FactorError(f"adoption {name}: found other bytes than held, expected another id")
    return tuple(word for word in found.values() if adopted is None or word.sha256 in adopted)


def _apart(sets: Mapping[str, ParameterSet], grid: Iterable[str]) -> None:
    """FactorError for a file of grid factors that has the id of a parameter set: an override names them by id."""
    for name in grid:
        if name.removesuffix(".toml") in sets:
            raise FactorError(f"{name}: found grid factors under the id of a parameter set, expected another name")


def _one_for_each(known: Iterable[Factor]) -> None:
    """FactorError where two factors are of one basis, region and year: every account there would be refused."""
    held: dict[tuple[str, str, int], Factor] = {}
    for one in known:
        other = held.setdefault(one.place, one)
        if other is not one:
            raise FactorError(
                f"{one.file}: found {one.id}, but {other.id} of {other.file} is of the same basis, region and year;"
                f' expected exactly one, or over = "{other.set}" in its head, to be used where a subject file says so'
            )
