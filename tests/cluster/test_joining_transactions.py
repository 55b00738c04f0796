"""Jobs that join a transaction of the caller's, on stores that have none to join."""

import pytest

from asyncsched import ConfigurationError, JobAdded, JobSpec, Scheduler, SchedulerStateError, every
from asyncsched.stores import MemoryJobStore
from asyncsched.stores.base import JobStore, TransactionalStore
from asyncsched.testing import record_events
from tests.cluster.support import common

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: object) -> str:
    """A store of a kind whose transactions are its own business."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"


async def test_a_store_that_cannot_do_that_says_so(store_url: str) -> None:
    async with Scheduler(store_url) as s, record_events(s) as log:
        with pytest.raises(ConfigurationError, match=r"'default' \((memory|sqlite)://.* cannot .* PostgresJobStore"):
            await s.add_job(common, every(hours=1), id="job", connection=object())
        with pytest.raises(ConfigurationError, match="PostgresJobStore"):
            await s.add_jobs([JobSpec(common, every(hours=1))], connection=object())
        assert await s.get_jobs() == []
        await s.add_job(common, every(hours=1), id="job", connection=None)
    assert [event.job_id for event in log.of(JobAdded)] == ["job"]


async def test_before_the_start_there_is_nothing_to_join(store_url: str) -> None:
    s = Scheduler(store_url)
    with pytest.raises(SchedulerStateError, match="inside `async with scheduler:`"):
        await s.add_job(common, connection=object())
    with pytest.raises(SchedulerStateError):
        await s.add_jobs([JobSpec(common)], connection=object())


def test_what_can_be_joined_is_told_by_its_method() -> None:
    store: JobStore = MemoryJobStore()
    assert not isinstance(store, TransactionalStore)
