"""One question a module; each says what it asks, of which sizes, and measures one system once."""

from importlib import import_module
from typing import Final, cast

from benchmarks.questions.base import Question

__all__ = ["QUESTIONS", "load"]

QUESTIONS: Final = (
    "add",
    "add_concurrent",
    "add_bulk",
    "fire",
    "queue",
    "nodes",
    "statements",
    "claim",
    "latency",
    "idle",
    "memory",
    "import_time",
    "start_up",
    "loop_hold",
    "growth",
)


def load(name: str) -> Question:
    """Import a question."""
    return cast("Question", import_module(f"benchmarks.questions.{name}"))
