"""Late, missed, caught up: what becomes of instants that fell due while nobody looked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import anyio
import pytest

from asyncsched import JobExecuted, JobMissed, JobRemoved, JobSubmitted, Run, Scheduler, at, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import instants, ledger, make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


async def sleep_over(scheduler: Scheduler, clock: VirtualClock, minutes: float) -> None:
    """Let the scheduler see nothing of that time."""
    await scheduler.pause()
    await clock.advance(minutes=minutes)
    await scheduler.resume()
    await clock.advance()


@named
async def mail() -> None: ...


# -- misfire_grace_time --------------------------------------------------------------------------


@pytest.mark.parametrize(("late_by", "state"), [(29, "succeeded"), (30, "succeeded"), (31, "missed")])
async def test_a_fire_may_be_as_late_as_its_grace(store: JobStore, late_by: int, state: str) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(mail, at(second(60)), id="mail", misfire_grace_time=30)
        await sleep_over(scheduler, clock, 1 + late_by / 60)
        (row,) = await scheduler.get_runs(job_id="mail")
        assert row.state == state
        missed = [(event.late_by, event.reason) for event in log.of(JobMissed)]
        assert missed == ([(timedelta(seconds=31), "misfire_grace_time")] if state == "missed" else [])
        assert [event.reason for event in log.of(JobRemoved)] == ["finished"]
        assert len(log.of(JobSubmitted)) == len(log.of(JobExecuted)) == (state == "succeeded")


async def test_without_a_grace_a_late_fire_runs_however_late() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, log):
        await scheduler.add_job(mail, at(second(60)), id="mail")
        await sleep_over(scheduler, clock, 120)
        assert await ledger(scheduler) == ["60 succeeded"]
        assert log.of(JobMissed) == []


async def test_the_grace_is_looked_at_again_when_the_run_really_starts() -> None:
    """What was claimed in time but waits for a runner until it is too late is missed, not run."""
    clock = VirtualClock()
    ran: list[str] = []

    async def hold() -> None:
        ran.append("hold")
        clock.step(seconds=45)

    async def mail_once() -> None:
        ran.append("mail")

    async with running(clock, start_paused=True) as (scheduler, log):
        await scheduler.add_job(hold, at(second(60)), id="hold", priority=1)
        await scheduler.add_job(mail_once, at(second(60)), id="mail", misfire_grace_time=30)
        await clock.advance(seconds=60)
        await scheduler.resume()
        await clock.advance()
        assert ran == ["hold"]
        (row,) = await scheduler.get_runs(job_id="mail")
        assert (row.state, row.started_at, row.reason) == ("missed", None, "misfire_grace_time")
        (event,) = log.of(JobMissed)
        assert (event.job_id, event.late_by) == ("mail", timedelta(seconds=45))


async def test_a_manual_run_is_never_too_late() -> None:
    clock = VirtualClock()
    gate = anyio.Event()
    async with running(clock, max_concurrent_runs=1) as (scheduler, log):
        await scheduler.add_job(clock.wait, id="holder", args=(gate, None))
        await scheduler.add_job(mail, every(days=1), id="mail", misfire_grace_time=1)
        await clock.advance()
        run = await scheduler.run_job("mail")
        await clock.advance(minutes=5)
        gate.set()
        await clock.advance()
        assert await run.wait() is None
        assert log.of(JobMissed) == []


async def test_a_run_that_waits_for_a_slot_longer_than_its_grace_is_missed(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(100)

    async with running(clock, store) as (scheduler, _log):
        options: dict[str, Any] = {"overlap": "queue_all", "misfire_grace_time": 30}
        await scheduler.add_job(slow, every(minutes=1, end=second(120)), id="slow", **options)
        await clock.advance(minutes=5)
        assert await ledger(scheduler, "slow") == ["60 succeeded", "120 missed: misfire_grace_time"]


# -- coalesce ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coalesce", "expected"),
    [
        ("latest", ["60-240 (4) coalesced: into the latest", "300 succeeded"]),
        (True, ["60-240 (4) coalesced: into the latest", "300 succeeded"]),
        ("earliest", ["60 succeeded", "120-300 (4) coalesced: into the earliest"]),
        ("all", [f"{fire} succeeded" for fire in (60, 120, 180, 240, 300)]),
        (False, [f"{fire} succeeded" for fire in (60, 120, 180, 240, 300)]),
    ],
)
async def test_coalesce(store: JobStore, coalesce: Literal["latest", "earliest", "all"], expected: list[str]) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(mail, EveryMinute, id="mail", coalesce=coalesce)
        await sleep_over(scheduler, clock, 5.5)
        assert await ledger(scheduler, "mail") == expected
        await clock.advance(seconds=30)
        assert (await ledger(scheduler, "mail"))[-1] == "360 succeeded"


async def test_catching_up_all_goes_one_after_the_other_and_in_order(store: JobStore) -> None:
    clock = VirtualClock()
    at_once, most = 0, 0

    @named
    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await clock.sleep(5)
        at_once -= 1

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(slow, EveryMinute, id="slow", coalesce="all")
        await sleep_over(scheduler, clock, 4.5)
        await clock.advance(seconds=20)
        assert most == 1
        assert [offset(event.fire_time) for event in log.of(JobExecuted)] == [60, 120, 180, 240]
        started = [run.started_at for run in reversed(await scheduler.get_runs(job_id="slow"))]
        assert started == [second(270), second(275), second(280), second(285)]


@pytest.mark.parametrize("max_instances", [2, None])
async def test_catching_up_all_uses_every_slot(max_instances: int | None) -> None:
    clock = VirtualClock()

    async def slow() -> None:
        await clock.sleep(5)

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(slow, EveryMinute, id="slow", coalesce="all", max_instances=max_instances)
        await sleep_over(scheduler, clock, 4.5)
        assert len(await scheduler.get_runs(job_id="slow", state="running")) == (max_instances or 4)
        await clock.advance(seconds=20)
        assert await ledger(scheduler) == [f"{fire} succeeded" for fire in (60, 120, 180, 240)]


async def test_max_catchup_runs_the_newest_and_sums_up_the_rest(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(mail, EveryMinute, id="mail", coalesce="all", max_catchup=2)
        await sleep_over(scheduler, clock, 6.5)
        assert await ledger(scheduler) == ["60-240 (4) coalesced: max_catchup", "300 succeeded", "360 succeeded"]


async def test_the_catchup_window_comes_before_coalescing(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(mail, EveryMinute, id="mail", coalesce="all", catchup_window=150)
        await sleep_over(scheduler, clock, 5.5)
        assert await ledger(scheduler) == [
            "60-120 (2) missed: catchup_window", "180 succeeded", "240 succeeded", "300 succeeded",
        ]  # fmt: skip
        (event,) = log.of(JobMissed)
        assert (event.count, event.reason, event.late_by) == (2, "catchup_window", timedelta(seconds=270))


async def test_grace_comes_before_coalescing() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(mail, EveryMinute, id="mail", coalesce="earliest", misfire_grace_time=100)
        await sleep_over(scheduler, clock, 5.5)
        assert await ledger(scheduler) == [
            "60-180 (3) missed: misfire_grace_time", "240 succeeded", "300 coalesced: into the earliest",
        ]  # fmt: skip


async def test_a_grace_that_nothing_meets_catches_up_nothing(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(mail, EveryMinute, id="mail", misfire_grace_time=10)
        await sleep_over(scheduler, clock, 5.5)
        assert await ledger(scheduler) == ["60-300 (5) missed: misfire_grace_time"]
        await clock.advance(seconds=30)
        assert (await ledger(scheduler))[-1] == "360 succeeded"


async def test_ten_years_of_seconds_are_a_few_rows(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        past = second(-10 * 365 * 86400)
        options: dict[str, Any] = {"coalesce": "all", "max_catchup": 3, "next_run_time": past}
        await scheduler.add_job(mail, every(seconds=1, start=past), id="mail", **options)
        await clock.advance()
        rows = await scheduler.get_runs(job_id="mail")
        assert [offset(run.fire_time) for run in rows] == [0, -1, -2, offset(past)]
        assert rows[-1].count == 10 * 365 * 86400 - 2


# -- the ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize("coalesce", ["latest", "earliest", "all"])
@pytest.mark.parametrize("grace", [None, 95])
async def test_every_instant_has_exactly_one_verdict(
    open_store: Callable[[], JobStore], coalesce: Literal["latest", "earliest", "all"], grace: float | None
) -> None:
    """Through pauses of the node and of the job, slow runs, a restart and an outage."""
    clock = VirtualClock()

    @named
    async def uneven() -> None:
        await clock.sleep(95 if int(offset(clock.now())) % 180 == 0 else 1)

    options: dict[str, Any] = {"coalesce": coalesce, "misfire_grace_time": grace, "max_catchup": 2}
    trigger = every(seconds=20, start=second(20))
    async with running(clock, open_store()) as (scheduler, _log):
        await scheduler.add_job(uneven, trigger, id="job", **options)
        await clock.advance(seconds=310)
        await sleep_over(scheduler, clock, 4)
        await scheduler.pause_job("job")
        await clock.advance(minutes=2)
        await scheduler.resume_job("job")
        await clock.advance(seconds=90)
    await clock.advance(minutes=5)
    async with running(clock, open_store()) as (scheduler, _log):
        await clock.advance(seconds=100)
        rows: list[Run[Any]] = await scheduler.get_runs(job_id="job", limit=10_000)
        last = int(offset(clock.now())) // 20 * 20
        assert instants(rows, 20) == [float(fire) for fire in range(20, last + 1, 20)]
        states = {run.state for run in rows}
        assert {"succeeded", "skipped"} <= states
        assert all(run.started_at >= run.scheduled_time for run in rows if run.started_at is not None)


# -- adding --------------------------------------------------------------------------------------


async def test_a_recurring_trigger_with_a_past_start_sends_no_old_mails(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(mail, every(minutes=1, start=second(-86_400)), id="mail", coalesce="all")
        assert job.next_run_time == second(0)
        await clock.advance(seconds=61)
        assert await ledger(scheduler) == ["0 succeeded", "60 succeeded"]


async def test_a_one_shot_in_the_past_is_due_at_once(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(mail, at(second(-3600)), id="mail")
        await scheduler.add_job(mail, at(second(-3600)), id="strict", misfire_grace_time=60)
        await clock.advance()
        assert await ledger(scheduler, "mail") == ["-3600 succeeded"]
        assert await ledger(scheduler, "strict") == ["-3600 missed: misfire_grace_time"]


async def test_a_next_run_time_in_the_past_follows_the_late_rules(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(mail, EveryMinute, id="mail", next_run_time=second(-90), coalesce="all")
        await clock.advance(seconds=60)
        assert await ledger(scheduler) == ["-90 succeeded", "60 succeeded"]


async def test_a_job_whose_instants_are_over_is_removed_and_its_runs_are_found(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(90)

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(slow, every(minutes=2, end=second(240)), id="slow")
        await clock.advance(seconds=250)
        (job,) = await scheduler.get_jobs()
        assert job.next_run_time is None, "it has no instant left, but its last run is not over"
        assert log.of(JobRemoved) == []
        await clock.advance(seconds=90)
        assert await scheduler.get_jobs() == []
        assert [(event.job_id, event.reason) for event in log.of(JobRemoved)] == [("slow", "finished")]
        assert await ledger(scheduler, "slow") == ["120 succeeded", "240 succeeded"]


async def test_a_job_added_before_the_start_is_late_by_what_passed_since() -> None:
    clock = VirtualClock()
    scheduler = make_scheduler(clock)
    await scheduler.add_job(mail, at(second(60)), id="mail")
    await clock.advance(seconds=90)
    async with scheduler:
        await clock.advance()
        (row,) = await scheduler.get_runs()
        assert (row.state, row.started_at) == ("succeeded", second(90))


# -- jitter --------------------------------------------------------------------------------------


async def test_jitter_delays_within_its_bounds_and_a_restart_agrees(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    starts: list[float] = []

    @named
    async def note() -> None:
        starts.append(offset(clock.now()))

    async def live(minutes: int) -> list[Run[Any]]:
        async with running(clock, open_store()) as (scheduler, _log):
            if not await scheduler.get_jobs():
                await scheduler.add_job(note, EveryMinute, id="note", jitter=(5, 20))
            await clock.advance(minutes=minutes)
            return await scheduler.get_runs(job_id="note")

    await live(5)
    runs = await live(5)
    delays = [offset(run.scheduled_time) - offset(run.fire_time) for run in runs]
    assert all(5 <= delay <= 20 for delay in delays)
    assert len(set(delays)) > 3, "it is spread"
    assert starts == [offset(run.scheduled_time) for run in reversed(runs)], "nothing starts earlier, nor later"
    assert [offset(run.fire_time) for run in reversed(runs)] == [60.0 * n for n in range(1, len(runs) + 1)]
    other = VirtualClock()
    async with running(other) as (scheduler, _log):
        await scheduler.add_job(note, EveryMinute, id="note", jitter=(5, 20))
        await other.advance(minutes=9)
        again = await scheduler.get_runs(job_id="note")
        common = {run.fire_time: run.scheduled_time for run in runs}
        assert all(common[run.fire_time] == run.scheduled_time for run in again)


async def test_jitter_never_reaches_the_next_instant() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(mail, every(seconds=10, start=second(10)), id="mail", jitter=3600)
        await clock.advance(seconds=215)
        rows = list(reversed(await scheduler.get_runs(job_id="mail")))
        assert instants(rows, 10) == [10.0 * n for n in range(1, len(rows) + 1)]
        assert all(run.scheduled_time < run.fire_time + timedelta(seconds=10) for run in rows)


async def test_grace_counts_from_the_delayed_time() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(
            mail, every(minutes=5, start=second(300)), id="mail", jitter=(60, 61), misfire_grace_time=1
        )
        await clock.advance(seconds=370)
        assert await ledger(scheduler) == ["300 succeeded"]
