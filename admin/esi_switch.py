"""The switch of everything that talks to ESI: each queue has a pause of its own for it, so that some may lack it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nomad_actors.broker.records.holds import Pause, PauseScope
from nomad_actors.queues import Queues
from nomad_actors.queues.snapshot import QueueSnapshot, readable


@dataclass(frozen=True)
class EsiSwitch:
    """The queues that talk to ESI or its login, and the switch's pause in those that have it."""

    queues: Sequence[str]
    pauses: Mapping[str, Pause]

    @property
    def running(self) -> list[str]:
        """The queues that the switch does not hold: all while it is off; one that is new, or was not reached, else."""
        return [name for name in self.queues if name not in self.pauses]

    @property
    def is_paused(self) -> bool:
        """Whether the switch holds all of them."""
        return bool(self.queues) and not self.running

    @property
    def pause(self) -> Pause | None:
        """The pause that was set last, where any queue has one."""
        return max(self.pauses.values(), key=lambda each: each.since_ms, default=None)


def esi_switch(queues: Queues, snapshots: Iterable[QueueSnapshot]) -> EsiSwitch:
    """Return the switch, as the queues' snapshots show it."""
    names = queues.talking_to_esi()
    pauses = [(queue.name, pause) for queue in readable(snapshots) if queue.name in names for pause in queue.pauses]
    return EsiSwitch(names, {name: pause for name, pause in pauses if pause.scope is PauseScope.ESI})
