"""The tables. Times are milliseconds since the Unix epoch, UTC; ISK are exact decimals with two places.

Every row from ESI is keyed by its character and its natural key: the same journal id is in both parties' journals, so a
key across all characters would lose one of them. `extra` contains fields from ESI that have no column.

Tables, not mapped classes: nothing here needs SQLAlchemy's ORM, and mapping took a quarter of every program's start.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from .isk import Isk

#: The newest migration, which results in these tables.
REVISION = "0006"
#: Constraints have names, so that a migration can change them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite increments only columns of type INTEGER automatically.
_Counter = BigInteger().with_variant(Integer, "sqlite")
#: An object, or NULL.
_Object = JSON(none_as_null=True)


def _character(*, is_key: bool = True) -> Column[int]:
    return Column(
        "character_id",
        BigInteger,
        ForeignKey("characters.character_id"),
        primary_key=is_key,
        nullable=False,
        autoincrement=False,
    )


def _source() -> tuple[Column[str], Column[str]]:
    """Return the columns that name the response of ESI from which an event was made; NULL before schema 0006."""
    return Column("route", String(200)), Column("request_id", Text)


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
    _character(),
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
    _character(),
    Column("route", String(200), primary_key=True),
    # JSON, compressed if it is long (packed_body.py).
    Column("body_json", LargeBinary, nullable=False),
    Column("pages", BigInteger, nullable=False),
)

#: The sync state of one route of one character; written in one transaction with the data.
sync_state = Table(
    "sync_state",
    metadata,
    _character(),
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
    Column("entry_id", _Counter, primary_key=True),
    _character(is_key=False),
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
    _character(),
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

#: One entry of a character's wallet journal; ESI shows 30 days of them.
wallet_journal = Table(
    "wallet_journal",
    metadata,
    _character(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("date_ms", BigInteger, nullable=False),
    Column("ref_type", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("amount", Isk),
    Column("balance", Isk),
    Column("context_id", BigInteger),
    Column("context_id_type", Text),
    Column("first_party_id", BigInteger),
    Column("second_party_id", BigInteger),
    Column("reason", Text),
    Column("tax", Isk),
    Column("tax_receiver_id", BigInteger),
    Column("extra", _Object),
    Index(None, "character_id", "date_ms", "id"),
)

#: One purchase or sale; `journal_ref_id` is the id of its row in the journal.
wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    _character(),
    Column("transaction_id", BigInteger, primary_key=True, autoincrement=False),
    Column("date_ms", BigInteger, nullable=False),
    Column("client_id", BigInteger, nullable=False),
    Column("is_buy", Boolean, nullable=False),
    Column("is_personal", Boolean, nullable=False),
    Column("journal_ref_id", BigInteger, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("type_id", BigInteger, nullable=False),
    Column("unit_price", Isk, nullable=False),
    Column("extra", _Object),
    Index(None, "character_id", "date_ms", "transaction_id"),
)

#: One market order as last seen.
market_orders = Table(
    "market_orders",
    metadata,
    _character(),
    Column("order_id", BigInteger, primary_key=True, autoincrement=False),
    # open, cancelled, expired (from ESI or inferred), filled (always inferred: ESI just drops the order), closed
    # (always inferred: ESI was asked too late to know how)
    Column("state", String(20), nullable=False),
    Column("inferred", Boolean, nullable=False),
    # The first response without it, while its outcome is unknown.
    Column("missing_since_ms", BigInteger),
    # The time of the data in this row; older responses do not change it.
    Column("as_of_ms", BigInteger, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("duration", BigInteger, nullable=False),
    Column("is_buy_order", Boolean, nullable=False),
    Column("is_corporation", Boolean, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("region_id", BigInteger, nullable=False),
    Column("type_id", BigInteger, nullable=False),
    Column("price", Isk, nullable=False),
    Column("range", Text, nullable=False),
    Column("volume_remain", BigInteger, nullable=False),
    Column("volume_total", BigInteger, nullable=False),
    Column("min_volume", BigInteger),
    Column("escrow", Isk),
    Column("extra", _Object),
    Index(None, "character_id", "issued_ms", "order_id"),
)

#: One change of a market order: placed, changed, partly_filled, filled, cancelled, expired, closed, reopened.
order_events = Table(
    "order_events",
    metadata,
    Column("event_id", _Counter, primary_key=True),
    _character(is_key=False),
    Column("order_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_source(),
    # What changed: {"price": [old, new], …}
    Column("changes", _Object),
    Index(None, "character_id", "order_id"),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: One industry job as last seen; ESI shows 90 days.
industry_jobs = Table(
    "industry_jobs",
    metadata,
    _character(),
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    # active, paused, ready, delivered, cancelled, reverted; other values are allowed
    Column("status", String(40), nullable=False),
    # Whether the status is a conclusion: ready, because the end has passed.
    Column("inferred", Boolean, nullable=False),
    Column("as_of_ms", BigInteger, nullable=False),
    Column("activity_id", BigInteger, nullable=False),
    Column("blueprint_id", BigInteger, nullable=False),
    Column("blueprint_location_id", BigInteger, nullable=False),
    Column("blueprint_type_id", BigInteger, nullable=False),
    Column("duration", BigInteger, nullable=False),
    Column("facility_id", BigInteger, nullable=False),
    Column("installer_id", BigInteger, nullable=False),
    Column("output_location_id", BigInteger, nullable=False),
    Column("runs", BigInteger, nullable=False),
    Column("station_id", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("pause_ms", BigInteger),
    Column("completed_ms", BigInteger),
    Column("completed_character_id", BigInteger),
    Column("cost", Isk),
    Column("licensed_runs", BigInteger),
    Column("probability", Double),
    Column("product_type_id", BigInteger),
    Column("successful_runs", BigInteger),
    Column("extra", _Object),
    Index(None, "character_id", "start_ms", "job_id"),
)

#: One change of an industry job's status; `old_status` is null when it was first seen.
industry_job_events = Table(
    "industry_job_events",
    metadata,
    Column("event_id", _Counter, primary_key=True),
    _character(is_key=False),
    Column("job_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("old_status", String(40)),
    Column("new_status", String(40), nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_source(),
    Index(None, "character_id", "job_id"),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: One skill of a character as last seen.
skill_levels = Table(
    "skill_levels",
    metadata,
    _character(),
    Column("skill_id", BigInteger, primary_key=True, autoincrement=False),
    Column("active_level", BigInteger, nullable=False),
    Column("trained_level", BigInteger, nullable=False),
    Column("skillpoints", BigInteger, nullable=False),
    Column("as_of_ms", BigInteger, nullable=False),
)

#: One change of a skill; deltas are signed, because extraction removes skillpoints.
skill_events = Table(
    "skill_events",
    metadata,
    Column("event_id", _Counter, primary_key=True),
    _character(is_key=False),
    Column("skill_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("skillpoints_delta", BigInteger, nullable=False),
    Column("level_delta", BigInteger, nullable=False),
    Column("trained_level", BigInteger, nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_source(),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: A character's skillpoints each time they changed.
skill_totals = Table(
    "skill_totals",
    metadata,
    _character(),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("total_sp", BigInteger, nullable=False),
    Column("unallocated_sp", BigInteger, nullable=False),
)

#: Which time of one data type of a character is proven complete: from the first time to before the second one, except
#: its holes.
history_coverage = Table(
    "history_coverage",
    metadata,
    _character(),
    # wallet_journal, wallet_transactions, market_orders, industry_jobs, skill_history
    Column("data_type", String(40), primary_key=True),
    Column("complete_since_ms", BigInteger, nullable=False),
    Column("complete_until_ms", BigInteger, nullable=False),
    # The last response, or set of pages, that was read to its end without a row set aside.
    Column("complete_read_ms", BigInteger),
)

#: One span of time, both ends included, in which rows of a data type are missing or may be.
history_holes = Table(
    "history_holes",
    metadata,
    Column("hole_id", _Counter, primary_key=True),
    _character(is_key=False),
    Column("data_type", String(40), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    # retention, set_aside, balance (the amounts do not lead from one balance to the next)
    Column("cause", String(20), nullable=False),
    # What was found, for people: ids, amounts, reasons.
    Column("details", Text, nullable=False),
    Column("found_ms", BigInteger, nullable=False),
    Index(None, "character_id", "data_type", "from_ms"),
)

#: One value that ESI changed in a row that never changes; the row has the new value.
history_corrections = Table(
    "history_corrections",
    metadata,
    Column("entry_id", _Counter, primary_key=True),
    _character(is_key=False),
    Column("data_type", String(40), nullable=False),
    # The row's id in its table.
    Column("row_id", BigInteger, nullable=False),
    Column("field", String(60), nullable=False),
    # As in JSON; NULL if the field was missing.
    Column("old_value", Text),
    Column("new_value", Text),
    Column("corrected_ms", BigInteger, nullable=False),
    *_source(),
    Index(None, "character_id", "data_type", "row_id"),
)

#: One change requested from the admin, or one request that it refused.
audit_log = Table(
    "audit_log",
    metadata,
    Column("entry_id", _Counter, primary_key=True),
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
