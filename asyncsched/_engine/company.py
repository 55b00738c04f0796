"""What this node can run jobs with, and what it leaves to the other nodes of a store.

Two versions of an application may work on one store. A job whose task or executor this node does
not know is another node's to run: it is left as it is as long as a living node says that it knows
both. Only where none does, the job is parked. A waiting run of such a job is left alone in any
case, as somebody who knows it may still come: after a crash that is often this very node, a moment
later.

Names that were met once are passed over inside the store from then on (`Company.foreign`), until a
beat finds that this node knows them by now, or that nobody alive does.
"""

from collections.abc import Iterable
from typing import Final, final

from msgspec.structs import replace

from asyncsched._engine.plan import ForeignJobError, UnplannableError
from asyncsched.executors.base import Executor
from asyncsched.job import JobRecord
from asyncsched.stores.base import NOTHING_FOREIGN, Foreign, JobStore, Node
from asyncsched.tasks import TaskRegistry

__all__ = ["Company"]

MOST_NAMES: Final = 1000
"""How many names of each kind are passed over inside the store; what is beyond that is met anew at every claim."""

NOBODY: Final = "; and no other living node knows it"


@final
class Company:
    """One node among those of one store.

    The methods that stores call inside a claim (`require`, `accepts`) may run in a thread, while
    whoever asked for the claim waits for its end.

    Attributes:
        foreign: the names that every claim is to pass over.
    """

    def __init__(self, store: JobStore, tasks: TaskRegistry, executors: dict[str, Executor]) -> None:
        self._store = store
        self._tasks = tasks
        self._executors = executors
        self._met: dict[str, JobRecord] = {}  # due jobs that this node cannot run, as the last claim found them
        self._waiting: list[JobRecord] = []  # the same of jobs with a waiting run
        self._orphans: dict[str, JobRecord] = {}  # those of which no other living node can run them
        self._told: Node | None = None
        self._told_names: frozenset[str] = frozenset()
        self.foreign: Foreign = NOTHING_FOREIGN

    # -- what it can run -------------------------------------------------------------------------

    def lack(self, job: JobRecord) -> str | None:
        """Return why this process cannot run the job, ``None`` when it can."""
        if not self._tasks.knows(job.task):
            return (
                f"the task {job.task!r} is not registered in this process; "
                "decorate the function with @task or pass it in Scheduler(tasks=[...])"
            )
        if job.executor not in self._executors:
            return f"there is no executor named {job.executor!r}; add it with Scheduler(executors=...) or add_executor"
        return None

    async def is_known_elsewhere(self, job: JobRecord) -> bool:
        """Tell whether another living node can run the job."""
        return self._store.shared and _is_known_to(await self._others(), job)

    def is_mistaken(self, job: JobRecord) -> bool:
        """Tell whether a parked job was parked for a task or an executor that this process has."""
        reason = job.reason or ""
        about_names = reason.startswith(
            (f"the task {job.task!r} is not", f"there is no executor named {job.executor!r};")
        )
        return about_names and self.lack(job) is None

    # -- what it tells ---------------------------------------------------------------------------

    def introduce(self, node: Node) -> Node:
        """Return the node with the names that it can run jobs with now; a store of our own needs none."""
        if not self._store.shared:
            return node
        tasks = tuple(filter(self._tasks.is_durable, self._tasks.names()))
        return replace(node, tasks=tasks, executors=tuple(sorted(self._executors)))

    def has_told(self, node: Node) -> bool:
        """Note that the store knows the node so; return whether there were names that it had not known."""
        before, self._told = self._told, node
        self._told_names = frozenset(node.tasks)
        if before is None:
            return False
        return not (self._told_names.issubset(before.tasks) and set(node.executors).issubset(before.executors))

    def is_news(self, tasks: Iterable[str]) -> bool:
        """Tell whether one of these is a task of this process that the other nodes have not been told of."""
        if not self._store.shared:
            return False
        return any(task not in self._told_names and self._tasks.is_durable(task) for task in tasks)

    # -- inside a claim --------------------------------------------------------------------------

    def require(self, job: JobRecord) -> None:
        """Let a due job pass that this node can run.

        Raises:
            ForeignJobError: it cannot; `settle` finds out who can.
            UnplannableError: nobody can.
        """
        reason = self.lack(job)
        if reason is None:
            return
        if not self._store.shared:
            raise UnplannableError(reason)
        asked = self._orphans.get(job.id)
        if asked is not None and (asked.task, asked.executor) == (job.task, job.executor):
            raise UnplannableError(reason + NOBODY)
        self._met[job.id] = job
        raise ForeignJobError(reason)

    def accepts(self, job: JobRecord) -> bool:
        """Tell whether this node can make a waiting run of the job."""
        if self.lack(job) is None:
            return True
        self._waiting.append(job)
        return False

    # -- after a claim, and from time to time ----------------------------------------------------

    @property
    def is_unsettled(self) -> bool:
        """Whether the last claim met something that this node cannot run."""
        return bool(self._met or self._waiting or self._orphans)

    async def settle(self) -> None:
        """Decide what becomes of what the last claim met: left to others from now on, or parked by the next claim."""
        met, self._met = self._met, {}
        waiting, self._waiting = self._waiting, []
        self._orphans = {}
        if met:
            others = await self._others()
            self._orphans = {job_id: job for job_id, job in met.items() if not _is_known_to(others, job)}
        left = [job for job_id, job in met.items() if job_id not in self._orphans]
        if not self._orphans:  # a name that is passed over would keep those from being parked
            left += waiting
        if left:
            self.foreign = Foreign(
                tasks=self._names(self.foreign.tasks, (job.task for job in left if not self._tasks.knows(job.task))),
                executors=self._names(
                    self.foreign.executors, (job.executor for job in left if job.executor not in self._executors)
                ),
            )

    async def review(self) -> bool:
        """Drop foreign names that nobody else alive knows, or that this node knows by now; return whether there were."""
        if not self.foreign:
            return False
        before = self.foreign
        others = await self._others() if self._store.shared else []
        tasks = {task for node in others for task in node.tasks}
        executors = {executor for node in others for executor in node.executors}
        self._keep(Foreign(tuple(tasks), tuple(executors)))
        return self.foreign != before

    def recall(self) -> bool:
        """Drop foreign names that this node knows by now; return whether there were."""
        if not self.foreign:
            return False
        before = self.foreign
        self._keep(before)
        return self.foreign != before

    def _keep(self, known: Foreign) -> None:
        """Keep of the foreign names those that are among the given ones and still unknown here."""
        self.foreign = Foreign(
            tasks=tuple(name for name in self.foreign.tasks if name in known.tasks and not self._tasks.knows(name)),
            executors=tuple(
                name for name in self.foreign.executors if name in known.executors and name not in self._executors
            ),
        )

    async def _others(self) -> list[Node]:
        """Return the living nodes but this one."""
        known = await self._store.nodes()
        now = self._store.estimate_now()
        this = None if self._told is None else self._told.id
        return [one.node for one in known if one.lease_until >= now and one.node.id != this]

    @staticmethod
    def _names(known: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*known, *more)))[:MOST_NAMES]


def _is_known_to(nodes: Iterable[Node], job: JobRecord) -> bool:
    return any(job.task in node.tasks and job.executor in node.executors for node in nodes)
