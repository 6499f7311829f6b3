"""What a command works on: the queues of this process' settings, and who is at the keyboard."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..app import QueueAccess
    from ..health import Patient
    from ..queues.job import Job
    from ..queues.queue import Queue
    from ..settings import Settings


#: Whoever types a command learns within two to three seconds that Redis does not answer.
DEADLINE_MS = 2_000
_NAME_CHARS = 32


@contextlib.contextmanager
def opened() -> Iterator[QueueAccess]:
    """Give the application's queues for the time of a `with`.

    Raises `SettingsError`.
    """
    from ..app import open_queues

    access = open_queues(settings(), caller_deadline_ms=DEADLINE_MS)
    try:
        yield access
    finally:
        access.close()


def settings() -> Settings:
    """Return the settings of this process' environment.

    Raises `SettingsError`.
    """
    from ..settings import Settings

    return Settings.from_env(os.environ)


def patient(access: QueueAccess) -> Patient:
    """Return what the doctor examines."""
    from ..health import Patient

    return Patient(access.settings, access.clock, access.broker, access.queues)


def holding(access: QueueAccess, job_id: str, queue: str | None) -> tuple[Queue, Job]:
    """Return a job and the queue that holds it: the one named, else the first that does.

    Raises `JobNotFound`, `UnknownQueue`.
    """
    from ..errors import JobNotFound

    names = [queue] if queue else access.queues.names()
    for name in names:
        found = access.queues.get_queue(name)
        job = found.get(job_id)
        if job is not None:
            return found, job
    searched = f"queue {queue!r} holds no job" if queue else f"none of the queues ({', '.join(names)}) holds a job"
    if other := _other_holder(access, job_id, names):
        raise JobNotFound(f"{searched} {job_id!r}, but {other} does (--queue {other})")
    hint = f"nomad jobs {queue or 'QUEUE'} lists what there is"
    raise JobNotFound(f"{searched} {job_id!r}: it was never added here, or was removed since; {hint}")


def _other_holder(access: QueueAccess, job_id: str, searched: Collection[str]) -> str | None:
    """Return the first queue that holds a job and was not searched; one that cannot be read is passed over."""
    from ..errors import UnreadableQueue

    for name in access.queues.names():
        with contextlib.suppress(UnreadableQueue):
            if name not in searched and access.queues.get_queue(name).get(job_id) is not None:
                return name
    return None


def who() -> str:
    """Return the user who runs the command, as the kernel says it: `uid 1000 (alice)`; anybody may set $LOGNAME.

    Under sudo also whose uid it says, as its word: `uid 0 (root), SUDO_UID 1000 (alice)`.
    """
    user, sudo = f"uid {_uid_and_name(os.getuid())}", os.environ.get("SUDO_UID", "")
    is_uid = sudo.isascii() and sudo.isdigit() and len(sudo) <= 10
    return f"{user}, SUDO_UID {_uid_and_name(int(sudo))}" if is_uid else user


def _uid_and_name(uid: int) -> str:
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name[:_NAME_CHARS]})"
    except (KeyError, OverflowError):
        # A container's user may have no name.
        return str(uid)
