"""The same scheduler in a trio program, with a file as its job store and structured around a nursery."""

import sys

import trio

from asyncsched import JobExecuted, Scheduler, every


async def measure(sensor: str) -> float:
    await trio.sleep(0.05)
    return {"cellar": 8.5, "attic": 21.0}[sensor]


async def main(path: str) -> None:
    scheduler = Scheduler(f"sqlite:///{path}", tasks=[measure])
    async with scheduler, scheduler.subscribe(JobExecuted) as events, trio.open_nursery() as nursery:
        for sensor in ("cellar", "attic"):
            await scheduler.add_job(
                measure, every(seconds=0.5), id=sensor, args=[sensor], replace_existing=True, tags=["sensors"]
            )

        async def show() -> None:
            async for event in events:
                print(f"{event.fire_time:%H:%M:%S.%f} {event.job_id:<7} {event.result}", flush=True)

        nursery.start_soon(show)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sensors.db")
