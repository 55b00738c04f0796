"""Starting the programs of `tests/faults/programs`, and reading what they left."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio

from asyncsched import Run, Scheduler
from asyncsched.stores import SQLiteJobStore

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE_S = 30.0


@contextmanager
def program(name: str, *arguments: object) -> "Generator[subprocess.Popen[str]]":
    """Start a program; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(PROGRAMS / name), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROGRAMS.parents[2])])},
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run_program(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    with program(name, *arguments) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for_line(process: "subprocess.Popen[str]", start: str) -> str:
    """Return the next line of its output that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line.strip()
    assert process.stderr is not None
    raise AssertionError(f"it ended without {start!r}: {process.stderr.read()}")


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds that another process brings about."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.01)


class Seen(NamedTuple):
    """One line of the witness."""

    word: str
    job_id: str
    run_id: str
    attempt: int
    pid: int


def witnessed(path: Path) -> list[Seen]:
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [Seen(word, job_id, run_id, int(attempt), int(pid)) for word, job_id, run_id, attempt, pid in lines]


def ledger(database: Path) -> list[Run[object]]:
    """Return every run of the file, as a scheduler that fires nothing reads it."""

    async def read() -> list[Run[object]]:
        async with Scheduler(SQLiteJobStore(database), start_paused=True) as s:
            return await s.get_runs(limit=100_000)

    return anyio.run(read)


def completions(seen: list[Seen]) -> "Counter[str]":
    """Count the attempts that came to their end, by run."""
    return Counter(line.run_id for line in seen if line.word == "end")
