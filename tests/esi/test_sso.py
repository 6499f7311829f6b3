"""Only tokens that SSO signed for us are accepted, and an error blames the login only if SSO's text does."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import threading
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import redis
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from nomad_actors.clock import ManualClock
from nomad_actors.esi import DeadLogin, NotSent, SsoClient, SsoError, SsoMisconfigured, SsoUnavailable, Tokens
from nomad_actors.esi.limits import Limiter, Outcome
from nomad_actors.metrics.definitions import TOKEN_REFRESHES
from nomad_actors.processes.local_redis import free_port
from sandbox.serve import SandboxServer

from .conftest import NOW_S, ReceivedRequest, Reply, Scripted

CLIENT = "our-client"
REFRESH_TOKEN = "a-refresh-token-that-nobody-may-see"
TOKEN_PATH, JWKS_PATH = "/v2/oauth/token", "/oauth/jwks"
NOW_DATE = {"Date": "Sun, 01 Nov 2026 12:00:00 GMT"}


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@functools.cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def published(*names: str) -> Reply:
    """Return a response with the public keys of these names."""
    keys = []
    for name in names:
        if name == "ES256":
            key = {**json.loads(ECAlgorithm.to_jwk(ec_key().public_key())), "alg": "ES256"}
        else:
            key = {**json.loads(RSAAlgorithm.to_jwk(rsa_key(name).public_key())), "alg": "RS256"}
        keys.append({**key, "kid": name, "use": "sig"})
    return Reply(body={"keys": keys, "SkipUnresolvedJsonWebKeys": True}, headers=NOW_DATE)


class Sso:
    """An SSO that answers every refresh with one token; tests may change its claims and signature."""

    def __init__(self, scripted: Scripted) -> None:
        self.scripted = scripted
        self.claims: dict[str, Any] = {
            "iss": scripted.base_url,
            "aud": [CLIENT, "EVE Online"],
            "sub": "CHARACTER:EVE:95465499",
            "name": "CCP Bartender",
            "owner": "8PmzCeTKb4VFUDrHLc/AeZXDSWM=",
            "scp": ["esi-skills.read_skills.v1", "esi-wallet.read_character_wallet.v1"],
            "exp": NOW_S + 1_199,
            "iat": NOW_S,
        }
        self.scripted.reply_with(JWKS_PATH, published("key-1"))
        self.response(self.sign())

    def sign(self, key: Any = None, algorithm: str = "RS256", key_id: str | None = "key-1", **claims: Any) -> str:
        changed = {name: value for name, value in (self.claims | claims).items() if value is not ...}
        headers = {"kid": key_id} if key_id else None
        return jwt.encode(changed, key or rsa_key("key-1"), algorithm=algorithm, headers=headers)

    def response(self, access_token: str, **more: Any) -> None:
        body = {"access_token": access_token, "expires_in": 1_199, "token_type": "Bearer", "refresh_token": "rotated"}
        self.scripted.reply_with(TOKEN_PATH, Reply(body=body | more))

    def received(self, path: str) -> list[ReceivedRequest]:
        return [received for received in self.scripted.received if received.path == path]


@pytest.fixture
def odd_sso(scripted: Scripted) -> Sso:
    """The scripted SSO."""
    return Sso(scripted)


@pytest.fixture
def client(http: requests.Session, scripted: Scripted, clock: ManualClock, limiter: Limiter) -> SsoClient:
    """A client of the scripted SSO."""
    return SsoClient(
        http, base_url=scripted.base_url, client_id=CLIENT, client_secret="our secret", clock=clock, limiter=limiter
    )


def refresh_error(client: SsoClient, call: Callable[[], Tokens] | None = None) -> SsoError:
    with pytest.raises(SsoError) as caught:
        (call or functools.partial(client.refresh, REFRESH_TOKEN))()
    assert REFRESH_TOKEN not in "".join(traceback.format_exception(caught.value))
    # What the brake does is told in test_token_keeper; here the next response counts.
    client._limiter.lift("sso")
    return caught.value


def test_a_refresh_returns_the_characters_tokens(sso: SsoClient, sandbox: SandboxServer) -> None:
    login = sandbox.logins()[0]
    tokens = sso.refresh(login["refresh_token"])
    assert (tokens.character_id, tokens.name, tokens.owner_hash) == (
        *(login["character_id"], login["name"], login["owner_hash"]),
    )
    assert tokens.scopes == set(login["scopes"])
    assert tokens.expires_at_ms == (NOW_S + 1_200) * 1000
    assert tokens.refresh_token == sandbox.logins()[0]["refresh_token"] != login["refresh_token"]


def test_the_old_refresh_token_is_dead_after_a_rotation(sso: SsoClient, sandbox: SandboxServer) -> None:
    old = sandbox.logins()[0]["refresh_token"]
    new = sso.refresh(old).refresh_token
    with pytest.raises(DeadLogin, match="Token missing/expired"):
        sso.refresh(old)
    assert sso.refresh(new).refresh_token != new


def test_a_login_is_made_with_a_code_and_its_verifier(
    sso: SsoClient, sandbox: SandboxServer, http: requests.Session
) -> None:
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    login, redirect_uri = sandbox.logins()[1], "http://127.0.0.1:1/back"
    # A single scope is a plain string in the token.
    url = sso.authorize_url(["esi-mail.read_mail.v1"], "the state", challenge, redirect_uri)

    def code() -> str:
        chosen = http.get(url, params={"character_id": login["character_id"]}, allow_redirects=False)
        back = parse_qs(urlsplit(chosen.headers["Location"]).query)
        assert back["state"] == ["the state"]
        return back["code"][0]

    with pytest.raises(SsoUnavailable, match="verifier"):
        sso.exchange_code(code(), "another verifier", redirect_uri)
    tokens = sso.exchange_code(code(), verifier, redirect_uri)
    assert (tokens.character_id, tokens.scopes) == (login["character_id"], {"esi-mail.read_mail.v1"})
    assert tokens.refresh_token == sandbox.logins()[1]["refresh_token"]


def test_a_wrong_client_is_misconfiguration_and_not_a_dead_login(
    http: requests.Session, sandbox: SandboxServer, clock: ManualClock, limiter: Limiter
) -> None:
    wrong = SsoClient(
        http, base_url=sandbox.base_url, client_id="sandbox-client", client_secret="wrong", clock=clock, limiter=limiter
    )
    for call in (
        lambda: wrong.refresh(sandbox.logins()[0]["refresh_token"]),
        lambda: wrong.exchange_code("a code", "a verifier", "http://127.0.0.1:1/back"),
    ):
        with pytest.raises(SsoMisconfigured, match="EVE_CLIENT_ID"):
            call()


def test_four_calls_of_sso_at_most_are_under_way_and_a_login_waits_for_its_turn(
    odd_sso: Sso, client: SsoClient, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.esi.sso._LOGIN_WAIT_SECONDS", 0.3)
    reservations = [limiter.reserve_sso() for _ in range(4)]
    for call in (lambda: client.refresh(REFRESH_TOKEN), lambda: client.exchange_code("c", "v" * 43, "http://l/")):
        with pytest.raises(NotSent, match="concurrency:sso"):
            call()
    assert odd_sso.scripted.received == []
    monkeypatch.setattr("nomad_actors.esi.sso._LOGIN_WAIT_SECONDS", 30.0)
    threading.Timer(0.3, limiter.settle, (reservations[0], Outcome(spent=0))).start()
    assert client.exchange_code("c", "v" * 43, "http://l/").character_id == 95465499


def test_a_persons_login_counts_and_a_failed_one_brakes_nothing(
    odd_sso: Sso, client: SsoClient, limiter: Limiter
) -> None:
    under_way = []

    def respond(_: ReceivedRequest) -> Reply:
        under_way.append(limiter.state().sso_under_way)
        return Reply(400, error_body("invalid_grant", "Authorization code not found."))

    odd_sso.scripted.script[TOKEN_PATH] = respond
    with pytest.raises(SsoUnavailable):
        client.exchange_code("c", "v" * 43, "http://l/")
    assert under_way == [1]
    assert (limiter.state().sso_under_way, limiter.state().brakes) == (0, [])


def test_a_refresh_is_form_encoded_with_basic_auth(odd_sso: Sso, client: SsoClient) -> None:
    tokens = client.refresh(REFRESH_TOKEN)
    [received] = odd_sso.received(TOKEN_PATH)
    assert received.form == {"grant_type": "refresh_token", "refresh_token": REFRESH_TOKEN}
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.headers["Authorization"] == "Basic " + base64.b64encode(b"our-client:our secret").decode()
    assert tokens.refresh_token == "rotated"


def test_an_application_without_secret_sends_its_client_id(
    odd_sso: Sso, http: requests.Session, clock: ManualClock, limiter: Limiter
) -> None:
    base_url = odd_sso.scripted.base_url
    SsoClient(http, base_url=base_url, client_id=CLIENT, client_secret="", clock=clock, limiter=limiter).refresh(
        REFRESH_TOKEN
    )
    [received] = odd_sso.received(TOKEN_PATH)
    assert received.form["client_id"] == CLIENT
    assert "Authorization" not in received.headers


def test_the_old_refresh_token_is_kept_if_sso_sends_none(odd_sso: Sso, client: SsoClient) -> None:
    odd_sso.response(odd_sso.sign(), refresh_token=None)
    assert client.refresh(REFRESH_TOKEN).refresh_token == REFRESH_TOKEN


def test_repr_hides_the_tokens(odd_sso: Sso, client: SsoClient) -> None:
    tokens = client.refresh(REFRESH_TOKEN)
    for shown in (repr(tokens), str(tokens), f"{[tokens]}"):
        assert "rotated" not in shown
        assert tokens.access_token not in shown


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [(..., set()), (None, set()), ("a.b.v1", {"a.b.v1"}), (["a.b.v1", "c.d.v1"], {"a.b.v1", "c.d.v1"}), (5, set())],
)
def test_scopes_may_be_a_list_a_string_or_missing(
    odd_sso: Sso, client: SsoClient, claim: Any, scopes: set[str]
) -> None:
    odd_sso.response(odd_sso.sign(scp=claim))
    assert client.refresh(REFRESH_TOKEN).scopes == scopes


@pytest.mark.parametrize("form", ["{base}", "{base}/", "{host}", "https://{host}", "https://{host}/"])
def test_all_spellings_of_the_issuer_are_accepted(odd_sso: Sso, client: SsoClient, form: str) -> None:
    base = odd_sso.scripted.base_url
    odd_sso.response(odd_sso.sign(iss=form.format(base=base, host=urlsplit(base).netloc)))
    assert client.refresh(REFRESH_TOKEN).character_id == 95465499


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.example.com"},
        {"iss": "127.0.0.1"},
        {"iss": ...},
        {"aud": [CLIENT]},
        {"aud": CLIENT},
        {"aud": ...},
        {"exp": NOW_S},
        {"exp": NOW_S - 1},
        {"exp": ...},
        {"exp": "soon"},
        {"sub": "CORPORATION:EVE:98000001"},
        {"sub": "CHARACTER:EVE:"},
        {"sub": "CHARACTER:EVE:-5"},
        {"sub": "CHARACTER:EVE:²"},
        {"sub": ...},
    ],
    ids=str,
)
def test_a_token_with_wrong_claims_is_not_trusted(odd_sso: Sso, client: SsoClient, claims: dict[str, Any]) -> None:
    odd_sso.response(odd_sso.sign(**claims))
    assert type(refresh_error(client)) is SsoUnavailable


@pytest.mark.parametrize("audience", [["EVE Online", "another"], "EVE Online", ["EVE Online", f"not-{CLIENT}"]])
def test_a_token_for_another_application_is_misconfiguration(odd_sso: Sso, client: SsoClient, audience: Any) -> None:
    odd_sso.response(odd_sso.sign(aud=audience))
    assert type(refresh_error(client)) is SsoMisconfigured


def test_a_token_that_sso_did_not_sign_is_not_trusted(odd_sso: Sso, client: SsoClient) -> None:
    forged = {
        "another key": odd_sso.sign(rsa_key("forger")),
        "no signature": jwt.encode(odd_sso.claims, None, algorithm="none", headers={"kid": "key-1"}),
        "a secret": odd_sso.sign(b"k" * 32, algorithm="HS256"),
        "another algorithm": odd_sso.sign(algorithm="RS512"),
        "another curve": odd_sso.sign(ec_key(), algorithm="ES256"),
        "no key's name": odd_sso.sign(key_id=None),
        "no token": "not a token",
        "half a token": odd_sso.sign().rpartition(".")[0],
        "changed": odd_sso.sign()[:-6] + "AAAAAA",
    }
    for how, access_token in forged.items():
        odd_sso.response(access_token)
        assert type(refresh_error(client)) is SsoUnavailable, how


def test_a_key_on_an_elliptic_curve_is_accepted(odd_sso: Sso, client: SsoClient) -> None:
    odd_sso.scripted.reply_with(JWKS_PATH, published("key-1", "ES256"))
    odd_sso.response(odd_sso.sign(ec_key(), algorithm="ES256", key_id="ES256"))
    assert client.refresh(REFRESH_TOKEN).character_id == 95465499


def test_the_keys_are_read_once_for_many_refreshes(odd_sso: Sso, client: SsoClient) -> None:
    for _ in range(3):
        client.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 1


def test_the_keys_are_read_once_for_all_processes(
    odd_sso: Sso, client: SsoClient, http: requests.Session, clock: ManualClock, limiter: Limiter
) -> None:
    client.refresh(REFRESH_TOKEN)
    base_url = odd_sso.scripted.base_url
    other = SsoClient(http, base_url=base_url, client_id=CLIENT, client_secret="s", clock=clock, limiter=limiter)
    other.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 1


def test_the_keys_are_read_again_when_they_are_old(odd_sso: Sso, client: SsoClient, redis_client: redis.Redis) -> None:
    client.refresh(REFRESH_TOKEN)
    redis_client.delete("nomad:{esi}:jwks")
    client._keys._until_mono = 0
    client.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 2


def test_a_new_key_is_looked_up_once(odd_sso: Sso, client: SsoClient, redis_client: redis.Redis) -> None:
    client.refresh(REFRESH_TOKEN)
    odd_sso.scripted.reply_with(JWKS_PATH, published("key-1", "key-2"))
    odd_sso.response(odd_sso.sign(rsa_key("key-2"), key_id="key-2"))
    client.refresh(REFRESH_TOKEN)
    client.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 2
    # One unknown key a minute, whatever tokens say; a process that does not know the new key yet has it from Redis.
    for number in range(5):
        odd_sso.response(odd_sso.sign(rsa_key("key-3"), key_id=f"key-{number + 3}"))
        assert "does not publish" in str(refresh_error(client))
    assert len(odd_sso.received(JWKS_PATH)) == 2
    redis_client.delete("nomad:{esi}:jwks_asked")
    assert "does not publish" in str(refresh_error(client))
    assert len(odd_sso.received(JWKS_PATH)) == 3


def test_a_new_key_that_another_process_found_is_not_asked_for_again(
    odd_sso: Sso, client: SsoClient, http: requests.Session, clock: ManualClock, limiter: Limiter
) -> None:
    base_url = odd_sso.scripted.base_url
    other = SsoClient(http, base_url=base_url, client_id=CLIENT, client_secret="s", clock=clock, limiter=limiter)
    for each in (client, other):
        each.refresh(REFRESH_TOKEN)
    odd_sso.scripted.reply_with(JWKS_PATH, published("key-1", "key-2"))
    odd_sso.response(odd_sso.sign(rsa_key("key-2"), key_id="key-2"))
    for each in (client, other):
        each.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 2


def one_key(**changed: Any) -> Reply:
    """Return a response with a modified key that SSO cannot have signed with."""
    body = published("key-1").body
    return Reply(body={"keys": [{**body["keys"][0], **changed}]}, headers=NOW_DATE)


def small_key() -> Reply:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    key = json.loads(RSAAlgorithm.to_jwk(private.public_key()))
    return Reply(body={"keys": [{**key, "kid": "key-1", "alg": "RS256"}]}, headers=NOW_DATE)


BROKEN_KEYS = [
    Reply(502, b"<html>"),
    # An error page or a login page that contains keys.
    Reply(500, published("key-1").body),
    Reply(302, published("key-1").body, {"Location": "/elsewhere"}),
    Reply(404, published("key-1").body),
    Reply(body={}),
    Reply(body={"keys": []}),
    Reply(body={"keys": "none"}),
    Reply(body={"keys": {"key-1": 1}}),
    Reply(body={"keys": [None, 1, "key-1"]}),
    Reply(body={"keys": [{"kid": "key-1"}]}),
    Reply(body={"keys": [{"kid": "key-1", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}),
    one_key(kid=""),
    one_key(kid=None),
    one_key(use="enc"),
    one_key(n="AQAB"),
    small_key(),
    Reply(body=[]),
    Reply(body=b"\xff\xfe"),
    Reply(cut=True),
]


@pytest.mark.parametrize("keys", BROKEN_KEYS)
def test_an_invalid_response_never_replaces_valid_keys(odd_sso: Sso, client: SsoClient, keys: Reply) -> None:
    client.refresh(REFRESH_TOKEN)
    odd_sso.scripted.reply_with(JWKS_PATH, keys)
    # An unknown key id makes us read the keys again.
    odd_sso.response(odd_sso.sign(rsa_key("key-2"), key_id="key-2"))
    assert type(refresh_error(client)) is SsoUnavailable
    odd_sso.response(odd_sso.sign())
    client.refresh(REFRESH_TOKEN)
    assert len(odd_sso.received(JWKS_PATH)) == 2


@pytest.mark.parametrize("keys", BROKEN_KEYS)
def test_old_keys_are_used_while_new_ones_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
    odd_sso: Sso,
    client: SsoClient,
    http: requests.Session,
    clock: ManualClock,
    limiter: Limiter,
    keys: Reply,
) -> None:
    client.refresh(REFRESH_TOKEN)
    monkeypatch.setattr("nomad_actors.esi.signing_keys.JWKS_SECONDS", 0)
    client._keys._until_mono = 0
    odd_sso.scripted.reply_with(JWKS_PATH, keys)
    base_url = odd_sso.scripted.base_url
    other = SsoClient(http, base_url=base_url, client_id=CLIENT, client_secret="s", clock=clock, limiter=limiter)
    for _ in range(3):
        for each in (client, other):
            assert each.refresh(REFRESH_TOKEN).character_id == 95465499
    # Each process asks once a minute.
    assert len(odd_sso.received(JWKS_PATH)) == 3


def test_keys_that_could_not_be_read_for_a_day_are_not_used(
    monkeypatch: pytest.MonkeyPatch, odd_sso: Sso, client: SsoClient, redis_client: redis.Redis
) -> None:
    client.refresh(REFRESH_TOKEN)
    redis_client.delete("nomad:{esi}:jwks")
    monkeypatch.setattr("nomad_actors.esi.signing_keys.MAX_STALE_SECONDS", 0)
    client._keys._until_mono = 0
    odd_sso.scripted.reply_with(JWKS_PATH, Reply(502, b"<html>"))
    assert type(refresh_error(client)) is SsoUnavailable


@pytest.mark.parametrize("keys", BROKEN_KEYS)
def test_no_token_is_requested_while_it_could_not_be_validated(odd_sso: Sso, client: SsoClient, keys: Reply) -> None:
    odd_sso.scripted.reply_with(JWKS_PATH, keys)
    assert type(refresh_error(client)) is SsoUnavailable
    assert odd_sso.received(TOKEN_PATH) == []


@pytest.mark.parametrize(("seconds", "asks"), [(-3_600, True), (0, True), (299, True), (301, False), (86_400, False)])
def test_no_token_is_requested_with_a_clock_far_ahead(
    odd_sso: Sso, client: SsoClient, clock: ManualClock, limiter: Limiter, seconds: int, asks: bool
) -> None:
    clock.advance(seconds=seconds)
    if asks:
        client.refresh(REFRESH_TOKEN)
    else:
        assert f"this host's clock is {seconds} s ahead" in str(refresh_error(client))
    assert len(odd_sso.received(TOKEN_PATH)) == asks


@pytest.mark.parametrize(("age", "asks"), [("900", True), ("599", False), ("soon", False), ("-900", False)])
def test_keys_from_a_cache_do_not_make_the_clock_seem_ahead(
    odd_sso: Sso, client: SsoClient, clock: ManualClock, limiter: Limiter, age: str, asks: bool
) -> None:
    cached = published("key-1")
    odd_sso.scripted.reply_with(JWKS_PATH, Reply(body=cached.body, headers={**cached.headers, "Age": age}))
    clock.advance(seconds=900)
    if asks:
        client.refresh(REFRESH_TOKEN)
    else:
        assert type(refresh_error(client)) is SsoUnavailable
    assert len(odd_sso.received(TOKEN_PATH)) == asks


def error_body(code: str, description: str) -> dict[str, str]:
    return {"error": code, "error_description": description}


@pytest.mark.parametrize(
    ("status", "code", "description", "kind"),
    [
        (400, "invalid_grant", "Invalid refresh token. Character grant missing/expired.", DeadLogin),
        (400, "invalid_grant", "Invalid refresh token. Token missing/expired.", DeadLogin),
        (400, "invalid_grant", "Invalid refresh token. Unable to migrate grant.", DeadLogin),
        (400, "invalid_token", "The refresh token is expired.", DeadLogin),
        (400, "invalid_token", "The refresh token does not match the client specified.", DeadLogin),
        (401, "invalid_client", "Unknown client", SsoMisconfigured),
        (400, "invalid_client", "", SsoMisconfigured),
        (400, "invalid_grant", "Grant type refresh_token is not supported.", SsoMisconfigured),
        (400, "invalid_scope", "The requested scope is invalid, unknown, or malformed.", SsoMisconfigured),
        # Unknown error texts must not revoke a login.
        (400, "invalid_grant", "", SsoUnavailable),
        (400, "invalid_grant", "Something new", SsoUnavailable),
        (403, "invalid_grant", "Invalid refresh token. Token missing/expired.", SsoUnavailable),
        (429, "", "", SsoUnavailable),
        (500, "invalid_token", "The refresh token is expired.", SsoUnavailable),
        (503, "", "", SsoUnavailable),
    ],
)
def test_an_error_is_classified_by_its_text(
    odd_sso: Sso, client: SsoClient, status: int, code: str, description: str, kind: type[SsoError]
) -> None:
    odd_sso.scripted.reply_with(TOKEN_PATH, Reply(status, error_body(code, description)))
    error = refresh_error(client)
    assert type(error) is kind
    assert f"SSO answered {status}" in str(error)
    assert description in str(error)


@pytest.mark.parametrize(
    "response",
    [
        Reply(200, b"<html>maintenance</html>"),
        Reply(200, {}),
        Reply(200, {"access_token": ""}),
        Reply(200, ["odd"]),
        Reply(400, b"<html>Bad Request</html>"),
        Reply(400, {"error": None, "error_description": ["odd"]}),
        Reply(302, b"", {"Location": "/elsewhere"}),
        Reply(cut=True),
    ],
)
def test_anything_else_is_temporary(odd_sso: Sso, client: SsoClient, response: Reply) -> None:
    odd_sso.scripted.reply_with(TOKEN_PATH, response)
    assert type(refresh_error(client)) is SsoUnavailable
    assert {received.path for received in odd_sso.scripted.received} == {JWKS_PATH, TOKEN_PATH}


def test_a_closed_port_is_temporary(http: requests.Session, clock: ManualClock, limiter: Limiter) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    client = SsoClient(http, base_url=nowhere, client_id=CLIENT, client_secret="s", clock=clock, limiter=limiter)
    assert type(refresh_error(client)) is SsoUnavailable


def test_a_token_in_ssos_message_is_hidden(odd_sso: Sso, client: SsoClient) -> None:
    response = error_body("invalid_grant", f"Invalid refresh token. {REFRESH_TOKEN} is unknown.")
    odd_sso.scripted.reply_with(TOKEN_PATH, Reply(400, response))
    assert "[hidden] is unknown" in str(refresh_error(client))
    for secret in ("our secret", base64.b64encode(f"{CLIENT}:our secret".encode()).decode()):
        odd_sso.scripted.reply_with(TOKEN_PATH, Reply(401, error_body("invalid_client", f"{secret} is wrong")))
        assert "[hidden] is wrong" in str(refresh_error(client))
    code = REFRESH_TOKEN
    odd_sso.scripted.reply_with(TOKEN_PATH, Reply(400, error_body("invalid_grant", f"{code} was used")))
    assert "[hidden] was used" in str(
        refresh_error(client, lambda: client.exchange_code(code, "v" * 43, "http://127.0.0.1:1/"))
    )


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (None, "refreshed"),
        (Reply(400, error_body("invalid_token", "The refresh token is expired.")), "dead_login"),
        (Reply(401, error_body("invalid_client", "")), "misconfigured"),
        (Reply(502, b"<html>"), "unavailable"),
    ],
)
def test_refreshes_are_counted_by_outcome(
    odd_sso: Sso, client: SsoClient, response: Reply | None, outcome: str
) -> None:
    def counted() -> dict[str, float]:
        outcomes = ("refreshed", "dead_login", "misconfigured", "unavailable")
        return {each: TOKEN_REFRESHES.labels(each)._value.get() for each in outcomes}

    before = counted()
    if response is None:
        client.refresh(REFRESH_TOKEN)
    else:
        odd_sso.scripted.reply_with(TOKEN_PATH, response)
        refresh_error(client)
    after = counted()
    assert {each: after[each] - before[each] for each in after} == {each: float(each == outcome) for each in after}
