"""Who is at the keyboard: what the kernel says, not what the environment says, which anybody may set."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

_NAME_CHARS = 32


def who(environ: Mapping[str, str] = os.environ) -> str:
    """Return the user who runs the command: `uid 1000 (alice)`.

    Under sudo also whose uid it says, as its word: `uid 0 (root), SUDO_UID 1000 (alice)`.
    """
    user, sudo = f"uid {_named(os.getuid())}", environ.get("SUDO_UID", "")
    is_uid = sudo.isascii() and sudo.isdigit() and len(sudo) <= 10
    return f"{user}, SUDO_UID {_named(int(sudo))}" if is_uid else user


def _named(uid: int) -> str:
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name[:_NAME_CHARS]})"
    except (KeyError, OverflowError):
        # A container's user may have no name.
        return str(uid)
