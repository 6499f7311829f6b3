"""Every flaw that an access token can have, in an answer that rotates the refresh token; SSO's load limit."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests

from sandbox.fault_kinds import TOKENS
from sandbox.grants import CLIENT_ID, CLIENT_SECRET
from sandbox.serve import SandboxServer
from sandbox.token_variations import VARIATIONS

from .conftest import NOW_S, Visitor, refresh


def flawed(sandbox: SandboxServer, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token with one flaw."""
    login = sandbox.logins()[0]
    sandbox.fail("/v2/oauth/token", kind=f"token-{name}")
    body = refresh(sandbox, login["refresh_token"]).json()
    assert body["refresh_token"] == sandbox.logins()[0]["refresh_token"] != login["refresh_token"]
    decoded = jwt.api_jws.decode_complete(body["access_token"], options={"verify_signature": False})
    return decoded["header"], json.loads(decoded["payload"])


def test_every_named_flaw_exists() -> None:
    assert set(TOKENS) == set(VARIATIONS)


def test_the_claims_can_be_wrong(sandbox: SandboxServer) -> None:
    host = sandbox.base_url.removeprefix("http://")
    login = sandbox.logins()[0]
    assert "owner" not in flawed(sandbox, "no-owner")[1]
    assert flawed(sandbox, "other-owner")[1]["owner"] != login["owner_hash"]
    assert flawed(sandbox, "iss-bare")[1]["iss"] == host
    assert flawed(sandbox, "iss-https")[1]["iss"] == f"https://{host}"
    assert flawed(sandbox, "iss-slash")[1]["iss"] == f"http://{host}/"
    assert flawed(sandbox, "iss-wrong")[1]["iss"] == "https://logineveonline.com"
    assert flawed(sandbox, "exp-past")[1]["exp"] == NOW_S - 60
    assert flawed(sandbox, "exp-text")[1]["exp"] == str(NOW_S + 1_200)
    assert flawed(sandbox, "aud-other")[1]["aud"] == ["another-application", "EVE Online"]
    assert flawed(sandbox, "aud-text")[1]["aud"] == "EVE Online"
    assert flawed(sandbox, "sub-other")[1]["sub"] == f"CHARACTER:EVE:{login['character_id'] + 1}"


def test_the_signature_can_be_wrong_or_of_another_key(sandbox: SandboxServer) -> None:
    keys = {key["kid"]: key["alg"] for key in requests.get(f"{sandbox.base_url}/oauth/jwks", timeout=10).json()["keys"]}
    assert sorted(keys.values()) == ["ES256", "RS256"]
    assert flawed(sandbox, "unknown-kid")[0]["kid"] not in keys
    assert flawed(sandbox, "hs256")[0]["alg"] == "HS256"
    header = flawed(sandbox, "es256")[0]
    assert keys[header["kid"]] == header["alg"] == "ES256"


@pytest.mark.parametrize(("name", "status"), [("es256", 200), ("iss-bare", 200), ("hs256", 401), ("exp-past", 401)])
def test_esi_accepts_what_is_valid(sandbox: SandboxServer, trader: Visitor, name: str, status: int) -> None:
    sandbox.fail("/v2/oauth/token", kind=f"token-{name}")
    trader.renew()
    assert trader.get("/skills").status_code == status


def test_the_keys_can_be_away(sandbox: SandboxServer) -> None:
    sandbox.fail("/oauth/jwks", kind="jwks-503")
    url = f"{sandbox.base_url}/oauth/jwks"
    assert [requests.get(url, timeout=10).status_code for _ in range(2)] == [503, 200]


def test_more_than_five_refreshes_at_once_are_errors(sandbox: SandboxServer, wait_until: Callable[..., None]) -> None:
    limits = {"sso_parallel": 5, "sso_latency_seconds": 1}
    requests.post(f"{sandbox.base_url}/sandbox/limits", json=limits, timeout=10).raise_for_status()
    tokens, statuses = [login["refresh_token"] for login in sandbox.logins()[:6]], []
    threads = [
        threading.Thread(target=lambda each=each: statuses.append(refresh(sandbox, each).status_code))
        for each in tokens
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses == [500], what="the refusal of the sixth, while five are under way")
    sandbox.advance(1)
    for thread in threads:
        thread.join(10)
    assert statuses == [500] + [200] * 5


@pytest.mark.parametrize("wrong", [{"sso_parallel": 0}, {"sso_latency_seconds": -1}, {"tokens": 5}])
def test_an_invalid_limit_is_refused(sandbox: SandboxServer, wrong: dict[str, int]) -> None:
    assert requests.post(f"{sandbox.base_url}/sandbox/limits", json=wrong, timeout=10).status_code == 400


def test_only_the_application_can_revoke(sandbox: SandboxServer) -> None:
    login, url = sandbox.logins()[0], f"{sandbox.base_url}/v2/oauth/revoke"
    form = {"token": login["refresh_token"], "token_type_hint": "refresh_token"}
    assert requests.post(url, data=form, timeout=10).status_code == 401
    assert requests.post(url, data=form, auth=(CLIENT_ID, "wrong"), timeout=10).status_code == 401
    assert sandbox.logins()[0] == login
    assert requests.post(url, data=form, auth=(CLIENT_ID, CLIENT_SECRET), timeout=10).status_code == 200
    assert sandbox.logins()[0]["refresh_token"] is None


def test_a_sale_can_leave_the_login_alive_and_change_only_its_owner(sandbox: SandboxServer, trader: Visitor) -> None:
    before = sandbox.logins()[0]["owner_hash"]
    url = f"{sandbox.base_url}/sandbox/characters/{trader.character_id}/sale?kills=false"
    sold = requests.post(url, timeout=10).json()["owner_hash"]
    trader.renew()
    assert jwt.decode(trader.access_token, options={"verify_signature": False})["owner"] == sold != before
