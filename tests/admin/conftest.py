"""An admin over real queues on the test run's Redis, and a client that asks it as this machine does."""

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
from admin.parts import keep
from chaos.conforming import Conforming
from nomad_actors.app import AdminAccess
from nomad_actors.broker import JobBroker
from nomad_actors.clock import Clock, SystemClock
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

from .served import Served, a_watched_admin

#: The queues that the schedules name.
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


#: Held shut while jobs are meant to run.
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


class Parts(AdminAccess):
    """What the admin uses of an application, and what a test does to it."""

    @property
    def schedules(self) -> Schedules:
        """The schedules, to be changed."""
        return Schedules(self.queues, self.clock)

    def hear_scheduler(self) -> None:
        """Do what a scheduler does that starts: declare the code's schedules, and say that it lives."""
        self.schedules.declare(SCHEDULES)
        self.schedules.book.beat("a-host:1", self.schedules.book.redis_ms(), forget_before_ms=0)

    def lose_database(self) -> None:
        """Take the database away, as a disk that is gone does."""
        self.store.migrate()
        self.store.close()
        place = Path(self.store.database.url.database or "").parent
        place.rename(place.with_name("taken away"))
        place.touch()

    def find_database(self) -> None:
        """Bring it back."""
        place = Path(self.store.database.url.database or "").parent
        place.unlink()
        place.with_name("taken away").rename(place)

    def add(self, queue: str = "token-refresh", **data: object) -> str:
        """Add a job and return its id."""
        return self.queues.add_job(queue, f"{queue}-work", {"character_id": 1, **data}).id

    def run_all(self, queue: str = "token-refresh") -> None:
        """Run what waits."""
        with running(self.broker):
            self.broker.join(queue, timeout=5000)


def parts_on(
    url: str,
    directory: Path,
    settings: Settings | None = None,
    clock: Clock | None = None,
    connection_class: type[redis.Connection] = redis.Connection,
) -> Parts:
    """Return the parts of an application: queues in the Redis at `url`, the database in `directory`."""
    gate.clear()
    url_of_database = SecretUrl(put_database(directory / "database" / "nomad.db"))
    settings = replace(settings or Settings(), var_dir=directory / "var", database_url=url_of_database)
    clock = clock or SystemClock()
    store = Store(url_of_database, cipher=TokenCipher(["a key for tests"]), clock=clock)
    broker = JobBroker(url=url, connection_class=connection_class)
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    for name in QUEUES:
        queues.register(job_type_of(name))
    return Parts(settings, clock, broker, queues, store, scraped(broker, queues, store, clock))


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
        talks_to_esi=queue == "token-refresh",
        concurrency=2,
    )


@pytest.fixture(scope="session", autouse=True)
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each template once for all the admins of a test run, not once for each."""
    with pytest.MonkeyPatch.context() as patch:
        kept = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        patch.setitem(Flask.jinja_options, "bytecode_cache", kept)
        yield


@pytest.fixture
def parts(redis_url: str, tmp_path: Path) -> Iterator[Parts]:
    """The parts of an application on the test run's empty Redis and an empty database."""
    parts = parts_on(redis_url, tmp_path)
    yield parts
    gate.set()
    parts.close()


@pytest.fixture
def bare(parts: Parts) -> Flask:
    """An admin of those parts for one test alone, nobody watching its answers."""
    return create_app(parts)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The admin that tests have one after the other: most of the time that making one takes goes into its routes."""
    nobodys = parts_on("redis://127.0.0.1:1/0", tmp_path_factory.mktemp("nobody"))
    yield create_app(nobodys)
    nobodys.close()


@pytest.fixture
def web(parts: Parts, shared: Flask) -> Iterator[Flask]:
    """The admin of those parts; no answer of it may be one that its document does not know."""
    keep(shared, parts)
    conforming = Conforming(shared, parts.queues)
    yield shared
    conforming.close()
    assert not conforming.broken, "\n".join(conforming.broken)


@pytest.fixture
def ask(web: Flask, parts: Parts) -> FlaskClient:
    """A client on this machine, with the token that this machine's operator has."""
    return with_token(web, parts)


@pytest.fixture
def visit(web: Flask) -> FlaskClient:
    """A client on this machine, without a token."""
    return web.test_client()


def with_token(web: Flask, parts: Parts) -> FlaskClient:
    """Return a client that sends the token of this machine's operator."""
    client = web.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = as_operator(parts.settings.var_dir)["Authorization"]
    return client


@pytest.fixture
def serving(parts: Parts, wait_until: Callable[..., None]) -> Iterator[None]:
    """A live worker of every queue."""
    with running(parts.broker):
        wait_until(lambda: all(parts.queues.get_queue(name).snapshot().workers for name in QUEUES), what="live workers")
        yield
        gate.set()


@pytest.fixture
def served(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Served]:
    """An admin with a viewer and two operators."""
    with a_watched_admin(tmp_path, redis_url, wait_until) as running:
        yield running
