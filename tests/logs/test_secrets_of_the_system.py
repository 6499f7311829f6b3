"""No token, code, verifier or mail of SSO and ESI leaves the database, whatever fails.

What is secret is known from the sandbox, which issued it, not from what we have stored.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import redis
import requests
import sqlalchemy as sa

from nomad_actors import exact_json
from nomad_actors.app import App, create_app
from nomad_actors.errors import NomadError
from nomad_actors.esi.routes import ROUTES
from nomad_actors.jobs.esi_refresh import refresh_character_data
from nomad_actors.jobs.token_refresh import refresh_character_token
from nomad_actors.processes.local_redis import free_port
from nomad_actors.settings import Settings
from nomad_actors.store.packed_body import unpack
from nomad_actors.store.schema import documents
from sandbox.fault_kinds import KINDS, TOKEN_PATH
from sandbox.grants import CLIENT_ID
from sandbox.serve import SandboxServer
from sandbox.world.mail import SUBJECTS, mail_body, mail_headers
from tests.admin.crawler import Page
from tests.support.operator import as_operator
from tests.support.processes import ROOT, environ_for, program
from tests.support.secret_search import forms, leaks
from tests.support.sentry_project import SentryProject

from .test_secrets_of_processes import everything_in

pytestmark = pytest.mark.slow

SSO_KINDS = [name for name, fault in KINDS.items() if fault.get("path") == TOKEN_PATH and "hang_s" not in fault]
ESI_KINDS = [name for name, fault in KINDS.items() if "path" not in fault and "hang_s" not in fault]
CHARACTERS = max(len(SSO_KINDS), len(ESI_KINDS) + 3)
MAX_PAGES = 200
#: A user's job type that is careless with its access token, in texts, locals and results.
OWN_JOB_TYPE = """
from nomad_actors import JobType, Payload, Result
from nomad_actors.jobs.token_keeper import TokenKeeper

class Careless(Payload):
    character_id: int
    fails: bool = True

class Found(Result):
    text: str

def ask(payload: Careless, services) -> Found:
    login = TokenKeeper(services).get_token(payload.character_id).login
    secret = services.settings.eve_client_secret.get_secret_value()
    everything = [login, login.refresh_token, login.access_token, secret]
    if payload.fails:
        raise RuntimeError(f"ESI refused {login.access_token} of {everything}")
    return Found(text=f"{everything}")

CARELESS = JobType(name="careless", queue="careless", payload=Careless, result=Found, run=ask, attempts=1)
"""


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(characters=CHARACTERS) as server:
        yield server


@pytest.fixture
def project() -> Iterator[SentryProject]:
    project = SentryProject()
    yield project
    project.close()


@pytest.fixture
def environ(tmp_path: Path, redis_url: str, sandbox: SandboxServer, project: SentryProject) -> dict[str, str]:
    (tmp_path / "careless.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    return environ_for(
        tmp_path,
        redis_url,
        REDIS_CACHE_URL=f"{redis_url.rpartition('/')[0]}/1",
        ESI_BASE_URL=sandbox.base_url,
        SSO_BASE_URL=sandbox.base_url,
        EVE_CLIENT_ID=CLIENT_ID,
        EVE_CLIENT_SECRET="sandbox-secret",
        ESI_USER_AGENT="nomad-tests/1.0 (tests@example.com)",
        SENTRY_DSN=project.dsn,
        LOG_LEVEL="debug",
        NOMAD_MODULES="careless",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    app = create_app(Settings.from_env(environ))
    app.store.migrate()
    yield app
    app.close()


class System:
    """Workers with both log formats, the scheduler and the admin, and what is asked of them."""

    def __init__(self, stack: ExitStack, environ: dict[str, str], directory: Path, wait: Callable[..., None]) -> None:
        self._environ, self._directory, self._wait, self._stack = environ, directory, wait, stack
        self.ports = [free_port() for _ in range(3)]
        self._ready = directory / "ready"

    def start(self) -> None:
        workers = ["nomad_actors.cli", "run", "workers"]
        parts = (
            (workers, "json"),
            (workers, "logfmt"),
            (["nomad_actors.scheduler"], "json"),
            (["admin", "--ready-file", str(self._ready)], "logfmt"),
        )
        for (arguments, log_format), port in zip(parts, [*self.ports, 0], strict=True):
            environ = {**self._environ, "LOG_FORMAT": log_format, "NOMAD_METRICS_PORT": str(port)}
            self._stack.enter_context(program(arguments, environ, self._directory))
        self._wait(self._ready.exists, timeout_seconds=60)

    @property
    def url(self) -> str:
        return self._ready.read_text().strip()

    @property
    def log(self) -> str:
        return (self._directory / "output.log").read_text(errors="replace")

    def log_in(self, character_id: int) -> None:
        """Log a character in with `nomad login`, as its player does in a browser."""
        with program(
            ["nomad_actors.cli", "login", "--port", str(free_port())], self._environ, self._directory
        ) as login:
            self._wait(lambda: "/v2/oauth/authorize?" in self.log, timeout_seconds=60)
            found = re.search(r"http://\S+/v2/oauth/authorize\?\S+", self.log)
            assert found is not None
            requests.get(f"{found[0]}&character_id={character_id}", timeout=20)
            self._wait(lambda: login.poll() is not None, timeout_seconds=30)
            assert login.returncode == 0, self.log[-2_000:]


def lift_brakes(app: App) -> None:
    """Let the next request be sent at once, whatever the last one was answered."""
    for brake in app.services.limiter.state().brakes:
        app.services.limiter.lift(brake.name)


def meet_faults(app: App, sandbox: SandboxServer, queue_name: str) -> None:
    """Let workers meet all faults soon: lift the brakes that they set, and start the jobs that those defer."""
    queue, deadline = app.queues.get_queue(queue_name), time.monotonic() + 40
    while sandbox.parts.faults.waiting() and time.monotonic() < deadline:
        lift_brakes(app)
        for job in queue.jobs("delayed"):
            with contextlib.suppress(NomadError):  # It has just begun.
                queue.promote(job.id)
        time.sleep(0.2)
    assert not sandbox.parts.faults.waiting(), [fault.kind for fault in sandbox.parts.faults.waiting()]
    lift_brakes(app)


def save_logins(app: App, sandbox: SandboxServer) -> list[int]:
    """Save SSO's latest refresh token of every character, as new logins do; return the characters."""
    for login in sandbox.logins():
        login.pop("profession")
        app.store.logins.save(**login)
    return [login["character_id"] for login in sandbox.logins()]


def meet_sso(app: App, sandbox: SandboxServer) -> None:
    """Let workers meet every fault of SSO, each with another character."""
    for kind, character_id in zip(SSO_KINDS, save_logins(app, sandbox), strict=False):
        sandbox.fail(TOKEN_PATH, kind=kind, character_id=character_id)
        refresh_character_token(character_id, 1)
    meet_faults(app, sandbox, "token-refresh")


def meet_esi(app: App, sandbox: SandboxServer) -> None:
    """Let workers meet the faults of ESI, as many as possible in mail."""
    ids = save_logins(app, sandbox)
    # What a row is refused for may quote it; and a text in an unexpected field is a mail's, too.
    rows = [[{"subject": SUBJECTS[0], "body": SUBJECTS[1]}], {"error": SUBJECTS[2]}, SUBJECTS[3]]
    for character_id, body in zip(ids, rows, strict=False):
        sandbox.fail(f"/characters/{character_id}/mail", 200, body=body)
    for kind, character_id in zip(ESI_KINDS, ids[len(rows) :], strict=True):
        sandbox.fail(f"/characters/{character_id}/mail", kind=kind)
    for character_id in ids:
        refresh_character_data(character_id, 1, ["CHARACTER_MAIL"])
    meet_faults(app, sandbox, "esi-refresh")


STATES = ("failed", "completed", "delayed", "waiting", "active")


def crawled(app: App, url: str, headers: dict[str, str]) -> dict[str, str]:
    """Return every response of the admin's API that its document names, and all pages that link to one another."""
    session, texts = requests.Session(), {}
    session.headers.update(headers)

    def read(address: str) -> requests.Response:
        response = session.get(address, timeout=20)
        texts[address] = response.text
        return response

    for path in api_paths(app, read(f"{url}/admin/openapi.json").json()):
        read(f"{url}{path}")
    waiting = [f"{url}/admin/"]
    while waiting and len(texts) < MAX_PAGES:
        address = waiting.pop(0).partition("#")[0]
        if address not in texts and address.startswith(f"{url}/admin"):
            response = read(address)
            if response.headers["Content-Type"].startswith("text/html"):
                waiting += [urljoin(address, link) for link in Page(response.text).links]
    return texts


def api_paths(app: App, document: dict[str, Any]) -> Iterator[str]:
    """Yield the paths that read, for every queue, schedule and failed job, and some of the other jobs."""
    names = app.queues.names()
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        if "{jobId}" in path:
            for name in names:
                queue = app.queues.get_queue(name)
                jobs = [*queue.jobs("failed"), *queue.jobs(["completed", "delayed"])[:10]]
                yield from (path.format(queue=name, jobId=job.id) for job in jobs)
        elif path.count("{") == 1 and "{queue}" in path:
            yield from (path.format(queue=name) for name in names)
            if path.endswith("/jobs"):
                yield from (f"{path.format(queue=name)}?status={state}" for name in names for state in STATES)
        elif "{name}" in path:
            yield from (path.format(name=schedule.name) for schedule in app.queues.schedules())
        elif "{" not in path:
            yield path


def test_no_secret_of_sso_and_no_mail_of_esi_leaves_the_database(
    app: App,
    sandbox: SandboxServer,
    environ: dict[str, str],
    project: SentryProject,
    redis_client: redis.Redis,
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    texts: dict[str, str] = {}
    with ExitStack() as stack:
        system = System(stack, environ, tmp_path, wait_until)
        system.start()
        system.log_in(sandbox.logins()[0]["character_id"])
        meet_sso(app, sandbox)
        meet_esi(app, sandbox)
        careless = app.queues.get_queue("careless")
        for fails in (True, False):
            app.queues.add_job(
                "careless", "careless", {"character_id": sandbox.logins()[0]["character_id"], "fails": fails}
            )
        wait_until(lambda: careless.counts()["failed"] + careless.counts()["completed"] == 2, timeout_seconds=30)
        (tmp_path / "nomad.db").rename(tmp_path / "moved.db")
        refresh_character_token(sandbox.logins()[1]["character_id"], 1)
        wait_until(lambda: "was moved or deleted" in system.log, timeout_seconds=30)
        (tmp_path / "moved.db").rename(tmp_path / "nomad.db")
        wait_until(lambda: len(project.events) >= 2, timeout_seconds=20)
        for port in system.ports:
            texts[f"metrics of {port}"] = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
        texts |= crawled(app, system.url, as_operator(tmp_path / "var"))
    texts |= {"log": system.log, "Sentry": project.text, "Redis": everything_in(redis_client)}
    with redis.Redis.from_url(environ["REDIS_CACHE_URL"]) as cache:
        cached = {"cache": everything_in(cache)}
        cache.flushdb()
    files = {each.name: each.read_bytes().decode(errors="backslashreplace") for each in tmp_path.glob("nomad.db*")}
    # Documents are compressed in the files.
    files |= documents_in(app)
    secrets, mails = sandbox.secrets(), mails_of(sandbox)
    assert not leaks({**texts, **cached, **files}, secrets)
    assert not leaks(texts, mails)
    # The right texts were searched, for the right things.
    assert len(secrets) > 2 * CHARACTERS
    assert any(entry.code_verifier for entry in sandbox.ledger())
    assert leaks(files, mails), "no mail was stored"
    assert texts["log"].count("Traceback") + texts["Redis"].count("Traceback") > 5
    assert texts["log"].count("[hidden]") > 2
    assert "[hidden]" in texts["Redis"]
    assert "[hidden]" in texts["Sentry"]
    assert sum("/jobs/" in address for address in texts) > 20


def documents_in(app: App) -> dict[str, str]:
    """Return each stored document."""
    with app.store.database.read() as connection:
        rows = connection.execute(sa.select(documents.c.character_id, documents.c.route, documents.c.body_json)).all()
    return {f"{route} of {character_id}": exact_json.dumps(unpack(body)) for character_id, route, body in rows}


def mails_of(sandbox: SandboxServer) -> set[str]:
    """Return the subjects and the bodies of all mails."""
    world, now_s = sandbox.parts.world, sandbox.clock.now_s()
    found = set(SUBJECTS)
    for character in world.characters:
        ids = [header["mail_id"] for header in mail_headers(world, character, now_s)]
        bodies = [mail_body(world, character, now_s, mail_id) for mail_id in ids[:5]]
        found |= {body["body"] for body in bodies if body is not None}
    return found


def test_the_search_finds_each_secret_in_each_form(sandbox: SandboxServer) -> None:
    requests.post(
        f"{sandbox.base_url}{TOKEN_PATH}",
        data={"grant_type": "refresh_token", "refresh_token": sandbox.logins()[0]["refresh_token"]},
        auth=(CLIENT_ID, "sandbox-secret"),
        timeout=10,
    )
    secrets = {*sandbox.secrets(), *mails_of(sandbox)}
    assert any(secret.count(".") == 2 for secret in secrets)
    for secret in secrets:
        for form in forms(secret):
            assert leaks({"log": f'{{"event": "refused {form}"}}\n'}, [secret]), form
    assert not leaks({"log": "refused [hidden]"}, secrets)


def test_every_route_of_mail_is_asked_for() -> None:
    assert {route.dataset for route in ROUTES.values() if "mail" in route.dataset} == {
        "mail",
        "mail_labels",
        "mail_lists",
    }
