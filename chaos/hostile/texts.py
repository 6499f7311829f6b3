"""Hostile texts that some parser, encoder or terminal misreads, as names, ids, keys, log fields and settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ..fuzz_material import TEXTS as PARAMETER_TEXTS

#: Texts that some reader takes for an end, a separator, a path, a pattern, a command or a secret.
TEXTS: Sequence[str] = [
    *PARAMETER_TEXTS,
    *("/", "//", "/first", "last/", ".", "..", "../../etc/passwd", "%2F", "%00", "%", "%zz", "a?b#c", "a&b;c"),
    *("a b", "\t", "\n", "a\nb", "a\r\nb: c", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x7f", "\x85", "\u2028"),
    *("\ud800", "a\udfffb", "\udcff", "\ufeffbom", "\u200b", "\u202eevil\u202c", "e\u0301", "İ", "ß", "ﬃ", "﷽"),
    *("é" * 199, "é" * 200, "é" * 201, "𐀀" * 100, "x" * 201, "x" * 5_000, "{" * 300, "\\" * 300, '"' * 300),
    *("{queue}", "}{", "{a}:jobs", "nomad:{hostile}", "schedule:x", "schedule:", "hostile", "-", "--", "-x", "--help"),
    *("%s %d %(name)s", "{0.__class__}", "{}{}", "$(id)", "`id`", "${jndi:x}", "{{7*7}}", "<b>&amp;", "]]>", "#"),
    *('"', "'", "\\", 'key="value" other=', "event=forged level=critical", "a=b=c", "=", "\\u0000", "\\ud800", "a\\"),
    *("password=hunter2", "Bearer " + "A" * 43, "https://user:secret@host/?token=abc", "-----BEGIN PRIVATE KEY-----"),
    *("None", "NaN", "Infinity", "-0", "0.0", "1e400", "9" * 5_000, "1" * 20, "+1", "１２", "Ⅷ", "0b1", "1,5", "yes"),
]
#: Characters to insert.
_SHARP = "\x00\x01\t\n\r\x1b\"'\\/%{}[]()<>&=,;:@#?*|$` \x7f\x85\xa0\u2028\u202e\ud800\udfff\ufffe𐀀é\u0301"
_LONG = (199, 200, 201, 255, 256, 1_023, 16_000, 70_000)


def text(draw: random.Random) -> str:
    """Return a hostile text, mostly a short one."""
    return draw.choices((_known, _joined, _pierced, _random, _long), (6, 2, 3, 2, 1))[0](draw)


def word(draw: random.Random, right: Sequence[str], *, wrong: float = 0.3) -> str:
    """Return a valid word, or with the probability `wrong` a hostile text or an almost valid word."""
    if draw.random() >= wrong:
        return draw.choice(right)
    return text(draw) if draw.random() < 0.7 else pierce(draw, draw.choice(right))


def pierce(draw: random.Random, original: str) -> str:
    """Return a text with one part removed, doubled or replaced by a hostile character."""
    at = draw.randint(0, len(original))
    rest = draw.choice((original[at:], original[at + 1 :], original[at - 1 :] if at else original))
    return original[:at] + draw.choice(("", draw.choice(_SHARP), draw.choice(TEXTS)[:40])) + rest


def _known(draw: random.Random) -> str:
    return draw.choice(TEXTS)


def _joined(draw: random.Random) -> str:
    return draw.choice(TEXTS)[:300] + draw.choice(TEXTS)[:300]


def _pierced(draw: random.Random) -> str:
    return pierce(draw, draw.choice(TEXTS)[:300])


def _random(draw: random.Random) -> str:
    pick: Callable[[], int] = draw.choice(
        (lambda: draw.randrange(0x110000), lambda: draw.randrange(0x100), lambda: draw.randrange(0xD700, 0xE100))
    )
    return "".join(chr(pick()) for _ in range(draw.randint(0, 30)))


def _long(draw: random.Random) -> str:
    part = draw.choice(TEXTS)[:50] or "x"
    length = draw.choice(_LONG)
    return (part * (length // len(part) + 1))[:length]
