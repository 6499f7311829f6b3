"""`nomad characters` shows, refreshes and removes characters: in the database, the cache, the queues and at SSO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from nomad_actors.app import QueueAccess
from nomad_actors.clock import SystemClock
from nomad_actors.esi import ROUTES, EsiCache, EsiResponse
from nomad_actors.esi.unsaved_tokens import UnsavedTokens
from nomad_actors.queues import NewJob
from nomad_actors.store import Store, schema
from nomad_actors.store.database import Database
from nomad_actors.store.ownership import delete_rows
from nomad_actors.testing import running
from sandbox.grants import DeadGrant
from sandbox.serve import SandboxServer

from .conftest import MODULE, Nomad

WALLET, SHIP, ITSELF = (ROUTES[f"/characters/{{character_id}}{path}"] for path in ("/wallet", "/ship", ""))
DAY_MS = 86_400_000


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """An SSO with a few characters."""
    with SandboxServer(characters=4) as server:
        yield server


@pytest.fixture
def environ(logins_environ: dict[str, str], sandbox: SandboxServer) -> dict[str, str]:
    """The environment of the command."""
    urls = dict.fromkeys(("ESI_BASE_URL", "SSO_BASE_URL"), sandbox.base_url)
    return logins_environ | urls | {"NOMAD_MODULES": f"{MODULE},tests.commands.courier"}


@pytest.fixture
def cache(redis_client: redis.Redis) -> EsiCache:
    """The command's cache."""
    return EsiCache(redis_client, clock=SystemClock())


@pytest.fixture
def logged_in(store: Store, sandbox: SandboxServer) -> Callable[..., int]:
    """`logged_in(0)`: save the login of a character of the sandbox; return its id."""

    def save(number: int = 0, **changed: Any) -> int:
        given = sandbox.logins()[number]
        names = ("character_id", "user_id", "name", "owner_hash", "scopes", "refresh_token")
        store.logins.save(**({name: given[name] for name in names} | changed))
        return int(given["character_id"])

    return save


def now_ms() -> int:
    return SystemClock().now_ms()


def answered(store: Store, cache: EsiCache, character_id: int, route: Any, *, age_ms: int = 0) -> None:
    """Save a document of a subscribed route."""
    response = EsiResponse(
        body={"balance": 1.5},
        status=200,
        not_modified=False,
        etag='"an etag"',
        last_modified=None,
        fresh_until_ms=now_ms() + DAY_MS,
        request_id="r-200",
        pages=1,
    )
    store.documents.save_requested(character_id, route.name)
    store.documents.save(character_id, route.name, response, as_of_ms=now_ms() - age_ms, next_due_ms=now_ms() + DAY_MS)
    cache.put(character_id, route, response)


def jobs_of(access: QueueAccess, character_id: int, delay: int = 0) -> list[str]:
    both = {"character_id": character_id, "user_id": 1}
    jobs = [
        NewJob(queue="token-refresh", job_type="token-refresh", data=both, delay=delay),
        NewJob(queue="esi-refresh", job_type="esi-data-refresh", data={**both, "endpoint": WALLET.name}, delay=delay),
        NewJob(
            queue="historical-data",
            job_type="historical-data-collection",
            data={**both, "data_type": "wallet_journal"},
            delay=delay,
        ),
    ]
    return [job.id for job in access.queues.add_jobs(jobs)]


def test_the_list_begins_with_what_needs_attention(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store, cache: EsiCache, logged_in: Callable[..., int]
) -> None:
    assert nomad("characters").output == "No character has logged in: nomad login\n"
    good, refused, dead, _ = (logged_in(number) for number in range(4))
    answered(store, cache, good, WALLET, age_ms=2 * 3_600_000 + 5_000)
    answered(store, cache, good, SHIP)
    store.documents.save_failure(refused, WALLET.name, error="403", refused_until_ms=now_ms() + DAY_MS)
    assert store.logins.require_login(dead, 1, reason="the password was changed")
    logged_in(3, owner_hash="the buyer")
    result = nomad("characters", "--limit", "3")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ID", str(dead), str(refused)], result.output
    assert "the password was changed" in lines[1]
    assert lines[2].endswith("wallet: 403"), lines[2]
    assert lines[-1] == "2 more: --limit, --state, --user-id or --name selects."
    listed = nomad_json("characters")
    assert listed["total"] == 5
    by_id = {each["characterId"]: each for each in listed["characters"]}
    assert by_id[-1]["state"] == "sold"
    assert (by_id[refused]["refused"], by_id[refused]["failing"], by_id[good]["refused"]) == (1, 1, 0)
    assert [each["characterId"] for each in nomad_json("characters", "--state", "sold")["characters"]] == [-1]
    wrong = nomad("characters", "--state", "dead")
    assert (wrong.exit_code, "allowed: active, needs_login, sold" in wrong.stderr) == (2, True)


def test_a_dying_login_is_first_and_what_is_overdue_is_named(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store, logged_in: Callable[..., int]
) -> None:
    late, dead, dying = (logged_in(number) for number in range(3))
    assert store.logins.require_login(dead, 1, reason="the password was changed")
    assert store.logins.strike(dying, 1)
    for route, age_ms in ((WALLET, 2 * 3_600_000 + 5_000), (ITSELF, 10 * 3_600_000)):
        store.documents.save_requested(late, route.name, due_ms=now_ms() - age_ms)
    lines = nomad("characters").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(dying), str(dead), str(late)]
    assert "SSO rejected its login 1 time, last at" in lines[1]
    assert " dying " in lines[1]
    # Twelve of its intervals, against less than half of one.
    assert " wallet 2h " in lines[3]
    assert "wallet is due since" in lines[3]
    listed = nomad_json("characters")["characters"]
    assert (listed[0]["state"], listed[2]["overdueEndpoint"]) == ("active", WALLET.name)


def test_one_character_is_shown_with_the_truth_about_each_route(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store, cache: EsiCache, logged_in: Callable[..., int]
) -> None:
    character_id = logged_in(0, scopes=["esi-wallet.read_character_wallet.v1"])
    assert "nobody has requested it yet" in nomad("characters", "show", str(character_id)).stdout
    answered(store, cache, character_id, SHIP)
    until_ms = now_ms() + DAY_MS
    store.documents.save_failure(
        character_id, WALLET.name, error="ESI answered 403", request_id="r-403", refused_until_ms=until_ms
    )
    result = nomad("characters", "show", str(character_id))
    for expected in ("ESI answered 403 (request r-403)", "missing", "esi-mail.read_mail.v1", "REFUSED UNTIL"):
        assert expected in result.stdout, result.stdout
    shown = nomad_json("characters", "show", str(character_id))
    routes = {each["endpoint"]: each for each in shown["endpoints"]}
    wallet = routes[WALLET.name]
    assert (wallet["error"], wallet["requestId"], wallet["refusedUntilMs"], wallet["lastSuccessMs"]) == (
        *("ESI answered 403", "r-403", until_ms, None),
    )
    assert routes[SHIP.name]["lastSuccessMs"] is not None
    assert "esi-mail.read_mail.v1" in shown["missingScopes"]
    assert shown["completeness"]["wallet_journal"] == {
        "completeSince": None,
        "completeUntil": None,
        "holes": 0,
        "canBeFilled": 0,
    }
    assert "  history " not in result.stdout
    of_journal = {"character_id": character_id, "data_type": "wallet_journal"}
    hole = {"from_ms": now_ms() - 2 * DAY_MS, "until_ms": now_ms() - DAY_MS, "found_ms": now_ms()}
    with store.database.write() as connection:
        row = of_journal | hole | {"cause": "retention", "details": ""}
        connection.execute(sa.insert(schema.history_holes).values(row))
    line = f"  history   1 hole, 1 that ESI can still fill: nomad history {character_id}"
    assert line in nomad("characters", "show", str(character_id)).stdout.splitlines()
    unknown = nomad("characters", "show", "-7")
    assert (unknown.exit_code, "character -7 never logged in" in unknown.stderr) == (3, True)


def test_refusals_are_listed_and_cleared_for_all_routes_or_one(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store, logged_in: Callable[..., int]
) -> None:
    assert nomad("characters", "refusals").output == "No route is refused.\n"
    character_id = logged_in()
    for route in (WALLET, SHIP):
        store.documents.save_failure(character_id, route.name, error="403", refused_until_ms=now_ms() + DAY_MS)
    assert {each["endpoint"] for each in nomad_json("characters", "refusals")["refusals"]} == {WALLET.name, SHIP.name}
    one = nomad("characters", "clear-refusals", str(character_id), "--route", f"/latest/characters/{character_id}/ship")
    assert one.output == f"1 refusal of character {character_id} cleared.\n"
    assert WALLET.name in nomad("characters", "refusals").stdout
    assert nomad_json("characters", "clear-refusals", str(character_id))["cleared"] == 1
    assert nomad_json("characters", "refusals") == {"refusals": []}
    assert nomad("characters", "clear-refusals", "5").exit_code == 3
    assert nomad("characters", "clear-refusals", str(character_id), "--route", "/no/such").exit_code == 2


def test_a_refresh_is_of_the_subscribed_routes(
    nomad: Nomad,
    nomad_json: Callable[..., Any],
    store: Store,
    cache: EsiCache,
    logged_in: Callable[..., int],
    access: QueueAccess,
) -> None:
    character_id = logged_in()
    assert "No route of 1 character is subscribed" in nomad("characters", "refresh", str(character_id)).stdout
    for route in (WALLET, SHIP):
        answered(store, cache, character_id, route)
    store.documents.save_failure(character_id, ITSELF.name, error="never requested")
    jobs = [access.queues.get_queue("esi-refresh").get(each) for each in refreshed(nomad_json, character_id)]
    assert {job.data["endpoint"] for job in jobs if job} == {WALLET.name, SHIP.name}
    assert all(job and job.data["skip_cache"] and job.data["character_id"] == character_id for job in jobs)
    # Only what is asked for explicitly leaves the ETag out: it is for users, and to repair a wrong copy.
    assert {job.data["requested_by"] for job in jobs if job} == {"operator"}
    full = [access.queues.get_queue("esi-refresh").get(each) for each in refreshed(nomad_json, character_id, "--full")]
    assert {job.data["requested_by"] for job in full if job} == {"user"}
    store.logins.require_login(character_id, 1, reason="dead")
    assert nomad("characters", "refresh", str(character_id)).exit_code == 4
    assert nomad("characters", "refresh", "5").exit_code == 3


def refreshed(nomad_json: Callable[..., Any], *arguments: object) -> list[str]:
    found: list[str] = nomad_json("characters", "refresh", *map(str, arguments))["jobs"]
    return found


def test_groups_of_all_characters_are_refreshed_spread_over_time(
    nomad: Nomad,
    nomad_json: Callable[..., Any],
    store: Store,
    cache: EsiCache,
    logged_in: Callable[..., int],
    access: QueueAccess,
) -> None:
    first, dead, second = (logged_in(number) for number in range(3))
    assert store.logins.require_login(dead, 1, reason="dead")
    answered(store, cache, first, WALLET)
    queue = access.queues.get_queue("esi-refresh")
    jobs = [queue.get(each) for each in refreshed(nomad_json, "--all", "-g", "CHARACTER_SKILLS", "--spread", "1h")]
    assert {job.data["character_id"] for job in jobs if job} == {first, second}
    assert sorted(job.opts.delay_ms for job in jobs if job) == [number * 600_000 for number in range(6)]
    # Without a group: what is subscribed.
    assert [job.data["endpoint"] for job in map(queue.get, refreshed(nomad_json, "--all")) if job] == [WALLET.name]
    assert len(refreshed(nomad_json, first, second, "-g", "CHARACTER_SKILLS")) == 6
    for wrong in ((), (str(first), "--all"), ("--all", "-g", "SKILLS"), ("--all", "--spread", "2d")):
        assert nomad("characters", "refresh", *wrong).exit_code == 2
    shown = nomad("characters", "refresh", "--all", "-g", "CHARACTER_WALLET").stdout
    assert shown.endswith("added for 2 characters, spread over 1h. See them: nomad jobs esi-refresh\n")


def test_a_removal_leaves_nothing_of_the_character_and_everything_of_others(
    nomad: Nomad,
    nomad_json: Callable[..., Any],
    store: Store,
    cache: EsiCache,
    logged_in: Callable[..., int],
    access: QueueAccess,
    redis_url: str,
    sandbox: SandboxServer,
) -> None:
    gone, other = logged_in(0), logged_in(1)
    token = store.logins.get(gone).refresh_token  # type: ignore[union-attr]
    unsaved = UnsavedTokens(redis.Redis.from_url(redis_url, decode_responses=True))
    for each in (gone, other):
        answered(store, cache, each, WALLET)
        answered(store, cache, each, ITSELF)
        unsaved.put(each, "the token before", "sealed")
        jobs_of(access, each)
        jobs_of(access, each, delay=60_000)
    before = nomad("characters", "show", str(gone)).stdout
    dry = nomad_json("characters", "remove", str(gone), "--dry-run")
    rows = {"characters": 1, "documents": 2, "logins": 1, "sync_state": 2}
    jobs = {"esi-refresh": 2, "historical-data": 2, "token-refresh": 2}
    assert (dry["dryRun"], dry["rows"], dry["cachedDocuments"], dry["jobs"]) == (True, rows, 2, jobs)
    assert nomad("characters", "show", str(gone)).stdout.splitlines()[:3] == before.splitlines()[:3]
    refused = nomad("characters", "remove", str(gone))
    assert (refused.exit_code, "6 rows, 2 cached documents and 6 jobs? There is no" in refused.stderr) == (2, True)
    removed = nomad_json("characters", "remove", str(gone), "--yes")
    assert (removed["rows"], removed["cachedDocuments"], removed["jobs"]) == (rows, 2, jobs)
    assert (removed["tokenRevoked"], removed["tokenError"], removed["runningJobs"]) == (True, None, 0)
    with pytest.raises(DeadGrant):
        sandbox.parts.grants.refresh(token, ())
    kept = unsaved.get(gone, "the token before")
    assert (store.logins.character(gone), kept, cache.get(gone, WALLET)) == (None, None, None)
    assert store.logins.character(other) is not None
    assert (unsaved.get(other, "the token before"), cache.get(other, WALLET) is not None) == ("sealed", True)
    assert nomad_json("characters", "remove", str(other), "--dry-run")["jobs"] == jobs
    repeated = nomad("characters", "remove", str(gone))
    assert (repeated.exit_code, repeated.stdout) == (0, f"Nothing is kept of character {gone}.\n")


def test_a_removal_cancels_running_jobs_and_removes_them_when_they_have_ended(
    nomad: Nomad, access: QueueAccess, logged_in: Callable[..., int], wait_until: Callable[..., None]
) -> None:
    character_id, queue = logged_in(), access.queues.get_queue("courier")
    for each in (character_id, 5):
        access.queues.add_job("courier", "trip", {"character_id": each})
    with running(access.broker, queues={"courier"}):
        wait_until(lambda: queue.counts()["active"] == 2, what="both jobs to run")
        # The worker in this process logs to the command's standard error.
        removed = json.loads(nomad("characters", "remove", str(character_id), "--yes", "--json").stdout)
        left = [job.data["character_id"] for job in queue.jobs(["active", "failed"])]
        queue.cancel(queue.jobs("active")[0].id, "the test is over")
    assert (removed["jobs"], removed["runningJobs"], left) == ({"courier": 1}, 0, [5])


def test_a_removal_that_was_interrupted_is_completed_by_the_next(
    nomad_json: Callable[..., Any], store: Store, cache: EsiCache, logged_in: Callable[..., int], access: QueueAccess
) -> None:
    character_id = logged_in(1)
    answered(store, cache, character_id, WALLET)
    jobs_of(access, character_id)
    delete_rows(store.database, character_id)
    removed = nomad_json("characters", "remove", str(character_id), "--yes")
    assert (removed["tokenRevoked"], removed["rows"], removed["cachedDocuments"]) == (None, {}, 1)
    assert sum(removed["jobs"].values()) == 3


def test_an_sso_that_does_not_answer_does_not_keep_what_a_player_wants_deleted(
    nomad: Nomad, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, store: Store, logged_in: Callable[..., int]
) -> None:
    character_id = logged_in(2)
    token = store.logins.get(character_id).refresh_token  # type: ignore[union-attr]
    monkeypatch.setenv("SSO_BASE_URL", "http://127.0.0.1:1")
    result = nomad("characters", "remove", str(character_id), "--yes", "--json")
    removed = json.loads(result.stdout)
    assert (result.exit_code, removed["tokenRevoked"], removed["rows"]) == (0, False, {"characters": 1, "logins": 1})
    assert "SSO did not answer" in removed["tokenError"]
    assert "the player can revoke it at https://developers.eveonline.com" in result.stderr
    assert token not in result.output
    assert store.logins.character(character_id) is None


def test_an_archive_is_removed_by_its_negative_id(
    nomad_json: Callable[..., Any], store: Store, logged_in: Callable[..., int]
) -> None:
    character_id = logged_in(3)
    logged_in(3, owner_hash="the buyer")
    assert nomad_json("characters", "remove", "-1", "--yes")["rows"] == {"characters": 1}
    assert store.logins.character(character_id) is not None


def test_the_audit_log_has_every_change_and_no_token(
    nomad: Nomad, database: Database, store: Store, cache: EsiCache, logged_in: Callable[..., int]
) -> None:
    character_id = logged_in(1)
    token = store.logins.get(character_id).refresh_token  # type: ignore[union-attr]
    answered(store, cache, character_id, WALLET)
    for line in (("clear-refusals",), ("refresh",), ("remove", "--yes")):
        assert nomad("characters", line[0], str(character_id), *line[1:]).exit_code == 0
    with database.read() as connection:
        rows = [tuple(row) for row in connection.execute(sa.select(schema.audit_log))]
    paths = [entry.endpoint for entry in store.audit.read(10)[0]]
    base = "/admin/jobs/characters/{characterId}"
    assert paths == [base, f"{base}/refresh", f"{base}/clear-refusals"]
    assert token not in repr(rows)
