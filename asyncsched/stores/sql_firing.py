"""What firing has in common on every SQL database: what was decided on due jobs, before and after it is written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from asyncsched._engine.plan import Decision, ForeignJobError, Planner, UnplannableError
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Fired, Parked, Start

__all__ = ["Live", "Planned", "Stored", "decide", "fired", "remembered"]


class Stored(NamedTuple):
    """A job as it was found: ``readable`` is false where ``job`` merely stands for it, parked with the reason."""

    number: int
    stamp: int | None
    job: JobRecord
    readable: bool


class Live(NamedTuple):
    """How many runs of a job are not over.

    ``holding`` a slot are those that are running or wait with an attempt behind them, ``waiting`` for one
    the others that are pending; ``unbound`` ones are in neither.
    """

    holding: int = 0
    waiting: int = 0
    unbound: int = 0


_NOBODY: Final = Live()


class Planned(NamedTuple):
    """What was decided on a due job.

    ``is_ending`` if it has neither another instant nor a run that begins; ``is_finished`` if it has none
    that is under way either.
    """

    stored: Stored
    decision: Decision
    is_ending: bool
    is_finished: bool


def decide(
    found: Sequence[Stored], live: Mapping[str, Live], now: int, planner: Planner
) -> tuple[list[Planned], list[tuple[Stored, str]]]:
    """Ask the planner for each of the due jobs.

    Args:
        found: the jobs.
        live: how many runs of each are not over, by the id of the job; none where it is missing.
        now: the store's time.
        planner: what decides.

    Returns:
        What was decided, and what is to be parked, with the reasons. What is another node's is in neither.
    """
    planned: list[Planned] = []
    parked: list[tuple[Stored, str]] = []
    for stored in found:
        job = stored.job
        if not stored.readable:
            parked.append((stored, job.reason or "it cannot be read"))
            continue
        counts = live.get(job.id, _NOBODY)
        try:
            decision = planner(job, now, counts[0], counts[1])
        except ForeignJobError:
            continue
        except UnplannableError as error:
            parked.append((stored, str(error)))
        except Exception as error:  # noqa: BLE001 - a trigger of a user's may raise anything
            parked.append((stored, f"{type(error).__name__}: {_text_of(error)}"))
        else:
            is_ending = _is_over(decision)
            planned.append(Planned(stored, decision, is_ending, is_ending and not any(counts)))
    return planned, parked


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - so may its __str__
        return "(its text cannot be had)"


def _is_over(decision: Decision) -> bool:
    job = decision.job
    return job.next_fire is None and job.state == "active" and all(run.state in OVER_STATES for run in decision.runs)


def remembered(planned: Sequence[Planned]) -> Iterator[Stored]:
    """Yield the jobs that will be back."""
    for plan in planned:
        if not plan.is_finished and plan.decision.job.next_fire is not None:
            yield plan.stored


def fired(
    node: str,
    planned: Sequence[Planned],
    parked: Sequence[tuple[Stored, str]],
    cancelling: Sequence[str] = (),
    cancelled: Sequence[RunRecord] = (),
) -> Fired:
    """Return what a claim did, once it is written."""
    starts: list[Start] = []
    verdicts: list[RunRecord] = []
    is_waiting = False
    for plan in planned:
        decision = plan.decision
        if decision.longer is not None:
            verdicts.append(decision.longer[1])
        for run in decision.runs:
            if run.state == "running" and run.node == node:
                starts.append(Start(decision.job, run))
            elif run.state in OVER_STATES:
                verdicts.append(run)
            elif run.state == "pending":
                is_waiting = True
    return Fired(
        starts=starts,
        verdicts=verdicts,
        parked=[Parked(stored.job.id, reason) for stored, reason in parked],
        finished=[plan.stored.job.id for plan in planned if plan.is_finished],
        resumed=[plan.stored.job.id for plan in planned if plan.stored.job.state == "paused" and _is_active(plan)],
        cancelling=cancelling,
        cancelled=cancelled,
        pending=is_waiting,
    )


def _is_active(plan: Planned) -> bool:
    return plan.decision.job.state == "active"
