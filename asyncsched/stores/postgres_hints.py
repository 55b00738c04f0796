"""Hints to the other nodes that something falls due earlier than they sleep.

At most one NOTIFY a batch, and only when the earliest instant moves forward and somebody else is
there: whoever notifies makes every other commit that does so wait. What is missed is found by the
regular look of every node.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncsched.job import JobRecord
from asyncsched.stores.postgres_session import Session
from asyncsched.stores.postgres_transaction import Transaction

__all__ = ["EARLIEST", "IS_DUE_SOME_TIME", "LEVELS", "hint_all", "hint_due", "hint_if", "hint_where"]

IS_DUE_SOME_TIME: Final = "j.state IN ('active', 'paused') AND j.due_at IS NOT NULL"
"""Of a job: whether it is among those that the index of due ones holds."""

LEVELS: Final = (
    "level(priority) AS ("
    f"(SELECT j.priority FROM SCHEMA.jobs j WHERE {IS_DUE_SOME_TIME} "
    "ORDER BY j.priority DESC LIMIT 1) UNION ALL "
    f"SELECT (SELECT j.priority FROM SCHEMA.jobs j WHERE {IS_DUE_SOME_TIME} "
    "AND j.priority < level.priority ORDER BY j.priority DESC LIMIT 1) FROM level WHERE level.priority IS NOT NULL)"
)
"""The priorities that occur among the jobs that will be due, largest first: one seek of the index for each."""

EARLIEST: Final = (
    f"(WITH RECURSIVE {LEVELS} SELECT min(first.due_at) FROM level CROSS JOIN LATERAL "
    f"(SELECT j.due_at FROM SCHEMA.jobs j WHERE {IS_DUE_SOME_TIME} "
    "AND j.priority = level.priority ORDER BY j.due_at LIMIT 1) first)"
)
"""When the first job is due, as of the beginning of the statement."""

_HAS_COMPANY: Final = "EXISTS (SELECT 1 FROM SCHEMA.nodes WHERE NOT (id = ANY($3::text[])))"
_NOTIFY: Final = f"SELECT pg_notify($1, $2) WHERE {_HAS_COMPANY}"
_NOTIFY_IF_EARLIER: Final = f"{_NOTIFY} AND $4 <= coalesce({EARLIEST}, $4)"


def _sender(transaction: Transaction, session: Session) -> tuple[str, str, list[str]]:
    """Return the channel, who speaks, and the nodes that need not be told.

    In a transaction of the user's everybody has to be told, as nobody here sees its commit.
    """
    return (session.channel, session.token, list(session.joined)) if transaction.is_ours else (session.channel, "", [])


async def hint_if(transaction: Transaction, session: Session, jobs: Sequence[JobRecord], earliest: int | None) -> None:
    """Tell the others of new jobs, if one of them is due before what was due ``earliest``."""
    due = min((job.due_at for job in jobs if job.due_at is not None), default=None)
    if due is not None and (earliest is None or due < earliest):
        await transaction.rows(_NOTIFY, *_sender(transaction, session))


async def hint_due(transaction: Transaction, session: Session, instants: Iterable[int | None]) -> None:
    """Tell the others of instants, if one of them is the earliest of all now."""
    due = min((instant for instant in instants if instant is not None), default=None)
    if due is not None:
        await transaction.rows(_NOTIFY_IF_EARLIER, *_sender(transaction, session), due)


async def hint_all(transaction: Transaction, session: Session) -> None:
    """Tell the others that there is something to do: a run to be cancelled, or one that may start now."""
    await transaction.rows(_NOTIFY, *_sender(transaction, session))


async def hint_where(transaction: Transaction, session: Session, condition: str, *values: Any) -> None:
    """Tell the others if a condition holds; its parameters are numbered from 4 on."""
    await transaction.rows(f"{_NOTIFY} AND {condition}", *_sender(transaction, session), *values)
