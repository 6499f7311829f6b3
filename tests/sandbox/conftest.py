"""A sandbox with a frozen clock, and a logged-in character."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import requests

from sandbox.clock import SandboxClock
from sandbox.grants import CLIENT_ID, CLIENT_SECRET
from sandbox.serve import SandboxServer
from sandbox.world.characters import World

# 2026-11-23 17:00:00 UTC, a Monday evening.
NOW_S = 1_795_453_200
CHARACTERS = 10


class Visitor:
    """A client for one character, with an access token."""

    def __init__(self, server: SandboxServer, number: int) -> None:
        self._server = server
        login = server.logins()[number]
        self.character_id = cast(int, login["character_id"])
        self.refresh_token = cast(str, login["refresh_token"])
        self.profession = cast(str, login["profession"])
        self.renew()

    def renew(self) -> None:
        """Get a new access token and refresh token."""
        response = refresh(self._server, self.refresh_token)
        assert response.status_code == 200, response.text
        self.refresh_token = response.json()["refresh_token"]
        self.access_token = response.json()["access_token"]

    def get(self, path: str, *, headers: dict[str, str] | None = None, **query: Any) -> requests.Response:
        """Request a path below the character's."""
        return self.request(f"/characters/{self.character_id}{path}", headers=headers, **query)

    def request(self, path: str, *, headers: dict[str, str] | None = None, **query: Any) -> requests.Response:
        """Request any path."""
        authorization = {"Authorization": f"Bearer {self.access_token}"}
        return requests.get(
            self._server.base_url + path, params=query, headers=authorization | (headers or {}), timeout=10
        )

    def post(self, path: str, body: object) -> requests.Response:
        """Post JSON to a path below the character's."""
        return requests.post(
            f"{self._server.base_url}/characters/{self.character_id}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.access_token}"},
            timeout=10,
        )


def refresh(server: SandboxServer, refresh_token: str, **form: str) -> requests.Response:
    """Request new tokens from the SSO."""
    return requests.post(
        f"{server.base_url}/v2/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": refresh_token, **form},
        auth=(CLIENT_ID, CLIENT_SECRET),
        timeout=10,
    )


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A sandbox for this test, with a frozen clock that the test advances."""
    with SandboxServer(seed=7, characters=CHARACTERS, clock=SandboxClock(frozen_at_s=NOW_S), grace_s=0) as server:
        yield server


@pytest.fixture
def visit(sandbox: SandboxServer) -> Callable[[str], Visitor]:
    """`visit(profession)`: the first character of a profession, logged in."""
    professions = [login["profession"] for login in sandbox.logins()]
    return lambda profession: Visitor(sandbox, professions.index(profession))


@pytest.fixture
def trader(visit: Callable[[str], Visitor]) -> Visitor:
    """A trader, who has the longest listings."""
    return visit("trader")


@pytest.fixture(scope="session")
def world() -> World:
    """The simulated universe without a server."""
    return World(seed=7, characters=CHARACTERS)
