"""One adapter per system. Only `load` imports one, so that each can be read without the others' packages."""

from dataclasses import dataclass
from importlib import import_module
from typing import Final, cast

from benchmarks.systems.base import System

__all__ = ["ABILITIES", "SYSTEMS", "Entry", "load"]

ABILITIES: Final = {
    "add": "adds jobs one by one",
    "bulk": "adds many jobs in one call",
    "concurrent": "adds jobs from many tasks at once",
    "schedule": "runs each job at an instant of its own",
    "queue": "has a queue of work to be run now",
    "nodes": "shares a database among processes, each of which says what it recorded itself",
    "claim": "has a claim that can be called by itself",
}
"""What a question may need."""

_EVERYWHERE: Final = ("memory", "sqlite", "postgres")
_SCHEDULER: Final = frozenset({"add", "schedule"})
_QUEUE: Final = frozenset({"add", "bulk", "concurrent", "queue"})


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a system is, and what it can be asked.

    Attributes:
        module: that of its adapter.
        environment: the name of its environment.
        able: of `ABILITIES`.
        stores: the stores that it has.
    """

    module: str
    environment: str
    able: frozenset[str]
    stores: tuple[str, ...] = _EVERYWHERE


_ASYNCSCHED: Final = Entry("asyncsched", "asyncsched", frozenset(ABILITIES))

SYSTEMS: Final = {
    "asyncsched": _ASYNCSCHED,
    "asyncsched-uvloop": _ASYNCSCHED,
    "asyncsched-trio": _ASYNCSCHED,
    "apscheduler3": Entry("apscheduler3", "apscheduler3", _SCHEDULER),
    "apscheduler4": Entry("apscheduler4", "apscheduler4", _SCHEDULER | {"concurrent", "queue"}),
    "pgqueuer": Entry("pgqueuer_worker", "pgqueuer", _QUEUE, ("postgres",)),
    "pgqueuer-500": Entry("pgqueuer_worker", "pgqueuer", _QUEUE, ("postgres",)),
    "procrastinate": Entry("procrastinate_worker", "procrastinate", _QUEUE, ("postgres",)),
    "procrastinate-20": Entry("procrastinate_worker", "procrastinate", _QUEUE, ("postgres",)),
    "floor": Entry("floor", "floor", frozenset(ABILITIES)),
}
"""The systems by their names."""


def load(name: str) -> System:
    """Import the adapter of a system; its packages must be installed in this interpreter's environment."""
    return cast("System", import_module(f"benchmarks.systems.{SYSTEMS[name].module}").make(name))
