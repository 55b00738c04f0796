"""Answers for cronsim, in its own environment."""

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any

from tests.differential.workers.answering import local_time, serve

CronSim: Any = import_module("cronsim").CronSim


def instants(question: dict[str, Any]) -> Iterator[datetime]:
    found: Iterator[datetime] = CronSim(question["text"], local_time(question))
    return found


serve(instants)
