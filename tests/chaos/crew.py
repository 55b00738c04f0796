"""The processes of an episode or a cluster: started, killed, frozen, told to stop, and watched."""

import multiprocessing
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, TypeVar

from tests.chaos.witness import Line, Reader, Witness

T = TypeVar("T")

# Each process is forked from one that has imported everything and started nothing.
_processes: Final = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.chaos.cluster", "asyncsched.stores.postgres", "trio", "uvloop", "aiosqlite"])


@dataclass(eq=False)
class Member:
    """One process.

    Attributes:
        thaws_at: when a frozen one is to go on, on the monotonic clock.
        dies_frozen: whether it is killed then instead.
        leaving: whether it is to end by itself.
    """

    process: BaseProcess
    log: Path
    pid: int
    thaws_at: float | None = None
    dies_frozen: bool = False
    leaving: bool = False


@dataclass
class Tally:
    """How often something was done to a process, by what it was, and points that were not reached in time."""

    kills: "Counter[str]" = field(default_factory=Counter[str])
    freezes: "Counter[str]" = field(default_factory=Counter[str])
    unreached: "Counter[str]" = field(default_factory=Counter[str])


class Crew:
    """All the processes on one store.

    Attributes:
        members: those that have not ended.
        strays: what they did of their own accord; a sentence each.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "witness"
        self._witness = Witness(self._path, synchronous=False)
        self._reader = Reader(self._path)
        self._said: defaultdict[int, set[str]] = defaultdict(set)
        self._started = 0
        self.members: list[Member] = []
        self.strays: list[str] = []
        self.tally = Tally()

    def start(self, main: Callable[[T], None], order: Callable[[Path, Path], T]) -> Member:
        """Start a process; ``order`` makes its order of the paths of the witness and of its log."""
        self._started += 1
        log = self._directory / f"node-{self._started:03}.log"
        process = _processes.Process(target=main, args=(order(self._path, log),))
        process.start()
        assert process.pid is not None
        member = Member(process, log, process.pid)
        self.members.append(member)
        return member

    # -- what is done to them ----------------------------------------------------------------

    def kill(self, member: Member, how: str) -> None:
        """Kill it; nothing if it has ended already."""
        if member not in self.members:
            return
        self.tally.kills[how] += 1
        self._witness.write("KILL", pid=member.pid)
        member.process.kill()
        self.bury(member)

    def bury(self, member: Member) -> None:
        """Wait for the end of one that was killed, or that kills itself."""
        member.process.join()
        self.members.remove(member)

    def freeze(self, member: Member, seconds: float, *, dies: bool, by: str) -> None:
        """Freeze it for so long; `pause` has it go on, or kills it."""
        self.tally.freezes[by] += 1
        if not self.has_said("STOP", member):
            self._witness.write("STOP", pid=member.pid)
            os.kill(member.pid, signal.SIGSTOP)
        member.thaws_at = time.monotonic() + seconds
        member.dies_frozen = dies

    def retire(self, member: Member) -> None:
        """Tell it to stop."""
        if not member.leaving and member in self.members:
            member.leaving = True
            os.kill(member.pid, signal.SIGTERM)

    @property
    def awake(self) -> list[Member]:
        """Those that run and are to go on."""
        return [one for one in self.members if one.thaws_at is None and not one.leaving]

    @property
    def staying(self) -> list[Member]:
        """Those that are to go on, frozen or not."""
        return [one for one in self.members if not one.leaving]

    # -- time passes -------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """Let time pass, during which the frozen thaw and the stopped end."""
        end = time.monotonic() + seconds
        while True:
            for member in list(self.members):
                self._attend(member)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.02))

    def await_word(self, word: str, member: Member, seconds: float) -> bool:
        """Wait for a line of that process; return whether it came."""
        give_up_at = time.monotonic() + seconds
        while not self.has_said(word, member):
            if time.monotonic() > give_up_at or member not in self.members:
                return False
            self.pause(0.01)
        return True

    def await_end(self, seconds: float) -> None:
        """Wait until all have ended."""
        give_up_at = time.monotonic() + seconds
        while self.members and time.monotonic() < give_up_at:
            self.pause(0.02)
        self.strays += [f"process {one.pid} would not stop within {seconds:g} s" for one in self.members]

    def has_said(self, word: str, member: Member) -> bool:
        """Tell whether that process has written such a line."""
        self.lines()
        return word in self._said[member.pid]

    def lines(self) -> list[Line]:
        """Return the witness so far."""
        for line in self._reader.read():
            self._said[line.pid].add(line.word)
        return self._reader.lines

    def close(self) -> None:
        """Leave no process behind."""
        for member in self.members:
            member.process.kill()
            member.process.join()
        self.members.clear()
        self._reader.close()
        self._witness.close()

    def _attend(self, member: Member) -> None:
        if member.thaws_at is not None and member.thaws_at <= time.monotonic():
            self._thaw(member)
        elif member.process.exitcode is not None and not self.has_said("DIE", member):
            self.members.remove(member)
            if member.process.exitcode != 0 or not member.leaving:
                said = member.log.read_text(encoding="utf-8", errors="replace")[-3000:]
                self.strays.append(f"a process ended by itself with {member.process.exitcode}: {said}")

    def _thaw(self, member: Member) -> None:
        member.thaws_at = None
        if member.dies_frozen:
            self.kill(member, "while frozen")
            return
        self._witness.write("CONT", pid=member.pid)
        os.kill(member.pid, signal.SIGCONT)
