"""The audit log: written before and after a change, read in pages, bounded in number and age."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from nomad_actors.clock import ManualClock
from nomad_actors.store import AuditedRequest, Store, TokenCipher, audit, migrate
from nomad_actors.store.database import Database

ASKED = AuditedRequest(
    request_id="r1",
    actor="ada",
    role="operator",
    peer="192.0.2.1",
    source="192.0.2.1",
    method="POST",
    path="/admin/jobs/queues/esi-refresh/pause",
    body='{"reason": "x"}',
)


def test_a_change_is_logged_before_it_runs_and_then_with_its_outcome(store: Store, clock: ManualClock) -> None:
    entry_id = store.audit.asked(ASKED)
    (before,), cursor = store.audit.read(10)
    assert (before.id, before.actor, before.body, before.status, before.ended_ms) == (
        *(str(entry_id), "ada", ASKED.body),
        *(None, None),
    )
    assert cursor is None
    clock.advance(seconds=2)
    store.audit.outcome(entry_id, 409, "the job runs")
    (after,), _ = store.audit.read(10)
    assert (after.at_ms, after.status, after.error) == (before.at_ms, 409, "the job runs")
    assert after.ended_ms == before.at_ms + 2000


def test_pages_are_newest_first_and_filtered(store: Store, clock: ManualClock) -> None:
    start = clock.now_ms()
    ids = []
    for number in range(5):
        ids.append(str(store.audit.asked(replace(ASKED, actor="ada" if number % 2 else "bo"))))
        clock.advance(seconds=1)
    first, cursor = store.audit.read(3)
    rest, end = store.audit.read(3, cursor)
    assert [entry.id for entry in first + rest] == ids[::-1]
    assert end is None
    assert [entry.id for entry in store.audit.read(9, actor="ada")[0]] == [ids[3], ids[1]]
    between = store.audit.read(9, since_ms=start + 1000, until_ms=start + 3000)[0]
    assert [entry.id for entry in between] == [ids[2], ids[1]]


def test_a_flood_of_refusals_is_limited_per_reason_and_in_total(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "REFUSALS_IN_ALL", 70)
    written = [store.audit.refused(ASKED, 401, "no_token", "no") for _ in range(60)]
    assert written == [True] * 50 + [False] * 10
    others = [store.audit.refused(replace(ASKED, source=f"192.0.2.{n}"), 401, "no_token", "no") for n in range(2, 32)]
    assert others == [True] * 20 + [False] * 10
    # Counted refusals are written regardless of other refusals, from any source; they have their own limit.
    counted = [store.audit.refused(ASKED, 401, "token", f"not {n}", is_counted=True) for n in range(60)]
    assert counted == [True] * 50 + [False] * 10
    # The same refusal is counted once per source.
    second = [
        store.audit.refused(replace(ASKED, source="192.0.2.9"), 401, "token", "no", is_counted=True) for _ in "ab"
    ]
    assert second == [True, False]
    # Even if several writers did not see each other's.
    monkeypatch.setattr(audit, "_has_at_least", lambda *_: False)
    assert all(store.audit.refused(replace(ASKED, source="b"), 401, "token", "no", is_counted=True) for _ in "abc")
    assert len(store.audit.refusals_ms("b", "token", 0, 10)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(audit, "REFUSALS_IN_ALL", 70)
    assert len(store.audit.refusals_ms("192.0.2.1", "token", 0, 10)) == 10
    assert store.audit.refusals_ms("192.0.2.1", "csrf", 0, 10) == []
    clock.advance(seconds=601)
    assert store.audit.refused(ASKED, 401, "no_token", "no")


def test_retention_is_bounded_and_refusals_displace_no_change(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEEP_CHANGES", 5)
    monkeypatch.setattr(audit, "KEEP_REFUSALS", 3)
    for _ in range(8):
        last = store.audit.asked(ASKED)
        store.audit.refused(ASKED, 403, "role", "no")
    entries = store.audit.read(100)[0]
    assert [sum((entry.reason is not None) is kind for entry in entries) for kind in (False, True)] == [5, 3]
    assert max(int(entry.id) for entry in entries if entry.reason is None) == last
    clock.advance(seconds=401 * 86_400)
    kept = store.audit.asked(ASKED)
    assert [entry.id for entry in store.audit.read(100)[0] if entry.reason is None] == [str(kept)]


def test_text_that_a_database_rejects_is_written_anyway(store: Store) -> None:
    store.audit.asked(replace(ASKED, path="/a\x00b\ud800" + "x" * 5000))
    (entry,), _ = store.audit.read(1)
    assert entry.path.startswith("/a\\0b\\ud800xxx")
    assert len(entry.path) == 2000
    # The end of a path says what was done.
    store.audit.asked(replace(ASKED, path="/jobs/" + "😀" * 9000 + "/cancel", job_id="é" * 999, actor="a" * 999))
    (entry,), _ = store.audit.read(1)
    assert (len(entry.path), entry.path[-7:], len(entry.job_id or ""), len(entry.actor)) == (2000, "/cancel", 300, 120)
    assert store.audit.read(1, actor="\x00\ud800") == ([], None)


def test_entries_of_the_previous_schema_can_be_read_with_new_ones(database_url: str) -> None:
    database = Database(database_url)
    if database.is_sqlite:
        Path(database.url.database or "").write_bytes(b"")
    with database.engine.execution_options(nomad_writes=True).begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        old = {"at_ms": 1, "request_id": "r0", "actor": "ada", "role": "operator", "peer": "::1", "source": "::1"}
        old |= {"method": "POST", "path": "/admin/jobs/esi/pause", "refused": False, "status": 200}
        connection.execute(sa.insert(sa.table("audit_log", *map(sa.column, old))).values(old))
    store = Store(database_url, cipher=TokenCipher(["a key"]), clock=ManualClock(2))
    new = store.audit.asked(replace(ASKED, queue="esi-refresh"))
    entries, _ = store.audit.read(10)
    assert [(entry.actor, entry.path, entry.queue, entry.endpoint) for entry in entries] == [
        ("ada", ASKED.path, "esi-refresh", None),
        ("ada", "/admin/jobs/esi/pause", None, None),
    ]
    assert int(entries[0].id) == new > int(entries[1].id)
    store.close()
    database.close()
