"""Draws a script from a seed."""

import random
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.script import Action, Fault, JobPlan, Mode, Script, TriggerPlan

__all__ = ["draw_script"]

STARTS: Final = (
    "2026-01-14T09:00:00+00:00",
    "2026-03-29T00:45:00+00:00",  # Europe springs forward at 01:00 UTC
    "2026-10-25T00:45:00+00:00",  # and falls back
    "2026-12-31T23:50:00+00:00",
)
ZONES: Final = ("UTC", "Europe/Berlin", "Australia/Lord_Howe")
CRONS: Final = ("* * * * *", "*/2 * * * *", "*/5 * * * *", "3,11,12,40 * * * *", "7-29/4 * * * *")
LATENCIES: Final = (0.0, 0.0, 0.002, 0.05, 0.5)
WEIGHTED: Final[tuple[str, ...]] = (
    "pause", "pause_until", "resume_now", "resume_past", "edit", "retouch", "remove", "add", "run", "run",
    "run_unique", "backfill", "cancel", "cancel",
)  # fmt: skip
"""What operators do, some things more often."""
KILL_POINTS: Final = ("fire_due", "start_pending", "finish", "recover", "join", "renew", "enqueue", "update", "add")


def draw_script(seed: int, *, nodes: int, minutes: float, mode: Mode | None = None) -> Script:
    """Return the script of a seed; the same for the same arguments."""
    draw = random.Random(f"script {seed}")
    chosen: Mode = draw.choice(("safety", "liveness")) if mode is None else mode
    seconds = minutes * 60
    jobs = tuple(_job(draw, f"job-{number}", seconds) for number in range(draw.randint(3, 8)))
    return Script(
        seed=seed,
        mode=chosen,
        nodes=nodes,
        seconds=seconds,
        start=draw.choice(STARTS),
        lease=draw.choice((30.0, 30.0, 12.0)),
        slots=draw.choice((100, 100, 3)),
        latency=draw.choice(LATENCIES),
        hints=draw.choice((0.0, 0.7, 1.0)),
        ignorant=tuple(place for place in range(1, nodes) if draw.random() < 0.15),
        alone=draw.random() < 0.4,
        jobs=jobs,
        actions=tuple(_actions(draw, jobs, nodes, seconds)),
        faults=tuple(_faults(draw, nodes, seconds)),
    )


# -- jobs ----------------------------------------------------------------------------------------


def _job(draw: random.Random, id: str, seconds: float) -> JobPlan:
    trigger = _trigger(draw, seconds)
    return JobPlan(
        id=id,
        trigger=trigger,
        seconds=draw.choice((0.0, 0.4, 5.0, 20.0, 60.0, 200.0)),
        fails=draw.choice((0.0, 0.0, 0.3, 0.8)),
        asks=draw.choice((0.0, 0.0, 0.0, 0.3)),
        moves=draw.choice((0.0, 0.0, 0.0, 0.0, 0.2)),
        stubborn=draw.choice((0.0, 0.0, 0.0, 2.0, 40.0)),
        rare=draw.random() < 0.2,
        retry=_retry(draw) if draw.random() < 0.4 else None,
        options=_options(draw),
    )


def _retry(draw: random.Random) -> dict[str, Any]:
    return {
        "max_attempts": draw.choice((1, 2, 5)),
        "delay": draw.choice((0.0, 2.0, 30.0)),
        "backoff": draw.choice((1.0, 3.0)),
        "max_delay": draw.choice((10.0, 300.0)),
        "jitter": draw.random() < 0.5,
    }


def _trigger(draw: random.Random, seconds: float) -> TriggerPlan:
    breaks_at = draw.uniform(0, seconds) if draw.random() < 0.05 else None
    match draw.randrange(6):
        case 0:
            return TriggerPlan(cron=draw.choice(CRONS), zone=draw.choice(ZONES))
        case 1:
            return TriggerPlan(at=round(draw.uniform(-60, seconds), 3))
        case 2:
            since = round(draw.uniform(-3600, 60), 3)
            return TriggerPlan(every=draw.choice((17, 45, 61.5)), since=since, breaks_at=breaks_at)
        case 3:
            return TriggerPlan(every=draw.choice((5, 40)), after_end=draw.random() < 0.5)
        case _:
            return TriggerPlan(every=draw.choice((7, 20, 30, 60, 60, 97.25, 240)), breaks_at=breaks_at)


def _options(draw: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {}

    def sometimes(name: str, part: float, value: Callable[[], Any]) -> None:
        if draw.random() < part:
            options[name] = value()

    sometimes("overlap", 0.7, lambda: draw.choice(("skip", "queue_one", "queue_all", "cancel_running", "allow")))
    sometimes("max_instances", 0.5, lambda: draw.choice((1, 2, 3, None)))
    sometimes("coalesce", 0.6, lambda: draw.choice(("latest", "earliest", "all")))
    sometimes("misfire_grace_time", 0.3, lambda: draw.choice((0.5, 5, 60)))
    sometimes("catchup_window", 0.2, lambda: draw.choice((10, 120)))
    sometimes("max_catchup", 0.2, lambda: draw.choice((1, 3, 20)))
    sometimes("jitter", 0.3, lambda: draw.choice((0.5, 10, 100)))
    sometimes("timeout", 0.3, lambda: draw.choice((0.2, 10, 30)))
    sometimes("priority", 0.3, lambda: draw.choice((-5, 5)))
    sometimes("on_lost", 0.4, lambda: draw.choice(("retry", "fail")))
    sometimes("max_lost", 0.3, lambda: draw.choice((0, 1, 5)))
    sometimes("pause_after_failures", 0.15, lambda: draw.choice((1, 4)))
    sometimes("limit", 0.25, lambda: draw.choice(("two", "slow", "one")))
    sometimes("on_success", 0.1, lambda: f"job-{draw.randrange(4)}")
    sometimes("on_failure", 0.1, lambda: f"job-{draw.randrange(4)}")
    sometimes("carry_result", 0.1, lambda: True)
    sometimes("keep_runs", 0.4, lambda: draw.choice((0, 3, 30, None)))
    return options


# -- what operators do ---------------------------------------------------------------------------


def _actions(draw: random.Random, jobs: tuple[JobPlan, ...], nodes: int, seconds: float) -> list[Action]:
    made: list[Action] = []
    for _ in range(draw.randint(0, 30)):
        at, node, job = round(draw.uniform(0, seconds), 3), draw.randrange(nodes), draw.choice(jobs)
        what = draw.choice(WEIGHTED)
        action = Action(at=at, node=node, what=what, job=job.id)
        match what:
            case "pause":  # a pause mostly ends
                made.append(action)
                ends_at = min(seconds, at + draw.choice((1, 30, 200)))
                what = draw.choice(("resume_now", "resume_past"))
                action = Action(at=ends_at, node=draw.randrange(nodes), what=what, job=job.id)
            case "pause_until":
                action = Action(at=at, node=node, what=what, job=job.id, seconds=draw.choice((-5, 20, 150)))
            case "run_unique":
                how = draw.choice(("keep", "replace", "debounce"))
                action = Action(at=at, node=node, what=what, job=job.id, seconds=draw.choice((5, 120)), how=how)
            case "backfill":
                policy = draw.choice((None, "queue_all", "allow", "queue_one", "skip"))
                action = Action(at=at, node=node, what=what, job=job.id, seconds=draw.choice((60, 300)), how=policy)
            case "edit":
                action = Action(at=at, node=node, what=what, job=job.id, trigger=_trigger(draw, seconds))
            case "add" | "retouch":
                plan = _job(draw, job.id, seconds) if what == "add" else job
                action = Action(at=at, node=node, what="add", job=job.id, plan=plan)
            case _:
                pass
        made.append(action)
    return sorted(made, key=lambda action: action.at)


# -- faults --------------------------------------------------------------------------------------


def _faults(draw: random.Random, nodes: int, seconds: float) -> list[Fault]:
    made = [_fault(draw, nodes, seconds) for _ in range(draw.choice((0, 2, 6, 12, 25)))]
    return sorted(made, key=lambda fault: fault.at)


def _fault(draw: random.Random, nodes: int, seconds: float) -> Fault:
    at, node = round(draw.uniform(0, seconds), 3), draw.randrange(nodes)
    some = draw.choice((node, node, None))
    match draw.randrange(12):
        case 0:
            return Fault(kind="slow", at=at, node=some, seconds=draw.choice((5, 60)), size=draw.choice((0.5, 4, 12)))
        case 1:
            length = draw.choice((0.5, 8, 25, 45, 120))
            return Fault(kind="outage", at=at, node=some, seconds=length, size=draw.choice((0, 0, 3, 10)))
        case 2:
            return Fault(kind="lost_request", at=at, node=some, seconds=draw.choice((10, 90)), size=0.3)
        case 3:
            return Fault(kind="lost_reply", at=at, node=some, seconds=draw.choice((10, 90)), size=0.3)
        case 4:
            return Fault(kind="duplicate", at=at, node=some, seconds=draw.choice((60, 300)), size=0.5)
        case 5 | 8:
            return Fault(kind="stall", at=at, node=node, seconds=draw.choice((1, 12, 29, 45, 70, 200)))
        case 6:
            return Fault(kind="skew", at=at, node=node, size=draw.choice((-600, -61, -1.5, 0, 1.5, 61, 600)))
        case 7:
            return Fault(kind="stop", at=at, node=node, seconds=draw.choice((0.1, 5, 60)))
        case _:
            method = draw.choice((None, *KILL_POINTS))
            length = draw.choice((0.1, 5, 40, 150))
            return Fault(kind="kill", at=at, node=node, seconds=length, method=method, after=draw.random() < 0.5)
