"""Jobs inside an aiohttp application: list them, run one now, follow their events, ask for health.

``python examples/aiohttp_app.py`` serves it on port 8080.
"""

import json

from aiohttp import web

from asyncsched import JobNotFoundError, Scheduler, every
from asyncsched.events import RunEvent


def make_app() -> web.Application:
    """Return an application with a scheduler of its own."""
    scheduler = Scheduler(timezone="UTC")

    @scheduler.job(every(minutes=5), id="greet")
    async def greet(whom: str = "world") -> str:
        return f"hello, {whom}"

    async def list_jobs(request: web.Request) -> web.Response:
        jobs = await scheduler.get_jobs()
        return web.json_response([{"id": job.id, "next_run_time": str(job.next_run_time)} for job in jobs])

    async def run_now(request: web.Request) -> web.Response:
        try:
            run = await scheduler.run_job(request.match_info["job_id"], kwargs=dict(request.query))
        except JobNotFoundError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return web.json_response({"run_id": run.id, "result": await run.wait()})

    async def follow(request: web.Request) -> web.StreamResponse:
        """Send what happens as server-sent events, until the client goes away or the scheduler stops."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        async with scheduler.subscribe(RunEvent) as events:
            await response.prepare(request)
            async for event in events:
                data = json.dumps({"job": event.job_id, "run": event.run_id, "attempt": event.attempt})
                await response.write(f"event: {type(event).__name__}\ndata: {data}\n\n".encode())
        return response

    async def health(request: web.Request) -> web.Response:
        now = scheduler.health()
        return web.json_response({"state": now.state, "error": now.error}, status=200 if now.ok else 503)

    app = web.Application()
    app.cleanup_ctx.append(scheduler.cleanup_ctx)
    app.router.add_get("/jobs", list_jobs)
    app.router.add_post("/jobs/{job_id}/run", run_now)
    app.router.add_get("/events", follow)
    app.router.add_get("/health", health)
    return app


if __name__ == "__main__":
    web.run_app(make_app())
