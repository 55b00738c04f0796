"""The loop of every worker: questions as JSON lines on standard input, an answer to each on standard output.

A worker runs in the environment of the library that it asks, so it imports nothing but that library
and the standard library.
"""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["last_time", "local_time", "serve", "zone_of"]

_FOR_EVER = 1 << 40


def zone_of(question: dict[str, Any]) -> tzinfo:
    return UTC if question["zone"] == "UTC" else ZoneInfo(question["zone"])


def local_time(question: dict[str, Any], after: int = 0) -> datetime:
    """The start of a question in its zone, so many seconds later."""
    return datetime.fromtimestamp(question["start"] + after, zone_of(question))


def last_time(question: dict[str, Any]) -> datetime | None:
    """The last time that may fire, in the zone of the question; none when the limit lies after all time."""
    until = question["until"]
    return datetime.fromtimestamp(until, zone_of(question)) if until < _FOR_EVER else None


def _answer(instants: Callable[[dict[str, Any]], Iterator[datetime]], question: dict[str, Any]) -> dict[str, Any]:
    found: list[int] = []
    try:
        for instant in islice(instants(question), question["count"]):
            found.append(int(instant.timestamp()))  # noqa: PERF401 - what came before an error is kept
    except Exception as error:
        return {"instants": found, "error": f"{type(error).__name__}: {error}"}
    return {"instants": found}


def serve(instants: Callable[[dict[str, Any]], Iterator[datetime]]) -> None:
    """Answer until the input ends: the first ``count`` instants, in Unix seconds, and the error that stopped it."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(instants, json.loads(line))) + "\n")
