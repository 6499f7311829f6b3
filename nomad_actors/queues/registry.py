"""The registry of job types and queues, and the process' own: `add_job`, `get_queue`, `current_job`.

A queue exists when a job type names it or when it is declared. What a caller hands in is checked before anything is
sent to Redis: wrong data, unknown names and unusable options are refused with what is accepted, nothing is enqueued.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import dramatiq
from dramatiq import Message
from dramatiq.actor import ActorDecorator

from ..broker.broker import JobBroker
from ..broker.client.new_job import NewJob as StoredJob
from ..broker.client.operations import OperationBook
from ..broker.client.permissions import refused_in_words
from ..broker.client.slots import ScheduleBook
from ..broker.errors import BadOption, Defer, KeyReused, PermanentError, QueueFull
from ..broker.records import OWN_ID, pack_result
from ..broker.records.holds import PauseScope
from ..broker.records.notes import Progress
from ..broker.records.tags import MAX_KEY_CHARS, unique
from ..broker.worker.lease import CURRENT, Lease
from ..broker.worker.report import Report
from ..clock import Clock
from ..errors import (
    BadInput,
    BadPayload,
    KeyConflict,
    NomadError,
    QueueIsFull,
    TryLater,
    Unavailable,
    UnknownJobType,
    UnknownQueue,
)
from ..logs.foreign_text import came_from_outside, describe_error, safe_repr, safe_str
from ..retention import Retention
from ..settings import Settings
from .job_type import Backoff, JobType, Priority
from .queue import Queue, whole

#: A delay beyond this is a mistake in the unit, not a wish: ten years in ms.
MAX_DELAY_MS = 315_360_000_000

__all__ = [
    "MAX_DELAY_MS",
    "AddedJob",
    "CurrentJob",
    "NewJob",
    "Queue",
    "Queues",
    "add_job",
    "add_jobs",
    "current_job",
    "default_queues",
    "get_queue",
    "set_default",
]


@dataclass(frozen=True)
class AddedJob:
    """What a caller gets for a job it added; `state` is where it stands now, `gone` when it is not kept any more."""

    id: str
    queue: str
    state: str
    #: None where another job stands.
    priority: int | None
    #: False when another job stands in its place (its unique key, or the caller's own key), or it was there before.
    new: bool = True


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to add, among others in one call; the fields mean what `Queues.add_job` says."""

    queue: str
    job_type: str
    data: Any
    priority: Priority | int | str | None = None
    attempts: int | None = None
    backoff: Backoff | Mapping[str, object] | None = None
    delay: int = 0
    requested_by: str | None = None
    job_id: str | None = None
    unique_key: str | None = None
    unique_until: str | int = "end"
    unique_replace: bool = False
    idempotency_key: str | None = None


@dataclass(frozen=True)
class PreparedJob:
    """A job that is checked: Dramatiq's message, and what the queue keeps of it."""

    message: Message[Any]
    stored: StoredJob


class CurrentJob:
    """The job that the calling code runs in."""

    def __init__(self, lease: Lease, message: Message[Any]) -> None:
        self.id = lease.job_id
        self.queue = lease.queue
        self.name = message.actor_name
        #: 1 in the first run.
        self.attempt = lease.attempt
        self.data: Mapping[str, Any] = MappingProxyType(message.kwargs)
        self._lease = lease

    @property
    def cancelled(self) -> bool:
        """Whether an operator wants this job ended: for code that Python cannot interrupt, to look at now and then."""
        return self._lease.cancel_reason is not None

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the job is; it is shown within a moment, and the call does not wait for that.

        Raises `BadInput` for what is no number.
        """
        if not (math.isfinite(done) and math.isfinite(total)):
            raise BadInput(f"progress of {done} of {total} is unusable (accepted: finite numbers)")
        self._report().progress(Progress(done, total, safe_str(note)))
        self._tell()

    def log(self, text: str) -> None:
        """Add a line to the log that is kept with the job: its last 16 kB are."""
        self._report().log(safe_str(text))
        self._tell()

    def _report(self) -> Report:
        if self._lease.report is None:
            self._lease.report = Report()
        return self._lease.report

    def _tell(self) -> None:
        if self._lease.tell is not None:
            self._lease.tell(self._lease)


def current_job() -> CurrentJob:
    """Return the job that this code runs in, in a coroutine too.

    Raises `NomadError` outside a job.
    """
    lease = CURRENT.get()
    if lease is None or lease.message is None:
        raise NomadError("current_job() was called outside a job")
    return CurrentJob(lease, lease.message)


class Queues:
    """The job types and queues of one application, bound to its broker."""

    def __init__(self, broker: JobBroker, *, settings: Settings, clock: Clock) -> None:
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._job_types: dict[str, JobType] = {}
        self._concurrency: dict[str, int] = {}
        broker.retry_delay = self._retry_delay

    @property
    def broker(self) -> JobBroker:
        """The application's broker."""
        return self._broker

    @property
    def settings(self) -> Settings:
        """The application's settings."""
        return self._settings

    @property
    def clock(self) -> Clock:
        """The application's clock."""
        return self._clock

    @property
    def job_types(self) -> Mapping[str, JobType]:
        """The registered job types by name."""
        return MappingProxyType(self._job_types)

    def names(self) -> list[str]:
        """Return the names of the queues that exist, sorted."""
        return sorted(self._concurrency)

    def total_concurrency(self) -> int:
        """Return how many threads a worker process needs to use every place of every queue."""
        return sum(self._concurrency.values())

    def ping(self) -> None:
        """Return when Redis answers.

        Raises `Unavailable` when it does not.
        """
        self._broker.ping()

    def check_permissions(self) -> None:
        """Return when Redis lets us do all that we need.

        Raises `Unavailable` naming the commands that it refuses.
        """
        refused = self._broker.refused_commands()
        if refused:
            raise Unavailable(refused_in_words(refused))

    def declare(self, queue: str, *, concurrency: int | None = None, global_concurrency: int | None = None) -> None:
        """Declare a queue, `concurrency` jobs at a time a process; the largest one declared counts.

        The setting NOMAD_CONCURRENCY_<QUEUE> overrides it.
        """
        wanted = concurrency or self._settings.concurrency
        places = self._settings.queue_concurrency.get(queue) or max(wanted, self._concurrency.get(queue, 0))
        self._concurrency[queue] = places
        self._broker.declare_queue(
            queue, concurrency=places, limit=global_concurrency, retention=self._retention(queue)
        )

    def _retention(self, queue: str) -> Retention:
        settings = self._settings
        completed = settings.queue_keep_completed.get(queue, settings.keep_completed)
        failed = settings.queue_keep_failed.get(queue, settings.keep_failed)
        return Retention(completed.jobs, completed.age_ms, failed.jobs, failed.age_ms)

    def register(self, job_type: JobType, services: object | None = None) -> None:
        """Make a job type runnable: declare its queue and its actor.

        Raises `BadInput` when another job type has this name.
        """
        if job_type.name in self._job_types:
            raise BadInput(f"a job type named {job_type.name!r} is registered already")
        self.declare(job_type.queue, concurrency=job_type.concurrency, global_concurrency=job_type.global_concurrency)
        declare: ActorDecorator = dramatiq.actor(
            broker=self._broker,
            actor_name=job_type.name,
            queue_name=job_type.queue,
            priority=job_type.priority,
            max_retries=job_type.attempts - 1,
            time_limit=job_type.time_limit_ms,
            indexed=job_type.indexed,
        )
        declare(_runner(job_type, services))
        self._job_types[job_type.name] = job_type

    def get_queue(self, name: str) -> Queue:
        """Return a queue.

        Raises `UnknownQueue` with the names that exist.
        """
        if not isinstance(name, str) or name not in self._concurrency:
            raise UnknownQueue(name, self._concurrency)
        return Queue(
            self._broker.view(name),
            self._broker.finder(name),
            concurrency=self._concurrency[name],
            job_types=[t for t in self._job_types.values() if t.queue == name],
            known=self.job_types,
        )

    def add_job(
        self,
        queue: str,
        job_type: str,
        data: Any,
        *,
        priority: Priority | int | str | None = None,
        attempts: int | None = None,
        backoff: Backoff | Mapping[str, object] | None = None,
        delay: int = 0,
        requested_by: str | None = None,
        job_id: str | None = None,
        unique_key: str | None = None,
        unique_until: str | int = "end",
        unique_replace: bool = False,
        idempotency_key: str | None = None,
    ) -> AddedJob:
        """Add one job, `delay` ms from now; what is not given comes from the job type.

        With a `job_id` that is known: a job that waits or is delayed stands as it is, one that runs is run once more
        afterwards, one that ended starts afresh.

        With a `unique_key` only one job of the queue holds it, until it starts ("start"), until it ends ("end") or for
        so many seconds: the one that has it stands, and its id is returned; with `unique_replace` the new one takes
        its place while it has not begun, and runs after it once it has. The same call with the same `idempotency_key`
        within a day is the same call, whatever has become of its job.

        Raises `UnknownQueue`, `UnknownJobType`, `BadPayload` or `BadInput` with what is accepted, `QueueIsFull`,
        `KeyConflict` for an idempotency key of another call, and nothing is enqueued; `Unavailable` when Redis does not
        answer for it.
        """
        job = NewJob(
            queue=queue,
            job_type=job_type,
            data=data,
            priority=priority,
            attempts=attempts,
            backoff=backoff,
            delay=delay,
            requested_by=requested_by,
            job_id=job_id,
            unique_key=unique_key,
            unique_until=unique_until,
            unique_replace=unique_replace,
            idempotency_key=idempotency_key,
        )
        return self.add_jobs([job])[0]

    def add_jobs(self, jobs: Sequence[NewJob], *, once: bool = False) -> list[AddedJob]:
        """Add many jobs in a few round trips; one that is refused refuses all.

        Those of one queue are added all or none, also when this process dies meanwhile; over several queues one that is
        full does not take back what another has taken. An idempotency key goes with one job alone.

        With `once`, a `job_id` that the queue knows is left alone in whatever state it is, also when it has ended.

        Raises as `add_job`.
        """
        messages = [(self._message_of(jobs, number), job.delay) for number, job in enumerate(jobs)]
        if len(jobs) > 1 and any(job.idempotency_key is not None for job in jobs):
            raise BadInput("an idempotency key goes with one job alone; give each job a unique_key or a job_id instead")
        with _refusals():
            added = self._broker.enqueue_many(messages, once=once)
        return [
            AddedJob(each.job_id, m.queue_name, each.state, m.options["priority"] if each.new else None, each.new)
            for (m, _), each in zip(messages, added, strict=True)
        ]

    def job_type(self, name: str) -> JobType:
        """Return a job type.

        Raises `UnknownJobType` with the names that are registered.
        """
        if not isinstance(name, str) or name not in self._job_types:
            raise UnknownJobType(name, self._job_types)
        return self._job_types[name]

    def prepare(self, job: NewJob) -> PreparedJob:
        """Return a job that is checked and ready to be added by a schedule's slot.

        Raises as `add_job`, but for Redis.
        """
        message = self._message(job)
        return PreparedJob(message, self._broker.prepare(message))

    def was_added(self, prepared: PreparedJob) -> None:
        """Tell middleware that a prepared job was added."""
        self._broker.emit_after("enqueue", prepared.message, 0)

    def schedule_book(self) -> ScheduleBook:
        """Return the schedules that are kept beside the queues, as Redis has them."""
        return self._broker.schedules()

    def pause_esi(self, *, reason: str = "", by: str = "", for_ms: int | None = None) -> list[str]:
        """Pause every queue that talks to ESI, beside whatever pause of its own it has; return their names.

        Raises `BadInput` as a queue's own pause does.
        """
        names = self.talking_to_esi()
        for name in names:
            self.get_queue(name).pause(reason=reason, by=by, for_ms=for_ms, scope=PauseScope.ESI)
        return names

    def resume_esi(self) -> list[str]:
        """Let the queues that talk to ESI go on, but for those that are paused themselves; return their names."""
        names = self.talking_to_esi()
        for name in names:
            self.get_queue(name).resume(scope=PauseScope.ESI)
        return names

    def talking_to_esi(self) -> list[str]:
        """Return the names of the queues whose jobs talk to ESI or SSO, sorted."""
        return sorted({job_type.queue for job_type in self._job_types.values() if job_type.talks_to_esi})

    def operation_book(self, queue: str) -> OperationBook:
        """Return the bulk operations that are kept beside a queue, as Redis has them."""
        return self._broker.operations(queue)

    def _message_of(self, jobs: Sequence[NewJob], number: int) -> Message[Any]:
        """Return one of several jobs as a message; what is wrong with it says which one it is."""
        try:
            return self._message(jobs[number])
        except BadInput as error:
            if len(jobs) > 1:
                error.args = (f"jobs[{number}]: {error}",)
            raise

    def _message(self, job: NewJob) -> Message[Any]:
        """Return a job as the message that its actor gets, everything checked."""
        try:
            return self._checked_message(job)
        except NomadError:
            raise
        except BaseException as error:
            # A caller's value may be an object whose own code fails, whatever is asked of it.
            if came_from_outside(error):
                raise
            raise BadInput(f"the job has a value whose own code failed ({describe_error(error, 200)})") from error

    def _checked_message(self, job: NewJob) -> Message[Any]:
        if not isinstance(job.queue, str) or job.queue not in self._concurrency:
            raise UnknownQueue(job.queue, self._concurrency)
        of_queue = {name: t for name, t in self._job_types.items() if t.queue == job.queue}
        if not isinstance(job.job_type, str) or job.job_type not in of_queue:
            raise UnknownJobType(job.job_type, of_queue)
        job_type = of_queue[job.job_type]
        message: Message[Any] = Message(
            queue_name=job_type.queue,
            actor_name=job_type.name,
            args=(),
            kwargs=job_type.write(job.data),
            options=_options(job, job_type),
            message_timestamp=self._clock.now_ms(),
        )
        if job.job_id is not None:
            message = message.copy(message_id=_checked_id(job.job_id))
        return message

    def _retry_delay(self, message: Message[Any], attempts_made: int, chosen_ms: int) -> int:
        """Return how long a failed job waits: by its own backoff, else by its job type's."""
        own = message.options.get("backoff")
        if own:
            return Backoff.parse(own).delay_after(attempts_made)
        job_type = self._job_types.get(message.actor_name)
        return job_type.backoff.delay_after(attempts_made) if job_type else chosen_ms


def _options(job: NewJob, job_type: JobType) -> dict[str, Any]:
    """Return the message's options: only what differs from the job type's, but for the priority."""
    priority = job_type.priority if job.priority is None else Priority.parse(job.priority)
    options: dict[str, Any] = {"priority": int(priority)}
    if job_type.payload_version != 1:
        options["payload_version"] = job_type.payload_version
    if job.attempts is not None:
        options["max_retries"] = whole("attempts", job.attempts, 1, 1000) - 1
    if job.backoff is not None:
        options["backoff"] = Backoff.parse(job.backoff).as_json()
    if whole("delay", job.delay, 0, MAX_DELAY_MS):
        options["delay"] = job.delay
    if job.requested_by is not None:
        options["requested_by"] = str(job.requested_by)[:200]
    is_replacing = _flag("unique_replace", job.unique_replace)
    if job.unique_key is None and (job.unique_until != "end" or is_replacing):
        accepted = "with a unique_key, or not at all"
        raise BadInput(
            f"unique_until and unique_replace say how a key is held (accepted: {accepted})", accepted=[accepted]
        )
    if job.unique_key is not None or job.idempotency_key is not None:
        options.update(_keys(job))
    return options


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput(f"{name} {safe_repr(value, 200)} is unusable (accepted: True, False)", accepted=["True", "False"])


def _keys(job: NewJob) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if job.unique_key is not None:
        options = {"unique_key": job.unique_key, "unique_until": job.unique_until}
        if job.unique_replace:
            options["unique_replace"] = True
        try:
            unique(options)
        except BadOption as error:
            raise BadInput(str(error)) from error
    if job.idempotency_key is not None:
        key = job.idempotency_key
        if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS or not key.isprintable():
            accepted = f"1 to {MAX_KEY_CHARS} printable characters"
            raise BadInput(
                f"idempotency key {safe_repr(key, 80)} is unusable (accepted: {accepted})", accepted=[accepted]
            )
        options["idempotency_key"] = key
        if job.job_id is not None:
            options[OWN_ID] = _checked_id(job.job_id)
    return options


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise our own errors where a queue refuses jobs."""
    try:
        yield
    except QueueFull as error:
        raise QueueIsFull(str(error)) from error
    except KeyReused as error:
        raise KeyConflict(str(error)) from error


def _checked_id(job_id: object) -> str:
    if (
        isinstance(job_id, str)
        and 1 <= len(job_id) <= 200
        and job_id.isprintable()
        # A schedule's slot finds its job by such an id.
        and not job_id.startswith("schedule:")
        # In an address they mean the place itself and the one above: clients ask for those instead.
        and job_id not in (".", "..")
    ):
        return job_id
    accepted = "1 to 200 printable characters that do not begin with 'schedule:', and are not '.' or '..'"
    raise BadInput(f"job id {safe_repr(job_id, 400)} is unusable (accepted: {accepted})", accepted=[accepted])


def _runner(job_type: JobType, services: object | None) -> Callable[..., object]:
    """Return what the job type's actor calls: the data checked again, the result kept with the job."""

    def run(*args: Any, **data: Any) -> object:
        if args:
            raise PermanentError(
                f"job type {job_type.name!r} takes named fields only, not {len(args)} positional arguments"
            )
        try:
            payload = job_type.read(data)
        except BadPayload as error:
            raise PermanentError(str(error)) from error
        try:
            result = job_type.run(payload, services) if job_type.takes_services else job_type.run(payload)
        except TryLater as error:
            raise Defer(error.retry_after_seconds, str(error)) from error
        returned = result.model_dump(mode="json")
        lease = CURRENT.get()
        if lease is None or lease.message is None:
            return returned
        lease.result = pack_result(returned)
        # Dramatiq warns of a value that nobody takes; only the next step of a pipeline does.
        return returned if lease.message.options.get("pipe_target") is not None else None

    run.__name__ = job_type.name.replace("-", "_")
    return run


_default: Queues | None = None


def set_default(queues: Queues | None) -> None:
    """Make `queues` what this module's functions use in this process."""
    global _default
    _default = queues


def default_queues() -> Queues:
    """Return the process' queues.

    Raises `NomadError` when no application was created.
    """
    if _default is None:
        raise NomadError("no application in this process: call nomad_actors.connect() first")
    return _default


def get_queue(name: str) -> Queue:
    """Return a queue of this process' application; see `Queues.get_queue`."""
    return default_queues().get_queue(name)


def add_job(queue: str, job_type: str, data: Any, **options: Any) -> AddedJob:
    """Add a job to this process' application; see `Queues.add_job`."""
    return default_queues().add_job(queue, job_type, data, **options)


def add_jobs(jobs: Sequence[NewJob], *, once: bool = False) -> list[AddedJob]:
    """Add jobs to this process' application; see `Queues.add_jobs`."""
    return default_queues().add_jobs(jobs, once=once)
