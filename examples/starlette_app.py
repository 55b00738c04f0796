"""Jobs inside a Starlette application that has a lifespan of its own.

`with_scheduler` starts the scheduler inside that lifespan: jobs may use what it opens, and have
ended before it closes anything.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncsched import JobNotFoundError, Scheduler, every
from asyncsched.integrations.asgi import with_scheduler

scheduler = Scheduler(timezone="UTC")
stock: dict[str, int] = {}


class State(TypedDict):
    stock: dict[str, int]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[State]:
    """Open what the application needs; here, a dictionary stands for a pool of connections."""
    stock["apples"] = 3
    yield {"stock": stock}
    stock.clear()


@scheduler.job(every(minutes=1), id="count-stock")
async def count_stock() -> int:
    return sum(stock.values())


async def list_jobs(request: Request) -> JSONResponse:
    jobs = await scheduler.get_jobs()
    return JSONResponse([{"id": job.id, "next_run_time": str(job.next_run_time), "state": job.state} for job in jobs])


async def run_now(request: Request) -> JSONResponse:
    try:
        run = await scheduler.run_job(request.path_params["job_id"])
    except JobNotFoundError as error:
        return JSONResponse({"error": str(error)}, 404)
    return JSONResponse({"run_id": run.id, "result": await run.wait()})


async def health(request: Request) -> JSONResponse:
    now = scheduler.health()
    return JSONResponse({"state": now.state, "error": now.error}, 200 if now.ok else 503)


app = Starlette(
    lifespan=with_scheduler(scheduler, lifespan),
    routes=[
        Route("/jobs", list_jobs),
        Route("/jobs/{job_id}/run", run_now, methods=["POST"]),
        Route("/health", health),
    ],
)
