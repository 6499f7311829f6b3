"""The tables of history: rows of ESI, events made from their changes, and which time is proven complete.

Every row from ESI is keyed by its character and its natural key: the same journal id is in both parties' journals, so a
key across all characters would lose one of them. `extra` contains fields from ESI that have no column.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, String, Table, Text

from .columns import Counter, JsonObject, character_key, metadata
from .isk import Isk


def _response() -> tuple[Column[str], Column[str]]:
    """Return the columns that name the response of ESI from which an event was made; NULL before schema 0006."""
    return Column("route", String(200)), Column("request_id", Text)


#: One entry of a character's wallet journal; ESI shows 30 days of them.
wallet_journal = Table(
    "wallet_journal",
    metadata,
    character_key(),
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
    Column("extra", JsonObject),
    Index(None, "character_id", "date_ms", "id"),
)

#: One purchase or sale; `journal_ref_id` is the id of its row in the journal.
wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    character_key(),
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
    Column("extra", JsonObject),
    Index(None, "character_id", "date_ms", "transaction_id"),
)

#: One market order as last seen.
market_orders = Table(
    "market_orders",
    metadata,
    character_key(),
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
    Column("extra", JsonObject),
    Index(None, "character_id", "issued_ms", "order_id"),
)

#: One change of a market order: placed, changed, partly_filled, filled, cancelled, expired, closed, reopened.
order_events = Table(
    "order_events",
    metadata,
    Column("event_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("order_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_response(),
    # What changed: {"price": [old, new], …}
    Column("changes", JsonObject),
    Index(None, "character_id", "order_id"),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: One industry job as last seen; ESI shows 90 days.
industry_jobs = Table(
    "industry_jobs",
    metadata,
    character_key(),
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
    Column("extra", JsonObject),
    Index(None, "character_id", "start_ms", "job_id"),
)

#: One change of an industry job's status; `old_status` is null when it was first seen.
industry_job_events = Table(
    "industry_job_events",
    metadata,
    Column("event_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("job_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("old_status", String(40)),
    Column("new_status", String(40), nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_response(),
    Index(None, "character_id", "job_id"),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: One skill of a character as last seen.
skill_levels = Table(
    "skill_levels",
    metadata,
    character_key(),
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
    Column("event_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("skill_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("skillpoints_delta", BigInteger, nullable=False),
    Column("level_delta", BigInteger, nullable=False),
    Column("trained_level", BigInteger, nullable=False),
    Column("inferred", Boolean, nullable=False),
    *_response(),
    Index(None, "character_id", "at_ms", "event_id"),
)

#: A character's skillpoints each time they changed.
skill_totals = Table(
    "skill_totals",
    metadata,
    character_key(),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("total_sp", BigInteger, nullable=False),
    Column("unallocated_sp", BigInteger, nullable=False),
)

#: Which time of one data type of a character is proven complete: from the first time to before the second one, except
#: its holes.
history_coverage = Table(
    "history_coverage",
    metadata,
    character_key(),
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
    Column("hole_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("data_type", String(40), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    # retention, set_aside, balance (the amounts do not lead from one balance to the next), unseen (filled orders)
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
    Column("entry_id", Counter, primary_key=True),
    character_key(is_key=False),
    Column("data_type", String(40), nullable=False),
    # The row's id in its table.
    Column("row_id", BigInteger, nullable=False),
    Column("field", String(60), nullable=False),
    # As in JSON; NULL if the field was missing.
    Column("old_value", Text),
    Column("new_value", Text),
    Column("corrected_ms", BigInteger, nullable=False),
    *_response(),
    Index(None, "character_id", "data_type", "row_id"),
)
