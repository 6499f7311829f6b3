"""What an admin over a million jobs is asked: everything that its document and its pages have."""

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
    """One request; its path is made anew each time, before anything is measured, and its answer may be learned from."""

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
    """Draws the jobs that are acted on from some that it has seen before: each is acted on once."""

    def __init__(self, access: QueueAccess, session: requests.Session, url: str, draw: random.Random) -> None:
        self._access = access
        self._session = session
        self._url = url
        self._draw = draw
        self._queue = access.queues.get_queue(LETTER.queue)
        self._operation = ""
        self._pools: dict[str, deque[str]] = {}

    def all(self, rounds: int) -> Sequence[Question]:
        """Return the questions, for so many rounds of them."""
        # The newest of a queue's waiting jobs are the last to be come to by anything else that is asked here.
        first = max(0, self._queue.counts()["waiting"] - 4 * rounds)
        for state, start in (("waiting", first), ("delayed", 0), ("failed", 0), ("completed", 0)):
            self._pools[state] = deque(job.id for job in self._queue.jobs(state, start, start + 4 * rounds - 1))
        Schedules(self._access.queues, self._access.clock).schedule_job(
            SCHEDULE, "0 3 * * 1", (LETTER.name, {"character_id": 1, "number": 1})
        )
        return [
            *self._documented(),
            *self._lists(),
            *self._pages(),
            *self._of_jobs(),
            *self._of_queues(),
            *self._bulk(),
        ]

    def _documented(self) -> Iterator[Question]:
        """Yield every GET of the document that names no single job or operation."""
        paths = self._session.get(f"{self._url}/admin/openapi.json", timeout=30).json()["paths"]
        for path, operations in paths.items():
            told = path.replace("{queue}", LETTER.queue).replace("{name}", SCHEDULE)
            if "get" in operations and "{" not in told:
                yield _get(told)

    def _lists(self) -> Iterator[Question]:
        (fault, *_) = self._queue.failures(limit=1).faults
        for state in ("waiting", "completed", "failed", "delayed", "active", "waiting,completed,failed"):
            yield _get(f"{QUEUE}/jobs?status={state}")
        for state in ("waiting", "completed", "failed"):
            yield _get(self._deep(f"{QUEUE}/jobs?status={state}"), f"deep in {state}")
            yield _get(f"{QUEUE}/jobs/{quote(self._pools[state][-1], safe='')}", f"a job that is {state}")
        yield _get(self._deep("/admin/jobs/failed?"), "deep in all that failed")
        yield _get("/admin/jobs/failed?outcome=cancelled")
        yield _get(f"{QUEUE}/jobs?outcome=failed")
        yield _get(f"{QUEUE}/jobs?status=failed&fingerprint={fault.fingerprint}", "by fingerprint")
        by_field = f"{QUEUE}/jobs?status=waiting,completed,failed&field=character_id="
        yield Question("by a field", lambda: f"{by_field}{self._draw.randrange(CHARACTERS)}")

    def _deep(self, path: str) -> str:
        """Return the address of a page some thousands of jobs down a list."""
        cursor = ""
        for _ in range(5):
            told = self._session.get(f"{self._url}{path}&limit=1000&cursor={cursor}", timeout=60).json()
            if told["nextCursor"] is None:
                break
            cursor = told["nextCursor"]
        return f"{path}&cursor={cursor}"

    def _pages(self) -> Iterator[Question]:
        job = quote(self._pools["failed"][-1], safe="")
        confirmed = f"queue={LETTER.queue}&status=failed"
        for path in (
            *("/admin/", "/admin/audit", "/admin/bulk", "/admin/checks", f"/admin/schedules/{SCHEDULE}"),
            *(PAGE, f"{PAGE}?status=failed", f"{PAGE}?outcome=failed", f"{PAGE}/failures", f"{PAGE}/jobs/{job}"),
            f"/admin/confirm/remove?queue={LETTER.queue}&job={job}",
            f"/admin/confirm/clean?{confirmed}&minutes=1&limit=100",
            f"/admin/confirm/bulk?{confirmed}&action=retry",
        ):
            yield _get(path, re.sub(r"[0-9a-f-]{36}", ":id", path))

    def _of_jobs(self) -> Iterator[Question]:
        for action, state in (("retry", "failed"), ("promote", "delayed"), ("cancel", "waiting")):
            yield Question(action, self._one(state, f"/{action}"), "POST", {})
        for state in ("waiting", "completed"):
            yield Question(f"remove of one that is {state}", self._one(state, ""), "DELETE")
        job = {"name": LETTER.name, "data": {"character_id": 1, "number": 1}}
        yield _change("POST", f"{QUEUE}/jobs", job)
        yield _change("POST", f"{QUEUE}/batch", {"jobs": [job] * 100})

    def _one(self, state: str, end: str) -> Callable[[], str]:
        return lambda: f"{QUEUE}/jobs/{quote(self._pools[state].popleft(), safe='')}{end}"

    def _of_queues(self) -> Iterator[Question]:
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
            yield Question(f"clean of {state} ones of {grace_ms} ms", lambda: f"{QUEUE}/clean", "POST", body)
        yield Question(
            "clean of delayed ones",
            lambda: f"{QUEUE}/clean",
            "POST",
            {"status": "delayed", "grace": _DAY_MS, "limit": 1},
        )

    def _bulk(self) -> Iterator[Question]:
        """Yield the life of one operation: it is stopped again before the next is begun."""
        characters = itertools.count(7)

        def meant(*, dry_run: bool) -> object:
            # Of another character each time: the jobs of one would be gone after a few rounds.
            fields = {"character_id": str(next(characters) % CHARACTERS)}
            return {"action": "cancel", "filter": {"fields": fields}, "perSecond": 1, "dryRun": dry_run}

        yield Question("bulk, counted", lambda: f"{QUEUE}/bulk", "POST", lambda: meant(dry_run=True))
        yield Question("bulk, begun", lambda: f"{QUEUE}/bulk", "POST", lambda: meant(dry_run=False), self._begun)
        yield Question("bulk, looked at", lambda: self._operation)
        for name, end in (("stopped", "stop"), ("gone on with", "resume"), ("stopped again", "stop")):
            yield Question(f"bulk, {name}", lambda end=end: f"{self._operation}/{end}", "POST", {})  # type: ignore[misc]

    def _begun(self, answer: requests.Response) -> None:
        self._operation = f"{QUEUE}/bulk/{answer.json()['id']}"


def _get(path: str, name: str = "") -> Question:
    return Question(name or path, lambda: path)


def _change(method: str, path: str, body: object) -> Question:
    return Question(f"{method} {path}", lambda: path, method, body)
