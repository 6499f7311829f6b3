"""Doctor and the metrics report ESI's limits, rejected logins, late data and changes by CCP, by the same thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from nomad_actors import thresholds
from nomad_actors.app import App, create_app
from nomad_actors.clock import ManualClock, SystemClock
from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import BrakeKind, Outcome, brakes
from nomad_actors.esi.limits.keys import key
from nomad_actors.esi.spec_check import SpecCheck
from nomad_actors.findings import Finding
from nomad_actors.health import Installation, esi_checks
from nomad_actors.settings import Settings
from nomad_actors.store.schema import logins, sync_state
from tests.support.databases import put_database

WALLET = "/characters/{character_id}/wallet"
DAY_MS = 86_400_000


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Iterator[App]:
    # Not CCP's address, where requests stop during the daily downtime.
    settings = Settings(
        redis_url=redis_url,
        database_url=put_database(tmp_path / "nomad.db"),
        var_dir=tmp_path,
        esi_base_url="http://127.0.0.1:1",
    )
    app = create_app(settings, clock=ManualClock(SystemClock().now_ms()), caller_deadline_ms=1_000)
    app.store.migrate()
    yield app
    app.close()


def found(app: App) -> dict[str, Finding]:
    """Return the findings that are not ok, by runbook entry."""
    installation = Installation(app.settings, app.clock, app.broker, app.queues, database=app.store.database)
    # Also as the command sees it, which opens the database itself.
    alone = [*esi_checks.data(replace(installation, database=None))]
    findings = [*esi_checks.limits(installation), *esi_checks.data(installation)]
    assert [each.cause for each in alone] == [each.cause for each in findings][-len(alone) :]
    return {each.runbook: each for each in findings if each.severity.value not in ("ok", "unknown")}


def value(app: App, name: str, **labels: str) -> float | None:
    return app.registry.get_sample_value(name, labels)


def advance(app: App, seconds: float) -> None:
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds=seconds)


def add(app: App, *ids: int) -> None:
    login = {"user_id": 7, "name": "Ada Voss", "owner_hash": "o", "refresh_token": "refresh-token-of-ada"}
    for character_id in ids:
        app.store.logins.save(character_id=character_id, scopes=ROUTES[WALLET].scopes, **login)


def test_every_series_exists_from_the_start(app: App) -> None:
    assert found(app) == {}
    assert {value(app, "nomad_esi_brake_seconds", kind=kind) for kind in BrakeKind} == {0}
    for group in ("char-wallet", "char-notification"):
        assert value(app, "nomad_esi_buckets_starving", group=group) == 0
        assert value(app, "nomad_esi_bucket_used_ratio", group=group) == 0
    assert value(app, "nomad_esi_errors_remaining") == 100
    for route in ROUTES.values():
        assert value(app, "nomad_esi_overdue_routes", dataset=route.dataset) == 0
        assert value(app, "nomad_esi_refusals", dataset=route.dataset) == 0
    assert (value(app, "nomad_logins_rejected"), value(app, "nomad_esi_drift")) == (0, None)


def test_a_brake_that_lasts(app: App) -> None:
    app.limiter.brake(brakes.down("ESI answered 503"))
    advance(app, thresholds.ESI.brake_seconds)
    assert found(app) == {}
    advance(app, 1)
    assert "ESI answered 503" in found(app)["NomadEsiBrakeLong"].cause
    age = value(app, "nomad_esi_brake_seconds", kind="down")
    assert age == pytest.approx(thresholds.ESI.brake_seconds + 1, abs=1)


def test_one_characters_brake_is_no_finding_and_ssos_refusal_is_one_at_once(app: App) -> None:
    app.limiter.brake(brakes.rejected(7, "ESI answered 401"))
    advance(app, 10 * thresholds.ESI.brake_seconds)
    assert found(app) == {}
    app.limiter.brake(brakes.sso_refuses_us("SSO: invalid_client"))
    problem = found(app)["NomadSsoRefusesUs"]
    assert (problem.severity.value, "invalid_client" in problem.cause) == ("problem", True)


def test_few_errors_left(app: App) -> None:
    orders = ROUTES["/characters/{character_id}/orders"]

    def settle(remaining: int) -> None:
        reservation = app.limiter.reserve(orders, 7)
        app.limiter.settle(
            reservation, Outcome(spent=0, is_error=True, error_remaining=remaining, error_reset_ms=60_000)
        )

    settle(thresholds.ESI.errors_remaining)
    assert found(app) == {}
    advance(app, 61)
    settle(thresholds.ESI.errors_remaining - 1)
    assert "34 more errors" in found(app)["NomadEsiErrorLimitLow"].cause
    assert value(app, "nomad_esi_errors_remaining") == 34
    advance(app, 61)
    assert (found(app), value(app, "nomad_esi_errors_remaining")) == ({}, 100)


def test_a_bucket_without_room_and_one_that_is_nearly_spent(app: App) -> None:
    wallet, notifications = ROUTES[WALLET], ROUTES["/characters/{character_id}/notifications"]
    for _ in range(16):
        app.limiter.settle(app.limiter.reserve(wallet, 7), Outcome(spent=5))
    for _ in range(5):
        try:
            app.limiter.settle(app.limiter.reserve(notifications, 7), Outcome(spent=5))
        except NotSent:
            break
    assert "1 bucket of group char-notification" in found(app)["NomadEsiBucketStarving"].cause
    assert value(app, "nomad_esi_buckets_starving", group="char-notification") == 1
    assert value(app, "nomad_esi_buckets_starving", group="char-wallet") == 0
    assert value(app, "nomad_esi_bucket_used_ratio", group="char-wallet") == pytest.approx(80 / 150, abs=0.001)
    # Everything has returned.
    advance(app, 1_000)
    assert found(app) == {}
    assert value(app, "nomad_esi_bucket_used_ratio", group="char-wallet") == 0


def test_logins_that_sso_rejects(app: App) -> None:
    add(app, *range(1, 7))
    now_ms = app.clock.now_ms()

    def reject(count: int, at_ms: int) -> None:
        with app.store.database.write() as connection:
            connection.execute(
                sa.update(logins).where(logins.c.character_id <= count).values(first_strike_ms=at_ms, strikes=1)
            )

    reject(4, now_ms)
    assert (found(app), value(app, "nomad_logins_rejected")) == ({}, 4)
    reject(5, now_ms)
    assert "5 logins" in found(app)["NomadLoginsDying"].cause
    reject(5, now_ms - DAY_MS - 1)
    assert (found(app), value(app, "nomad_logins_rejected")) == ({}, 0)


def test_data_that_is_late_and_refusals(app: App) -> None:
    add(app, 1, 2)
    for character_id in (1, 2):
        app.store.documents.save_requested(character_id, WALLET)
    until_ms = app.clock.now_ms() + DAY_MS
    app.store.documents.save_failure(2, WALLET, error="403", refused_until_ms=until_ms)
    advance(app, thresholds.ESI.late_seconds)
    assert found(app) == {}
    advance(app, 1)
    assert "1 route of characters are overdue, most of them wallet (1)" in found(app)["NomadDataLate"].cause
    assert value(app, "nomad_esi_overdue_routes", dataset="wallet") == 1
    assert value(app, "nomad_esi_refusals", dataset="wallet") == 1
    with app.store.database.write() as connection:
        connection.execute(sa.update(sync_state).values(next_due_ms=app.clock.now_ms()))
    assert found(app) == {}


def test_changes_by_ccp_and_a_check_that_no_longer_runs(app: App) -> None:
    client = redis.Redis.from_url(app.settings.redis_url)

    def save(*differences: str, age_seconds: int = 0) -> None:
        at_ms = app.clock.now_ms() - age_seconds * 1000
        dates = {"compatibility_date": "2026-07-17", "newest_date": "2026-08-18"}
        checked = SpecCheck(at_ms=at_ms, **dates, differences=list(differences))
        client.set(key("spec_check"), checked.model_dump_json())

    save(age_seconds=thresholds.ESI.unchecked_seconds)
    assert (found(app), value(app, "nomad_esi_drift")) == ({}, 0)
    save(age_seconds=thresholds.ESI.unchecked_seconds + 1)
    assert "for 3 weeks" in found(app)["NomadEsiDrift"].cause
    save("the wallet is gone", "and the mail")
    assert found(app)["NomadEsiDrift"].cause == "2 differences to CCP's documents: the wallet is gone"
    assert value(app, "nomad_esi_drift") == 2
