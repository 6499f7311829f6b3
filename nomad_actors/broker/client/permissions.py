"""Finds the commands that the broker needs and Redis refuses: not permitted to its user, renamed or missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from .. import keys
from ..errors import Refusal
from .link import Call, CallerLinks, refusal_of, unavailable

_PROBES = ("text", "hash", "plain", "count", "list", "sorted", "lex", "wake")
#: The plain commands that readers and waiters send, with arguments that change nothing.
_PLAIN: tuple[tuple[str, ...], ...] = (
    ("GET", "{text}"),
    ("HGETALL", "{hash}"),
    ("HVALS", "{hash}"),
    ("HDEL", "{hash}", "a"),
    ("HSET", "{plain}", "a", "1"),
    ("INCR", "{count}"),
    ("LINDEX", "{list}", "0"),
    ("ZRANGE", "{sorted}", "0", "0"),
    ("ZLEXCOUNT", "{lex}", "-", "+"),
    ("RPUSH", "{wake}", "1"),
    ("PEXPIRE", "{wake}", "10000"),
    ("BLPOP", "{wake}", "0.001"),
    ("UNLINK", "{plain}", "{count}", "{wake}"),
    ("TIME",),
)
#: Permanent refusals; a Redis that is full or loading is another finding.
_LASTING = (Refusal.PERMISSION, Refusal.COMMAND)


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """A command that the broker needs and Redis refuses, by `Refusal.PERMISSION` or `Refusal.COMMAND`."""

    name: str
    refusal: Refusal


def refused_in_words(refused: Sequence[RefusedCommand]) -> str:
    """Return the refused commands in one sentence."""
    kinds = {
        Refusal.PERMISSION: "Redis' user may not run {}, or not on our keys",
        Refusal.COMMAND: "Redis has no command {}: renamed or missing",
    }
    by_kind = {kind: ", ".join(each.name for each in refused if each.refusal is kind) for kind in kinds}
    return "; ".join(kinds[kind].format(names) for kind, names in by_kind.items() if names)


def refused_commands(links: CallerLinks, base: str) -> list[RefusedCommand]:
    """Return the commands that Redis refuses permanently, each once; `base` is the prefix of a queue's keys.

    Raises `RedisUnavailable`.
    """
    probes = {name: keys.PROBE.of(base, name) for name in _PROBES}
    commands = [[word.format(**probes) for word in command] for command in _PLAIN]
    failed, *plain_replies = links.attempt([Call("permissions", base), *commands])
    if isinstance(failed, ResponseError):
        if refusal_of(str(failed)) not in _LASTING:
            raise unavailable(failed) from failed
        replies = [("EVAL", str(failed))]
    else:
        replies = [(failed[i].decode(), failed[i + 1].decode(errors="replace")) for i in range(0, len(failed), 2)]
    replies += [
        (command[0], str(reply))
        for command, reply in zip(commands, plain_replies, strict=True)
        if isinstance(reply, ResponseError)
    ]
    found = {name: refusal for name, text in replies if (refusal := refusal_of(text)) and refusal in _LASTING}
    return [RefusedCommand(name, refusal) for name, refusal in sorted(found.items())]
