"""What the tests of the SQLite store are made with."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, Planner, plan_due
from asyncsched.clock import Clock, SystemClock
from asyncsched.codec import Codec
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import StoreContext
from asyncsched.stores.sqlite import SQLiteJobStore

NOW = 1_750_000_000_000_000
SECOND = 1_000_000


def context(clock: Clock | None = None, prefix: str = "run") -> StoreContext:
    numbers = count(1)
    return StoreContext(clock or SystemClock(), Codec(), lambda: f"{prefix}-{next(numbers):06}")


@asynccontextmanager
async def opened(
    path: Path,
    clock: Clock | None = None,
    synchronous: Literal["OFF", "FULL"] = "OFF",
    busy_timeout: float = 0.05,
) -> AsyncGenerator[SQLiteJobStore]:
    store = SQLiteJobStore(path, synchronous=synchronous)
    store.busy_timeout = busy_timeout
    await store.open(context(clock))
    try:
        yield store
    finally:
        await store.close()


def job(id: str = "job", due_at: int | None = NOW, **fields: Any) -> JobRecord:
    known: dict[str, Any] = {"task": "m:f", "name": id, "executor": "async", "trigger": None, "written": None}
    known |= {"policies": Policies(), "added_at": NOW, "next_fire": due_at, "due_at": due_at}
    return JobRecord(id=id, **(known | fields))


def starting(node: str, new_run_id: Callable[[], str] | None = None) -> Planner:
    return partial(plan_due, node=node, new_run_id=new_run_id or context(prefix=node).new_run_id)


def again(node: str, new_run_id: Callable[[], str], following: int) -> Planner:
    """Starts a run, and leaves the job with another instant."""
    planner = starting(node, new_run_id)

    def plan(record: JobRecord, now: int, running: int, pending: int) -> Decision:
        decision = planner(record, now, running, pending)
        return Decision(replace(decision.job, next_fire=following, due_at=following), decision.runs)

    return plan


def done(run: RunRecord) -> RunRecord:
    return replace(run, state="succeeded", finished_at=NOW)


def alter(path: Path, statement: str, parameters: tuple[Any, ...] = ()) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(path)
    try:
        connection.execute(statement, parameters)
        connection.commit()
    finally:
        connection.close()


def start_python(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Run a program in a process of its own that imports what this one does."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=tempfile.gettempdir(),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
