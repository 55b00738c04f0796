"""Are two nodes on one database, each a process of its own, faster or slower together than one?"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks.environments import ROOT
from benchmarks.questions.base import Answer, Case, Place, laying_out
from benchmarks.systems.base import PostgresDatabase, System

ASKS: Final = "fire jobs due at once, by one node and by two"
STORES: Final = ("postgres",)
NEEDS: Final = "nodes"
ROUNDS: Final = 3

_ASK_AGAIN: Final = 0.02


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count, seconds = (2_000, 20.0) if quick else (20_000, 90.0)
    return (Case(label=f"{count:,} at once", jobs=count, seconds=seconds),)


class _Node:
    """A process of its own with one scheduler; see `benchmarks.node`."""

    def __init__(self, system: str, database: PostgresDatabase, total: int) -> None:
        command = [sys.executable, "-m", "benchmarks.node", system, database.dsn, str(total)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def say(self, word: str) -> None:
        self._stdin.write(word + "\n")
        self._stdin.flush()

    def answer(self) -> tuple[int, float]:
        """Return how many outcomes it has recorded, and when the last, by the machine's monotonic clock."""
        line = self._stdout.readline()
        if not line:
            message = "a node ended before it was told to"
            raise RuntimeError(message)
        recorded, at = json.loads(line)
        return recorded, at

    def end(self) -> None:
        self._stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()


def _fire(system: str, database: PostgresDatabase, case: Case, nodes: int) -> tuple[float, list[int]]:
    """Return the runs a second of so many nodes together, and how many each made."""
    with ExitStack() as stack:
        started = [_Node(system, database, case.jobs) for _ in range(nodes)]
        for node in started:
            stack.callback(node.end)
        for node in started:
            node.answer()
        begun = time.monotonic()
        for node in started:
            node.say("go")
        while True:
            time.sleep(_ASK_AGAIN)
            for node in started:
                node.say("count")
            answers = [node.answer() for node in started]
            made = [recorded for recorded, _ in answers]
            if sum(made) >= case.jobs:
                return sum(made) / (max(at for _, at in answers) - begun), made
            if time.monotonic() - begun > case.seconds:
                message = f"{sum(made)} of {case.jobs} recorded in {case.seconds:.0f} s"
                raise RuntimeError(message)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure one node, then two, each on a database of its own; the ledger must hold every run once."""
    rates: list[float] = []
    made: list[int] = []
    for nodes in (1, 2):
        async with place.database() as database:
            assert isinstance(database, PostgresDatabase)
            async with laying_out(system, database) as session:
                await session.add_due(case.jobs, time.time() - 0.001)
            rate, made = _fire(system.name, database, case, nodes)
            rates.append(rate)
            async with system.open(database) as session:
                ledger = await session.ledger()
            if not ledger == sum(made) == case.jobs:
                message = f"{case.jobs} jobs were due, {made} outcomes were counted and {ledger} are in the ledger"
                raise RuntimeError(message)
    figures = {"1 node runs/s": rates[0], "2 nodes runs/s": rates[1], "2 nodes against 1": rates[1] / rates[0]}
    return Answer(figures=figures, notes=[f"the two shared them as {max(made):,} and {min(made):,}"])
