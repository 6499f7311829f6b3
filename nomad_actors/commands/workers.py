"""`nomad workers`: the live worker processes, and what each of them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import Json
from .report import ago, console, now_ms, print_json, styled, table
from .session import opened

if TYPE_CHECKING:
    from ..app import QueueAccess


def workers(json: Json = False) -> None:
    """Show the live worker processes: the queues each serves, what it runs now and since when, when it was heard."""
    with opened() as access:
        told = _told(access)
    if json:
        print_json({"workers": told})
    else:
        _show(told)


def _told(access: QueueAccess) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in access.queues.names():
        for worker in access.queues.get_queue(name).workers():
            told = found.setdefault(worker.name, {"name": worker.name, "heardAt": 0, "queues": [], "running": []})
            told["queues"].append(name)
            told["heardAt"] = max(told["heardAt"], worker.heard_ms)
        running = access.broker.server().running(name)
        for job in running:
            if job.worker in found:
                told = {"jobId": job.job_id, "queueName": name, "since": int(job.since_ms)}
                found[job.worker]["running"].append(told)
    return [found[name] for name in sorted(found)]


def _show(told: list[dict[str, Any]]) -> None:
    out, now = console(), now_ms()
    if not told:
        out.print(styled("no live worker: nomad run workers", "red"))
        return
    for worker in told:
        out.print(styled(worker["name"], "bold"), styled(f"heard {ago(worker['heardAt'], now)}"))
        out.print(styled(f"  serves {', '.join(worker['queues'])}"))
        if not worker["running"]:
            out.print(styled("  runs nothing now"))
            continue
        running = sorted(worker["running"], key=lambda job: job["since"])
        rows = [[f"  {job['jobId']}", job["queueName"], ago(job["since"], now)] for job in running]
        out.print(table(["  RUNS", "QUEUE", "STARTED"], rows))
