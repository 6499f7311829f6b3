"""A document that is too old is returned at once, and its refresh is one job, if ESI can have something newer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nomad_actors import data as public
from nomad_actors import queues
from nomad_actors.app import App, create_app
from nomad_actors.clock import ManualClock
from nomad_actors.data import Data, Document
from nomad_actors.errors import BadInput
from nomad_actors.jobs.esi_refresh import run
from nomad_actors.settings import Settings
from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer
from tests.support.databases import put_database

WALLET = "/characters/{character_id}/wallet"
#: 2026-11-24T00:00:00Z
START_S = 1_795_478_400


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """An ESI with one character, whose clock is stopped."""
    with SandboxServer(characters=1, clock=SandboxClock(frozen_at_s=START_S), grace_s=0) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    """A clock that shows the sandbox's time."""
    return ManualClock(START_S * 1000)


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, sandbox: SandboxServer) -> Settings:
    """The settings of a system on the sandbox."""
    return Settings.from_env(
        {
            "REDIS_URL": redis_url,
            "DATABASE_URL": put_database(tmp_path / "nomad.db"),
            "NOMAD_VAR_DIR": str(tmp_path),
            "EVE_CLIENT_ID": "sandbox-client",
            "EVE_CLIENT_SECRET": "sandbox-secret",
            "ESI_BASE_URL": sandbox.base_url,
            "SSO_BASE_URL": sandbox.base_url,
            "ESI_USER_AGENT": "nomad-tests/1 (tests@example.com)",
        }
    )


@pytest.fixture
def app(settings: Settings, clock: ManualClock) -> Iterator[App]:
    """An application whose jobs no worker runs."""
    app = create_app(settings, clock=clock)
    yield app
    app.close()
    queues.set_default(None)


@pytest.fixture
def character_id(app: App, sandbox: SandboxServer) -> int:
    """A character that has logged in and collected nothing."""
    login = sandbox.logins()[0]
    names = ("character_id", "user_id", "name", "owner_hash", "scopes", "refresh_token")
    app.store.logins.save(**{name: login[name] for name in names})
    return int(login["character_id"])


@pytest.fixture
def data(app: App, clock: ManualClock) -> Data:
    """A reader of the application's store."""
    return Data(app.store, clock)


@pytest.fixture
def later(clock: ManualClock, sandbox: SandboxServer) -> Callable[[float], None]:
    """`later(seconds)`: let time pass, for the sandbox too."""

    def advance(seconds: float) -> None:
        clock.advance(seconds=seconds)
        sandbox.advance(seconds)

    return advance


def waiting(app: App) -> list[dict[str, Any]]:
    """Return the payloads of the refreshes that wait."""
    return [job.data for job in app.queues.get_queue("esi-refresh").jobs("waiting")]


def run_all(app: App) -> None:
    """Run what waits, as a worker would."""
    queue = app.queues.get_queue("esi-refresh")
    job_type = app.queues.job_type("esi-data-refresh")
    for job in queue.jobs("waiting"):
        run(job_type.payload.model_validate(job.data), app.services)
        queue.remove(job.id)


def read(data: Data, character_id: int, older: Any) -> Document:
    found = data.document(character_id, WALLET, refresh_if_older=older)
    assert found is not None
    return found


def test_a_document_that_is_missing_is_asked_for_once(app: App, data: Data, character_id: int) -> None:
    assert data.document(character_id, WALLET, refresh_if_older=60) is None
    assert data.document(character_id, WALLET, refresh_if_older=60) is None
    assert [(each["endpoint"], each["character_id"]) for each in waiting(app)] == [(WALLET, character_id)]


def test_a_stale_document_is_returned_with_the_one_job_that_refreshes_it(
    app: App, data: Data, character_id: int, later: Callable[[float], None]
) -> None:
    data.document(character_id, WALLET, refresh_if_older=60)
    run_all(app)
    first = read(data, character_id, 60)
    assert (first.refresh, waiting(app)) == (None, [])
    # ESI's freshness of 120 s has ended; our own interval of 600 s has not.
    later(130)
    assert read(data, character_id, timedelta(hours=1)).refresh is None
    stale, again = read(data, character_id, timedelta(minutes=2)), read(data, character_id, 120.0)
    assert stale.refresh is not None
    assert again.refresh is not None
    assert (stale.as_of, stale.refresh.new) == (first.as_of, True)
    assert (again.refresh.id, again.refresh.new, len(waiting(app))) == (stale.refresh.id, False, 1)
    run_all(app)
    newer = read(data, character_id, 120)
    assert (newer.refresh, newer.as_of > first.as_of) == (None, True)  # type: ignore[operator]


def test_nothing_is_asked_of_esi_before_it_can_have_something_newer(
    app: App, data: Data, character_id: int, later: Callable[[float], None]
) -> None:
    data.document(character_id, WALLET, refresh_if_older=0)
    run_all(app)
    later(60)
    assert read(data, character_id, 0).refresh is None
    later(61)
    refused_ms = app.clock.now_ms() + 3_600_000
    app.store.documents.save_failure(character_id, WALLET, error="403", refused_until_ms=refused_ms)
    assert read(data, character_id, 0).refresh is None
    later(3_600)
    assert read(data, character_id, 0).refresh is not None


def test_a_character_without_a_working_login_is_not_refreshed(app: App, data: Data, character_id: int) -> None:
    login = app.store.logins.get(character_id)
    assert login is not None
    app.store.logins.require_login(character_id, login.version, reason="revoked")
    assert data.document(character_id, WALLET, refresh_if_older=0) is None
    assert waiting(app) == []


@pytest.mark.parametrize("older", [-1, "5", float("nan"), timedelta(seconds=-1), 1e300])
def test_a_wrong_age_is_refused(data: Data, character_id: int, older: Any) -> None:
    with pytest.raises(BadInput, match="refresh_if_older"):
        data.document(character_id, WALLET, refresh_if_older=older)


def test_a_reader_without_an_application_opens_the_queues_of_its_settings(
    app: App, settings: Settings, character_id: int
) -> None:
    queues.set_default(None)
    reader = public.connect(settings)
    assert reader.document(character_id, WALLET, refresh_if_older=0) is None
    assert len(waiting(app)) == 1
    queues.default_queues().broker.close()
    reader.close()
