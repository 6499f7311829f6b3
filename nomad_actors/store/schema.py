"""The tables. Times are milliseconds since the Unix epoch, UTC; ISK are doubles, as ESI sends them.

Every row that comes from ESI has the natural key of its kind within its character: the same journal id
stands in both parties' journals, so a key over all characters would lose one of them. `extra` keeps fields
that ESI sent and no column knows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Double, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite counts only a column of type INTEGER up by itself.
_Counter = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """The base of all tables; constraints have names, so that a migration can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own protocol
        int: BigInteger,
        float: Double,
        str: Text,
        bool: Boolean,
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON,
    }


def _character(*, index: bool = False) -> Mapped[int]:
    return mapped_column(ForeignKey("characters.character_id"), primary_key=not index, autoincrement=False)


class Character(Base):
    """One character that logged in once; never deleted because a token died."""

    __tablename__ = "characters"

    character_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int]
    name: Mapped[str]
    #: Changes when the character is sold.
    owner_hash: Mapped[str]
    scopes: Mapped[list[str]]
    #: active, needs_login
    state: Mapped[str] = mapped_column(String(20))
    state_reason: Mapped[str | None]
    state_changed_ms: Mapped[int]
    created_ms: Mapped[int]


class Login(Base):
    """A character's tokens, encrypted, and what is known about their health."""

    __tablename__ = "logins"

    character_id: Mapped[int] = _character()
    refresh_token: Mapped[str]
    access_token: Mapped[str | None]
    access_expires_ms: Mapped[int | None]
    #: Counts up with every change of the tokens; a writer names the one it read.
    version: Mapped[int]
    refreshed_ms: Mapped[int]
    #: Times that SSO called the refresh token dead, and the first and last of them.
    strikes: Mapped[int]
    first_strike_ms: Mapped[int | None]
    last_strike_ms: Mapped[int | None]
    #: Who is refreshing now, and until when nobody else may.
    flight: Mapped[str | None]
    flight_until_ms: Mapped[int | None]


class Document(Base):
    """ESI's last whole answer for one route of one character."""

    __tablename__ = "documents"

    character_id: Mapped[int] = _character()
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    #: JSON, made to text before the transaction.
    body_json: Mapped[str]
    pages: Mapped[int]


class SyncState(Base):
    """How current one route of one character is; written with the data, in one transaction."""

    __tablename__ = "sync_state"
    __table_args__ = (Index(None, "next_due_ms"),)

    character_id: Mapped[int] = _character()
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    etag: Mapped[str | None]
    last_modified: Mapped[str | None]
    #: CCP's freshness: before it ends nothing is sent.
    fresh_until_ms: Mapped[int | None]
    #: When ESI's data was as it is here.
    as_of_ms: Mapped[int | None]
    #: The last success (200 or 304).
    synced_ms: Mapped[int | None]
    #: Whether every row of the document is in the history tables; false after a collection with dates.
    rows_complete: Mapped[bool]
    attempted_ms: Mapped[int | None]
    failures: Mapped[int]
    error: Mapped[str | None]
    request_id: Mapped[str | None]
    #: Our interval: when, and how urgently, to ask again.
    next_due_ms: Mapped[int]
    due_priority: Mapped[int | None] = mapped_column(Integer)
    #: When somebody other than the schedule last asked for it.
    asked_ms: Mapped[int | None]
    #: When the schedule last enqueued it.
    queued_ms: Mapped[int | None]


class WalletJournal(Base):
    """One entry of a character's wallet journal; ESI shows 30 days of them."""

    __tablename__ = "wallet_journal"
    __table_args__ = (Index(None, "character_id", "date_ms"),)

    character_id: Mapped[int] = _character()
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    date_ms: Mapped[int]
    ref_type: Mapped[str]
    description: Mapped[str]
    amount: Mapped[float | None]
    balance: Mapped[float | None]
    context_id: Mapped[int | None]
    context_id_type: Mapped[str | None]
    first_party_id: Mapped[int | None]
    second_party_id: Mapped[int | None]
    reason: Mapped[str | None]
    tax: Mapped[float | None]
    tax_receiver_id: Mapped[int | None]
    extra: Mapped[dict[str, Any] | None]


class WalletTransaction(Base):
    """One purchase or sale; `journal_ref_id` is the id of its row in the journal."""

    __tablename__ = "wallet_transactions"
    __table_args__ = (Index(None, "character_id", "date_ms"),)

    character_id: Mapped[int] = _character()
    transaction_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    date_ms: Mapped[int]
    client_id: Mapped[int]
    is_buy: Mapped[bool]
    is_personal: Mapped[bool]
    journal_ref_id: Mapped[int]
    location_id: Mapped[int]
    quantity: Mapped[int]
    type_id: Mapped[int]
    unit_price: Mapped[float]
    extra: Mapped[dict[str, Any] | None]


class MarketOrder(Base):
    """One market order, as it was when last seen."""

    __tablename__ = "market_orders"

    character_id: Mapped[int] = _character()
    order_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: open, cancelled, expired (as ESI says, or inferred), filled (always inferred: ESI just drops the order)
    state: Mapped[str] = mapped_column(String(20))
    inferred: Mapped[bool]
    #: The first answer without it, while it is not known what became of it.
    missing_since_ms: Mapped[int | None]
    #: Which data this row was last written from; older answers do not change it.
    as_of_ms: Mapped[int]
    issued_ms: Mapped[int]
    duration: Mapped[int]
    is_buy_order: Mapped[bool]
    is_corporation: Mapped[bool]
    location_id: Mapped[int]
    region_id: Mapped[int]
    type_id: Mapped[int]
    price: Mapped[float]
    range: Mapped[str]
    volume_remain: Mapped[int]
    volume_total: Mapped[int]
    min_volume: Mapped[int | None]
    escrow: Mapped[float | None]
    extra: Mapped[dict[str, Any] | None]


class OrderEvent(Base):
    """One change of a market order: placed, changed, partly_filled, filled, cancelled, expired, reopened."""

    __tablename__ = "order_events"
    __table_args__ = (Index(None, "character_id", "order_id"),)

    event_id: Mapped[int] = mapped_column(_Counter, primary_key=True)
    character_id: Mapped[int] = _character(index=True)
    order_id: Mapped[int]
    at_ms: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    inferred: Mapped[bool]
    #: What changed: {"price": [old, new], …}
    changes: Mapped[dict[str, Any] | None]


class IndustryJob(Base):
    """One industry job, as it was when last seen; ESI shows 90 days."""

    __tablename__ = "industry_jobs"

    character_id: Mapped[int] = _character()
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: active, paused, ready, delivered, cancelled, reverted; parsed openly
    status: Mapped[str] = mapped_column(String(40))
    as_of_ms: Mapped[int]
    activity_id: Mapped[int]
    blueprint_id: Mapped[int]
    blueprint_location_id: Mapped[int]
    blueprint_type_id: Mapped[int]
    duration: Mapped[int]
    facility_id: Mapped[int]
    installer_id: Mapped[int]
    output_location_id: Mapped[int]
    runs: Mapped[int]
    station_id: Mapped[int]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    pause_ms: Mapped[int | None]
    completed_ms: Mapped[int | None]
    completed_character_id: Mapped[int | None]
    cost: Mapped[float | None]
    licensed_runs: Mapped[int | None]
    probability: Mapped[float | None]
    product_type_id: Mapped[int | None]
    successful_runs: Mapped[int | None]
    extra: Mapped[dict[str, Any] | None]


class IndustryJobEvent(Base):
    """One change of an industry job's status; `old_status` is null when it was first seen."""

    __tablename__ = "industry_job_events"
    __table_args__ = (Index(None, "character_id", "job_id"),)

    event_id: Mapped[int] = mapped_column(_Counter, primary_key=True)
    character_id: Mapped[int] = _character(index=True)
    job_id: Mapped[int]
    at_ms: Mapped[int]
    old_status: Mapped[str | None] = mapped_column(String(40))
    new_status: Mapped[str] = mapped_column(String(40))


class SkillLevel(Base):
    """One skill of a character, as it was when last seen."""

    __tablename__ = "skill_levels"

    character_id: Mapped[int] = _character()
    skill_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    active_level: Mapped[int]
    trained_level: Mapped[int]
    skillpoints: Mapped[int]
    as_of_ms: Mapped[int]


class SkillEvent(Base):
    """One change of a skill; deltas are signed, for extraction takes skillpoints away."""

    __tablename__ = "skill_events"
    __table_args__ = (Index(None, "character_id", "at_ms"),)

    event_id: Mapped[int] = mapped_column(_Counter, primary_key=True)
    character_id: Mapped[int] = _character(index=True)
    skill_id: Mapped[int]
    at_ms: Mapped[int]
    skillpoints_delta: Mapped[int]
    level_delta: Mapped[int]
    trained_level: Mapped[int]


class SkillTotal(Base):
    """A character's skillpoints each time that they differed from before."""

    __tablename__ = "skill_totals"

    character_id: Mapped[int] = _character()
    at_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    total_sp: Mapped[int]
    unallocated_sp: Mapped[int]


class AuditEntry(Base):
    """One change that somebody asked the admin for, or one request that it refused."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index(None, "source", "at_ms"),
        Index(None, "refused", "entry_id"),
        Index(None, "at_ms"),
        Index(None, "queue", "entry_id"),
        Index(None, "job_id", "entry_id"),
    )

    entry_id: Mapped[int] = mapped_column(_Counter, primary_key=True)
    at_ms: Mapped[int]
    request_id: Mapped[str] = mapped_column(String(64))
    #: A token's name, the uid of whoever ran `nomad`, or empty when nobody was recognised.
    actor: Mapped[str] = mapped_column(String(120))
    role: Mapped[str] = mapped_column(String(20))
    peer: Mapped[str] = mapped_column(String(80))
    #: Whose tries are counted together: the address, of IPv6 its /64.
    source: Mapped[str] = mapped_column(String(64))
    method: Mapped[str] = mapped_column(String(16))
    path: Mapped[str]
    #: The path's pattern, as the OpenAPI document has it; None where no endpoint has the path, and before schema 0003.
    endpoint: Mapped[str | None] = mapped_column(String(120))
    queue: Mapped[str | None] = mapped_column(String(300))
    job_id: Mapped[str | None] = mapped_column(String(300))
    schedule: Mapped[str | None] = mapped_column(String(300))
    body: Mapped[str | None]
    #: Of the body as it came; None where it was not read, or holds a token.
    body_bytes: Mapped[int | None]
    body_sha256: Mapped[str | None] = mapped_column(String(64))
    refused: Mapped[bool]
    #: Why it was refused, in a word; None for a change that was let through.
    reason: Mapped[str | None] = mapped_column(String(20))
    #: None while it is not known how the change ended.
    ended_ms: Mapped[int | None]
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]


class AdminSession(Base):
    """One login in a browser. Only its hash is kept of what the browser shows."""

    __tablename__ = "admin_sessions"

    #: SHA-256 of the cookie's value.
    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_name: Mapped[str] = mapped_column(String(40))
    #: The token's SHA-256: the session ends with it.
    token_digest: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(20))
    #: The one-time link that began it; no link begins two.
    link: Mapped[str | None] = mapped_column(String(64), unique=True)
    created_ms: Mapped[int]
    seen_ms: Mapped[int]
    expires_ms: Mapped[int] = mapped_column(index=True)
    ended_ms: Mapped[int | None]


class RevokedToken(Base):
    """One token of the admin that counts no longer, wherever it is still configured."""

    __tablename__ = "admin_revoked_tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    revoked_ms: Mapped[int]
    by: Mapped[str] = mapped_column(String(120))
