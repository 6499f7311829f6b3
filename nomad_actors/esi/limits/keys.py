"""Every Redis key of the limiter: its name, type and meaning. No other code builds one, in Python or Lua.

All keys have one hash tag, so that a script can use them together on a Redis Cluster. They are in the queues'
Redis, which neither evicts nor loses keys: a fleet that restarts must still know what it has spent.
"""

from __future__ import annotations

from typing import NamedTuple

BASE = "nomad:{esi}"


class Key(NamedTuple):
    """One key, or with ``{}`` in its suffix a family of keys."""

    suffix: str
    type: str
    meaning: str


KEYS: dict[str, Key] = {
    "brakes": Key("brakes", "hash", "name of a brake → why, since and until when it stops requests (JSON)"),
    "holds": Key("holds", "hash", "id of a request under way → what it has reserved (JSON)"),
    "under_way": Key("under_way:{}", "zset", "id of each request under way there, by when it is given up (ms)"),
    "bucket": Key("bucket:{}", "hash", "tokens `used`, `held`, `limit`; `oldest` slot, `window`; slot → tokens spent"),
    "errors": Key("errors", "hash", "the old error limit: `remaining`, `reset` (ms), `held`, `next` (ms)"),
    "turns": Key(
        "turns", "hash", "concurrency limit → when the next of those without room may ask (ms); `latency` (ms)"
    ),
    "ramps": Key("ramps", "hash", "brake, `:from` or `:until` → the slow start after it (ms); `downtime` → the day"),
    "starving": Key("starving", "zset", "bucket, by when it last had no room (ms)"),
    "failing": Key("failing:{}", "zset", "character for which this route last failed, by time (ms)"),
    "jwks": Key("jwks", "string", "SSO's public keys (JSON), a day old at most; expires"),
    "unsaved": Key(
        "unsaved",
        "hash",
        "character → digest of a replaced refresh token, and the new one that the database missed",
    ),
    "groups": Key("groups", "hash", "rate group → tokens and window (ms) that ESI named and we did not know"),
    "routes": Key("routes", "hash", "route → rate group that ESI named and we did not know"),
    "stopped": Key("stopped", "hash", "brake → how often it has stopped a request since it was set"),
    "fullest": Key("fullest", "zset", "bucket of which half or more is used, by that share when it was last used"),
    "status": Key("status", "string", "until when the last `/status` of an open server is fresh (ms), and its ETag"),
    "spec_check": Key("spec_check", "string", "the last comparison of our routes with CCP's documents (JSON)"),
    "jwks_asked": Key("jwks_asked", "string", "exists after SSO was asked for a key that nobody knew; expires"),
    "flight": Key("flight:{}", "string", "who requests this route of this character now; expires"),
    "doubtful": Key("doubtful", "hash", "as `unsaved`, for a token whose response named another character"),
}


def key(name: str, part: str = "") -> str:
    """Return a key's name; `part` selects one of a family."""
    return f"{BASE}:{KEYS[name].suffix.format(part)}"
