"""The queues' Redis: does it answer, keep all jobs and have free memory, and is its clock right."""

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
from ..settings.redis_urls import redis_cli
from .installation import Installation


def reached(installation: Installation) -> Finding:
    """Report whether Redis answers, and its version."""
    where = installation.settings.redis_url.shown
    try:
        version = installation.server.version
    except RedisUnavailable as error:
        refusal = error.refusal
        state = "does not answer" if refusal is None else "denies access" if refusal is Refusal.PASSWORD else "refuses"
        return Finding(
            "redis", Severity.PROBLEM, f"{where} {state}: {redact(str(error))}", _reach(installation, refusal)
        )
    return Finding("redis", Severity.OK, f"{version or 'unknown version'} at {where}")


def _reach(installation: Installation, refusal: Refusal | None) -> str:
    path = installation.settings.redis_url_file
    if refusal is Refusal.LOADING:
        return "wait: it continues by itself when everything is loaded"
    if refusal is Refusal.PASSWORD and path is None:
        return "correct the password: REDIS_PASSWORD, or in REDIS_URL=redis://:PASSWORD@host:6379/0"
    elsewhere = "set its address: export REDIS_URL=redis://host:6379/0"
    if path is not None:
        whose = "another Redis has its port now; this " if refusal is Refusal.PASSWORD else ""
        return f"make run\n{whose}starts the Redis that {path} is the address of; or {elsewhere}"
    if not installation.settings.redis_url_is_given:
        brings = (
            f"or nomad run all: both start everything on this host, with a Redis in {installation.settings.var_dir}"
        )
        return f"make run\n{brings}; or, if you already have a Redis, {elsewhere}"
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
    """Report why it accepts no changes now; the other checks report the cause."""
    if facts.refusal is not None:
        full = facts.refusal is Refusal.FULL
        fix = "nomad clean QUEUE --status completed\nfrees memory" if full else "see the other findings about Redis"
        yield Finding("redis changes", Severity.PROBLEM, str(facts.refusal), fix, subject="Redis")


def _role(facts: ServerFacts) -> Finding:
    if facts.role == "slave":
        fix = "export REDIS_URL=redis://HOST:6379/0\nwith the host of the primary"
        return Finding("redis role", Severity.PROBLEM, "it is a replica: it accepts no changes", fix)
    severity = Severity.OK if facts.role else Severity.UNKNOWN
    return Finding("redis role", severity, facts.role or "INFO is not allowed here")


def _policy(facts: ServerFacts, installation: Installation) -> Finding:
    name, policy = "redis eviction", facts.memory_policy
    if policy is None:
        return Finding(name, Severity.UNKNOWN, "INFO is not allowed here", "check that maxmemory-policy is noeviction")
    if policy == "noeviction":
        return Finding(name, Severity.OK, policy)
    found = f"maxmemory-policy is {policy}: a full Redis would silently delete jobs"
    return Finding(name, Severity.PROBLEM, found, _configured(installation, "maxmemory-policy noeviction"))


def _configured(installation: Installation, setting: str) -> str:
    """Return the commands that apply a setting, now and after the next start."""
    # The Redis of `nomad run all` has no redis.conf.
    has_file = installation.settings.redis_url_file is None
    config_file = f"\nand add this to redis.conf for its next start: {setting}" if has_file else ""
    return f"{redis_cli(installation.settings)} CONFIG SET {setting}{config_file}"


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
    severity = Severity.PROBLEM if full else Severity.WARNING
    return Finding(name, severity, f"{found}; when full, no job can be added", fix)


def _persistence(facts: ServerFacts, installation: Installation) -> Finding:
    name = "redis persistence"
    if facts.append_only is None:
        return Finding(name, Severity.UNKNOWN, "INFO is not allowed here", "check that appendonly is on")
    if facts.append_only and facts.append_ok is False:
        fix = "df -h\non the host of Redis: free disk space there; see Redis' log"
        found = "the last write to the append-only file failed: it accepts no changes until it can write"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.append_only:
        return _append_only(name, facts, installation)
    return _snapshots(name, facts, _configured(installation, "appendonly yes"))


def _append_only(name: str, facts: ServerFacts, installation: Installation) -> Finding:
    if facts.replays_all is False:
        found = (
            "its user `default` may not execute all commands: it replays its append-only file as this user, so the "
            "next restart drops jobs"
        )
        # "off" stays, so clients without a password still have no access.
        command = f"{redis_cli(installation.settings)} ACL SETUSER default '~*' '&*' +@all"
        fix = f"{command}\nand the same where its users are configured"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.refusal is Refusal.DISK:
        found = "append-only, but the last snapshot failed: it accepts no changes until one succeeds"
        anyway = _configured(installation, "stop-writes-on-bgsave-error no")
        fix = f"df -h\non the host of Redis; see Redis' log; or let it accept changes anyway:\n{anyway}"
        return Finding(name, Severity.PROBLEM, found, fix)
    if facts.rewrite_ok is False:
        found = "append-only, but the last rewrite of its file failed: the file grows until one succeeds"
        command = f"{redis_cli(installation.settings)} BGREWRITEAOF"
        fix = f"{command}\nwhen its host has free space (df -h, free -m); see Redis' log"
        return Finding(name, Severity.WARNING, found, fix)
    return Finding(name, Severity.OK, "append-only")


def own_log(installation: Installation) -> Iterator[Finding]:
    """Check the log of `nomad run all`'s Redis since its last start, even if it does not answer."""
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
        space = "df -h\non the host of Redis; Redis' log says more"
        return Finding(name, Severity.PROBLEM, "the last snapshot failed", space)
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
    found = f"this host's clock is {abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} Redis'"
    if apart <= installation.limits.clock_warning_seconds:
        return Finding("clock", Severity.OK, found)
    far = apart > installation.limits.clock_problem_seconds
    consequence = "; schedulers on this host add no jobs until the clocks agree" if far else ""
    fix = "timedatectl set-ntp true\non the host whose clock is wrong"
    return Finding("clock", Severity.PROBLEM if far else Severity.WARNING, found + consequence, fix)


def _steps(installation: Installation) -> Finding:
    """Report whether Redis' clock has stepped, so that queues follow the workers' clocks."""
    offsets = {queue.name: queue.facts.counts.clock_offset_ms / 1000 for queue in installation.readable}
    worst = max(offsets, key=lambda name: abs(offsets[name]), default=None)
    if worst is None or abs(offsets[worst]) <= installation.limits.clock_problem_seconds:
        return Finding("redis clock", Severity.OK, "it has not stepped")
    found = (
        f"it stepped {'forward' if offsets[worst] > 0 else 'back'}: queue {worst} stays {abs(offsets[worst]):.0f} s "
        f"{'behind' if offsets[worst] > 0 else 'ahead of'} it, so that no job starts early or too late"
    )
    return Finding("redis clock", Severity.WARNING, found, "timedatectl set-ntp true\non the host of Redis")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
