"""What all of our own tests share: short names of the test kit's fixtures, and how a run of them begins."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import redis
from hypothesis import Phase, settings

from nomad_actors import testing
from nomad_actors.broker import JobBroker
from nomad_actors.logs.known_secrets import KNOWN
from nomad_actors.testing import LocalRedis
from tests.support import postgres as postgres_server
from tests.support.postgres import Postgres

# Without the phase that explains a failure: it traces each line, and CPython 3.11 has stood still in that for ever.
settings.register_profile("untraced", phases=set(Phase) - {Phase.explain})
settings.load_profile("untraced")


def pytest_configure() -> None:
    """Let Ctrl-C mean something in what the tests start: a shell starts what runs in the background deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests: one begun last would be waited for with nothing else to do."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[pytest.TestReport]:
    """Make text of whatever a test wrote: its process hands the report to another, which takes nothing else."""
    report: pytest.TestReport = yield
    report.sections = [(name, output.encode(errors="backslashreplace").decode()) for name, output in report.sections]
    return report


@pytest.fixture(autouse=True)
def only_own_secrets() -> Iterator[None]:
    """Forget the secrets that a test registers: the process would hide them in the texts of the tests after it."""
    secrets, by_chunk = KNOWN._secrets.copy(), KNOWN._by_chunk.copy()
    yield
    KNOWN._secrets, KNOWN._by_chunk = secrets, by_chunk


@pytest.fixture(scope="session")
def nomad_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """The test run's Redis, append-only as one in use should be: without it no system is healthy."""
    server = LocalRedis(tmp_path_factory.mktemp("redis"), append_only=True, appendfsync="no").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(nomad_redis_server: LocalRedis) -> LocalRedis:
    """A Redis on a port and in a directory of its own, one a test run."""
    return nomad_redis_server


@pytest.fixture
def redis_client(nomad_redis: redis.Redis) -> redis.Redis:
    """A client of the test run's Redis, which is empty."""
    return nomad_redis


@pytest.fixture
def redis_url(nomad_redis_url: str) -> str:
    """The URL of the test run's Redis, which is empty."""
    return nomad_redis_url


@pytest.fixture
def own_redis(nomad_own_redis: LocalRedis) -> LocalRedis:
    """An append-only Redis of this test alone, to be killed and brought back."""
    return nomad_own_redis


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test run's own; the test is skipped where none is installed."""
    yield from postgres_server.serve()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout_seconds=10, what="")`."""
    return testing.wait_until


@pytest.fixture
def broker(redis_url: str) -> Iterator[JobBroker]:
    """A broker on the test run's Redis, with Dramatiq's own middleware."""
    broker = JobBroker(url=redis_url)
    yield broker
    broker.close()
