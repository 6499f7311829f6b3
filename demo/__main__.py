"""`python -m demo [--once]`: starts everything, adds jobs, shows their progress, and cleans up."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nomad_actors import App, Settings
from nomad_actors.app import create_app
from nomad_actors.errors import NomadError
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.private_files import make_files_private
from nomad_actors.store import local_token

from . import load, summary
from .environment import ADMIN_PORT, Ports, child_environ, exports, needs_own_redis
from .programs import Programs, wait_for

#: The time limit for the first jobs; they take about ten seconds.
DEADLINE_SECONDS = 80.0
POLL_SECONDS = 0.2
#: The time between two jobs of the steady load.
STEADY_SECONDS = 2.0

#: A table needs some width; a terminal has its own.
console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=110)


class Interrupted(Exception):
    """Raised in the main thread by Ctrl-C or SIGTERM."""


def main() -> int:
    """Run the demo; return 0 if every job type has run and nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end with a summary when every job type has run")
    arguments = parser.parse_args()
    make_files_private()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    directory = Path(tempfile.mkdtemp(prefix="nomad-demo-"))
    try:
        return _run(directory, once=arguments.once)
    except Interrupted:
        console.print("Stopped.")
        return 130
    except NomadError as error:
        console.print(f"[red]{error}[/]")
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _interrupt(number: int, _: FrameType | None) -> None:
    # Ignore further signals: the shutdown is running and ends by itself.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted


def _run(directory: Path, *, once: bool) -> int:
    with contextlib.ExitStack() as stack:
        redis = None
        if needs_own_redis(os.environ):
            redis = LocalRedis(directory / "redis", append_only=True, ends_with_parent=True).start()
            stack.callback(redis.stop)
        console.print(f"Redis: {redis.url if redis else 'the one of REDIS_URL or REDIS_HOST'}")
        programs = stack.enter_context(Programs(directory))
        sandbox_url = programs.start_sandbox()
        console.print(f"Sandbox ESI and SSO: {sandbox_url}")
        ports = Ports.choose()
        environ = child_environ(os.environ, directory=directory, redis=redis, sandbox_url=sandbox_url, ports=ports)
        app = create_app(Settings.from_env(environ))
        stack.callback(app.close)
        app.broker.ping()
        characters = load.save_logins(app, sandbox_url)
        console.print(f"Saved the logins of {len(characters)} characters; starting workers, scheduler and admin …")
        programs.start_system(environ, ports)
        load.add_first_jobs(characters)
        finished = _watch(app)
        rows = summary.read(app.queues)
        console.print(summary.table(rows))
        _print_addresses(ports, sandbox_url, programs)
        # Not wrapped, so that it can be copied.
        console.print(f"In another shell: {exports(environ, redis)}", soft_wrap=True, markup=False)
        wait_for(lambda: programs.is_up(f"http://127.0.0.1:{ports.admin}/healthz"), seconds=15, what="the admin")
        _print_login_link(app, ports)
        code = _print_failures(rows, finished=finished)
        if not once:
            console.print("Continuing with a small steady load; Ctrl-C stops everything.")
            for _ in load.steady_load(characters):
                threading.Event().wait(STEADY_SECONDS)
        return code


def _watch(app: App) -> bool:
    """Show the progress of the jobs; return whether all ended in time."""
    names = app.queues.names()
    columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline, printed = time.monotonic() + DEADLINE_SECONDS, 0.0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = {name: progress.add_task(name, total=None) for name in names}
        while True:
            counts = {name: app.queues.get_queue(name).counts() for name in names}
            ended = {name: c["completed"] + c["failed"] for name, c in counts.items()}
            total = {name: sum(c.values()) for name, c in counts.items()}
            for name, bar in bars.items():
                progress.update(bar, completed=ended[name], total=total[name])
            if not console.is_terminal and time.monotonic() - printed >= 1.0:
                printed = time.monotonic()
                console.print("  ".join(f"{name} {ended[name]}/{total[name]}" for name in names))
            left = sum(total.values()) - sum(ended.values()) - sum(c["delayed"] for c in counts.values())
            if left == 0 and all(ended.values()):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)


def _print_addresses(ports: Ports, sandbox_url: str, programs: Programs) -> None:
    if ports.admin != ADMIN_PORT:
        console.print(f"[yellow]Port {ADMIN_PORT} is in use: the admin uses {ports.admin} instead.[/]")
    console.print(f"Admin            http://127.0.0.1:{ports.admin}/admin/")
    console.print(f"Queues as JSON   http://127.0.0.1:{ports.admin}/admin/jobs/queues")
    console.print(f"Health           http://127.0.0.1:{ports.admin}/admin/jobs/health")
    console.print(f"Metrics          http://127.0.0.1:{ports.admin}/metrics (admin)")
    for name, port in ports.metrics.items():
        console.print(f"                 http://127.0.0.1:{port}/metrics ({name})")
    console.print(f"Sandbox          {sandbox_url}/sandbox/logins")
    console.print(f"Logs             {programs.logs}")


def _print_login_link(app: App, ports: Ports) -> None:
    login = local_token.new_link(app.settings.var_dir, f"http://127.0.0.1:{ports.admin}", app.clock.now_ms())
    within = f"once, within {local_token.LINK_MINUTES} minutes"
    console.print(f"Log in, {within}: {login}", soft_wrap=True, markup=False)


def _print_failures(rows: list[summary.Row], *, finished: bool) -> int:
    """Print what went wrong, and return the exit code."""
    for reason in (reason for row in rows for reason in row.reasons):
        console.print(f"[red]failed: {reason}[/]")
    idle = [row.job_type for row in rows if not row.completed]
    if idle:
        console.print(f"[red]no completed job of type: {', '.join(idle)}[/]")
    if not finished:
        console.print(f"[red]some jobs did not end within {DEADLINE_SECONDS:g} s[/]")
    return 1 if idle or not finished or any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
