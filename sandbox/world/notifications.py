"""Notifications, with their text in the game's YAML, and contact notifications."""

from __future__ import annotations

import random

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso
from .universe import CONCORD, NEARBY_SYSTEMS, PEND_INSURANCE

KEPT_DAYS = 45
ROWS_A_DAY = {"trader": (0, 2), "miner": (0, 3), "industrialist": (1, 4), "hunter": (1, 4), "explorer": (0, 2)}


def notifications(world: World, character: Character, now_s: int) -> list[Row]:
    """Answer `/notifications`: one answer without pages, newest first."""
    since_s = now_s - KEPT_DAYS * DAY
    rows: list[Row] = []
    for day in reversed(days_until(now_s, KEPT_DAYS)):
        luck = draw(world.seed, "notifications", character.index, day)
        times = sorted(luck.sample(range(DAY), luck.randint(*ROWS_A_DAY[character.profession])), reverse=True)
        first_id = 1_500_000_000 + ((day - 18_000) * 4096 + character.index) * 8
        for place, second in enumerate(times):
            row = _notification(character, first_id + len(times) - place, luck)
            sent_s, read_after_s = day * DAY + second, luck.randrange(30 * HOUR)
            if since_s <= sent_s <= now_s:
                rows.append(row | {"is_read": now_s >= sent_s + read_after_s, "timestamp": iso(sent_s)})
    return rows


def contact_notifications(world: World, character: Character, now_s: int) -> list[Row]:
    """Answer `/notifications/contacts`: who added the character to their contacts, newest first."""
    luck = draw(world.seed, "contacts", character.index)
    rows: list[Row] = []
    for place in range(luck.randrange(6)):
        sent_s = character.birthday_s + luck.randrange(60 * DAY, 900 * DAY)
        row: Row = {
            "message": luck.choice(("", "Good trade, thank you", "You still owe me for the Drake")),
            "notification_id": 900_000_000 + (sent_s - character.birthday_s) // 60 * 8 + place,
            "send_date": iso(sent_s),
            "sender_character_id": luck.choice(world.characters).character_id,
            "standing_level": luck.choice((-10.0, -5.0, 0.0, 5.0, 10.0)),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: str(row["send_date"]), reverse=True)


def _notification(character: Character, notification_id: int, luck: random.Random) -> Row:
    kind, sender_id, sender_type, text = luck.choice(
        (
            ("InsurancePayoutMsg", PEND_INSURANCE, "corporation", f"amount: {luck.randrange(10**7)}.0\npayout: 1\n"),
            ("BountyClaimMsg", CONCORD, "corporation", f"amount: {luck.randrange(10**8)}.0\ncharID: null\n"),
            ("CloneActivationMsg2", CONCORD, "corporation", f"cloneStationID: {character.home.station_id}\n"),
            ("CorpAllBillMsg", character.corporation_id, "corporation", "amount: 24000000\nbillTypeID: 2\n"),
            (
                "StructureUnderAttack",
                character.corporation_id,
                "corporation",
                f"allianceID: 99010002\nshieldPercentage: 94.2\nsolarsystemID: {luck.choice(NEARBY_SYSTEMS)}\n"
                "structureID: &id001 1028858195912\nstructureLink: *id001\n",
            ),
            (
                "KillReportVictim",
                CONCORD,
                "corporation",
                f"killMailID: {luck.randrange(10**8)}\nvictimShipTypeID: 621\n",
            ),
        )
    )
    return {
        "notification_id": notification_id,
        "sender_id": sender_id,
        "sender_type": sender_type,
        "text": text,
        "type": kind,
    }
