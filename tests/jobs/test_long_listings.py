"""A long listing is read in steps: within CCP's limits, across faults and deaths, and no page twice."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.clock import ManualClock
from nomad_actors.errors import TryLater
from nomad_actors.esi import ROUTES, ListingChanged, NotSent, StepEnded
from nomad_actors.esi.limits.keys import key
from nomad_actors.jobs import refresh_esi_data
from nomad_actors.jobs.route_sync import RouteSync, Synced
from nomad_actors.jobs.services import Services
from nomad_actors.settings import Settings
from nomad_actors.store import RouteState
from nomad_actors.testing import running
from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer
from sandbox.world.wallet import journal
from tests.support.postgres import Postgres

#: 2026-11-01T12:15:00Z: at a full hour many requests at once are bad conduct.
NOW_S = 1_793_535_300
JOURNAL = "/characters/{character_id}/wallet/journal"
TRANSACTIONS = "/characters/{character_id}/wallet/transactions"
ASSETS = "/characters/{character_id}/assets"
PAGES = 80
#: Faults of one response; those that hang wait for the clock, which is frozen here.
FAULTS = (
    *("hidden-429", "429", "throttled", "unhandled", "bad-gateway", "unavailable", "dropped", "lost", "not-found"),
    *("null", "empty-string", "error-object", "empty-body", "no-content", "html", "truncated", "cut", "empty-list"),
    *("mixed-page", "no-x-pages", "more-pages", "turnover", "sso-status", "unauthorized"),
)
#: Those that may make a last page look like the end.
LAST_FAULTS = ("not-found", "empty-list", "mixed-page", "no-x-pages", "more-pages", "turnover")

Advance = Callable[[float], None]
Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The settings with either kind of database, and a contact, which CCP wants."""
    settings = replace(settings, esi_user_agent="tests/1 (tests@example.com)")
    if request.param == "sqlite":
        return settings
    postgres: Postgres = request.getfixturevalue("postgres")
    postgres.clear()
    return replace(settings, database_url=postgres.url)


@pytest.fixture
def clock() -> ManualClock:
    """Our clock, with the sandbox's time."""
    return ManualClock(NOW_S * 1000)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A sandbox in which the first character's journal has 80 pages."""
    clock = SandboxClock(frozen_at_s=NOW_S)
    with SandboxServer(characters=3, clock=clock) as server:
        world = server.parts.world
        trader = world.character(server.logins()[0]["character_id"])
        assert trader is not None
        rows = len(journal(world, trader, NOW_S))
        server.parts.page_rows = -(-rows // PAGES)
        yield server


@pytest.fixture
def state(services: Services, seeded: dict[str, Any]) -> Callable[[], RouteState]:
    """`state()`: the journal's sync state."""

    def get() -> RouteState:
        found = services.store.documents.state(seeded["character_id"], JOURNAL)
        assert found is not None
        return found

    return get


@pytest.fixture
def read(services: Services, seeded: dict[str, Any], advance: Advance) -> Callable[..., tuple[Synced, list[TryLater]]]:
    """`read(route)`: run the steps of a listing, each when the one before said; return the errors of those."""

    def to_the_end(route: str = JOURNAL) -> tuple[Synced, list[TryLater]]:
        waits: list[TryLater] = []
        while len(waits) < 30:
            try:
                return RouteSync(services).sync(seeded["character_id"], ROUTES[route]), waits
            except TryLater as error:
                waits.append(error)
                advance(error.retry_after_seconds)
        pytest.fail(f"not complete after {[str(each) for each in waits]}")

    return to_the_end


Read = Callable[..., tuple[Synced, list[TryLater]]]


def asked(sandbox: SandboxServer, route: str, character_id: int) -> Counter[int]:
    """Return how often each page was requested."""
    path = route.replace("{character_id}", str(character_id))
    return Counter(int(each.query.get("page", "1")) for each in sandbox.requests(path))


def test_a_journal_of_80_pages_completes_under_a_budget_of_150_tokens(
    read: Read, rows: Rows, sandbox: SandboxServer, seeded: dict[str, Any], state: Callable[[], RouteState]
) -> None:
    synced, waits = read()
    assert synced.pages == PAGES
    # On a slow host a step may also end by its time.
    full = [each for each in waits if not isinstance(each, StepEnded)]
    assert full, "it was read within one window"
    for each in waits:
        assert isinstance(each, NotSent)
        assert each.cause.startswith(("bucket:", "step"))
        assert f"of {PAGES} pages are read and kept" in str(each)
    assert asked(sandbox, JOURNAL, seeded["character_id"]) == dict.fromkeys(range(1, PAGES + 1), 1)
    assert sandbox.conduct()["violations"] == []
    _check_journal(rows, sandbox, seeded)
    assert (state().pages, state().pages_held, state().error, state().failures) == (PAGES, 0, None, 0)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_how_far_a_listing_is_read_is_seen_in_its_state(
    services: Services, seeded: dict[str, Any], state: Callable[[], RouteState]
) -> None:
    with pytest.raises(NotSent) as stopped:
        RouteSync(services).sync(seeded["character_id"], ROUTES[JOURNAL])
    assert state().error == str(stopped.value)
    assert state().error.endswith(f"; {state().pages_held} of {PAGES} pages are read and kept")  # type: ignore[union-attr]
    assert (state().failures, state().synced_ms) == (0, None)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("kind", "page"), [*((kind, 2) for kind in FAULTS), *((kind, 3) for kind in LAST_FAULTS)])
def test_any_fault_between_pages_ends_in_a_complete_listing(
    read: Read, rows: Rows, sandbox: SandboxServer, seeded: dict[str, Any], kind: str, page: int
) -> None:
    sandbox.parts.page_rows *= 27
    sandbox.fail("*/wallet/journal", kind=kind, query={"page": str(page)})
    _, waits = read()
    # A refused token is renewed at once.
    assert [each for each in waits if not isinstance(each, NotSent)] or kind in ("unauthorized", "sso-status")
    _check_journal(rows, sandbox, seeded)
    assert sandbox.conduct()["violations"] == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_listing_that_turns_over_again_and_again_says_so_and_pauses_longer_each_time(
    read: Read, rows: Rows, sandbox: SandboxServer, seeded: dict[str, Any]
) -> None:
    sandbox.fail("*/wallet/journal", kind="turnover", query={"page": "3"}, times=5)
    _, waits = read()
    changed = [each for each in waits if isinstance(each, ListingChanged)]
    assert [each.retry_after_seconds for each in changed] == [10, 20, 40, 80, 160]
    assert all("page 3 has Last-Modified" in str(each) for each in changed)
    _check_journal(rows, sandbox, seeded)
    assert sandbox.conduct()["violations"] == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize("route", [JOURNAL, TRANSACTIONS, ASSETS])
def test_an_hour_later_it_is_read_as_politely(
    read: Read, sandbox: SandboxServer, advance: Advance, seeded: dict[str, Any], route: str
) -> None:
    for _ in range(3):
        synced, _ = read(route)
        assert synced.pages > 1
        advance(3_700)
    assert sandbox.conduct()["violations"] == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_copy_of_several_pages_is_not_replaced_by_a_response_that_does_not_say_how_many(
    read: Read, rows: Rows, sandbox: SandboxServer, advance: Advance, seeded: dict[str, Any]
) -> None:
    read()
    advance(3_700)
    sandbox.fail("*/wallet/journal", kind="no-x-pages")
    synced, waits = read()
    assert "does not say how many pages" in str(waits[0])
    assert synced.pages >= PAGES - 1
    _check_journal(rows, sandbox, seeded)
    assert sandbox.conduct()["violations"] == []


def test_the_job_is_deferred_between_its_steps_and_spends_no_attempt(
    app: App,
    sandbox: SandboxServer,
    seeded: dict[str, Any],
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nomad_actors.esi.listings.STEP_SECONDS", 0)
    sandbox.parts.page_rows *= 27
    added = refresh_esi_data(seeded["character_id"], seeded["user_id"], JOURNAL)
    queue = queues.get_queue(added.queue)

    def has_ended() -> bool:
        job = queue.get(added.id)
        return job is not None and job.status in ("completed", "failed")

    with running(app.broker, queues={added.queue}):
        wait_until(has_ended, what="the job to end")
    job = queue.get(added.id)
    assert job is not None
    assert (job.status, job.attempts_made) == ("completed", 1), job.failed_reason
    deferred = [each for each in job.timeline if each["event"] == "deferred"]
    assert [str(each["reason"]).partition(": ")[2] for each in deferred] == [
        f"{read} of 3 pages are read and kept; the next step goes on" for read in (1, 2)
    ]
    assert asked(sandbox, JOURNAL, seeded["character_id"]) == {1: 1, 2: 1, 3: 1}


#: Reads one step with the settings of the test; without a clock's help it reads the sandbox's frozen time.
_CHILD = """
    import sys
    from nomad_actors.app import create_app
    from nomad_actors.clock import ManualClock
    from nomad_actors.esi import ROUTES
    from nomad_actors.jobs.route_sync import RouteSync
    from nomad_actors.settings import Settings

    names = ("redis_url", "database_url", "esi_base_url", "sso_base_url")
    settings = Settings(
        **dict(zip(names, sys.argv[5:])),
        var_dir=__import__("pathlib").Path(sys.argv[4]),
        token_keys=("a key for tests",),
        eve_client_id="sandbox-client",
        eve_client_secret="sandbox-secret",
        esi_user_agent="tests/1 (tests@example.com)",
    )
    app = create_app(settings, clock=ManualClock(int(sys.argv[1])))
    RouteSync(app.services).sync(int(sys.argv[2]), ROUTES[sys.argv[3]])
"""


@pytest.mark.parametrize(
    ("route", "query", "last"),
    [(JOURNAL, {"page": "31"}, PAGES), (ASSETS, {"page": "2"}, None), (TRANSACTIONS, {}, None)],
    ids=["journal", "assets", "transactions"],
)
def test_a_killed_process_costs_only_the_page_that_was_under_way(
    settings: Settings,
    services: Services,
    seeded: dict[str, Any],
    read: Read,
    sandbox: SandboxServer,
    tmp_path: Path,
    advance: Advance,
    wait_until: Callable[..., None],
    route: str,
    query: dict[str, str],
    last: int | None,
) -> None:
    character_id = seeded["character_id"]
    path = route.replace("{character_id}", str(character_id))
    # The third response of any listing: that of page 31, or the third one of the walk.
    sandbox.fail(f"*{path}", kind="hang", query=query, skip=0 if query else 2)
    arguments = [str(NOW_S * 1000), str(character_id), route, str(tmp_path)]
    urls = [settings.redis_url, settings.database_url, settings.esi_base_url, settings.sso_base_url]
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_CHILD), *arguments, *urls])
    try:
        wait_until(lambda: not sandbox.parts.faults.waiting(), what="the page to be under way", timeout_seconds=30)
    finally:
        child.kill()
        child.wait()
    # ESI answers the request whose process is gone.
    advance(10)
    wait_until(lambda: sandbox.requests(path)[-1].status == 504, what="its response")
    before = [tuple(each.query.items()) for each in sandbox.requests(path) if each.status == 200]
    sandbox.parts.log.clear()
    # A worker's job would run again under its id, and continue its flight.
    services.limiter.client.delete(key("flight", f"{character_id}:{route}"))
    synced, waits = read(route)
    after = [tuple(each.query.items()) for each in sandbox.requests(path)]
    assert not [each for each in after if each in before], "what is held was requested again"
    assert synced.pages == len(before) + len(after)
    assert last in (None, synced.pages)
    assert not [each for each in waits if isinstance(each, StepEnded | ListingChanged)]
    assert sandbox.conduct()["violations"] == []


def _check_journal(rows: Rows, sandbox: SandboxServer, seeded: dict[str, Any]) -> None:
    """Compare the stored journal with the sandbox's, row for row."""
    key = ("/wallet/journal", seeded["character_id"])
    document = sandbox.parts.snapshots.get(key, 0, lambda _: pytest.fail("expired")).document
    assert isinstance(document, list)
    stored = rows("SELECT id FROM wallet_journal ORDER BY id DESC")
    ours = [row["id"] for row in document]
    assert [number for (number,) in stored][: len(ours)] == ours
