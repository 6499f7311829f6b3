"""The queues' Redis: whether it answers, forgets nothing, has room, and agrees on the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from ..broker.client.permissions import refused_in_words
from ..broker.client.server import ServerFacts
from ..broker.errors import RedisUnavailable, Refusal
from ..findings import Finding, Severity
from ..logs import redact
from ..processes.local_redis import LocalRedis
from ..processes.redis_log import complaints, since_last_start
from ..settings.redis_cli import redis_cli
from .installation import Installation


def reached(installation: Installation) -> Finding:
    """Tell whether Redis answers, and which release it is."""
    where = installation.settings.redis_url.shown
    try:
        version = installation.server.version
    except RedisUnavailable as error:
        refusal = error.refusal
        told = "does not answer" if refusal is None else "lets nobody in" if refusal is Refusal.PASSWORD else "refuses"
        return Finding(
            "redis", Severity.PROBLEM, f"{where} {told}: {redact(str(error))}", _reach(installation, refusal)
        )
    return Finding("redis", Severity.OK, f"{version or 'of a release that it does not tell'} at {where}")


def _reach(installation: Installation, refusal: Refusal | None) -> str:
    """Return what mends a Redis that cannot be spoken to."""
    path = installation.settings.redis_url_file
    if refusal is Refusal.LOADING:
        return "wait: it goes on by itself when all is read"
    if refusal is Refusal.PASSWORD and path is None:
        return "correct the password: REDIS_PASSWORD, or in REDIS_URL=redis://:PASSWORD@host:6379/0"
    elsewhere = "say where it is: export REDIS_URL=redis://host:6379/0"
    if path is not None:
        whose = "another Redis has its port now; this " if refusal is Refusal.PASSWORD else ""
        return f"make run\n{whose}starts the Redis that {path} is the address of; or {elsewhere}"
    if not installation.settings.redis_url_is_given:
        brings = f"or nomad run all: either starts everything here, with a Redis in {installation.settings.var_dir}"
        return f"make run\n{brings}; or, if there is a Redis already, {elsewhere}"
    return f"start Redis there, or {elsewhere}"


def server(installation: Installation) -> Iterator[Finding]:
    """Check the server's settings and state."""
    facts = installation.server
    yield from _refusal(facts)
    yield _role(facts)
    yield _policy(facts, installation)
    yield _memory(facts, installation)
    yield _persistence(facts, installation)
    yield _clock(facts, installation)
    yield from _commands(facts, installation)
    yield _steps(installation)


def _refusal(facts: ServerFacts) -> Iterator[Finding]:
    """Tell why it takes no change now; the other checks say more of the cause."""
    if facts.refusal is not None:
        full = facts.refusal is Refusal.FULL
        fix = "nomad clean QUEUE --status completed\nmakes room" if full else "see the other findings on Redis"
        yield Finding("redis changes", Severity.PROBLEM, str(facts.refusal), fix, subject="Redis")


def _role(facts: ServerFacts) -> Finding:
    if facts.role == "slave":
        fix = "export REDIS_URL=redis://HOST:6379/0\nwith the host of the primary"
        return Finding("redis role", Severity.PROBLEM, "it is a replica: nothing can be written to it", fix)
    return Finding(
        "redis role", Severity.OK if facts.role else Severity.UNKNOWN, facts.role or "INFO is not allowed here"
    )


def _policy(facts: ServerFacts, installation: Installation) -> Finding:
    name, policy = "redis eviction", facts.memory_policy
    if policy is None:
        return Finding(name, Severity.UNKNOWN, "INFO is not allowed here", "see that maxmemory-policy is noeviction")
    if policy == "noeviction":
        return Finding(name, Severity.OK, policy)
    found = f"maxmemory-policy is {policy}: a Redis that is full would throw jobs away without a word"
    return Finding(name, Severity.PROBLEM, found, _configured(installation, "maxmemory-policy noeviction"))


def _configured(installation: Installation, setting: str) -> str:
    """Return how a setting is made, now and for the next start."""
    # The Redis that `nomad run all` brings has no file of that name.
    kept = (
        ""
        if installation.settings.redis_url_file is not None
        else f"\nand write into redis.conf, for its next start: {setting}"
    )
    return f"{redis_cli(installation.settings)} CONFIG SET {setting}{kept}"


def _memory(facts: ServerFacts, installation: Installation) -> Finding:
    name, used, limit = "redis memory", facts.used_memory_bytes, facts.max_memory_bytes
    if used is None or limit is None:
        return Finding(name, Severity.UNKNOWN, "INFO is not allowed here")
    if limit == 0:
        return Finding(name, Severity.OK, f"{_mib(used)} used, no limit")
    percent = facts.memory_percent or 0.0
    found = f"{_mib(used)} of {_mib(limit)} used ({percent:.0f} %)"
    if percent < installation.limits.memory_warning_percent:
        return Finding(name, Severity.OK, found)
    more = _configured(installation, f"maxmemory {2 * max(limit, used)}")
    fix = f"nomad clean QUEUE --status completed\nor give it more memory:\n{more}"
    full = percent >= installation.limits.memory_problem_percent
    return Finding(
        name, Severity.PROBLEM if full else Severity.WARNING, f"{found}; when full, no job can be added", fix
    )


def _persistence(facts: ServerFacts, installation: Installation) -> Finding:
    name = "redis persistence"
    if facts.append_only is None:
        return Finding(name, Severity.UNKNOWN, "INFO is not allowed here", "see that appendonly is on")
    if facts.append_only and facts.append_ok is False:
        fix = "df -h\non the host of Redis: make room there; Redis' log says more"
        found = "the last write to the append-only file failed: it takes no change until it can write"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.append_only:
        return _append_only(name, facts, installation)
    return _snapshots(name, facts, _configured(installation, "appendonly yes"))


def _append_only(name: str, facts: ServerFacts, installation: Installation) -> Finding:
    if facts.replays_all is False:
        found = (
            "its user `default` may not execute everything: it replays its append-only file as this user, so the next "
            "restart drops jobs"
        )
        # "off" stays: whoever has no password still does not get in.
        command = f"{redis_cli(installation.settings)} ACL SETUSER default '~*' '&*' +@all"
        fix = f"{command}\nand the same where its users are configured"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.refusal is Refusal.DISK:
        found = "append-only, but the last snapshot failed: it takes no change until one succeeds"
        anyway = _configured(installation, "stop-writes-on-bgsave-error no")
        fix = f"df -h\non the host of Redis; Redis' log says more; or let it take changes anyway:\n{anyway}"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.rewrite_ok is False:
        found = "append-only, but the last rewrite of its file failed: the file grows until one succeeds"
        command = f"{redis_cli(installation.settings)} BGREWRITEAOF"
        fix = f"{command}\nwhen its host has room (df -h, free -m); Redis' log says more"
        return Finding(name, Severity.WARNING, found, fix)
    return Finding(name, Severity.OK, "append-only")


def own_log(installation: Installation) -> Iterator[Finding]:
    """Check what the Redis that `nomad run all` brings logged since its last start, also while it does not answer."""
    if installation.settings.redis_url_file is None:
        return
    path = installation.settings.redis_url_file.with_name(LocalRedis.LOG)
    lines = since_last_start(path)
    if not lines:
        yield Finding("redis log", Severity.UNKNOWN, f"{path} has no start line")
        return
    found = complaints(lines)
    for each in found:
        times = "" if each.lines == 1 else f", {each.lines} times"
        yield replace(each.finding, cause=f"{each.finding.cause} ({path}{times}): {each.first}")
    if not found:
        yield Finding("redis log", Severity.OK, "no complaint since the last start of the own Redis")


def _snapshots(name: str, facts: ServerFacts, fix: str) -> Finding:
    if facts.snapshots is None:
        return Finding(name, Severity.UNKNOWN, "append-only is off; whether snapshots are on is unknown", fix)
    if not facts.snapshots:
        found = "append-only and snapshots are off: when Redis restarts, every job is lost"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.snapshot_ok is False:
        return Finding(
            name, Severity.PROBLEM, "the last snapshot failed", "df -h\non the host of Redis; Redis' log says more"
        )
    found = "snapshots only: when Redis crashes, what changed since the last one is lost"
    return Finding(name, Severity.WARNING, found, fix)


def _commands(facts: ServerFacts, installation: Installation) -> Iterator[Finding]:
    """Report the commands that Redis refuses us; one that takes no change at all is another finding."""
    if facts.refusal is not None:
        return
    refused = installation.broker.refused_commands()
    if not refused:
        yield Finding("redis commands", Severity.OK, "it takes all that we need")
        return
    user = urlsplit(installation.settings.redis_url).username or "default"
    allowed = f"ACL SETUSER {user} ~nomad:* +@all -@admin +info +config|get\nin redis-cli, as Redis' administrator"
    renamed = all(each.refusal is Refusal.COMMAND for each in refused)
    fix = "take their rename-command lines out of redis.conf and restart it" if renamed else allowed
    yield Finding("redis commands", Severity.PROBLEM, refused_in_words(refused), fix)


def _clock(facts: ServerFacts, installation: Installation) -> Finding:
    conversion = installation.clock.conversion()
    ahead = (installation.clock.now_ms() - conversion.of(facts.now_ms)) / 1000 / max(1.0, conversion.speed)
    apart = max(0.0, abs(ahead) - facts.accuracy_ms / 1000)
    found = f"this host's is {abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} Redis'"
    if apart <= installation.limits.clock_warning_seconds:
        return Finding("clock", Severity.OK, found)
    far = apart > installation.limits.clock_problem_seconds
    consequence = "; schedulers here add nothing until they agree" if far else ""
    fix = "timedatectl set-ntp true\non the host whose clock is wrong"
    return Finding("clock", Severity.PROBLEM if far else Severity.WARNING, found + consequence, fix)


def _steps(installation: Installation) -> Finding:
    """Tell whether Redis' clock has stepped, and queues go on by the workers' clocks."""
    offsets = {queue.name: queue.facts.counts.clock_offset_ms / 1000 for queue in installation.readable}
    worst = max(offsets, key=lambda name: abs(offsets[name]), default=None)
    if worst is None or abs(offsets[worst]) <= installation.limits.clock_problem_seconds:
        return Finding("redis clock", Severity.OK, "it has run evenly")
    found = (
        f"it stepped {'ahead' if offsets[worst] > 0 else 'back'}: queue {worst} goes on {abs(offsets[worst]):.0f} s "
        f"{'behind' if offsets[worst] > 0 else 'ahead of'} it, so that nothing starts early or is left behind"
    )
    return Finding("redis clock", Severity.WARNING, found, "timedatectl set-ntp true\non the host of Redis")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
