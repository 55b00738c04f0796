"""Tasks without a durable name: lambdas, partials and the like, known for as long as a job needs them.

A program may add a one-shot partial a second for years; the registry must not keep them all. So the
jobs of such tasks are counted, and a task is forgotten with its last job. Durable tasks are never
forgotten, and cost one look into the registry.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, final

from asyncsched.job import JobRecord
from asyncsched.tasks import TaskRegistry

__all__ = ["TemporaryTasks"]


@final
class TemporaryTasks:
    """Counts who needs each task that is not durable.

    Args:
        tasks: where they are registered.
        running: the tasks of the runs that are claimed at the moment: a job may be removed while
            it has some.
    """

    def __init__(self, tasks: TaskRegistry, running: Callable[[], Collection[str]]) -> None:
        self._tasks: Final = tasks
        self._running: Final = running
        self._needs: Counter[str] = Counter()
        self._jobs: dict[tuple[str, str], str] = {}
        self._unneeded: set[str] = set()

    def hold(self, func: object) -> list[str]:
        """Register a callable and keep it until `release`, if it is temporary; return its name then.

        Raises:
            ConfigurationError: its name belongs to another callable.
        """
        if not callable(func):
            return []
        name = self._tasks.name_of(func)
        if self._tasks.is_durable(name):
            return []
        self._needs[name] += 1
        return [name]

    def release(self, held: Iterable[str]) -> None:
        """Undo `hold`; what no job needs is forgotten once it is not running either."""
        for name in held:
            self._needs[name] -= 1
            if self._needs[name] <= 0:
                del self._needs[name]
                self._unneeded.add(name)
        if self._unneeded:
            self._forget_unneeded()

    def bind(self, store: str, jobs: Sequence[JobRecord]) -> None:
        """Let jobs keep their tasks, held or not, and no longer those that they had before."""
        before = (
            [self._jobs.pop((store, job.id)) for job in jobs if (store, job.id) in self._jobs] if self._jobs else []
        )
        for job in jobs:
            if not self._tasks.is_durable(job.task):
                self._jobs[store, job.id] = job.task
                self._needs[job.task] += 1
        self.release(before)

    def removed(self, store: str, job_ids: Iterable[str]) -> None:
        """Release the tasks of jobs that are gone."""
        if self._jobs or self._unneeded:
            keys = [(store, job_id) for job_id in job_ids]
            self.release([self._jobs.pop(key) for key in keys if key in self._jobs])

    def removed_all(self, store: str) -> None:
        """Release the tasks of all jobs of a store."""
        self.removed(store, [job_id for place, job_id in self._jobs if place == store])

    def _forget_unneeded(self) -> None:
        for name in self._unneeded.difference(self._running()):
            self._unneeded.discard(name)
            if name not in self._needs and not self._tasks.is_durable(name):  # neither added nor registered again
                self._tasks.forget(name)
