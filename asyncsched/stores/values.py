"""What job stores take and return; see `asyncsched.stores.base`, which hands all of it on. Frozen values."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from asyncsched.clock import Clock
from asyncsched.job import JobRecord
from asyncsched.policy import Unique
from asyncsched.run import RunRecord

if TYPE_CHECKING:
    from asyncsched.codec import Codec

__all__ = [
    "NOTHING_FOREIGN",
    "Acceptor",
    "Change",
    "Finished",
    "Fired",
    "Foreign",
    "KnownNode",
    "Merge",
    "Node",
    "Parked",
    "Recovered",
    "Start",
    "StoreContext",
    "Unique",
]

Merge: TypeAlias = Callable[[JobRecord, JobRecord], JobRecord]
"""(the job as stored, the job as newly defined) -> the job as it is to be stored."""

Change: TypeAlias = Callable[[JobRecord, int], JobRecord]
"""(the job as stored, now) -> the job as it is to be stored; raises to leave it as it is."""


Acceptor: TypeAlias = Callable[[JobRecord], bool]
"""(a job with a waiting run) -> whether this node can run it."""


class StoreContext(msgspec.Struct, frozen=True):
    """What a store is opened with.

    ``clock`` is for stores whose clock is that of this host; ``new_run_id`` yields ids for rows
    that a store has to make itself. With ``virtual_time`` the clock is one that tests move, and
    judges what is due whatever clock the store has of its own.
    """

    clock: Clock
    codec: "Codec"
    new_run_id: Callable[[], str]
    virtual_time: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One running scheduler, as it makes itself known to the others.

    ``process`` identifies the operating system's process well enough to prove later that it is
    gone (empty where that cannot be done); ``host`` and ``pid`` are for people. ``tasks`` and
    ``executors`` are the names that it can run jobs with, so that the others know what to leave to it.
    """

    id: str
    name: str | None = None
    process: str = ""
    host: str = ""
    pid: int = 0
    tasks: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()


class KnownNode(msgspec.Struct, frozen=True):
    """A node as the store knows it: its lease on the store's clock, and how many runs it has running."""

    node: Node
    joined_at: int
    lease_until: int
    running: int


class Foreign(msgspec.Struct, frozen=True):
    """Names that a node cannot run jobs with: jobs of these tasks or executors are left to other nodes."""

    tasks: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tasks or self.executors)

    def covers(self, job: JobRecord) -> bool:
        """Tell whether the job is to be left to other nodes."""
        return job.task in self.tasks or job.executor in self.executors


NOTHING_FOREIGN: Final = Foreign()


class Start(msgspec.Struct, frozen=True, gc=False):
    """A run that this node has just claimed (state ``running``, its attempt counted), and its job."""

    job: JobRecord
    run: RunRecord


class Parked(msgspec.Struct, frozen=True):
    """A job that was taken out of the firing because it cannot be read or planned."""

    job_id: str
    reason: str


class Fired(msgspec.Struct, frozen=True):
    """What one `JobStore.fire_due` did; everything in it is committed.

    ``verdicts`` are the rows of fires that did not run (of a row that was made longer, the new
    part), ``finished`` the ids of jobs removed because they have neither another instant nor a run
    left, ``resumed`` those of jobs whose pause has ended. To make room, ``cancelling`` are runs, of
    this node or others, that were asked to be cancelled, and ``cancelled`` ones that were only
    waiting for another attempt and are over. ``pending`` says that runs were written
    which wait.
    """

    starts: Sequence[Start] = ()
    verdicts: Sequence[RunRecord] = ()
    parked: Sequence[Parked] = ()
    finished: Sequence[str] = ()
    resumed: Sequence[str] = ()
    cancelling: Sequence[str] = ()
    cancelled: Sequence[RunRecord] = ()
    pending: bool = False


class Finished(msgspec.Struct, frozen=True):
    """What one `JobStore.finish` did.

    ``refused`` are the given rows whose (id, node, attempt) no longer held: they were not applied.
    ``finished`` are the ids of jobs removed because nothing is left of them; ``pending`` says that
    runs are waiting of which some may now be startable. ``stranded`` are runs that were to be
    started of jobs that are not there.
    """

    refused: Sequence[RunRecord] = ()
    finished: Sequence[str] = ()
    pending: bool = False
    stranded: Sequence[RunRecord] = ()


class Recovered(msgspec.Struct, frozen=True):
    """What one `JobStore.recover` did: ``runs`` of dead nodes as they are now (pending or over)."""

    runs: Sequence[RunRecord] = ()
    finished: Sequence[str] = ()
    stranded: Sequence[RunRecord] = ()
