"""The named limits that a scheduler knows: declared ones, and those that its stores hold."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final, cast, final

from msgspec.structs import replace

from asyncsched._engine.arguments import by_name
from asyncsched._engine.limiting import LimitRow
from asyncsched.clock import duration_us
from asyncsched.errors import ConfigurationError
from asyncsched.job import JobRecord
from asyncsched.policy import Limit, Policies, limit_key

__all__ = ["LimitBook", "key_of_run", "limit_of", "limit_row", "require_limits", "under_limit"]


def limit_row(limit: object) -> LimitRow:
    """Return a limit as stores keep it.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(limit, Limit):
        raise ConfigurationError(f"{limit!r:.80} is not a Limit; write Limit('name', concurrency=5)")
    count, seconds = (None, None) if limit.rate is None else limit.rate
    period = None if seconds is None else duration_us(seconds)
    return LimitRow(limit.name, limit.concurrency, count, period, limit.key)


def limit_of(row: LimitRow) -> Limit:
    """Return a limit as users write it."""
    rate = None if row.count is None or row.period is None else (row.count, row.period / 1_000_000)
    return Limit(row.name, row.concurrency, rate, row.key)


@final
class LimitBook:
    """Limits by name.

    Attributes:
        declared: those that the scheduler was made with or was given before its start.
        known: these and those that were found in its stores.
    """

    def __init__(self, declared: Iterable[Limit]) -> None:
        if isinstance(declared, Limit) or not hasattr(declared, "__iter__"):
            raise ConfigurationError(
                f"limits={declared!r:.80} must be a list of Limit objects; write limits=[Limit(...)]"
            )
        given = list(cast("Iterable[Any]", declared))
        self.declared: Final = {row.name: row for row in map(limit_row, given)}
        if len(self.declared) < len(given):
            raise ConfigurationError("two limits have the same name; give each a name of its own")
        self.known: Final = dict(self.declared)

    def declare(self, row: LimitRow) -> None:
        """Have a limit written at every start."""
        self.declared[row.name] = self.known[row.name] = row

    def learn(self, rows: Sequence[LimitRow]) -> None:
        """Take note of what a store holds."""
        self.known.update({row.name: row for row in rows})


def under_limit(
    policies: Policies,
    func: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    known: Mapping[str, LimitRow],
) -> Policies:
    """Return policies under the limit that they name: with its key, and what that is for these arguments.

    Raises:
        ConfigurationError: there is no such limit, or its key names an argument that is not given.
    """
    name = policies.limit
    if name is None:
        return policies if policies.limit_key is None else replace(policies, limit_by=None, limit_key=None)
    row = known.get(name)
    if row is None:
        names = ", ".join(map(repr, known)) or "none"
        raise ConfigurationError(
            f"limit={name!r}: there is no such limit (there are: {names}); define it first, with "
            f"Scheduler(limits=[Limit({name!r}, concurrency=5)]) or await scheduler.set_limit(...)"
        )
    key = name if row.key is None else limit_key(name, row.key, by_name(func, args, kwargs))
    return replace(policies, limit_by=row.key, limit_key=key)


def require_limits(jobs: Iterable[JobRecord], known: Container[str]) -> None:
    """Refuse jobs under limits that are not defined.

    Raises:
        ConfigurationError: there is one.
    """
    for job in jobs:
        name = job.policies.limit
        if name is not None and name not in known:
            raise ConfigurationError(
                f"the job {job.id!r} is under the limit {name!r}, which is not defined here; define it first, with "
                f"await scheduler.set_limit(Limit({name!r}, ...)); nothing was added"
            )


def key_of_run(
    policies: Policies,
    func: Callable[..., Any] | None,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
) -> str | None:
    """Return under what a run with arguments of its own is counted; ``None`` for no limit."""
    name, key = policies.limit, policies.limit_by
    if name is None or key is None or (args is None and kwargs is None):
        return policies.limit_key
    return limit_key(name, key, by_name(func, args or (), kwargs or {}))
