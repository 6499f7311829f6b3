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

    @property
    def fix(self) -> str:
        """The command that removes it."""
        if not self.field:
            return f"redis-cli UNLINK {shlex.quote(self.key)}"
        if not self.field.isascii() or not self.name.isprintable():
            escaped = "".join(f"\\x{byte:02x}" for byte in self.field)
            return f"printf 'HDEL %s \"%s\"' {shlex.quote(self.key)} {shlex.quote(escaped)} | redis-cli"
        return f"redis-cli HDEL {shlex.quote(self.key)} {shlex.quote(self.name)}"
