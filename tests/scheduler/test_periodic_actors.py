"""Dramatiq actors with `periodic=` in a user's module are fired, shown and changed like any schedule."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from admin import create_app as create_admin
from nomad_actors.app import App, create_app
from nomad_actors.broker.client.slots import StoredSchedule
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadPayload, SettingsError, UnknownJobType
from nomad_actors.queues.search import JobFilter
from nomad_actors.scheduler import ScheduledJob, Schedules, SlotScheduler
from nomad_actors.scheduler.status import get_job_status, undeclared
from nomad_actors.settings import Settings
from nomad_actors.testing import running
from tests.support.operator import as_operator
from tests.support.processes import ROOT, environ_for, program

PERIODIC = """
import dramatiq
from periodiq import cron

ran = []


@dramatiq.actor(queue_name="rates", periodic=cron("*/5 * * * *"), max_retries=0)
def refresh_rates():
    '''Fetch the exchange rates.

    From the bank.
    '''
    ran.append(1)


@dramatiq.actor(queue_name="rates")
def without():
    pass
"""
PLAIN = "import dramatiq\n\n\n@dramatiq.actor(queue_name='rates')\ndef without():\n    pass\n"

_numbers = itertools.count()


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """The environment of this test's application."""
    return environ_for(tmp_path, redis_url, PYTHONPATH=f"{tmp_path}:{ROOT}")


@pytest.fixture
def module(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """`module(code)`: write a module with this code, set NOMAD_MODULES to its name and return the name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(code: str = PERIODIC) -> str:
        name = f"periodic_tasks_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(code)
        environ["NOMAD_MODULES"] = name
        return name

    return write


@pytest.fixture
def open_app(environ: dict[str, str], clock: ManualClock) -> Iterator[Callable[[], App]]:
    """`open_app()`: a new application with the modules that the environment names now."""
    opened: list[App] = []

    def open_one() -> App:
        opened.append(create_app(Settings.from_env(environ), clock=clock))
        return opened[-1]

    yield open_one
    for app in opened:
        app.close()


def scheduler(app: App) -> SlotScheduler:
    """Return a scheduler like the program's after one round."""
    made = SlotScheduler(Schedules(app.queues), app.queues.schedules(), app.clock)
    made.schedule()
    return made


def test_a_periodic_actor_is_fired_and_reported_as_any_schedule(
    module: Callable[..., str], open_app: Callable[[], App], clock: ManualClock
) -> None:
    name = module()
    app = open_app()
    each = scheduler(app)
    clock.advance(seconds=60)
    each.schedule()
    with running(app.broker):
        app.broker.join("rates", timeout=5000)
    assert sys.modules[name].ran == [1]
    shown = get_job_status(app.queues, "refresh_rates")
    expected = {
        "cronExpression": "*/5 * * * *",
        "description": "Fetch the exchange rates.",
        "queueName": "rates",
        "jobType": "refresh_rates",
        "data": {},
        "timezone": "UTC",
        "misfire": "once",
        "overlap": "skip",
        "declared": True,
        "overridden": [],
        "lastOutcome": "completed",
        "nextRun": "2026-11-29T09:05:00+00:00",
    }
    assert expected.items() <= shown.items()


def test_a_periodic_actor_is_started_stopped_and_run(
    module: Callable[..., str], open_app: Callable[[], App], clock: ManualClock
) -> None:
    module()
    app = open_app()
    each, schedules = scheduler(app), Schedules(app.queues)
    schedules.stop_job("refresh_rates")
    clock.advance(seconds=600)
    each.schedule()
    assert app.queues.get_queue("rates").counts()["waiting"] == 0
    added = schedules.run_job("refresh_rates", by="me")
    assert (added.queue, added.state) == ("rates", "waiting")
    job = app.queues.get_queue("rates").get(added.id)
    assert job is not None
    assert (job.name, job.requested_by) == ("refresh_rates", "schedule:refresh_rates")
    assert schedules.start_job("refresh_rates").schedule.enabled


def test_the_api_and_the_pages_show_it_and_its_job(
    module: Callable[..., str], open_app: Callable[[], App], environ: dict[str, str]
) -> None:
    module()
    app = open_app()
    scheduler(app)
    client = create_admin(app).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = as_operator(app.settings.var_dir)["Authorization"]
    listed = client.get("/admin/jobs/scheduler").get_json()["jobs"]
    assert [each["jobType"] for each in listed if each["name"] == "refresh_rates"] == ["refresh_rates"]
    done = client.post("/admin/jobs/scheduler/refresh_rates/run", json={})
    assert done.status_code == 200, done.get_json()
    (job,) = client.get("/admin/jobs/queues/rates/jobs").get_json()["jobs"]
    assert job["name"] == "refresh_rates"
    for path in (
        "/admin/",
        "/admin/schedules/refresh_rates",
        "/admin/queues/rates",
        f"/admin/queues/rates/jobs/{job['id']}",
    ):
        page = client.get(path)
        assert (page.status_code, "refresh_rates" in page.get_data(as_text=True)) == (200, True), path


def test_its_jobs_have_a_known_type(
    module: Callable[..., str], open_app: Callable[[], App], environ: dict[str, str]
) -> None:
    module()
    app = open_app()
    scheduler(app)
    added = Schedules(app.queues).run_job("refresh_rates")
    queue = app.queues.get_queue("rates")
    assert [job.id for job in queue.find(JobFilter(job_type="refresh_rates"), limit=5).jobs] == [added.id]
    with pytest.raises(UnknownJobType, match="allowed: refresh_rates, without"):
        queue.find(JobFilter(job_type="nobody"), limit=5)
    output = nomad(environ, "doctor", codes=(0, 1, 2))
    assert "this code and the workers know the job types of all sampled jobs" in output, output


def test_an_operator_may_change_its_calendar_but_not_add_arguments(
    module: Callable[..., str], open_app: Callable[[], App]
) -> None:
    module()
    app = open_app()
    scheduler(app)
    schedules = Schedules(app.queues)
    changed = schedules.schedule_job("refresh_rates", "@daily", ("refresh_rates", {}))
    assert "expression" in changed.overridden
    with pytest.raises(BadPayload, match=r"'refresh_rates' is scheduled without arguments.*allowed: {}"):
        schedules.schedule_job("refresh_rates", "@daily", ScheduledJob("refresh_rates", {"x": 1}))
    assert dict(schedules.get("refresh_rates").schedule.data) == {}


def test_the_schedule_of_a_removed_actor_is_removed(module: Callable[..., str], open_app: Callable[[], App]) -> None:
    module()
    app = open_app()
    assert "refresh_rates" in undeclared(app.queues, known=[])
    scheduler(app)
    module(PLAIN)
    app = open_app()
    assert "refresh_rates" not in undeclared(app.queues, known=[])
    assert Schedules(app.queues).find("refresh_rates") is not None
    scheduler(app)
    assert Schedules(app.queues).find("refresh_rates") is None


def test_the_actors_of_a_module_belong_to_the_last_application(
    module: Callable[..., str], open_app: Callable[[], App]
) -> None:
    name = module()
    open_app()
    last = open_app()
    actor = sys.modules[name].refresh_rates
    assert actor.broker is last.broker
    assert last.broker.get_actor("refresh_rates") is actor
    assert [each.name for each in last.queues.schedules()].count("refresh_rates") == 1


def test_an_actor_of_another_broker_stays_there(module: Callable[..., str], open_app: Callable[[], App]) -> None:
    name = module(
        "from dramatiq.brokers.stub import StubBroker\nimport dramatiq\nbroker = StubBroker()\n"
        "@dramatiq.actor(broker=broker)\ndef elsewhere(): pass\n"
    )
    app = open_app()
    assert sys.modules[name].elsewhere.broker is sys.modules[name].broker
    assert "elsewhere" not in app.broker.actors


@pytest.mark.parametrize(
    ("actor", "message"),
    [
        ("actor_name='two words', periodic=cron('@daily')", "actor 'two words' .*schedule name 'two words'.*letters"),
        ("actor_name='cache-cleanup2', periodic='61 * * * *'", "actor 'cache-cleanup2' .*minute.*0 to 59"),
        ("actor_name='cache-cleanup', periodic=cron('@daily')", "cache-cleanup"),
    ],
)
def test_an_invalid_periodic_option_is_refused_at_the_start(
    module: Callable[..., str], open_app: Callable[[], App], actor: str, message: str
) -> None:
    module(f"import dramatiq\nfrom periodiq import cron\n@dramatiq.actor({actor})\ndef task(): pass\n")
    with pytest.raises(SettingsError, match=f"NOMAD_MODULES.*{message}"):
        open_app()


def test_a_module_without_job_types_and_actors_is_refused(
    module: Callable[..., str], open_app: Callable[[], App]
) -> None:
    module("x = 1\n")
    with pytest.raises(SettingsError, match="declares no JobType and no actor; allowed: modules with"):
        open_app()


def nomad(environ: Mapping[str, str], *arguments: str, codes: Container[int] = (0,)) -> str:
    command = [sys.executable, "-m", "nomad_actors.cli", *arguments]
    done = subprocess.run(command, env=dict(environ), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode in codes, done.stderr
    return done.stdout


@pytest.mark.slow
def test_as_users_run_it(
    module: Callable[..., str], environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    module()
    app = create_app(Settings.from_env(environ))
    schedules, counts = Schedules(app.queues), app.queues.get_queue("rates").counts
    schedules.declare(app.queues.schedules())
    _go_back(schedules, seconds=1_200)
    with program(["nomad_actors.cli", "run", "scheduler"], environ, tmp_path):
        # The slots are late: the last of them runs.
        wait_until(lambda: counts()["waiting"] == 1, timeout_seconds=30)
        assert "refresh_rates" in nomad(environ, "schedules")
        nomad(environ, "schedules", "stop", "refresh_rates")
        nomad(environ, "schedules", "start", "refresh_rates")
        assert "is waiting" in nomad(environ, "schedules", "run", "refresh_rates", "--force")
        assert counts()["waiting"] == 2
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path):
        wait_until(lambda: counts()["completed"] == 2, timeout_seconds=40)
    app.close()


def _go_back(schedules: Schedules, *, seconds: int) -> None:
    """Set a schedule's watermark back, as if no scheduler had run since."""

    def changed(stored: StoredSchedule | None) -> Mapping[str, Any]:
        assert stored is not None
        return {"enabled": True, "declared": stored.declared, "overrides": stored.overrides}

    begin = str(int(time.time() * 1000) - seconds * 1000)
    schedules.book.put("rates", "refresh_rates", changed, begin=begin)
