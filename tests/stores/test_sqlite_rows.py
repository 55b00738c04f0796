"""What SQLite rows hold: odd values come back as they were, and what cannot be read is parked."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunError, RunRecord
from asyncsched.stores.sql import storable
from asyncsched.triggers.date import DateTrigger
from tests.stores.sqlite_support import NOW, SECOND, again, alter, context, done, job, opened, starting

pytestmark = pytest.mark.anyio

TRIGGER = DateTrigger("2030-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    "fields",
    [
        {"args": (float("inf"), -0.0, 2**100, b"", (), {1: "one"}), "kwargs": {"$tuple": ["$", {"$int": 1}]}},
        {"name": "a\x00b\u202e", "tags": ('"', "\\", "[]", ""), "metadata": {"": None, "$": [1.5]}},
        {"trigger": TRIGGER, "written": TRIGGER},
        {"trigger": TRIGGER, "written": DateTrigger("2031-01-01T00:00:00+00:00")},
        {"trigger": TRIGGER, "written": None},
        {"trigger": None, "written": TRIGGER},
        {"policies": Policies(priority=-(2**63), max_instances=None, keep_runs=None, jitter=(0, 5))},
        {"next_fire": -(10**15), "due_at": -(10**15), "added_at": -1},
    ],
    ids="-".join,
)
async def test_odd_values_come_back(tmp_path: Path, fields: dict[str, Any]) -> None:
    record = replace(job(), **fields)
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([record])
        assert await store.get(["job"]) == [record]


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"])
async def test_texts_that_no_row_can_hold_are_refused_whole(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / "jobs.db") as store:
        for wrong in (job(name), job("job", name=name), job("job", due_at=2**63), job("job", args=(object(),))):
            with pytest.raises(SerializationError):
                await store.add([job("good"), wrong])
        assert await store.query() == []
        assert await store.get([name]) == []


async def test_errors_can_always_be_stored(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job()])
        (start,) = (await store.fire_due("n", 1, starting("n"))).starts
        error = RunError("E", "lone \ud800 surrogate and \x00", "\udfff")
        row = replace(done(start.run), state="failed", error=error, reason="why \ud800")
        assert not (await store.finish([row])).refused
        found = await store.get_run(row.id)
    assert found is not None
    assert found.error == RunError("E", "lone \\ud800 surrogate and \\x00", "\\udfff")
    assert found.reason == "why \\ud800"
    assert storable("ünï") == "ünï"


BROKEN = {
    "unknown trigger": ("trigger", b'[1,{"kind":"of nobody","v":1}]'),
    "newer codec": ("arguments", b"[99,[],{}]"),
    "garbage": ("arguments", b"\xff\x00garbage"),
    "no arguments": ("arguments", None),
    "a number": ("policies", 2**62),
    "odd policies": ("policies", b'{"max_instances": "many"}'),
    "no task": ("task", None),
    "task of bytes": ("task", b"m:f"),
    "no name": ("name", None),
    "odd tags": ("tags", "[1,"),
    "metadata is a list": ("metadata", b"[1,[]]"),
    "added in the year 20000": ("added_at", 569_000_000_000 * SECOND),
    "added at 2^63": ("added_at", 2.0**63),
    "added at infinity": ("added_at", "infinity"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_cannot_be_read_is_parked_and_kept(tmp_path: Path, kind: str) -> None:
    column, value = BROKEN[kind]
    planner = starting("n")
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job("bad"), job("good", due_at=NOW + 1)])
        before = (await store.get(["bad"]))[0]
        alter(path, f'UPDATE definitions SET "{column}" = ? WHERE number = 1', (value,))
        (shown,) = await store.get(["bad"])
        assert (shown.state, shown.next_fire) == ("parked", NOW)
        assert shown.reason
        assert [found.id for found in await store.query(state="parked")] == ["bad"]
        fired = await store.fire_due("n", 10, planner)
        assert [start.job.id for start in fired.starts] == ["good"]
        assert [(parked.job_id, parked.reason) for parked in fired.parked] == [("bad", shown.reason)]
        assert await store.next_wakeup() is None
        assert not (await store.fire_due("n", 10, planner)).parked
        await _mend(path, column, before)
        (kept,) = await store.get(["bad"])
        assert (kept.state, kept.reason) == ("parked", shown.reason)
        await store.update(["bad"], lambda stored, _now: replace(stored, state="active", reason=None))
        assert len((await store.fire_due("n", 10, planner)).starts) == 1


async def _mend(path: Path, column: str, record: JobRecord) -> None:
    async with opened(path.with_name("other.db")) as other:
        await other.add([record])
    connection = sqlite3.connect(path.with_name("other.db"))
    ((value,),) = connection.execute(f'SELECT "{column}" FROM definitions').fetchall()
    connection.close()
    alter(path, f'UPDATE definitions SET "{column}" = ? WHERE number = 1', (value,))


async def test_text_that_is_not_utf8_spoils_nothing(tmp_path: Path) -> None:
    planner = starting("n")
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job("bad"), job("good"), job("third")])
        alter(path, "UPDATE definitions SET name = CAST(x'ff' AS TEXT) WHERE number = 1")
        alter(path, "UPDATE jobs SET id = CAST(x'ff' AS TEXT) WHERE number = 3")
        fired = await store.fire_due("n", 10, planner)
        assert [start.job.id for start in fired.starts] == ["good"]
        assert sorted(parked.job_id for parked in fired.parked) == ["bad", "\ufffd"]
        assert not (await store.fire_due("n", 10, planner)).parked


async def test_missing_definition_is_parked(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job("bad"), job("good")])
        alter(path, "DELETE FROM definitions WHERE number = 1")
        assert [parked.job_id for parked in (await store.fire_due("n", 10, starting("n"))).parked] == ["bad"]


async def test_unreadable_job_is_not_overwritten_in_part(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job("bad")])
        alter(path, "UPDATE definitions SET arguments = x'ff'")
        with pytest.raises(SerializationError, match="replace_existing=True"):
            await store.update(["bad"], lambda stored, _now: replace(stored, policies=Policies(priority=5)))
        await store.add([job("bad", name="new")], merge=lambda _stored, new: new)
        (found,) = await store.get(["bad"])
        assert (found.name, found.state) == ("new", "active")


async def test_waiting_run_that_cannot_be_read_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    waiting = [
        RunRecord(
            id=run_id,
            job_id="job",
            revision=1,
            fire_time=NOW,
            scheduled_time=NOW,
            state="pending",
            cause="manual",
            args=(1,),
        )
        for run_id in ("bad", "good")
    ]
    async with opened(path) as store:
        await store.add([job(due_at=None, policies=Policies(max_instances=None))], runs=waiting)
        alter(path, "UPDATE runs SET args = x'ff' WHERE id = 'bad'")
        assert [start.run.id for start in await store.start_pending("n", 10)] == ["good"]
        found = await store.get_run("bad")
        assert found is not None
        assert found.state == "failed"
        assert "arguments" in (found.reason or "")
        assert await store.next_wakeup() is None


async def test_waiting_runs_of_an_unreadable_job_wait_with_it_parked(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    waiting = RunRecord(id="run", job_id="job", revision=1, fire_time=NOW, scheduled_time=NOW, state="pending")
    async with opened(path) as store:
        await store.add([job(due_at=None)], runs=[waiting])
        alter(path, "UPDATE definitions SET policies = x'ff'")
        assert await store.start_pending("n", 10) == []
        assert await store.next_wakeup() is None
        assert await store.get_run("run") == waiting


async def test_recurring_jobs_are_decoded_once_and_edits_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    made = context(prefix="fired")
    async with opened(path) as store, opened(path) as other:
        await store.add([job(args=("first",))])
        for instant in range(NOW + 1, NOW + 4):
            (start,) = (await store.fire_due("n", 1, again("n", made.new_run_id, instant))).starts
            assert start.job.args == ("first",)
            await store.finish([done(start.run)])
        await other.update(["job"], lambda stored, _now: replace(stored, args=("second",)))
        (start,) = (await store.fire_due("n", 1, again("n", made.new_run_id, NOW + 9))).starts
        assert start.job.args == ("second",)
        await store.finish([done(start.run)])
        await other.remove(["job"])
        await other.add([job(args=("third",))])
        (start,) = (await store.fire_due("n", 1, again("n", made.new_run_id, NOW + 10))).starts
        assert start.job.args == ("third",)


async def test_run_id_that_is_taken_parks_the_job(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job("a"), job("b", due_at=NOW + 1)])
        fired = await store.fire_due("n", 10, starting("n", lambda: "the same"))
        assert [start.job.id for start in fired.starts] == ["a"]
        assert [parked.job_id for parked in fired.parked] == ["b"]
        (kept,) = await store.get(["b"])
        assert "cannot be recorded" in (kept.reason or "")


async def test_enqueue_may_be_repeated(tmp_path: Path) -> None:
    waiting = RunRecord(id="run", job_id="job", revision=1, fire_time=NOW, scheduled_time=NOW, state="pending")
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job(due_at=None)], runs=[waiting])
        await store.enqueue([waiting])
        assert await store.query_runs() == [waiting]


async def test_runs_that_outlive_their_job_take_the_priority_of_the_next_one(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db") as store:
        await store.add([job("again"), job("other", due_at=None)])
        (start,) = (await store.fire_due("n", 1, starting("n"))).starts
        await store.remove(["again"])
        await store.add([job("again", due_at=None, policies=Policies(priority=1))])
        await store.finish([replace(start.run, state="pending")])
        waiting = RunRecord(id="run", job_id="other", revision=1, fire_time=0, scheduled_time=0, state="pending")
        await store.enqueue([waiting])
        assert [found.job.id for found in await store.start_pending("n", 10)] == ["again", "other"]
