"""Behind a proxy: path prefix, TLS, client addresses; and a proxy that adds no headers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from admin import create_app
from chaos.api_fuzz import served
from nomad_actors.errors import SettingsError
from nomad_actors.processes.local_redis import free_port
from nomad_actors.queues.bulk import BulkRequest, Operations
from nomad_actors.queues.search import JobFilter
from nomad_actors.settings import Settings
from nomad_actors.testing import wait_until
from tests.support.operator import as_operator
from tests.support.programs import program

from .conftest import AdminApp, operator_client
from .crawler import Crawler

LOCATION = """
  server {{
    listen 127.0.0.1:{port};
    location {location} {{ proxy_pass http://127.0.0.1:{admin}{uri}; {more} }}
  }}"""
FORWARDS = (
    "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Any]:
    """`nginx(admin, location, uri, more)` starts a real nginx in front of an admin and returns its URL."""
    running: list[subprocess.Popen[bytes]] = []

    def start(admin: str, location: str = "/", uri: str = "", more: str = "") -> str:
        directory, port = tmp_path / f"nginx{len(running)}", free_port()
        directory.mkdir()
        server = LOCATION.format(port=port, location=location, admin=admin.rpartition(":")[2], uri=uri, more=more)
        paths = "".join(
            f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = directory / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/error;\n"
            f"events {{}} http {{ access_log {directory}/access; {paths} {server} }}"
        )
        command = [program("nginx"), "-p", str(directory), "-c", str(config), "-e", str(directory / "error")]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_up(base), what="nginx")
        return base

    yield start
    for process in running:
        process.kill()
        process.wait()


def is_up(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 600
    except requests.ConnectionError:
        return False


@pytest.fixture
def filled(app: AdminApp) -> AdminApp:
    """An application with jobs in every state that needs no worker, a schedule, a bulk operation and failures."""
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    app.simulate_scheduler()
    app.add(fail=True)
    app.add()
    app.run_all()
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 2}, job_id="a/b ?é%2F#c")
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 2}, delay=3_600_000)
    app.queues.pause_esi(reason="a look", by="ada", for_ms=None)
    request = BulkRequest(action="retry", job_filter=JobFilter(states=("failed",)), by="ada")
    Operations(app.queues).begin("token-refresh", request)
    return app


def behind(app: AdminApp, **settings: Any) -> Flask:
    return create_app(replace(app, settings=replace(app.settings, **settings)))


def trusting(text: str, prefix: str = "") -> dict[str, Any]:
    environ = {"NOMAD_ADMIN_TRUSTED_PROXIES": text, "ADMIN_PREFIX": prefix}
    found = Settings.from_env(environ)
    return {"admin_trusted_proxies": found.admin_trusted_proxies, "admin_prefix": found.admin_prefix}


@pytest.mark.parametrize("way", ["ADMIN_PREFIX, taken off", "ADMIN_PREFIX, left on", "X-Forwarded-Prefix"])
def test_every_link_form_and_asset_stays_below_the_prefix(filled: AdminApp, nginx: Any, way: str) -> None:
    prefix = "/eve/nomad"
    by_header = way == "X-Forwarded-Prefix"
    settings = trusting("127.0.0.0/8", "" if by_header else prefix)
    more = FORWARDS + (f"proxy_set_header X-Forwarded-Prefix {prefix}/;" if by_header else "")
    with served(behind(filled, **settings)) as admin, requests.Session() as session:
        base = nginx(admin, f"{prefix}/", "" if way.endswith("left on") else "/", more)
        token = as_operator(filled.settings.var_dir)["Authorization"].split()[1]
        login = Crawler(base, prefix, session, allowed=(200, 401))
        login.crawl(f"{base}{prefix}/admin/login")
        assert not login.wrong, "\n".join(login.wrong)
        page = session.get(f"{base}{prefix}/admin/login", timeout=20).text
        form_token = page.partition('name="form_token" value="')[2].partition('"')[0]
        form = {"token": token, "form_token": form_token}
        response = session.post(f"{base}{prefix}/admin/login", data=form, headers={"Origin": base}, timeout=20)
        assert (response.status_code, response.url) == (200, f"{base}{prefix}/admin/")
        assert {cookie.path for cookie in session.cookies} == {f"{prefix}/admin"}
        is_whole = way == "X-Forwarded-Prefix"
        found = Crawler(base, prefix, session, max_pages=1_000 if is_whole else 12)
        found.crawl(f"{base}{prefix}/")
        assert not found.wrong, "\n".join(found.wrong)
        paths = [url.removeprefix(base + prefix) for url in found.seen | found.posted]
        if is_whole:
            assert {"/admin/static/admin.css", "/admin/logout", "/admin/audit", "/admin/esi/resume"} <= set(paths)
            for part in ("/jobs/a", "/failures", "/schedules/nightly", "/bulk/", "/confirm/", "/cancel", "/run"):
                assert any(part in path for path in paths), part
        headers = {"Authorization": f"Bearer {token}"}
        document = session.get(f"{base}{prefix}/admin/openapi.json", headers=headers, timeout=20).json()
        assert document["servers"] == [{"url": prefix}]
        # A request from this machine without the proxy has no prefix.
        assert requests.get(f"{admin}/metrics", timeout=20).status_code == 200


def test_a_plain_proxy_pass_of_nginx_gives_visitors_no_access(filled: AdminApp, nginx: Any) -> None:
    with served(behind(filled)) as admin:
        base = nginx(admin)
        for method, path in (
            ("GET", "/admin/jobs/queues"),
            ("GET", "/admin/"),
            ("GET", "/metrics"),
            ("POST", "/admin/jobs/queues/esi-refresh/pause"),
        ):
            response = requests.request(method, base + path, timeout=20)
            assert response.status_code == 401, (method, path)
            assert "NOMAD_ADMIN_TOKENS" in response.text
        assert requests.get(f"{admin}/admin/jobs/queues", timeout=20).status_code == 200
        headers = as_operator(filled.settings.var_dir)
        assert requests.get(f"{base}/admin/jobs/queues", headers=headers, timeout=20).status_code == 200
    assert not filled.queues.get_queue("esi-refresh").snapshot().is_paused


#: X-Forwarded-For, the peer, and the resulting client address; 10.0.0.0/8 is trusted.
PEERS = [
    ("198.51.100.7", "10.0.0.1", "198.51.100.7"),
    ("6.6.6.6, 198.51.100.7, 10.0.0.9", "10.0.0.1", "198.51.100.7"),
    ("198.51.100.7:4711", "10.0.0.1", "198.51.100.7"),
    ("[2001:db8::7]:4711", "::ffff:10.0.0.1", "2001:db8::7"),
    ("::ffff:198.51.100.7", "10.0.0.1", "198.51.100.7"),
    ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
    ("6.6.6.6, rubbish", "10.0.0.1", "10.0.0.1"),
    ("", "10.0.0.1", "10.0.0.1"),
    (",", "10.0.0.1", "10.0.0.1"),
    ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
    ("198.51.100.7", "unix:", "unix:"),
]


def test_the_peer_is_the_rightmost_address_that_is_no_trusted_proxy(app: AdminApp) -> None:
    client = behind(app, **trusting("10.0.0.0/8")).test_client()
    for forwarded, peer, seen in PEERS:
        environ = {"REMOTE_ADDR": peer}
        assert client.get("/metrics", headers={"X-Forwarded-For": forwarded}, environ_base=environ).status_code == 401
        assert app.store.audit.read(1)[0][0].peer == seen, (forwarded, peer)


@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.1"])
def test_only_a_trusted_proxy_sets_host_and_prefix(app: AdminApp, peer: str) -> None:
    web, environ = behind(app, **trusting("10.0.0.1")), {"REMOTE_ADDR": peer}
    headers = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    page = operator_client(web, app).get("/admin/", headers=headers, environ_base=environ)
    assert page.status_code == 200
    assert "evil" not in page.text
    from_proxy = {"REMOTE_ADDR": "10.0.0.1"}
    assert operator_client(web, app).get("/admin/", headers=headers, environ_base=from_proxy).status_code == 403
    page = operator_client(web, app).get(
        "/admin/", headers={**headers, "X-Forwarded-Host": "localhost"}, environ_base=from_proxy
    )
    assert 'href="/evil/admin/"' in page.text


def test_an_invalid_prefix_is_ignored(app: AdminApp) -> None:
    client = operator_client(behind(app, **trusting("10.0.0.1")), app)
    client.environ_base["REMOTE_ADDR"] = "10.0.0.1"
    wrong = [
        "//evil.example",
        "/a//b",
        "/..",
        "/a/../b",
        "nomad",
        '/"><script>',
        "/a b",
        "/é",
        "/",
        "/admin",
        "/admin/x",
    ]
    for prefix in wrong:
        page = client.get("/admin/", headers={"X-Forwarded-Prefix": prefix.encode().decode("latin-1")})
        assert (page.status_code, 'href="/admin/"' in page.text) == (200, True), prefix
        with pytest.raises(SettingsError, match="ADMIN_PREFIX"):
            Settings.from_env({"ADMIN_PREFIX": prefix})


def test_a_change_over_tls_is_accepted_by_the_proxys_headers(app: AdminApp) -> None:
    web = behind(app, **trusting("10.0.0.1"), admin_hosts=("jobs.example",))
    client = operator_client(web, app)
    client.environ_base["REMOTE_ADDR"] = "10.0.0.1"
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "jobs.example", "Sec-Fetch-Site": "same-origin"}
    path = "/admin/jobs/queues/esi-refresh/pause"
    assert client.post(path, headers={**headers, "Origin": "https://jobs.example"}).status_code == 200
    assert client.post(path, headers={**headers, "Origin": "https://evil.example"}).status_code == 403
    assert "Secure" in client.get("/admin/login", headers=headers).headers["Set-Cookie"]


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1/8", "10.0.0.1,,", "*"])
def test_an_invalid_list_of_proxies_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="NOMAD_ADMIN_TRUSTED_PROXIES"):
        Settings.from_env({"NOMAD_ADMIN_TRUSTED_PROXIES": text})


def test_a_trusted_proxy_on_this_machine_does_not_make_clients_local(app: AdminApp) -> None:
    client = behind(app, **trusting("127.0.0.1")).test_client()
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert client.get("/metrics").status_code == 200
