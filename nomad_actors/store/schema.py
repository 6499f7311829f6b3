"""The tables. Times are milliseconds since the Unix epoch, UTC; ISK are exact decimals with two places.

Tables, not mapped classes: nothing here needs SQLAlchemy's ORM, and mapping took a quarter of every program's start.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from .columns import Counter, character_key, metadata
from .history_tables import (
    history_corrections,
    history_coverage,
    history_holes,
    industry_job_events,
    industry_jobs,
    market_orders,
    order_events,
    skill_events,
    skill_levels,
    skill_totals,
    wallet_journal,
    wallet_transactions,
)

__all__ = [
    "REVISION",
    "admin_revoked_tokens",
    "admin_sessions",
    "audit_log",
    "characters",
    "documents",
    "history_corrections",
    "history_coverage",
    "history_holes",
    "industry_job_events",
    "industry_jobs",
    "listing_pages",
    "logins",
    "market_orders",
    "metadata",
    "order_events",
    "set_aside_rows",
    "skill_events",
    "skill_levels",
    "skill_totals",
    "sync_state",
    "wallet_journal",
    "wallet_transactions",
]

#: The newest migration, which results in these tables.
REVISION = "0006"

#: One character that has logged in at least once; never deleted because of a dead token.
characters = Table(
    "characters",
    metadata,
    Column("character_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    # Changes when the character is sold.
    Column("owner_hash", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    # active, needs_login; sold: what was kept for an earlier owner, under a negative id
    Column("state", String(20), nullable=False),
    Column("state_reason", Text),
    Column("state_changed_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # Since when the player is offline, by the last response of the route /online; NULL if online or unknown.
    Column("offline_since_ms", BigInteger),
    # The id that a sold character has in the game.
    Column("sold_id", BigInteger),
)

#: A character's encrypted tokens and their state.
logins = Table(
    "logins",
    metadata,
    character_key(),
    Column("refresh_token", Text, nullable=False),
    Column("access_token", Text),
    Column("access_expires_ms", BigInteger),
    # Incremented at every change of the tokens; a writer passes the version that it read.
    Column("version", BigInteger, nullable=False),
    Column("refreshed_ms", BigInteger, nullable=False),
    # How often SSO reported the refresh token as dead, and when first and last.
    Column("strikes", BigInteger, nullable=False),
    Column("first_strike_ms", BigInteger),
    Column("last_strike_ms", BigInteger),
    # Who is refreshing the login now, and until when no one else may.
    Column("flight", Text),
    Column("flight_until_ms", BigInteger),
)

#: ESI's last complete response for one route of one character.
documents = Table(
    "documents",
    metadata,
    character_key(),
    Column("route", String(200), primary_key=True),
    # JSON, compressed if it is long (packed_body.py).
    Column("body_json", LargeBinary, nullable=False),
    Column("pages", BigInteger, nullable=False),
)

#: The sync state of one route of one character; written in one transaction with the data.
sync_state = Table(
    "sync_state",
    metadata,
    character_key(),
    Column("route", String(200), primary_key=True),
    Column("etag", Text),
    Column("last_modified", Text),
    # CCP's freshness: no request is sent before it ends.
    Column("fresh_until_ms", BigInteger),
    # The time of ESI's data.
    Column("as_of_ms", BigInteger),
    # The last success (200 or 304).
    Column("synced_ms", BigInteger),
    Column("attempted_ms", BigInteger),
    Column("failures", BigInteger, nullable=False),
    Column("error", Text),
    Column("request_id", Text),
    # After a refusal by ESI (403, 404, lasting 500, …): until when it is not requested, and how many refusals in a row.
    Column("refused_until_ms", BigInteger),
    Column("refusals", BigInteger, nullable=False, server_default="0"),
    # By our interval: when, and how urgently, to request it again.
    Column("next_due_ms", BigInteger, nullable=False),
    Column("due_priority", Integer),
    # When it was last requested by something other than the schedule.
    Column("asked_ms", BigInteger),
    # When the repairing sweep last enqueued it.
    Column("queued_ms", BigInteger),
    # The last response that differed from the one before.
    Column("changed_ms", BigInteger),
    # Rows of the current document that are in `set_aside_rows` instead of the history.
    Column("set_aside", BigInteger, nullable=False, server_default="0"),
    Index(None, "next_due_ms"),
    # The list of characters shows each one's newest error, and few routes have one.
    Index(
        "ix_sync_state_errors",
        "character_id",
        sqlite_where=text("error IS NOT NULL"),
        postgresql_where=text("error IS NOT NULL"),
    ),
)

#: One row of a response that could not be stored, with the reason; the other rows of its response were.
set_aside_rows = Table(
    "set_aside_rows",
    metadata,
    Column("entry_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("route", String(200), nullable=False),
    # SHA-256 of the row, by which it is recognised in later responses.
    Column("digest", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    # The row as JSON with every character that a database rejects escaped, cut to 4,000 characters.
    Column("row_json", Text, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Index(None, "character_id", "route"),
    UniqueConstraint("character_id", "route", "digest"),
)

#: One response of a listing that is not read to its end; deleted when it is.
listing_pages = Table(
    "listing_pages",
    metadata,
    character_key(),
    Column("route", String(200), primary_key=True),
    # In the order of the requests, from 1.
    Column("page", BigInteger, primary_key=True, autoincrement=False),
    Column("body_json", LargeBinary, nullable=False),
    Column("etag", Text),
    Column("last_modified", Text),
    # X-Pages of this response.
    Column("pages", BigInteger, nullable=False),
    Column("fresh_until_ms", BigInteger, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
)

#: One change requested from the admin, or one request that it refused.
audit_log = Table(
    "audit_log",
    metadata,
    Column("entry_id", Counter, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("request_id", String(64), nullable=False),
    # A token's name, the uid of the user who ran `nomad`, or empty if unknown.
    Column("actor", String(120), nullable=False),
    Column("role", String(20), nullable=False),
    Column("peer", String(80), nullable=False),
    # Attempts are counted per source: the address, or the /64 of an IPv6 address.
    Column("source", String(64), nullable=False),
    Column("method", String(16), nullable=False),
    Column("path", Text, nullable=False),
    # The path's pattern as in the OpenAPI document; None if no endpoint has the path, and before schema 0003.
    Column("endpoint", String(120)),
    Column("queue", String(300)),
    Column("job_id", String(300)),
    Column("schedule", String(300)),
    Column("body", Text),
    # Of the body as received; None if it was not read or contains a token.
    Column("body_bytes", BigInteger),
    Column("body_sha256", String(64)),
    Column("refused", Boolean, nullable=False),
    # Why it was refused, in a word; None for an accepted change.
    Column("reason", String(20)),
    # None while the outcome of the change is unknown.
    Column("ended_ms", BigInteger),
    Column("status", Integer),
    Column("error", Text),
    Index(None, "at_ms"),
    Index(None, "job_id", "entry_id"),
    Index(None, "queue", "entry_id"),
    Index(None, "refused", "entry_id"),
    Index(None, "source", "at_ms"),
)

#: One login in a browser. Only the hash of the cookie's value is stored.
admin_sessions = Table(
    "admin_sessions",
    metadata,
    # SHA-256 of the cookie's value.
    Column("id_hash", String(64), primary_key=True),
    Column("token_name", String(40), nullable=False),
    # The token's SHA-256: the session ends with it.
    Column("token_digest", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    # The one-time link that started it; no link starts two.
    Column("link", String(64)),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Index(None, "expires_ms"),
    UniqueConstraint("link"),
)

#: One revoked token of the admin; it is invalid even where it is still configured.
admin_revoked_tokens = Table(
    "admin_revoked_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(40), nullable=False),
    Column("revoked_ms", BigInteger, nullable=False),
    Column("by", String(120), nullable=False),
)
