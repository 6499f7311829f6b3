"""The ESI switch: it pauses every queue that uses ESI. Each queue stores its own pause, so some may lack it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nomad_actors.broker.records.limits import Pause, PauseScope
from nomad_actors.queues import Queues
from nomad_actors.queues.snapshot import QueueSnapshot, readable


@dataclass(frozen=True)
class EsiSwitch:
    """The queues that use ESI or EVE SSO, and the switch's pause of each queue that has one."""

    queues: Sequence[str]
    pauses: Mapping[str, Pause]

    @property
    def running(self) -> list[str]:
        """The queues that the switch does not pause: all while it is off, else new or unreached ones."""
        return [name for name in self.queues if name not in self.pauses]

    @property
    def is_paused(self) -> bool:
        """True if the switch pauses all of them."""
        return bool(self.queues) and not self.running

    @property
    def pause(self) -> Pause | None:
        """The most recent pause; None if no queue has one."""
        return max(self.pauses.values(), key=lambda each: each.since_ms, default=None)


def esi_switch(queues: Queues, snapshots: Iterable[QueueSnapshot]) -> EsiSwitch:
    """Return the state of the switch, as the snapshots have it."""
    names = queues.esi_queues()
    pauses = [(queue.name, pause) for queue in readable(snapshots) if queue.name in names for pause in queue.pauses]
    return EsiSwitch(names, {name: pause for name, pause in pauses if pause.scope is PauseScope.ESI})
