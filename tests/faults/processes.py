"""Starting the programs of `tests/faults/programs`, and reading what they left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio

from asyncsched import Run, Scheduler
from asyncsched.stores import SQLiteJobStore
from tests.chaos.witness import Reader

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
    """What the witness says of an attempt."""

    word: str
    job_id: str
    run_id: str
    attempt: int
    pid: int


def witnessed(path: Path) -> list[Seen]:
    """Return the beginnings (``BEGIN``) and ends (``END``) of attempts, in their order."""
    if not path.exists():
        return []
    reader = Reader(path)
    try:
        lines = [line for line in reader.read() if line.word in {"BEGIN", "END"}]
    finally:
        reader.close()
    return [
        Seen(line.word, job_id, run_id, int(attempt), line.pid)
        for line in lines
        for run_id, attempt, job_id, _node in [line.arguments]
    ]


def ledger(database: Path) -> list[Run[object]]:
    """Return every run of the file, as a scheduler that fires nothing reads it."""

    async def read() -> list[Run[object]]:
        async with Scheduler(SQLiteJobStore(database), start_paused=True) as s:
            return await s.get_runs(limit=100_000)

    return anyio.run(read)
