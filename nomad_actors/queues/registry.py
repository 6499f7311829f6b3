"""The registry of an application's job types and queues; it adds jobs.

A queue exists if a job type names it or if it is declared. Jobs are checked before anything is sent to Redis: for wrong
data, unknown names and invalid options an error names what is allowed, and nothing is enqueued.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dramatiq
from dramatiq import Message
from dramatiq.actor import ActorDecorator
from typing_extensions import Unpack

from ..broker.broker import JobBroker
from ..broker.client.packed_job import PackedJob
from ..broker.errors import Defer, PermanentError
from ..broker.records import pack_result
from ..broker.records.limits import PauseScope
from ..broker.worker.lease import CURRENT
from ..clock import Clock
from ..errors import BadInput, BadPayload, TryLater, UnknownJobType, UnknownQueue
from ..retention import Retention
from ..settings import Settings
from .job_type import JobType
from .message import Target, messages_of
from .new_job import AddedJob, CallOptions, NewJob
from .plain_actor import PlainActor
from .policy import Backoff
from .queue import Queue
from .schedules.schedule import JobSchedule, Schedule


class Queues:
    """The job types and queues of one application, bound to its broker."""

    def __init__(self, broker: JobBroker, *, settings: Settings, clock: Clock) -> None:
        self.broker = broker
        self.settings = settings
        self.clock = clock
        self._job_types: dict[str, JobType] = {}
        self._plain_actors: dict[str, PlainActor] = {}
        self._concurrency: dict[str, int] = {}
        broker.retry_delay = self._retry_delay

    @property
    def job_types(self) -> Mapping[str, JobType]:
        """The registered job types by name."""
        return MappingProxyType(self._job_types)

    def names(self) -> list[str]:
        """Return the names of the queues that exist, sorted."""
        return sorted(self._concurrency)

    def total_concurrency(self) -> int:
        """Return how many threads a worker process needs to reach the concurrency of every queue."""
        return sum(self._concurrency.values())

    def declare(self, queue: str, *, concurrency: int | None = None, global_concurrency: int | None = None) -> None:
        """Declare a queue with `concurrency` jobs at a time per process; the largest value declared counts.

        The setting NOMAD_CONCURRENCY_<QUEUE> overrides it.
        """
        declared = max(concurrency or self.settings.concurrency, self._concurrency.get(queue, 0))
        concurrency = self.settings.queue_concurrency.get(queue) or declared
        self._concurrency[queue] = concurrency
        completed = self.settings.queue_keep_completed.get(queue, self.settings.keep_completed)
        failed = self.settings.queue_keep_failed.get(queue, self.settings.keep_failed)
        retention = Retention(completed.jobs, completed.age_ms, failed.jobs, failed.age_ms)
        self.broker.declare_queue(queue, concurrency=concurrency, limit=global_concurrency, retention=retention)

    def register(self, job_type: JobType, services: object | None = None) -> None:
        """Declare a job type's queue and actor, so that its jobs can run.

        Raises `BadInput` if another job type has this name.
        """
        if job_type.name in self._job_types:
            raise BadInput(f"a job type named {job_type.name!r} is registered already")
        self._check_new(job_type.job_schedules())
        self.declare(job_type.queue, concurrency=job_type.concurrency, global_concurrency=job_type.global_concurrency)
        declare: ActorDecorator = dramatiq.actor(
            broker=self.broker,
            actor_name=job_type.name,
            queue_name=job_type.queue,
            priority=job_type.priority,
            max_retries=job_type.attempts - 1,
            time_limit=job_type.time_limit_ms,
            indexed=job_type.indexed,
        )
        declare(_runner(job_type, services))
        self._job_types[job_type.name] = job_type

    def take_plain_actor(self, actor: dramatiq.Actor[Any, Any]) -> None:
        """Register an actor of this broker that is no job type: its queue, and the schedule of its `periodic` option.

        Raises `BadInput` if the schedule is invalid or its name is taken.
        """
        plain = PlainActor.of(actor)
        self._check_new(plain.job_schedules())
        if plain.queue not in self._concurrency:
            self.declare(plain.queue)
        self._plain_actors[plain.name] = plain

    def schedules(self) -> list[JobSchedule]:
        """Return the schedules that job types and plain actors declare."""
        declaring: list[Target] = [*self._job_types.values(), *self._plain_actors.values()]
        return [schedule for each in declaring for schedule in each.job_schedules()]

    def bind(self, schedule: Schedule, name: str) -> JobSchedule:
        """Return a schedule with the job that it adds: a job of the job type or plain actor with this name.

        Raises `UnknownJobType`, `BadPayload` or `BadInput` with what is allowed.
        """
        plain = self._plain_actors.get(name)
        return self.job_type(name).bind(schedule) if plain is None else plain.bind(schedule)

    def _check_new(self, schedules: Sequence[JobSchedule]) -> None:
        known = {each.name: each.job_type for each in self.schedules()}
        for each in schedules:
            if each.name in known:
                raise BadInput(f"schedule {each.name!r} of {each.job_type!r} is declared by {known[each.name]!r} too")
            known[each.name] = each.job_type

    def get_queue(self, name: str) -> Queue:
        """Return a queue. Raises `UnknownQueue` with the names that exist."""
        if not isinstance(name, str) or name not in self._concurrency:
            raise UnknownQueue(name, self._concurrency)
        return Queue(
            self.broker.view(name),
            self.broker.finder(name),
            concurrency=self._concurrency[name],
            job_types=[t for t in self._job_types.values() if t.queue == name],
            known=self.job_types,
            plain_actors=[each.name for each in self._plain_actors.values() if each.queue == name],
        )

    def add_job(self, queue: str, job_type: str, data: Any, **options: Unpack[CallOptions]) -> AddedJob:
        """Add one job; the job type provides the options that are not given.

        Raises `UnknownQueue`, `UnknownJobType`, `BadPayload` or `BadInput` with what is allowed, `QueueFull`, or
        `KeyReused` for an idempotency key of another call; then nothing is enqueued. Raises `Unavailable` if Redis
        does not respond.
        """
        return self.add_jobs([NewJob(queue=queue, job_type=job_type, data=data, **options)])[0]

    def add_jobs(self, jobs: Sequence[NewJob], *, once: bool = False) -> list[AddedJob]:
        """Add many jobs in a few round trips; if one is refused, none is added.

        The jobs of one queue are added all or none, even if this process dies meanwhile. With several queues, a full
        one does not undo what was added to others. An idempotency key is allowed for a single job only.

        With `once`, a job whose `job_id` exists in the queue is left unchanged in any state, even if it has ended.

        Raises the same errors as `add_job`.
        """
        messages = messages_of(jobs, self._job_type_of, now_ms=self.clock.now_ms())
        if len(jobs) > 1 and any("idempotency_key" in job.options for job in jobs):
            raise BadInput("an idempotency key goes with one job alone; give each job a unique_key or a job_id instead")
        added = self.broker.enqueue_many([(m, m.options.get("delay", 0)) for m in messages], once=once)
        return [
            AddedJob(each.job_id, m.queue_name, each.state, m.options["priority"] if each.new else None, each.new)
            for m, each in zip(messages, added, strict=True)
        ]

    def job_type(self, name: str) -> JobType:
        """Return a job type. Raises `UnknownJobType` with the names that are registered."""
        if not isinstance(name, str) or name not in self._job_types:
            raise UnknownJobType(name, self._job_types)
        return self._job_types[name]

    def prepare(self, job: NewJob) -> PackedJob:
        """Return a checked job that a schedule's slot can add.

        Raises the same errors as `add_job`, except `Unavailable`.
        """
        (message,) = messages_of([job], self._scheduled, now_ms=self.clock.now_ms())
        return self.broker.prepare(message)

    def pause_esi(self, *, reason: str = "", by: str = "", for_ms: int | None = None) -> list[str]:
        """Pause every queue that uses ESI, in addition to the queues' own pauses; return their names.

        Raises the same errors as `Queue.pause`.
        """
        names = self.esi_queues()
        for name in names:
            self.get_queue(name).pause(reason=reason, by=by, for_ms=for_ms, scope=PauseScope.ESI)
        return names

    def resume_esi(self) -> list[str]:
        """End the pause of every queue that uses ESI, but not the queues' own pauses; return their names."""
        names = self.esi_queues()
        for name in names:
            self.get_queue(name).resume(scope=PauseScope.ESI)
        return names

    def esi_queues(self) -> list[str]:
        """Return the sorted names of the queues whose jobs use ESI or SSO."""
        return sorted({job_type.queue for job_type in self._job_types.values() if job_type.uses_esi})

    def _scheduled(self, job: NewJob) -> Target:
        plain = self._plain_actors.get(job.job_type)
        return self._job_type_of(job) if plain is None or plain.queue != job.queue else plain

    def _job_type_of(self, job: NewJob) -> JobType:
        if not isinstance(job.queue, str) or job.queue not in self._concurrency:
            raise UnknownQueue(job.queue, self._concurrency)
        of_queue = {name: t for name, t in self._job_types.items() if t.queue == job.queue}
        if not isinstance(job.job_type, str) or job.job_type not in of_queue:
            raise UnknownJobType(job.job_type, of_queue)
        return of_queue[job.job_type]

    def _retry_delay(self, message: Message[Any], attempts_made: int, chosen_ms: int) -> int:
        own = message.options.get("backoff")
        if own:
            return Backoff.parse(own).delay_after(attempts_made)
        job_type = self._job_types.get(message.actor_name)
        return job_type.backoff.delay_after(attempts_made) if job_type else chosen_ms


def _runner(job_type: JobType, services: object | None) -> Callable[..., object]:
    """Return the function of a job type's actor: it checks the data, calls `run` and stores the result with the job."""
    arguments = (services,) if len(inspect.signature(job_type.run).parameters) > 1 else ()

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
            result = job_type.run(payload, *arguments)
        except TryLater as error:
            raise Defer(error.retry_after_seconds, str(error)) from error
        if result is None and job_type.result is None:
            return None
        return _save_result(result.model_dump(mode="json"))

    run.__name__ = job_type.name.replace("-", "_")
    return run


def _save_result(returned: object) -> object:
    lease = CURRENT.get()
    if lease is None or lease.message is None:
        return returned
    lease.result = pack_result(returned)
    # Dramatiq warns if nothing uses a value; only the next step of a pipeline uses it.
    return returned if lease.message.options.get("pipe_target") is not None else None
