"""What is to happen in one simulation, as a value: jobs, what operators do, faults. Written and read as JSON.

Nothing in it refers to the order in which things were drawn, so that a part of it can be left out
and the rest still means the same: that is what shrinking does.
"""

from typing import Any, Literal, TypeAlias

import msgspec

__all__ = ["Action", "Fault", "FaultKind", "JobPlan", "Mode", "Script", "TriggerPlan"]

Mode: TypeAlias = Literal["safety", "liveness"]
"""Faults until the end, or until the world heals."""

FaultKind: TypeAlias = Literal[
    "slow", "outage", "lost_request", "lost_reply", "duplicate", "stall", "skew", "kill", "stop"
]


class TriggerPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger: exactly one of the first three.

    Attributes:
        every: an interval in seconds; counted from when the job is added, or from ``since``.
        at: seconds after the start of the simulation.
        cron: a crontab expression.
        since: seconds after the start of the simulation, mostly negative.
        zone: of ``cron``.
        breaks_at: seconds after the start from which on it cannot tell its next instant any more.
        after_end: whether an interval counts from the end of each run.
    """

    every: float | None = None
    at: float | None = None
    cron: str | None = None
    since: float | None = None
    zone: str = "UTC"
    breaks_at: float | None = None
    after_end: bool = False


class JobPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that is there from the beginning, or that an operator adds.

    Attributes:
        seconds: how long its runs take at most, in virtual seconds.
        fails: which part of its attempts fails.
        asks: which part of its attempts asks to be made again later, or to be put off.
        moves: which part of its attempts sets the job's next instant itself.
        stubborn: for how many seconds it ignores a cancellation.
        rare: whether its task is one that not every node knows.
        retry: the keywords of a `Retry`, all of them numbers.
        options: the other policies, as `JobSpec` takes them.
    """

    id: str
    trigger: TriggerPlan
    seconds: float = 0.0
    fails: float = 0.0
    asks: float = 0.0
    moves: float = 0.0
    stubborn: float = 0.0
    rare: bool = False
    retry: dict[str, Any] | None = None
    options: dict[str, Any] = {}


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that somebody asks one node to do.

    Attributes:
        at: seconds after the start.
        node: which node is asked, by its place; one that is down refuses.
        what: the name of a method of `Operator`.
        job: the id of the job.
        trigger: for an edit.
        plan: for an addition.
        seconds: until when a pause lasts, or how far back a backfill goes, counted from ``at``.
        how: the overlap policy of a backfill, or how a unique run is treated.
    """

    at: float
    node: int
    what: str
    job: str
    trigger: TriggerPlan | None = None
    plan: JobPlan | None = None
    seconds: float | None = None
    how: str | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that goes wrong.

    Attributes:
        at: seconds after the start.
        seconds: how long it lasts; of a kill or a stop, how long the node stays away.
        node: its place; ``None`` for all nodes.
        size: which part of the calls it concerns; of ``slow``, the greatest delay in seconds; of
            ``skew``, by how many seconds the node's wall clock is ahead from then on; of
            ``outage``, how long a call hangs before it fails.
        method: of a kill, the store step at which it strikes, as soon as there is one.
        after: whether it strikes after that step, and not before it.
    """

    kind: FaultKind
    at: float
    seconds: float = 0.0
    node: int | None = None
    size: float = 0.0
    method: str | None = None
    after: bool = False


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One simulation.

    Attributes:
        seed: of everything that is drawn while it goes on: the order of tasks, ids, latencies.
        start: the first instant, ISO 8601.
        seconds: how long it lasts, without the healing of the liveness mode.
        lease: of the nodes, in seconds.
        slots: ``max_concurrent_runs`` of each node.
        latency: the greatest delay of a request or a reply, in seconds; most have none.
        hints: which part of the hints arrives.
        ignorant: the places whose nodes do not know every task; never the first.
        alone: whether one fresh node is all that is left when the world heals.
    """

    seed: int
    mode: Mode
    nodes: int
    seconds: float
    start: str
    lease: float = 30.0
    slots: int = 100
    latency: float = 0.0
    hints: float = 1.0
    ignorant: tuple[int, ...] = ()
    alone: bool = False
    jobs: tuple[JobPlan, ...] = ()
    actions: tuple[Action, ...] = ()
    faults: tuple[Fault, ...] = ()
