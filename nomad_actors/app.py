"""The composition root: builds an application from settings. Nothing connects until it is used."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass

import redis
from prometheus_client import CollectorRegistry

from . import logs, queues
from .broker import JobBroker
from .broker.client.permissions import refused_in_words
from .broker.errors import RedisUnavailable, Refusal
from .clock import Clock, SystemClock
from .errors import ExitCode, Unavailable
from .esi import EsiCache, EsiClient, SsoClient, http_session
from .esi.limits import Limiter, open_limiter
from .esi.unsaved_tokens import UnsavedTokens
from .health.scrape import scraped
from .jobs import JOB_TYPES
from .jobs.services import Services
from .logs import error_reports
from .middleware.order import middleware_for
from .processes.parent import stop_with_parent
from .processes.program import ProgramExit, begin, settings_or_exit
from .queues import Queues
from .queues.user_modules import take_modules
from .settings import Settings
from .settings.contact import require_contact
from .store import Store, TokenCipher


@dataclass(frozen=True)
class QueueAccess:
    """What operator commands and the scheduler need: the queues, without database, token keys and ESI."""

    settings: Settings
    clock: Clock
    broker: JobBroker
    queues: Queues

    def close(self) -> None:
        self.broker.close()


@dataclass(frozen=True)
class AdminAccess(QueueAccess):
    """What the admin needs: the queues and the database, without the token keys."""

    store: Store
    limiter: Limiter
    #: This process's own metrics, and those that each scrape reads from Redis and the database.
    registry: CollectorRegistry

    def close(self) -> None:
        super().close()
        self.store.close()


@dataclass(frozen=True)
class App(AdminAccess):
    """The complete application of one process."""

    services: Services


def open_queues(
    settings: Settings, *, clock: Clock | None = None, caller_deadline_ms: int | None = None
) -> QueueAccess:
    """Return access to the queues for a program that adds, shows and changes jobs but runs none; creates no files.

    With `caller_deadline_ms`, commands to the queues fail after that time. Raises `SettingsError` for a module of job
    types that cannot be imported.
    """
    return _queue_access(settings, clock or SystemClock(), None, caller_deadline_ms)


def open_admin(settings: Settings, *, caller_deadline_ms: int) -> AdminAccess:
    """Return access for the admin; it reads no tokens, so it needs no token key. Raises as `open_queues`."""
    clock = SystemClock()
    access = _queue_access(settings, clock, None, caller_deadline_ms)
    store = Store(settings.database_url, cipher=None, clock=clock, database_wait_ms=caller_deadline_ms // 2)
    limiter = open_limiter(settings, clock, deadline_ms=caller_deadline_ms)
    registry = scraped(access.broker, access.queues, store, limiter, clock)
    return AdminAccess(settings, clock, access.broker, access.queues, store, limiter, registry)


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    caller_deadline_ms: int | None = None,
    long_transactions: bool = False,
) -> App:
    """Return a complete application, and make its queues the default of `nomad_actors.queues` in this process.

    With `caller_deadline_ms`, commands to the queues and blocked transactions fail after that time, for programs with
    a waiting user; with `long_transactions` transactions may take their time nevertheless. Raises `SettingsError` for a
    module of job types that cannot be imported, or for a missing key.
    """
    clock = clock or SystemClock()
    # Half: a write waits for this process's writers, and then for those of other processes.
    wait_ms = None if caller_deadline_ms is None or long_transactions else caller_deadline_ms // 2
    services = _services(settings, clock, wait_ms)
    access = _queue_access(settings, clock, services, caller_deadline_ms)
    # Only now are the queues of the user's job types known, too.
    services.store.database.prepare(access.queues.total_concurrency())
    registry = scraped(access.broker, access.queues, services.store, services.limiter, clock)
    return App(settings, clock, access.broker, access.queues, services.store, services.limiter, registry, services)


def _queue_access(
    settings: Settings, clock: Clock, services: Services | None, caller_deadline_ms: int | None
) -> QueueAccess:
    broker = JobBroker(
        url=settings.redis_url,
        middleware=middleware_for(settings),
        shutdown_ms=settings.shutdown_ms,
        caller_deadline_ms=caller_deadline_ms,
    )
    registry = Queues(broker, settings=settings, clock=clock)
    for job_type in JOB_TYPES:
        registry.register(job_type, services)
    take_modules(settings.modules, registry, services)
    queues.set_default(registry)
    return QueueAccess(settings, clock, broker, registry)


def connect(settings: Settings | None = None) -> App:
    """Return an application with the settings from the environment, or raise `SettingsError` with each invalid one."""
    return create_app(settings or Settings.from_env(os.environ))


def worker_broker() -> None:
    """Set Dramatiq's global broker to that of an application: `dramatiq nomad_actors.app:worker_broker` calls it.

    Exits with the codes of `settings_or_exit`, and with 1 if Redis does not respond. If Dramatiq's main process is
    killed, this process returns its running jobs and stops, because nothing else would stop it.
    """
    with settings_or_exit() as settings:
        begin(settings)
        require_contact(settings)
        stop_with_parent(settings.shutdown_ms / 1000)
        flush_ms = int(error_reports.FLUSH_SECONDS * 1000) if settings.sentry_dsn else 0
        # For Dramatiq's command line to stop in time: its main process and the worker's main thread each poll once a
        # second, idle threads wait up to a second, and pending error reports are flushed.
        jobs_ms = max(settings.shutdown_ms - 3_500 - flush_ms, settings.shutdown_ms // 3)
        app = create_app(dataclasses.replace(settings, shutdown_ms=jobs_ms))
        _check_store(app)
        require_redis(app)


def prepare_workers(settings: Settings) -> int:
    """Check what workers need besides Redis; return the threads of a process, the sum of its queues' concurrencies.

    Raises `CannotStart` if they cannot start until an operator changes something, `SettingsError`, `Unavailable`.
    """
    require_contact(settings)
    with contextlib.closing(create_app(settings)) as app:
        _check_store(app)
        return app.queues.total_concurrency()


def _check_store(app: App) -> None:
    app.store.migrate()
    app.store.logins.check_keys()


def require_redis(access: QueueAccess) -> None:
    """Check that Redis responds and allows what we need; else log what to do and exit.

    The exit code is 78 if an operator must fix it, else 1.
    """
    logger = logs.get_logger("nomad_actors.app")
    try:
        access.broker.ping()
    except RedisUnavailable as error:
        logger.critical(redis_missing(access.settings, error, error.refusal))
        needs_operator = error.refusal in (Refusal.PASSWORD, Refusal.DATABASE)
        raise ProgramExit(ExitCode.CANNOT_START if needs_operator else ExitCode.FAILED) from None
    try:
        if refused := access.broker.refused_commands():
            raise Unavailable(refused_in_words(refused))
    except Unavailable as error:
        logger.critical("Redis does not allow what we need; nomad doctor shows how to allow it", error=str(error))
        raise ProgramExit(ExitCode.CANNOT_START) from None


def redis_missing(settings: Settings, error: Unavailable, refusal: Refusal | None = None) -> str:
    """Return a one-line message about a Redis that does not respond or rejects the login."""
    where = settings.redis_url.shown.rpartition("@")[2].removeprefix("redis://")
    if refusal is Refusal.PASSWORD and settings.redis_url_file is None:
        return f"Redis at {where} rejects the login ({error}): correct REDIS_PASSWORD, or the password in REDIS_URL"
    if settings.redis_url_file is not None:
        return (
            f"Redis at {where} does not answer ({error}): this address is from {settings.redis_url_file}, where "
            "`make run` saves that of its own Redis; start that one, or set REDIS_URL (or REDIS_HOST and REDIS_PORT) "
            "to another"
        )
    return (
        f"Redis at {where} does not answer ({error}): start it, set REDIS_URL (or REDIS_HOST and REDIS_PORT) to "
        "another, or use `make run`, which starts its own"
    )


def open_esi(settings: Settings, clock: Clock, limiter: Limiter) -> EsiClient:
    """Return the client of ESI."""
    return EsiClient(base_url=settings.esi_base_url, user_agent=settings.esi_user_agent, clock=clock, limiter=limiter)


def _services(settings: Settings, clock: Clock, database_wait_ms: int | None) -> Services:
    http = http_session(settings.esi_user_agent)
    limiter = open_limiter(settings, clock)
    cipher = TokenCipher.from_settings(settings)
    return Services(
        settings=settings,
        clock=clock,
        store=Store(settings.database_url, cipher=cipher, clock=clock, database_wait_ms=database_wait_ms),
        sso=SsoClient(
            http,
            base_url=settings.sso_base_url,
            client_id=settings.eve_client_id,
            client_secret=settings.eve_client_secret.get_secret_value(),
            clock=clock,
            limiter=limiter,
        ),
        esi=open_esi(settings, clock, limiter),
        limiter=limiter,
        unsaved_tokens=UnsavedTokens(limiter.client),
        cache=EsiCache(redis.Redis.from_url(settings.cache_url), clock=clock),
    )
