"""Listeners: what they raise, a cancellation of their own included, is nobody else's."""

import asyncio
from functools import partial
from typing import Any

import anyio
import pytest

from asyncsched import JobExecuted, Scheduler
from tests.review.support import WAIT_S

pytestmark = pytest.mark.anyio


async def secret() -> str:
    return "hunter2"


async def test_a_listener_that_awaits_something_cancelled_does_not_end_the_scheduler(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    if anyio_backend[0] == "trio":
        pytest.skip("trio has no futures that others cancel")
    heard = 0

    async def listener(_event: JobExecuted) -> None:
        nonlocal heard
        heard += 1
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with anyio.fail_after(WAIT_S):
        async with Scheduler(shutdown_grace=0) as scheduler:
            scheduler.add_listener(listener, JobExecuted)
            for _ in range(2):
                await (await scheduler.run_job(secret)).wait()
                await anyio.wait_all_tasks_blocked()
            assert scheduler.health().alive
            assert heard == 2


async def test_what_a_failing_listener_was_told_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def listener(password: str, event: JobExecuted) -> None:
        del password, event
        raise LookupError("no such table")

    with anyio.fail_after(WAIT_S):
        async with Scheduler(shutdown_grace=0) as scheduler:
            scheduler.add_listener(partial(listener, "swordfish"), JobExecuted)
            await (await scheduler.run_job(secret)).wait()
            await anyio.wait_all_tasks_blocked()
    assert "no such table" in caplog.text
    assert "hunter2" not in caplog.text
    assert "swordfish" not in caplog.text
