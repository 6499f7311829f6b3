"""Run the long proofs one after the other: `python -m chaos [--seed N] [--seconds N] [--only NAME]`."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time

from .alerts import alerts
from .api_fuzz import api_fuzz
from .as_users_run_it import as_users_run_it
from .clock_steps import clock_steps
from .conduct import conduct
from .hostile.proof import hostile
from .killed_refreshes import killed_refreshes
from .losses import frozen_one, frozen_workers, killed_workers, killed_workers_and_redis, poison
from .many_characters import many_characters
from .memory import flat_memory
from .million import million
from .outages import cut_lines, killed_redis
from .random_steps import random_steps
from .schedulers import schedulers
from .shutdowns import restarted_workers
from .slow_clients import slow_clients
from .stepped_redis import NoSteppedRedis
from .year_of_history import year_of_history

PROOFS = {
    proof.__name__: proof
    for proof in (
        random_steps,
        clock_steps,
        cut_lines,
        killed_redis,
        restarted_workers,
        killed_workers,
        killed_workers_and_redis,
        frozen_workers,
        frozen_one,
        killed_refreshes,
        poison,
        flat_memory,
        schedulers,
        api_fuzz,
        hostile,
        alerts,
        slow_clients,
        million,
        as_users_run_it,
        conduct,
        many_characters,
        year_of_history,
    )
}


def main() -> int:
    """Run the proofs and print the result of each; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each proof causes faults")
    parser.add_argument("--only", choices=sorted(PROOFS), action="append")
    arguments = parser.parse_args()
    # Every failed run and cut connection is logged, but the proofs cause them on purpose.
    logging.disable(logging.CRITICAL)
    failed = 0
    for name in arguments.only or PROOFS:
        print(f"{name}: seed {arguments.seed}, {arguments.seconds:g} s", flush=True)
        try:
            print(f"  passed: {PROOFS[name](random.Random(arguments.seed), arguments.seconds)}", flush=True)
        except NoSteppedRedis as missing:
            print(f"  skipped: {missing}", flush=True)
        except AssertionError as failure:
            failed += 1
            print(f"  FAILED: {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
