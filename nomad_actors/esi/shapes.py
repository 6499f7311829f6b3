"""What each route's body is, from CCP's OpenAPI document (compatibility date 2026-07-17): fields and their types.

`?` marks optional fields. Enumerations are texts, so that a new value is accepted. We differ from CCP in these:
a mail must have its id, by which the listing is read, an order's state and a job's status must fit their columns, and
so must the differences of skill levels and skillpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .checks import Check, ListOf, ObjectOf, date, flag, integer, isk, natural, number, short_text, text, time

_KINDS: Mapping[str, Check] = {
    "integer": integer,
    "natural": natural,
    "number": number,
    "isk": isk,
    "flag": flag,
    "text": text,
    "time": time,
}


def _object(more: Mapping[str, Check] | None = None, **names_by_kind: str) -> ObjectOf:
    checks = {name: _KINDS[kind] for kind, names in names_by_kind.items() for name in names.split()}
    checks.update(more or {})
    required = {name: check for name, check in checks.items() if not name.startswith("?")}
    return ObjectOf(required, {name[1:]: check for name, check in checks.items() if name.startswith("?")})


def _rows(more: Mapping[str, Check] | None = None, **names_by_kind: str) -> ListOf:
    return ListOf(_object(more, **names_by_kind))


_ORDER = {
    "integer": "duration location_id ?min_volume order_id region_id type_id volume_remain volume_total",
    "isk": "?escrow price",
    "flag": "?is_buy_order is_corporation",
    "text": "range",
    "time": "issued",
}

#: The body of each route, by the part of its path below the character's.
SHAPES: Mapping[str, Check] = MappingProxyType(
    {
        "": _object(
            integer="achievement_score ?alliance_id bloodline_id corporation_id ?faction_id race_id",
            number="?security_status",
            text="?character_title_id ?corporation_title ?description gender name",
            time="birthday",
        ),
        "/location": _object(integer="solar_system_id ?station_id ?structure_id"),
        "/ship": _object(integer="ship_item_id ship_type_id", text="ship_name"),
        "/corporationhistory": _rows(integer="corporation_id record_id", flag="?is_deleted", time="start_date"),
        "/online": _object(flag="online", integer="?logins", time="?last_login ?last_logout"),
        "/clones": _object(
            {
                "?home_location": _object(integer="?location_id", text="?location_type"),
                "jump_clones": _rows(
                    {"implants": ListOf(integer)}, integer="jump_clone_id location_id", text="location_type ?name"
                ),
            },
            time="?last_clone_jump_date ?last_station_change_date",
        ),
        "/implants": ListOf(integer),
        "/wallet": isk,
        "/wallet/journal": _rows(
            integer="id ?context_id ?first_party_id ?second_party_id ?tax_receiver_id",
            isk="?amount ?balance ?tax",
            text="?context_id_type description ?reason ref_type",
            time="date",
        ),
        "/wallet/transactions": _rows(
            integer="client_id journal_ref_id location_id quantity transaction_id type_id",
            isk="unit_price",
            flag="is_buy is_personal",
            time="date",
        ),
        "/loyalty/points": _rows(integer="corporation_id loyalty_points"),
        "/skills": _object(
            {
                "skills": _rows(
                    integer="skill_id", natural="active_skill_level skillpoints_in_skill trained_skill_level"
                )
            },
            natural="total_sp ?unallocated_sp",
        ),
        "/skillqueue": _rows(
            integer="finished_level ?level_end_sp ?level_start_sp queue_position skill_id ?training_start_sp",
            time="?finish_date ?start_date",
        ),
        "/attributes": _object(
            integer="?bonus_remaps charisma intelligence memory perception willpower",
            time="?accrued_remap_cooldown_date ?last_remap_date",
        ),
        "/assets": _rows(
            integer="item_id location_id quantity type_id",
            flag="?is_blueprint_copy is_singleton",
            text="location_flag location_type",
        ),
        "/blueprints": _rows(
            integer="item_id location_id material_efficiency quantity runs time_efficiency type_id",
            text="location_flag",
        ),
        "/industry/jobs": _rows(
            {"status": short_text(40)},
            integer="activity_id blueprint_id blueprint_location_id blueprint_type_id ?completed_character_id duration "
            "facility_id installer_id job_id ?licensed_runs output_location_id ?product_type_id runs station_id "
            "?successful_runs",
            isk="?cost",
            number="?probability",
            time="?completed_date end_date ?pause_date start_date",
        ),
        "/mining": _rows({"date": date}, integer="quantity solar_system_id type_id"),
        "/orders": _rows(None, **_ORDER),
        "/orders/history": _rows({"state": short_text(20)}, **_ORDER),
        "/mail": _rows(
            {
                "?labels": ListOf(integer),
                "?recipients": _rows(integer="recipient_id", text="recipient_type"),
            },
            integer="?from mail_id",
            flag="?is_read",
            text="?subject",
            time="?timestamp",
        ),
        "/mail/labels": _object(
            {"?labels": _rows(integer="?label_id ?unread_count", text="?color ?name")}, integer="?total_unread_count"
        ),
        "/mail/lists": _rows(integer="mailing_list_id", text="name"),
        "/notifications": _rows(
            integer="notification_id sender_id", flag="?is_read", text="sender_type ?text type", time="timestamp"
        ),
        "/notifications/contacts": _rows(
            integer="notification_id sender_character_id", number="standing_level", text="message", time="send_date"
        ),
    }
)
