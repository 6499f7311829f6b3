"""Processes that refresh logins until they are killed, forked from one that has imported everything.

`python -m chaos.refreshing_process CONFIG` forks one for each line that it reads, and prints its process id.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from nomad_actors.app import create_app
from nomad_actors.broker.errors import PermanentError
from nomad_actors.errors import TryLater, Unavailable
from nomad_actors.jobs.token_keeper import TokenKeeper
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.settings import Settings

from .scheduler_process import FastClock

THREADS = 3
#: So that the sandbox's ledger says which process asked.
USER_AGENT = "nomad-chaos/{pid} (chaos@example.com)"
#: How often a login is refreshed although its access token is valid.
FORCED_SHARE = 0.4
#: Shorter than an outage of the database, which is then met while SSO's response is saved.
DEADLINE_MS = 1_000


def settings_of(config: dict[str, Any], pid: int) -> Settings:
    """Return the settings of a process."""
    return Settings(
        redis_url=config["redis"],
        database_url=config["database"],
        var_dir=Path(config["directory"]),
        token_keys=("a key for chaos",),
        eve_client_id="sandbox-client",
        eve_client_secret="sandbox-secret",
        esi_base_url=config["sandbox"],
        sso_base_url=config["sandbox"],
        esi_user_agent=USER_AGENT.format(pid=pid),
    )


def _refresh_logins(config: dict[str, Any]) -> NoReturn:
    app = create_app(
        settings_of(config, os.getpid()), clock=FastClock(*config["clock"]), caller_deadline_ms=DEADLINE_MS
    )
    keeper = TokenKeeper(app.services)
    for _ in range(THREADS - 1):
        threading.Thread(target=_ask_for_tokens, args=(keeper, config["characters"]), daemon=True).start()
    _ask_for_tokens(keeper, config["characters"])


def _ask_for_tokens(keeper: TokenKeeper, characters: list[int]) -> NoReturn:
    draw = random.Random()
    while True:
        # Half of the time, everybody asks for the same one.
        character_id = draw.choice([draw.choice(characters), characters[int(time.time() * 2) % len(characters)]])
        try:
            token = keeper.get_token(character_id)
            if not token.refreshed and draw.random() < FORCED_SHARE:
                keeper.get_token(character_id, other_than=token.access_token)
        except (TryLater, Unavailable, PermanentError):
            pass  # A job would be deferred, be retried, or fail.
        except BaseException:
            traceback.print_exc()
        time.sleep(draw.uniform(0.0, 0.1))


def main() -> None:
    """Fork a process for each line of the standard input."""
    end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Every brake and every strike is logged; what is left on the standard error is an error of ours.
    logging.disable(logging.CRITICAL)
    config = json.loads(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            _refresh_logins(config)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
