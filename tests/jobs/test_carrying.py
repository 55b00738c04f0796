"""Jobs on paper: export and import, the printed table, configurations."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncsched import JobExistsError, Scheduler, SerializationError, cron, every, task
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

OpenStore = Callable[[], JobStore]

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@task("tests.jobs.carried")
def carried(*values: Any, **named: Any) -> str:
    return f"{values} {named}"


async def fill(s: Scheduler) -> None:
    rich = (datetime(2026, 5, 1, tzinfo=UTC), b"\0\xff", {1: (2, {3})}, timedelta(days=1))
    await s.add_job(carried, every(seconds=7), id="a", args=rich, kwargs={"k": None}, tags=["t"], metadata={"m": [1]})
    await s.add_job(carried, cron("0 9 * * mon-fri", timezone="Europe/Helsinki"), id="b", jitter=(1, 2), timeout=3)
    await s.add_job(carried, "date", run_date="2030-01-01T00:00:00+00:00", id="c", max_instances=None, keep_runs=None)
    await s.pause_job("c", reason="later")


@pytest.mark.parametrize("by", ["path", "text", "object"])
async def test_what_is_exported_is_imported_elsewhere(
    by: str, open_sqlite: OpenStore, tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "jobs.json"
    target: Any = {"path": path, "text": str(path), "object": io.StringIO()}[by]
    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        await fill(s)
        before = await s.get_jobs()
        assert await s.export_jobs(target) == 3
    if by == "object":
        target.seek(0)
    async with Scheduler(open_sqlite(), clock=clock) as s:
        added = await s.import_jobs(target)
        assert await s.get_jobs() == added
        assert [_without_version(job) for job in added] == [_without_version(job) for job in before]
        if by == "object":
            target.seek(0)
        with pytest.raises(JobExistsError):
            await s.import_jobs(target)
        if by == "object":
            target.seek(0)
        again = await s.import_jobs(target, replace_existing=True)
        assert [job.next_run_time for job in again] == [job.next_run_time for job in before]
        await clock.advance(seconds=7)
        (run,) = await s.get_runs()
        assert (run.job_id, run.state) == ("a", "succeeded")


def _without_version(job: Any) -> Any:
    names = ["id", "name", "task", "args", "kwargs", "trigger", "next_run_time", "state", "paused_reason", "tags"]
    names += ["metadata", "executor", "jitter", "timeout", "max_instances", "keep_runs"]
    return {name: getattr(job, name) for name in names}


async def hostile(place: str, value: Any) -> str:
    file = io.StringIO()
    async with Scheduler(MemoryJobStore(), clock=VirtualClock()) as s:
        await fill(s)
        await s.export_jobs(file)
    content = json.loads(file.getvalue())
    content["jobs"][0][place] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("id", "", "id=''"),
        ("id", "x" * 5000, "id="),
        ("id", "a\0b", "NUL"),
        ("id", 5, "Expected `str`"),
        ("tags", [""], "tags=''"),
        ("next_fire", 10**30, "a"),
        ("next_fire", 1.5, "Expected `int"),
        ("trigger", {"kind": "os.system", "v": 1}, "os.system"),
        ("trigger", {"kind": "interval"}, "'a'"),
        ("trigger", {}, "'a'"),
        ("trigger", 5, "Expected `object"),
        ("arguments", [1, 2, 3], "'a'"),
        ("arguments", {"$x": "__import__"}, "'a'"),
        ("policies", {"max_instances": -1}, "max_instances=-1"),
        ("policies", {"timeout": 0}, "timeout"),
        ("policies", {"overlap": "explode"}, "Invalid enum value"),
        ("state", "exploded", "Invalid enum value"),
        ("metadata", [], "Expected `object"),
    ],
)
async def test_a_hostile_job_is_refused_and_nothing_is_added(
    place: str, value: Any, message: str, open_store: OpenStore, clock: VirtualClock
) -> None:
    text = await hostile(place, value)
    async with Scheduler(open_store(), clock=clock) as s:
        with pytest.raises(SerializationError, match=message):
            await s.import_jobs(io.StringIO(text))
        assert await s.get_jobs() == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "{}", '{"asyncsched": 1}', '{"asyncsched": "1", "jobs": []}', "[" * 100_000, "\ud800"],
)
async def test_what_export_did_not_write_is_refused(text: str, clock: VirtualClock) -> None:
    async with Scheduler(clock=clock) as s:
        with pytest.raises(SerializationError, match="not a file that export_jobs wrote"):
            await s.import_jobs(io.StringIO(text))


async def test_files_of_another_kind_are_refused(tmp_path: Path, clock: VirtualClock) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff\xfe")
    async with Scheduler(clock=clock) as s:
        with pytest.raises(SerializationError, match="not a file that export_jobs wrote"):
            await s.import_jobs(tmp_path / "picture")
        with pytest.raises(SerializationError, match=r"has the format 3; this asyncsched reads up to 2"):
            await s.import_jobs(io.StringIO('{"asyncsched": 3, "jobs": []}'))
        with pytest.raises(FileNotFoundError):
            await s.import_jobs(tmp_path / "missing")


async def test_an_argument_that_cannot_be_written_leaves_the_file_alone(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "jobs.json"
    path.write_text("precious")
    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        await s.add_job(carried, every(hours=1), args=[object()])
        with pytest.raises(SerializationError, match="positional argument 1 cannot be stored"):
            await s.export_jobs(path)
    assert path.read_text() == "precious"


async def test_the_table_shows_jobs_and_escapes_what_a_terminal_would_act_upon(
    clock: VirtualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Scheduler(clock=clock, timezone="UTC") as s:
        await s.print_jobs()
        assert "(no jobs)" in capsys.readouterr().out
        await s.add_job(carried, cron("0 9 * * *"), id="report", name="Réport")
        await s.add_job(carried, every(hours=1), id="evil", name="\x1b[2J\u202egnp.exe\r\n\x07")
        await s.pause_job("evil", reason="\x9b31m")
        file = io.StringIO()
        await s.print_jobs(file)
    heading, evil, report = file.getvalue().splitlines()
    assert heading.split() == ["id", "name", "trigger", "next", "run", "state", "store"]
    assert r"\x1b[2J\u202egnp.exe\r\n\x07" in evil
    assert r"paused: \x9b31m" in evil
    assert report.split("  ")[:2] == ["report", "Réport"]
    assert "2026-01-01 09:00:00+00:00" in report
    assert all(line.isprintable() for line in (heading, evil, report))


@pytest.mark.parametrize("form", ["nested", "flat", "toml"])
async def test_a_configured_scheduler_works(form: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'configured.db'}"
    config: Any = {
        "nested": {"store": url, "stores": {"fast": "memory://"}, "timezone": "Europe/Helsinki",
                   "defaults": {"max_instances": 3}, "executors": {"io": {"type": "thread", "max_workers": 2}}},
        "flat": {"asyncsched.store": url, "asyncsched.stores.fast": "memory://",
                 "asyncsched.timezone": "Europe/Helsinki", "asyncsched.defaults.max_instances": "3",
                 "asyncsched.executors.io.type": "thread", "asyncsched.executors.io.max_workers": "2"},
        "toml": tmp_path / "asyncsched.toml",
    }[form]  # fmt: skip
    (tmp_path / "asyncsched.toml").write_text(
        f'[asyncsched]\nstore = "{url}"\ntimezone = "Europe/Helsinki"\nstores.fast = "memory://"\n'
        '[asyncsched.defaults]\nmax_instances = 3\n[asyncsched.executors.io]\ntype = "thread"\nmax_workers = 2\n'
    )
    async with Scheduler.from_config(config) as s:
        run = await s.run_job(carried, args=["x"])
        assert await run.wait() == "('x',) {}"
        job = await s.add_job(carried, cron("0 0 1 1 *"), executor="io", store="fast")
        assert (job.max_instances, job.next_run_time and job.next_run_time.hour) == (3, 22)
    assert (tmp_path / "configured.db").exists()


async def test_a_file_of_the_first_format_does_not_end_a_pause(clock: VirtualClock) -> None:
    text = io.StringIO()
    async with Scheduler(clock=clock) as s:
        await s.add_job(carried, every(minutes=5), id="job")
        await s.pause_job("job", reason="until someone says so")
        await s.export_jobs(text)
    first = (
        text.getvalue().replace('"asyncsched": 2', '"asyncsched": 1').replace('"next_fire"', '"due_at": 1, "next_fire"')
    )
    assert first != text.getvalue()
    async with Scheduler(clock=clock) as s:
        (job,) = await s.import_jobs(io.StringIO(first))
        assert (job.state, job.paused_until) == ("paused", None)
        await clock.advance(hours=1)
        assert (await s.get_job("job")).state == "paused"
