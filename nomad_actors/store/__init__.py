"""The database: characters, encrypted tokens, ESI's documents and the history derived from them."""

from __future__ import annotations

from .audit import Audit, AuditedRequest, AuditEntry
from .cipher import TokenCipher, UndecryptableToken
from .documents import ONLINE, Documents, OverdueRoute, RouteState
from .history import Changes, Snapshot, UnexpectedRow
from .login_keys import ACTIVE
from .logins import NEEDS_LOGIN, Character, Login, LoginChanged, Logins
from .new_logins import NewLogin
from .ownership import SOLD, Handover
from .sessions import AdminSession, AdminSessions, LinkUsed
from .store import Store

__all__ = [
    "ACTIVE",
    "NEEDS_LOGIN",
    "ONLINE",
    "SOLD",
    "AdminSession",
    "AdminSessions",
    "Audit",
    "AuditEntry",
    "AuditedRequest",
    "Changes",
    "Character",
    "Documents",
    "Handover",
    "LinkUsed",
    "Login",
    "LoginChanged",
    "Logins",
    "NewLogin",
    "OverdueRoute",
    "RouteState",
    "Snapshot",
    "Store",
    "TokenCipher",
    "UndecryptableToken",
    "UnexpectedRow",
]
