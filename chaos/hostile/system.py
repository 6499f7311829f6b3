"""The system that hostile values are given to: queues with live workers, a scheduler and the admin, in this process."""

from __future__ import annotations

import random
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

from dramatiq import Worker
from flask.testing import FlaskClient

from admin import create_app
from nomad_actors import app
from nomad_actors.broker.records.holds import Limits
from nomad_actors.errors import NomadError
from nomad_actors.queues import Queues
from nomad_actors.queues.job import Job
from nomad_actors.queues.queue import Queue
from nomad_actors.scheduler import Schedules, SlotScheduler
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import token_entry

from ..conforming import Conforming
from .http_requests import Request, encoded
from .job_types import DATA, END, PLAIN
from .lines import StrictLines, logging_to

#: How long everything that was accepted has to end.
SETTLE_SECONDS = 60.0
#: No call of a caller takes longer, however busy the machine is.
CALL_SECONDS = 30.0
#: These judge, and say 503 where something is not well; of all others it would say that Redis or the database is away.
JUDGES = ("/admin/jobs/health", "/admin/doctor")
QUEUES = (DATA.queue, END.queue)
_TOKEN = "o" * 43

T = TypeVar("T")


class System:
    """An application with hostile job types, for the time of a `with`; its log is read strictly."""

    def __init__(self, redis_url: str, directory: Path, log_format: str) -> None:
        self.environ: Mapping[str, str] = {
            "REDIS_URL": redis_url,
            "NOMAD_VAR_DIR": str(directory),
            "DATABASE_URL": f"sqlite:///{directory / 'nomad.db'}",
            "NOMAD_MODULES": "chaos.hostile.job_types",
            "NOMAD_ADMIN_TOKENS": token_entry("otto", "operator", _TOKEN).entry,
            "NOMAD_KEEP_COMPLETED": "100000/24h",
            "NOMAD_KEEP_FAILED": "100000/24h",
            "EVE_CLIENT_ID": "hostile",
            "ESI_BASE_URL": "http://127.0.0.1:9",
            "SSO_BASE_URL": "http://127.0.0.1:9",
            "ADMIN_PORT": "0",
            "LOG_FORMAT": log_format,
        }
        self.lines = StrictLines(log_format)
        self.died: list[str] = []
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(logging_to(self.lines))
            stack.enter_context(_excepthook(self._note_death))
            application = app.create_app(Settings.from_env(self.environ))
            stack.callback(application.close)
            application.store.migrate()
            self.queues: Queues = application.queues
            self.schedules = Schedules(application.queues, application.clock)
            web = create_app(application)
            self.conforming = Conforming(web, application.queues)
            self.rules = [
                (rule.rule, rule.methods or set()) for rule in web.url_map.iter_rules() if rule.endpoint != "static"
            ]
            self.client = web.test_client()
            self._start(stack, application)
            self.form_token = self._log_in(web.test_client())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack, application: app.App) -> None:
        self._worker = Worker(application.broker, worker_threads=8, worker_timeout=100, queues=set(QUEUES))
        self._worker.start()
        stack.callback(self._worker.stop, timeout=5_000)
        scheduler = SlotScheduler(self.schedules, [], application.clock)
        firing = threading.Thread(target=scheduler.run, name="scheduler", daemon=True)
        firing.start()
        stack.callback(scheduler.stop)
        self.run_plain_job()
        named = [each for each in threading.enumerate() if each.name in ("nomad-pump", "nomad-waiter")]
        self._threads = [firing, *named, *self._worker.workers, *self._worker.consumers.values()]
        assert len(named) >= 2, f"no pump and no waiter: {threading.enumerate()}"

    def _log_in(self, browser: FlaskClient) -> str:
        """Log a browser in; return the token of its forms."""
        self.browser = browser
        page = browser.get("/admin/login").text
        form = {"token": _TOKEN, "form_token": _form_token(page)}
        answer = browser.post("/admin/login", data=form, headers={"Origin": "http://localhost"})
        assert answer.status_code == 303, answer.text
        return _form_token(browser.get(f"/admin/queues/{DATA.queue}").text)

    def queue(self, name: str) -> Queue:
        """Return a queue."""
        return self.queues.get_queue(name)

    def ask(self, request: Request, *, source: int = 0, is_page: bool = False) -> tuple[int, str]:
        """Send a request to the admin; return status and text.

        Raises `AssertionError` for an answer that blames us.
        """
        client = self.browser if is_page else self.client
        headers = [("Authorization", f"Bearer {_TOKEN}"), *request.headers] if not is_page else request.headers
        began = time.monotonic()
        answer = client.open(
            request.path,
            method=request.method,
            query_string=request.query,
            headers=headers,
            data=request.body,
            # Each case comes from a loopback address of its own: none is locked out for what another tried.
            environ_base={"REMOTE_ADDR": f"127.{source >> 16 & 255}.{source >> 8 & 255}.{source & 255 or 1}"},
        )
        asked = f"{request.method} {request.path[:300]}?{request.query[:300]} {request.body[:300]!r}"
        said = f"{asked} was answered {answer.status_code}: {answer.text[:500]}"
        judges = request.path in JUDGES and "Retry-After" not in answer.headers
        assert answer.status_code < 500 or judges, said
        assert not self.conforming.broken, "\n".join(self.conforming.broken)
        check_time(began, said)
        return answer.status_code, answer.text

    def look(self, *paths: str) -> None:
        """Ask for addresses that must be answered with 200."""
        for path in paths:
            address, _, query = path.partition("?")
            is_page = not address.startswith(("/admin/jobs", "/metrics"))
            status, text = self.ask(Request("GET", address, query), is_page=is_page)
            assert status == 200 or path in JUDGES, f"{path} was answered {status}: {text[:500]}"

    def look_at_job(self, queue: str, job_id: str) -> None:
        """Look at a job through the API and its page."""
        address = encoded(job_id)
        self.look(f"/admin/jobs/queues/{queue}/jobs/{address}", f"/admin/queues/{queue}/jobs/{address}")

    def look_at_lists(self) -> None:
        """Look at all that shows what the queues hold."""
        states = ("waiting", "active", "delayed", "completed", "failed")
        for name in QUEUES:
            self.look(*(f"/admin/jobs/queues/{name}/jobs?status={state}&limit=50" for state in states))
            self.look(*(f"/admin/queues/{name}?status={state}" for state in states))
            self.look(f"/admin/jobs/queues/{name}/failures", f"/admin/queues/{name}/failures")
        self.look(
            "/admin/jobs/failed",
            "/admin/jobs/active",
            "/admin/jobs/scheduler",
            "/admin/jobs/health",
            "/metrics",
            "/admin/",
        )

    def settle(self) -> None:
        """Wait until every job has ended, each with a reason where it failed.

        Raises `AssertionError` naming those that have not.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while open_jobs := self._open_jobs():
            self.check_alive()
            assert time.monotonic() < deadline, f"not ended after {SETTLE_SECONDS:g} s: {open_jobs[:10]}"
            time.sleep(0.02)
        for name in QUEUES:
            for job in self.queue(name).jobs("failed"):
                _check_reason(job)

    def _open_jobs(self) -> list[str]:
        found = []
        for name in QUEUES:
            queue = self.queue(name)
            if queue.snapshot().is_paused:
                queue.resume()
            limits = queue.snapshot().limits
            if limits != (none := Limits()):
                queue.set_limits(none)
            for job in queue.jobs("delayed", 0, 99):
                _tolerate(lambda queue=queue, job=job: queue.promote(job.id))  # type: ignore[misc]
            counts = queue.counts()
            if sum(counts[state] for state in ("waiting", "active", "delayed", "paused")):
                found += [
                    f"{job.id} is {job.status}" for job in queue.jobs(["waiting", "active", "delayed", "paused"], 0, 9)
                ]
        return found

    def run_plain_job(self) -> None:
        """Run a job in which nothing is hostile.

        Raises `AssertionError` when it does not complete.
        """
        job_id = self.queues.add_job(PLAIN.queue, PLAIN.name, {"name": "plain"}).id
        job = self.ended(PLAIN.queue, job_id)
        assert job.status == "completed", f"a plain job failed: {job.failed_reason}"

    def ended(self, queue: str, job_id: str) -> Job:
        """Return a job when it has ended, without waiting for a delay of it.

        Raises `AssertionError` when it does not, or without a reason.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while (job := self.queue(queue).get(job_id)) is not None and job.status not in ("completed", "failed"):
            self.check_alive()
            assert time.monotonic() < deadline, f"job {job_id} is {job.status} after {SETTLE_SECONDS:g} s"
            if job.status == "delayed":
                _tolerate(lambda: self.queue(queue).promote(job_id))
            time.sleep(0.005)
        assert job is not None, f"job {job_id} is gone"
        _check_reason(job)
        return job

    def check_alive(self) -> None:
        """Check that every thread of ours lives, that none died of an exception, and that every line is strict.

        Raises `AssertionError`.
        """
        dead = self.dead_threads()
        assert not self.died, "\n".join(self.died)
        assert not dead, f"threads that ended: {dead}"
        assert not self.lines.wrong, f"lines that no strict reader takes: {self.lines.wrong[:5]}"

    def dead_threads(self) -> list[str]:
        """Return the names of our threads that have ended."""
        return [thread.name for thread in self._threads if not thread.is_alive()]

    def _note_death(self, thrown: threading.ExceptHookArgs) -> None:
        name = thrown.thread.name if thrown.thread else "?"
        where = traceback.format_tb(thrown.exc_traceback)[-3:]
        self.died.append(f"thread {name} died of {thrown.exc_type.__name__}: {''.join(where)}")


def _check_reason(job: Job) -> None:
    has_reason = isinstance(job.failed_reason, str) and job.failed_reason.strip()
    assert job.status == "completed" or has_reason, f"job {job.id} failed without a reason"


def _form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found, page
    return found[1]


class _excepthook:  # noqa: N801
    """Takes note of what a thread dies of, for the time of a `with`."""

    def __init__(self, hook: Callable[[threading.ExceptHookArgs], None]) -> None:
        self._hook = hook

    def __enter__(self) -> None:
        self._other = threading.excepthook
        threading.excepthook = self._hook

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._other


def _tolerate(call: Callable[[], object]) -> None:
    try:
        call()
    except NomadError:
        # It has gone on meanwhile.
        return


def ours_alone(call: Callable[[], T]) -> T | None:
    """Return what a call returns, None where it raises an error of ours; any other is an `AssertionError`."""
    began = time.monotonic()
    try:
        return call()
    except NomadError as error:
        check_words(error)
        return None
    except Exception as error:
        raise AssertionError(f"raised {foreign(error)}") from None
    finally:
        check_time(began, "a call")


def check_words(error: NomadError) -> None:
    """Raises `AssertionError` unless an error of ours says something that can be shown."""
    words = str(error)
    assert words.strip(), f"{type(error).__name__} says nothing"
    assert len(words) < 20_000, f"{type(error).__name__} says {len(words)} characters"


def foreign(error: BaseException) -> str:
    """Return what is known of an error whose own words may be hostile."""
    if type(error) is AssertionError:
        return str(error)
    frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
    try:
        words = str(error)[:500]
    except BaseException:
        words = "(its text cannot be had)"
    return f"{type(error).__name__}: {words}\n{frames}"


def passed_us(error: BaseException) -> bool:
    """Return whether an error was raised below code of ours."""
    return any("/nomad_actors/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def check_time(began: float, what: str) -> None:
    """Raises `AssertionError` when too much time has gone by."""
    took = time.monotonic() - began
    assert took < CALL_SECONDS, f"took {took:.1f} s: {what}"


def some_ids(system: System, draw: random.Random) -> list[str]:
    """Return ids of a few jobs that are there."""
    queue = system.queue(draw.choice(QUEUES))
    return [job.id for job in queue.jobs(["failed", "completed", "waiting", "delayed"], 0, 4)]
