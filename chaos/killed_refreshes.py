"""Processes are killed while they refresh logins, and SSO fails in every way: no login is lost that could be kept."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from nomad_actors.broker.errors import PermanentError
from nomad_actors.errors import TryLater
from nomad_actors.jobs.services import Services
from nomad_actors.jobs.token_keeper import LoginInDoubt, TokenKeeper
from nomad_actors.store import ACTIVE, NEEDS_LOGIN
from sandbox.ledger import LedgerEntry

from .login_fleet import Fleet, LoginDatabase, pid_of, random_delay, run_fleet
from .login_weather import ENDS, SSO_KINDS, Weather

#: What the docs say can be lost: a process killed between SSO's response and the first write. The write itself takes
#: a few milliseconds; the rest is for a machine that lets the process wait.
WINDOW_SECONDS = 0.5
#: The calm phase lets days pass: SSO must reject a login twice, and not in a day in which it rejects many.
CALM_ROUNDS, ROUND_SECONDS = 6, 25 * 3_600
SHORT_SECONDS = 60.0
MAX_AT_ONCE = 4
#: Each of them takes one of the four refreshes in the fleet until its reservation is given up.
AIMED_SHARE = 0.3


def killed_refreshes(draw: random.Random, seconds: float, database: LoginDatabase | None = None) -> str:
    """Refresh logins in 20 processes, kill them at random, and let SSO, the database and Redis fail meanwhile."""
    is_short = seconds < SHORT_SECONDS
    processes, characters, speed = (6, 30, 20.0) if is_short else (20, 100, 10.0)
    with run_fleet(processes, characters, speed, database) as fleet:
        weather = Weather(fleet, draw, seconds, with_all=not is_short)
        weather.start()
        aimed = _kill_at_random(fleet, draw, seconds)
        weather.stop()
        missing = set(SSO_KINDS) - set(weather.met)
        assert is_short or not missing, f"no process met {', '.join(sorted(missing))}"
        for pid in list(fleet.pids):
            fleet.kill(pid)
        calm = _let_calm_return(fleet)
        # Not earlier: the sandbox ends what it began for the killed ones.
        evidence = Evidence(fleet, fleet.sandbox.ledger())
        evidence.check_conduct()
        # A short form on a busy machine may not come to that.
        assert is_short or evidence.most_at_once > 1, "no two refreshes were under way at once: this proves nothing"
        lost = _check_ends(fleet, weather, evidence, calm)
        assert not fleet.unexpected_errors(), fleet.unexpected_errors()[-3_000:]
        return (
            f"{evidence.refreshes} refreshes by {processes} processes, at most {evidence.most_at_once} at once; "
            f"{len(fleet.killed_mono)} kills, {aimed} of them aimed at SSO's response; "
            f"{len(weather.met)} kinds of fault, {sum(weather.met.values())} in all; "
            f"the database away {weather.outages} times; "
            f"{len(evidence.lost_refreshes())} tokens lost in the window "
            f"({evidence.undelivered} because SSO's response was cut), {weather.logins} players logged in again; "
            f"{len(ENDS)} logins ended by SSO and {lost} lost ones in needs_login, the other "
            f"{characters - len(ENDS) - lost} refreshed"
        )


def _kill_at_random(fleet: Fleet, draw: random.Random, seconds: float) -> int:
    """Kill and replace processes, some of them just after SSO's response; return how many those were."""
    end, aimed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        time.sleep(draw.uniform(0.1, 1.5))
        victim = draw.choice(fleet.pids)
        if draw.random() < AIMED_SHARE and (refreshing := _next_refreshing(fleet)):
            victim, aimed = refreshing, aimed + 1
            time.sleep(random_delay(draw))
        fleet.kill(victim)
        fleet.start_process()
    return aimed


def _next_refreshing(fleet: Fleet) -> int | None:
    """Return the process that gets SSO's next new token, None if none does for a while."""
    ledger, deadline = fleet.sandbox.parts.ledger, time.monotonic() + 2
    before = ledger.last()
    while time.monotonic() < deadline:
        entry = ledger.last()
        if entry is not before and entry is not None and entry.new_refresh_token and pid_of(entry) in fleet.pids:
            return pid_of(entry)
        time.sleep(0.001)
    return None


class Evidence:
    """What the sandbox's ledger proves about each token that replaced another one."""

    def __init__(self, fleet: Fleet, entries: list[LedgerEntry]) -> None:
        self._fleet = fleet
        self._entries = entries
        self._issued = {entry.new_refresh_token: entry for entry in entries if entry.new_refresh_token}
        self._replaced = {entry.refresh_token: entry for entry in entries if entry.new_refresh_token}
        self.refreshes = len(self._issued)
        self.most_at_once = 1 + max(entry.others or 0 for entry in entries)

    def is_lost(self, refresh_token: str) -> bool:
        """Return whether the new token that SSO issued last could be lost: nobody had the time to save it."""
        entry = self._issued.get(refresh_token)
        return entry is not None and self._may_be_lost(entry)

    def _may_be_lost(self, entry: LedgerEntry) -> bool:
        killed_mono = self._fleet.killed_mono.get(pid_of(entry), float("inf"))
        return not entry.is_delivered or killed_mono - entry.finished_mono <= WINDOW_SECONDS

    def lost_refreshes(self) -> set[str]:
        """Return the replaced tokens that were used again."""
        used, found = set(), set()
        for entry in self._entries:
            if entry.refresh_token in used:
                found.add(entry.refresh_token)
            if entry.new_refresh_token:
                used.add(entry.refresh_token)
        return found - {""}

    def lost_characters(self) -> set[int | None]:
        """Return the characters to whom that happened."""
        return {self._replaced[token].character_id for token in self.lost_refreshes()}

    @property
    def undelivered(self) -> int:
        """How many of them SSO replaced in a response that never arrived."""
        return sum(not self._replaced[token].is_delivered for token in self.lost_refreshes())

    def check_conduct(self) -> None:
        """Check that no login was refreshed twice at once, and no replaced token used but a lost one."""
        counts = {each["reason"]: each["count"] for each in self._fleet.sandbox.conduct()["reasons"]}
        assert not counts.get("refresh-twice-at-once"), f"{counts['refresh-twice-at-once']} logins twice at once"
        assert not counts.get("sso-parallel"), f"{self.most_at_once} refreshes at once: {self._busiest()}"
        for token in self.lost_refreshes():
            entry = self._replaced[token]
            assert self._may_be_lost(entry), (
                f"a replaced token of character {entry.character_id} was used again, although {self._story(entry)}"
            )

    def _busiest(self) -> str:
        """Describe the requests that were under way with the first one too many, by their seconds in the sandbox."""
        first = next(entry for entry in self._entries if (entry.others or 0) >= MAX_AT_ONCE)
        at_mono = first.arrived_mono
        others = [each for each in self._entries if each.arrived_mono <= at_mono <= each.finished_mono]
        return ", ".join(f"{each.finished_mono - each.arrived_mono:.3f} s ({each.fault or 'none'})" for each in others)

    def _story(self, entry: LedgerEntry) -> str:
        killed_mono = self._fleet.killed_mono.get(pid_of(entry))
        fate = (
            "was not killed" if killed_mono is None else f"was killed {killed_mono - entry.finished_mono:.3f} s later"
        )
        return f"the process that got the new one {fate} (fault: {entry.fault or 'none'})"

    def story_of(self, refresh_token: str) -> str:
        """Describe how SSO issued a token."""
        entry = self._issued.get(refresh_token)
        return "it was never replaced" if entry is None else self._story(entry)


@dataclass
class Calm:
    """What became of the logins: those that were refreshed, and the reasons of those in `needs_login`."""

    refreshed: set[int]
    reasons: dict[int, str]
    #: Those whose stored token is not SSO's latest.
    wrong: set[int]


def _let_calm_return(fleet: Fleet) -> Calm:
    """Let days pass without faults, and refresh each login until it works or needs its player."""
    pending, refreshed = set(fleet.config["characters"]), set()
    for number in range(1, CALM_ROUNDS + 1):
        fleet.sandbox.advance(ROUND_SECONDS)
        with fleet.app(ahead_seconds=number * ROUND_SECONDS) as app:
            done = {each for each in sorted(pending) if _is_settled(app.services, each)}
            pending -= done
            refreshed |= {each for each in done if _state(app.services, each)[0] == ACTIVE}
            if not pending:
                reasons = {
                    each.character_id: each.state_reason or "" for each in app.store.logins.characters(NEEDS_LOGIN)
                }
                return Calm(
                    refreshed, reasons, {each for each in refreshed if not _is_latest(fleet, app.services, each)}
                )
    raise AssertionError(f"neither refreshed nor marked after {CALM_ROUNDS} days: {sorted(pending)}")


def _is_settled(services: Services, character_id: int) -> bool:
    """Return whether a login was refreshed or needs its player; wait for SSO's limits, not for a strike's pause."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return TokenKeeper(services).get_token(character_id).refreshed
        except PermanentError:
            return True
        except LoginInDoubt:
            return False
        except TryLater:
            time.sleep(0.1)
    return False


def _state(services: Services, character_id: int) -> tuple[str, str]:
    character = services.store.logins.character(character_id)
    assert character is not None, f"character {character_id} was deleted"
    return character.state, character.state_reason or ""


def _is_latest(fleet: Fleet, services: Services, character_id: int) -> bool:
    stored = services.store.logins.get(character_id)
    latest = {login["character_id"]: login["refresh_token"] for login in fleet.sandbox.logins()}
    return stored is not None and stored.refresh_token == latest[character_id]


def _check_ends(fleet: Fleet, weather: Weather, evidence: Evidence, calm: Calm) -> int:
    """Check what became of every login; return how many were lost that SSO had not ended."""
    assert not calm.wrong, f"their stored token is not SSO's latest: {sorted(calm.wrong)}"
    latest = {login["character_id"]: login["refresh_token"] or "" for login in fleet.sandbox.logins()}
    assert len(weather.ended) == len(ENDS), f"only {len(weather.ended)} logins were ended"
    lost = 0
    for character_id, way in weather.ended.items():
        reason = calm.reasons.get(character_id)
        assert reason is not None, f"{character_id} is {way}, but needs no login"
        # SSO rejects a token that was lost before with another text.
        is_lost = character_id in evidence.lost_characters()
        assert ENDS[way] in reason or is_lost, f"{character_id} is {way}, but its reason is {reason!r}"
    for character_id, reason in calm.reasons.items():
        if character_id in weather.ended:
            continue
        lost += 1
        assert evidence.is_lost(latest[character_id]), (
            f"{character_id} needs a login ({reason}), but {evidence.story_of(latest[character_id])}"
        )
        assert reason, f"{character_id} needs a login without a reason"
    return lost
