"""One measurement in a separate process: `python -m bench.child SYSTEM SCENARIO REDIS_URL` prints JSON."""

from __future__ import annotations

import json
import os
import sys

import dramatiq
import redis

from .scenarios import SCENARIOS
from .systems import make_broker


def main(system: str, scenario: str, url: str) -> None:
    """Measure and print the result as JSON."""
    client = redis.Redis.from_url(url)
    client.flushall()
    with open(os.devnull, "w", encoding="utf-8") as lines:
        broker = make_broker(system, url, lines)
        dramatiq.set_broker(broker)
        measured = SCENARIOS[scenario](broker, client)
        broker.close()
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
