"""The demo's load: saved logins, then jobs of all types, added through the public functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import requests

from nomad_actors import (
    App,
    Priority,
    cleanup_cache,
    collect_all_historical_data,
    collect_historical_data,
    refresh_character_data,
    refresh_character_token,
    refresh_esi_data,
)
from nomad_actors.jobs.esi_check import ESI_CHECK, EsiCheckPayload
from nomad_actors.store import Character

GROUPS = ("CHARACTER_OVERVIEW", "CHARACTER_WALLET", "CHARACTER_SKILLS", "CHARACTER_MARKET", "CHARACTER_INDUSTRY")
#: Characters whose complete history is collected; for the others, only the wallet's.
COMPLETE_HISTORIES = 3


def save_logins(app: App, sandbox_url: str) -> list[Character]:
    """Save a login of each of the sandbox's characters; return the characters."""
    response = requests.get(f"{sandbox_url}/sandbox/logins", timeout=10)
    response.raise_for_status()
    for login in response.json():
        app.store.logins.save(
            character_id=login["character_id"],
            user_id=login["user_id"],
            name=login["name"],
            owner_hash=login["owner_hash"],
            scopes=login["scopes"],
            refresh_token=login["refresh_token"],
        )
    return app.store.logins.characters()


def add_first_jobs(characters: list[Character]) -> None:
    """Add jobs of every type for every character, like the first hour of an installation."""
    for number, character in enumerate(characters):
        ids = (character.character_id, character.user_id)
        refresh_character_token(*ids, Priority.CRITICAL if number == 0 else Priority.HIGH)
        refresh_character_data(*ids, GROUPS, requested_by="user" if number < 2 else "system")
        if number < COMPLETE_HISTORIES:
            collect_all_historical_data(*ids)
        else:
            collect_historical_data(*ids, "wallet_journal")
    cleanup_cache("expired")
    cleanup_cache("lru", max_size=10_000)
    ESI_CHECK.enqueue(EsiCheckPayload())


def steady_load(characters: list[Character]) -> Iterator[None]:
    """Add a job at each step, character by character, without end."""
    for character in itertools.cycle(characters):
        refresh_esi_data(
            character.character_id,
            character.user_id,
            "/characters/{character_id}/wallet",
            skip_cache=True,
            requested_by="user",
        )
        yield
        refresh_character_data(character.character_id, character.user_id, ["CHARACTER_OVERVIEW"])
        yield
