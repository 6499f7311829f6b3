"""Requests for an admin with a million jobs: all of its API and its pages."""

from __future__ import annotations

import itertools
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import requests

from nomad_actors.app import QueueAccess
from nomad_actors.scheduler import Schedules

from .million_jobs import LETTER

QUEUE = f"/admin/jobs/queues/{LETTER.queue}"
PAGE = f"/admin/queues/{LETTER.queue}"
SCHEDULE = "weekly-letter"
CHARACTERS = 1_000
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Question:
    """One request. Its path is computed before each measurement, and later requests may use its response."""

    name: str
    path: Callable[[], str]
    method: str = "GET"
    body: object = None
    learn: Callable[[requests.Response], None] = lambda _: None

    def ask(self, session: requests.Session, address: str) -> requests.Response:
        """Send it."""
        body = self.body() if callable(self.body) else self.body
        return session.request(self.method, address, json=body, timeout=60)


class Questions:
    """Builds the requests; each action uses another job from lists read before."""

    def __init__(self, access: QueueAccess, session: requests.Session, url: str, draw: random.Random) -> None:
        self._access = access
        self._session = session
        self._url = url
        self._draw = draw
        self._queue = access.queues.get_queue(LETTER.queue)
        self._operation = ""
        self._pools: dict[str, deque[str]] = {}

    def all(self, rounds: int) -> Sequence[Question]:
        """Return the requests, with enough jobs for this number of rounds."""
        # Use the newest waiting jobs: the other requests reach them last.
        first = max(0, self._queue.counts()["waiting"] - 4 * rounds)
        for state, start in (("waiting", first), ("delayed", 0), ("failed", 0), ("completed", 0)):
            self._pools[state] = deque(job.id for job in self._queue.jobs(state, start, start + 4 * rounds - 1))
        Schedules(self._access.queues).schedule_job(
            SCHEDULE, "0 3 * * 1", (LETTER.name, {"character_id": 1, "number": 1})
        )
        return [
            *self._documented(),
            *self._lists(),
            *self._pages(),
            *self._job_actions(),
            *self._queue_actions(),
            *self._bulk(),
        ]

    def _documented(self) -> Iterator[Question]:
        """Yield every documented GET without a job or operation in its path."""
        paths = self._session.get(f"{self._url}/admin/openapi.json", timeout=30).json()["paths"]
        for path, operations in paths.items():
            target = path.replace("{queue}", LETTER.queue).replace("{name}", SCHEDULE)
            if "get" in operations and "{" not in target:
                yield _get(target)

    def _lists(self) -> Iterator[Question]:
        (group, *_) = self._queue.failures(limit=1).failure_groups
        for state in ("waiting", "completed", "failed", "delayed", "active", "waiting,completed,failed"):
            yield _get(f"{QUEUE}/jobs?status={state}")
        for state in ("waiting", "completed", "failed"):
            yield _get(self._deep_page(f"{QUEUE}/jobs?status={state}"), f"deep in {state}")
            yield _get(f"{QUEUE}/jobs/{quote(self._pools[state][-1], safe='')}", f"a {state} job")
        yield _get(self._deep_page("/admin/jobs/failed?"), "deep in all failed jobs")
        yield _get("/admin/jobs/failed?outcome=cancelled")
        yield _get(f"{QUEUE}/jobs?outcome=failed")
        yield _get(f"{QUEUE}/jobs?status=failed&fingerprint={group.fingerprint}", "by fingerprint")
        by_field = f"{QUEUE}/jobs?status=waiting,completed,failed&field=character_id="
        yield Question("by a field", lambda: f"{by_field}{self._draw.randrange(CHARACTERS)}")

    def _deep_page(self, path: str) -> str:
        """Return the address of a list's page after some thousands of jobs."""
        cursor = ""
        for _ in range(5):
            payload = self._session.get(f"{self._url}{path}&limit=1000&cursor={cursor}", timeout=60).json()
            if payload["nextCursor"] is None:
                break
            cursor = payload["nextCursor"]
        return f"{path}&cursor={cursor}"

    def _pages(self) -> Iterator[Question]:
        job = quote(self._pools["failed"][-1], safe="")
        selection = f"queue={LETTER.queue}&status=failed"
        for path in (
            *("/admin/", "/admin/audit", "/admin/bulk", "/admin/checks", f"/admin/schedules/{SCHEDULE}"),
            *(PAGE, f"{PAGE}?status=failed", f"{PAGE}?outcome=failed", f"{PAGE}/failures", f"{PAGE}/jobs/{job}"),
            f"/admin/confirm/remove?queue={LETTER.queue}&job={job}",
            f"/admin/confirm/clean?{selection}&minutes=1&limit=100",
            f"/admin/confirm/bulk?{selection}&action=retry",
        ):
            yield _get(path, re.sub(r"[0-9a-f-]{36}", ":id", path))

    def _job_actions(self) -> Iterator[Question]:
        for action, state in (("retry", "failed"), ("promote", "delayed"), ("cancel", "waiting")):
            yield Question(action, self._job_path(state, f"/{action}"), "POST", {})
        for state in ("waiting", "completed"):
            yield Question(f"remove a {state} job", self._job_path(state, ""), "DELETE")
        job = {"name": LETTER.name, "data": {"character_id": 1, "number": 1}}
        yield _change("POST", f"{QUEUE}/jobs", job)
        yield _change("POST", f"{QUEUE}/batch", {"jobs": [job] * 100})

    def _job_path(self, state: str, end: str) -> Callable[[], str]:
        return lambda: f"{QUEUE}/jobs/{quote(self._pools[state].popleft(), safe='')}{end}"

    def _queue_actions(self) -> Iterator[Question]:
        limits = {"concurrency": 50, "starts": None, "periodMs": None, "maxLength": None}
        yield _change("POST", f"{QUEUE}/pause", {"reason": "a proof", "forMs": 60_000})
        yield _change("POST", f"{QUEUE}/resume", {})
        yield _change("POST", "/admin/jobs/esi/pause", {})
        yield _change("POST", "/admin/jobs/esi/resume", {})
        yield _change("PUT", f"{QUEUE}/limits", limits)
        for action in ("stop", "start"):
            yield _change("POST", f"/admin/jobs/scheduler/{SCHEDULE}/{action}", {})
        yield _change("POST", f"/admin/jobs/scheduler/{SCHEDULE}/run", {"force": True})
        for state, grace_ms in (("completed", 0), ("failed", _DAY_MS), ("waiting", 0), ("waiting", _DAY_MS)):
            body = {"status": state, "grace": grace_ms, "limit": 100}
            yield Question(f"clean {state} jobs older than {grace_ms} ms", lambda: f"{QUEUE}/clean", "POST", body)
        yield Question(
            "clean delayed jobs",
            lambda: f"{QUEUE}/clean",
            "POST",
            {"status": "delayed", "grace": _DAY_MS, "limit": 1},
        )

    def _bulk(self) -> Iterator[Question]:
        """Yield the requests for one bulk operation; it is stopped before the next begins."""
        characters = itertools.count(7)

        def bulk_body(*, dry_run: bool) -> object:
            # Use another character each time: the jobs of one would be gone after a few rounds.
            fields = {"character_id": str(next(characters) % CHARACTERS)}
            return {"action": "cancel", "filter": {"fields": fields}, "perSecond": 1, "dryRun": dry_run}

        yield Question("bulk, counted", lambda: f"{QUEUE}/bulk", "POST", lambda: bulk_body(dry_run=True))
        yield Question(
            "bulk, begun", lambda: f"{QUEUE}/bulk", "POST", lambda: bulk_body(dry_run=False), self._remember_operation
        )
        yield Question("bulk, shown", lambda: self._operation)
        for name, end in (("stopped", "stop"), ("resumed", "resume"), ("stopped again", "stop")):
            yield Question(f"bulk, {name}", lambda end=end: f"{self._operation}/{end}", "POST", {})  # type: ignore[misc]

    def _remember_operation(self, response: requests.Response) -> None:
        self._operation = f"{QUEUE}/bulk/{response.json()['id']}"


def _get(path: str, name: str = "") -> Question:
    return Question(name or path, lambda: path)


def _change(method: str, path: str, body: object) -> Question:
    return Question(f"{method} {path}", lambda: path, method, body)
