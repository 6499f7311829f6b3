"""A bad row is set aside with its reason, and costs no other row of its response; rubbish replaces nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from nomad_actors import exact_json
from nomad_actors.esi import ROUTES, Copy, EsiClient, EsiResponse, EsiUnavailable, Route
from nomad_actors.esi.checks import ListOf, ObjectOf
from nomad_actors.esi.response import parse
from nomad_actors.esi.sifting import sifted
from tests.support.esi_rows import STRANGE_TEXTS, bad_rows, random_json, row_of, strange_rows

from .conftest import Reply, Scripted
from .test_listings import Held

LISTS = [route for route in ROUTES.values() if isinstance(route.shape, ListOf)]
OBJECTS = [route for route in ROUTES.values() if isinstance(route.shape, ObjectOf)]
JOURNAL = ROUTES["/characters/{character_id}/wallet/journal"]
TRANSACTIONS = ROUTES["/characters/{character_id}/wallet/transactions"]


def response(body: Any) -> EsiResponse:
    return EsiResponse(200, False, body, '"e"', None, 1_000, 1, "r1")


def each(route: Route) -> Any:
    assert isinstance(route.shape, ListOf)
    return route.shape.each


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.dataset)
def test_every_kind_of_bad_row_is_set_aside_and_the_others_are_kept(route: Route) -> None:
    good = [row_of(each(route), number) for number in range(1, 4)]
    kinds = list(bad_rows(each(route), 100))
    for bad in kinds:
        found = sifted(route, response([good[0], good[1], bad, good[2]]))
        assert found.body == good, repr(bad)
        assert [(row.row is bad, row.is_stored) for row in found.set_aside] == [(True, False)], repr(bad)
        assert found.set_aside[0].reason
    assert len(kinds) > 8


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.dataset)
def test_what_somebody_typed_costs_no_row(route: Route) -> None:
    if not isinstance(each(route), ObjectOf):
        return
    for strange in strange_rows(each(route), 100):
        found = sifted(route, response([strange]))
        assert [row.is_stored for row in found.set_aside] == [True]
        assert found.set_aside[0].row is strange
        assert "\\ufffd" in exact_json.dumps(found.body)
        assert each(route)(found.body[0]) is None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.dataset)
def test_random_rubbish_between_good_rows_costs_none_of_them(route: Route, seed: int) -> None:
    source = random.Random(f"{route.name} {seed}")
    good = [row_of(each(route), number) for number in range(1, 20)]
    body: list[Any] = []
    for row in good:
        body += [random_json(source) for _ in range(source.randrange(3))]
        if isinstance(row, dict):
            body.append({**row, source.choice(list(row)): random_json(source)})
        body.append(row)
    found = sifted(route, response(body))
    assert all(row in found.body for row in good)
    # Rows of lists inside of a row cost that one nothing.
    whole = [row for row in found.set_aside if not row.is_stored and not row.reason.startswith("a row of ")]
    assert len(found.body) + len(whole) == len(body)
    # What is kept is JSON for every reader.
    exact_json.dumps(found.body).encode()


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.dataset)
def test_a_list_without_any_good_row_is_a_changed_api(route: Route) -> None:
    with pytest.raises(EsiUnavailable, match="none of its 2 rows can be stored; the first: ") as failed:
        sifted(route, response([None, {"id": None}]))
    assert (failed.value.status, failed.value.request_id) == (200, "r1")
    assert sifted(route, response([])).body == []


def lists_in(check: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the check of each list inside of a row."""
    if isinstance(check, ListOf):
        yield path, check
        yield from lists_in(check.each, path)
    if isinstance(check, ObjectOf):
        for name, inner in {**check.required, **check.optional}.items():
            yield from lists_in(inner, (*path, name))


NESTED = [
    (route, path, found)
    for route in ROUTES.values()
    for path, found in lists_in(each(route) if isinstance(route.shape, ListOf) else route.shape)
]


def with_rows(route: Route, path: tuple[str, ...], rows: list[Any]) -> Any:
    """Return a body of the route whose list at `path` has these rows."""
    is_list = isinstance(route.shape, ListOf)
    body = row_of(each(route) if is_list else route.shape, 1)
    parent = body
    for name in path[:-1]:
        parent = parent[name][0] if isinstance(parent[name], list) else parent[name]
    parent[path[-1]] = rows
    return [body] if is_list else body


@pytest.mark.parametrize(("route", "path", "check"), NESTED, ids=lambda value: getattr(value, "dataset", None))
def test_a_bad_row_of_a_list_inside_costs_nothing_else(
    scripted_esi: EsiClient, scripted: Scripted, route: Route, path: tuple[str, ...], check: ListOf
) -> None:
    good = [row_of(check.each, number) for number in (1, 2)]
    bad_ones = [None, "text", {"id": 1}, 1.5, True]
    if isinstance(check.each, ObjectOf):
        name = next(iter(check.each.required or check.each.optional))
        bad_ones += [good[0] | {name: value} for value in (float("nan"), 2**63, [1], {})]
    for bad in filter(check.each, bad_ones):
        scripted.reply_with(route.path(7), Reply(body=with_rows(route, path, [good[0], bad, good[1]])))
        received = scripted_esi.get(route, character_id=7, access_token=None)
        found = sifted(route, received)
        assert found.body == with_rows(route, path, good), repr(bad)
        (row,) = found.set_aside
        assert (row.reason.startswith(f"a row of {'.'.join(path)} "), row.is_stored) == (True, False)
        # A single bad row says nothing about the others; two are a change of ESI's.
        assert sifted(route, response(with_rows(route, path, [bad]))).body == with_rows(route, path, [])
        with pytest.raises(EsiUnavailable, match=f"none of the 2 rows in {'.'.join(path)} can be stored"):
            sifted(route, response(with_rows(route, path, [bad, bad])))


def test_the_lists_inside_are_known() -> None:
    assert {(route.dataset, ".".join(path)) for route, path, _ in NESTED} == {
        ("clones", "jump_clones"),
        ("clones", "jump_clones.implants"),
        ("skills", "skills"),
        ("mail", "labels"),
        ("mail", "recipients"),
        ("mail_labels", "labels"),
    }


def test_a_strange_text_beside_a_bad_row_of_a_list_inside() -> None:
    mail = ROUTES["/characters/{character_id}/mail"]
    good = row_of(each(mail), 1)
    strange = good | {"subject": "NUL \0", "recipients": [{"recipient_id": 1}, *good["recipients"]]}
    found = sifted(mail, response([strange]))
    assert found.body == [good | {"subject": "NUL \N{REPLACEMENT CHARACTER}"}]
    assert [(row.is_stored, row.row is strange) for row in found.set_aside] == [(False, False), (True, True)]


@pytest.mark.parametrize("route", OBJECTS, ids=lambda route: route.dataset)
def test_an_object_of_the_wrong_shape_is_refused_as_a_whole(
    scripted_esi: EsiClient, scripted: Scripted, route: Route
) -> None:
    path, good = route.path(7), row_of(route.shape, 5)
    for bad in bad_rows(route.shape, 100):
        if bad == {} and not route.shape.required:  # type: ignore[attr-defined]
            continue
        scripted.reply_with(path, Reply(body=bad))
        with pytest.raises(EsiUnavailable, match="ESI's response for ") as failed:
            scripted_esi.get(route, character_id=7, access_token=None)
        assert failed.value.status == 200, repr(bad)
    scripted.reply_with(path, Reply(body=good | {"a_new_field": [1]}))
    assert scripted_esi.get(route, character_id=7, access_token=None).body == good | {"a_new_field": [1]}


@pytest.mark.parametrize("text", STRANGE_TEXTS)
def test_a_strange_name_of_a_ship_is_repaired(scripted_esi: EsiClient, scripted: Scripted, text: str) -> None:
    route = ROUTES["/characters/{character_id}/ship"]
    scripted.reply_with(route.path(7), Reply(body={"ship_item_id": 1, "ship_name": text, "ship_type_id": 2}))
    found = sifted(route, scripted_esi.get(route, character_id=7, access_token=None))
    assert "\N{REPLACEMENT CHARACTER}" in found.body["ship_name"]
    assert [row.is_stored for row in found.set_aside] == [True]


@pytest.mark.parametrize("body", [float("nan"), float("inf"), True, "1", 10**400])
def test_a_balance_that_is_no_number_is_refused(scripted_esi: EsiClient, scripted: Scripted, body: Any) -> None:
    route = ROUTES["/characters/{character_id}/wallet"]
    scripted.reply_with(route.path(7), Reply(body=body))
    with pytest.raises(EsiUnavailable, match=r"is not a finite number|and not a number"):
        scripted_esi.get(route, character_id=7, access_token=None)


@pytest.mark.parametrize(
    "sent",
    [
        b'{"id": ' + b"9" * 10_000 + b"}",
        b'{"id": 2, "reason": "raw \x00"}',
        b'{"id": 2, "reason": "not UTF-8 \xff\xed\xa0\x80"}',
        b'{"id": 1e999}',
        b'{"id": NaN}',
    ],
)
def test_a_strange_value_does_not_make_the_whole_body_unreadable(sent: bytes) -> None:
    good = exact_json.dumps(row_of(each(JOURNAL), 1)).encode()
    found = sifted(JOURNAL, response(parse(b"\xef\xbb\xbf[" + good + b"," + sent + b"]")))
    assert found.body == [row_of(each(JOURNAL), 1)]
    assert len(found.set_aside) == 1


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"<html>", b'{"a": 1} x', b"[" * 100_000])
def test_what_is_no_json_is_an_error(scripted_esi: EsiClient, scripted: Scripted, content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse(content)
    scripted.reply_with(JOURNAL.path(7), Reply(body=content))
    with pytest.raises(EsiUnavailable, match="is not JSON"):
        scripted_esi.get(JOURNAL, character_id=7, access_token=None)


@pytest.mark.parametrize("number", [None, True, "5", 2**63, -5, 1.5])
def test_a_row_without_a_key_does_not_end_the_walk(
    scripted_esi: EsiClient, scripted: Scripted, held: Held, number: Any
) -> None:
    bad = {"transaction_id": number}
    pages = {
        "": [{"transaction_id": 9}, bad, {"transaction_id": 8}],
        "8": [{"transaction_id": 8}, {"transaction_id": 7}],
        "7": [{"transaction_id": 7}],
    }
    scripted.script[TRANSACTIONS.path(7)] = lambda received: Reply(
        body=pages.get(received.query.get("from_id", ""), [])
    )
    found = scripted_esi.get_all(
        TRANSACTIONS, character_id=7, access_token=None, copy=Copy(), held=held(7, TRANSACTIONS)
    )
    assert found.body == [{"transaction_id": 9}, bad, {"transaction_id": 8}, {"transaction_id": 7}]


def test_a_walk_whose_response_has_no_key_at_all_is_an_error(
    scripted_esi: EsiClient, scripted: Scripted, held: Held
) -> None:
    pages = {"": [{"transaction_id": 9}], "9": [{"id": 8}]}
    scripted.script[TRANSACTIONS.path(7)] = lambda received: Reply(body=pages[received.query.get("from_id", "")])
    with pytest.raises(EsiUnavailable, match="has no row with transaction_id"):
        scripted_esi.get_all(TRANSACTIONS, character_id=7, access_token=None, copy=Copy(), held=held(7, TRANSACTIONS))
