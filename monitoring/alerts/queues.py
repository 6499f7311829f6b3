"""Queues: what waits, what runs too long, what nobody runs, what workers were lost with, and pauses."""

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


def _limited(table: Table, limit: Callable[[Thresholds], float | None], ask: Callable[[str, float], str]) -> str:
    """Return a comparison with each queue's own limit, but for paused queues."""
    own = {queue: limit(thresholds) for queue, thresholds in table.by_queue.items()}
    return unless_paused(by_limit(own, limit(table.default), ask))


def _backlog(table: Table) -> Alert:
    def ask(queue: str, limit: float) -> str:
        return newest("queue", f'nomad_queue_jobs{{state="waiting", {queue}}}') + f" > {number(limit)}"

    return Alert(
        name="NomadBacklog",
        expr=_limited(table, lambda limits: limits.waiting_jobs, ask),
        for_seconds=table.alerts.waiting_for_seconds,
        severity=WARNING,
        summary="More jobs wait in a queue than its workers should let come together.",
        description="""
        {{ $value }} jobs wait in queue {{ $labels.queue }}. See whether workers run and jobs end: nomad queues
        """,
    )


def _drain(table: Table) -> Alert:
    pace = window(table.alerts.drain_window_seconds)
    # A skipped job is worked off too. Without a pace the time is infinite; without work it is no number.
    ended = 'outcome=~"completed|failed|skipped"'

    def ask(queue: str, limit: float) -> str:
        waiting = newest("queue", f'nomad_queue_jobs{{state="waiting", {queue}}}')
        return f"{waiting}\n    / {attempts('rate', ended, pace)} > {number(limit)}"

    return Alert(
        name="NomadDrainTooSlow",
        expr=_limited(table, lambda limits: limits.drain_seconds, ask),
        for_seconds=table.alerts.drain_for_seconds,
        severity=WARNING,
        summary="A queue that is filled in bulk will not be worked off in time.",
        description=f"""
        What waits in queue {{{{ $labels.queue }}}} takes {{{{ $value | humanizeDuration }}}} at the pace that it had
        over {in_words(table.alerts.drain_window_seconds)}. See whether its jobs are slow or put off:
        nomad jobs {{{{ $labels.queue }}}} --status active,delayed
        """,
    )


def _oldest(table: Table) -> Alert:
    def ask(queue: str, limit: float) -> str:
        return newest("queue", f"nomad_queue_oldest_waiting_seconds{{{queue}}}") + f" > {number(limit)}"

    return Alert(
        name="NomadOldestWaitingTooOld",
        expr=_limited(table, lambda limits: limits.oldest_waiting_seconds, ask),
        for_seconds=table.alerts.oldest_waiting_for_seconds,
        severity=CRITICAL,
        summary="A job has waited longer than its queue promises.",
        description="""
        The first waiting job of queue {{ $labels.queue }} has been due for {{ $value | humanizeDuration }}. See what
        holds the queue back: nomad doctor
        """,
    )


def _unserved(table: Table) -> Alert:
    # All states that a worker would move on: a delayed job is never started without one.
    work = 'max by (queue, state) (nomad_queue_jobs{state=~"waiting|active|delayed"})'
    expr = f"max by (queue) (nomad_queue_workers) == 0\nand on (queue)\n  sum by (queue) ({work}) > 0"
    return Alert(
        name="NomadQueueUnserved",
        expr=unless_paused(expr),
        for_seconds=table.alerts.unserved_for_seconds,
        severity=CRITICAL,
        summary="A queue has work and no worker takes it.",
        description="""
        Queue {{ $labels.queue }} has jobs and no live worker. See which workers live and what they serve:
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
        summary="A queue has been paused for long.",
        description="""
        Queue {{ $labels.queue }} has been paused for {{ $value | humanizeDuration }}. Who did, why, and the
        command that ends it (this queue's own pause, or that of everything that talks to ESI): nomad queues
        """,
    )


def _overtime(table: Table) -> Alert:
    limit = table.default.beyond_time_limit_seconds
    return Alert(
        name="NomadJobBeyondTimeLimit",
        expr=f"max by (queue) (nomad_queue_overtime_seconds) > {number(limit)}",
        for_seconds=table.alerts.overtime_for_seconds,
        severity=WARNING,
        summary="A job runs on beyond its time limit.",
        description="""
        A job of queue {{ $labels.queue }} is {{ $value | humanizeDuration }} beyond its time limit and keeps its place.
        See which: nomad jobs {{ $labels.queue }} --status active
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
        {in_words(over)}; they run again. See which workers live: nomad workers
        """,
    )


def _poison(table: Table) -> Alert:
    over = table.alerts.poison_window_seconds
    return Alert(
        name="NomadPoisonJob",
        expr=f"max by (queue) (increase(nomad_queue_poison_total[{window(over)}])) > 0",
        severity=WARNING,
        summary="A job was given up because worker after worker was lost with it.",
        description=f"""
        A job of queue {{{{ $labels.queue }}}} lost its worker again and again within {in_words(over)} and failed
        for good. Read its story before it is retried: nomad jobs {{{{ $labels.queue }}}} --status failed
        """,
    )
