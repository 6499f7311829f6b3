"""The next request is never before CCP's freshness ends, and not for all characters at once."""

from __future__ import annotations

from dataclasses import replace

from nomad_actors.esi import ROUTES, EsiResponse
from nomad_actors.jobs.due_times import REFUSED_MAX_MS, SLACK_MS, as_of_ms, next_due_ms, refused_ms, trouble_seconds

JOURNAL = ROUTES["/characters/{character_id}/wallet/journal"]
LOCATION = ROUTES["/characters/{character_id}/location"]
#: 2026-11-01T00:00:00Z, and its form in an HTTP header.
NOW_MS = 1_793_491_200_000
NOW_TEXT = "Sun, 01 Nov 2026 00:00:00 GMT"
RESPONSE = EsiResponse(
    status=200,
    not_modified=False,
    body=[],
    etag=None,
    last_modified=NOW_TEXT,
    fresh_until_ms=NOW_MS + 3_600_000,
    pages=1,
    request_id=None,
)


def test_the_next_refresh_is_after_freshness_and_after_our_interval() -> None:
    due_ms = next_due_ms(LOCATION, 1, fresh_until_ms=NOW_MS + 5_000, now_ms=NOW_MS)
    assert due_ms >= NOW_MS + LOCATION.interval_seconds * 1000
    late_ms = NOW_MS + 10_000_000
    assert next_due_ms(LOCATION, 1, fresh_until_ms=late_ms, now_ms=NOW_MS) >= late_ms + SLACK_MS


def test_each_character_is_due_at_its_own_fixed_offset() -> None:
    due = [next_due_ms(JOURNAL, c, fresh_until_ms=NOW_MS, now_ms=NOW_MS) for c in range(100)]
    assert len(set(due)) > 90
    assert due == [next_due_ms(JOURNAL, c, fresh_until_ms=NOW_MS, now_ms=NOW_MS) for c in range(100)]
    assert max(due) - min(due) <= JOURNAL.interval_seconds * 100


def test_refusals_in_a_row_wait_longer_but_not_beyond_a_week() -> None:
    waits = [refused_ms(LOCATION, 1, refusals=n) for n in range(1, 30)]
    assert waits == sorted(waits)
    assert 3_600_000 <= waits[0] < 1.9 * 3_600_000 < waits[1]
    assert waits[-1] <= REFUSED_MAX_MS * 1.1


def test_trouble_in_a_row_waits_longer_but_not_beyond_ten_minutes() -> None:
    assert [trouble_seconds(n) for n in (1, 2, 3, 7, 50)] == [10, 20, 40, 600, 600]


def test_the_data_is_as_old_as_last_modified() -> None:
    assert as_of_ms(JOURNAL, RESPONSE, now_ms=NOW_MS + 60_000) == NOW_MS


def test_without_a_date_the_data_is_from_when_its_freshness_began() -> None:
    for text in (None, "rubbish"):
        response = replace(RESPONSE, last_modified=text, fresh_until_ms=NOW_MS + 3_000_000)
        assert as_of_ms(JOURNAL, response, now_ms=NOW_MS) == NOW_MS - 600_000


def test_a_not_modified_response_is_as_old_as_the_start_of_its_freshness() -> None:
    response = replace(RESPONSE, not_modified=True, status=304, fresh_until_ms=NOW_MS + 7_200_000)
    assert as_of_ms(JOURNAL, response, now_ms=NOW_MS + 7_200_000) == NOW_MS + 3_600_000


def test_data_is_never_from_the_future() -> None:
    assert as_of_ms(JOURNAL, RESPONSE, now_ms=NOW_MS - 5_000) == NOW_MS - 5_000


def test_only_an_earlier_last_modified_makes_a_response_older_than_the_stored_one() -> None:
    # A 304 has moved the stored time beyond the change that another host of ESI knew of already.
    stored = {"stored_ms": NOW_MS + 10_000, "stored_last_modified": "Sat, 31 Oct 2026 00:00:00 GMT"}
    assert as_of_ms(JOURNAL, RESPONSE, now_ms=NOW_MS + 20_000, **stored) == NOW_MS + 10_000
    behind = replace(RESPONSE, last_modified="Fri, 30 Oct 2026 00:00:00 GMT")
    assert as_of_ms(JOURNAL, behind, now_ms=NOW_MS + 20_000, **stored) < NOW_MS
