"""The views for reading by SQL; their names, columns and types are a contract that migrations keep.

docs/data.md describes every column. Both databases have the same columns: times are also numbers (`…_ms`), which have
indexes, and ISK also integers of hundredths (`…_hundredths`), because SQLite has no exact decimals.
A column may be added, at the end; another change needs views with a new prefix beside these. What is secret is in none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import Unusable
from . import schema
from .isk import Isk


@dataclass(frozen=True)
class View:
    """One view: its fields, each from the first of `tables` that has it; the others are joined by character and route.

    A field is a column's name; that of a time is without `_ms`, and may end with `_date` as in ESI, or with `_time`.
    """

    name: str
    tables: tuple[sa.Table, ...]
    fields: tuple[str, ...]

    def columns(self, *, is_sqlite: bool) -> Iterator[tuple[str, str]]:
        """Yield the names of the columns and their SQL."""
        for field in self.fields:
            column = self._column(field)
            sql = f'{column.table.name}."{column.name}"'
            if column.name.endswith("_ms"):
                yield field, _time(sql, is_sqlite)
                yield f"{field}_ms", sql
            elif isinstance(column.type, Isk):
                yield field, f"{sql} / 100.0" if is_sqlite else sql
                yield f"{field}_hundredths", sql if is_sqlite else f"({sql} * 100)::bigint"
            else:
                yield field, sql

    def statement(self, *, is_sqlite: bool) -> str:
        """Return the SQL that creates the view."""
        columns = ", ".join(f'{sql} AS "{name}"' for name, sql in self.columns(is_sqlite=is_sqlite))
        first, *others = (table.name for table in self.tables)
        joins = "".join(f" LEFT JOIN {other} USING (character_id, route)" for other in others)
        return f"CREATE VIEW {self.name} AS SELECT {columns} FROM {first}{joins}"

    def _column(self, field: str) -> sa.Column[object]:
        names = (field, f"{field}_ms", f"{field.removesuffix('_date').removesuffix('_time')}_ms")
        return next(table.c[name] for table in self.tables for name in names if name in table.c)


def _view(name: str, table: sa.Table, fields: str, *joined: sa.Table) -> View:
    return View(name, (table, *joined), tuple(fields.split()))


VIEWS = (
    _view(
        "v1_characters",
        schema.characters,
        "character_id user_id name state state_reason state_changed created offline_since sold_id",
    ),
    _view(
        "v1_journal",
        schema.wallet_journal,
        "character_id id date ref_type amount balance description context_id context_id_type first_party_id "
        "second_party_id reason tax tax_receiver_id extra",
    ),
    _view(
        "v1_transactions",
        schema.wallet_transactions,
        "character_id transaction_id date type_id quantity unit_price is_buy is_personal client_id location_id "
        "journal_ref_id extra",
    ),
    _view(
        "v1_orders",
        schema.market_orders,
        "character_id order_id state inferred issued duration is_buy_order type_id price volume_remain volume_total "
        "min_volume escrow range location_id region_id is_corporation missing_since as_of extra",
    ),
    _view(
        "v1_order_events",
        schema.order_events,
        "character_id event_id order_id at kind inferred changes route request_id",
    ),
    _view(
        "v1_industry_jobs",
        schema.industry_jobs,
        "character_id job_id status inferred activity_id blueprint_id blueprint_type_id product_type_id runs "
        "licensed_runs successful_runs probability cost duration start_date end_date pause_date completed_date "
        "completed_character_id installer_id facility_id station_id blueprint_location_id output_location_id as_of "
        "extra",
    ),
    _view(
        "v1_industry_job_events",
        schema.industry_job_events,
        "character_id event_id job_id at old_status new_status inferred route request_id",
    ),
    _view("v1_skills", schema.skill_levels, "character_id skill_id trained_level active_level skillpoints as_of"),
    _view(
        "v1_skill_events",
        schema.skill_events,
        "character_id event_id skill_id at skillpoints_delta level_delta trained_level inferred route request_id",
    ),
    _view("v1_skill_totals", schema.skill_totals, "character_id at total_sp unallocated_sp"),
    _view(
        "v1_documents",
        schema.documents,
        "character_id route pages as_of fresh_until synced changed etag failures error set_aside",
        schema.sync_state,
    ),
    _view("v1_coverage", schema.history_coverage, "character_id data_type complete_since complete_until complete_read"),
    _view("v1_holes", schema.history_holes, "character_id hole_id data_type from_time until_time cause details found"),
    _view(
        "v1_corrections",
        schema.history_corrections,
        "character_id entry_id data_type row_id field old_value new_value corrected route request_id",
    ),
    _view(
        "v1_set_aside_rows",
        schema.set_aside_rows,
        "character_id entry_id route reason row_json first_seen last_seen",
    ),
)


@dataclass(frozen=True)
class Grants:
    """Who may read which view besides its owner: PostgreSQL forgets it with the view."""

    readers: tuple[tuple[str, str], ...] = ()

    def restore(self, connection: Connection) -> None:
        """Let the same roles read the views that still exist."""
        names = {view.name for view in VIEWS}
        for view, role in self.readers:
            if view in names:
                connection.exec_driver_sql(f"GRANT SELECT ON {view} TO {role}")


def drop_views(connection: Connection) -> Grants:
    """Remove the views, so that a migration can change the tables; return who may read them.

    Raises `Unusable` if something that is not ours depends on them.
    """
    if connection.dialect.name == "sqlite":
        for view in VIEWS:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
        return Grants()
    grants = _grants(connection)
    try:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {', '.join(view.name for view in VIEWS)}")
    except sa.exc.InternalError as error:
        # Its hint, CASCADE, would drop what is not ours.
        dependents = getattr(error.orig, "diag").message_detail or str(error.orig)  # noqa: B009 - no type of a driver
        raise Unusable(
            f"the views v1_… cannot be replaced by those of this release: {', '.join(dependents.splitlines())}",
            "drop what depends on them, start this program, and create it again",
        ) from error
    return grants


def create_views(connection: Connection, grants: Grants) -> None:
    """Create the views on the migrated tables."""
    is_sqlite = connection.dialect.name == "sqlite"
    for view in VIEWS:
        connection.exec_driver_sql(view.statement(is_sqlite=is_sqlite))
    grants.restore(connection)


def _grants(connection: Connection) -> Grants:
    query = """
        SELECT relname, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace AND starts_with(relname, 'v1_')
          AND privilege_type = 'SELECT' AND grantee <> relowner
    """
    return Grants(tuple((row[0], row[1]) for row in connection.exec_driver_sql(query)))


def _time(milliseconds: str, is_sqlite: bool) -> str:
    if is_sqlite:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {milliseconds} / 1000.0, 'unixepoch')"
    # Not to_timestamp(), which takes a double.
    return f"TIMESTAMPTZ 'epoch' + {milliseconds} * INTERVAL '1 millisecond'"
