"""A refresh token is revoked at SSO, and no error about that contains it."""

from __future__ import annotations

import traceback

import pytest
import requests

from nomad_actors.clock import ManualClock
from nomad_actors.esi import DeadLogin, NotSent, SsoClient, SsoMisconfigured, SsoUnavailable
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.limits.brakes import sso_down
from sandbox.serve import SandboxServer

from .conftest import Reply, Scripted

TOKEN = "a-refresh-token-that-nobody-may-see"
PATH = "/v2/oauth/revoke"


def test_a_revoked_token_is_dead_and_may_be_revoked_twice(sso: SsoClient, sandbox: SandboxServer) -> None:
    token = sandbox.logins()[0]["refresh_token"]
    sso.revoke(token)
    sso.revoke(token)
    with pytest.raises(DeadLogin):
        sso.refresh(token)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "invalid_client"}, SsoMisconfigured),
        (400, {"error": "invalid_request", "error_description": f"bad token {TOKEN}"}, SsoUnavailable),
        (503, {}, SsoUnavailable),
        (302, {}, SsoUnavailable),
    ],
)
def test_what_is_no_200_is_an_error_without_the_token(
    http: requests.Session,
    scripted: Scripted,
    clock: ManualClock,
    limiter: Limiter,
    status: int,
    body: dict[str, str],
    error: type[Exception],
) -> None:
    client = SsoClient(
        http, base_url=scripted.base_url, client_id="ours", client_secret="s", clock=clock, limiter=limiter
    )
    scripted.reply_with(PATH, Reply(status=status, body=body))
    with pytest.raises(error) as caught:
        client.revoke(TOKEN)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    (received,) = [each for each in scripted.received if each.path == PATH]
    assert TOKEN not in received.path
    assert limiter.state().sso_under_way == 0


def test_nothing_is_sent_while_sso_is_braked(sso: SsoClient, limiter: Limiter, sandbox: SandboxServer) -> None:
    limiter.brake(sso_down("SSO answered 503", retry_after_seconds=None))
    with pytest.raises(NotSent):
        sso.revoke(sandbox.logins()[0]["refresh_token"])
    assert sandbox.requests(PATH) == []
