"""What an account is drawn up with: the method's own sets, and those that its subject names in their place. Pure.

A subject file says `set = "city-lab-2026"`, `over = "ndrc-24-2015-fuels"`, from when: then each value that both have is
taken from the former, and the line names it, its digest and the value that stepped back. It is never chosen by being
newer, and what only the former has is not taken: with `over` left out the set stands beside those of the method, and
what two of them have is refused. As an edition, an override is of a whole period: over a part of it, it is refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from cloud.accounting import adoption, factors
from cloud.accounting import method as methods
from cloud.accounting.factors import FactorSet
from cloud.accounting.library import Library
from cloud.accounting.line import Line
from cloud.accounting.method import Method
from cloud.accounting.parameters import ParameterSet
from cloud.accounting.subject import Override, Subject
from protocols.errors import ConfigError, FactorError


@dataclass(frozen=True, slots=True)
class InUse:
    """A method and grid factors as they stand for one subject over one period; ``sets``: digest of every set, by id."""

    method: Method
    factors: FactorSet
    sets: Mapping[str, str]


def in_use(library: Library, subject: Subject, method: Method, first: date, last: date) -> InUse:
    """What stands for a subject over the days ``first`` up to ``last``. FactorError says what does not go together."""
    if not library.bundles and not subject.factors:
        return InUse(method, library.factors, {one.id: one.sha256 for one in method.sets})
    named = tuple(one for one in subject.factors if _over(one, subject, method, first, last))
    key = (method.sha256, named)
    if key not in library.known:
        library.known[key] = _put_together(library, method, named)
    found: InUse = library.known[key]
    return found


def retired(library: Library, lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """What lines were drawn up with that has been retired since: its id, and what stands in its place."""
    grid = (*library.factors.factors, *(one for name in library.aside for one in library.grid(name).factors))
    out = {one.id: one.replaced_by for one in grid if one.status == "RETIRED"}
    for held in library.sets.values():
        out |= {one.id: one.replaced_by for one in held.values.values() if one.status == "RETIRED"}
    for used in (used for line in lines for used in line.parameters) if out else ():
        if used.id in out:
            yield used.id, out[used.id]


def known(library: Library, one: Override, where: str) -> None:
    """ConfigError for an override of sets that are not held, or that are not of one kind."""
    grid = {factor.set for factor in library.factors.factors}
    if one.set_ in library.aside:
        over = factors.over(f"{one.set_}.toml", library.aside[one.set_])
        if one.over != over:
            raise ConfigError(f"{where}.over", repr(one.over), f"{over!r}, as {one.set_} says in its head")
        if over not in grid:
            raise ConfigError(f"{where}.over", repr(over), f"one of {', '.join(sorted(grid))}")
        return
    for name, key in ((one.set_, "set"), (one.over, "over")):
        if name and name not in library.sets:
            raise ConfigError(f"{where}.{key}", repr(name), "a set of `tanmeter factor list`, taken in before")


def _over(one: Override, subject: Subject, method: Method, first: date, last: date) -> bool:
    """Whether an override is of these days; FactorError where it is of a part of them."""
    if one.programme not in ("", method.programme):
        return False
    since, until = max(one.since, first), min(one.until or last, last)
    if since < until and (since, until) != (first, last):
        raise FactorError(
            f"{subject.id}, {first} to {last}: found {one.set_} in use from {one.since} until"
            f" {one.until or 'further notice'}, expected it over the whole period or none of it"
        )
    return since < until


def _put_together(library: Library, method: Method, named: tuple[Override, ...]) -> InUse:
    held = [_held(library, one) for one in method.sets]
    own = {one.id for one in held}
    grid, beside = library.factors, list[ParameterSet]()
    stand: dict[str, list[ParameterSet]] = {}
    for one in named:
        if one.set_ in library.aside:
            grid = _grid(grid, library, one)
        elif one.set_ not in library.sets:
            raise FactorError(f"set {one.set_}: found none, expected one that `tanmeter factor import` took in")
        elif not one.over:
            beside.append(library.sets[one.set_])
        elif one.over in own:
            stand.setdefault(one.over, []).append(library.sets[one.set_])
    sets = (*(_overlaid(one, stand.get(one.id, [])) for one in held), *beside)
    adopted = adoption.over_method(method, library.adoptions)
    found = replace(adopted, sets=sets, under=f"{library.digest} {named}")
    if stand or beside:
        try:
            methods.check(found, f"{method.id} with {', '.join(one.set_ for one in named)}")
        except ConfigError as error:
            raise FactorError(str(error)) from error
    digests = {one.id: one.sha256 for one in (*held, *(one for over in stand.values() for one in over), *beside)}
    return InUse(found, grid, digests)


def _held(library: Library, own: ParameterSet) -> ParameterSet:
    """A set of the method as the library has it, where it has the same bytes."""
    found = library.sets.get(own.id, own)
    return found if found.sha256 == own.sha256 else own


def _overlaid(held: ParameterSet, over: list[ParameterSet]) -> ParameterSet:
    """A set in which every value that another one has, too, is that one's; FactorError for two such, or for none."""
    values = dict(held.values)
    by: dict[str, ParameterSet] = {}
    for one in over:
        shared = [symbol for symbol in one.values if symbol in held.values]
        if not shared:
            raise FactorError(f"set {one.id} over {held.id}: found no symbol that both have, expected at least one")
        for symbol in shared:
            if (other := by.setdefault(symbol, one)) is not one:
                raise FactorError(
                    f"parameter {symbol} of {held.id}: found {other.id} and {one.id} in its place, expected exactly one"
                )
            values[symbol] = replace(one.values[symbol], over=f"{held.id}:{symbol}")
    return replace(held, values=values)


def _grid(known: FactorSet, library: Library, one: Override) -> FactorSet:
    """Grid factors with those of a file in place of those of the file it is over; FactorError for two such."""
    file = library.grid(one.set_)
    found = list(known.factors)
    for new in file.factors:
        places = [index for index, old in enumerate(found) if old.place == new.place]
        if len(places) != 1 or found[places[0]].set != one.over:
            other = ", ".join(found[index].id for index in places) or "none"
            raise FactorError(f"factor {new.id}: found {other} to stand in for, expected exactly one of {one.over}")
        found[places[0]] = replace(new, over=found[places[0]].id)
    files = {**known.files, **file.files}
    return FactorSet(tuple(found), factors.load(files).sha256, files)
