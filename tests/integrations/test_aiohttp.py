"""The aiohttp example, with aiohttp's own test tools, also where set-up and clean-up are different tasks."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from asyncsched import Scheduler
from examples.aiohttp_app import make_app

Client = TestClient[web.Request, web.Application]


@pytest_asyncio.fixture
async def client() -> AsyncGenerator[Client]:
    """A generator fixture: pytest-asyncio runs what comes after the yield in another task."""
    async with TestClient(TestServer(make_app())) as client:
        yield client


@pytest.mark.asyncio
async def test_the_application_lists_runs_and_tells_its_health(client: Client) -> None:
    jobs = await (await client.get("/jobs")).json()
    assert [job["id"] for job in jobs] == ["greet"]
    ran = await (await client.post("/jobs/greet/run", params={"whom": "Ada"})).json()
    assert ran["result"] == "hello, Ada"
    assert (await client.post("/jobs/great/run")).status == 404
    health = await client.get("/health")
    assert (health.status, await health.json()) == (200, {"state": "running", "error": None})


@pytest.mark.asyncio
async def test_events_are_streamed_as_they_happen(client: Client) -> None:
    async with client.get("/events") as stream:
        await client.post("/jobs/greet/run")
        lines = [(await stream.content.readline()).decode().strip() for _ in range(4)]
        assert [line for line in lines if line.startswith("event")] == ["event: JobSubmitted", "event: JobExecuted"]


@pytest.mark.asyncio
async def test_a_runner_may_be_set_up_and_cleaned_up_in_different_tasks() -> None:
    scheduler = Scheduler()
    app = web.Application()
    app.cleanup_ctx.append(scheduler.cleanup_ctx)
    runner = web.AppRunner(app)
    await asyncio.create_task(runner.setup())
    assert scheduler.health().ok
    await asyncio.create_task(runner.cleanup())
    assert not scheduler.health().ok
