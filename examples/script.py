"""A script that only schedules: `Scheduler.run` starts, serves until Ctrl-C or SIGTERM, and drains.

Jobs and their next fire times are kept in a file, so a restart goes on where this left off.
"""

import sys

from asyncsched import Scheduler, cron, every

scheduler = Scheduler(f"sqlite:///{sys.argv[1] if len(sys.argv) > 1 else 'jobs.db'}")


@scheduler.job(every(seconds=2, start="now"), id="poll")
async def poll() -> None:
    print("polled", flush=True)


@scheduler.job(cron("0 4 * * *", timezone="Europe/Helsinki"), id="report")
def write_report() -> None:  # a plain function: it runs in a worker thread
    print("reported", flush=True)


if __name__ == "__main__":
    scheduler.run()
