"""The composition root: settings in, a whole application out. Nothing connects until it is used."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import redis
from prometheus_client import CollectorRegistry

from . import logs, queues
from .broker import JobBroker
from .broker.errors import RedisUnavailable, Refusal
from .clock import Clock, SystemClock
from .errors import Unavailable
from .esi import EsiCache, EsiClient, SsoClient, http_session
from .health.scrape import scraped
from .jobs import JOB_TYPES
from .jobs.services import Services
from .logs import error_reports
from .middleware import middleware_for
from .processes.parent import stop_with_parent
from .processes.program import EXIT_CANNOT_START, ProgramExit, begin, settings_or_exit
from .queues import Queues
from .queues.user_modules import take_modules
from .settings import Settings
from .store import Store, TokenCipher


@dataclass(frozen=True)
class QueueAccess:
    """What an operator's program and the scheduler need: the queues; no database, no key and no ESI come with them."""

    settings: Settings
    clock: Clock
    broker: JobBroker
    queues: Queues

    def close(self) -> None:
        """Close every connection."""
        self.broker.close()


@dataclass(frozen=True)
class AdminAccess(QueueAccess):
    """What the admin needs: the queues and the database, without the keys of its tokens."""

    store: Store
    #: What this process counts and, read at each scrape, what Redis and the database hold.
    registry: CollectorRegistry

    def close(self) -> None:
        """Close every connection."""
        super().close()
        self.store.close()


@dataclass(frozen=True)
class App(AdminAccess):
    """One process' parts, put together."""

    services: Services


def open_queues(
    settings: Settings, *, clock: Clock | None = None, caller_deadline_ms: int | None = None
) -> QueueAccess:
    """Put together what adds, shows and changes jobs but runs none, and leaves no file behind.

    With `caller_deadline_ms` a command of ours to the queues fails after that time.

    Raises `SettingsError` for a module of job types that cannot be imported.
    """
    return _queue_access(settings, clock or SystemClock(), None, caller_deadline_ms)


def open_admin(settings: Settings, *, caller_deadline_ms: int) -> AdminAccess:
    """Put together what the admin shows and changes; it reads no token, so it needs no token key.

    Raises as `open_queues`.
    """
    clock = SystemClock()
    access = _queue_access(settings, clock, None, caller_deadline_ms)
    store = Store(settings.database_url, cipher=None, clock=clock, database_wait_ms=caller_deadline_ms // 2)
    registry = scraped(access.broker, access.queues, store, clock)
    return AdminAccess(settings, clock, access.broker, access.queues, store, registry)


def create_app(settings: Settings, *, clock: Clock | None = None, caller_deadline_ms: int | None = None) -> App:
    """Put an application together and make its queues what `nomad_actors.queues` speaks to in this process.

    With `caller_deadline_ms` a command of ours to the queues, and a transaction that others hold up, fail after that
    time: for a program that somebody waits for.

    Raises `SettingsError` for a module of job types that cannot be imported, or a key that is missing.
    """
    clock = clock or SystemClock()
    # A change waits for its turn among this process' writers, then for other processes'.
    services = _services(settings, clock, None if caller_deadline_ms is None else caller_deadline_ms // 2)
    access = _queue_access(settings, clock, services, caller_deadline_ms)
    registry = scraped(access.broker, access.queues, services.store, clock)
    return App(settings, clock, access.broker, access.queues, services.store, registry, services)


def _queue_access(
    settings: Settings, clock: Clock, services: Services | None, caller_deadline_ms: int | None = None
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
    """Return an application with the settings of this process' environment, for a program that adds jobs.

    Raises `SettingsError` naming each wrong variable.
    """
    return create_app(settings or Settings.from_env(os.environ))


def worker_broker() -> None:
    """Make Dramatiq's global broker that of an application: `dramatiq nomad_actors.app:worker_broker` calls it.

    Exits with the codes of `settings_or_exit`, and with 1 when Redis does not answer. The process stops, giving back
    what it runs, when Dramatiq's main process is killed: nobody would be left to stop it.
    """
    with settings_or_exit() as settings:
        begin(settings)
        stop_with_parent(settings.shutdown_ms / 1000)
        flush_ms = int(error_reports.FLUSH_SECONDS * 1000) if settings.sentry_dsn else 0
        app = create_app(dataclasses.replace(settings, shutdown_ms=in_time_ms(settings.shutdown_ms, flush_ms)))
        _check_store(app)
        require_redis(app)


def in_time_ms(shutdown_ms: int, flush_ms: int = 0) -> int:
    """Return how long jobs may still run so that Dramatiq's command line has stopped within `shutdown_ms`.

    Its main process and its worker's main thread look once a second each, idle threads wait up to a second, and error
    reports on their way are waited for.
    """
    return max(shutdown_ms - 3_500 - flush_ms, shutdown_ms // 3)


def prepare_workers(settings: Settings) -> int:
    """Check what workers need besides Redis; return a process' threads: one for each place of each queue.

    Raises `CannotStart` if they cannot start until somebody changes something, `SettingsError`, `Unavailable`.
    """
    app = create_app(settings)
    try:
        _check_store(app)
        return app.queues.total_concurrency()
    finally:
        app.close()


def _check_store(app: App) -> None:
    app.store.migrate()
    app.store.logins.check_keys()


def require_redis(access: QueueAccess) -> None:
    """Return when Redis answers and lets us do what we need; else log what to do and exit.

    The code is 78 where only somebody can mend it, else 1.
    """
    logger = logs.get_logger("nomad_actors.app")
    try:
        access.queues.ping()
    except RedisUnavailable as error:
        logger.critical(redis_missing(access.settings, error, error.refusal))
        raise ProgramExit(EXIT_CANNOT_START if error.refusal in (Refusal.PASSWORD, Refusal.DATABASE) else 1) from None
    try:
        access.queues.check_permissions()
    except Unavailable as error:
        logger.critical("Redis refuses what we need; nomad doctor tells how to allow it", error=str(error))
        raise ProgramExit(EXIT_CANNOT_START) from None


def redis_missing(settings: Settings, error: Unavailable, refusal: Refusal | None = None) -> str:
    """Return what to tell somebody whose Redis does not answer, or lets nobody in, in one line."""
    where = settings.redis_url.shown.rpartition("@")[2].removeprefix("redis://")
    if refusal is Refusal.PASSWORD and settings.redis_url_file is None:
        return f"Redis at {where} lets nobody in ({error}): set REDIS_PASSWORD right, or the password in REDIS_URL"
    if settings.redis_url_file is not None:
        return (
            f"Redis at {where} does not answer ({error}): {settings.redis_url_file} says so, which `make run` keeps "
            "for the Redis that it brings; start that, or say where another is with REDIS_URL (or REDIS_HOST and "
            "REDIS_PORT)"
        )
    return (
        f"Redis at {where} does not answer ({error}): start one there, say where it is with REDIS_URL (or REDIS_HOST "
        "and REDIS_PORT), or use `make run`, which brings its own"
    )


def _services(settings: Settings, clock: Clock, database_wait_ms: int | None) -> Services:
    http = http_session(settings.esi_user_agent)
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
        ),
        esi=EsiClient(http, base_url=settings.esi_base_url, user_agent=settings.esi_user_agent, clock=clock),
        cache=EsiCache(redis.Redis.from_url(settings.cache_url), clock=clock),
    )
