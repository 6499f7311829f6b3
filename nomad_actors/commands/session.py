"""Opens the queues for a command, finds jobs in them, and names the user who runs the command."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import JobNotFound, UnreadableQueue
from ..queues.job import Job
from ..queues.queue import Queue
from ..settings import Settings

if TYPE_CHECKING:
    from ..app import QueueAccess

#: A command reports within two to three seconds that Redis does not respond.
DEADLINE_MS = 2_000
_NAME_CHARS = 32


def opened() -> contextlib.closing[QueueAccess]:
    """Open the application's queues for a `with` block; raises `SettingsError`."""
    from ..app import open_queues

    return contextlib.closing(open_queues(settings(), caller_deadline_ms=DEADLINE_MS))


def settings() -> Settings:
    """Return the settings of this process' environment; raises `SettingsError`."""
    return Settings.from_env(os.environ)


def find_job(access: QueueAccess, job_id: str, queue: str | None) -> tuple[Queue, Job]:
    """Return a job and its queue; without `queue`, the first queue that has the job."""
    names = [queue] if queue else access.queues.names()
    for name in names:
        found = access.queues.get_queue(name)
        job = found.get(job_id)
        if job is not None:
            return found, job
    searched = f"queue {queue!r} has no job" if queue else f"none of the queues ({', '.join(names)}) has a job"
    if other := _other_queue(access, job_id, names):
        raise JobNotFound(f"{searched} {job_id!r}, but queue {other} has it (--queue {other})")
    hint = f"list the jobs with: nomad jobs {queue or 'QUEUE'}"
    raise JobNotFound(f"{searched} {job_id!r}: it was never added here, or it has been removed; {hint}")


def _other_queue(access: QueueAccess, job_id: str, searched: Collection[str]) -> str | None:
    """Return the first other queue that has the job; queues that cannot be read are skipped."""
    for name in access.queues.names():
        with contextlib.suppress(UnreadableQueue):
            if name not in searched and access.queues.get_queue(name).get(job_id) is not None:
                return name
    return None


def who() -> str:
    """Return the user who runs the command: `uid 1000 (alice)`. The kernel is asked, since anybody may set $LOGNAME.

    Under sudo, add the user that sudo reports: `uid 0 (root), SUDO_UID 1000 (alice)`.
    """
    user, sudo = f"uid {_uid_and_name(os.getuid())}", os.environ.get("SUDO_UID", "")
    is_uid = sudo.isascii() and sudo.isdigit() and len(sudo) <= 10
    return f"{user}, SUDO_UID {_uid_and_name(int(sudo))}" if is_uid else user


def _uid_and_name(uid: int) -> str:
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name[:_NAME_CHARS]})"
    except (KeyError, OverflowError):
        # The user of a container may have no name.
        return str(uid)
