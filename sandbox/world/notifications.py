"""Notifications, with texts in the game's YAML, and contact notifications."""

from __future__ import annotations

import random

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso
from .universe import CONCORD, NEARBY_SYSTEMS, PEND_INSURANCE

RETENTION_DAYS = 45
ROWS_PER_DAY = {"trader": (0, 2), "miner": (0, 3), "industrialist": (1, 4), "hunter": (1, 4), "explorer": (0, 2)}


def notifications(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/notifications`: without pages, newest first."""
    since_s = now_s - RETENTION_DAYS * DAY
    rows: list[Row] = []
    for day in reversed(days_until(now_s, RETENTION_DAYS)):
        rng = draw(world.seed, "notifications", character.index, day)
        times = sorted(rng.sample(range(DAY), rng.randint(*ROWS_PER_DAY[character.profession])), reverse=True)
        first_id = 1_500_000_000 + ((day - 18_000) * 4096 + character.index) * 8
        for index, second in enumerate(times):
            row = _notification(character, first_id + len(times) - index, rng)
            sent_s, read_after_s = day * DAY + second, rng.randrange(30 * HOUR)
            if since_s <= sent_s <= now_s:
                rows.append(row | {"is_read": now_s >= sent_s + read_after_s, "timestamp": iso(sent_s)})
    return rows


def contact_notifications(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/notifications/contacts`: who added the character to their contacts, newest first."""
    rng = draw(world.seed, "contacts", character.index)
    rows: list[Row] = []
    for index in range(rng.randrange(6)):
        sent_s = character.birthday_s + rng.randrange(60 * DAY, 900 * DAY)
        row: Row = {
            "message": rng.choice(("", "Good trade, thank you", "You still owe me for the Drake")),
            "notification_id": 900_000_000 + (sent_s - character.birthday_s) // 60 * 8 + index,
            "send_date": iso(sent_s),
            "sender_character_id": rng.choice(world.characters).character_id,
            "standing_level": rng.choice((-10.0, -5.0, 0.0, 5.0, 10.0)),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: str(row["send_date"]), reverse=True)


def _notification(character: Character, notification_id: int, rng: random.Random) -> Row:
    kind, sender_id, sender_type, text = rng.choice(
        (
            ("InsurancePayoutMsg", PEND_INSURANCE, "corporation", f"amount: {rng.randrange(10**7)}.0\npayout: 1\n"),
            ("BountyClaimMsg", CONCORD, "corporation", f"amount: {rng.randrange(10**8)}.0\ncharID: null\n"),
            ("CloneActivationMsg2", CONCORD, "corporation", f"cloneStationID: {character.home.station_id}\n"),
            ("CorpAllBillMsg", character.corporation_id, "corporation", "amount: 24000000\nbillTypeID: 2\n"),
            (
                "StructureUnderAttack",
                character.corporation_id,
                "corporation",
                f"allianceID: 99010002\nshieldPercentage: 94.2\nsolarsystemID: {rng.choice(NEARBY_SYSTEMS)}\n"
                "structureID: &id001 1028858195912\nstructureLink: *id001\n",
            ),
            (
                "KillReportVictim",
                CONCORD,
                "corporation",
                f"killMailID: {rng.randrange(10**8)}\nvictimShipTypeID: 621\n",
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
