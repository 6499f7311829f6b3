"""The limiter: reserves room for each request to ESI and SSO before it is sent, and settles it with the response."""

from __future__ import annotations

import json
import math
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from ...clock import Clock
from ...errors import Unavailable
from ...logs import get_logger
from ...metrics.definitions import ESI_NOT_SENT
from ..errors import NotSent
from ..routes import Route
from .brakes import ESI, FAILING_CHARACTERS, SSO, TOKENS, WORST_TOKENS, Brake, BrakeKind, Outcome, failing
from .keys import BASE
from .loader import script
from .rate_groups import RateGroup, RateGroups
from .state import LimitsState, read_state

#: Requests under way in the whole fleet, and the share of them that one route may take.
CONCURRENCY = 32
ROUTE_SHARE = 0.25
#: What a user asked for may take everything; the rest leaves this share of each bucket and of the concurrency.
USERS_SHARE = 0.2
#: More than five parallel refreshes were answered with 500s and cut connections (ccpgames/sso-issues #58).
SSO_CONCURRENCY = 4
#: CCP's daily downtime begins at 11:00 UTC; until 11:05 nobody asks whether it is over.
DOWNTIME_MS = (11 * 3_600_000, 11 * 3_600_000 + 300_000)
#: Longer than both timeouts of a request: after this time its process is gone.
HOLD_MS = 60_000
#: A refresh asks for SSO's keys too, and saves its tokens before it is settled.
SSO_HOLD_MS = 150_000
#: When a job tries again if Redis does not answer.
_WITHOUT_REDIS_SECONDS = 5.0
#: How long a process remembers what a response meant while it could not write that to Redis; no brake is longer.
_REMEMBERED_SECONDS = 3_600.0

logger = get_logger("nomad_actors.esi.limits.limiter")


@dataclass(frozen=True)
class Reservation:
    """Room for one request."""

    id: str
    #: The brakes that can stop it, the one for everything first.
    brakes: tuple[str, ...]
    route: Route | None = None
    character_id: int | None = None
    group: RateGroup | None = None
    #: The name of its bucket.
    bucket: str | None = None
    #: The first request after a brake for everything: it may be sent only if `/status` says that ESI is back.
    is_probe: bool = False
    #: How many probes in a row before it could not tell whether ESI is back.
    unclear_probes: int = 0
    began_mono: float = field(default_factory=time.monotonic)

    @property
    def limited(self) -> str:
        """The name of the brake for a limit that this request met: its bucket's, else its route's."""
        route = self.route.name if self.route is not None else ""
        return f"bucket:{self.bucket}" if self.bucket is not None else f"route:{route}"


class Limiter:
    """Keeps the limits of one ESI application, together with all processes that use the same Redis; thread-safe.

    `client` must decode replies (`decode_responses=True`). While Redis does not answer, nothing can be reserved, so
    nothing is sent. A request that is under way ends as usual; what its response means for others is written to Redis
    before this process reserves anything again.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        clock: Clock,
        application: str,
        concurrency: int = CONCURRENCY,
        downtime_ms: tuple[int, int] | None = None,
    ) -> None:
        #: Where the limits are; what else the fleet shares about ESI is there too.
        self.client = client
        self._clock = clock
        self._application = application
        self._concurrency = concurrency
        self._downtime_ms = downtime_ms
        self._groups = RateGroups(client)
        self._unwritten: deque[tuple[float, str, dict[str, Any]]] = deque()
        self._lock = threading.Lock()
        self._scripts = {name: client.register_script(script(name)) for name in ("reserve", "settle", "brake")}

    def reserve(self, route: Route, character_id: int, *, for_user: bool = False) -> Reservation:
        """Reserve room for one request.

        Raises `NotSent` with the time when there may be room.
        """
        return self._reserved(*self._request(route, character_id, for_user))

    def check(self, route: Route, character_id: int, *, for_user: bool = False) -> None:
        """Check, in one round trip and without reserving, whether anything may be sent for a route of a character.

        Room in the concurrency is not checked. Raises `NotSent` as `reserve`.
        """
        reservation, request = self._request(route, character_id, for_user)
        self._reserved(reservation, request | {"check": True})

    def _request(self, route: Route, character_id: int, for_user: bool) -> tuple[Reservation, dict[str, Any]]:
        """Return a reservation, and the request for it."""
        try:
            group = self._groups.of(route)
        except redis.RedisError as error:
            raise self.without_redis(error) from error
        bucket = self._bucket(group, route, character_id)
        share = 1.0 if for_user else 1 - USERS_SHARE
        fleet = max(int(self._concurrency * share), 1)
        request: dict[str, Any] = {
            "hold_ms": HOLD_MS,
            "cost": WORST_TOKENS,
            "errors": group is None,
            "concurrency": [
                {"name": ESI, "limit": fleet},
                {"name": f"esi:{route.dataset}", "limit": max(int(self._concurrency * ROUTE_SHARE), 1)},
            ],
        }
        if group is not None:
            # A bucket smaller than one request still has room for one.
            request |= {
                "bucket": bucket,
                "limit": max(int(group.tokens * share), min(WORST_TOKENS, group.tokens)),
                "window_ms": group.window_ms,
                "cost": min(WORST_TOKENS, group.tokens),
            }
        if self._downtime_ms is not None:
            request["downtime"] = self._downtime_ms
        brakes = (ESI, f"route:{route.name}", *([TOKENS, f"character:{character_id}"] if route.scopes else []))
        if bucket is not None:
            brakes = (*brakes, f"bucket:{bucket}")
        return Reservation(uuid.uuid4().hex, brakes, route, character_id, group, bucket), request

    def _bucket(self, group: RateGroup | None, route: Route, character_id: int | None) -> str | None:
        """Return the name of a bucket; without a token, CCP counts by address."""
        owner = character_id if route.scopes else "address"
        return f"{group.name}:{self._application}:{owner}" if group else None

    def reserve_sso(self, *, for_user: bool = False) -> Reservation:
        """Reserve room for one call of SSO; one `for_user` goes although SSO refused us, as its settings may be new.

        Raises `NotSent` with the time when there may be room.
        """
        return self._reserved(*self._sso_request(for_user))

    def check_sso(self) -> None:
        """Check, in one round trip and without reserving, whether SSO's brake lets a refresh through.

        Raises `NotSent` as `reserve_sso`.
        """
        reservation, request = self._sso_request()
        self._reserved(reservation, request | {"check": True})

    def _sso_request(self, for_user: bool = False) -> tuple[Reservation, dict[str, Any]]:
        request: dict[str, Any] = {
            "hold_ms": SSO_HOLD_MS,
            "cost": 0,
            "errors": False,
            "concurrency": [{"name": SSO, "limit": SSO_CONCURRENCY}],
        }
        if for_user:
            request["ignore"] = BrakeKind.REFUSED
        return Reservation(uuid.uuid4().hex, (SSO,)), request

    def _reserved(self, reservation: Reservation, request: dict[str, Any]) -> Reservation:
        request |= {"id": reservation.id, "brakes": reservation.brakes}
        try:
            self._write_unwritten()
            reply = self._run("reserve", request)
        except redis.RedisError as error:
            raise self.without_redis(error) from error
        if reply[0] == "wait":
            wait_ms, cause, reason, spread_ms = float(reply[1]), reply[2], reply[3], float(reply[4])
            # More and more of them come back, as the slow start lets more and more through.
            raise self.not_sent(reason, cause=cause, wait_ms=wait_ms + spread_ms * math.sqrt(random.random()))
        if reply[0] == "probe" and reply[1] == ESI:
            return replace(reservation, is_probe=True, unclear_probes=int(reply[2]))
        return reservation

    def not_sent(self, reason: str, *, cause: str, wait_ms: float) -> NotSent:
        """Return the error of a request that is not sent, and count it; `wait_ms` is by this limiter's clock."""
        ESI_NOT_SENT.labels(cause.partition(":")[0]).inc()
        seconds = self._clock.conversion().real_seconds(wait_ms)
        return NotSent(f"nothing was sent: {reason} ({cause})", cause=cause, retry_after_seconds=seconds)

    def without_redis(self, error: redis.RedisError) -> NotSent:
        ESI_NOT_SENT.labels("redis").inc()
        return NotSent(
            f"nothing was sent: ESI's limits are in Redis, which does not answer ({error})",
            cause="redis",
            retry_after_seconds=_WITHOUT_REDIS_SECONDS * random.uniform(1, 2),
        )

    def settle(self, reservation: Reservation, outcome: Outcome) -> None:
        """Replace what was reserved by what the response took, and set the brake that it asks for."""
        request: dict[str, Any] = {
            "id": reservation.id,
            "spent": outcome.spent,
            "is_error": outcome.is_error,
            "latency_ms": (time.monotonic() - reservation.began_mono) * 1000,
            "ok": outcome.ok,
            "token_ok": outcome.token_ok,
            "brakes": reservation.brakes,
        }
        request |= self._settled_bucket(reservation, outcome)
        if outcome.error_remaining is not None:
            request |= {"error_remaining": outcome.error_remaining, "error_reset_ms": outcome.error_reset_ms}
        if outcome.brake is not None:
            request["brake"] = outcome.brake.request()
        if (route := reservation.route) is not None:
            if outcome.route_failed:
                request["failing"] = {
                    "route": route.name,
                    "character": reservation.character_id,
                    "characters": FAILING_CHARACTERS,
                    "brake": failing(route.name).request(),
                }
            elif outcome.ok:
                request["works"] = route.name
        _, until, *lifted = self._run_or_remember("settle", request)
        for name in lifted:
            logger.info("brake lifted", brake=name)
        if until and outcome.brake is not None:
            self._log_brake(outcome.brake, int(until))

    def _settled_bucket(self, reservation: Reservation, outcome: Outcome) -> dict[str, Any]:
        """Return the bucket that a response counts in: by the limit that it names, which may be new."""
        group, route = outcome.group or reservation.group, reservation.route
        if group is None or route is None:
            return {}
        if outcome.group is not None:
            try:
                self._groups.learn(route, outcome.group)
            except redis.RedisError as error:
                logger.warning("a rate group could not be saved", error=str(error))
        bucket = self._bucket(group, route, reservation.character_id)
        found = {"bucket": bucket, "limit": group.tokens, "window_ms": group.window_ms}
        return found if outcome.remaining is None else found | {"remaining": outcome.remaining}

    def brake(self, brake: Brake) -> None:
        """Set a brake."""
        if until := self._run_or_remember("brake", brake.request())[1]:
            self._log_brake(brake, int(until))

    def lift(self, name: str) -> None:
        """Lift a brake; requests start again slowly.

        Raises `Unavailable`.
        """
        with redis_answers():
            self._run("brake", {"lift": name})
        logger.info("brake lifted", brake=name)

    def forget_groups(self) -> list[str]:
        """Forget the rate groups that ESI named, in case it named wrong ones; return their names.

        Other processes forget them within a minute. Raises `Unavailable`.
        """
        with redis_answers():
            return self._groups.forget()

    def state(self) -> LimitsState:
        """Return the brakes in force, the error limit, buckets without room and the requests under way.

        Raises `Unavailable`.
        """
        with redis_answers():
            return read_state(self.client, self._clock, concurrency=self._concurrency, sso_concurrency=SSO_CONCURRENCY)

    def _log_brake(self, brake: Brake, until_ms: int) -> None:
        seconds = round((until_ms - self._clock.now_ms()) / 1000)
        logger.warning("brake set", brake=brake.name, reason=brake.reason, seconds=seconds)

    def _run_or_remember(self, name: str, request: dict[str, Any]) -> list[Any]:
        """Run a script, or if Redis fails run it before anything else is reserved: a brake must not be lost."""
        try:
            return self._run(name, request)
        except redis.RedisError as error:
            logger.warning("ESI's limits could not be updated; they are when Redis answers", error=str(error))
            self._unwritten.append((time.monotonic(), name, self._at_fixed_times(request)))
            return [0, ""]

    def _at_fixed_times(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request in which a brake ends when it would have ended if it had been set now."""
        brake = request.get("brake", request)
        if brake.get("for_ms") is None:
            return request
        fixed = {**brake, "until_ms": self._clock.now_ms() + brake["for_ms"]}
        return {**request, "brake": fixed} if "brake" in request else fixed

    def _write_unwritten(self) -> None:
        if not self._unwritten:
            return
        with self._lock:
            while self._unwritten:
                since_mono, name, request = self._unwritten[0]
                if time.monotonic() - since_mono < _REMEMBERED_SECONDS:
                    self._run(name, request)
                self._unwritten.popleft()

    def _run(self, name: str, request: dict[str, Any]) -> list[Any]:
        conversion = self._clock.conversion()
        reply: list[Any] = self._scripts[name](
            keys=[BASE],
            args=[conversion.since_ms, conversion.at_ms, conversion.speed, json.dumps(request, separators=(",", ":"))],
        )
        return reply


@contextmanager
def redis_answers() -> Iterator[None]:
    """Raise `Unavailable` for errors of the limits' Redis."""
    try:
        yield
    except redis.RedisError as error:
        raise Unavailable(f"the limits are in Redis, which does not answer: {error}") from error
