"""What waits of a gateway is entered in its accounts: behind the answer, some blocks together, a stretch at a time.

A block after a long outage closes every quarter of an hour in it, a correction dates weeks of blocks, and registers
that jump back and forth are looked at one by one. What that comes to is found and written in several transactions, so
that nobody else waits for all of it. Until the last of them the gateway counts as not booked from the first of these
blocks on: where the process ends before, it is all made again, and the rows that were written already are written once
more, as they are.
"""

from itertools import islice
from math import inf

from cloud import dated_rows, dating, unbooked
from cloud.dating import Line
from cloud.ingest import Examiner, Opened
from cloud.ledger import Ledger
from cloud.rot import Place
from cloud.taking import Desk, Patience
from cloud.unbooked import Entered
from drivers.steps import as_far
from protocols.errors import ProtocolError, RecordError
from protocols.record.block import Header

ROWS_AT_ONCE = 256
"""Of intervals: some milliseconds."""
DATED_AT_ONCE, READ_AT_ONCE = 32, 4096
"""Blocks that a correction dates before their rows are written, for weeks of them would not fit in memory; and readings
of blocks after which no more are read from the file before what they come to is booked.
"""


class Entering:
    """Enters what waits of one gateway, within a transaction."""

    def __init__(self, ledger: Ledger, examiner: Examiner, desk: Desk) -> None:
        self._ledger, self._examiner, self._desk = ledger, examiner, desk

    def enter(self, patience: Patience, together: float = inf) -> bool:
        """Enter as much as there is time for, but something; whether nothing waits any more.

        ``together``: how many readings are entered at a time, about; the fewer, the sooner it is seen that time is up.
        """
        waiting = self._desk.waiting
        while waiting:
            if waiting.entered is None:
                if not self._read(patience):
                    break
                waiting.entered = self._gather(patience, together)
            if not self._write(waiting.entered, patience):
                break
            waiting.entered = None
            if patience.is_over(is_read=True):
                break
        return not waiting

    def _gather(self, patience: Patience, together: float) -> Entered:
        """The blocks that wait, in the books; up to one that dates others, for what it dates is written first."""
        book, waiting, dated = self._desk.book, self._desk.waiting, list[tuple[Header, int]]()
        least = waiting.weight - together
        while (block := waiting.first) is not None:
            if not block.dated:
                book.show(block.header, block.content)
            elif (line := dating.correction(block.header)) is None:
                book.book(block.header, block.content)
            else:
                if self._date(line, block.header, dated, patience):
                    book.book(block.header, block.content)
                    waiting.drop()
                break
            waiting.drop()
            if waiting.weight <= least or book.is_full or patience.is_over(is_read=True):
                break
        return Entered(book.take(), dated)

    def _date(self, line: Line, header: Header, dated: list[tuple[Header, int]], patience: Patience) -> bool:
        """Book earlier blocks whose time this block makes known; they are read again from the file. Whether it is all.

        They come before the block itself.
        """
        desk, ledger, readings = self._desk, self._ledger, 0
        for seq in dated_rows.pending(ledger.db, header, desk.waiting.dated_to):
            over = len(dated) == DATED_AT_ONCE or readings >= READ_AT_ONCE
            if over or (dated and patience.is_spent()):
                return False
            is_read, earlier = self._again((line.epoch, seq), patience)
            if not is_read:
                return False
            desk.waiting.dated_to = seq
            if earlier is not None and earlier.content is not None:
                dated.append((line.date(earlier.header), header.seq))
                desk.book.book(dated[-1][0], earlier.content)
                readings += earlier.content.readings
        return True

    def _read(self, patience: Patience) -> bool:
        """Where all that waits lies in the file alone, read some of it again; whether anything can be entered."""
        waiting, readings = self._desk.waiting, 0
        if waiting.first is not None:
            return True
        while waiting.unread and readings < READ_AT_ONCE:
            is_read, opened = self._again(waiting.unread[0].place, patience)
            if not is_read:
                break
            readings += waiting.unread[0].weight
            waiting.read(opened)
            if patience.is_spent():
                break
        return waiting.first is not None or not waiting.unread

    def _again(self, place: Place, patience: Patience) -> tuple[bool, Opened | None]:
        """Read a block from the file, as far as there is time, and on from there in the next turn. Whether that is all
        of it, and what it is: None for one that is damaged, of which somebody is told.
        """
        desk, begun, again = self._desk, self._desk.waiting.begun, self._examiner.again
        try:
            reading = begun.pop(place, None) or again(desk.key, desk.holdings, desk.holdings.frame(*place))
            opened = as_far(reading, patience.is_spent)
        except (RecordError, ProtocolError) as error:
            self._ledger.tell(desk.gateway, "damaged", place, f"{error.code} {error}")
            return True, None
        if opened is None:
            begun[place] = reading
        return opened is not None, opened

    def _write(self, entered: Entered, patience: Patience) -> bool:
        """Write down what blocks come to; whether it is all.

        An interval that was open stays so up to the last transaction, which takes it out of the row of the open ones:
        whoever reads in between would find it twice.
        """
        desk, ledger = self._desk, self._ledger
        if entered.changes is None:
            if (changes := as_far(entered.work, patience.is_spent)) is None:
                return False
            entered.changes, entered.rows = changes, iter(changes.moved.intervals)
        while rows := list(islice(entered.rows, ROWS_AT_ONCE)):
            is_more = len(rows) == ROWS_AT_ONCE
            if is_more:
                entered.were_open += [row for row in rows if row in desk.open]
                rows = [row for row in rows if row not in desk.open]
            ledger.intervals(desk.gateway, rows, desk.open)
            if is_more and patience.is_over(is_read=True):
                return False
        ledger.intervals(desk.gateway, entered.were_open, desk.open)
        ledger.book(desk.gateway, entered.changes, desk.open)
        for header, by_seq in entered.dated:
            dated_rows.date(ledger.db, header, by_seq)
        unbooked.leave(ledger.db, desk.gateway, desk.waiting, [by_seq for _, by_seq in entered.dated])
        return True
