"""What stands between the sources of an account and its classes: meters below its meters, members below the whole."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from cloud import accounts, submeters
from cloud.accounting.boundary import weighted
from cloud.accounting.flow import Member, Middle, Standing
from cloud.accounting.inventory import Version
from cloud.accounting.method import Class
from cloud.city import City
from cloud.city import Standing as Account
from drivers.quantity import EXACT
from protocols.errors import AccountError


def middle(city: City, version: Version) -> Middle:
    """Both of a version, as the record and the members' newest accounts hold them now."""
    trees = submeters.trees(city.store, version)
    known = {line.class_ for line in version.content.lines if (tree := trees.get(line.digest)) and tree.known}
    members = {class_: own for class_, own in _members(city, version).items() if class_ not in known}
    return Middle(trees, members)


def _members(city: City, version: Version) -> Mapping[Class, tuple[Member, ...]]:
    """By each class that the subject's main meter has and its members break down: what each of them has of it.

    As the roll-up reckons it; nothing where the roll-up rests on another version, or where a whole among the members
    puts its own members right, for then no member's part can be told from another's.
    """
    content, period = version.content, accounts.period_of(version.content.period.id)
    subject = city.subjects().get(content.subject)
    if subject is None or not any(one.mode == "MAIN_WITH_BREAKDOWN" for one in subject.metering):
        return {}
    try:
        look = city.look(subject.id, period)
    except AccountError:
        return {}
    if version.reference not in {one.reference for one in look.standings}:
        return {}
    found: dict[Class, tuple[Member, ...]] = {}
    for residual in look.bridge.residuals:
        own = _sum(line.tco2e for line in content.lines if line.class_ == residual.class_ and line.tco2e > 0)
        members = tuple(
            member
            for one in look.standings
            if one.tally.subject != subject.id
            and (member := _member(city, one, subject.id, residual.class_)) is not None
        )
        same = (own, _sum(one.tco2e for one in members)) == (residual.main, residual.members)
        if residual.subject == subject.id and members and same:
            found[residual.class_] = members
    return found


def _member(city: City, account: Account, whole: str, class_: Class) -> Member | None:
    """What a member's account has of a class, by its share in the whole; None for nothing."""
    tally = account.tally
    membership = city.membership()
    tco2e = _sum(
        weighted(line.tco2e, membership.weight(tally.subject, whole, *accounts.period_of(tally.period).days()))
        for line in tally.lines
        if line.class_ == class_
    )
    declared = tally.quality is None or tally.quality.declared > 0 or tally.estimated > 0
    standing: Standing = "estimated" if declared else "measured"
    subject = city.subjects()[tally.subject]
    return Member(subject.id, subject.zh, subject.en, account.reference, tco2e, standing) if tco2e > 0 else None


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total
