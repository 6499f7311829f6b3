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
    from ..queues.across_queues import read_snapshots
    from ..queues.snapshot import readable

    found: dict[str, dict[str, Any]] = {}
    for queue in readable(read_snapshots(access.queues)):
        for worker in queue.workers:
            told = found.setdefault(worker.name, {"name": worker.name, "heardAt": 0, "queues": [], "running": []})
            told["queues"].append(queue.name)
            told["heardAt"] = max(told["heardAt"], int(worker.heard_ms))
        for job in queue.running:
            if job.worker in found:
                told = {"jobId": job.job_id, "queueName": queue.name, "since": int(job.since_ms)}
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
