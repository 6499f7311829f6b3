"""Queues: waiting jobs, long runs, missing workers, lost workers and pauses."""

from __future__ import annotations

from collections.abc import Callable

from nomad_actors.thresholds import Table, Thresholds

from .promql import attempts, by_limit, in_words, newest, number, unless_paused, window
from .rule import CRITICAL, WARNING, Alert, Group


def groups(table: Table) -> list[Group]:
    """Return the groups about queues."""
    waiting = [_backlog(table), _drain(table), _oldest(table), _unserved(table), _paused(table)]
    running = [_overtime(table), _recovered(table), _poison(table)]
    return [Group(name="nomad-queues", rules=waiting), Group(name="nomad-queues-running", rules=running)]


def _limited(table: Table, limit: Callable[[Thresholds], float | None], compare: Callable[[str, float], str]) -> str:
    """Return a comparison with each queue's limit, without paused queues."""
    own = {queue: limit(thresholds) for queue, thresholds in table.by_queue.items()}
    return unless_paused(by_limit(own, limit(table.default), compare))


def _backlog(table: Table) -> Alert:
    def compare(queue: str, limit: float) -> str:
        return newest("queue", f'nomad_queue_jobs{{state="waiting", {queue}}}') + f" > {number(limit)}"

    return Alert(
        name="NomadBacklog",
        expr=_limited(table, lambda limits: limits.waiting_jobs, compare),
        for_seconds=table.alerts.waiting_for_seconds,
        severity=WARNING,
        summary="Too many jobs wait in a queue.",
        description="""
        {{ $value }} jobs wait in queue {{ $labels.queue }}. See whether workers run and jobs end: nomad queues
        """,
    )


def _drain(table: Table) -> Alert:
    rate_window = window(table.alerts.drain_window_seconds)
    # A skipped job counts as done. Without a rate the time is infinite; without waiting jobs it is not a number.
    ended = 'outcome=~"completed|failed|skipped"'

    def compare(queue: str, limit: float) -> str:
        waiting = newest("queue", f'nomad_queue_jobs{{state="waiting", {queue}}}')
        return f"{waiting}\n    / {attempts('rate', ended, rate_window)} > {number(limit)}"

    return Alert(
        name="NomadDrainTooSlow",
        expr=_limited(table, lambda limits: limits.drain_seconds, compare),
        for_seconds=table.alerts.drain_for_seconds,
        severity=WARNING,
        summary="A queue that is filled in bulk will not be empty in time.",
        description=f"""
        The waiting jobs of queue {{{{ $labels.queue }}}} take {{{{ $value | humanizeDuration }}}} at the rate of the
        last {in_words(table.alerts.drain_window_seconds)}. See whether its jobs are slow or deferred:
        nomad jobs {{{{ $labels.queue }}}} --status active,delayed
        """,
    )


def _oldest(table: Table) -> Alert:
    def compare(queue: str, limit: float) -> str:
        return newest("queue", f"nomad_queue_oldest_waiting_seconds{{{queue}}}") + f" > {number(limit)}"

    return Alert(
        name="NomadOldestWaitingTooOld",
        expr=_limited(table, lambda limits: limits.oldest_waiting_seconds, compare),
        for_seconds=table.alerts.oldest_waiting_for_seconds,
        severity=CRITICAL,
        summary="A job has waited longer than its queue's limit.",
        description="""
        The first waiting job of queue {{ $labels.queue }} has been due for {{ $value | humanizeDuration }}. See why:
        nomad doctor
        """,
    )


def _unserved(table: Table) -> Alert:
    # All states that need a worker: without one, a delayed job never starts.
    work = 'max by (queue, state) (nomad_queue_jobs{state=~"waiting|active|delayed"})'
    expr = f"max by (queue) (nomad_queue_workers) == 0\nand on (queue)\n  sum by (queue) ({work}) > 0"
    return Alert(
        name="NomadQueueUnserved",
        expr=unless_paused(expr),
        for_seconds=table.alerts.unserved_for_seconds,
        severity=CRITICAL,
        summary="A queue has jobs and no worker.",
        description="""
        Queue {{ $labels.queue }} has jobs and no live worker. See the live workers and their queues:
        nomad workers; then start one: nomad run workers
        """,
    )


def _paused(table: Table) -> Alert:
    limit = table.alerts.paused_seconds
    return Alert(
        name="NomadPausedTooLong",
        expr=f"time() - max by (queue) (nomad_queue_paused_since_timestamp_seconds) > {number(limit)}",
        for_seconds=table.alerts.paused_for_seconds,
        severity=WARNING,
        summary="A queue has been paused for a long time.",
        description="""
        Queue {{ $labels.queue }} has been paused for {{ $value | humanizeDuration }}. See who paused it,
        why, and the command that ends it (its own pause, or that of all ESI queues): nomad queues
        """,
    )


def _overtime(table: Table) -> Alert:
    limit = table.default.beyond_time_limit_seconds
    return Alert(
        name="NomadJobBeyondTimeLimit",
        expr=f"max by (queue) (nomad_queue_overtime_seconds) > {number(limit)}",
        for_seconds=table.alerts.overtime_for_seconds,
        severity=WARNING,
        summary="A job runs longer than its time limit.",
        description="""
        A job of queue {{ $labels.queue }} is {{ $value | humanizeDuration }} beyond its time limit and occupies a
        thread. See which: nomad jobs {{ $labels.queue }} --status active
        """,
    )


def _recovered(table: Table) -> Alert:
    over = table.alerts.recovered_window_seconds
    return Alert(
        name="NomadWorkerLost",
        expr=f"max by (queue) (increase(nomad_queue_recovered_total[{window(over)}])) > 0",
        severity=WARNING,
        summary="A worker was lost, and its jobs were taken back.",
        description=f"""
        About {{{{ $value | humanize }}}} jobs of queue {{{{ $labels.queue }}}} were taken back from lost workers within
        {in_words(over)}; they run again. See the live workers: nomad workers
        """,
    )


def _poison(table: Table) -> Alert:
    over = table.alerts.poison_window_seconds
    return Alert(
        name="NomadPoisonJob",
        expr=f"max by (queue) (increase(nomad_queue_poison_total[{window(over)}])) > 0",
        severity=WARNING,
        summary="A job failed because several workers were lost while running it.",
        description=f"""
        A job of queue {{{{ $labels.queue }}}} lost several workers within {in_words(over)} and failed
        permanently. See its timeline before you retry it: nomad jobs {{{{ $labels.queue }}}} --status failed
        """,
    )
