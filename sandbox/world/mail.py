"""Mail: headers, bodies, labels, mailing lists."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .characters import Character, World
from .draws import DAY, HOUR, Row, days_until, draw, iso

RETENTION_DAYS = 60
MAILS_PER_DAY = {"trader": (1, 4), "miner": (0, 3), "industrialist": (1, 4), "hunter": (0, 3), "explorer": (0, 2)}
LABELS = ((1, "Inbox", "#ffffff"), (2, "Sent", "#ffffff"), (4, "[Corp]", "#660066"), (8, "[Alliance]", "#0000fe"))
OWN_LABEL = (16, "Keep", "#00ff33")
LISTS = ((145_000_001, "Market watch"), (145_000_002, "Fleet calls"), (145_000_003, "Ore buyback"))
SUBJECTS = (
    "Re: courier contract to Amarr",
    "Fleet tonight 19:00",
    "Your buyback offer",
    "Structure fuel reminder",
    "Welcome to the corporation",
    "Price check please",
    "Moon extraction schedule",
    "Lost your Drake again?",
    "Tax rate changes on Monday",
    "Looking for a ride to highsec",
)


@dataclass(frozen=True)
class Mail:
    """One mail; it is read some hours after it arrived, or never."""

    mail_id: int
    sent_s: int
    read_s: int | None
    sender_id: int
    recipient_id: int
    recipient_type: str
    subject: str
    labels: tuple[int, ...]


def mail_headers(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/mail` without its limit of 50: all headers, newest first."""
    return [_header(mail, now_s) for mail in _mails(world, character, now_s)]


def mail_body(world: World, character: Character, now_s: int, mail_id: int) -> Row | None:
    """Return `/mail/{mail_id}`, or None if the character has no such mail."""
    for mail in _mails(world, character, now_s):
        if mail.mail_id == mail_id:
            header = _header(mail, now_s)
            body: Row = {name: header[name] for name in ("from", "labels", "recipients", "subject", "timestamp")}
            text = f'<font size="12" color="#bfffffff">Hello {character.name},<br>{mail.subject}.<br>Fly safe</font>'
            return body | {"read": header["is_read"], "body": text}
    return None


def mail_labels(world: World, character: Character, now_s: int) -> Row:
    """Return `/mail/labels` with the number of unread mails of each label."""
    unread = [mail for mail in _mails(world, character, now_s) if not _is_read(mail, now_s)]
    rows = [
        {
            "color": color,
            "label_id": label_id,
            "name": name,
            "unread_count": sum(label_id in mail.labels for mail in unread),
        }
        for label_id, name, color in (*LABELS, OWN_LABEL)
    ]
    return {"labels": rows, "total_unread_count": len(unread)}


def mail_lists(world: World, character: Character, now_s: int) -> list[Row]:
    """Return `/mail/lists`."""
    rng = draw(world.seed, "lists", character.index)
    subscribed = sorted(rng.sample(LISTS, rng.randint(1, len(LISTS))))
    return [{"mailing_list_id": list_id, "name": name} for list_id, name in subscribed]


def _mails(world: World, character: Character, now_s: int) -> list[Mail]:
    since_s = now_s - RETENTION_DAYS * DAY
    mails = [mail for day in days_until(now_s, RETENTION_DAYS) for mail in _sent_on(world, character, day)]
    return [mail for mail in reversed(mails) if since_s <= mail.sent_s <= now_s]


def _sent_on(world: World, character: Character, day: int) -> list[Mail]:
    def make() -> list[Mail]:
        rng = draw(world.seed, "mail", character.index, day)
        times = sorted(rng.sample(range(DAY), rng.randint(*MAILS_PER_DAY[character.profession])))
        return [_mail(world, character, day, index, times[index], rng) for index in range(len(times))]

    return world.once(("mail", character.index, day), make)


def _mail(world: World, character: Character, day: int, index: int, second: int, rng: random.Random) -> Mail:
    sent_s = day * DAY + second
    sent_by_self = rng.random() < 0.2
    other = rng.choice(world.characters).character_id if rng.random() < 0.5 else 91_000_000 + rng.randrange(99_999)
    to_corporation = not sent_by_self and rng.random() < 0.3
    recipient_type = "corporation" if to_corporation else "character"
    recipient_id = character.corporation_id if to_corporation else other if sent_by_self else character.character_id
    labels = (2,) if sent_by_self else (4,) if to_corporation else (1,)
    return Mail(
        mail_id=380_000_000 + ((day - 18_000) * 4096 + character.index) * 8 + index,
        sent_s=sent_s,
        read_s=sent_s if sent_by_self else None if rng.random() < 0.1 else sent_s + rng.randrange(60, 20 * HOUR),
        sender_id=character.character_id if sent_by_self else other,
        recipient_id=recipient_id,
        recipient_type=recipient_type,
        subject=rng.choice(SUBJECTS),
        labels=(*labels, OWN_LABEL[0]) if rng.random() < 0.1 else labels,
    )


def _is_read(mail: Mail, now_s: int) -> bool:
    return mail.read_s is not None and mail.read_s <= now_s


def _header(mail: Mail, now_s: int) -> Row:
    return {
        "from": mail.sender_id,
        "is_read": _is_read(mail, now_s),
        "labels": list(mail.labels),
        "mail_id": mail.mail_id,
        "recipients": [{"recipient_id": mail.recipient_id, "recipient_type": mail.recipient_type}],
        "subject": mail.subject,
        "timestamp": iso(mail.sent_s),
    }
