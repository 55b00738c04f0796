"""Where a job stands in time: its next fire, when somebody has to look at it, pauses. Pure functions."""

from hashlib import blake2b

from msgspec.structs import replace

from asyncsched.job import JobRecord
from asyncsched.policy import Policies
from asyncsched.triggers.base import Trigger

__all__ = ["draw", "pause", "resume", "schedule_fire", "scheduled_time"]


def draw(seed: str, bound: int) -> int:
    """Return a number from 0 up to the bound, inclusive: the same for the same seed, on every node."""
    digest = blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % (bound + 1)


def scheduled_time(job_id: str, policies: Policies, trigger: Trigger | None, nominal: int) -> int:
    """Return the nominal instant plus jitter: a stable hash, short of the next nominal instant."""
    if policies.jitter is None:
        return nominal
    low, high = policies.jitter
    delay = low + draw(f"{job_id}\0{nominal}", high - low)
    if trigger is None or trigger.follows_completion:
        return nominal + delay
    following = trigger.next_us(nominal)
    return nominal + (delay if following is None else min(delay, following - nominal - 1))


def schedule_fire(job: JobRecord, nominal: int | None) -> JobRecord:
    """Return the job with that instant as its next fire; ``None`` for none. A pause goes on."""
    if job.state == "paused":
        return replace(job, next_fire=nominal)
    due_at = None if nominal is None else scheduled_time(job.id, job.policies, job.trigger, nominal)
    return replace(job, next_fire=nominal, due_at=due_at)


def pause(job: JobRecord, now: int, reason: str | None, until: int | None = None) -> JobRecord:
    """Return the job paused; one that is paused already keeps its time and takes the new reason and end."""
    since = job.paused_at if job.state == "paused" else now
    return replace(job, state="paused", reason=reason, paused_at=since, due_at=until)


def resume(job: JobRecord, until: int, *, from_past: bool) -> JobRecord:
    """Return the job active again; unless ``from_past``, what fell due up to the end of the pause is skipped."""
    if job.state == "active":
        return job
    active = replace(job, state="active", reason=None, paused_at=None, failures=0)
    resumed = schedule_fire(active, job.next_fire)
    if from_past or resumed.next_fire is None or resumed.next_fire > until:
        return resumed
    reason = job.reason if job.state == "paused" else None  # kept for the verdict that is still to be written
    return replace(resumed, skip_until=until, due_at=min(resumed.due_at or until, until), reason=reason)
