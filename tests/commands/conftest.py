"""Runs the command in this process on the test run's Redis, with a worker for its jobs."""

from __future__ import annotations

import base64
import json
import os
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
from nomad_actors.clock import SystemClock
from nomad_actors.settings import Settings
from nomad_actors.store import Store, TokenCipher
from nomad_actors.store.database import Database
from nomad_actors.testing import running
from tests.support.databases import put_database
from tests.support.processes import environ_for

from . import shop

MODULE = "tests.commands.shop"
#: Encrypts the tokens of `logins_environ`.
KEY = base64.b64encode(os.urandom(32)).decode()

Nomad = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """Build the tree of commands once per test run, since that takes longer than most commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


@pytest.fixture
def environ(tmp_path: Path, redis_url: str, database: Database) -> dict[str, str]:
    """The environment of the command, with an existing database."""
    return environ_for(tmp_path, redis_url, NOMAD_MODULES=MODULE)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The command's database, with the schema of this release."""
    database = Database(put_database(tmp_path / "nomad.db"))
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def nomad(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Nomad:
    """`nomad("jobs", "shop")`: the command's exit code, standard output and error."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="nomad", **options)

    return call


@pytest.fixture
def nomad_json(nomad: Nomad) -> Callable[..., Any]:
    """`nomad_json("jobs", "shop")`: the JSON that the command prints with `--json`."""

    def call(*arguments: str) -> Any:
        result = nomad(*arguments, "--json")
        # A worker in this process logs the results of its jobs a little later.
        stderr = [line for line in result.stderr.splitlines() if "category=job_metrics" not in line]
        assert (result.exit_code, stderr) == (0, []), result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def access(environ: dict[str, str]) -> Iterator[QueueAccess]:
    """The command's queues, for the test itself."""
    shop.gate.clear()
    access = open_queues(Settings.from_env(environ))
    yield access
    shop.gate.set()
    access.close()


@pytest.fixture
def order(access: QueueAccess) -> Callable[..., str]:
    """`order(**data)`: add an order and return its job's id."""

    def add(delay: int = 0, **data: Any) -> str:
        return access.queues.add_job("shop", "order", {"item": "rifter", **data}, delay=delay).id

    return add


@pytest.fixture
def working(access: QueueAccess, wait_until: Callable[..., None]) -> Callable[[], AbstractContextManager[None]]:
    """`with working():` a live worker of the shop."""

    @contextmanager
    def work() -> Iterator[None]:
        with running(access.broker, queues={"shop"}):
            wait_until(lambda: access.queues.get_queue("shop").snapshot().workers, what="a live worker")
            yield
            shop.gate.set()

    return work


@pytest.fixture
def logins_environ(tmp_path: Path, redis_url: str, database: Database) -> dict[str, str]:
    """The environment of a command that reads tokens; nobody listens at its ESI and SSO."""
    return environ_for(
        tmp_path,
        redis_url,
        NOMAD_MODULES=MODULE,
        NOMAD_TOKEN_KEYS=KEY,
        EVE_CLIENT_ID="sandbox-client",
        EVE_CLIENT_SECRET="sandbox-secret",
        ESI_BASE_URL="http://127.0.0.1:1",
        SSO_BASE_URL="http://127.0.0.1:1",
    )


@pytest.fixture
def store(environ: dict[str, str]) -> Iterator[Store]:
    """The command's store; its tokens can be read with `logins_environ`."""
    store = Store(environ["DATABASE_URL"], cipher=TokenCipher([KEY]), clock=SystemClock())
    yield store
    store.close()
