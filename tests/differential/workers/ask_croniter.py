"""Answers for croniter, in its own environment."""

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any

from tests.differential.workers.answering import local_time, serve

croniter: Any = import_module("croniter").croniter


def instants(question: dict[str, Any]) -> Iterator[datetime]:
    search = croniter(question["text"], local_time(question), ret_type=datetime)
    while True:
        yield search.get_next()


serve(instants)
