"""Access: 401 without a valid token, 403 without the scope or for another's character, 404 for an unknown one."""

from __future__ import annotations

import pytest
import requests

from sandbox.routes import ROUTES, Route
from sandbox.serve import SandboxServer

from .conftest import Visitor, refresh

GUARDED = [route for route in ROUTES if route.scope]
OPEN = [route for route in ROUTES if not route.scope]


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.path)
def test_protected_routes_need_a_token_with_their_scope(sandbox: SandboxServer, trader: Visitor, route: Route) -> None:
    url = f"{sandbox.base_url}/characters/{trader.character_id}{route.path}"
    missing = requests.get(url, timeout=10)
    assert (missing.status_code, missing.json()) == (401, {"error": "authorization not provided"})
    other = next(each.scope for each in GUARDED if each.scope != route.scope)
    trader.access_token = refresh(sandbox, trader.refresh_token, scope=str(other)).json()["access_token"]
    unscoped = trader.get(route.path)
    assert unscoped.status_code == 403
    assert str(route.scope) in unscoped.json()["error"]


@pytest.mark.parametrize("route", OPEN, ids=lambda route: route.name)
def test_public_routes_need_no_token(sandbox: SandboxServer, trader: Visitor, route: Route) -> None:
    response = requests.get(f"{sandbox.base_url}/characters/{trader.character_id}{route.path}", timeout=10)
    assert response.status_code == 200


def test_an_access_token_expires_after_twenty_minutes(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.advance(1_199)
    assert trader.get("/skills").status_code == 200
    sandbox.advance(1)
    late = trader.get("/skills")
    assert (late.status_code, late.json()) == (401, {"error": "token is expired"})
    trader.renew()
    assert trader.get("/skills").status_code == 200


def test_a_foreign_token_is_rejected(trader: Visitor) -> None:
    trader.access_token = trader.refresh_token
    assert trader.get("/skills").status_code == 401


def test_a_token_reads_its_own_character_only(sandbox: SandboxServer, trader: Visitor) -> None:
    other = sandbox.logins()[1]["character_id"]
    assert trader.request(f"/characters/{other}/skills").status_code == 403
    assert trader.request(f"/characters/{other}").status_code == 200


def test_unknown_characters_are_not_found(trader: Visitor) -> None:
    for path in ("/characters/5", "/characters/5/skills"):
        response = trader.request(path)
        assert (response.status_code, response.json()) == (404, {"error": "Character not found"})


def test_an_unknown_mail_is_not_found(trader: Visitor) -> None:
    assert trader.get("/mail/5").status_code == 404
