"""The collector as an ASGI application: which address leads where."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
from cloud.ways import WAYS
from protocols.errors import TanmeterError

CLOSE_EVERY_S = 20.0
RESTS = 4
"""How many times as long as a site took to look at the closer rests: whoever waits for an answer has the core."""
CLOSE_ACCOUNTS_EVERY_S = 300.0
WATCH_EVERY_S = 30.0
JUDGED_AT_ONCE = 50

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
    tasks = [asyncio.create_task(work(collector)) for work in (_close_periods, _close_accounts)]
    tasks.append(asyncio.create_task(_watch(app.state.city, collector)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _close_periods(collector: Collector) -> None:
    """One site after another: at midnight all of them come to be due at once."""
    closer, time = closing.Closer(collector.store, durable=True), asyncio.get_running_loop().time
    while True:
        try:
            for site in await asyncio.to_thread(closer.waiting, collector.now()):
                began = time()
                await _close_site(closer, site, collector.now())
                await asyncio.sleep(RESTS * (time() - began))
        except Exception:
            log.exception("closing failed")
        await asyncio.sleep(CLOSE_EVERY_S)


async def _close_site(closer: closing.Closer, site: str, now: int) -> None:
    """One that cannot be read keeps no other waiting."""
    try:
        for statement in await asyncio.to_thread(closer.close, site, now):
            log.info("closed %s", statement.reference)
    except Exception:
        log.exception("closing %s failed", site)


async def _close_accounts(collector: Collector) -> None:
    closer = account_closing.AccountCloser(collector.store)
    while True:
        try:
            for subject in await asyncio.to_thread(closer.waiting, collector.now()):
                await _close_subject(closer, subject, collector.now())
        except Exception:
            log.exception("closing accounts failed")
        await asyncio.sleep(CLOSE_ACCOUNTS_EVERY_S)


async def _close_subject(closer: account_closing.AccountCloser, subject: str, now: int) -> None:
    """One that cannot be read keeps no other waiting; it has its turn again the next time."""
    try:
        for version in await asyncio.to_thread(closer.close, subject, now):
            log.info("closed %s", version.reference)
    except Exception:
        log.exception("closing the accounts of %s failed", subject)


async def _watch(city: City, collector: Collector) -> None:
    """Judge what the journal brought, from its beginning once: a warning that stands already stays as it is.

    Whose meters are where a gateway was set up anew is judged as well. A few subjects at a time, so that nobody who
    stops the process waits for a whole city.
    """
    after, facts, waiting = 0, 0, list[str]()
    while True:
        try:
            if not waiting:
                facts, waiting = await asyncio.to_thread(early_warning.set_up, city, facts)
                after, changed = await asyncio.to_thread(early_warning.concerned, city, after)
                waiting = list(dict.fromkeys((*waiting, *changed)))
            names, waiting = waiting[:JUDGED_AT_ONCE], waiting[JUDGED_AT_ONCE:]
            for event in await asyncio.to_thread(early_warning.judge_each, city, names, collector.now()):
                log.info("warning %s of %s %s: %s", event.kind, event.subject, event.about, event.happened)
        except Exception:
            log.exception("early warning failed")
        await asyncio.sleep(0 if waiting else WATCH_EVERY_S)
