"""The system for hostile values: queues with live workers, a scheduler and the admin, in this process."""

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
from nomad_actors.broker.records.limits import Limits
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

#: All accepted jobs must end within this time.
SETTLE_SECONDS = 60.0
#: The longest time of a call, however busy the machine is.
CALL_SECONDS = 30.0
#: These answer 503 when the system is unhealthy; for all others 503 means that Redis or the database is away.
HEALTH_PATHS = ("/admin/jobs/health", "/admin/doctor")
QUEUES = (DATA.queue, END.queue)
_TOKEN = "o" * 43

T = TypeVar("T")


class System:
    """An application with hostile job types as a context manager; its log lines are checked."""

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
        self.deaths: list[str] = []
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(logging_to(self.lines))
            stack.enter_context(_excepthook(self._record_death))
            application = app.create_app(Settings.from_env(self.environ))
            stack.callback(application.close)
            application.store.migrate()
            self.queues: Queues = application.queues
            self.schedules = Schedules(application.queues)
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
        scheduler_thread = threading.Thread(target=scheduler.run, name="scheduler", daemon=True)
        scheduler_thread.start()
        stack.callback(scheduler.stop)
        self.run_plain_job()
        named = [each for each in threading.enumerate() if each.name in ("nomad-pump", "nomad-waiter")]
        self._threads = [scheduler_thread, *named, *self._worker.workers, *self._worker.consumers.values()]
        assert len(named) >= 2, f"no pump and no waiter: {threading.enumerate()}"

    def _log_in(self, browser: FlaskClient) -> str:
        """Log a browser in; return its form token."""
        self.browser = browser
        page = browser.get("/admin/login").text
        form = {"token": _TOKEN, "form_token": _form_token(page)}
        response = browser.post("/admin/login", data=form, headers={"Origin": "http://localhost"})
        assert response.status_code == 303, response.text
        return _form_token(browser.get(f"/admin/queues/{DATA.queue}").text)

    def queue(self, name: str) -> Queue:
        """Return a queue."""
        return self.queues.get_queue(name)

    def ask(self, request: Request, *, source: int = 0, is_page: bool = False) -> tuple[int, str]:
        """Send a request to the admin; return status and text.

        Raises `AssertionError` for a server error.
        """
        client = self.browser if is_page else self.client
        headers = [("Authorization", f"Bearer {_TOKEN}"), *request.headers] if not is_page else request.headers
        began = time.monotonic()
        response = client.open(
            request.path,
            method=request.method,
            query_string=request.query,
            headers=headers,
            data=request.body,
            # Each case has its own loopback address, so that none is locked out because of another.
            environ_base={"REMOTE_ADDR": f"127.{source >> 16 & 255}.{source >> 8 & 255}.{source & 255 or 1}"},
        )
        sent = f"{request.method} {request.path[:300]}?{request.query[:300]} {request.body[:300]!r}"
        message = f"{sent} was answered {response.status_code}: {response.text[:500]}"
        is_health = request.path in HEALTH_PATHS and "Retry-After" not in response.headers
        assert response.status_code < 500 or is_health, message
        assert not self.conforming.broken, "\n".join(self.conforming.broken)
        check_time(began, message)
        return response.status_code, response.text

    def get_ok(self, *paths: str) -> None:
        """Send GET requests that must be answered with 200."""
        for path in paths:
            address, _, query = path.partition("?")
            is_page = not address.startswith(("/admin/jobs", "/metrics"))
            status, text = self.ask(Request("GET", address, query), is_page=is_page)
            assert status == 200 or path in HEALTH_PATHS, f"{path} was answered {status}: {text[:500]}"

    def get_job(self, queue: str, job_id: str) -> None:
        """Request a job from the API and its page."""
        address = encoded(job_id)
        self.get_ok(f"/admin/jobs/queues/{queue}/jobs/{address}", f"/admin/queues/{queue}/jobs/{address}")

    def get_lists(self) -> None:
        """Request every list and page that shows the queues' contents."""
        states = ("waiting", "active", "delayed", "completed", "failed")
        for name in QUEUES:
            self.get_ok(*(f"/admin/jobs/queues/{name}/jobs?status={state}&limit=50" for state in states))
            self.get_ok(*(f"/admin/queues/{name}?status={state}" for state in states))
            self.get_ok(f"/admin/jobs/queues/{name}/failures", f"/admin/queues/{name}/failures")
        self.get_ok(
            "/admin/jobs/failed",
            "/admin/jobs/active",
            "/admin/jobs/scheduler",
            "/admin/jobs/health",
            "/metrics",
            "/admin/",
        )

    def settle(self) -> None:
        """Wait until every job has ended; failed ones must have a reason.

        Raises `AssertionError` naming the others.
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
        unfinished = []
        for name in QUEUES:
            queue = self.queue(name)
            if queue.snapshot().is_paused:
                queue.resume()
            limits = queue.snapshot().limits
            if limits != (no_limits := Limits()):
                queue.set_limits(no_limits)
            for job in queue.jobs("delayed", 0, 99):
                _ignore_our_errors(lambda queue=queue, job=job: queue.promote(job.id))  # type: ignore[misc]
            counts = queue.counts()
            if sum(counts[state] for state in ("waiting", "active", "delayed", "paused")):
                unfinished += [
                    f"{job.id} is {job.status}" for job in queue.jobs(["waiting", "active", "delayed", "paused"], 0, 9)
                ]
        return unfinished

    def run_plain_job(self) -> None:
        """Run a job without hostile values.

        Raises `AssertionError` if it does not complete.
        """
        job_id = self.queues.add_job(PLAIN.queue, PLAIN.name, {"name": "plain"}).id
        job = self.wait_for_end(PLAIN.queue, job_id)
        assert job.status == "completed", f"a plain job failed: {job.failed_reason}"

    def wait_for_end(self, queue: str, job_id: str) -> Job:
        """Wait until a job has ended, promoting it if it is delayed, and return it.

        Raises `AssertionError` if it does not end, or failed without a reason.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while (job := self.queue(queue).get(job_id)) is not None and job.status not in ("completed", "failed"):
            self.check_alive()
            assert time.monotonic() < deadline, f"job {job_id} is {job.status} after {SETTLE_SECONDS:g} s"
            if job.status == "delayed":
                _ignore_our_errors(lambda: self.queue(queue).promote(job_id))
            time.sleep(0.005)
        assert job is not None, f"job {job_id} is gone"
        _check_reason(job)
        return job

    def check_alive(self) -> None:
        """Check that all our threads are alive, none died of an exception, and every log line is valid.

        Raises `AssertionError`.
        """
        dead = self.dead_threads()
        assert not self.deaths, "\n".join(self.deaths)
        assert not dead, f"threads that ended: {dead}"
        assert not self.lines.wrong, f"invalid log lines: {self.lines.wrong[:5]}"

    def dead_threads(self) -> list[str]:
        """Return the names of our threads that have ended."""
        return [thread.name for thread in self._threads if not thread.is_alive()]

    def _record_death(self, hook_args: threading.ExceptHookArgs) -> None:
        name = hook_args.thread.name if hook_args.thread else "?"
        where = traceback.format_tb(hook_args.exc_traceback)[-3:]
        self.deaths.append(f"thread {name} died of {hook_args.exc_type.__name__}: {''.join(where)}")


def _check_reason(job: Job) -> None:
    has_reason = isinstance(job.failed_reason, str) and job.failed_reason.strip()
    assert job.status == "completed" or has_reason, f"job {job.id} failed without a reason"


def _form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found, page
    return found[1]


class _excepthook:  # noqa: N801
    """Replaces `threading.excepthook` inside a `with` block."""

    def __init__(self, hook: Callable[[threading.ExceptHookArgs], None]) -> None:
        self._hook = hook

    def __enter__(self) -> None:
        self._other = threading.excepthook
        threading.excepthook = self._hook

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._other


def _ignore_our_errors(call: Callable[[], object]) -> None:
    try:
        call()
    except NomadError:
        # The job has changed meanwhile.
        return


def only_our_errors(call: Callable[[], T]) -> T | None:
    """Return the result of a call, None if it raises one of our errors; others become `AssertionError`."""
    began = time.monotonic()
    try:
        return call()
    except NomadError as error:
        check_text(error)
        return None
    except Exception as error:
        raise AssertionError(f"raised {describe_error(error)}") from None
    finally:
        check_time(began, "a call")


def check_text(error: NomadError) -> None:
    """Raises `AssertionError` unless the text of one of our errors can be shown."""
    content = str(error)
    assert content.strip(), f"{type(error).__name__} has no text"
    assert len(content) < 20_000, f"{type(error).__name__} has {len(content)} characters"


def describe_error(error: BaseException) -> str:
    """Describe an error whose own text may be hostile."""
    if type(error) is AssertionError:
        return str(error)
    frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
    try:
        content = str(error)[:500]
    except BaseException:
        content = "(its text cannot be read)"
    return f"{type(error).__name__}: {content}\n{frames}"


def passed_our_code(error: BaseException) -> bool:
    """Return whether an error passed through our code."""
    return any("/nomad_actors/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def check_time(began: float, what: str) -> None:
    """Raises `AssertionError` if a call took too long."""
    seconds = time.monotonic() - began
    assert seconds < CALL_SECONDS, f"took {seconds:.1f} s: {what}"


def some_ids(system: System, draw: random.Random) -> list[str]:
    """Return the ids of a few existing jobs."""
    queue = system.queue(draw.choice(QUEUES))
    return [job.id for job in queue.jobs(["failed", "completed", "waiting", "delayed"], 0, 4)]
