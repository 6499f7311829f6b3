"""What a case of each kind does with its values, and the checks afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from typer.testing import CliRunner

from nomad_actors.broker import JobBroker
from nomad_actors.cli import app as nomad
from nomad_actors.clock import SystemClock
from nomad_actors.errors import ExitCode, SettingsError
from nomad_actors.settings import Settings
from nomad_actors.store import Store

from . import command_lines, environments, http_requests, job_calls, log_calls, raw_requests, schedule_calls
from .case import Case
from .job_types import END
from .lines import StrictLines, logging_to
from .served_admin import ServedAdmin
from .system import QUEUES, System, describe_error, only_our_errors, passed_our_code, some_ids

Kind = Callable[[Case, System], None]


def add_job(case: Case, system: System) -> None:
    """Add a job; an accepted one is shown and runs to its end."""
    call = job_calls.arguments(case.draw())
    added = only_our_errors(lambda: system.queues.add_job(**call))
    if added is not None and added.queue in QUEUES:
        assert not isinstance(added.id, bytes)
        system.get_job(added.queue, added.id)


def schedule_job(case: Case, system: System) -> None:
    """Add a schedule; an accepted one is shown and run now."""
    call = schedule_calls.arguments(case.draw())
    added_schedule = only_our_errors(lambda: system.schedules.schedule_job(**call))
    system.get_ok("/admin/jobs/scheduler", "/metrics", "/admin/jobs/health", "/admin/")
    if added_schedule is not None:
        only_our_errors(lambda: system.schedules.run_job(added_schedule.schedule.name, force=True))
        for each in system.schedules.all()[:-3]:
            only_our_errors(lambda name=each.schedule.name: system.schedules.remove_job(name))  # type: ignore[misc]


def job(case: Case, system: System) -> None:
    """Run a job that ends as the case says, and request its pages."""
    data = {"seed": case.seed, "number": case.number, "kind": case.kind}
    job_id = system.queues.add_job(END.queue, END.name, data).id
    system.wait_for_end(END.queue, job_id)
    system.get_job(END.queue, job_id)


def api(case: Case, system: System) -> None:
    """Send a request to the API."""
    draw = case.draw()
    rules = _rules(system, pages=False)
    system.ask(http_requests.request(draw, rules, some_ids(system, draw)), source=case.number + 1)


def page(case: Case, system: System) -> None:
    """Open a page or send one of its forms."""
    draw = case.draw()
    http_request = http_requests.request(draw, _rules(system, pages=True), some_ids(system, draw))
    if http_request.method == "POST":
        http_request.body = f"form_token={system.form_token}&{http_requests.query(draw)}".encode()
        http_request.headers = [
            *(
                (name, value)
                for name, value in http_request.headers
                if name not in ("Origin", "Content-Type", "Cookie")
            ),
            ("Origin", "http://localhost"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
    system.ask(http_request, source=case.number + 1, is_page=True)


def _rules(system: System, *, pages: bool) -> list[tuple[str, str]]:
    found = []
    for rule, methods in system.rules:
        is_page = rule.startswith("/admin") and not rule.startswith(("/admin/jobs", "/admin/doctor", "/admin/openapi"))
        # Logging out or in invalidates the form token.
        if is_page == pages and rule not in ("/admin/logout", "/admin/login"):
            found += [(method, rule) for method in sorted(methods & {"GET", "POST", "PUT", "DELETE"})]
    return found


def command(case: Case, system: System) -> None:
    """Run a command of `nomad`."""
    arguments = command_lines.command_line(case.draw())
    result = _invoke(arguments, system.environ)
    _check_command(arguments, result)


def _invoke(arguments: list[str], environ: Mapping[str, str]) -> Any:
    shown = warnings.showwarning
    try:
        return CliRunner().invoke(nomad, arguments, prog_name="nomad", env=dict(environ), input="y\n")
    finally:
        warnings.showwarning = shown


def _check_command(arguments: list[str], result: Any) -> None:
    message = f"{arguments!r:.1000} ended with {result.exit_code}: {result.output[-1000:]!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        f"{describe_error(result.exception)}\n{message}"
    )
    assert result.exit_code in set(ExitCode), message
    assert "fault of nomad" not in result.output, message
    assert "Traceback" not in result.output, message
    if result.exit_code:
        assert result.output.strip(), message


def settings(case: Case, system: System) -> None:
    """Read settings; accepted ones must be accepted by redis-py and SQLAlchemy too."""
    environ = environments.environ(case.draw())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = Settings.from_env(environ)
        except SettingsError as error:
            _check_problems(error, environ)
            return
        except Exception as error:
            raise AssertionError(f"{dict(environ)!r:.1000} raised {describe_error(error)}") from None
        repr(read)
        only_our_errors(lambda: JobBroker(url=read.redis_url).close())
        only_our_errors(lambda: Store(read.database_url, cipher=None, clock=SystemClock()).close())


def _check_problems(error: SettingsError, environ: Mapping[str, str]) -> None:
    assert error.problems, "no problem is named"
    for problem in error.problems:
        assert any(name in problem for name in (*environ, "REDIS_URL")), f"no variable is named: {problem}"
        assert "\n" not in problem, f"more than one line: {problem!r}"
        problem.encode()


def log_line(case: Case, system: System) -> None:
    """Log a line in both formats; it must raise nothing and be written."""
    for log_format in ("json", "logfmt"):
        lines = StrictLines(log_format)
        call, is_ours = log_calls.call(case.draw())
        with logging_to(lines):
            try:
                call()
            except BaseException as error:
                # The standard library reads its arguments before it calls us.
                if is_ours or passed_our_code(error):
                    raise AssertionError(f"a log call in {log_format} raised {describe_error(error)}") from None
                continue
        assert not lines.wrong, f"in {log_format}: {lines.wrong[:3]}"
        assert lines.count, f"in {log_format}: nothing was written"


KINDS: Mapping[str, Kind] = {
    each.__name__: each for each in (add_job, schedule_job, job, api, page, command, settings, log_line)
}


def raw_request(case: Case, admin: ServedAdmin) -> None:
    """Send bytes to the admin process."""
    admin.send(raw_requests.raw_request(case.draw()))
