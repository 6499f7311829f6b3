"""Records in Redis that this release cannot read: what each is, why, and how to get rid of it.

One such record is shown as what it is and spoils nothing else; whoever reads records skips it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One record, or (without a field) one whole key, that cannot be read."""

    kind: str
    #: Its queue; '' for what belongs to none.
    queue: str
    key: str
    field: bytes
    why: str

    @property
    def name(self) -> str:
        """The record's id as text, whatever its bytes are."""
        return self.field.decode(errors="backslashreplace") or self.key

    @property
    def found(self) -> str:
        """What is wrong, in one sentence."""
        of = f" of queue {self.queue}" if self.queue else ""
        return f"{self.kind} {self.name!r}{of} cannot be read: {self.why}"

    def removal(self, cli: str) -> str:
        """Return the command that removes it, for any shell; `cli` is how `redis-cli` is called for this Redis."""
        key = shlex.quote(self.key)
        if not self.field:
            return f"{cli} UNLINK {key}"
        if not self.field.isascii() or not self.name.isprintable():
            # Lua knows each byte by its number; a shell's own ways differ, and standard input may be for a password.
            field = "".join(f"\\{byte:03d}" for byte in self.field)
            return f"""{cli} EVAL 'return redis.call("HDEL",KEYS[1],"{field}")' 1 {key}"""
        return f"{cli} HDEL {key} {shlex.quote(self.name)}"
