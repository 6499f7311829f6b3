"""A directory of Redis' files: which server programs read it, and which of its files none would.

An append-only server that does not find the append-only file of its own kind begins empty, without a word: an older
release beside the files of Redis 7, any release beside a snapshot alone.
"""

from __future__ import annotations

from pathlib import Path

from .local_redis import server_version

_OLD_FILE = "appendonly.aof"
#: Redis 7 and newer keep the append-only file in parts, in a directory of this name.
_PARTS = "appendonlydir"
_MANIFEST = "appendonly.aof.manifest"
_SNAPSHOT = "dump.rdb"


def can_read(program: Path, directory: Path) -> bool:
    """Return whether a server program would read the append-only file of a directory."""
    return not (directory / _PARTS / _MANIFEST).exists() or server_version(program) >= (7, 0)


def unread_file(directory: Path) -> tuple[str, str] | None:
    """Return which file of a directory an append-only server would leave unread, and what to do; None if none."""
    old, snapshot = directory / _OLD_FILE, directory / _SNAPSHOT
    parts = _parts(directory / _PARTS / _MANIFEST)
    if snapshot.exists() and not old.exists() and not parts:
        return (
            f"{snapshot} would not be read: an append-only Redis begins empty where there is a snapshot alone",
            f"move it away; or make an append-only file of it: start redis-server --dir {directory} --appendonly no, "
            "run redis-cli CONFIG SET appendonly yes, and stop it when INFO persistence says aof_rewrite_in_progress:0",
        )
    if old.exists() and len(parts) > 1:
        return (
            f"{old} would not be read: an older Redis wrote it after a newer one had written {directory / _PARTS}",
            "move away the one whose jobs are not wanted",
        )
    return None


def _parts(manifest: Path) -> list[str]:
    """Return the parts that a manifest names; one alone while Redis 7 takes over an older one's file."""
    try:
        return [line for line in manifest.read_text(encoding="utf-8").splitlines() if line.startswith("file ")]
    except FileNotFoundError:
        return []
