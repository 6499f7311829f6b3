"""Removes a character: its refresh token at SSO, and everything in the database, the cache and the queues.

The order makes it repeatable after a crash at any point. The database follows the token, since it has the token; from
then on no job can save anything. The cache is last, because a job that ended meanwhile may have filled it.
"""

from __future__ import annotations

import time

import redis

from ..broker.states import Action, State, allowed_names
from ..errors import NomadError, Unavailable
from ..esi import EsiCache, SsoClient
from ..esi.limits import Limiter
from ..esi.unsaved_tokens import UnsavedTokens
from ..queues import Queues
from ..queues.queue import Queue
from ..queues.search import JobFilter
from ..response_model import ResponseModel
from ..store import Store
from ..store.ownership import count_rows, delete_rows
from .saving import lift_brakes

#: How long running jobs have to end after they were cancelled.
MAX_WAIT_SECONDS = 10.0
_FIELD = "character_id"
_PAGE = 200


class Removal(ResponseModel):
    """What was removed of a character, or in a dry run would be."""

    character_id: int
    dry_run: bool
    #: Whether SSO revoked the refresh token; None if there was none, and in a dry run.
    token_revoked: bool | None
    #: Why it could not be revoked.
    token_error: str | None
    #: By table.
    rows: dict[str, int]
    cached_documents: int
    #: By queue.
    jobs: dict[str, int]
    #: Jobs that were cancelled and have not ended yet.
    running_jobs: int

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing of this character."""
        return not (self.rows or self.cached_documents or self.jobs or self.running_jobs)


class CharacterRemover:
    """Counts and removes everything that is kept of one character.

    Its methods raise `Unavailable` if the database, the queues or the cache do not answer; they can be repeated.
    """

    def __init__(
        self,
        *,
        store: Store,
        queues: Queues,
        cache: EsiCache,
        sso: SsoClient,
        limiter: Limiter,
        unsaved_tokens: UnsavedTokens,
    ) -> None:
        self._store = store
        self._queues = queues
        self._cache = cache
        self._sso = sso
        self._limiter = limiter
        self._unsaved_tokens = unsaved_tokens

    def count(self, character_id: int) -> Removal:
        """Return what `remove` would remove."""
        chosen = _jobs_of(character_id)
        counts = {queue.name: queue.count(chosen)[0] for queue in self._queues_with_characters()}
        return Removal(
            character_id=character_id,
            dry_run=True,
            token_revoked=None,
            token_error=None,
            rows=count_rows(self._store.database, character_id),
            cached_documents=self._clean_cache(character_id, dry_run=True),
            jobs={name: count for name, count in counts.items() if count},
            running_jobs=0,
        )

    def remove(self, character_id: int) -> Removal:
        """Remove everything; a token that cannot be revoked at SSO does not stop that."""
        revoked, problem = self._revoke(character_id)
        rows = delete_rows(self._store.database, character_id)
        for tokens in (self._unsaved_tokens, UnsavedTokens(self._limiter.client, "doubtful")):
            tokens.drop(character_id)
        jobs, running = self._remove_jobs(character_id)
        documents = self._clean_cache(character_id, dry_run=False)
        lift_brakes(self._limiter, [character_id])
        return Removal(
            character_id=character_id,
            dry_run=False,
            token_revoked=revoked,
            token_error=problem,
            rows=rows,
            cached_documents=documents,
            jobs=jobs,
            running_jobs=running,
        )

    def _revoke(self, character_id: int) -> tuple[bool | None, str | None]:
        try:
            login = self._store.logins.get(character_id)
            if login is None:
                return None, None
            sealed = self._unsaved_tokens.get(character_id, login.refresh_token)
            self._sso.revoke(login.refresh_token if sealed is None else self._store.logins.unseal(character_id, sealed))
        except Unavailable:
            raise
        except NomadError as error:
            return False, str(error)
        return True, None

    def _clean_cache(self, character_id: int, *, dry_run: bool) -> int:
        try:
            return self._cache.clean_character(character_id, dry_run=dry_run).keys
        except redis.RedisError as error:
            raise Unavailable(f"the ESI cache does not answer: {error}; repeat the command") from error

    def _queues_with_characters(self) -> list[Queue]:
        found = map(self._queues.get_queue, self._queues.names())
        return [queue for queue in found if any(_FIELD in each.indexed for each in queue.job_types)]

    def _remove_jobs(self, character_id: int) -> tuple[dict[str, int], int]:
        """Cancel the running jobs, and remove all; return how many by queue, and how many still run."""
        removed: dict[str, int] = {}
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            running = 0
            for queue in self._queues_with_characters():
                _act(queue, "cancel", _jobs_of(character_id, State.ACTIVE.value))
                # Before the others are removed: a job that ends in between is among those.
                running += len(queue.find(_jobs_of(character_id, State.ACTIVE.value), limit=_PAGE).jobs)
                count = _act(queue, "remove", _jobs_of(character_id, *allowed_names(Action.REMOVE)))
                removed[queue.name] = removed.get(queue.name, 0) + count
            if not running or time.monotonic() > deadline:
                return {name: count for name, count in removed.items() if count}, running
            time.sleep(0.2)


def _jobs_of(character_id: int, *states: str) -> JobFilter:
    return JobFilter(states=states, fields={_FIELD: str(character_id)})


def _act(queue: Queue, action: str, chosen: JobFilter) -> int:
    """Return how many jobs were changed."""
    total, cursor = 0, None
    while True:
        done, _, cursor = queue.act_on_page(
            action, chosen, limit=_PAGE, cursor=cursor, reason="its character is removed"
        )
        total += done
        if cursor is None:
            return total
