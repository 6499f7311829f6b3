"""The SSO: discovery, keys, the login page, the token and revocation endpoints."""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import urlencode

from flask import Blueprint, Response, render_template_string, request

from .exchange import current
from .grants import CLIENT_ID, CLIENT_SECRET, DeadGrant, Grant, NotGranted
from .responses import as_json
from .routes import SCOPES
from .state import SandboxState
from .tokens import LIFETIME_S

PATHS = frozenset(
    {
        "/.well-known/oauth-authorization-server",
        "/oauth/jwks",
        "/v2/oauth/authorize",
        "/v2/oauth/token",
        "/v2/oauth/revoke",
    }
)
FORM = "application/x-www-form-urlencoded"
LOGIN_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Log in to the sandbox</title>
<h1>Who logs in?</h1>
<p>{{ scopes|length }} scopes are asked for.</p>
<ul>{% for link, character in links %}<li><a href="{{ link }}">{{ character.name }}</a>, {{ character.profession }}</li>
{% endfor %}</ul></html>
"""


def create_blueprint(state: SandboxState) -> Blueprint:
    """Return the blueprint with the SSO's endpoints."""
    blueprint = Blueprint("sso", __name__)

    @blueprint.get("/.well-known/oauth-authorization-server")
    def discovery() -> Response:
        return as_json(_discovery(_issuer()))

    @blueprint.get("/oauth/jwks")
    def jwks() -> Response:
        return as_json(state.signer.key_set())

    @blueprint.get("/v2/oauth/authorize")
    @blueprint.get("/v2/oauth/authorize/")
    def authorize() -> Response:
        return _authorize(state)

    @blueprint.post("/v2/oauth/token")
    def token() -> Response:
        try:
            return _token(state)
        except _SsoError as refusal:
            return refusal.response()

    @blueprint.post("/v2/oauth/revoke")
    def revoke() -> Response:
        try:
            if not _is_known_client():
                raise _SsoError(401, "invalid_client", "Client authentication failed.")
        except _SsoError as refusal:
            return refusal.response()
        # 200 for nonsense too, as the real one.
        state.grants.revoke(request.form.get("token", ""))
        return Response(status=200)

    return blueprint


class _SsoError(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description

    def response(self) -> Response:
        return as_json({"error": self.error, "error_description": self.description}, status=self.status)


def _issuer() -> str:
    return request.host_url.rstrip("/")


def _discovery(issuer: str) -> dict[str, object]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/v2/oauth/authorize",
        "token_endpoint": f"{issuer}/v2/oauth/token",
        "revocation_endpoint": f"{issuer}/v2/oauth/revoke",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "response_types_supported": ["code"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
        "code_challenge_methods_supported": ["S256"],
    }


def _authorize(state: SandboxState) -> Response:
    """Show the characters; with `character_id`, redirect to the application with a code for the chosen one."""
    query = request.args
    redirect_uri, scopes = query.get("redirect_uri", ""), tuple(query.get("scope", "").split())
    problem = _login_problem(scopes)
    if problem:
        return as_json({"error": "invalid_request", "error_description": problem}, status=400)
    if "character_id" not in query:
        links = [
            (f"?{urlencode({**query, 'character_id': each.character_id})}", each) for each in state.world.characters
        ]
        return Response(render_template_string(LOGIN_PAGE, links=links, scopes=scopes))
    chosen = query["character_id"]
    character = state.world.character(int(chosen)) if chosen.isdigit() else None
    if character is None:
        return as_json({"error": "invalid_request", "error_description": f"no character {chosen!r}"}, status=400)
    code = state.grants.begin(character, scopes, redirect_uri, query.get("code_challenge"))
    current().code = code
    result = urlencode({"code": code, "state": query.get("state", "")})
    return Response(status=302, headers={"Location": f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{result}"})


def _login_problem(scopes: tuple[str, ...]) -> str | None:
    query = request.args
    if query.get("response_type") != "code":
        return "response_type must be code"
    if query.get("client_id") != CLIENT_ID:
        return "client_id is unknown"
    if not query.get("redirect_uri", "").startswith(("http://", "https://")):
        return "redirect_uri must be the application's http address"
    if query.get("code_challenge_method", "S256") != "S256":
        return "code_challenge_method must be S256"
    if unknown := set(scopes) - set(SCOPES) - {"publicData"}:
        return f"scopes do not exist: {' '.join(sorted(unknown))}"
    return None


def _token(state: SandboxState) -> Response:
    grant_type = request.form.get("grant_type", "")
    # The real SSO responds like this to a body that is not form-encoded or has a wrong client id (sso-issues #72).
    if request.mimetype != FORM or not _is_known_client() or grant_type not in ("refresh_token", "authorization_code"):
        raise _SsoError(400, "invalid_grant", f"Grant type {grant_type or 'refresh_token'} is not supported.")
    try:
        if grant_type == "authorization_code":
            grant = state.grants.redeem(request.form.get("code", ""), request.form.get("code_verifier"))
        else:
            scopes = tuple(request.form.get("scope", "").split())
            grant = state.grants.refresh(request.form.get("refresh_token", ""), scopes)
    except DeadGrant as error:
        raise _SsoError(400, error.error, str(error)) from error
    except NotGranted as error:
        raise _SsoError(400, "invalid_scope", str(error)) from error
    current().character_id = grant.character.character_id
    current().new_refresh_token = grant.refresh_token
    tokens = _tokens(state, grant)
    current().access_token = str(tokens["access_token"])
    return as_json(tokens, headers={"Cache-Control": "no-store"})


def _is_known_client() -> bool:
    """Return whether the client id is ours; raises the SSO's 401 for a wrong id or secret in the header."""
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if not kind:
        return request.form.get("client_id") == CLIENT_ID
    try:
        given = base64.b64decode(credentials, validate=True) if kind.lower() == "basic" else b""
    except binascii.Error:
        given = b""
    if not hmac.compare_digest(given, f"{CLIENT_ID}:{CLIENT_SECRET}".encode()):
        raise _SsoError(401, "invalid_client", "Client authentication failed.")
    return True


def _tokens(state: SandboxState, grant: Grant) -> dict[str, object]:
    fault = current().fault
    access_token = state.signer.sign(
        issuer=_issuer(),
        client_id=CLIENT_ID,
        character_id=grant.character.character_id,
        name=grant.character.name,
        owner=state.grants.owner(grant.character),
        scopes=grant.scopes,
        variation=fault.token if fault else None,
    )
    return {
        "access_token": access_token,
        "expires_in": LIFETIME_S - 1,
        "token_type": "Bearer",
        "refresh_token": grant.refresh_token,
    }
