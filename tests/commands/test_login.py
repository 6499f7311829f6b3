"""`nomad login`, as its own process, with the sandbox's SSO and whatever a browser may send to the listener."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import requests

from nomad_actors.clock import SystemClock
from nomad_actors.commands.login_callback import CallbackListener, LoginFailed
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.limits.brakes import rejected
from nomad_actors.processes.local_redis import free_port
from nomad_actors.store import Store
from sandbox.serve import SandboxServer


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """An SSO with a few characters."""
    with SandboxServer(characters=3) as server:
        yield server


@pytest.fixture
def environ(logins_environ: dict[str, str], sandbox: SandboxServer) -> dict[str, str]:
    """The environment of the command."""
    urls = dict.fromkeys(("ESI_BASE_URL", "SSO_BASE_URL"), sandbox.base_url)
    return logins_environ | urls


class Login:
    """A running `nomad login` that has printed its address."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.lines = [process.stdout.readline() for _ in range(2)]
        query = parse_qs(urlsplit(self.lines[1].strip()).query)
        self.callback, self.state = query["redirect_uri"][0], query["state"][0]

    def chosen(self, character_id: int) -> str:
        """Return the callback with which SSO redirects the browser after the player chose a character."""
        address = f"{self.lines[1].strip()}&character_id={character_id}"
        return requests.get(address, allow_redirects=False, timeout=10).headers["Location"]

    def end(self, pasted: str | None = None) -> tuple[int, str, str]:
        output, errors = self.process.communicate(pasted, timeout=30)
        return self.process.returncode, output, errors


@contextmanager
def login(environ: dict[str, str], *arguments: str) -> Iterator[Login]:
    command = [sys.executable, "-m", "nomad_actors.cli", "login", "--port", str(free_port()), *arguments]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield Login(process)
    finally:
        process.kill()
        process.communicate()


def character(sandbox: SandboxServer, number: int = 0) -> tuple[int, str]:
    found = sandbox.parts.world.characters[number]
    return found.character_id, found.name


def test_the_browser_shows_the_outcome_after_icons_idle_connections_and_other_callbacks(
    environ: dict[str, str], store: Store, sandbox: SandboxServer
) -> None:
    character_id, name = character(sandbox)
    with login(environ, "--user-id", "42") as running:
        assert running.lines[0] == "Open this address and log in:\n"
        host, port = urlsplit(running.callback).netloc.split(":")
        with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))) as half:
            half.sendall(b"GET /callback?co")
            icon = requests.get(running.callback.replace("/callback", "/favicon.ico"), timeout=10)
            for fields in ("?code=stolen&state=another", "?code=stolen", "", "?state=%ff&code=x"):
                other = requests.get(running.callback + fields, timeout=10)
                assert (other.status_code, "answer to another login" in other.text) == (400, True)
            assert icon.status_code == 404
            page = requests.get(running.chosen(character_id), timeout=30)
        code, output, errors = running.end()
    done = f"{name} (character {character_id}) is logged in for user 42."
    assert (page.status_code, page.text) == (200, f"{done} You can close this page.\n")
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (code, output.splitlines()[-1], errors) == (0, done, "")
    assert "\\n" not in output
    saved = store.logins.get(character_id)
    assert saved is not None
    assert (saved.user_id, saved.state, bool(saved.access_token)) == (42, "active", True)


def test_a_login_that_fails_after_the_callback_is_not_called_one(
    environ: dict[str, str], store: Store, sandbox: SandboxServer
) -> None:
    with login(environ) as running:
        page = requests.get(f"{running.callback}?code=no-such-code&state={running.state}", timeout=30)
        code, output, errors = running.end()
    assert page.status_code == 502
    assert page.text.startswith("You are not logged in: SSO answered 400")
    assert (code, "is logged in" in output, "SSO answered 400" in errors) == (1, False, True)
    assert "no-such-code" not in page.text + output + errors
    assert store.logins.characters() == []


def test_a_player_who_declines_is_told_so(environ: dict[str, str]) -> None:
    with login(environ) as running:
        page = requests.get(f"{running.callback}?error=access_denied&state={running.state}", timeout=30)
        code, _, errors = running.end()
    assert (page.status_code, "access_denied" in page.text) == (502, True)
    assert (code, errors) == (1, "nomad: SSO refused the login: access_denied\n")


@pytest.mark.parametrize("arguments", [(), ("--no-listen",)])
@pytest.mark.parametrize("is_code", [True, False])
def test_a_callback_or_code_can_be_pasted(
    environ: dict[str, str], store: Store, sandbox: SandboxServer, arguments: tuple[str, ...], is_code: bool
) -> None:
    character_id, name = character(sandbox, 1)
    with login(environ, *arguments) as running:
        callback = running.chosen(character_id)
        pasted = parse_qs(urlsplit(callback).query)["code"][0] if is_code else callback
        other = f"{running.callback}?code=x&state=y"
        code, output, errors = running.end(f"\n{other}\n{pasted}\n")
    assert (code, output.splitlines()[-1]) == (0, f"{name} (character {character_id}) is logged in for user 1.")
    assert "answer to another login" in errors
    assert store.logins.character(character_id) is not None


def test_without_a_listener_the_end_of_the_input_ends_the_login(environ: dict[str, str]) -> None:
    with login(environ, "--no-listen") as running:
        code, _, errors = running.end("")
    assert (code, errors) == (1, "nomad: standard input ended before the callback was pasted\n")


def test_two_logins_after_one_another_belong_to_their_users(
    environ: dict[str, str], store: Store, sandbox: SandboxServer
) -> None:
    for number, user in enumerate(("1", "2")):
        with login(environ, "--user-id", user, "--no-listen") as running:
            code, output, _ = running.end(running.chosen(character(sandbox, number)[0]))
        assert (code, f"for user {user}." in output) == (0, True)
    assert [each.user_id for each in store.logins.characters()] == [1, 2]


def test_a_login_ends_the_characters_brake_and_is_audited_without_its_code(
    environ: dict[str, str], store: Store, sandbox: SandboxServer, redis_url: str
) -> None:
    character_id, _ = character(sandbox)
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    limiter = Limiter(client, clock=SystemClock(), application="sandbox-client")
    for each in (character_id, 5):
        limiter.brake(rejected(each, "ESI answered 401"))
    with login(environ, "--no-listen") as running:
        callback = running.chosen(character_id)
        assert running.end(callback)[0] == 0
    assert [brake.name for brake in limiter.state().brakes] == ["character:5"]
    entry = store.audit.read(1)[0][0]
    assert (entry.endpoint, entry.status) == ("/admin/jobs/characters/{characterId}/login", 200)
    assert json.loads(entry.body or "") == {"userId": 1}


def test_the_buyer_of_a_character_sees_nothing_of_the_sellers(
    environ: dict[str, str], store: Store, sandbox: SandboxServer
) -> None:
    sold = sandbox.parts.world.characters[2]

    def log_in(user: str) -> str:
        with login(environ, "--user-id", user, "--no-listen") as running:
            code, output, _ = running.end(running.chosen(sold.character_id))
        assert code == 0
        return output.splitlines()[-1]

    log_in("1")
    store.documents.save_requested(sold.character_id, "/a")
    log_in("1")
    assert store.documents.state(sold.character_id, "/a") is not None
    sandbox.parts.grants.sell(sold)
    assert log_in("2").endswith("The character has a new owner: what was kept for the old one is now archive -1.")
    assert store.documents.state(sold.character_id, "/a") is None


def test_the_listener_keeps_its_time_whatever_is_sent(wait_until: Callable[..., None]) -> None:
    read, write = os.pipe()
    listener = CallbackListener(0, "the state")
    listener.start()
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(listener.redirect_uri).port or 0)) as idle:
            idle.sendall(b"GET /favicon.ico HTTP/1.0\r\n\r\n")
            assert select.select([idle], [], [], 10)[0]
            with pytest.raises(LoginFailed, match="within 1 s"):
                listener.wait(1.0)
    finally:
        listener.close()
        os.close(read)
        os.close(write)
    assert time.monotonic() - began >= 1


def test_a_port_in_use_is_named(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "nomad_actors.cli", "login", "--port", str(port)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"port {port} cannot be used for the callback (Address already in use)" in done.stderr
