"""The collector as an ASGI application: which address leads where."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cloud import (
    account_closing,
    api_account,
    api_accounts,
    api_factors,
    api_health,
    api_indicators,
    api_record,
    api_report,
    closing,
    early_warning,
)
from cloud.city import City
from cloud.collector import VERSION, Collector
from cloud.guard import Guard
from cloud.ingest_route import Intake, described
from cloud.pages import account_routes, routes
from cloud.problem import Problem
from cloud.store import Store
from cloud.ways import WAYS
from protocols.errors import TanmeterError

CLOSE_EVERY_S = 20.0
CLOSE_ACCOUNTS_EVERY_S = 300.0
WATCH_EVERY_S = 30.0

ANYBODY = "anybody"
"""Who fails when it cannot be found out who waits."""

T = TypeVar("T")
log = logging.getLogger(__name__)


def create_app(collector: Collector) -> ASGIApp:
    """The application over an open store; the caller owns store and writer and closes them."""
    app = FastAPI(
        title="tanmeter collector",
        version=VERSION,
        description="Decimals are strings with their unit beside them; instants are RFC 3339 with their offset.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.collector = collector
    app.state.city = City(collector.store)
    intake = Intake(collector, app)
    for path in WAYS:  # whoever does not post is told so
        app.router.routes.append(Route(path, intake, methods=["POST"]))
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    for router in (
        api_record.router,
        api_account.router,
        api_accounts.router,
        api_indicators.router,
        api_factors.router,
        api_health.router,
        api_report.router,
        routes.router,
        account_routes.router,
    ):
        app.router.routes += router.routes  # an included router is walked twice for each request
    app.mount("/static", StaticFiles(packages=[("cloud.pages", "static")]))
    for kind in (Problem, TanmeterError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, routes.failed)
    return Guard(intake)


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the routes, with the ways in beside them."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["paths"] |= {path: {**document["paths"].get(path, {}), **described(path)} for path in WAYS}
    return document


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """While it serves, periods that are over are closed, and what changed is judged for warnings."""
    collector = app.state.collector
    tasks = [asyncio.create_task(_go_on(work, collector)) for work in _works(app)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done of itself: every so often (seconds) those that wait have their turn, which says what it has done.

    Both are told the time (UTC ms). ``told``: what the turn of each failed with, as the log has it.
    """

    name: str
    every_s: float
    waiting: Callable[[int], list[str]]
    turn: Callable[[str, int], list[str]]
    told: dict[str, str] = field(default_factory=dict)

    def is_new(self, name: str, error: Exception) -> bool:
        """Whether the log has yet to tell of a failure: once for as long as it stays the same."""
        before, self.told[name] = self.told.get(name), repr(error)
        return before != repr(error)


def _works(app: FastAPI) -> Iterator[_Work]:
    """A version that stands, and a warning that does, stay as they are."""
    store = app.state.collector.store
    sites = closing.Closer(store, durable=True)
    accounts = account_closing.AccountCloser(store, durable=True)
    watch = early_warning.Watch(app.state.city)

    def close_site(site: str, now: int) -> list[str]:
        return [f"closed {statement.reference}" for statement in sites.close(site, now)]

    def close_accounts(subject: str, now: int) -> list[str]:
        return [f"closed {version.reference}" for version in accounts.close(subject, now)]

    def judge(subject: str, now: int) -> list[str]:
        found = watch.judge(subject, now)
        return [f"warning {one.kind} of {one.subject} {one.about}: {one.happened}" for one in found]

    yield _Work("closing", CLOSE_EVERY_S, sites.waiting, close_site)
    yield _Work("closing the accounts of", CLOSE_ACCOUNTS_EVERY_S, accounts.waiting, close_accounts)
    yield _Work("judging", WATCH_EVERY_S, lambda _: watch.waiting(), judge)


async def _go_on(work: _Work, collector: Collector) -> None:
    """One after another, behind what others ask: after a start, and at midnight, all come to be due at once."""
    while True:
        try:
            for name in await asyncio.to_thread(_patiently, collector.store, work.waiting, collector.now()):
                await _turn(work, name, collector)
            work.told.pop(ANYBODY, None)
        except Exception as error:
            if work.is_new(ANYBODY, error):
                log.exception("%s anybody failed", work.name)
        await asyncio.sleep(work.every_s)


async def _turn(work: _Work, name: str, collector: Collector) -> None:
    """One that cannot be read keeps no other waiting; it has its turn again the next time."""
    try:
        for done in await asyncio.to_thread(_patiently, collector.store, work.turn, name, collector.now()):
            log.info("%s", done)
        work.told.pop(name, None)
    except Exception as error:
        if work.is_new(name, error):
            log.exception("%s %s failed", work.name, name)


def _patiently(store: Store, work: Callable[..., T], *asked: Any) -> T:
    with store.patiently():
        return work(*asked)
