"""An account from a file alone: no store, no server, nothing kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloud.accounting import activity_file, proofs, restated
from cloud.accounting import factors as factor_sets
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.activity_file import ActivityFile
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.factors import NATIONAL, Basis, FactorSet
from cloud.accounting.given import Entry
from cloud.accounting.inventory import Inventory, Kind
from cloud.accounting.library import Library
from cloud.accounting.method import GwpSet, Method
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Subject
from protocols.errors import ConfigError, FactorError

KINDS: Mapping[str, Kind] = {"building": "building", "park": "park", "community": "community"}
"""Kind of the subject by the category of its method; an enterprise by default."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; "" or None: as the file says, and where it says nothing as is usual."""

    method: str
    period: str
    region: str = ""
    basis: Basis | None = None
    gwp: GwpSet | None = None
    factors: str = ""


def calculate(path: Path, asked: Asked) -> Inventory:
    """The inventory of an activity file; ConfigError, MethodError, FactorError, UnitError, AccountError."""
    file = _read(path)
    period = _period(asked)
    method = _method(file, asked, period)
    return _draw(file, method, period, asked, _entries(path, file, method, period))


def apart(path: Path, asked: Asked, other: str) -> tuple[Inventory, Inventory]:
    """The inventories of one activity file under two methods; MethodError where the other has no row for an entry."""
    file = _read(path)
    period = _period(asked)
    before, after = _method(file, asked, period), methods.choose(other, *period.days())
    entries = _entries(path, file, before, period)
    again = tuple(restated.entries(entries, before, after))
    return _draw(file, before, period, asked, entries), _draw(file, after, period, asked, again)


def factor_set(chosen: str) -> FactorSet:
    """The built-in grid factors, or those of a file or folder; ConfigError, FactorError for another set than named."""
    if not chosen:
        return factor_sets.builtin()
    path = Path(chosen)
    if path.is_dir():
        return factor_sets.load({one.name: one.read_bytes() for one in sorted(path.glob("*.toml"))})
    if path.is_file():
        return factor_sets.load({path.name: path.read_bytes()})
    known = factor_sets.builtin()
    if len(chosen) < 8 or not known.sha256.startswith(chosen):
        raise FactorError(f"--factors: found {chosen!r}, expected a file, a folder or the set {known.sha256[:16]}")
    return known


def _read(path: Path) -> ActivityFile:
    try:
        return activity_file.read(path.name, path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--activity {path}", str(error.strerror), "a file that can be read") from error


def _method(file: ActivityFile, asked: Asked, period: Period) -> Method:
    name = asked.method or file.method
    if not name:
        raise ConfigError("--method", "none, and none in the file", "an id of `tanmeter method list`")
    return methods.choose(name, *period.days())


def _period(asked: Asked) -> Period:
    if not asked.period:
        raise ConfigError("--period", "none", "2025-06, 2025, 2025-06-01 or 2025-01-01--2025-04-01")
    return periods.parse(asked.period, ZONE)


def _entries(path: Path, file: ActivityFile, method: Method, period: Period) -> tuple[Entry, ...]:
    found = tuple(activity_file.entries(path.name, file, method, *period.days()))
    proofs.check(path.name, found, method)
    return found


def _draw(file: ActivityFile, method: Method, period: Period, asked: Asked, entries: tuple[Entry, ...]) -> Inventory:
    subject = Subject(
        id=file.subject,
        zh=file.subject,
        en=file.subject,
        kind=KINDS.get(method.category, "enterprise"),
        category=method.category,  # type: ignore[arg-type]
        method=method.id,
        region=asked.region or file.region or NATIONAL,
        basis=asked.basis or _basis(file),
        gwp=asked.gwp,
    )
    return draw(subject, method, period, Library(factor_set(asked.factors), {}), Drawn(entries, period.end))


def _basis(file: ActivityFile) -> Basis:
    match file.basis:
        case "" | "average":
            return "average"
        case "residual" | "fossil":
            return file.basis
    raise ConfigError("basis", repr(file.basis), "average, residual or fossil")
