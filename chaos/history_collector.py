"""A process that collects history until it is killed: `python -m chaos.history_collector CONFIG`.

It reads tasks as lines of JSON, sets its clock to the task's time, runs the real job, and prints how the job ended.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from nomad_actors.app import create_app
from nomad_actors.broker.errors import PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.errors import NomadError, TryLater, Unavailable
from nomad_actors.jobs.historical_data import HISTORICAL_DATA_COLLECTION, HistoricalDataPayload, run
from nomad_actors.jobs.services import Services
from nomad_actors.processes.parent import end_with_parent

from .refreshing_process import settings_of


def collect(services: Services, task: dict[str, Any]) -> dict[str, Any]:
    """Return `{"collected": outcomes}`, `{"later_seconds": …}` or `{"failed": …}`."""
    names = ("character_id", "user_id", "data_type")
    payload = HISTORICAL_DATA_COLLECTION.validate({name: task[name] for name in names})
    assert isinstance(payload, HistoricalDataPayload)
    try:
        return {"collected": run(payload, services).outcomes}
    except TryLater as error:
        return {"later_seconds": error.retry_after_seconds, "reason": str(error)}
    except Unavailable as error:
        return {"later_seconds": 1.0, "reason": str(error)}
    except (NomadError, PermanentError) as error:
        return {"failed": str(error)}


def main() -> None:
    """Run one task after the other."""
    end_with_parent()
    logging.disable(logging.CRITICAL)
    config = json.loads(sys.argv[1])
    clock = ManualClock(config["now_ms"])
    app = create_app(settings_of(config, os.getpid()), clock=clock)
    for line in sys.stdin:
        task = json.loads(line)
        clock.advance(seconds=max(task["now_ms"] - clock.now_ms(), 0) / 1000)
        print(json.dumps(collect(app.services, task)), flush=True)


if __name__ == "__main__":
    main()
