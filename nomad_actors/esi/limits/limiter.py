"""The limiter: reserves room for each request to ESI and SSO before it is sent, and settles it with the response."""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from ...clock import Clock
from ...logs import get_logger
from ...metrics.definitions import ESI_NOT_SENT
from ..errors import NotSent
from ..routes import Route
from .brakes import ESI, FAILING_CHARACTERS, SSO, TOKENS, WORST_TOKENS, Brake, Outcome, failing
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
#: When a job tries again if Redis does not answer.
_WITHOUT_REDIS_SECONDS = 5.0
#: A job that a brake stops comes back up to this much later, so that not all come at once.
_JITTER_SHARE, _JITTER_MAX_MS = 0.25, 60_000

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
    began_mono: float = field(default_factory=time.monotonic)

    @property
    def limited(self) -> str:
        """The name of the brake for a limit that this request met: its bucket's, else its route's."""
        route = self.route.name if self.route is not None else ""
        return f"bucket:{self.bucket}" if self.bucket is not None else f"route:{route}"


class Limiter:
    """Keeps the limits of one ESI application, together with all processes that use the same Redis; thread-safe.

    `client` must decode replies (`decode_responses=True`). While Redis does not answer, nothing can be reserved, so
    nothing is sent; a request that is under way ends as usual.
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
        self._scripts = {name: client.register_script(script(name)) for name in ("reserve", "settle", "brake")}

    def reserve(self, route: Route, character_id: int, *, for_user: bool = False) -> Reservation:
        """Reserve room for one request.

        Raises `NotSent` with the time when there may be room.
        """
        try:
            group = self._groups.of(route)
        except redis.RedisError as error:
            raise without_redis(error) from error
        bucket = f"{group.name}:{self._application}:{character_id}" if group else None
        share = 1.0 if for_user else 1 - USERS_SHARE
        fleet = max(int(self._concurrency * share), 1)
        request: dict[str, Any] = {
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
        reservation = Reservation(uuid.uuid4().hex, brakes, route, character_id, group, bucket)
        return self._reserved(reservation, request)

    def reserve_sso(self) -> Reservation:
        """Reserve room for one request to SSO.

        Raises `NotSent` with the time when there may be room.
        """
        request = {"cost": 0, "errors": False, "concurrency": [{"name": SSO, "limit": SSO_CONCURRENCY}]}
        return self._reserved(Reservation(uuid.uuid4().hex, (SSO,)), request)

    def _reserved(self, reservation: Reservation, request: dict[str, Any]) -> Reservation:
        request |= {"id": reservation.id, "brakes": reservation.brakes, "hold_ms": HOLD_MS}
        try:
            reply = self._run("reserve", request)
        except redis.RedisError as error:
            raise without_redis(error) from error
        if reply[0] == "wait":
            self._raise_not_sent(float(reply[1]), reply[2], reply[3])
        if reply[0] == "probe" and reply[1] == ESI:
            return replace(reservation, is_probe=True)
        return reservation

    def _raise_not_sent(self, wait_ms: float, cause: str, reason: str) -> None:
        ESI_NOT_SENT.labels(cause.partition(":")[0]).inc()
        if cause in (ESI, SSO, TOKENS) or cause.startswith("route:"):
            wait_ms += random.uniform(0, min(wait_ms * _JITTER_SHARE, _JITTER_MAX_MS))
        raise NotSent(
            f"nothing was sent: {reason} ({cause})", cause=cause, retry_after_seconds=self._real_seconds(wait_ms)
        )

    def _real_seconds(self, wait_ms: float) -> float:
        # Jobs are delayed by real time; a stopped clock says nothing about it.
        return wait_ms / 1000 / (self._clock.conversion().speed or 1.0)

    def settle(self, reservation: Reservation, outcome: Outcome) -> None:
        """Replace what was reserved by what the response took, and set the brake that it asks for."""
        request: dict[str, Any] = {
            "id": reservation.id,
            "spent": outcome.spent,
            "limit": reservation.group.tokens if reservation.group else 0,
            "is_error": outcome.is_error,
            "latency_ms": (time.monotonic() - reservation.began_mono) * 1000,
            "ok": outcome.ok,
            "token_ok": outcome.token_ok,
            "brakes": reservation.brakes,
        }
        if outcome.remaining is not None and reservation.group is not None:
            request["remaining"] = outcome.remaining
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
        _, until, *lifted = self._run_if_possible("settle", request)
        for name in lifted:
            logger.info("brake lifted", brake=name)
        brake = outcome.brake or (failing(route.name) if route is not None else None)
        if until and brake is not None:
            self._log_brake(brake, int(until))

    def learn(self, reservation: Reservation, headers: Any) -> None:
        """Save the rate group that a response names."""
        if reservation.route is None:
            return
        try:
            self._groups.learn(reservation.route, headers)
        except redis.RedisError as error:
            logger.warning("a rate group could not be saved", error=str(error))

    def brake(self, brake: Brake) -> None:
        """Set a brake."""
        if until := self._run_if_possible("brake", brake.request())[1]:
            self._log_brake(brake, int(until))

    def lift(self, name: str) -> None:
        """Lift a brake; requests start again slowly."""
        self._run_if_possible("brake", {"lift": name})
        logger.info("brake lifted", brake=name)

    def state(self) -> LimitsState:
        """Return the brakes in force, the error limit, buckets without room and the requests under way."""
        return read_state(self.client, self._clock)

    def _log_brake(self, brake: Brake, until_ms: int) -> None:
        seconds = round((until_ms - self._clock.now_ms()) / 1000)
        logger.warning("brake set", brake=brake.name, reason=brake.reason, seconds=seconds)

    def _run_if_possible(self, name: str, request: dict[str, Any]) -> list[Any]:
        """Run a script; if Redis fails, only log that, to keep the response: the reservation later counts as spent."""
        try:
            return self._run(name, request)
        except redis.RedisError as error:
            logger.warning("ESI's limits could not be updated", error=str(error))
            return [0, ""]

    def _run(self, name: str, request: dict[str, Any]) -> list[Any]:
        conversion = self._clock.conversion()
        reply: list[Any] = self._scripts[name](
            keys=[BASE],
            args=[conversion.since_ms, conversion.at_ms, conversion.speed, json.dumps(request, separators=(",", ":"))],
        )
        return reply


def without_redis(error: redis.RedisError) -> NotSent:
    ESI_NOT_SENT.labels("redis").inc()
    return NotSent(
        f"nothing was sent: ESI's limits are in Redis, which does not answer ({error})",
        cause="redis",
        retry_after_seconds=_WITHOUT_REDIS_SECONDS,
    )
