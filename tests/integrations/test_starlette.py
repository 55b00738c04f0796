"""The Starlette example: a scheduler inside the application's own lifespan."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from starlette.testclient import TestClient

from asyncsched import Scheduler
from asyncsched.integrations.asgi import with_scheduler
from examples import starlette_app


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_jobs_use_what_the_lifespan_has_opened(loop: Literal["asyncio", "trio"]) -> None:
    with TestClient(starlette_app.app, backend=loop) as client:
        assert [job["id"] for job in client.get("/jobs").json()] == ["count-stock"]
        assert client.post("/jobs/count-stock/run").json()["result"] == 3
        assert client.post("/jobs/count-stocks/run").status_code == 404
        assert client.get("/health").json() == {"state": "running", "error": None}
        assert client.app_state["stock"] == {"apples": 3}
    assert starlette_app.stock == {}
    assert starlette_app.scheduler.state == "stopped"


@pytest.mark.anyio
async def test_the_scheduler_lives_strictly_inside_the_lifespan() -> None:
    scheduler = Scheduler()
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: str) -> AsyncGenerator[str]:
        seen.append(f"{app} opens, {scheduler.state}")
        yield "state"
        seen.append(f"{app} closes, {scheduler.state}")

    async with with_scheduler(scheduler, lifespan)("app") as state:
        assert state == "state"
        assert scheduler.state == "running"
    assert seen == ["app opens, stopped", "app closes, stopped"]
