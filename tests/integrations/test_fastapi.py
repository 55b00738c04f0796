"""The FastAPI example under FastAPI's own test client, on both loops, twice with one scheduler."""

from typing import Literal

import pytest
from fastapi.testclient import TestClient

from examples import fastapi_app


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_application_lists_runs_watches_and_tells_its_health(loop: Literal["asyncio", "trio"]) -> None:
    with TestClient(fastapi_app.app, backend=loop) as client:
        assert [job["id"] for job in client.get("/jobs").json()] == ["rates", "tidy"]
        assert client.post("/jobs/rates/run").json()["result"] == {"EUR": 1.0, "USD": 1.08}
        answer = client.post("/jobs/tidy/run", json={"kwargs": {"days": 7}})
        assert answer.json()["result"] == "removed what is older than 7 days"
        assert client.post("/jobs/rates/watch").text.split() == ["JobSubmitted", "JobExecuted"]
        health = client.get("/health")
        assert (health.status_code, health.json()["state"]) == (200, "running")
    assert fastapi_app.scheduler.state == "stopped"


def test_what_goes_wrong_reaches_the_client() -> None:
    with TestClient(fastapi_app.app) as client:
        unknown = client.post("/jobs/rate/run")
        assert unknown.status_code == 404
        assert "'rates'" in unknown.json()["detail"]
        failed = client.post("/jobs/tidy/run", json={"kwargs": {"days": 0}})
        assert failed.status_code == 500
        assert failed.json()["detail"] == "ValueError: days=0 would remove everything"


def test_health_is_503_once_the_scheduler_has_stopped() -> None:
    with TestClient(fastapi_app.app) as client:
        assert client.portal is not None
        client.portal.call(fastapi_app.scheduler.shutdown)
        health = client.get("/health")
        assert (health.status_code, health.json()["state"]) == (503, "stopped")
