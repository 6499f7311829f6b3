"""Sends a running admin every request that its OpenAPI document allows, and many that it does not."""

from __future__ import annotations

import logging
import random
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from requests.auth import AuthBase
from schemathesis.core import NotSet
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from werkzeug.routing import Rule
from werkzeug.serving import make_server

from admin import create_app
from nomad_actors import app
from nomad_actors.jobs import SCHEDULES
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.queues import Queues
from nomad_actors.queues.bulk import Operations
from nomad_actors.scheduler import Schedules
from nomad_actors.settings import Settings
from nomad_actors.store.local_token import read_or_make_token

from .conforming import Conforming
from .fuzz_material import Material

#: Cases per operation and round.
ROUND = 25
_QUEUE = "/admin/jobs/queues/{queue}"
#: Operations with rules that no schema expresses: the job type must belong to the queue and accept the data, a field
#: must be indexed, a cursor must come from a list, a time must be one, an action must fit the given states, starts need
#: a period.
EXTRA_RULES = {
    f"POST {_QUEUE}/jobs",
    f"POST {_QUEUE}/batch",
    f"GET {_QUEUE}/jobs",
    f"GET {_QUEUE}/failures",
    "GET /admin/jobs/failed",
    "GET /admin/jobs/active",
    "GET /admin/jobs/characters",
    *(
        f"GET /data/characters/{{characterId}}/{name}"
        for name in ("journal", "transactions", "orders", "orders/events", "industry-jobs", "skills/history")
    ),
    f"POST {_QUEUE}/bulk",
    f"PUT {_QUEUE}/limits",
}
#: These answer 503 when the system is unhealthy; for all others 503 means that Redis or the database is away.
HEALTH_PATHS = ("/admin/jobs/health", "/admin/doctor")
#: Query parameters of the pages.
_PAGE_PARAMETERS = (
    *("status", "outcome", "type", "field", "fingerprint", "since", "until", "limit", "cursor"),
    *("action", "queue", "job", "minutes", "actor"),
)


def api_fuzz(draw: random.Random, seconds: float) -> str:
    """Send requests to an admin for some seconds; every response must match its document."""
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory), ends_with_parent=True).start()
        settings_of_app = {
            "REDIS_URL": server.url,
            "NOMAD_VAR_DIR": directory,
            "DATABASE_URL": f"sqlite:///{directory}/nomad.db",
        }
        application = app.create_app(Settings.from_env(settings_of_app))
        try:
            application.store.migrate()
            Schedules(application.queues).declare(SCHEDULES)
            web = create_app(application)
            with Fuzz(web, application.queues, draw, application.settings) as fuzz:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    fuzz.ask(ROUND)
                    fuzz.look(ROUND)
        finally:
            application.close()
            server.stop()
    return fuzz.summary()


class _Token(AuthBase):
    """Sends a token with each request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Fuzz:
    """An admin on its own port, and the statuses that it answered."""

    def __init__(self, web: Flask, queues: Queues, draw: random.Random, settings: Settings) -> None:
        self.statuses: Counter[int] = Counter()
        self._draw = draw
        self._queues = queues
        self._web = web
        self._material = Material(draw)
        self._conforming = Conforming(web, queues)
        self._served = served(web)
        self._session = requests.Session()
        # Set last: the cases also have headers, and without a token some would be refused and audited.
        self._session.auth = _Token(read_or_make_token(settings.var_dir))

    def __enter__(self) -> Fuzz:
        self._url = self._served.__enter__()
        self._schema = schemathesis.openapi.from_url(f"{self._url}/admin/openapi.json")
        listed = self._session.get(f"{self._url}/admin/jobs/characters", timeout=30).json()["characters"]
        self._characters = [str(each["characterId"]) for each in listed]
        return self

    def __exit__(self, *raised: Any) -> None:
        self._session.close()
        self._served.__exit__(*raised)

    def ask(self, cases: int, *, methods: tuple[str, ...] = ("GET", "POST", "PUT", "DELETE")) -> None:
        """Send each operation up to `cases` valid requests and as many invalid ones.

        Raises `AssertionError` for an undocumented response and for an invalid request that was accepted.
        """
        for match in self._schema.get_all_operations():
            operation = match.ok()
            if operation.method.upper() in methods:
                for mode in _modes(operation):
                    self._ask(operation, mode, cases)
        assert not self._conforming.broken, "\n".join(self._conforming.broken)

    def summary(self) -> str:
        """Return a summary of how often each status was answered."""
        counts = ", ".join(f"{status} {count} times" for status, count in sorted(self.statuses.items()))
        return f"{self.statuses.total()} responses were as documented: {counts}"

    def _ask(self, operation: Any, mode: GenerationMode, cases: int) -> None:
        @seed(self._draw.getrandbits(64))
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def once(case: Any) -> None:
            if mode is GenerationMode.POSITIVE:
                self._use_existing_names(case)
                self._use_plausible_values(case, operation)
            response = case.call(session=self._session, timeout=30)
            self.statuses[response.status_code] += 1
            self._material.learn(response)
            message = f"{operation.label} {case.path_parameters} {case.query} {case.body!r:.500}: {response.text[:500]}"
            is_health = operation.path in HEALTH_PATHS and "Retry-After" not in response.headers
            assert response.status_code < 500 or is_health, f"503 although Redis and the database are up: {message}"
            if mode is GenerationMode.NEGATIVE and _is_wrong_as_sent(case):
                assert response.status_code >= 400, f"an invalid request was accepted: {message}"
            elif mode is GenerationMode.POSITIVE and operation.label not in EXTRA_RULES:
                assert response.status_code != 422, f"a valid request was refused: {message}"

        once()

    def look(self, cases: int) -> None:
        """Open each page up to `cases` times, with valid and invalid parameters.

        Raises `AssertionError` for a server error.
        """
        for rule in self._web.url_map.iter_rules():
            if rule.endpoint.startswith("pages") and "GET" in (rule.methods or ()):
                for _ in range(cases):
                    self._look(rule)

    def _look(self, rule: Rule) -> None:
        names = self._draw.sample(_PAGE_PARAMETERS, self._draw.randrange(4))
        query = [(name, self._name(name) if name == "queue" else self._material.value_for(name)) for name in names]
        if "confirm" in rule.rule:
            query += [("queue", self._name("queue"))]
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: quote(self._name(match[1]), safe=""), rule.rule)
        response = self._session.get(self._url + path, params=query, timeout=30, allow_redirects=False)
        self.statuses[response.status_code] += 1
        assert response.status_code < 500, f"{path} {query}: {response.text[:500]}"

    def _name(self, parameter: str) -> str:
        """Return a value for a path parameter, mostly one that exists."""
        if self._draw.random() < 0.2:
            return self._material.text() or "-"
        if parameter == "queue":
            return self._draw.choice(self._queues.names())
        if parameter == "name":
            schedules = Schedules(self._queues).all()
            return self._draw.choice(schedules).schedule.name if schedules else "-"
        return self._material.value_for("job") or "-"

    def _use_plausible_values(self, case: Any, operation: Any) -> None:
        """Give free-text parameters a plausible value half of the time."""
        for name in ("cursor", "field", "fingerprint"):
            is_accepted = any(parameter.name == name for parameter in operation.query)
            if is_accepted and operation.label in EXTRA_RULES and self._draw.random() < 0.5:
                value = self._material.value_for(name)
                case.query[name] = [value] if name == "field" else value

    def _use_existing_names(self, case: Any) -> None:
        """Mostly use a job or a schedule that exists: random ids never hit one."""
        # Use the queue of the job type too.
        if isinstance(case.body, dict) and case.body.get("name") in self._queues.job_types:
            case.path_parameters["queue"] = self._queues.job_type(case.body["name"]).queue
        if "jobId" in case.path_parameters and self._draw.random() < 0.8:
            states = self._draw.sample(["waiting", "delayed", "failed", "completed"], 4)
            if match := self._queues.get_queue(case.path_parameters["queue"]).jobs(states, 0, 20):
                case.path_parameters["jobId"] = self._draw.choice(match).id
        if "characterId" in case.path_parameters and self._characters and self._draw.random() < 0.8:
            case.path_parameters["characterId"] = self._draw.choice(self._characters)
        if "operation" in case.path_parameters:
            operations = Operations(self._queues).of_queue(case.path_parameters["queue"])
            if operations and self._draw.random() < 0.8:
                case.path_parameters["operation"] = self._draw.choice(operations).id
        if "name" in case.path_parameters and self._draw.random() < 0.8:
            schedules = Schedules(self._queues).all()
            if schedules:
                case.path_parameters["name"] = self._draw.choice(schedules).schedule.name


def _modes(operation: Any) -> Iterator[GenerationMode]:
    yield GenerationMode.POSITIVE
    # An operation without parameters, or with only free text in its path, has no invalid requests.
    if operation.query or operation.body:
        yield GenerationMode.NEGATIVE


def _is_wrong_as_sent(case: Any) -> bool:
    """Return whether the request still contains what was made invalid.

    A URL cannot contain an empty list, and an optional body may have been left out.
    """
    # Invalid headers do not count: the session's headers replace them.
    wrong = {location for location, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
    if any(value is None or isinstance(value, list | dict) for value in case.query.values()):
        return False
    is_query_wrong = ParameterLocation.QUERY in wrong and bool(case.query)
    return is_query_wrong or (ParameterLocation.BODY in wrong and not isinstance(case.body, NotSet))


@contextmanager
def served(web: Flask) -> Iterator[str]:
    """Serve an admin in threads of this process; yields its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, web, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
