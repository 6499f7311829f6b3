"""Whatever a job does with its secrets, they never appear in anything that leaves its process."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import requests

from nomad_actors.app import App, create_app
from nomad_actors.processes.local_redis import free_port
from nomad_actors.settings import Settings
from tests.support.processes import ROOT, environ_for, program
from tests.support.sentry_project import SentryProject

REFRESH_TOKEN = "gEy-8fP2kq0aT1m4ZsBvXw=="
#: A form that no pattern matches.
ACCESS_TOKEN = "opaque-1B2c3D4e5F6g7H8i9J0k"
CLIENT_SECRET = "cL1ent/s3cret+of,the;app"
TOKEN_KEY = "3q2-7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhs"
#: A secret of an application, which we do not know.
OWN_SECRET = "N0body-kn0ws-th1s-one"
BASIC = base64.b64encode(f"nomad-client:{CLIENT_SECRET}".encode()).decode()

OWN_JOB_TYPES = f"""
import logging, pprint, sys, threading, traceback, warnings
from urllib.parse import urlencode
import requests
from nomad_actors import Defer, JobType, Payload, PermanentError, Result, current_job
from nomad_actors.logs import get_logger

class Asked(Payload):
    character_id: int

class Secrets(Result):
    form: dict[str, str]
    access_token: str
    listed: list[str]
    count: int

def _secrets(services):
    login = services.store.logins.get(7)
    secret = services.settings.eve_client_secret.get_secret_value()
    key = services.settings.token_keys[0].get_secret_value()
    form = {{
        "grant_type": "refresh_token",
        "refresh_token": login.refresh_token,
        "client_secret": secret,
        "own_password": "{OWN_SECRET}",
    }}
    return form, login.access_token, secret, key

def talk(payload, services):
    form, access_token, secret, key = _secrets(services)
    request = requests.Request("POST", "http://sso/", data=form, auth=("nomad-client", secret)).prepare()
    print(form)
    pprint.pprint(form, width=20)
    print(access_token, secret, key)
    print(request.body, request.headers)
    print(repr(services.settings), services.settings.redis_url)
    sys.stdout.buffer.write(repr(form).encode() + b"\\n")
    sys.stderr.write(urlencode(form) + "\\n")
    warnings.warn(f"{{form}} {{access_token}}")
    logging.getLogger("a.library").warning("%s %s %s", form, access_token, request.headers)
    # What cannot be formatted is told with its arguments.
    logging.getLogger("a.library").warning("%d", access_token)
    get_logger("own").warning("asked", form=form, plain=access_token, deep=[[form]], body=request.body, key=key)
    current_job().log(f"{{form}} {{access_token}} {{urlencode(form)}}")
    current_job().progress(1, 2, f"{{access_token}} {{secret}}")
    thread = threading.Thread(target=fail, args=(form, access_token))
    thread.start()
    thread.join()
    return Secrets(form=form, access_token=access_token, listed=[access_token, f"key={{key}}", repr(form)], count=3)

def fail(form, access_token):
    try:
        raise ValueError(f"asked with {{form}}")
    except ValueError as error:
        raise RuntimeError(f"refused {{access_token}}: {{urlencode(form)}}") from error

def raise_it(payload, services):
    form, access_token, *_ = _secrets(services)
    fail(form, access_token)

def put_off(payload, services):
    form, access_token, *_ = _secrets(services)
    raise Defer(3600, f"{{form}} {{access_token}}")

def refuse(payload, services):
    form, access_token, *_ = _secrets(services)
    raise PermanentError(f"{{form}} {{access_token}}")

TYPES = [
    JobType(name=name, queue="leaks", payload=Asked, result=Secrets, run=run, attempts=1)
    for name, run in (("talk", talk), ("raise-it", raise_it), ("put-off", put_off), ("refuse", refuse))
]
TALK, RAISE, PUT_OFF, REFUSE = TYPES
"""


@pytest.fixture
def project() -> Iterator[SentryProject]:
    project = SentryProject()
    yield project
    project.close()


@pytest.fixture(params=["logfmt", "json"])
def environ(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, project: SentryProject) -> dict[str, str]:
    (tmp_path / "leaks.py").write_text(OWN_JOB_TYPES, encoding="utf-8")
    return environ_for(
        tmp_path,
        redis_url,
        SENTRY_DSN=project.dsn,
        EVE_CLIENT_ID="nomad-client",
        EVE_CLIENT_SECRET=CLIENT_SECRET,
        NOMAD_TOKEN_KEYS=TOKEN_KEY,
        NOMAD_METRICS_PORT=str(free_port()),
        LOG_FORMAT=request.param,
        NOMAD_MODULES="leaks",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "leaks", raising=False)
    app = create_app(Settings.from_env(environ))
    app.store.logins.save(
        character_id=7,
        user_id=1,
        name="A",
        owner_hash="o",
        scopes=[],
        refresh_token=REFRESH_TOKEN,
        access_token=ACCESS_TOKEN,
        expires_at_ms=app.clock.now_ms() + 3_600_000,
    )
    yield app
    app.close()


def everything_in(client: redis.Redis) -> str:
    """Return all data of a Redis as text."""
    found: list[object] = []
    for key in client.scan_iter("*"):
        match client.type(key):
            case b"hash":
                found.append((key, client.hgetall(key)))
            case b"string":
                found.append((key, client.get(key)))
            case b"zset":
                found.append((key, client.zrange(key, 0, -1, withscores=True)))
            case b"set":
                found.append((key, client.smembers(key)))
            case b"list":
                found.append((key, client.lrange(key, 0, -1)))
            case other:
                raise AssertionError(other)
    return repr(found)


def answers_of(url: str) -> str:
    """Return what an admin shows about the queue and its jobs, in its API and its pages."""
    content = ""
    paths = ["queues", "queues/leaks", "queues/leaks/failures", "health", "audit", "metrics", "doctor"]
    paths += [f"queues/leaks/jobs?status={status}&limit=50" for status in ("failed", "completed", "delayed", "active")]
    pages = ["", "queues/leaks", "queues/leaks/failures", "audit", "checks"]
    for path in [f"jobs/{path}" for path in paths] + pages:
        content += requests.get(f"{url}/admin/{path}", timeout=20).text
    for job_id in set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", content)):
        for path in (f"jobs/queues/leaks/jobs/{job_id}", f"queues/leaks/jobs/{job_id}"):
            content += requests.get(f"{url}/admin/{path}", timeout=20).text
    return content


def test_no_secret_of_a_job_leaves_its_process(
    app: App,
    environ: dict[str, str],
    project: SentryProject,
    redis_client: redis.Redis,
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    queue, texts = app.queues.get_queue("leaks"), {}
    output = tmp_path / "output.log"
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path):
        for name in ("talk", "raise-it", "put-off", "refuse"):
            app.queues.add_job("leaks", name, {"character_id": 7})
        wait_until(lambda: (queue.counts()["failed"], queue.counts()["completed"]) == (2, 1), timeout_seconds=60)
        wait_until(lambda: queue.counts()["delayed"] == 1 and len(project.events) >= 2, timeout_seconds=20)
        wait_until(lambda: "metrics are served" in output.read_text(), timeout_seconds=20)
        port = environ["NOMAD_METRICS_PORT"]
        texts["the workers' metrics"] = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    ready = tmp_path / "ready"
    with program(["admin", "--ready-file", str(ready)], environ, tmp_path):
        wait_until(ready.exists, timeout_seconds=60)
        texts["the admin"] = answers_of(ready.read_text().strip())
    texts["the log"] = output.read_text()
    texts["Redis"] = everything_in(redis_client)
    texts["Sentry"] = project.text
    for file in tmp_path.glob("nomad.db*"):
        texts[file.name] = file.read_bytes().decode(errors="backslashreplace")
    for source, text in texts.items():
        for secret in (REFRESH_TOKEN, ACCESS_TOKEN, CLIENT_SECRET, TOKEN_KEY, OWN_SECRET, BASIC):
            for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
                at = text.find(form)
                assert at < 0, f"{source}: {text[max(0, at - 200) : at + 60]}"
    # Each job was logged, so the checked text is the right one.
    assert texts["the log"].count("[hidden]") > 40
    for module in ("stdout", "stderr", "py.warnings", "a.library", "own", "raise-it-job", "refuse-job"):
        assert re.search(rf'"?module"?[=:] ?"?{module}"?.*\[hidden\]', texts["the log"]), module
    for expected in ("own_password", "grant_type", "refused [hidden]"):
        assert expected in texts["Redis"]
    assert texts["Redis"].count("[hidden]") > 20
    assert texts["Sentry"].count("[hidden]") > 5
    assert texts["the admin"].count("[hidden]") > 20
    (done,) = [job for job in queue.jobs("completed") if job.name == "talk"]
    assert done.returnvalue["count"] == 3
    assert done.returnvalue["form"]["grant_type"] == "refresh_token"
    assert done.returnvalue["form"]["refresh_token"] == "[hidden]"
