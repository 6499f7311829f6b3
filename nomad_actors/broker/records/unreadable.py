"""Records in Redis that this release cannot read: what each one is, why, and how to remove it.

Such a record is reported and does not affect others, because readers skip it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read or, without a field, a key."""

    kind: str
    #: Its queue; '' if it belongs to none.
    queue: str
    key: str
    field: bytes
    why: str

    @property
    def name(self) -> str:
        """The record's id as text, even if its bytes are not UTF-8."""
        return self.field.decode(errors="backslashreplace") or self.key

    @property
    def found(self) -> str:
        """The problem, in one sentence."""
        of = f" of queue {self.queue}" if self.queue else ""
        return f"{self.kind} {self.name!r}{of} cannot be read: {self.why}"

    def removal(self, cli: str) -> str:
        """Return the command that removes it, for any shell; `cli` calls `redis-cli` for this Redis."""
        key = shlex.quote(self.key)
        if not self.field:
            return f"{cli} UNLINK {key}"
        if not self.field.isascii() or not self.name.isprintable():
            # Lua writes each byte by its number; shells differ in this, and standard input may be used for a password.
            field = "".join(f"\\{byte:03d}" for byte in self.field)
            return f"""{cli} EVAL 'return redis.call("HDEL",KEYS[1],"{field}")' 1 {key}"""
        return f"{cli} HDEL {key} {shlex.quote(self.name)}"
