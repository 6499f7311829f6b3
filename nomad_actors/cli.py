"""The `nomad` command: shows and changes queues and jobs, and runs the programs."""

from __future__ import annotations

import os

import typer

from .commands import (
    admin,
    audit,
    bulk,
    characters,
    config,
    doctor,
    enqueue,
    esi,
    history,
    job_actions,
    jobs,
    login,
    queue_actions,
    queues,
    sandbox,
    schedules,
)
from .commands.exits import OneLineGroup
from .commands.running import run
from .processes.private_files import make_files_private

app = typer.Typer(
    cls=OneLineGroup,
    help="EVE Nomad's background jobs. Exit codes: 0 ok, 1 failed or unhealthy, 2 wrong usage, data or setting, "
    "3 not found, 4 wrong state, 5 Redis or database unavailable, 78 cannot start until an operator changes something.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, group in (
    ("run", run),
    ("enqueue", enqueue.group),
    ("operations", bulk.group),
    ("schedules", schedules.group),
    ("admin", admin.group),
    ("characters", characters.group),
    ("history", history.group),
    ("sandbox", sandbox.group),
    ("esi", esi.group),
):
    app.add_typer(group, name=name)
for command in (
    *(login.login, login.forget_key, queues.queues),
    *(jobs.jobs, jobs.job, jobs.failures),
    *(job_actions.retry, job_actions.cancel, job_actions.remove, job_actions.promote, bulk.bulk),
    *(queue_actions.pause, queue_actions.resume, queue_actions.limits, queue_actions.clean),
    *(queues.workers, config.config, doctor.doctor, audit.audit, admin.token),
):
    app.command()(command)


def main() -> None:
    # Each process serves its own metrics; prometheus-client would store them in files there, or fail.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    make_files_private()
    app(prog_name="nomad")


if __name__ == "__main__":
    main()
