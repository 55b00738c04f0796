"""One adapter per system. Only `load` imports one, so that each can be read without the others' packages."""

from importlib import import_module
from typing import Final, cast

from benchmarks.systems.base import System

__all__ = ["ENVIRONMENT_OF", "SYSTEMS", "load"]

SYSTEMS: Final = {
    "floor": ("floor", "floor"),
    "asyncsched": ("asyncsched", "asyncsched"),
    "asyncsched-uvloop": ("asyncsched", "asyncsched"),
    "asyncsched-trio": ("asyncsched", "asyncsched"),
    "apscheduler3": ("apscheduler3", "apscheduler3"),
    "apscheduler4": ("apscheduler4", "apscheduler4"),
}
"""Name of a system -> (module of its adapter, name of its environment)."""

ENVIRONMENT_OF: Final = {name: environment for name, (_, environment) in SYSTEMS.items()}


def load(name: str) -> System:
    """Import the adapter of a system; its packages must be installed in this interpreter's environment."""
    return cast("System", import_module(f"benchmarks.systems.{SYSTEMS[name][0]}").make(name))
