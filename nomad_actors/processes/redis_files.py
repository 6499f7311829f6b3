"""A directory of Redis files: which server programs can read it, and which of its files would be ignored.

An append-only server that does not find an append-only file of its own format starts empty without a warning: an older
release with the files of Redis 7, and any release with only a snapshot.
"""

from __future__ import annotations

from pathlib import Path

from .local_redis import server_version

_OLD_FILE = "appendonly.aof"
#: Redis 7 and newer split the append-only file into parts, in a directory of this name.
_PARTS = "appendonlydir"
_MANIFEST = "appendonly.aof.manifest"
_SNAPSHOT = "dump.rdb"


def can_read(program: Path, directory: Path) -> bool:
    """Return whether a server program can read the append-only file of a directory."""
    return not (directory / _PARTS / _MANIFEST).exists() or server_version(program) >= (7, 0)


def unread_file(directory: Path) -> tuple[str, str] | None:
    """Return which file an append-only server would ignore, and what to do about it; None if there is none."""
    old, snapshot = directory / _OLD_FILE, directory / _SNAPSHOT
    parts = _parts(directory / _PARTS / _MANIFEST)
    if snapshot.exists() and not old.exists() and not parts:
        return (
            f"{snapshot} would be ignored: an append-only Redis starts empty if there is only a snapshot",
            f"move it away; or make an append-only file from it: start redis-server --dir {directory} --appendonly no, "
            "run redis-cli CONFIG SET appendonly yes, and stop it when INFO persistence says aof_rewrite_in_progress:0",
        )
    if old.exists() and len(parts) > 1:
        return (
            f"{old} would be ignored: an older Redis wrote it after a newer one had written {directory / _PARTS}",
            "move away the one whose jobs you do not need",
        )
    return None


def _parts(manifest: Path) -> list[str]:
    """Return the parts that a manifest lists; only one while Redis 7 takes over the file of an older release."""
    try:
        return [line for line in manifest.read_text(encoding="utf-8").splitlines() if line.startswith("file ")]
    except FileNotFoundError:
        return []
