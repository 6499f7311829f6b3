"""The SSO: rotating refresh tokens, valid JWTs, logins through a browser, and revocation."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests

from sandbox.grants import CLIENT_ID, CLIENT_SECRET
from sandbox.routes import SCOPES
from sandbox.serve import SandboxServer

from .conftest import NOW_S, Visitor, refresh

BASIC = (CLIENT_ID, CLIENT_SECRET)
CALLBACK = "http://127.0.0.1:5555/callback"
VERIFIER = "a-verifier-that-is-long-enough-to-be-one-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SKILLS = "esi-skills.read_skills.v1"


def login_of(sandbox: SandboxServer, index: int = 0) -> dict[str, Any]:
    """Return the tokens of a login of the character."""
    return sandbox.logins()[index]


def token(sandbox: SandboxServer, data: object, auth: tuple[str, str] | None = BASIC) -> requests.Response:
    """Post a form to the token endpoint."""
    return requests.post(f"{sandbox.base_url}/v2/oauth/token", data=data, auth=auth, timeout=10)  # type: ignore[arg-type]


def authorize(sandbox: SandboxServer, scope: str, **more: str) -> requests.Response:
    """Open the login page as a browser does."""
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": scope,
        "state": "s1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return requests.get(
        f"{sandbox.base_url}/v2/oauth/authorize", params=query | more, allow_redirects=False, timeout=10
    )


def log_in(sandbox: SandboxServer, character_id: int, scope: str, verifier: str = VERIFIER) -> requests.Response:
    """Log a character in as an application with PKCE does."""
    response = authorize(sandbox, scope, character_id=str(character_id))
    code = parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]
    return token(sandbox, {"grant_type": "authorization_code", "code": code, "code_verifier": verifier})


def test_an_access_token_has_eves_claims_and_is_signed_by_the_published_key(sandbox: SandboxServer) -> None:
    login = login_of(sandbox)
    response = refresh(sandbox, login["refresh_token"]).json()
    discovery = requests.get(f"{sandbox.base_url}/.well-known/oauth-authorization-server", timeout=10).json()
    keys = requests.get(discovery["jwks_uri"], timeout=10).json()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(response["access_token"])["kid"]]
    claims = jwt.decode(
        response["access_token"],
        key,
        algorithms=["RS256"],
        audience="EVE Online",
        issuer=discovery["issuer"],
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == f"CHARACTER:EVE:{login['character_id']}"
    assert claims["aud"] == [CLIENT_ID, "EVE Online"]
    assert claims["azp"] == CLIENT_ID
    assert (claims["name"], claims["owner"]) == (login["name"], login["owner_hash"])
    assert sorted(claims["scp"]) == sorted(login["scopes"]) == list(SCOPES)
    assert (claims["iat"], claims["exp"]) == (NOW_S, NOW_S + 1_200)
    assert (response["expires_in"], response["token_type"]) == (1_199, "Bearer")


def test_a_refresh_token_is_valid_once(sandbox: SandboxServer) -> None:
    old = login_of(sandbox)["refresh_token"]
    new = refresh(sandbox, old).json()["refresh_token"]
    assert new != old
    second = refresh(sandbox, old)
    assert (second.status_code, second.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "Invalid refresh token. Token missing/expired."},
    )
    assert login_of(sandbox)["refresh_token"] == new
    assert refresh(sandbox, new).status_code == 200


def test_the_first_refresh_tokens_depend_on_the_seed() -> None:
    with SandboxServer(seed=3, characters=2) as one, SandboxServer(seed=3, characters=2) as two:
        assert one.logins() == two.logins()


def test_a_refresh_can_request_fewer_scopes_but_not_more(sandbox: SandboxServer) -> None:
    login = login_of(sandbox)
    narrowed = refresh(sandbox, login["refresh_token"], scope=SKILLS).json()
    claims = jwt.decode(narrowed["access_token"], options={"verify_signature": False})
    assert claims["scp"] == SKILLS
    only_skills = log_in(sandbox, login["character_id"], SKILLS).json()
    more = refresh(sandbox, only_skills["refresh_token"], scope="esi-mail.read_mail.v1")
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")


def test_a_wrong_secret_is_401_and_spends_no_token(sandbox: SandboxServer) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": login_of(sandbox)["refresh_token"]}
    for auth in ((CLIENT_ID, "wrong"), ("other", CLIENT_SECRET)):
        response = token(sandbox, form, auth)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert token(sandbox, form).status_code == 200


def test_json_bodies_and_unknown_clients_get_the_real_ssos_misleading_error(sandbox: SandboxServer) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": login_of(sandbox)["refresh_token"]}
    as_json = requests.post(f"{sandbox.base_url}/v2/oauth/token", json=form, auth=BASIC, timeout=10)
    parts = {name: (None, value) for name, value in form.items()}
    multipart = requests.post(f"{sandbox.base_url}/v2/oauth/token", files=parts, auth=BASIC, timeout=10)
    unknown = token(sandbox, form | {"client_id": "other"}, None)
    for response in (as_json, multipart, unknown):
        assert response.status_code == 400
        assert response.json() == {
            "error": "invalid_grant",
            "error_description": "Grant type refresh_token is not supported.",
        }
    assert token(sandbox, form | {"client_id": CLIENT_ID}, None).status_code == 200


def test_the_login_page_lists_every_character(sandbox: SandboxServer) -> None:
    page = authorize(sandbox, SKILLS).text
    for login in sandbox.logins():
        assert login["name"] in page
        assert f"character_id={login['character_id']}" in page


def test_a_login_through_the_browser_gives_tokens_with_the_requested_scopes(sandbox: SandboxServer) -> None:
    character_id = login_of(sandbox)["character_id"]
    response = authorize(sandbox, f"{SKILLS} publicData", character_id=str(character_id))
    assert response.status_code == 302
    assert response.headers["Location"].startswith(f"{CALLBACK}?code=")
    assert parse_qs(urlsplit(response.headers["Location"]).query)["state"] == ["s1"]
    tokens = log_in(sandbox, character_id, f"{SKILLS} publicData").json()
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["scp"] == [SKILLS, "publicData"]


def test_a_code_is_valid_once_for_five_minutes_and_with_its_verifier(sandbox: SandboxServer) -> None:
    character_id = login_of(sandbox)["character_id"]

    def code() -> str:
        response = authorize(sandbox, SKILLS, character_id=str(character_id))
        return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]

    def redeem(given: str) -> int:
        form = {"grant_type": "authorization_code", "code": given, "code_verifier": VERIFIER}
        return token(sandbox, form).status_code

    used, late = code(), code()
    assert redeem(used) == 200
    assert redeem(used) == 400
    sandbox.advance(301)
    assert redeem(late) == 400
    assert log_in(sandbox, character_id, SKILLS, verifier="another").status_code == 400


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"client_id": "other"}, "client_id"),
        ({"response_type": "token"}, "response_type"),
        ({"redirect_uri": "ftp://x"}, "redirect_uri"),
        ({"scope": "esi-none.such.v1"}, "esi-none.such.v1"),
        ({"code_challenge_method": "plain"}, "S256"),
        ({"character_id": "1"}, "no character '1'"),
    ],
)
def test_an_invalid_login_request_gets_the_reason(sandbox: SandboxServer, wrong: dict[str, str], message: str) -> None:
    response = authorize(sandbox, **({"scope": SKILLS} | wrong))
    assert response.status_code == 400
    assert message in response.json()["error_description"]


def test_a_login_with_other_scopes_revokes_the_earlier_one(sandbox: SandboxServer) -> None:
    first = login_of(sandbox)
    log_in(sandbox, first["character_id"], SKILLS)
    assert refresh(sandbox, first["refresh_token"]).status_code == 400


def test_a_login_with_the_same_scopes_keeps_the_earlier_one(sandbox: SandboxServer) -> None:
    first = login_of(sandbox)
    log_in(sandbox, first["character_id"], " ".join(first["scopes"]))
    assert refresh(sandbox, first["refresh_token"]).status_code == 200


def test_revoking_ends_a_token_and_ignores_unknown_ones(sandbox: SandboxServer) -> None:
    login = login_of(sandbox)
    for given in (login["refresh_token"], "nonsense"):
        form = {"token": given, "token_type_hint": "refresh_token"}
        response = requests.post(f"{sandbox.base_url}/v2/oauth/revoke", data=form, auth=BASIC, timeout=10)
        assert response.status_code == 200
    assert refresh(sandbox, login["refresh_token"]).status_code == 400
    assert login_of(sandbox)["refresh_token"] is None


def test_a_sold_character_has_another_owner_and_no_login(sandbox: SandboxServer, trader: Visitor) -> None:
    before = login_of(sandbox)["owner_hash"]
    sold = requests.post(f"{sandbox.base_url}/sandbox/characters/{trader.character_id}/sale", timeout=10)
    assert sold.json()["owner_hash"] == login_of(sandbox)["owner_hash"] != before
    assert refresh(sandbox, trader.refresh_token).status_code == 400
    tokens = log_in(sandbox, trader.character_id, SKILLS).json()
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["owner"] != before


def test_a_user_can_revoke_a_login(sandbox: SandboxServer, trader: Visitor) -> None:
    url = f"{sandbox.base_url}/sandbox/logins/{trader.character_id}"
    assert requests.delete(url, timeout=10).status_code == 204
    assert refresh(sandbox, trader.refresh_token).status_code == 400
    assert requests.delete(f"{sandbox.base_url}/sandbox/logins/5", timeout=10).status_code == 404


def test_one_of_twenty_concurrent_refreshes_with_one_token_succeeds(sandbox: SandboxServer) -> None:
    token_of_all = login_of(sandbox)["refresh_token"]
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: refresh(sandbox, token_of_all).status_code, range(20)))
    assert sorted(responses) == [200] + [400] * 19


def test_the_ledger_has_every_secret_and_who_asked(sandbox: SandboxServer) -> None:
    character_id, first = sandbox.logins()[0]["character_id"], sandbox.logins()[0]["refresh_token"]
    sandbox.fail("/v2/oauth/token", kind="sso-lost")
    with pytest.raises(requests.ConnectionError):
        refresh(sandbox, first)
    lost = sandbox.logins()[0]["refresh_token"]
    delivered = refresh(sandbox, lost).json()
    log_in(sandbox, character_id, SKILLS)
    undelivered, refreshed, authorized, exchanged = sandbox.ledger()
    assert (undelivered.fault, undelivered.is_delivered, undelivered.refresh_token) == ("sso-lost", False, first)
    assert (undelivered.new_refresh_token, refreshed.refresh_token) == (lost, lost)
    assert (refreshed.access_token, refreshed.is_delivered) == (delivered["access_token"], True)
    assert (refreshed.character_id, refreshed.others) == (character_id, 0)
    assert refreshed.user_agent.startswith("python-requests")
    assert authorized.code == exchanged.code != ""
    assert exchanged.code_verifier == VERIFIER
    issued = {each["refresh_token"] for each in sandbox.logins()}
    assert (
        issued | {first, lost, undelivered.access_token, exchanged.code, VERIFIER, CLIENT_SECRET} <= sandbox.secrets()
    )
