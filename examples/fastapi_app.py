"""Jobs inside a FastAPI application: list them, run one now, watch it, ask how the scheduler is.

``uvicorn examples.fastapi_app:app``. Several workers share the jobs, and each fire still happens
once, if the scheduler is given a file: ``Scheduler("sqlite:///jobs.db")``.
"""

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from asyncsched import JobNotFoundError, RunFailed, Scheduler, cron, every
from asyncsched.events import JobCancelled, JobError, JobExecuted, JobSubmitted

scheduler = Scheduler(timezone="UTC")
app = FastAPI(lifespan=scheduler.lifespan)

rates = {"EUR": 1.0}


@scheduler.job(every(minutes=5), id="rates", timeout=30)
async def refresh_rates() -> dict[str, float]:
    rates["USD"] = 1.08  # here you would ask somebody
    return rates


@scheduler.job(cron("0 3 * * *"), id="tidy")
def tidy(days: int = 30) -> str:
    if days < 1:
        raise ValueError(f"days={days} would remove everything")
    return f"removed what is older than {days} days"


class Arguments(BaseModel):
    kwargs: dict[str, Any] = {}


@app.get("/jobs")
async def list_jobs() -> list[dict[str, Any]]:
    return [
        {"id": job.id, "trigger": str(job.trigger), "next_run_time": job.next_run_time, "state": job.state}
        for job in await scheduler.get_jobs()
    ]


@app.post("/jobs/{job_id}/run")
async def run_now(job_id: str, arguments: Arguments | None = None) -> dict[str, Any]:
    """Run a job now, beside its trigger, and return its result."""
    try:
        run = await scheduler.run_job(job_id, kwargs=arguments.kwargs if arguments else None)
        return {"run_id": run.id, "result": await run.wait()}
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    except RunFailed as error:
        raise HTTPException(500, f"{error.error_type}: {error.message}") from error


@app.post("/jobs/{job_id}/watch")
async def watch(job_id: str) -> StreamingResponse:
    """Run a job now and stream its events, one a line, until it is over."""

    async def lines() -> AsyncGenerator[str]:  # noqa: ASYNC900 - the form that StreamingResponse asks for
        async with scheduler.subscribe(JobSubmitted | JobExecuted | JobError | JobCancelled, job_id=job_id) as events:
            run = await scheduler.run_job(job_id)
            async for event in events:
                if event.run_id == run.id:
                    yield f"{type(event).__name__}\n"  # noqa: ASYNC119 - the response runs it to its end
                    if not isinstance(event, JobSubmitted):
                        return

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/health")
async def health(response: Response) -> dict[str, Any]:
    """Say 200 while the scheduler lives and reaches its stores, 503 otherwise."""
    now = scheduler.health()
    response.status_code = 200 if now.ok else 503
    return {"state": now.state, "error": now.error, "oldest_due": now.oldest_due, "running_runs": now.running_runs}
