"""An admin on the test run's real Redis, and HTTP clients for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache

from admin import create_app
from admin.current_app import attach
from chaos.conforming import Conforming
from nomad_actors.app import AdminAccess
from nomad_actors.broker import JobBroker
from nomad_actors.clock import Clock, SystemClock
from nomad_actors.esi.limits import open_limiter
from nomad_actors.health.scrape import scraped
from nomad_actors.jobs import SCHEDULES
from nomad_actors.queues import Queues, current_job
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.policy import Backoff, Priority
from nomad_actors.scheduler import Schedules
from nomad_actors.settings import Settings
from nomad_actors.settings.secret_url import SecretUrl
from nomad_actors.store import Store, TokenCipher
from nomad_actors.testing import running
from tests.support.databases import put_database
from tests.support.operator import as_operator

from .admin_process import Served, checked_admin

#: The queues of the declared schedules.
QUEUES = ("token-refresh", "esi-refresh", "historical-data", "cache-cleanup")


class Work(Payload):
    character_id: int
    note: str = ""
    user_id: int = 0
    fail: bool = False
    wait: bool = False


class Done(Result):
    rows: int
    note: str = ""


#: Jobs with `wait` stay active until it is set.
gate = threading.Event()


def work(payload: Work) -> Done:
    if payload.wait:
        gate.wait(10)
    if payload.note:
        current_job().log(payload.note)
        current_job().progress(1, 2, payload.note)
    if payload.fail:
        raise ValueError(f"ESI said 404 <b>not found</b>{payload.note}")
    return Done(rows=payload.character_id, note=payload.note)


class AdminApp(AdminAccess):
    """The admin's view of an application, with shortcuts for tests."""

    @property
    def schedules(self) -> Schedules:
        return Schedules(self.queues)

    def simulate_scheduler(self) -> None:
        """Declare the code's schedules and write a heartbeat, as a starting scheduler does."""
        self.schedules.declare(SCHEDULES)
        self.schedules.book.beat("a-host:1", self.schedules.book.redis_ms(), forget_before_ms=0)

    def remove_database(self) -> None:
        """Make the database unavailable, as a lost disk does."""
        self.store.migrate()
        self.store.close()
        directory = Path(self.store.database.url.database or "").parent
        directory.rename(directory.with_name("taken away"))
        directory.touch()

    def restore_database(self) -> None:
        directory = Path(self.store.database.url.database or "").parent
        directory.unlink()
        directory.with_name("taken away").rename(directory)

    def add(self, queue: str = "token-refresh", **data: object) -> str:
        """Add a job and return its id."""
        return self.queues.add_job(queue, f"{queue}-work", {"character_id": 1, **data}).id

    def run_all(self, queue: str = "token-refresh") -> None:
        """Run the queue's waiting jobs."""
        with running(self.broker):
            self.broker.join(queue, timeout=5000)


def make_app(
    url: str,
    directory: Path,
    settings: Settings | None = None,
    clock: Clock | None = None,
    connection_class: type[redis.Connection] = redis.Connection,
    database_url: str = "",
) -> AdminApp:
    """Return an application with its queues in the Redis at `url`; without an URL its database is in `directory`."""
    gate.clear()
    url_of_database = SecretUrl(database_url or put_database(directory / "database" / "nomad.db"))
    settings = replace(
        settings or Settings(),
        redis_url=SecretUrl(url),
        var_dir=directory / "var",
        database_url=url_of_database,
        # Not CCP's address, where requests stop during the daily downtime.
        esi_base_url="http://127.0.0.1:1",
    )
    clock = clock or SystemClock()
    store = Store(url_of_database, cipher=TokenCipher(["a key for tests"]), clock=clock)
    broker = JobBroker(url=url, connection_class=connection_class)
    queues = Queues(broker, settings=replace(Settings(), redis_url=SecretUrl(url)), clock=SystemClock())
    for name in QUEUES:
        queues.register(job_type_of(name))
    limiter = open_limiter(settings, clock, deadline_ms=1_500)
    registry = scraped(broker, queues, store, limiter, clock)
    return AdminApp(settings, clock, broker, queues, store, limiter, registry)


def job_type_of(queue: str) -> JobType:
    """Return the job type of a queue."""
    return JobType(
        name=f"{queue}-work",
        queue=queue,
        payload=Work,
        result=Done,
        run=work,
        priority=Priority.HIGH,
        attempts=1,
        backoff=Backoff("exponential", 2000),
        indexed=("character_id", "user_id"),
        uses_esi=queue == "token-refresh",
        concurrency=2,
    )


@pytest.fixture(scope="session", autouse=True)
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each template once per test run, not once per admin."""
    with pytest.MonkeyPatch.context() as patch:
        cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        patch.setitem(Flask.jinja_options, "bytecode_cache", cache)
        yield


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Iterator[AdminApp]:
    """An application on the test run's empty Redis and an empty database."""
    app = make_app(redis_url, tmp_path)
    yield app
    gate.set()
    app.close()


@pytest.fixture
def unchecked_web(app: AdminApp) -> Flask:
    """A new admin of `app`, whose responses are not compared with its OpenAPI document."""
    return create_app(app)


@pytest.fixture(scope="session")
def shared_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An admin that tests use one after the other, since creating the routes is slow."""
    unused_app = make_app("redis://127.0.0.1:1/0", tmp_path_factory.mktemp("nobody"))
    yield create_app(unused_app)
    unused_app.close()


@pytest.fixture
def web(app: AdminApp, shared_web: Flask) -> Iterator[Flask]:
    """The admin of `app`; a response that its OpenAPI document does not declare fails the test."""
    attach(shared_web, app)
    conforming = Conforming(shared_web, app.queues)
    yield shared_web
    conforming.close()
    assert not conforming.broken, "\n".join(conforming.broken)


@pytest.fixture
def operator(web: Flask, app: AdminApp) -> FlaskClient:
    """A client on this machine with the machine's own operator token."""
    return operator_client(web, app)


@pytest.fixture
def visitor(web: Flask) -> FlaskClient:
    """A client on this machine without a token."""
    return web.test_client()


def operator_client(web: Flask, app: AdminApp) -> FlaskClient:
    client = web.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = as_operator(app.settings.var_dir)["Authorization"]
    return client


@pytest.fixture
def workers(app: AdminApp, wait_until: Callable[..., None]) -> Iterator[None]:
    """Live workers of every queue."""
    with running(app.broker):
        wait_until(lambda: all(app.queues.get_queue(name).snapshot().workers for name in QUEUES), what="live workers")
        yield
        gate.set()


@pytest.fixture
def served(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Served]:
    """An admin in its own process, with a viewer and two operators."""
    with checked_admin(tmp_path, redis_url, wait_until) as running:
        yield running
