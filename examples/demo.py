"""Real work on real files, killed with SIGKILL in the middle, recovered, and accounted for.

Run ``make demo``, or ``python examples/demo.py``; it takes about 20 seconds. One process opens a
SQLite file, schedules jobs in coroutines, threads and processes, and prints its events as they
happen. It is killed in the middle of a run and started again on the same file. At the end the
ledger is compared with the triggers, instant by instant, and with what the jobs themselves wrote.

``--backend trio`` runs it on trio, ``--quick`` in half the time. The exit code is 1 if an instant has
no verdict or two, a run was not recovered, or a worker process outlived the kill.
"""

import argparse
import gzip
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict

import anyio

from asyncsched import (
    Job,
    JobError,
    JobExecuted,
    JobLost,
    JobMissed,
    JobSkipped,
    JobSubmitted,
    Run,
    Scheduler,
    SchedulerShutdown,
    SchedulerStarted,
    after,
    cron,
    current_run,
    every,
)
from asyncsched.events import Event, RunEvent

SHOWN = SchedulerStarted | SchedulerShutdown | JobSubmitted | JobExecuted | JobError | JobMissed | JobSkipped | JobLost


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long each part takes, in seconds; at its end the kill waits for the next digest to begin."""

    before_kill: float = 7
    dead: float = 3
    after: float = 7
    digest_every: int = 2
    digest_work: float = 0.8


QUICK = Pace(before_kill=1.5, dead=1.5, after=2.5, digest_every=1, digest_work=0.4)


# -- the jobs: ordinary functions ----------------------------------------------------------------


@contextmanager
def witnessed(folder: str) -> Generator[None]:
    """Write down, beside the scheduler's own ledger, that this attempt begins and that it ends."""
    testify(folder, "begin")
    yield
    testify(folder, "end")


def testify(folder: str, word: Literal["begin", "end"]) -> None:
    """Append one line about the attempt that calls this."""
    run = current_run()
    entry = {"word": word, "job": run.job_id, "run": run.id, "attempt": run.attempt, "pid": os.getpid()}
    with Path(folder, "witness.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


async def count_up(folder: str) -> int:
    """A coroutine: read a counter, add one, write it back so that a crash leaves the old or the new."""
    with witnessed(folder):
        path = anyio.Path(folder, "counter.json")
        value: int = json.loads(await path.read_text())["value"] + 1 if await path.exists() else 1
        fresh = path.with_suffix(".new")
        await fresh.write_text(json.dumps({"value": value}))
        await fresh.replace(path)
        async with await anyio.open_file(Path(folder, "app.log"), "a") as log:
            await log.write(f"{datetime.now(UTC).isoformat()} counted to {value}\n" * 50)
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


def digest_folder(folder: str, seconds: float) -> str:
    """For the process executor: a digest of all documents, with some work to it."""
    with witnessed(folder):
        digest = hashlib.sha256()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for path in sorted(Path(folder, "documents").iterdir()):
                digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


async def greet(folder: str, whom: str) -> str:
    """A one-shot."""
    with witnessed(folder):
        await anyio.Path(folder, f"hello-{whom}.txt").write_text(f"hello, {whom}\n")
        return f"hello, {whom}"


# -- the process that schedules them -------------------------------------------------------------


def make_scheduler(folder: str, *, start_paused: bool = False) -> Scheduler:
    """Return the scheduler on the folder's file; every process that opens it registers the same tasks."""
    return Scheduler(
        f"sqlite:///{Path(folder).absolute()}/jobs.db",
        tasks=[count_up, rotate_log, digest_folder, greet],
        timezone="UTC",
        start_paused=start_paused,
    )


async def serve(folder: str, pace: Pace) -> None:
    """Run the scheduler until it is killed or told to stop; define the jobs unless they are there."""
    logging.getLogger("asyncsched").setLevel(logging.ERROR)  # the events below tell the same
    scheduler = make_scheduler(folder)
    async with scheduler.subscribe(SHOWN) as events, anyio.create_task_group() as group, scheduler:
        if not await scheduler.get_jobs():
            await define_jobs(scheduler, folder, pace)
        await scheduler.print_jobs()
        print(flush=True)

        async def show() -> None:
            async for event in events:  # ends once the scheduler has stopped and all is read
                print(describe(event), flush=True)

        group.start_soon(show)
        await scheduler.run_forever()


async def define_jobs(scheduler: Scheduler, folder: str, pace: Pace) -> None:
    """Add three jobs that recur and three that do not, of which one falls due while nobody is there."""
    digest, rotate = cron(f"*/{pace.digest_every} * * * * *"), cron("*/4 * * * * *")
    await scheduler.add_job(
        count_up, every(seconds=1), id="count", args=(folder,), coalesce="all", overlap="queue_all", keep_runs=None
    )
    await scheduler.add_job(rotate_log, rotate, id="rotate", args=(folder,), keep_runs=None)
    await scheduler.add_job(
        digest_folder, digest, id="digest", args=(folder, pace.digest_work), executor="process", keep_runs=None
    )
    reborn = pace.before_kill + pace.digest_every + pace.dead
    for whom, seconds in (
        ("early", 1),
        ("while dead", pace.before_kill + pace.digest_every + 0.5),
        ("late", reborn + 1.5),
    ):
        await scheduler.add_job(greet, after(seconds), id=f"greet {whom}", args=(folder, whom))


def describe(event: Event) -> str:
    """Return one line for people."""
    when, what = event.at.strftime("%H:%M:%S.%f")[:-3], type(event).__name__
    job = event.job_id if isinstance(event, RunEvent) else ""
    return f"{when}  {what:<17} {job:<17} {details(event)}".rstrip()


def details(event: Event) -> str:
    """Return what one kind of event has to say."""
    match event:
        case SchedulerStarted():
            return f"node {event.node}"
        case JobSubmitted():
            late = (event.at - event.fire_time).total_seconds()
            words = [f"due {event.fire_time:%H:%M:%S}"]
            words += [f"{late:.1f} s late"] * (late > 0.5) + [f"attempt {event.attempt}"] * (event.attempt > 1)
            return ", ".join(words)
        case JobExecuted():
            return f"{event.result!r} after {event.duration.total_seconds() * 1000:.0f} ms"
        case JobSkipped() | JobMissed():
            return f"due {event.fire_time:%H:%M:%S}: {event.reason}"
        case JobError():
            return event.exception_text
        case _:
            return ""


# -- the process that kills it and keeps the accounts --------------------------------------------


COLOURS = {
    "===": "1",
    "SchedulerStarted": "1;36",
    "SchedulerShutdown": "1;36",
    "JobSubmitted": "2",
    "JobExecuted": "32",
    "JobSkipped": "33",
    "JobMissed": "33",
    "JobLost": "31",
    "JobError": "31",
}


def say(line: str) -> None:
    """Print a line; on a terminal, in the colour of what it tells."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        words = line.split(maxsplit=2)
        code = next((COLOURS[word] for word in words[:2] if word in COLOURS), None)
        line = line if code is None else f"\x1b[{code}m{line}\x1b[0m"
    print(line, flush=True)


def main() -> int:
    """Start the scheduler, kill it, start it again, stop it politely, and settle the accounts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--quick", action="store_true", help="the same in half the time")
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pace = QUICK if options.quick else Pace()
    if options.serve:
        anyio.run(serve, options.serve, pace, backend=options.backend)
        return 0
    with tempfile.TemporaryDirectory(prefix="asyncsched-demo-") as folder:
        demo = Demo(folder, pace, [sys.executable, __file__, "--serve", folder, *sys.argv[1:]])
        say(f"=== a scheduler on a SQLite file, on {options.backend} ===")
        killed = demo.serve_and_kill()
        time.sleep(pace.dead)
        say("\n=== started again on the same file ===")
        stopped_at = demo.serve_and_stop()
        return anyio.run(settle_accounts, folder, killed, stopped_at, backend=options.backend)


class Entry(TypedDict):
    """One line of the witness."""

    word: Literal["begin", "end"]
    job: str
    run: str
    attempt: int
    pid: int


class Demo:
    """Starts the process that schedules, and ends it in two ways."""

    def __init__(self, folder: str, pace: Pace, command: list[str]) -> None:
        self.folder = folder
        self.pace = pace
        self.command = command
        documents = Path(folder, "documents")
        documents.mkdir()
        for number in range(5):
            (documents / f"{number}.txt").write_text(f"document {number}\n" * 10_000)

    def serve_and_kill(self) -> Entry:
        """Let it run for some seconds, and kill it while a digest is being made; return which one."""
        end = time.monotonic() + self.pace.before_kill
        with subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            assert process.stdout is not None
            for line in process.stdout:
                say(line.rstrip())
                if time.monotonic() > end and " JobSubmitted " in line and " digest " in line:
                    break
            else:
                raise SystemExit(f"the scheduler ended by itself, with exit code {process.wait()}")
            while not (digests := [entry for entry in under_way(self.folder) if entry["job"] == "digest"]):
                time.sleep(0.01)
            process.kill()
            for line in process.stdout:
                say(line.rstrip())
        say(f"\n=== killed with SIGKILL in the middle of a digest; dead for {self.pace.dead:g} s ===")
        return digests[0]

    def serve_and_stop(self) -> datetime:
        """Let it run for some seconds and stop it with SIGTERM, which drains it; return when."""
        end = time.monotonic() + self.pace.after
        patience, greeted, stopped_at = end + 20, False, None
        with subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            assert process.stdout is not None
            for line in process.stdout:
                say(line.rstrip())
                greeted = greeted or ("JobExecuted" in line and "greet late" in line)
                if stopped_at is None and time.monotonic() > (end if greeted else patience):
                    stopped_at = datetime.now(UTC)
                    say("=== stopped with SIGTERM: what runs may end ===")
                    process.terminate()
        if stopped_at is None or process.returncode:
            raise SystemExit(f"the scheduler ended with exit code {process.returncode}")
        return stopped_at


def testimony(folder: str) -> list[Entry]:
    """Return what the jobs wrote down themselves."""
    path = Path(folder, "witness.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def under_way(folder: str) -> list[Entry]:
    """Return the attempts that have begun and not ended."""
    entries = testimony(folder)
    ended = {(entry["run"], entry["attempt"]) for entry in entries if entry["word"] == "end"}
    return [entry for entry in entries if (entry["run"], entry["attempt"]) not in ended]


async def settle_accounts(folder: str, killed: Entry, stopped_at: datetime) -> int:
    """Compare triggers, ledger and witness; print the table; return the exit code."""
    async with make_scheduler(folder, start_paused=True) as scheduler:
        ledger = await scheduler.get_runs(limit=10_000)
        jobs = {job.id: job for job in await scheduler.get_jobs()}
    ended = Counter(entry["run"] for entry in testimony(folder) if entry["word"] == "end")
    say("\n=== the ledger, against the triggers and against what the jobs wrote down themselves ===")
    print("job                due    ran  not run  restarted  no verdict  twice   why not run")
    wrong = 0
    for job_id in sorted({run.job_id for run in ledger}):
        account = Account([run for run in ledger if run.job_id == job_id], jobs.get(job_id), stopped_at, ended)
        print(account.line(job_id).rstrip())
        wrong += account.wrong
    restarted = next((run for run in ledger if run.id == killed["run"]), None)
    if restarted is None or restarted.state != "succeeded" or restarted.attempt != 2 or ended[restarted.id] != 1:
        wrong += 1
        say(f"the run that was killed is not recovered: {restarted}")
    if is_alive(killed["pid"]):
        wrong += 1
        say(f"the worker process {killed['pid']} has outlived the kill")
    say("\n=== " + (f"{wrong} WRONG" if wrong else "nothing lost, nothing twice, nobody left behind") + " ===")
    return 1 if wrong else 0


class Account:
    """What became of every due instant of one job."""

    def __init__(
        self, runs: list[Run[Any]], job: Job[..., Any] | None, stopped_at: datetime, ended: Counter[str]
    ) -> None:
        self.due = [run.fire_time for run in runs] if job is None else due_instants(job)
        self.ran = [run for run in runs if run.state == "succeeded"]
        self.not_run = [run for run in runs if run.state in {"skipped", "coalesced", "missed"}]
        self.restarted = sum(run.attempt > 1 for run in runs)
        covering = [sum(run.fire_time <= at <= (run.until or run.fire_time) for run in runs) for at in self.due]
        self.without = covering.count(0) + sum(ended[run.id] == 0 for run in self.ran)
        self.twice = sum(count > 1 for count in covering) + sum(ended[run.id] > run.attempt for run in self.ran)
        broken = len(runs) - len(self.ran) - len(self.not_run)
        behind = job is not None and (
            job.next_run_time is None or job.next_run_time < stopped_at - timedelta(seconds=1)
        )
        self.wrong = self.without + self.twice + broken + behind

    def line(self, job_id: str) -> str:
        """Return a row of the table."""
        not_run = sum(run.count or 0 for run in self.not_run)
        why = Counter[str]()
        for run in self.not_run:
            why[f"{run.state}: {run.reason}" if run.reason else run.state] += run.count or 0
        reasons = ", ".join(f"{count} {reason}" for reason, count in why.items())
        counts = (
            f"{len(self.due):>6}{len(self.ran):>7}{not_run:>9}{self.restarted:>11}{self.without:>12}{self.twice:>7}"
        )
        return f"{job_id:<16}{counts}   {reasons}"


def due_instants(job: Job[..., Any]) -> list[datetime]:
    """Return the instants that the trigger names, from when the job was added to where the ledger ends."""
    assert job.trigger is not None
    assert job.next_run_time is not None
    instants: list[datetime] = []
    at = job.trigger.next(datetime.fromtimestamp(job.record.added_at / 1_000_000, UTC))
    while at is not None and at < job.next_run_time:
        instants.append(at)
        at = job.trigger.next(at)
    return instants


def is_alive(pid: int) -> bool:
    """Tell whether a process still runs, giving it a moment; one that only waits to be buried does not."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            status = Path(f"/proc/{pid}/stat")
            if status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    sys.exit(main())
