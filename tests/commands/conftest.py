"""The command, run in this process on the test run's Redis, and a worker for its jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.cli import app
from nomad_actors.settings import Settings
from nomad_actors.store.database import Database
from nomad_actors.testing import running
from tests.databases import put_database
from tests.processes import environ_for

from . import shop

MODULE = "tests.commands.shop"

Nomad = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """Make the tree of commands once a test run: it takes longer than most commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


@pytest.fixture
def environ(tmp_path: Path, redis_url: str, database: Database) -> dict[str, str]:
    """The environment of the command; its database is there, as where workers have run."""
    return environ_for(tmp_path, redis_url, NOMAD_MODULES=MODULE)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The command's database, of this release."""
    database = Database(put_database(tmp_path / "nomad.db"))
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def nomad(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Nomad:
    """`nomad("jobs", "shop")`: the command's exit code, standard output and error."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="nomad", **more)

    return call


@pytest.fixture
def told(nomad: Nomad) -> Callable[..., Any]:
    """`told("jobs", "shop")`: what the command says with `--json`, and nothing else."""

    def call(*arguments: str) -> Any:
        result = nomad(*arguments, "--json")
        # A worker in this process writes what became of its jobs a moment later.
        said = [line for line in result.stderr.splitlines() if "category=job_metrics" not in line]
        assert (result.exit_code, said) == (0, []), result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def access(environ: dict[str, str]) -> Iterator[QueueAccess]:
    """The same queues, for the test itself."""
    shop.gate.clear()
    access = open_queues(Settings.from_env(environ))
    yield access
    shop.gate.set()
    access.close()


@pytest.fixture
def order(access: QueueAccess) -> Callable[..., str]:
    """Add an order and return its job's id."""

    def add(delay: int = 0, **data: Any) -> str:
        return access.queues.add_job("shop", "order", {"item": "rifter", **data}, delay=delay).id

    return add


@pytest.fixture
def working(access: QueueAccess, wait_until: Callable[..., None]) -> Callable[[], AbstractContextManager[None]]:
    """A live worker of the shop for the time of a `with`."""

    @contextmanager
    def work() -> Iterator[None]:
        with running(access.broker, queues={"shop"}):
            wait_until(lambda: access.queues.get_queue("shop").snapshot().workers, what="a live worker")
            yield
            shop.gate.set()

    return work
