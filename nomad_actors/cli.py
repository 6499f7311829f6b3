"""The `nomad` command: shows and changes queues and jobs, and runs the programs."""

from __future__ import annotations

import os

import typer

from .commands import (
    admin,
    audit,
    bulk,
    config,
    doctor,
    enqueue,
    forget_key,
    job_actions,
    jobs,
    login,
    queue_actions,
    queues,
    sandbox,
    schedules,
    token,
    workers,
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
app.add_typer(run, name="run")
app.command()(login.login)
app.command()(forget_key.forget_key)
app.command()(queues.queues)
app.command()(jobs.jobs)
app.command()(jobs.job)
app.command()(jobs.failures)
app.add_typer(enqueue.group, name="enqueue")
app.command()(job_actions.retry)
app.command()(job_actions.cancel)
app.command()(job_actions.remove)
app.command()(job_actions.promote)
app.command()(bulk.bulk)
app.add_typer(bulk.group, name="operations")
app.command()(queue_actions.pause)
app.command()(queue_actions.resume)
app.command()(queue_actions.limits)
app.command()(queue_actions.clean)
app.add_typer(schedules.group, name="schedules")
app.add_typer(sandbox.group, name="sandbox")
app.command()(workers.workers)
app.command()(config.config)
app.command()(doctor.doctor)
app.add_typer(admin.group, name="admin")
app.command()(audit.audit)
app.command()(token.token)


def main() -> None:
    """Run the command."""
    # Each process serves its own metrics; prometheus-client would store them in files there, or fail.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    make_files_private()
    app(prog_name="nomad")


if __name__ == "__main__":
    main()
