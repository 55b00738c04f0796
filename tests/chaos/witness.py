"""The witness: a file to which every process appends what it does, one line in one write.

It tells what happened whatever becomes of the ledger. A line is
``MONOTONIC_NS WALL_US PID WORD ARGUMENTS``; both clocks are those of this host, which all processes share.

===========  ========================================================================================
word         arguments, and when it is written
===========  ========================================================================================
``BEGIN``    run, attempt, job, node: the first thing that user code does
``END``      run, attempt, job, node: the last thing that user code does
``CUT``      run, attempt, job, node: the attempt was cancelled
``DONE``     run, attempt, state: the store has accepted the end of an attempt
``REFUSED``  run, attempt: the store has refused it
``LEASE``    node, instant: the store has granted a lease that was asked for at that instant
``ACCEPT``   ``job`` or ``run``, id: a call that adds has returned
``EDIT``     job, revision, milliseconds, instant: its trigger was changed; the call began at that instant
``EVENT``    kind, run, attempt: a subscriber of this process was told
``READY``    this process fires
``PAUSED``   every recurring job is paused, as far as this process knows
``DIE``      point, statement: this process kills itself here
``STOP``     the same: this process freezes itself here; without arguments it is frozen by the driver
``CONT``     it was told to go on
``KILL``     it was killed by the driver
===========  ========================================================================================
"""

import os
import time
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """One line of the witness; its place in the file is the order of events."""

    at_ns: int
    wall_us: int
    pid: int
    word: str
    arguments: tuple[str, ...]


class Witness:
    """Appends lines; a line that was written is there however the process ends.

    Args:
        path: the file, shared by all processes.
        synchronous: whether the beginnings and ends of user code are also forced onto the disk,
            as a job's own writes would be.
    """

    def __init__(self, path: Path, *, synchronous: bool) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._synchronous = synchronous

    def write(self, word: str, *arguments: object, pid: int | None = None, durably: bool = False) -> None:
        """Append one line, of this process unless another one is meant."""
        self.write_all([(word, *arguments)], pid=pid)
        if durably and self._synchronous:
            os.fsync(self._descriptor)

    def write_all(self, entries: list[tuple[object, ...]], *, pid: int | None = None) -> None:
        """Append several lines in one write."""
        start = f"{time.monotonic_ns()} {time.time_ns() // 1000} {os.getpid() if pid is None else pid}"
        text = "".join(f"{start} {' '.join(map(str, entry))}\n" for entry in entries)
        os.write(self._descriptor, text.encode())

    def close(self) -> None:
        os.close(self._descriptor)


class Reader:
    """Reads the witness while it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""
        self.lines: list[Line] = []

    def read(self) -> list[Line]:
        """Return the lines that have come since the last call; all of them stay in ``lines``."""
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        fresh = [parse(text.decode()) for text in whole]
        self.lines += fresh
        return fresh

    def close(self) -> None:
        self._file.close()


def parse(text: str) -> Line:
    at_ns, wall_us, pid, word, *arguments = text.split(" ")
    return Line(int(at_ns), int(wall_us), int(pid), word, tuple(arguments))
