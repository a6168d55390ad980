"""Early warning out of the store: signals of every subject whose account changed, judged, and logged in the journal.

An event is an entry of the journal (kind ``warning``, version: which event of that warning), so it is copied, restored
and read in order like all else that was decided. Nothing is ever changed in it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from cloud import accounts, cross_checks, indicators, shared_meters, subjects
from cloud.accounting import headline, signals, uncertainty, warning
from cloud.accounting import period as periods
from cloud.accounting.signals import Kind, Signal
from cloud.accounting.signed_acknowledgement import open_acknowledgement
from cloud.accounting.subject import ZONE, Subject
from cloud.accounting.warning import Alarm, Event
from cloud.bindings import Places
from cloud.city import City, Standing
from cloud.packed import pack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import AccountError, ConfigError, LockedError, OvertakenError, RottenError, UnknownNameError
from protocols.record.cose import kid_of

KIND = "warning"
SOURCES = ("account", "subject", "check")
"""What in the journal may raise or clear something."""
MOST = 10_000
TRIES = 3


class Watch:
    """Who is to be judged, with what it remembers: a new one judges once everybody whom the journal names.

    A subject is judged when its account, its file or a check of it has come, and with a meter where a gateway was set
    up anew. Who could not be judged waits on.
    """

    def __init__(self, city: City) -> None:
        self._city = city
        self._facts, self._entry = 0, 0
        self._waiting = set[str]()
        self._known: Mapping[str, Subject] = {}
        self._set_up = 0
        self._places = Places.of((), ())

    def waiting(self) -> list[str]:
        """The subjects (ids) to be judged; those that ``judge`` has not done since they were named are among them."""
        facts, near = set_up(self._city, self._facts)
        entry, changed = concerned(self._city, self._entry)
        self._waiting |= {*near, *changed}
        self._facts, self._entry = facts, entry
        return sorted(self._waiting)

    def judge(self, name: str, now: int) -> list[Event]:
        """What happened to the warnings of a subject that waits, at ``now`` (UTC ms). Where it cannot be read, it waits
        on.
        """
        found = judge(self._city, name, self._whose(), now)
        self._waiting.discard(name)
        return found

    def _whose(self) -> Places:
        """Which meter is whose, made anew when a subject or a gateway is another than it was."""
        known, (facts, moved) = self._city.subjects(), self._city.store.set_up(self._set_up)
        if known is not self._known or moved:
            self._places = Places.of(self._city.store.gateways(), known.values())
        self._known, self._set_up = known, facts
        return self._places


def listing(
    store: Store, subject: str | None = None, *, standing: bool = False, kind: Kind | None = None
) -> list[Alarm]:
    """Every warning as it stands, critical ones first, then the newest; ``standing``: only those that are not over.

    One whose log has rotted is among them, as unreadable.
    """
    rows = store.entries(KIND, subject=subject, named=None if kind is None else f"-{kind}-")
    found = [_shown(store, row) for row in rows]
    chosen = [one for one in found if kind in (None, one.kind) and (one.standing or not standing)]
    chosen.sort(key=lambda one: (one.since, one.id), reverse=True)
    return sorted(chosen, key=lambda one: not (one.critical and one.standing))


def get(store: Store, name: str) -> Alarm:
    """A warning by its id; UnknownNameError, RottenError where its log cannot be read."""
    found = _stands(store, name)
    if found is None:
        raise UnknownNameError("warning", name, "one that `account warnings` lists")
    return found


def history(store: Store, name: str) -> list[Event]:
    """What happened to a warning, oldest first; RottenError."""
    return [_event(row) for row in store.entry_versions(KIND, name)]


def acknowledge(store: Store, name: str, by: str, why: str, now: int) -> Alarm:
    """Somebody has seen a warning; UnknownNameError, LockedError, ConfigError, OvertakenError when it moved."""
    standing = get(store, name)
    _log(store, standing.events, warning.acknowledge(standing, by, why, periods.stamp(now, ZONE)), now)
    return get(store, name)


def take_signed(store: Store, name: str, envelope: bytes, now: int) -> Alarm:
    """The same from afar, under the key of a registered signer, whose name stands in the log; the envelope is kept.

    EnrolmentError for any other key, SignatureError, EncodingError; LockedError where the warning is another one, or is
    no longer as whoever signed it has seen it.
    """
    key, by = subjects.signer(store, kid_of(envelope))
    said, standing = open_acknowledgement(envelope, key), get(store, name)
    if (said.warning, said.events) != (name, standing.events):
        raise LockedError(
            f"{name}: found {said.warning} after {said.events} events signed, expected it after {standing.events}: look"
            " at it again"
        )
    event = warning.acknowledge(standing, by, said.why, periods.stamp(now, ZONE))
    _log(store, standing.events, event, now, body=pack(envelope))
    return get(store, name)


def watch(city: City, after: int, now: int) -> tuple[int, list[Event]]:
    """Judge everybody whom the journal concerns behind this entry of it; where it came to, and what happened."""
    after, names = concerned(city, after)
    return after, judge_each(city, names, now)


def concerned(city: City, after: int) -> tuple[int, list[str]]:
    """Whose accounts, file or checks changed behind this entry of the journal, who shares a meter, all above them."""
    changed: set[str] = set()
    while rows := city.store.journal(after, MOST, SOURCES):
        after = rows[-1].number
        changed |= {row.subject for row in rows}
    if not changed:
        return after, []
    changed |= set(_sharing(city.store))
    return after, sorted(_concerned(city, changed))


def set_up(city: City, after: int) -> tuple[int, list[str]]:
    """Who has a main meter where a gateway was enrolled or set up anew behind this fact of the store."""
    after, changed = city.store.set_up(after)
    if not changed:
        return after, []
    places = Places.of((), city.subjects().values())
    near = {place for one in city.store.gateways() if one.id in changed for place in (one.id.hex(), one.site)}
    return after, sorted({subject.id for place in near for subject, _ in places.meters.get(place, ())})


def judge_each(city: City, names: Iterable[str], now: int) -> list[Event]:
    """What happened to the warnings of these subjects; RottenError of those that cannot be read, when all are done."""
    places, happened, rotten = Places.of(city.store.gateways(), city.subjects().values()), list[Event](), list[str]()
    for name in names:
        try:
            happened += judge(city, name, places, now)
        except RottenError as error:
            rotten.append(f"{name} ({error})")
    if rotten:
        raise RottenError(f"{city.store.path}: found rows that cannot be read, of {'; '.join(rotten)}; expected none")
    return happened


def judge(city: City, subject: str, places: Places, now: int) -> list[Event]:
    """What the signals of a subject make of its warnings, logged. One that cannot be reckoned says only who shares."""
    known, happened = signals.levels(), []
    for signal in _signals(city, subject, places):
        for _ in range(TRIES):
            standing = _stands(city.store, warning.name(signal.kind, signal.subject, signal.about))
            event = warning.judge(standing, signal, known[signal.kind], periods.stamp(now, ZONE))
            if event is None:
                break
            try:
                _log(city.store, standing.events if standing else 0, event, now)
            except OvertakenError:
                continue
            happened.append(event)
            break
    return happened


def _signals(city: City, name: str, places: Places) -> list[Signal]:
    try:
        subject = city.subject(name)
    except UnknownNameError:
        return []
    shared = list(_shared(city, subject, places))
    try:
        return [*shared, *of_subject(city, subject)]
    except (AccountError, ConfigError):
        return shared


def of_subject(city: City, subject: Subject) -> Iterator[Signal]:
    """Every signal that can be given of a subject as its newest accounts stand."""
    months = city.months(subject.id)
    if months:
        newest = months[-1].tally
        held, due = newest.coverage.readings, newest.coverage.expected
        yield from _some([signals.missing(subject.id, "", held, due, newest.estimated)])
        yield from _some([_wider(city, subject, months)])
        yield from _drifts(subject, months)
        yield from _some(_stacks(city, subject, months[-1]))
    for target in subject.target:
        found = indicators.aim(city, subject, target)
        if found.telling:
            yield from _some([signals.burning(subject.id, found.burn)])


def _shared(city: City, subject: Subject, places: Places) -> Iterator[Signal]:
    """Of each meter that others count too, and of those that they counted and no longer do."""
    found = list(shared_meters.judged(city.store, places, city.subjects(), subject))
    yield from found
    for one in listing(city.store, subject.id, standing=True, kind="shared"):
        if one.state == "unreadable":
            raise RottenError(f"warning {one.id}: found events that cannot be read, expected those it was logged with")
        if one.about not in {signal.about for signal in found}:
            yield signals.shared(subject.id, one.about, 1, one.figures)


def _sharing(store: Store) -> Iterator[str]:
    """Who has a warning that others count a meter too; one whose rows have rotted may stand."""
    for row in store.entries(KIND, named="-shared-"):
        standing = _shown(store, row)
        if standing.kind == "shared" and standing.standing:
            yield row.subject


def _drifts(subject: Subject, months: list[Standing]) -> Iterator[Signal]:
    for kind, product in dict.fromkeys((one.kind, one.product) for one in subject.denominator):
        values: dict[str, Decimal] = {}
        for one in months:
            period = accounts.period_of(one.tally.period)
            left_out = (headline.LEFT_OUT,) if one.tally.extent.left_out else ()
            total = headline.Total(one.tally.totals.total, (one.reference,), left_out)
            value = headline.ratio(total, subject.denominator, period, kind, product).value
            values |= {} if value is None else {one.tally.period: value}
        about = "-".join(part for part in (kind, product) if part)
        before = [values.get(f"{int(month[:4]) - 1:04}{month[4:]}") for month in values]
        yield from signals.drift(subject.id, about, list(values.values()), before=before)


def _wider(city: City, subject: Subject, months: list[Standing]) -> Signal | None:
    """The newest month's uncertainty against that of the month before it, where both are known."""
    widths: list[Decimal | None] = []
    for one in months[-2:]:
        found = uncertainty.uncertainty(accounts.get(city.store, one.reference).content.lines)
        widths.append(found.percent)
    return signals.wider(subject.id, "", widths[1], widths[0]) if len(widths) > 1 else None


def _stacks(city: City, subject: Subject, newest: Standing) -> Iterator[Signal | None]:
    """Measured against calculated mass of every stack that is measured beside the newest month."""
    for stack in cross_checks.stacks(city.store, accounts.get(city.store, newest.reference).content):
        yield signals.flue_gas(subject.id, stack.id, stack.en)


def _concerned(city: City, changed: Iterable[str]) -> set[str]:
    """Who changed, and every whole above them: their targets burn too."""
    known, found, waiting = city.subjects(), set[str](), list(changed)
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting += [one.of for one in known[name].membership]
    return found


def _some(found: Iterable[Signal | None]) -> Iterator[Signal]:
    return (one for one in found if one is not None)


def _shown(store: Store, newest: JournalRow) -> Alarm:
    """The warning whose newest event this is, readable or not."""
    try:
        standing = _stands(store, newest.id)
    except RottenError:
        standing = None
    if standing is None:
        return warning.unreadable(newest.id, newest.subject, periods.stamp(newest.at, ZONE), newest.version)
    return standing


def _stands(store: Store, name: str) -> Alarm | None:
    return warning.stands(_event(row) for row in store.entry_versions(KIND, name))


def _event(row: JournalRow) -> Event:
    """What an entry says happened; RottenError when it is not what was logged."""
    name, content = f"warning {row.id}, event {row.version}", str(row.detail).encode()
    if (found := hashlib.sha256(content).hexdigest()) != row.digest:
        raise RottenError(f"{name}: found content {found}, expected {row.digest}")
    return msgspec.json.decode(content, type=Event)


def _log(store: Store, before: int, event: Event, now: int, *, body: bytes = b"") -> None:
    """The next event of a warning; OvertakenError when another one has come between."""
    name = warning.name(event.kind, event.subject, event.about)
    detail = msgspec.json.encode(event)
    digest = hashlib.sha256(detail).hexdigest()
    place = (KIND, name, before + 1, event.subject, "", digest)
    store.keep([JournalRow(0, *place, now, event.by, detail.decode(), body)])
