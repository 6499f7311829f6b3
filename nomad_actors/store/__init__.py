"""The database: characters, encrypted tokens, ESI's documents and the history derived from them."""

from __future__ import annotations

from .audit import Audit, AuditedRequest, AuditEntry
from .cipher import TokenCipher, UndecryptableToken
from .documents import ONLINE, Documents, OverdueRoute, RouteState
from .history import EVERYTHING, Changes, UnexpectedRow, Window
from .login_keys import ACTIVE, KeyIsLost
from .logins import NEEDS_LOGIN, Character, Login, LoginChanged
from .migrate import SchemaTooNew
from .sessions import AdminSession, AdminSessions, LinkUsed
from .store import Store

__all__ = [
    "ACTIVE",
    "EVERYTHING",
    "NEEDS_LOGIN",
    "ONLINE",
    "AdminSession",
    "AdminSessions",
    "Audit",
    "AuditEntry",
    "AuditedRequest",
    "Changes",
    "Character",
    "Documents",
    "KeyIsLost",
    "LinkUsed",
    "Login",
    "LoginChanged",
    "OverdueRoute",
    "RouteState",
    "SchemaTooNew",
    "Store",
    "TokenCipher",
    "UndecryptableToken",
    "UnexpectedRow",
    "Window",
]
