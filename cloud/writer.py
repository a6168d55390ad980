"""The one thread that writes to the store: what concurrent requests bring is committed together."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cloud import problem
from protocols.errors import RottenError, StoreError

T = TypeVar("T")
log = logging.getLogger(__name__)
MOST_WAITING = 256
"""Jobs that may wait; one more is told to come back."""

MOST_TOGETHER = 32
"""Batches committed in one transaction at most: bounds how long the first of them waits for the last."""

HANDED_S = 0.005
"""How long the writer waits at most for the answers to be sent. The thread that sends them lets go of the interpreter
each time it asks the system to, and gets it back from a writer that computes only by force.
"""

QUIET_S = 0.002
"""How long nothing comes before the idle work begins: it would hold up the answer that was just handed over."""


@dataclass(eq=False, slots=True)
class Job:
    """Something to do in the writer's thread, and where its outcome goes. ``frames`` is None for a lone job."""

    frames: Sequence[bytes] | None
    run: Callable[[], Any] | None
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[Any]


class Writer:
    """Runs jobs one after another; batches of blocks that wait together go to ``append`` in one call."""

    def __init__(
        self,
        append: Callable[[Sequence[Sequence[bytes]]], Sequence[Any]],
        idle: Callable[[], float | None] | None = None,
        is_pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        """``idle`` is called in the writer's thread when nothing has come for a moment, and says after how many seconds
        there is more of that to do, if any; while it ``is_pressed``, what comes waits for it.
        """
        self._append, self._idle, self._is_pressed = append, idle, is_pressed
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._put_so_far = self._done = 0
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs not yet begun."""
        return self._jobs.qsize()

    @property
    def moves(self) -> tuple[int, bool]:
        """How many jobs are done so far, and whether one waits for it."""
        return self._done, self.is_busy

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for it."""
        return self._put_so_far > self._done

    async def append(self, frames: Sequence[bytes]) -> Any:
        """The outcome of ``append`` for these frames, committed; Problem 503 when too much waits."""
        return await self._put(frames, None)

    async def run(self, job: Callable[[], T]) -> T:
        """The result of a job run in the writer's thread; Problem 503 when too much waits."""
        result: T = await self._put(None, job)
        return result

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    async def _put(self, frames: Sequence[bytes] | None, run: Callable[[], Any] | None) -> Any:
        loop = asyncio.get_running_loop()
        job = Job(frames, run, loop, loop.create_future())
        if self._jobs.qsize() >= MOST_WAITING:
            raise problem.overloaded()
        self._jobs.put(job)
        self._put_so_far += 1
        try:
            return await job.outcome
        finally:
            self._done += 1

    def _work(self) -> None:
        held: Job | None = None
        while True:
            job = held or self._get()
            held = None
            if job is None:
                return
            if job.run is not None:
                _settle([job], [_outcome(job.run)])
                continue
            together, held, ended = self._gather(job)
            self._commit(together)
            if ended:
                return
            while self._is_pressed() and self._rest() is not None:
                pass

    def _get(self) -> Job | None:
        """The next job, whenever it comes."""
        wait: float | None = QUIET_S
        while self._idle is not None and wait is not None:
            try:
                return self._jobs.get(timeout=wait)
            except queue.Empty:
                wait = self._rest()
        return self._jobs.get()

    def _rest(self) -> float | None:
        """Do idle work; after how many seconds there is more. What fails is told, and tried again behind a job; of rows
        that have rotted whoever found them has told.
        """
        assert self._idle is not None, "there is idle work"
        try:
            return self._idle()
        except RottenError:
            return None
        except Exception:
            log.exception("idle work failed")
            return None

    def _gather(self, first: Job) -> tuple[list[Job], Job | None, bool]:
        """The batches that wait behind the first, the lone job that ended the row, and whether the end was reached."""
        together = [first]
        while len(together) < MOST_TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return together, None, True
            if job.run is not None:
                return together, job, False
            together.append(job)
        return together, None, False

    def _commit(self, together: list[Job]) -> None:
        """Commit them in one call; where one cannot be worked on, each half by itself: it takes no other down."""
        outcomes = _outcome(lambda: self._append([job.frames or () for job in together]))
        if len(together) > 1 and _is_of_one(outcomes):
            half = len(together) // 2
            self._commit(together[:half])
            self._commit(together[half:])
            return
        _settle(together, [outcomes] * len(together) if isinstance(outcomes, Exception) else outcomes)


def _is_of_one(outcome: Any) -> bool:
    """Whether it is an error of one batch among several: what has rotted is of one gateway, the disk is everybody's."""
    return isinstance(outcome, RottenError) or (isinstance(outcome, Exception) and not isinstance(outcome, StoreError))


def _settle(jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
    """Hand each request that waits its result, or the exception, and wait until they have sent it. A loop is woken once
    for all that wait in it.
    """
    for loop in dict.fromkeys([job.loop for job in jobs]):
        own = [(job.outcome, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if job.loop is loop]
        sent = threading.Event()
        loop.call_soon_threadsafe(_hand_over, own, loop, sent)
        sent.wait(HANDED_S)


def _hand_over(
    results: Sequence[tuple[asyncio.Future[Any], Any]], loop: asyncio.AbstractEventLoop, sent: threading.Event
) -> None:
    for waiting, result in results:
        if waiting.done():
            continue
        if isinstance(result, Exception):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)
    loop.call_soon(sent.set)  # behind those who wait


def _outcome(run: Callable[[], Any]) -> Any:
    """The result, or the exception it ended with: whoever asked shall have it, and the thread goes on."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - the outermost loop of this thread
        return error
