"""One adapter per library that can tell when a cron expression is due next. Each is imported in its own environment."""

from importlib import import_module
from typing import Final, cast

from benchmarks.cron_peers.base import Peer

__all__ = ["ENVIRONMENT_OF", "load"]

ENVIRONMENT_OF: Final = {
    "asyncsched": "asyncsched",
    "croniter": "croniter",
    "cronsim": "cronsim",
    "apscheduler3": "apscheduler3",
    "apscheduler4": "apscheduler4",
}
"""Name of a peer (and of its module) -> name of its environment."""


def load(name: str) -> Peer:
    """Import an adapter; its packages must be installed in this interpreter's environment."""
    return cast("Peer", import_module(f"benchmarks.cron_peers.{name}"))
