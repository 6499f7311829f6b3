"""`nomad workers`: the live worker processes and their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..queues.across_queues import read_snapshots
from ..queues.snapshot import readable
from .options import Json
from .report import ago, console, now_ms, print_json, styled, table
from .session import opened

if TYPE_CHECKING:
    from ..app import QueueAccess


def workers(json: Json = False) -> None:
    """Show the live worker processes: their queues, running jobs with their start, and last heartbeat."""
    with opened() as access:
        live = _read(access)
    if json:
        print_json({"workers": live})
    else:
        _show(live)


def _read(access: QueueAccess) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for queue in readable(read_snapshots(access.queues)):
        for worker in queue.workers:
            details = found.setdefault(worker.name, {"name": worker.name, "heardAt": 0, "queues": [], "running": []})
            details["queues"].append(queue.name)
            details["heardAt"] = max(details["heardAt"], int(worker.heard_ms))
        for job in queue.running:
            if job.worker in found:
                running = {"jobId": job.job_id, "queueName": queue.name, "since": int(job.since_ms)}
                found[job.worker]["running"].append(running)
    return [found[name] for name in sorted(found)]


def _show(live: list[dict[str, Any]]) -> None:
    out, now = console(), now_ms()
    if not live:
        out.print(styled("no live worker; start one: nomad run workers", "red"))
        return
    for worker in live:
        out.print(styled(worker["name"], "bold"), styled(f"heartbeat {ago(worker['heardAt'], now)}"))
        out.print(styled(f"  serves {', '.join(worker['queues'])}"))
        if not worker["running"]:
            out.print(styled("  no running jobs"))
            continue
        running = sorted(worker["running"], key=lambda job: job["since"])
        rows = [[f"  {job['jobId']}", job["queueName"], ago(job["since"], now)] for job in running]
        out.print(table(["  RUNS", "QUEUE", "STARTED"], rows))
