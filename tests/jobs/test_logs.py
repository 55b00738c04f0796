"""Log records know their run, and a job may have them kept."""

import io
import logging
from collections.abc import Generator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncsched import Scheduler, every
from asyncsched.executors import ProcessExecutor
from asyncsched.logs import RunContextFilter
from asyncsched.testing import VirtualClock
from tests.executors import inside_jobs as jobs
from tests.executors.calls import WAIT_S
from tests.jobs.conftest import OpenStore
from tests.scheduler.support import T0, named, running

pytestmark = pytest.mark.anyio

logger = logging.getLogger("tests.job")


@pytest.fixture
def printed() -> Generator[io.StringIO]:
    """What a program's handler writes that marks its records."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(job_id)s %(run_id)s %(attempt)d %(message)s"))
    handler.addFilter(RunContextFilter())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


async def test_every_record_of_a_job_is_marked(printed: io.StringIO) -> None:
    async def child(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        logger.warning(name)

    async def job(name: str) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child, name)
        await anyio.to_thread.run_sync(logger.warning, name)

    async with Scheduler() as s:
        runs = [await s.run_job(job, args=[name]) for name in ("first", "second")]
        runs.append(await s.run_job(logger.warning, args=["third"]))
        with anyio.fail_after(WAIT_S):
            for run in runs:
                await run.wait()
        logger.warning("outside")
        logger.warning("own", extra={"run_id": "of the program"})

    lines = sorted(printed.getvalue().splitlines())
    names = ("first", "first", "second", "second", "third")
    ids = [runs[("first", "second", "third").index(name)] for name in names]
    expected = [f"{run.job_id} {run.id} 1 {name}" for run, name in zip(ids, names, strict=True)]
    assert lines == sorted([*expected, "- - 0 outside", "- of the program 0 own"])


async def test_the_librarys_own_records_about_a_fire_are_marked(printed: io.StringIO, clock: VirtualClock) -> None:
    async def long() -> None:
        await clock.sleep(100)

    async with running(clock) as (s, _log):
        await s.add_job(long, every(seconds=1, start=T0), id="long")
        await clock.advance(seconds=1)
        skipped = [run for run in await s.get_runs() if run.state == "skipped"]

    (line,) = [line for line in printed.getvalue().splitlines() if "a fire is skipped" in line]
    assert line.startswith(f"long {skipped[0].id} 0 ")


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_what_was_logged_is_in_the_ledger(executor: str) -> None:
    async def job() -> None:
        jobs.log_from_everywhere()

    func: Any = job if executor == "async" else jobs.log_from_everywhere
    async with Scheduler(executors={"process": ProcessExecutor(1)}) as s:
        await s.add_job(func, every(days=1), id="kept", executor=executor, capture_logs=True)
        await s.add_job(func, every(days=1), id="not kept", executor=executor)
        with anyio.fail_after(WAIT_S):
            for job_id in ("kept", "not kept"):
                await (await s.run_job(job_id)).wait()
        logs = {run.job_id: run.logs for run in await s.get_runs()}

    assert logs["not kept"] is None
    assert (logs["kept"] or "").startswith("WARNING tests.inside: here\nERROR another: there\n")
    assert (logs["kept"] or "").endswith("\nValueError: caught")


async def test_what_a_run_that_timed_out_had_logged_is_kept(clock: VirtualClock, open_sqlite: OpenStore) -> None:
    @named
    async def hang() -> None:
        logger.warning("hanging")
        await clock.sleep(100)

    async with running(clock, open_sqlite()) as (s, _log):
        await s.add_job(hang, id="hanging", timeout=5, capture_logs=True)
        await clock.advance(seconds=6)
        (run,) = await s.get_runs()

    assert (run.state, run.logs) == ("timed_out", "WARNING tests.job: hanging")
