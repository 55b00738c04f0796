"""Several real processes on one SQLite file, some of them killed."""

import os
import signal
import sqlite3
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest
from msgspec.structs import replace

from asyncsched._engine.bridge import soon_from_threads
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.base import Node
from asyncsched.stores.processes import is_gone, process_identity
from asyncsched.stores.sqlite import SQLiteJobStore
from asyncsched.testing.store_suite import ManualClock
from tests.stores.sqlite_support import NOW, SECOND, context, job, opened, start_python, starting

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes are gone")

FIRING = """
import sys, anyio
from pathlib import Path
from tests.stores.sqlite_support import done, opened, starting

async def main(path, node):
    async with opened(Path(path), busy_timeout=8.0) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        planner = starting(node)
        while (fired := await store.fire_due(node, 7, planner)).starts:
            for start in fired.starts:
                print(start.job.id)
            await store.finish([done(start.run) for start in fired.starts])

anyio.run(main, *sys.argv[1:], backend="LOOP")
"""

DYING = """
import os, signal, sys, anyio
from pathlib import Path
from asyncsched.stores import sqlite_schema, sqlite_jobs, sqlite_firing, sqlite_outcomes
from tests.stores.sqlite_support import done, job, opened, starting

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(path, where):
    if where == "migration":
        statements = sqlite_schema._statements
        def some(step):
            for number, statement in enumerate(statements(step)):
                if number == 4:
                    die()
                yield statement
        sqlite_schema._statements = some
    async with opened(Path(path), synchronous="FULL") as store:
        if where == "add":
            sqlite_jobs.insert_runs = die
            await store.add([job("lost")])
        if where == "fire":
            sqlite_firing._write_planned = lambda session, planned, parked: (
                sqlite_firing._write_decisions(session, planned), die())
            await store.fire_due("n", 10, starting("n"))
        if where == "finish":
            fired = await store.fire_due("n", 10, starting("n"))
            sqlite_outcomes.delete_jobs = die
            await store.finish([done(start.run) for start in fired.starts])

anyio.run(main, *sys.argv[1:])
"""


def _killed(where: str, path: Path) -> None:
    with start_python(DYING, str(path), where) as process:
        assert process.wait(30) == -signal.SIGKILL


def _tables(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    finally:
        connection.close()


@pytest.mark.anyio
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
async def test_killed_in_a_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    _killed("migration", path)
    assert _tables(path) == []
    async with opened(path) as store:
        await store.add([job()])
        assert [found.id for found in await store.query()] == ["job"]


@pytest.mark.anyio
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
async def test_killed_in_a_transaction_leaves_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        before = await store.add([job("a"), job("b")])
    for where in ("add", "fire"):
        _killed(where, path)
        async with opened(path) as store:
            assert await store.query() == before
            assert await store.query_runs() == []
    _killed("finish", path)
    async with opened(path) as store:
        assert {run.state for run in await store.query_runs()} == {"running"}
        assert len(await store.query()) == 2


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_two_processes_fire_each_job_once(tmp_path: Path, loop: str) -> None:
    path = tmp_path / "jobs.db"
    names = sorted(f"job-{number:03}" for number in range(300))

    async def fill() -> None:
        async with opened(path) as store:
            await store.add([job(name) for name in names])

    anyio.run(fill)
    processes = [start_python(FIRING.replace("LOOP", loop), str(path), node) for node in ("a", "b")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs: list[str] = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(process.communicate(timeout=30)[0])
        assert process.returncode == 0
    assert sorted("".join(outputs).split()) == names

    async def look() -> None:
        async with opened(path) as store:
            assert await store.query() == []
            runs = await store.query_runs(limit=1000)
            assert sorted(run.job_id for run in runs) == names
            assert {run.state for run in runs} == {"succeeded"}

    anyio.run(look)


def test_several_processes_make_the_tables_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    processes = [start_python(FIRING.replace("LOOP", "asyncio"), str(path), str(number)) for number in range(3)]
    for process in processes:
        process.communicate("go\n", timeout=30)
        assert process.returncode == 0
    assert sorted(_tables(path)) == [
        "asyncsched_schema", "buckets", "definitions", "jobs", "limits", "nodes", "runs",
    ]  # fmt: skip


@LINUX
def test_a_process_is_gone_once_it_has_ended() -> None:
    assert not is_gone(process_identity())
    program = "from asyncsched.stores.processes import process_identity as p; print(p(), flush=True); input()"
    with start_python(program) as process:
        assert process.stdout is not None
        identity = process.stdout.readline().strip()
        assert identity
        assert not is_gone(identity)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not collected
        assert is_gone(identity)
        process.wait()
        assert is_gone(identity)


@pytest.mark.parametrize(
    "identity", ["", "null", "[]", "nonsense", '["other host","boot","pid:[1]",1,1]', "[1,2,3,4,5]"]
)
def test_nothing_is_proved_of_processes_elsewhere(identity: str) -> None:
    assert not is_gone(identity)


@LINUX
def test_a_pid_that_was_given_away_again_is_gone() -> None:
    host, boot, namespace, pid, started = msgspec.json.decode(process_identity())
    assert is_gone(msgspec.json.encode([host, boot, namespace, pid, started - 1]).decode())
    assert is_gone(msgspec.json.encode([host, boot, namespace, 2**22 + 1, started]).decode())
    assert not is_gone(msgspec.json.encode([host, "another boot", namespace, 2**22 + 1, started]).decode())
    assert not is_gone(msgspec.json.encode([host, boot, "pid:[1]", 2**22 + 1, started]).decode())
    assert not is_gone(msgspec.json.encode([host, boot, namespace, -1, started]).decode())


def _lost(_job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
    return replace(run, state="lost", finished_at=now)


@LINUX
@pytest.mark.anyio
async def test_runs_of_a_process_that_is_gone_are_recovered_at_once(tmp_path: Path) -> None:
    program = "from asyncsched.stores.processes import process_identity as p; print(p())"
    identity = start_python(program).communicate(timeout=30)[0].strip()
    async with opened(tmp_path / "jobs.db", ManualClock(NOW)) as store:
        await store.add([job("a"), job("b")])
        for node, process in (("dead", identity), ("live", process_identity())):
            await store.join(Node(id=node, process=process), 30 * SECOND)
            await store.fire_due(node, 1, starting(node))
        recovered = await store.recover(_lost)
        assert [run.node for run in recovered.runs] == ["dead"]
        assert not await store.renew(Node(id="dead"), SECOND)
        assert await store.renew(Node(id="live"), SECOND)


@pytest.mark.anyio
async def test_runs_claimed_by_a_node_that_was_given_up_are_recovered(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db", ManualClock(NOW)) as store:
        await store.add([job()])
        await store.fire_due("given-up", 1, starting("given-up"))
        recovered = await store.recover(_lost)
        assert [(run.node, run.state) for run in recovered.runs] == [("given-up", "lost")]
        assert list(recovered.finished) == ["job"]


@pytest.mark.anyio
async def test_watch_hints_when_another_has_written(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as store, opened(tmp_path / "jobs.db") as other:
        await store.join(Node(id="a"), SECOND)
        await other.join(Node(id="b"), SECOND)
        hinted = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(store.watch, hinted.set)
            with anyio.fail_after(10):
                while not hinted.is_set():
                    await other.add([job(f"job-{await store.now()}")])
                    await anyio.sleep(0.05)
            group.cancel_scope.cancel()


class _CountingClock:
    """Counts how long it was slept by, and never lets a sleep of more than a second end."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self.rests = anyio.Event()

    def now_us(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if seconds > 1 or len(self.sleeps) > 3:
            self.rests.set()
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        raise NotImplementedError


@pytest.mark.anyio
async def test_watch_rests_until_another_node_is_noticed(tmp_path: Path) -> None:
    clock = _CountingClock()
    path = tmp_path / "jobs.db"
    async with opened(path, clock) as store, opened(path) as another:
        await store.join(Node(id="a"), SECOND)
        hints: list[None] = []
        async with anyio.create_task_group() as group:
            group.start_soon(store.watch, lambda: hints.append(None))
            for _ in range(20):
                await store.get(["nobody"])
            assert clock.sleeps == [], "alone, it does not even ask"
            await another.join(Node(id="b"), 10**15)
            await store.recover(lambda _job, run, _now: run)
            with anyio.fail_after(10):
                await clock.rests.wait()
            group.cancel_scope.cancel()
    assert set(clock.sleeps) == {0.5}


@pytest.mark.anyio
async def test_cancellation_waits_for_the_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job()])
        with anyio.CancelScope() as scope:

            def change(stored: JobRecord, _now: int) -> JobRecord:
                caller(scope.cancel)
                return replace(stored, name="changed")

            caller = soon_from_threads()
            (changed,) = await store.update(["job"], change)
            assert changed.name == "changed"
        assert (await store.get(["job"]))[0].name == "changed"


def test_forgotten_close_does_not_keep_the_interpreter() -> None:
    program = """
import anyio, sys, tempfile, os
from tests.stores.sqlite_support import context
from asyncsched.stores.sqlite import SQLiteJobStore
kept = []
async def main():
    kept.append(SQLiteJobStore(os.path.join(tempfile.mkdtemp(), "jobs.db")))
    await kept[0].open(context())
anyio.run(main, backend=sys.argv[1])
"""
    for loop in ("asyncio", "trio"):
        with start_python(program, loop) as process:
            assert process.wait(30) == 0


def test_store_is_the_same_on_both_loops(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")

    async def add(name: str) -> list[str]:
        await store.open(context())
        await store.add([job(name)])
        names = [found.id for found in await store.query()]
        await store.close()
        return names

    assert anyio.run(add, "a", backend="asyncio") == ["a"]
    assert anyio.run(add, "b", backend="trio") == ["a", "b"]
