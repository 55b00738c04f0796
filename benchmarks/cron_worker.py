"""Measure one library's cron triggers once, in the environment that this interpreter belongs to; print a JSON line.

Started by ``cron_triggers.py``: ``cron_worker.py PEER SECONDS``.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from benchmarks import cron_peers
from benchmarks.cron_peers.base import EXPRESSIONS, ZONES, Expression, Peer, usual_expressions

_YEAR = 2026
_PASSES = 3


def _microseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e6


def _measure(peer: Peer, expression: Expression, zone: str, seconds: float) -> tuple[float | None, str]:
    """Microseconds of one step (the median of many walks from different days), and where the first walk ends."""
    first = datetime(_YEAR, 1, 1, tzinfo=ZoneInfo(zone))
    walk = peer.walk(expression, first)
    if walk is None:
        return None, ""
    end = walk(expression.steps).isoformat()
    taken, stop, day = list[float](), time.perf_counter() + seconds, 0
    while time.perf_counter() < stop or len(taken) < _PASSES:
        day = (day + 13) % 365
        begin = first + timedelta(days=day)
        again = peer.walk(expression, begin)
        if again is not None:
            taken.append(_microseconds(lambda go=again: go(expression.steps)) / expression.steps)  # type: ignore[misc]
    return median(taken), end


def main() -> None:
    """Read the arguments and do what they say."""
    peer, seconds = cron_peers.load(sys.argv[1]), float(sys.argv[2])
    steps: dict[str, float | None] = {}
    ends: dict[str, str] = {}
    texts = usual_expressions()
    parsed = sorted(_microseconds(lambda text=text: peer.parse(text)) for text in texts)  # type: ignore[misc]
    parsed_again = sorted(_microseconds(lambda text=text: peer.parse(text)) for text in texts)  # type: ignore[misc]
    for expression in EXPRESSIONS:
        for zone in ZONES:
            name = f"{expression.name}, {zone}"
            steps[name], ends[name] = _measure(peer, expression, zone, seconds)
    answer = {"steps": steps, "ends": ends, "parse": median(parsed), "parse again": median(parsed_again)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
