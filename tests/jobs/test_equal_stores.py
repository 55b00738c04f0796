"""Whatever is done to jobs, every store tells of them in the same words."""

import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched import AsyncschedError, JobExistsError, JobSpec, Scheduler, at, cron, every, task
from asyncsched.stores import JobStore, MemoryJobStore, SQLiteJobStore
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.testing import VirtualClock
from tests.postgres.server import fresh_schema, running_server

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
Step = tuple[str, str, Any]


@task("tests.jobs.equal")
async def equal(*values: Any, **named: Any) -> None:
    del values, named


ids = st.sampled_from(["a", "b", "c"])
triggers = st.sampled_from([None, every(minutes=7), every(hours=1, jitter=9), cron("3 * * * *"), at(MIDNIGHT)])
options = st.fixed_dictionaries(
    {},
    optional={
        "args": st.lists(st.integers() | st.text(max_size=3), max_size=2),
        "tags": st.lists(st.sampled_from("xyz"), max_size=3),
        "metadata": st.dictionaries(st.text(max_size=2), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        "name": st.text("ab", min_size=1, max_size=3),
        "priority": st.integers(-3, 3),
        "max_instances": st.integers(-1, 2) | st.none(),
        "jitter": st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)),
        "next_run_time": st.just(MIDNIGHT + timedelta(days=3)),
    },
)
steps = st.one_of(
    st.tuples(st.just("add"), ids, st.tuples(triggers, options)),
    st.tuples(st.just("replace"), ids, st.tuples(triggers, options)),
    st.tuples(st.just("add_jobs"), ids, st.lists(st.tuples(ids, triggers), max_size=3)),
    st.tuples(st.just("modify"), ids, options),
    st.tuples(st.just("reschedule"), ids, triggers),
    st.tuples(st.just("pause"), ids, st.none() | st.text("abc", max_size=3)),
    st.tuples(st.just("resume"), ids, st.sampled_from(["now", "past"])),
    st.tuples(st.just("remove"), ids, st.none()),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 10_000)),
)
sequences = st.lists(steps, min_size=1, max_size=8)


async def do(s: Scheduler, clock: VirtualClock, step: Step) -> None:
    kind, job_id, value = step
    match kind:
        case "add" | "replace":
            trigger, given_options = value
            await s.add_job(equal, trigger, id=job_id, replace_existing=kind == "replace", **given_options)
        case "add_jobs":
            await s.add_jobs([JobSpec(equal, trigger, id=each) for each, trigger in value])
        case "modify":
            await s.modify_job(job_id, **value)
        case "reschedule":
            await s.reschedule_job(job_id, value)
        case "pause":
            await s.pause_job(job_id, reason=value)
        case "resume":
            await s.resume_job(job_id, from_=value)
        case "remove":
            await s.remove_job(job_id)
        case _:
            clock.step(seconds=value)  # the scheduler is paused: nothing fires meanwhile


async def told(open_store: Callable[[], JobStore], sequence: list[Step]) -> list[Any]:
    clock = VirtualClock()
    words: list[Any] = []
    async with Scheduler(open_store(), clock=clock, timezone="UTC", start_paused=True) as s:
        for step in sequence:
            try:
                await do(s, clock, step)
            except AsyncschedError as error:
                words.append((type(error), str(error)))
            words.append([job.record for job in await s.get_jobs()])
    return words


async def told_by_sqlite(sequence: list[Step]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        return await told(lambda: SQLiteJobStore(Path(folder) / "jobs.db", synchronous="OFF"), sequence)


async def told_by_postgres(sequence: list[Step]) -> list[Any]:
    server, schema = running_server(), fresh_schema()
    try:
        return await told(lambda: PostgresJobStore(server.dsn(), schema=schema), sequence)
    finally:
        server.execute(f"drop schema if exists {schema} cascade")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40)
@given(sequence=sequences)
def test_the_same_calls_give_the_same_jobs_in_a_file(backend: str, sequence: list[Step]) -> None:
    async def both() -> None:
        assert await told_by_sqlite(sequence) == await told(MemoryJobStore, sequence)

    anyio.run(both, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=20)
@given(sequence=sequences)
def test_the_same_calls_give_the_same_jobs_on_a_server(backend: str, sequence: list[Step]) -> None:
    async def both() -> None:
        assert nameless(await told_by_postgres(sequence)) == nameless(await told(MemoryJobStore, sequence))

    anyio.run(both, backend=backend)


def nameless(words: list[Any]) -> list[Any]:
    """The same without the ids in `JobExistsError`, which have a test of their own."""
    return [JobExistsError if isinstance(word, tuple) and word[0] is JobExistsError else word for word in words]


@pytest.mark.parametrize("others", [told_by_sqlite, told_by_postgres])
@pytest.mark.parametrize("ids", ["ccb", "bcc", "cbc"])
def test_ids_that_come_twice_and_ids_that_exist_are_all_named(
    others: Callable[[list[Step]], Awaitable[list[Any]]], ids: str
) -> None:
    sequence: list[Step] = [("add", "b", (None, {})), ("add_jobs", "", [(each, None) for each in ids])]

    async def both() -> None:
        assert await others(sequence) == await told(MemoryJobStore, sequence)

    anyio.run(both)
