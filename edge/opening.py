"""How the store is opened at a start: as it is, or, when it is damaged, lost or has gone back, with a new epoch.

Nothing is deleted: a damaged store is renamed with its log, and what it holds of blocks that the collector has not
received goes on into the new one. A store that has only lost its last commits stays, and its blocks are delivered
first. In every case the first block of the new epoch tells what happened, and no number is used twice in an epoch.
"""

from datetime import UTC, datetime
from pathlib import Path

from drivers.reading import Exchange
from edge import salvage
from edge.database import DiskFull, lock
from edge.log import Log
from edge.outbox import First, Outbox
from edge.sealer import OpenBlock, Record
from edge.watermark import Mark, Watermark
from protocols.errors import BusyError, DamagedError, RecordError
from protocols.record.siteconfig import digest

MOST_DOUBTS = 3
"""Starts in a row that a read error has ended, before the store is set aside."""
LARGEST_SALVAGED = 64 << 20
"""Bytes of a damaged store that is read at a start; a larger one is left to the command."""
MAX_BYTES = 8 << 30
"""What sealed blocks may take on a box."""
PARTS = ("", "-wal", "-shm")


def open_outbox(
    path: Path, gateway: bytes, enrolment: bytes, *, durable: bool, now: int, log: Log, max_bytes: int | None = None
) -> Outbox:
    """The store at ``path``, fit to be built upon; ``now``: UTC ms, for the name of what is set aside.

    ``max_bytes``: what sealed blocks may take, MAX_BYTES unless told otherwise.
    BusyError, DiskFull; StoreError when the store is another gateway's or the disk fails.
    """
    mark = _mark(path, gateway, durable, log)
    settings = (gateway, enrolment, durable, max_bytes or MAX_BYTES)
    try:
        if mark is not None and mark.doubts >= MOST_DOUBTS:
            raise DamagedError(f"{path}: reading it has failed {mark.doubts} times in a row")
        if _gone(path) and any(path.with_name(path.name + part).exists() for part in PARTS[1:]):
            _set_aside(path, now)
        lost = None if mark is None else _first(mark, enrolment, "the store was lost: no block of it is there")
        outbox = Outbox(path, *settings, first=lost)
    except (BusyError, DiskFull):
        raise
    except DamagedError as error:
        return _anew(path, settings, mark, str(error), now=now, log=log)
    try:
        for block in outbox.opened():
            outbox.records(block.id)
        _hold_against(outbox, mark, enrolment, log)
    except (DamagedError, RecordError) as error:
        outbox.close()
        return _anew(path, settings, mark, str(error), now=now, log=log)
    except BaseException:
        outbox.close()
        raise
    return outbox


def aside(path: Path) -> list[Path]:
    """The stores that were set aside beside this one, oldest first."""
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def _mark(path: Path, gateway: bytes, durable: bool, log: Log) -> Mark | None:
    """The watermark, when it says that this gateway has a chain."""
    held = Watermark(path, durable)
    if held.damaged:
        log("warning", "watermark", why=f"{held.path} cannot be read, it is made anew from the store")
    mark = held.mark
    if mark is None or mark.gateway != gateway or (mark.epoch, mark.next_seq) == (0, 0):
        return None
    return mark


def _gone(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _first(mark: Mark, enrolment: bytes, alarm: str) -> First:
    """What a new store begins with."""
    previous = enrolment if mark.receipt is None else digest(mark.receipt)
    alarm = f"epoch {mark.epoch + 1}: {alarm}"
    return First(
        mark.epoch + 1, previous, mark.boot, mark.configuration, mark.last_utc, mark.receipt, mark.settled, alarm
    )


def _hold_against(outbox: Outbox, mark: Mark | None, enrolment: bytes, log: Log) -> None:
    """Begin a new epoch when the chain stands behind its watermark, or is another one."""
    chain = outbox.chain()
    link = chain.link
    if mark is None or _goes_on(outbox, mark):
        if mark is None or (link.epoch, link.seq, link.previous) != (mark.epoch, mark.next_seq, mark.head):
            outbox.remember()
        if mark is not None and link.epoch > mark.epoch and not link.seq and outbox.alarms():
            log("error", "store_lost", epoch=link.epoch)
        return
    told = f"the store stands at {link.epoch}/{link.seq}, expected {mark.epoch}/{mark.next_seq}: it has gone back"
    if mark.received > (link.epoch, link.seq):
        outbox.drop_open()  # the collector holds these very exchanges, in a block that is gone here
    epoch = max(link.epoch, mark.epoch) + 1
    receipt = mark.receipt if mark.receipt is not None else chain.receipt
    previous = enrolment if receipt is None else digest(receipt)
    outbox.renew(epoch, previous, f"epoch {epoch}: {told}", after=mark)
    log("error", "store_back", epoch=epoch, why=told)


def _goes_on(outbox: Outbox, mark: Mark) -> bool:
    """Whether the chain goes on from its watermark."""
    link = outbox.chain().link
    if link.epoch != mark.epoch:
        return link.epoch > mark.epoch
    if link.seq <= mark.next_seq:
        return (link.seq, link.previous) == (mark.next_seq, mark.head)
    known = outbox.hash_of(mark.epoch, mark.next_seq - 1)
    return known is None or known == mark.head


def _anew(
    path: Path, settings: tuple[bytes, bytes, bool, int], mark: Mark | None, why: str, *, now: int, log: Log
) -> Outbox:
    """Set a damaged store aside and begin another one after it."""
    gateway, enrolment, durable, _ = settings
    if mark is None:
        epoch, seq = salvage.newest_epoch(path)
        epoch = max(epoch, len(aside(path)))
        mark = Mark(gateway, epoch, max(1, seq), bytes(32), 0, 0, 0)
    Watermark(path, durable).write(mark)  # first of all: an empty folder must not pass for a new box
    moved = _set_aside(path, now)
    alarm = f"{why.removeprefix(f'{path}: ')[:80]}; set aside as {moved.name}"
    outbox = Outbox(path, *settings, first=_first(mark, enrolment, alarm))
    try:
        blocks, exchanges = _take_over(outbox, moved, mark)
    except BaseException:
        outbox.close()
        raise
    outbox.remember(doubts=0)
    log("error", "store_damaged", why=why, aside=moved.name, epoch=mark.epoch + 1, blocks=blocks, exchanges=exchanges)
    return outbox


def _set_aside(path: Path, now: int) -> Path:
    """Rename the store and its log to a dated name; the new path. An empty file stays: it holds nothing, and where
    nothing can be read each start would leave one.
    """
    held = lock(path)
    try:
        stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        names = [f"{path.stem}-{stamp}{'' if not n else f'-{n}'}{path.suffix}" for n in range(100)]
        moved = next(each for name in names if not (each := path.with_name(name)).exists())
        for part in reversed(PARTS):
            if (source := path.with_name(path.name + part)).exists() and source.stat().st_size:
                source.rename(moved.with_name(moved.name + part))
        return moved
    finally:
        held.close()


def _take_over(outbox: Outbox, moved: Path, mark: Mark) -> tuple[int, int]:
    """Have the new store deliver what the collector has not received of the epoch before, as far as it has no hole, and
    seal what was open: (blocks, exchanges).
    """
    if not moved.exists() or moved.stat().st_size > LARGEST_SALVAGED:
        return 0, 0
    wanted = mark.received[1] if mark.received[0] == mark.epoch else 0
    run: list[tuple[int, bytes, int, int, bytes]] = []
    for block in salvage.salvage(moved).blocks:
        if (block.epoch, block.seq) == (mark.epoch, wanted + len(run)):
            run.append((block.seq, block.hash, block.utc_start, block.utc_end, block.frame))
    if run:
        outbox.adopt(mark.epoch, wanted, run)
    if salvage.place(moved) < (mark.epoch, mark.next_seq):
        return len(run), 0  # what is open there may be in a block that was sealed since
    opened = [OpenBlock.from_bytes(data) for data in salvage.open_blocks(moved)]
    numbers = {block.id for block in opened}
    records = [
        Record(block, slot, Exchange(*rest)) for block, slot, *rest in salvage.exchanges(moved) if block in numbers
    ]
    if opened:
        outbox.add(records, opened)
    return len(run), len(records)
