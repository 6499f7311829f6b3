"""What happens to a fleet that refreshes logins: every fault of SSO, outages, dead and sold logins, and new ones."""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import requests

from nomad_actors.app import App
from nomad_actors.errors import TryLater, Unavailable
from nomad_actors.testing import wait_until
from sandbox.fault_kinds import DEAD_LOGINS, KINDS, TOKEN_PATH
from sandbox.faults import Fault, Faults
from sandbox.ledger import LedgerEntry

from .login_fleet import Fleet

SSO_PATHS = (TOKEN_PATH, "/oauth/jwks")
#: Every fault of SSO that the sandbox has.
SSO_KINDS = tuple(name for name, fault in KINDS.items() if fault.get("path") in SSO_PATHS)
#: Those after which a login seems dead: each for one character, who is never rejected twice in a row by them.
STRIKES = (*DEAD_LOGINS, "token-other-owner")
#: How the sandbox ends logins for good, and what the reason must say then.
ENDS = {kind: description for kind, (_, description) in DEAD_LOGINS.items()} | {
    "sold": DEAD_LOGINS["dead-token"][1],
    "sold alive": "the character has a new owner",
}
FAULT_SECONDS = 180.0


@dataclass
class Weather:
    """Runs on a thread until `stop`; `ended` has the ended logins and how, `met` how often each fault was met."""

    fleet: Fleet
    draw: random.Random
    seconds: float
    #: Whether it ends only when each kind of fault was met.
    with_all: bool
    ended: dict[int, str] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)
    outages: int = 0
    logins: int = 0
    problem: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        characters = self.draw.sample(self.fleet.config["characters"], len(self.fleet.config["characters"]))
        self._doomed, self._living = characters[: len(ENDS)], characters[len(ENDS) :]
        self._began_mono = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; raises `AssertionError` if it had a problem."""
        self._stopped.set()
        self._thread.join(timeout=FAULT_SECONDS * (len(SSO_KINDS) if self.with_all else 4))
        assert not self.problem, self.problem
        # A short form has not come to all of them.
        while self._doomed:
            self._end_next()
        self.fleet.sandbox.parts.faults.clear()

    def _run(self) -> None:
        try:
            with self.fleet.app() as app:
                while not self._stopped.is_set():
                    self._pass_through_all(app)
        except Exception as error:
            self.problem = f"the weather ended: {error!r}"

    def _pass_through_all(self, app: App) -> None:
        """Cause every fault once, an outage of the database now and then, and one of Redis."""
        kinds = self.draw.sample(SSO_KINDS, len(SSO_KINDS))
        # Early, so that a short form comes to it.
        redis_at = self.draw.randrange(5)
        for number, kind in enumerate(kinds):
            if self._stopped.is_set() and (not self.with_all or self.met.get(kind)):
                continue
            self._end_logins()
            self._cause(kind)
            if number == redis_at:
                self.fleet.restart_redis(self.draw.uniform(0.2, 1.0))
            elif number % 6 == 5:
                with self.fleet.database.away():
                    time.sleep(self.draw.uniform(2.0, 4.0))
                self.outages += 1
            self._log_in_again(app)

    def _end_logins(self) -> None:
        """End the doomed logins, one after the other over the first half of the time."""
        passed = (time.monotonic() - self._began_mono) / self.seconds
        while self._doomed and passed >= len(self.ended) / len(ENDS) / 2:
            self._end_next()

    def _end_next(self) -> None:
        character_id, way = self._doomed.pop(), list(ENDS)[len(self.ended)]
        grants = self.fleet.sandbox.parts.grants
        character = self.fleet.sandbox.parts.world.character(character_id)
        assert character is not None
        if way in DEAD_LOGINS:
            grants.kill(character, kind=way)
        else:
            grants.sell(character, kills=way == "sold")
        self.ended[character_id] = way

    def _cause(self, kind: str) -> None:
        """Add a fault, and wait until a process has met it and another refresh has succeeded."""
        if kind in STRIKES:
            # By turns, so that nobody is rejected twice without a success in between.
            count = len(self._living) // len(STRIKES)
            chosen, self._living = self._living[:count], self._living[count:] + self._living[:count]
            for character_id in chosen:
                self._add(kind, character_id=character_id)
        else:
            self._add(kind)
        if kind == "jwks-503":
            # The keys are only read again for a token with an unknown one, once a minute; who gets it may be killed.
            self._add("token-unknown-kid", times=100)
        faults, ledger = self.fleet.sandbox.parts.faults, self.fleet.sandbox.parts.ledger
        added = len(_waiting(faults, kind))
        wait_until(
            lambda: len(_waiting(faults, kind)) < added, timeout_seconds=FAULT_SECONDS, what=f"a process to meet {kind}"
        )
        faults.clear()
        met_mono = time.monotonic()
        # Otherwise the next fault meets the probe after this one, and SSO is left alone for longer and longer.
        wait_until(
            lambda: _is_success(ledger.last(), met_mono), timeout_seconds=FAULT_SECONDS, what=f"a refresh after {kind}"
        )
        self.met[kind] = self.met.get(kind, 0) + 1

    def _add(self, kind: str, **more: object) -> None:
        self.fleet.sandbox.fail(str(KINDS[kind]["path"]), kind=kind, **more)

    def _log_in_again(self, app: App) -> None:
        """Log in those whose last token SSO has rejected as replaced, as their players would."""
        entries = self.fleet.sandbox.ledger()
        replaced = {entry.refresh_token for entry in entries if entry.new_refresh_token}
        rejected = {e.character_id for e in entries if e.status == 400 and e.refresh_token in replaced and not e.fault}
        for character_id in sorted(rejected - set(self.ended) - {None}, key=str):
            assert character_id is not None
            login = app.store.logins.get(character_id)
            if login is not None and login.refresh_token in replaced and login.strikes:
                self._log_in(app, character_id)

    def _log_in(self, app: App, character_id: int) -> None:
        verifier, callback = secrets.token_urlsafe(48), "http://127.0.0.1:9/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        [scopes] = [login["scopes"] for login in self.fleet.sandbox.logins() if login["character_id"] == character_id]
        address = app.services.sso.authorize_url(scopes, "state", challenge, callback)
        response = requests.get(f"{address}&character_id={character_id}", allow_redirects=False, timeout=10)
        code = parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]
        try:
            tokens = app.services.sso.exchange_code(code, verifier, callback)
            app.store.logins.save(
                character_id=tokens.character_id,
                user_id=1,
                name=tokens.name,
                owner_hash=tokens.owner_hash,
                scopes=tokens.scopes,
                refresh_token=tokens.refresh_token,
            )
        except (TryLater, Unavailable):
            return  # The player tries again later.
        self.logins += 1


def _waiting(faults: Faults, kind: str) -> list[Fault]:
    return [fault for fault in faults.waiting() if fault.kind == kind]


def _is_success(entry: LedgerEntry | None, since_mono: float) -> bool:
    return entry is not None and entry.is_delivered and not entry.fault and entry.finished_mono > since_mono
