"""The valid tokens: the configured ones, else this machine's own token; without revoked ones."""

from __future__ import annotations

from nomad_actors import logs
from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import AdminToken
from nomad_actors.store import local_token

from ..current_app import application, memory

logger = logs.get_logger("admin")


def known_tokens() -> tuple[AdminToken, ...]:
    """Return the valid entries; reads the machine's own token each time, since it may be replaced."""
    settings = application().settings
    if settings.admin_tokens:
        return settings.admin_tokens
    token = own_token()
    return () if token is None else (local_token.entry_of(token),)


def own_token() -> str | None:
    """Return this machine's own token; None if tokens are configured or it cannot be read."""
    settings = application().settings
    if settings.admin_tokens:
        return None
    try:
        return local_token.read_token(settings.var_dir)
    except local_token.NoLocalToken as error:
        logger.error("nobody can log in", error=str(error))
        return None


def is_revoked(token: AdminToken) -> bool:
    """Return True if a token was revoked; while the database is unavailable, if this process knows of it."""
    try:
        revoked = application().store.admin_sessions.is_revoked(token.digest)
    except Unavailable:
        return token.digest in memory().revoked
    if revoked:
        memory().revoked.add(token.digest)
    return revoked
