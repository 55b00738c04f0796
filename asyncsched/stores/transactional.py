"""What a job store can do beside, whose database the application itself works with."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.values import Merge

__all__ = ["TransactionalStore"]


@runtime_checkable
class TransactionalStore(Protocol):
    """What a job store can do beside, whose database the application itself works with."""

    async def add_within(
        self,
        connection: Any,
        jobs: Sequence[JobRecord],
        *,
        merge: Merge | None = None,
        runs: Sequence[RunRecord] = (),
    ) -> list[JobRecord]:
        """Add jobs as `JobStore.add` does, but in a transaction of the caller's.

        Nobody sees them before that is committed, and they are gone if it is rolled back. The
        connection is neither committed nor closed.

        Args:
            connection: a connection of the store's driver to the same database, in a transaction.
            jobs: any number.
            merge: what to do with an id that exists; ``None`` refuses.
            runs: pending runs of these jobs.

        Returns:
            The rows as they are to be stored, in the order given.

        Raises:
            JobExistsError: ids exist already, or twice in ``jobs``, and there is no ``merge``.
            ConfigurationError: it is no such connection, or it is in no transaction.
        """
        ...
