"""What has come to the store since: of which sites, and where it lies. Asked of the file, so that nobody can forget it.

Intervals have their ingest numbers, statements are among the ``facts``, and of gateways it is read where they stand.
"""

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from cloud import ingest_numbers


class Seen(NamedTuple):
    """How far somebody has looked: the newest ingest number and the newest fact."""

    ingest_seq: int = 0
    fact: int = 0


class Standing(NamedTuple):
    """Where the gateways of a site stand: how many, how many of them are revoked and have a dated block, the numbers of
    their configurations together, and up to when (UTC ms) those with a dated block have all delivered, and all that are
    not revoked (0: not yet).
    """

    site: str
    gateways: int
    revoked: int
    dated: int
    configured: int
    delivered: int
    expected: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What changes when a gateway is enrolled, revoked, has its first dated block, or is configured anew."""
        return self.gateways, self.revoked, self.dated, self.configured


class Late(NamedTuple):
    """Intervals of a site that begin at ``start`` (UTC ms): the newest ingest number among them."""

    site: str
    start: int
    ingest_seq: int


class Issued(NamedTuple):
    """A version of a statement."""

    site: str
    period: str
    version: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What one unchanging view of the file showed. ``rotten``: the sites of which open intervals have come that cannot
    be read, and may begin at any time; ``issued``: the versions of statements that were kept since.
    """

    seen: Seen
    standings: list[Standing]
    late: list[Late]
    rotten: frozenset[str]
    issued: set[Issued]


def since(db: sqlite3.Connection, seen: Seen, before: int) -> Changes:
    """What came behind ``seen``; of intervals, those that begin before an instant (UTC ms).

    Of open ones that have rotted only the sites are told, or nobody would hear of the others.
    """
    ingest_seq = ingest_numbers.newest(db)
    (fact,) = db.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()
    standings = [Standing(*row) for row in db.execute(_STANDINGS)]
    late, rotten, issued = list[Late](), frozenset[str](), set[Issued]()
    if before and ingest_seq > seen.ingest_seq:
        late = [Late(*row) for row in db.execute(_LATE, (seen.ingest_seq, before))]
        rotten = frozenset(site for (site,) in db.execute(_ROTTEN, (seen.ingest_seq,)))
    if fact > seen.fact:
        issued = {Issued(*row) for row in db.execute(_ISSUED, (seen.fact,))}
    return Changes(Seen(ingest_seq, fact), standings, late, rotten, issued)


def starts(db: sqlite3.Connection, gateway: bytes, start: int, end: int, after: int) -> dict[int, int]:
    """Where intervals of a gateway that changed behind an ingest number begin in [start, end) (UTC ms), and the newest
    ingest number of each.
    """
    return dict(db.execute(_STARTS, (gateway, start, end, after)))


_STANDINGS = (
    "SELECT site, count(*), count(revoked_at), count(block_end), sum(config_number), coalesce(min(block_end), 0),"
    " coalesce(min(CASE WHEN revoked_at IS NULL THEN coalesce(block_end, 0) END), 0) FROM gateways GROUP BY site"
)
_OPEN = (
    "SELECT o.gateway, json_extract(one.value, '$[2]') AS start, json_extract(one.value, '$[29]') AS ingest_seq"
    " FROM open_intervals AS o, json_each(o.rows) AS one"
)
_WHOLE = _OPEN.replace("json_each(o.rows)", "json_each(iif(json_valid(o.rows), o.rows, '[]'))")
_LATE = (
    "SELECT g.site, own.start, max(own.ingest_seq) FROM (SELECT gateway, start, ingest_seq FROM closed_intervals"
    " INDEXED BY intervals_cursor WHERE ingest_seq > ?1 AND start < ?2"
    f" UNION ALL SELECT * FROM ({_WHOLE} WHERE o.newest > ?1) WHERE start < ?2 AND ingest_seq > ?1) AS own"
    " JOIN gateways AS g ON g.gateway = own.gateway GROUP BY g.site, own.start"
)
_ROTTEN = (
    "SELECT g.site FROM open_intervals AS o JOIN gateways AS g ON g.gateway = o.gateway"
    " WHERE o.newest > ? AND NOT json_valid(o.rows)"
)
_SERIES = (
    "WITH RECURSIVE devices (device) AS (SELECT min(device) FROM closed_intervals WHERE gateway = ?1"
    " UNION ALL SELECT (SELECT min(device) FROM closed_intervals WHERE gateway = ?1 AND device > last.device)"
    " FROM devices AS last WHERE last.device IS NOT NULL),"
    " series (device, point) AS (SELECT device, (SELECT min(c.point) FROM closed_intervals AS c WHERE c.gateway = ?1"
    " AND c.device = devices.device) FROM devices WHERE device IS NOT NULL"
    " UNION ALL SELECT last.device, (SELECT min(c.point) FROM closed_intervals AS c WHERE c.gateway = ?1"
    " AND c.device = last.device AND c.point > last.point) FROM series AS last WHERE last.point IS NOT NULL)"
)
"""The series of a gateway that have a closed interval, one after another along the primary key; a point that is NULL is
none. Without them there is no key for a stretch of time, and each row that the gateway ever had is read.
"""
_STARTS = (
    f"{_SERIES} SELECT start, max(ingest_seq) FROM (SELECT c.start, c.ingest_seq FROM series AS s"
    " CROSS JOIN closed_intervals AS c WHERE c.gateway = ?1 AND c.device = s.device AND c.point = s.point"
    " AND c.start >= ?2 AND c.start < ?3"
    f" UNION ALL SELECT start, ingest_seq FROM ({_OPEN} WHERE o.gateway = ?1 AND o.newest > ?4)"
    " WHERE start >= ?2 AND start < ?3) WHERE ingest_seq > ?4 GROUP BY start"
)
_ISSUED = (
    "SELECT s.site, s.period, s.version FROM facts AS f JOIN statements AS s ON s.id = f.name AND s.version = f.number"
    " WHERE f.id > ? AND f.kind = 'statement'"
)
