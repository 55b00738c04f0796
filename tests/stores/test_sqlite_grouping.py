"""Writes of concurrent tasks share a commit, and each is done whole or not at all."""

from pathlib import Path

import anyio
import pytest

from asyncsched.errors import JobExistsError, JobNotFoundError, SerializationError
from asyncsched.run import RunRecord
from asyncsched.stores.sqlite import SQLiteJobStore
from tests.stores.sqlite_support import NOW, alter, job, opened

pytestmark = pytest.mark.anyio


def run_of(job_id: str, number: int) -> RunRecord:
    return RunRecord(
        id=f"run-{number}",
        job_id=job_id,
        revision=1,
        fire_time=NOW,
        scheduled_time=NOW,
        state="pending",
        cause="manual",
    )


async def test_each_of_many_at_once_has_its_own_outcome(tmp_path: Path) -> None:
    outcomes: dict[str, object] = {}

    async def add(store: SQLiteJobStore, name: str, *names: str) -> None:
        try:
            await store.add([job(one) for one in names])
            outcomes[name] = "added"
        except JobExistsError as error:
            outcomes[name] = error.job_ids

    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job("there")])
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(add, store, f"single-{number}", f"job-{number}")
            group.start_soon(add, store, "taken", "there")
            group.start_soon(add, store, "half", "fresh", "there")
            group.start_soon(add, store, "pair", "left", "right")
        assert {outcomes[f"single-{number}"] for number in range(50)} == {"added"}
        assert outcomes["taken"] == ("there",)
        assert outcomes["half"] == ("there",)
        assert {found.id for found in await store.query()} == {
            *(f"job-{number}" for number in range(50)), "there", "left", "right",
        }  # fmt: skip


async def test_what_cannot_be_written_fails_its_own_caller_alone(tmp_path: Path) -> None:
    failures: list[type[Exception]] = []

    async def enqueue(store: SQLiteJobStore, job_id: str, number: int) -> None:
        try:
            await store.enqueue([run_of(job_id, number)])
        except (JobNotFoundError, SerializationError) as error:
            failures.append(type(error))

    async def pause_wrongly(store: SQLiteJobStore) -> None:
        with pytest.raises(ZeroDivisionError):
            await store.update(["there"], lambda found, _now: (1 / 0, found)[1])

    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job("there")])
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(enqueue, store, "there", number)
            group.start_soon(enqueue, store, "not-there", 100)
            group.start_soon(enqueue, store, "there", 2**70)
            group.start_soon(pause_wrongly, store)
        assert failures == [JobNotFoundError]
        assert len(await store.query_runs(limit=100)) == 21
        (found,) = await store.get(["there"])
        assert found.version == 1


async def test_an_error_of_the_database_concerns_all_of_them_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    failures: list[str] = []

    async def add(store: SQLiteJobStore, name: str) -> None:
        try:
            await store.add([job(name)])
        except SerializationError as error:
            failures.append(str(error))

    async with opened(path) as store:
        await store.add([job("there")])
        alter(path, "CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT raise(ROLLBACK, 'full'); END")
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(add, store, f"job-{number}")
        assert len(failures) == 10
        assert all("full" in text for text in failures)
        alter(path, "DROP TRIGGER full")
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(add, store, f"job-{number}")
        assert len(failures) == 10
        assert len(await store.query()) == 11
