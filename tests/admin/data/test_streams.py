"""Streams: bounded memory, cut visibly when they fail, and nothing left behind by clients that go away."""

from __future__ import annotations

import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter

from admin.data import streams
from tests.support.postgres import Postgres

from ..admin_process import running_admin
from .conftest import ADA, ENTRIES, TOKENS, Admin, AdminApp, add_entries, log_in

NDJSON, CSV = "application/x-ndjson", "text/csv"
#: About 17 MB: more than the sockets and the server's buffer of a connection take.
ROWS = 12_000
PAGE = (Path(__file__).parents[3] / "docs" / "data-http.md").read_text(encoding="utf-8")
HEADERS = {"Authorization": f"Bearer {TOKENS['reader']}"}


@pytest.fixture(scope="session")
def rich(app: AdminApp) -> int:
    """A character with `ROWS` journal entries."""
    log_in(app.store, 92000001, 7)
    add_entries(app.store, ROWS, character_id=92000001)
    return 92000001


class _SmallBuffer(HTTPAdapter):
    """Lets the system hold little of a response that the test has not read."""

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)]
        super().init_poolmanager(*arguments, **more, socket_options=options)


@contextmanager
def opened(admin: Admin, character: int, accept: str = NDJSON) -> Iterator[requests.Response]:
    url = f"{admin.url}/data/characters/{character}/journal"
    with requests.Session() as session:
        session.mount("http://", _SmallBuffer())
        with session.get(url, headers={**HEADERS, "Accept": accept}, stream=True, timeout=20) as response:
            assert response.status_code == 200
            yield response


@pytest.mark.parametrize("accept", [NDJSON, CSV])
def test_a_stream_has_every_row_in_order(admin: Admin, rich: int, accept: str) -> None:
    with opened(admin, rich, accept) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["ETag"].startswith('W/"')
        lines = response.text.splitlines()[1 if accept == CSV else 0 :]
    ids = [int(line.split(",")[1]) if accept == CSV else json.loads(line)["id"] for line in lines]
    assert ids == [*range(ROWS - 1, -1, -1)]
    known = admin.get(f"{rich}/journal", Accept=accept, If_None_Match=response.headers["ETag"])
    assert (known.status_code, known.content) == (304, b"")
    limited = admin.get(f"{rich}/journal?limit=1500&newestFirst=true", Accept=accept)
    assert len(limited.text.splitlines()) == 1500 + (accept == CSV)


def test_the_page_says_from_how_many_rows_on_it_is_a_stream(admin: Admin, rich: int) -> None:
    assert f"Over {streams.CHUNK_ROWS} rows of NDJSON or CSV are streamed" in PAGE
    for rows in (streams.CHUNK_ROWS, streams.CHUNK_ROWS + 1):
        response = admin.get(f"{rich}/journal?limit={rows}", Accept=NDJSON)
        is_stream = response.headers.get("Transfer-Encoding") == "chunked"
        assert (len(response.text.splitlines()), is_stream) == (rows, rows > streams.CHUNK_ROWS)


def test_streams_take_the_memory_of_some_rows(
    app: AdminApp, rich: int, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    entries = [each.entry for each in ENTRIES]
    url = app.store.database.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with running_admin(tmp_path, redis_url, wait_until, entries, DATABASE_URL=url) as served:
        listening = (each for each in psutil.net_connections("tcp") if each.status == "LISTEN")
        (process,) = (each.pid for each in listening if each.laddr == served.address)
        for accept in (NDJSON, CSV):
            path, header = f"/data/characters/{rich}/journal", {"Accept": accept}
            warm = partial(served.request, "GET", f"{path}?limit=2000", TOKENS["reader"], headers=header, stream=True)
            # A loaded machine may take longer than the admin waits for PostgreSQL.
            wait_until(lambda warm=warm: _size(warm()) > 2_000_000)
            before_kb = _peak_kb(process or 0)
            complete = partial(served.request, "GET", path, TOKENS["reader"], headers=header, stream=True)
            wait_until(lambda complete=complete: _size(complete()) > 15_000_000)
            # Each of the server's threads keeps up to 10 MB of its own; all rows at a time would take over 40 MB.
            assert _peak_kb(process or 0) - before_kb < 25_000


def _size(response: requests.Response) -> int:
    """Return the size of a body, 0 if the stream was cut."""
    with response, suppress(requests.exceptions.ChunkedEncodingError):
        return sum(map(len, response.iter_content(65_536)))
    return 0


def _peak_kb(process: int) -> int:
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(line)


@pytest.mark.parametrize("accept", [NDJSON, CSV])
def test_a_stream_of_a_character_that_is_sold_is_cut_and_not_ended(
    admin: Admin, app: AdminApp, rich: int, accept: str
) -> None:
    try:
        with opened(admin, rich, accept) as response:
            parts = response.iter_content(65_536)
            received = next(parts)
            log_in(app.store, rich, 8, owner_hash="another owner")
            received += _until_cut(parts)
    finally:
        # What was kept for the first owner comes back.
        log_in(app.store, rich, 7)
    lines = received.decode().splitlines()
    assert 0 < len(lines) < ROWS
    if accept == NDJSON:
        assert json.loads(lines[-1]) == {"error": {"status": 404, "detail": f"character {rich} never logged in"}}
    assert admin.get(f"{rich}/journal?limit=1500", Accept=accept).status_code == 200


def test_a_stream_is_cut_if_the_database_goes_away(
    admin: Admin, app: AdminApp, rich: int, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(admin, rich) as response:
        parts = response.iter_content(65_536)
        received = next(parts)
        with _away(app, request):
            received += _until_cut(parts)
            assert admin.get(f"{rich}/journal", Accept=NDJSON).status_code == 503
    error = json.loads(received.decode().splitlines()[-1])["error"]
    assert (error["status"], "database" in error["detail"]) == (503, True)
    assert "Traceback" not in caplog.text
    assert admin.get(f"{rich}/journal?limit=1500", Accept=NDJSON).status_code == 200


def _until_cut(parts: Iterator[bytes]) -> bytes:
    """Return what still arrives; the body must not end as a complete one does."""
    received = b""
    with pytest.raises(requests.exceptions.ChunkedEncodingError):  # noqa: PT012 - what arrives before it counts
        for part in parts:
            received += part
    return received


@contextmanager
def _away(app: AdminApp, request: pytest.FixtureRequest) -> Iterator[None]:
    """Take the database away, as a lost disk or a stopped server does."""
    if app.store.database.is_sqlite:
        app.remove_database()
        yield
        app.restore_database()
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = app.store.database.url.database or ""
    with postgres.refusing(name):
        yield


def test_only_some_streams_are_sent_at_a_time_and_others_still_get_pages(
    admin: Admin, rich: int, wait_until: Callable[..., None]
) -> None:
    held = [opened(admin, rich) for _ in range(streams.MAX_STREAMS)]
    for each in held:
        each.__enter__()
    refused = admin.get(f"{rich}/journal", Accept=NDJSON)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "4 streams" in refused.json()["detail"]
    assert len(admin.rows(f"{rich}/journal")["rows"]) == 100
    assert admin.get(f"{ADA}/journal", Accept=NDJSON).status_code == 200
    for each in held:
        each.__exit__(None, None, None)
    wait_until(lambda: admin.get(f"{rich}/journal?limit=1600", Accept=NDJSON).status_code == 200)


def test_clients_that_go_away_free_their_slots(admin: Admin, rich: int, wait_until: Callable[..., None]) -> None:
    for _ in range(3 * streams.MAX_STREAMS):

        def begins() -> bool:
            response = requests.get(
                f"{admin.url}/data/characters/{rich}/journal",
                headers={**HEADERS, "Accept": CSV},
                stream=True,
                timeout=20,
            )
            response.close()
            return response.status_code == 200

        wait_until(begins)
    wait_until(_all_free)


@pytest.mark.parametrize("method", ["HEAD", "304"])
def test_responses_without_a_body_take_no_slot(admin: Admin, rich: int, method: str) -> None:
    url = f"{admin.url}/data/characters/{rich}/journal"
    known = {"If-None-Match": "*"} if method == "304" else {}
    for _ in range(2 * streams.MAX_STREAMS):
        response = requests.request(
            "GET" if known else method, url, headers={**HEADERS, "Accept": NDJSON, **known}, timeout=20
        )
        assert (response.status_code, response.content) == (304 if known else 200, b"")
    assert _all_free()


def _all_free() -> bool:
    taken = list(
        itertools.takewhile(bool, (streams._slots.acquire(blocking=False) for _ in range(streams.MAX_STREAMS)))
    )
    for _ in taken:
        streams._slots.release()
    return len(taken) == streams.MAX_STREAMS
