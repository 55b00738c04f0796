"""Which process of the operating system a node lives in, and the proof that it is gone.

A process is named by its host, that host's boot, its pid namespace, its pid and its start time.
Only where all of them can be compared is anything proved; elsewhere a dead node's lease is waited
for. Linux alone tells enough (``/proc``, see proc(5) of the Linux manual pages).
"""

import os
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from asyncsched.clock import process_id

__all__ = ["host_name", "is_gone", "process_identity"]

_PROC: Final = Path("/proc")
_START_TIME: Final = 19
"""Index of the start time among the fields of ``/proc/PID/stat`` that follow the command's name."""


class _Identity(msgspec.Struct, frozen=True, array_like=True):
    host: str
    boot: str
    namespace: str
    pid: int
    started: int


def host_name() -> str:
    """Return what this host calls itself, for people."""
    return socket.gethostname()


def process_identity() -> str:
    """Return the identity of this process; empty where that would prove nothing later."""
    found = _identity_of_self()
    return "" if found is None else msgspec.json.encode(found).decode()


def is_gone(identity: str) -> bool:
    """Tell whether the process of that identity is provably gone.

    Args:
        identity: what `process_identity` returned in that process.

    Returns:
        ``True`` only if it ran on this boot of this host, in this pid namespace, and no process of
        that pid and start time runs any more. A process that has ended but was not collected by its
        parent is gone as well.
    """
    here = _identity_of_self()
    if here is None:
        return False
    try:
        other = msgspec.json.decode(identity, type=_Identity)
    except msgspec.DecodeError:
        return False
    if (other.host, other.boot, other.namespace) != (here.host, here.boot, here.namespace) or other.pid <= 0:
        return False
    return not _exists(other.pid) or _ended(other.pid, other.started)


def _identity_of_self() -> _Identity | None:
    if sys.platform != "linux":
        return None
    pid = process_id()
    try:
        # A /proc of another pid namespace would answer about other processes.
        if (_PROC / "self").readlink() != Path(str(pid)):
            return None
        return _Identity(
            host=os.uname().nodename,
            boot=(_PROC / "sys/kernel/random/boot_id").read_text().strip(),
            namespace=str((_PROC / "self/ns/pid").readlink()),
            pid=pid,
            started=int(_stat(pid)[_START_TIME]),
        )
    except (OSError, ValueError, IndexError):
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return True


def _ended(pid: int, started: int) -> bool:
    """Tell whether the process that has that pid now is another one, or has ended."""
    try:
        fields = _stat(pid)
        if int(fields[_START_TIME]) != started:
            return True
        # The first thread may have ended while others still run.
        return fields[0] in {"Z", "X"} and len(list((_PROC / str(pid) / "task").iterdir())) <= 1
    except (OSError, ValueError, IndexError):
        return False


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the command's name, which may hold anything."""
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
