"""The policies of a run's life over several processes, and over the death of one of them by ``kill -9``.

The nodes run on both loops; the one of the test fires nothing, it only asks and looks.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asyncsched import Limit, Retry, Run, RunCancelled, RunFailed, Scheduler, every, task
from tests.cluster.support import node, program, succeeded, told, until
from tests.faults.processes import Seen, witnessed

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.anyio

BACKENDS = ("asyncio", "trio", "asyncio")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {}


@task("life:work")
async def work(*, seconds: float = 0, failures: int = 0) -> str:
    raise AssertionError(f"only other processes run it: {seconds}, {failures}")


class Crew:
    """Nodes in processes of their own, and one here that is paused, through which they are looked at."""

    def __init__(self, url: str, lines: Path, scheduler: Scheduler, stack: ExitStack) -> None:
        self.scheduler = scheduler
        self._url = url
        self._lines = lines
        self._stack = stack
        self._count = 0
        self.processes: dict[str, subprocess.Popen[str]] = {}

    async def start(self, count: int, *options: str) -> list[str]:
        """Start nodes; return their ids as soon as they are there."""
        started: list[subprocess.Popen[str]] = []
        for _ in range(count):
            arguments = (self._url, BACKENDS[self._count % 3], self._lines, *options)
            started.append(self._stack.enter_context(program("life.py", *arguments)))
            self._count += 1
        ids = [str(await told(process, "ready")) for process in started]
        self.processes |= dict(zip(ids, started, strict=True))
        return ids

    def kill(self, node_id: str) -> int:
        """Kill a node; return its process id."""
        process = self.processes[node_id]
        process.kill()
        process.wait()
        return process.pid

    async def is_dead(self, node_id: str) -> bool:
        return self.processes[node_id].poll() is not None

    async def first(self, job_id: str, state: str, attempt: int | None = None) -> Run[Any]:
        """Return the oldest run of a job, once it is in that state (and has made so many attempts)."""
        found: list[Run[Any]] = []

        async def is_so() -> bool:
            found[:] = (await self.scheduler.get_runs(job_id=job_id))[-1:]
            return bool(found) and found[0].state == state and attempt in {None, found[0].attempt}

        await until(is_so)
        return found[0]

    def seen(self, job_id: str, *words: str) -> list[Seen]:
        """Return what the witness says of a job."""
        return [line for line in witnessed(self._lines) if line.job_id == job_id and line.word in words]


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def crew(url: str, directory: Path) -> AsyncGenerator[Crew]:
    with ExitStack() as stack:
        async with node(url) as (scheduler, _log):
            await scheduler.pause()
            yield Crew(url, directory / "witness", scheduler, stack)


async def test_another_node_makes_the_next_attempt(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        await nodes.start(2)
        retry = Retry(max_attempts=3, delay=2, jitter=False)
        await nodes.scheduler.add_job(work, id="flaky", kwargs={"failures": 1}, retry=retry)
        run = await nodes.first("flaky", "pending", attempt=1)
        (line,) = nodes.seen("flaky", "BEGIN")
        (doomed,) = [node_id for node_id, process in nodes.processes.items() if process.pid == line.pid]
        dead = nodes.kill(doomed)
        assert await run.wait() == "attempt 2"
        (row,) = await nodes.scheduler.get_runs()
        assert (row.id, row.state, row.attempt) == (run.id, "succeeded", 2)
        begun = [(line.attempt, line.pid == dead) for line in nodes.seen("flaky", "BEGIN")]
        assert begun == [(1, True), (2, False)]


async def test_the_fire_of_one_node_makes_room_on_another(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        await nodes.start(2)  # with one slot each: the one that is busy fires nothing
        job = await nodes.scheduler.add_job(
            work, every(hours=1), id="job", kwargs={"seconds": 60}, overlap="cancel_running", next_run_time=now()
        )
        run = await nodes.first("job", "running")
        await job.modify(kwargs={}, next_run_time=now())
        with pytest.raises(RunCancelled, match="cancel_run"):
            await run.wait()
        (second,) = await succeeded(nodes.scheduler, "job")
        (first,) = [row for row in await nodes.scheduler.get_runs(job_id="job") if row.id == run.id]
        assert (first.state, first.attempt, first.node) == ("cancelled", 1, run.node)
        assert second.started_at is not None
        assert first.finished_at is not None
        assert first.finished_at <= second.started_at, "it really had ended"
        assert [line.run_id for line in nodes.seen("job", "END")] == [second.id]


async def test_a_fixed_delay_goes_on_after_the_death_of_its_node(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        (doomed,) = await nodes.start(1, "roomy")
        jobs = [
            await nodes.scheduler.add_job(
                work, every(seconds=0.3, from_="completion"), id=on_lost, on_lost=on_lost, kwargs={"seconds": 60}
            )
            for on_lost in ("retry", "fail")
        ]
        lost = [await nodes.first(job.id, "running") for job in jobs]
        await nodes.start(1)
        for job in jobs:
            await job.modify(kwargs={})
        nodes.kill(doomed)
        for job, run, end in zip(jobs, lost, (("succeeded", 2), ("lost", 1)), strict=True):
            await succeeded(nodes.scheduler, job.id, 3)
            rows = [row for row in reversed(await nodes.scheduler.get_runs(job_id=job.id)) if row.finished_at]
            assert (rows[0].id, rows[0].state, rows[0].attempt) == (run.id, *end)
            for before, after in pairwise(rows):
                assert before.finished_at is not None
                assert after.fire_time - before.finished_at == timedelta(seconds=0.3)


async def test_a_chain_survives_the_death_of_its_first_node(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        await nodes.scheduler.add_job(work, every(hours=1), id="second", kwargs={"seconds": 0.5})
        job = await nodes.scheduler.add_job(work, every(hours=1), id="first", on_success="second")
        (doomed,) = await nodes.start(1, "roomy", "die-after", "first")
        run = await job.run_now()
        assert await run.wait() == "attempt 1"
        await until(lambda: nodes.is_dead(doomed))
        assert await nodes.scheduler.get_runs(job_id="second", state="succeeded") == []
        await nodes.start(1)
        (second,) = await succeeded(nodes.scheduler, "second")
        assert (second.cause, second.parent_id) == ("chain", run.id)
        assert len(await nodes.scheduler.get_runs(job_id="second")) == 1
        assert [line.run_id for line in nodes.seen("second", "END")] == [second.id]
        assert len(nodes.seen("first", "BEGIN")) == 1


async def test_failures_in_a_row_are_counted_over_the_nodes(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        job = await nodes.scheduler.add_job(
            work, every(hours=1), id="job", kwargs={"failures": 9}, pause_after_failures=4
        )
        for _ in range(2):
            (node_id,) = await nodes.start(1)
            for _ in range(2):
                assert (await job.refresh()).state == "active"
                run = await job.run_now()
                with pytest.raises(RunFailed, match=f"ConnectionError: attempt 1 of {nodes.processes[node_id].pid}"):
                    await run.wait()
            nodes.kill(node_id)
        job = await job.refresh()
        assert job.state == "paused"
        assert job.paused_reason is not None
        last = (await nodes.scheduler.get_runs(job_id="job", limit=1))[0]
        assert job.paused_reason.startswith(f"4 failed runs in a row, the last was {last.id}: ConnectionError")


async def test_a_limit_is_never_exceeded_by_several_processes(cluster_store: str, tmp_path: Path) -> None:
    async with crew(cluster_store, tmp_path) as nodes:
        await nodes.scheduler.set_limit(Limit("two", concurrency=2))
        job = await nodes.scheduler.add_job(work, every(hours=1), id="job", limit="two", max_instances=None)
        await nodes.start(3)  # with one slot each
        runs = [await job.run_now(seconds=0.03) for _ in range(60)]
        for run in runs:
            assert await run.wait() == "attempt 1"
        open_runs: set[str] = set()
        most = 0
        for line in nodes.seen("job", "BEGIN", "END"):
            (open_runs.add if line.word == "BEGIN" else open_runs.discard)(line.run_id)
            most = max(most, len(open_runs))
        assert most == 2
        assert Counter(line.run_id for line in nodes.seen("job", "END")) == Counter(run.id for run in runs)
