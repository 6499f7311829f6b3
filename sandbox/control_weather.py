"""The part of the control API that makes weather: faults, downtimes, scripts, limits."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, request

from .fault_kinds import KINDS
from .faults import BadFault, Fault
from .responses import RequestError, as_json
from .script import BadStep
from .state import SandboxState


def add_faults(blueprint: Blueprint, state: SandboxState) -> None:
    """Add the endpoints of faults."""

    @blueprint.get("/faults")
    def faults() -> Response:
        return as_json([asdict(fault) for fault in state.faults.waiting()])

    @blueprint.get("/faults/kinds")
    def kinds() -> Response:
        return as_json(dict(KINDS))

    @blueprint.post("/faults")
    def add_fault() -> Response:
        try:
            fault = Fault.from_json(request.get_json(silent=True))
        except BadFault as error:
            raise RequestError(400, str(error)) from error
        state.faults.add(fault)
        return as_json(asdict(fault), status=201)

    @blueprint.delete("/faults")
    def clear_faults() -> Response:
        state.faults.clear()
        return Response(status=204)


def add_script(blueprint: Blueprint, state: SandboxState) -> None:
    """Add the endpoints of scripts and downtimes."""

    @blueprint.get("/script")
    def script() -> Response:
        return as_json({"steps": state.script.as_json()})

    @blueprint.post("/script")
    def add_steps() -> Response:
        try:
            state.script.add(_body().get("steps"))
        except BadStep as error:
            raise RequestError(400, str(error)) from error
        return script()

    @blueprint.delete("/script")
    def clear_script() -> Response:
        state.script.clear()
        state.outages.clear()
        return Response(status=204)

    @blueprint.get("/downtime")
    def downtime() -> Response:
        now = {service: state.outages.now(service) is not None for service in ("esi", "sso")}
        ordered = [
            {"service": each.service, "from_ms": int(each.from_s * 1000), "until_ms": int(each.until_s * 1000)}
            for each in state.outages.all()
        ]
        return as_json({"down": now, "daily": state.outages.daily, "ordered": ordered})

    @blueprint.post("/downtime")
    def set_daily() -> Response:
        daily = _body().get("daily")
        if not isinstance(daily, bool):
            raise RequestError(400, 'the body must be {"daily": true or false}; POST /sandbox/script orders others')
        state.outages.daily = daily
        return downtime()


def add_limits(blueprint: Blueprint, state: SandboxState) -> None:
    """Add the endpoints of the limits that can be changed."""

    @blueprint.get("/limits")
    def limits() -> Response:
        load = state.refresh_load
        return as_json(
            {"enforced": state.enforce_limits, "sso_parallel": load.limit, "sso_latency_seconds": load.latency_s}
        )

    @blueprint.post("/limits")
    def set_limits() -> Response:
        body = _body()
        parallel = body.get("sso_parallel", state.refresh_load.limit)
        latency_s = body.get("sso_latency_seconds", state.refresh_load.latency_s)
        if set(body) - {"sso_parallel", "sso_latency_seconds"} or not (
            (parallel is None or (isinstance(parallel, int) and parallel > 0))
            and isinstance(latency_s, (int, float))
            and latency_s >= 0
        ):
            raise RequestError(400, "the body may have sso_parallel (1 or more, or null) and sso_latency_seconds")
        state.refresh_load.limit, state.refresh_load.latency_s = parallel, float(latency_s)
        return limits()


def _body() -> dict[str, object]:
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}
