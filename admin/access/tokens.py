"""Which tokens count: those that are configured, else the one of this machine; and not those that were revoked."""

from __future__ import annotations

from nomad_actors import logs
from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import AdminToken
from nomad_actors.store import local_token

from ..parts import application, memory

logger = logs.get_logger("admin")


def known_tokens() -> tuple[AdminToken, ...]:
    """Return the entries that count, read anew each time: the machine's own token may be replaced."""
    settings = application().settings
    if settings.admin_tokens:
        return settings.admin_tokens
    token = own_token()
    return () if token is None else (local_token.entry_of(token),)


def own_token() -> str | None:
    """Return the token of this machine; None where tokens are configured, or it cannot be read."""
    settings = application().settings
    if settings.admin_tokens:
        return None
    try:
        return local_token.read_token(settings.var_dir)
    except local_token.NoLocalToken as error:
        logger.error("nobody can log in", error=str(error))
        return None


def is_revoked(token: AdminToken) -> bool:
    """Return whether a token was revoked; while the database is away, whether this process has heard of it."""
    try:
        revoked = application().store.admin_sessions.is_revoked(token.digest)
    except Unavailable:
        return token.digest in memory().revoked
    if revoked:
        memory().revoked.add(token.digest)
    return revoked
