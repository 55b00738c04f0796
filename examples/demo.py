"""The main job: real work on real files, killed with SIGKILL in the middle, recovered, and accounted for.

Run ``make demo``, or ``python examples/demo.py``. It takes about 20 seconds. One process opens a
SQLite file, schedules jobs in coroutines, threads and processes, and prints its events as they
happen. It is killed in the middle of a run and started again on the same file. At the end the
ledger is compared with the triggers, instant by instant, and with what the jobs themselves wrote.
"""

import argparse
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from asyncsched import (
    JobAdded,
    JobError,
    JobExecuted,
    JobLost,
    JobMissed,
    JobRemoved,
    JobSubmitted,
    Run,
    Scheduler,
    SchedulerStarted,
    after,
    cron,
    current_run,
    every,
)
from asyncsched.events import Event

SHOWN = SchedulerStarted | JobAdded | JobSubmitted | JobExecuted | JobError | JobMissed | JobLost | JobRemoved
SECONDS_BEFORE_KILL = 8.0
SECONDS_DEAD = 3.0
SECONDS_AFTER = 8.0


# -- the jobs: ordinary functions ----------------------------------------------------------------


@contextmanager
def witnessed(folder: str) -> Iterator[None]:
    """Write down, beside the scheduler's own ledger, that this attempt begins and that it ends."""
    run = current_run()
    for word in ("begin", "end"):
        line = json.dumps({"word": word, "job": run.job_id, "run": run.id, "attempt": run.attempt})
        with Path(folder, "witness.jsonl").open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        if word == "begin":
            yield


async def count_up(folder: str) -> int:
    """A coroutine: read a counter, add one, write it back so that a crash leaves the old or the new."""
    with witnessed(folder):
        path = Path(folder, "counter.json")
        value = json.loads(path.read_text())["value"] + 1 if path.exists() else 1
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"value": value}))
        fresh.replace(path)
        await anyio.sleep(0.05)
        with Path(folder, "app.log").open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat()} counted to {value}\n" * 50)
        return value


def rotate_log(folder: str) -> str:
    """A plain function, so it runs in a thread: move the log aside and compress it."""
    with witnessed(folder):
        log = Path(folder, "app.log")
        if not log.exists():
            return "nothing to rotate"
        aside = Path(folder, f"app-{time.time_ns()}.log")
        log.replace(aside)
        with aside.open("rb") as source, gzip.open(f"{aside}.gz", "wb") as target:
            target.write(source.read())
        before, packed = aside.stat().st_size, Path(f"{aside}.gz").stat().st_size
        aside.unlink()
        return f"{before} -> {packed} bytes"


def digest_folder(folder: str) -> str:
    """For the process executor: a digest of all documents, with some work to it."""
    with witnessed(folder):
        digest = hashlib.sha256()
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            for path in sorted(Path(folder, "documents").iterdir()):
                digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


async def greet(folder: str, whom: str) -> str:
    """A one-shot."""
    with witnessed(folder):
        Path(folder, f"hello-{whom}.txt").write_text(f"hello, {whom}\n")
        return f"hello, {whom}"


# -- the process that schedules them -------------------------------------------------------------


async def serve(folder: str) -> None:
    """Run the scheduler until it is killed or told to stop; define the jobs unless they are there."""
    scheduler = Scheduler(
        f"sqlite:///{Path(folder).absolute()}/jobs.db",
        tasks=[count_up, rotate_log, digest_folder, greet],
        timezone="UTC",
    )
    async with scheduler.subscribe(SHOWN) as events, scheduler, anyio.create_task_group() as group:
        group.start_soon(show, events)
        if not await scheduler.get_jobs():
            options = {"args": (folder,), "keep_runs": None}
            await scheduler.add_job(count_up, every(seconds=1), id="count", coalesce="all", **options)
            await scheduler.add_job(rotate_log, cron("*/4 * * * * *"), id="rotate", **options)
            await scheduler.add_job(digest_folder, cron("*/2 * * * * *"), id="digest", executor="process", **options)
            for number, seconds in enumerate((3, SECONDS_BEFORE_KILL + 2, SECONDS_BEFORE_KILL + SECONDS_DEAD + 5)):
                whom = ("early", "while dead", "late")[number]
                await scheduler.add_job(greet, after(seconds), id=f"greet {whom}", args=(folder, whom))
        await scheduler.run_forever()
        group.cancel_scope.cancel()


async def show(events: "anyio.abc.ObjectReceiveStream[Event] | object") -> None:
    """Print events as they happen."""
    async for event in events:  # type: ignore[attr-defined]
        print(describe(event), flush=True)


def describe(event: Event) -> str:
    """Return one line for people."""
    when, what = event.at.strftime("%H:%M:%S.%f")[:-3], type(event).__name__
    job = getattr(event, "job_id", "")
    match event:
        case JobExecuted():
            more = f"{event.result!r} after {event.duration.total_seconds() * 1000:.0f} ms"
        case JobSubmitted():
            late = (event.at - event.fire_time).total_seconds()
            more = f"due {event.fire_time:%H:%M:%S}" + (f", {late:.1f} s late" if late > 0.5 else "")
            more += f", attempt {event.attempt}" if event.attempt > 1 else ""
        case JobError():
            more = event.exception_text
        case _:
            more = f"node {event.node}" if isinstance(event, SchedulerStarted) else ""
    return f"{when}  {what:<16} {job:<17} {more}".rstrip()


# -- the process that kills it and keeps the accounts --------------------------------------------


def main() -> int:
    """Start the scheduler, kill it, start it again, stop it politely, and settle the accounts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", metavar="FOLDER", help="(used by the demo itself) run the scheduler on that folder")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    if options.serve:
        anyio.run(serve, options.serve, backend=options.backend)
        return 0
    with tempfile.TemporaryDirectory(prefix="asyncsched-demo-") as folder:
        documents = Path(folder, "documents")
        documents.mkdir()
        for number in range(5):
            (documents / f"{number}.txt").write_text(f"document {number}\n" * 10_000)
        began = datetime.now(UTC)
        print(f"=== a scheduler on sqlite, {options.backend} ===", flush=True)
        killed = serve_and_kill(folder, options.backend)
        print(f"=== killed with SIGKILL (pid {killed}) while a run was under way; dead for {SECONDS_DEAD:.0f} s ===")
        time.sleep(SECONDS_DEAD)
        print("=== started again on the same file ===", flush=True)
        serve_and_stop(folder, options.backend)
        return anyio.run(settle_accounts, folder, began, backend=options.backend)


def start(folder: str, backend: str) -> subprocess.Popen[str]:
    """Start the scheduler's process."""
    command = [sys.executable, str(Path(__file__).absolute()), "--serve", folder, "--backend", backend]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)


def serve_and_kill(folder: str, backend: str) -> int:
    """Let it run for some seconds, and kill it while a digest is being made."""
    process = start(folder, backend)
    assert process.stdout is not None
    end = time.monotonic() + SECONDS_BEFORE_KILL
    for line in process.stdout:
        print(line, end="", flush=True)
        if time.monotonic() > end and "JobSubmitted     digest" in line:
            time.sleep(0.3)
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    return process.pid


def serve_and_stop(folder: str, backend: str) -> None:
    """Let it run for some seconds and stop it with SIGTERM, which drains it."""
    process = start(folder, backend)
    assert process.stdout is not None
    end = time.monotonic() + SECONDS_AFTER
    asked = False
    for line in process.stdout:
        print(line, end="", flush=True)
        if time.monotonic() > end and not asked:
            asked = True
            process.send_signal(signal.SIGTERM)
    process.wait()


async def settle_accounts(folder: str, began: datetime) -> int:
    """Compare triggers, ledger and witness; print the table; return the exit code."""
    scheduler = Scheduler(
        f"sqlite:///{Path(folder).absolute()}/jobs.db",
        tasks=[count_up, rotate_log, digest_folder, greet],
        timezone="UTC",
        start_paused=True,
    )
    async with scheduler:
        runs = await scheduler.get_runs(limit=10_000)
        jobs = {job.id: job for job in await scheduler.get_jobs()}
    rows: dict[str, list[Run[object]]] = {}
    for run in runs:
        rows.setdefault(run.job_id, []).append(run)
    witness = [json.loads(line) for line in Path(folder, "witness.jsonl").read_text().splitlines()]
    ended = Counter(entry["run"] for entry in witness if entry["word"] == "end")
    print("\n=== the ledger, against the triggers and against what the jobs wrote down themselves ===")
    print(f"{'job':<18}{'due':>5}{'ran':>5}{'not run':>10}{'restarted':>11}{'no verdict':>12}{'twice':>7}")
    wrong = 0
    for job_id, found in sorted(rows.items()):
        last = max(run.fire_time for run in found)
        first = min(run.fire_time for run in found)
        job = jobs.get(job_id)
        due = [first]
        while job is not None and job.trigger is not None and due[-1] < last:
            following = job.trigger.next(due[-1])
            assert following is not None
            due.append(following)
        without = sum(verdicts(found, instant) == 0 for instant in due)
        twice = sum(verdicts(found, instant) > 1 for instant in due)
        twice += sum(ended[run.id] > 1 for run in found)
        ran = [run for run in found if run.state == "succeeded"]
        without += sum(ended[run.id] == 0 for run in ran)
        wrong += without + twice + sum(run.state in {"failed", "lost", "running", "pending"} for run in found)
        restarted = sum(run.attempt > 1 for run in found)
        unrun = sum(run.count or 0 for run in found if run.state in {"coalesced", "skipped"})
        print(f"{job_id:<18}{len(due):>5}{len(ran):>5}{unrun:>10}{restarted:>11}{without:>12}{twice:>7}")
    took = datetime.now(UTC) - began
    print(f"{'nothing lost, nothing twice' if not wrong else f'{wrong} WRONG'}; it took {took.total_seconds():.0f} s")
    return 1 if wrong else 0


def verdicts(rows: list[Run[object]], instant: datetime) -> int:
    """Count the rows that cover an instant."""
    tolerance = timedelta(0)
    return sum(row.fire_time - tolerance <= instant <= (row.until or row.fire_time) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
