"""What is held of a listing is always the beginning of one set, and goes when its document is saved."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.store import Store, UnexpectedRow
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.listing_pages import HeldListing

CHARACTER, OTHER = 90000001, 90000002
ASSETS = "/characters/{character_id}/assets"


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    save_login(OTHER)


def response(body: Any, modified: str = "then", pages: int = 9) -> EsiResponse:
    return EsiResponse(200, False, body, '"a"', modified, 5_000, pages, "id")


@pytest.fixture
def listing(store: Store) -> Callable[..., HeldListing]:
    """`listing(route, character_id)`: what is held, as a new job finds it."""

    def get(route: str = ASSETS, character_id: int = CHARACTER) -> HeldListing:
        found = store.listing_pages.of(character_id, route, may_be_held=True)
        found.pages()
        return found

    return get


Listing = Callable[..., HeldListing]


def test_another_job_goes_on_with_what_is_held(listing: Listing) -> None:
    # A lone surrogate, a NUL and a number beyond 64 bits: players' texts, and what a database does not take.
    bodies = [[{"id": 1, "reason": "\ud800\0"}], [], [2**70, 1.5, None]]
    first = listing()
    assert first.add(1, response(bodies[0])) == first.pages()[0]
    assert first.add(2, response(bodies[1])) is not None
    second = listing()
    assert second.add(3, response(bodies[2])) is not None
    assert listing().bodies() == bodies
    assert [(each.page, each.last_modified, each.pages) for each in listing().pages()] == [
        (1, "then", 9),
        (2, "then", 9),
        (3, "then", 9),
    ]
    assert listing(JOURNAL).pages() == listing(ASSETS, OTHER).pages() == []


def test_a_listing_of_which_nothing_can_be_held_is_not_looked_up(store: Store, listing: Listing) -> None:
    listing().add(1, response([1]))
    assert store.listing_pages.of(CHARACTER, ASSETS, may_be_held=False).pages() == []


def test_a_page_that_two_jobs_have_read_is_held_once(listing: Listing) -> None:
    listing().add(1, response([1]))
    one, two = listing(), listing()
    assert one.add(2, response([2])) == two.add(2, response([2]))
    assert listing().bodies() == [[1], [2]]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_job_whose_set_was_replaced_adds_nothing(listing: Listing, number: int) -> None:
    old = listing()
    old.add(1, response([1]))
    new = listing()
    new.discard()
    new.add(1, response([7], "now"))
    assert old.add(number, response([number])) is None
    old.discard()
    assert listing().bodies() == [[7]], "a job discarded the set of another one"


def test_a_job_whose_set_was_completed_by_another_one_adds_nothing(store: Store, listing: Listing) -> None:
    old = listing()
    old.add(1, response([]))
    _save(store, ASSETS, [])
    assert old.add(2, response([])) is None
    assert listing().pages() == []


def test_there_are_no_gaps(listing: Listing) -> None:
    held = listing()
    held.add(1, response([1]))
    assert held.add(3, response([3])) is None
    assert listing().bodies() == [[1]]


def test_the_pages_go_when_the_document_is_saved_and_not_before(store: Store, listing: Listing) -> None:
    for route in (JOURNAL, ASSETS):
        listing(route).add(1, response([{"id": 1}]))
    with pytest.raises(UnexpectedRow):
        _save(store, JOURNAL, [{"id": 1}])
    assert len(listing(JOURNAL).pages()) == 1
    _save(store, JOURNAL, [])
    assert listing(JOURNAL).pages() == []
    assert len(listing(ASSETS).pages()) == 1


def test_what_nobody_reads_on_is_deleted_and_the_rest_stays(store: Store, listing: Listing, clock: ManualClock) -> None:
    for number in (1, 2):
        listing(ASSETS).add(number, response([number]))
    listing(JOURNAL).add(1, response([1]))
    listing(ASSETS, OTHER).add(1, response([1]))
    clock.advance(seconds=100)
    # It was read on.
    listing(JOURNAL).add(2, response([2]))
    old = {"before_ms": clock.now_ms() - 50_000}
    assert store.listing_pages.clean(**old, limit=9, dry_run=True) == 3
    assert store.listing_pages.clean(**old, limit=1, dry_run=False) in (1, 2)
    assert store.listing_pages.clean(**old, limit=9, dry_run=False) in (1, 2)
    assert store.listing_pages.clean(**old, limit=9, dry_run=False) == 0
    assert [len(each.pages()) for each in (listing(ASSETS), listing(ASSETS, OTHER), listing(JOURNAL))] == [0, 0, 2]


def test_the_state_says_how_many_responses_are_held(store: Store, listing: Listing) -> None:
    store.documents.save_requested(CHARACTER, ASSETS)
    store.documents.save_requested(CHARACTER, JOURNAL)
    for number in (1, 2):
        assert listing().add(number, response([]))
    assert [_pages_held(store, route) for route in (ASSETS, JOURNAL)] == [2, 0]


def test_jobs_that_read_one_listing_at_the_same_time_never_mix_their_sets(store: Store, listing: Listing) -> None:
    def read(job: int) -> None:
        rng = random.Random(job)
        for turn in range(6):
            held, name = listing(), f"set {job}-{turn}"
            if held.pages():
                held.discard()
            page = 1
            while page < 6 and held.add(page, replace(response([name]), last_modified=name)) is not None:
                page += 1
                if rng.random() < 0.2:
                    held.discard()
                    break
            found = [each.last_modified for each in listing().pages()]
            assert len(set(found)) <= 1, found

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(read, range(6)))
    pages = listing().pages()
    assert [each.page for each in pages] == list(range(1, len(pages) + 1))


def _save(store: Store, route: str, body: list[Any]) -> None:
    store.documents.save(CHARACTER, route, response(body), as_of_ms=1_000, next_due_ms=0)


def _pages_held(store: Store, route: str) -> int:
    state = store.documents.state(CHARACTER, route)
    assert state is not None
    return state.pages_held
