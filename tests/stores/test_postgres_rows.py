"""What PostgreSQL rows hold: odd values come back as they were, and what cannot be read is parked, never deleted."""

from functools import partial
from secrets import token_hex
from typing import Any, Final

import anyio
import pytest
from msgspec.structs import replace

from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunError, RunRecord
from asyncsched.stores.base import Node
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.triggers.date import DateTrigger
from tests.postgres.server import running_server
from tests.stores.postgres_support import NOW, SECOND, again, context, done, job, opened, starting

pytestmark = pytest.mark.anyio

TRIGGER: Final = DateTrigger("2030-01-01T00:00:00+00:00")
ODD_TEXTS: Final = ["nul \0", "\0", "lone \ud800", "\udfff"]


def _alter(schema: str, statement: str, *values: Any) -> None:
    """Change rows behind the store's back."""
    running_server().execute(statement.replace("SCHEMA.", f'"{schema}".'), *values)


def _waiting(run_id: str, job_id: str = "job", **fields: Any) -> RunRecord:
    known: dict[str, Any] = {
        "revision": 1,
        "fire_time": NOW,
        "scheduled_time": NOW,
        "state": "pending",
        "cause": "manual",
    }
    return RunRecord(id=run_id, job_id=job_id, **(known | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"args": (float("inf"), -0.0, 2**100, b"", (), {1: "one"}), "kwargs": {"$tuple": ["$", {"$int": 1}]}},
        {"name": "a\u202eb", "tags": ('"', "\\", "[]", ""), "metadata": {"": None, "$": [1.5], "\0": "\0"}},
        {"trigger": TRIGGER, "written": TRIGGER},
        {"trigger": TRIGGER, "written": DateTrigger("2031-01-01T00:00:00+00:00")},
        {"trigger": TRIGGER, "written": None},
        {"trigger": None, "written": TRIGGER},
        {"policies": Policies(priority=-(2**63), max_instances=None, keep_runs=None, jitter=(0, 5))},
        {"next_fire": -(10**15), "due_at": -(10**15), "added_at": -1},
        {"args": ("x" * 250_000,)},
    ],
    ids="-".join,
)
async def test_odd_values_come_back(postgres_schema: str, fields: dict[str, Any]) -> None:
    record = replace(job(), **fields)
    async with opened(postgres_schema) as store:
        await store.add([record])
        assert await store.get(["job"]) == [record]


async def test_order_and_equality_of_ids_are_those_of_their_code_points(postgres_schema: str) -> None:
    ids = sorted(["B", "a", "ä", "Z", "b ", "b", "é", "e\u0301", "", "10", "9", "\U0001f600", "\uffff", "%", "_"])
    async with opened(postgres_schema) as store:
        await store.add([job(job_id) for job_id in ids])
        assert [found.id for found in await store.query()] == ids
        assert [found.id for found in await store.query(after="B")] == ids[ids.index("B") + 1 :]


# -- texts that no row can hold ---------------------------------------------------------------


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_texts_that_no_row_can_hold_are_refused_whole(postgres_schema: str, text: str) -> None:
    async with opened(postgres_schema) as store:
        wrong = [job(text), job("job", name=text), job("job", task=text), job("job", executor=text)]
        for one in (*wrong, job("job", due_at=2**63), job("job", args=(object(),))):
            with pytest.raises(SerializationError):
                await store.add([one])
            with pytest.raises(SerializationError):
                await store.add([job("good"), one])
        assert await store.query() == []
        assert await store.get([text]) == []
        assert await store.remove([text]) == []
        assert await store.update([text], lambda old, _now: old) == []
        assert await store.get_run(text) is None
        assert await store.query_runs(job_id=text) == []
        assert await store.cancel_pending(text) is None
        assert await store.request_cancel(text) is False
        assert await store.query(tag=text) == []


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_one_bad_job_of_many_added_at_once_fails_alone(postgres_schema: str, text: str) -> None:
    outcomes: dict[str, object] = {}
    async with opened(postgres_schema, pool_size=1) as store:

        async def add(record: JobRecord) -> None:
            try:
                (outcomes[record.id],) = await store.add([record])
            except SerializationError as error:
                outcomes[record.id] = error

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(add, job(f"{number:02}", name=text if number % 10 == 7 else "good"))
        assert sorted(outcomes) == [f"{number:02}" for number in range(50)]
        good = [job_id for job_id, outcome in outcomes.items() if isinstance(outcome, JobRecord)]
        assert sorted(good) == [f"{number:02}" for number in range(50) if number % 10 != 7]
        assert [found.id for found in await store.query()] == sorted(good)


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_one_bad_run_of_many_enqueued_at_once_fails_alone(postgres_schema: str, text: str) -> None:
    failed: list[str] = []
    async with opened(postgres_schema, pool_size=1) as store:
        await store.add([job(due_at=None)])

        async def enqueue(run: RunRecord) -> None:
            try:
                await store.enqueue([run])
            except SerializationError:
                failed.append(run.id)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(enqueue, _waiting(f"{number:02}{text if number % 10 == 7 else ''}"))
        assert sorted(failed) == [f"{number:02}{text}" for number in (7, 17, 27)]
        assert len(await store.query_runs()) == 27


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_completion_never_fails(postgres_schema: str, text: str) -> None:
    async with opened(postgres_schema) as store:
        await store.add([job()])
        (start,) = (await store.fire_due("n", 1, starting("n"))).starts
        row = replace(done(start.run), state="failed", error=RunError(text, text, text), reason=text)
        assert not (await store.finish([row])).refused
        found = await store.get_run(row.id)
    assert found is not None
    assert found.error is not None
    assert "ud800" in str(found.error) or "\0" in found.error.message or "udfff" in str(found.error)
    assert found.reason is not None
    assert found.reason.isprintable()


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_reasons_and_node_names_are_written_out(postgres_schema: str, text: str) -> None:
    async with opened(postgres_schema) as store:
        node = Node(id="n", name=text, host=text, tasks=(text,), executors=("async",))
        await store.join(node, 60 * SECOND)
        assert await store.renew(node, 60 * SECOND)
        assert [known.node.id for known in await store.nodes()] == ["n"]
        await store.add([job(), job("other")])
        (parked,) = await store.update(["job"], lambda old, _now: replace(old, state="parked", reason=text))
        assert parked.state == "parked"

        def refuse(*_: object) -> Any:
            raise ValueError(text)

        fired = await store.fire_due("n", 10, refuse)
        assert [one.job_id for one in fired.parked] == ["other"]
        assert [found.state for found in await store.query()] == ["parked", "parked"]


# -- poisoned rows ---------------------------------------------------------------------------

POISONS: Final[dict[str, tuple[str, str, Any]]] = {
    "unknown trigger": ("definitions", "trigger", b'[1,{"kind":"of nobody","v":1}]'),
    "empty trigger": ("definitions", "trigger", b""),
    "newer codec": ("definitions", "arguments", b"[99,[],{}]"),
    "garbage": ("definitions", "arguments", b"\xff\x00garbage"),
    "no arguments": ("definitions", "arguments", None),
    "no policies": ("definitions", "policies", None),
    "garbage policies": ("definitions", "policies", b"\x00"),
    "odd policies": ("definitions", "policies", b'{"max_instances": "many"}'),
    "no task": ("jobs", "task", None),
    "no executor": ("jobs", "executor", None),
    "no name": ("definitions", "name", None),
    "odd tags": ("definitions", "tags", "[1,"),
    "tags that are no JSON": ("definitions", "tags", "red, green"),
    "no tags": ("definitions", "tags", None),
    "metadata is a list": ("definitions", "metadata", b"[1,[]]"),
    "no instant of adding": ("definitions", "added_at", None),
    "added in the year 20000": ("definitions", "added_at", 569_000_000_000 * SECOND),
    "last fire in the year 20000": ("jobs", "last_fire", 569_000_000_000 * SECOND),
    "next fire at the end": ("jobs", "next_fire", 2**63 - 1),
    "due at the beginning": ("jobs", "due_at", -(2**63)),
}


def _poison(schema: str, job_id: str, kind: str) -> Any:
    """Spoil one column of a job; return what it was."""
    table, column, value = POISONS[kind]
    where = f"number = (SELECT number FROM SCHEMA.jobs WHERE id = '{job_id}')"
    ((before,),) = running_server().execute(
        f'SELECT "{column}" FROM SCHEMA.{table} WHERE {where}'.replace("SCHEMA.", f'"{schema}".')
    )
    _alter(schema, f'UPDATE SCHEMA.{table} SET "{column}" = $1 WHERE {where}', value)
    return before


async def test_a_tenth_is_poisoned_and_the_others_are_on_time(postgres_schema: str) -> None:
    bad = {f"job-{10 * number + 3:03}": kind for number, kind in enumerate(POISONS)}
    jobs = [job(f"job-{number:03}", due_at=NOW + number, trigger=TRIGGER, written=TRIGGER) for number in range(200)]
    async with opened(postgres_schema) as store:
        await store.add(jobs)
        before = {job_id: _poison(postgres_schema, job_id, kind) for job_id, kind in bad.items()}
        assert {found.id for found in await store.query(state="parked")} == set(bad)
        assert len(await store.query()) == 200
        planner = again("n", partial(token_hex, 8), 2 * NOW)
        started: list[str] = []
        parked: list[str] = []
        for _ in range(10):
            fired = await store.fire_due("n", 30, planner)
            started += [start.job.id for start in fired.starts]
            parked += [one.job_id for one in fired.parked]
            assert all(one.reason for one in fired.parked)
            assert not fired.finished
        assert sorted(parked) == sorted(bad)
        assert started == [record.id for record in jobs if record.id not in bad]
        assert sorted(found.id for found in await store.parked()) == sorted(bad)
        assert await store.next_wakeup() == 2 * NOW
        for job_id, kind in bad.items():
            await _heal(store, postgres_schema, job_id, kind, before[job_id])
        fired = await store.fire_due("n", 100, planner)
        assert sorted(start.job.id for start in fired.starts) == sorted(bad)
        assert await store.parked() == []


async def _heal(store: PostgresJobStore, schema: str, job_id: str, kind: str, before: Any) -> None:
    table, column, _ = POISONS[kind]
    where = f"number = (SELECT number FROM SCHEMA.jobs WHERE id = '{job_id}')"
    _alter(schema, f'UPDATE SCHEMA.{table} SET "{column}" = $1 WHERE {where}', before)
    (kept,) = await store.get([job_id])
    assert kept.state == "parked"
    assert kept.reason
    await store.update([job_id], lambda stored, _now: replace(stored, state="active", reason=None))


@pytest.mark.parametrize("kind", POISONS)
async def test_what_was_parked_is_neither_deleted_nor_overwritten_in_part(postgres_schema: str, kind: str) -> None:
    """Also where nothing is left of it: no other instant, and its last run cancelled."""
    async with opened(postgres_schema) as store:
        await store.add([job("bad", due_at=None, trigger=TRIGGER, written=TRIGGER)], runs=[_waiting("w", "bad")])
        _poison(postgres_schema, "bad", kind)
        assert await store.start_pending("n", 1) == []
        assert await store.cancel_pending("w") is not None
        (found,) = await store.get(["bad"])
        assert (found.state, await store.next_wakeup()) == ("parked", None)
        with pytest.raises(SerializationError, match="replace_existing=True"):
            await store.update(["bad"], lambda stored, _now: replace(stored, policies=Policies(priority=5)))
        await store.add([job("bad", name="new")], merge=lambda _stored, new: new)
        (found,) = await store.get(["bad"])
        assert (found.name, found.state) == ("new", "active")


async def test_missing_definition_is_parked(postgres_schema: str) -> None:
    async with opened(postgres_schema) as store:
        await store.add([job("bad"), job("good")])
        _alter(
            postgres_schema,
            "DELETE FROM SCHEMA.definitions USING SCHEMA.jobs j WHERE j.number = definitions.number AND j.id = 'bad'",
        )
        assert [parked.job_id for parked in (await store.fire_due("n", 10, starting("n"))).parked] == ["bad"]
        await store.add([job("bad", name="new")], merge=lambda _stored, new: new)
        assert [found.name for found in await store.get(["bad"])] == ["new"]


async def test_waiting_run_that_cannot_be_read_has_failed(postgres_schema: str) -> None:
    async with opened(postgres_schema) as store:
        unlimited = Policies(max_instances=None)
        await store.add([job(due_at=None, policies=unlimited)], runs=[_waiting("bad", args=(1,)), _waiting("good")])
        _alter(postgres_schema, "UPDATE SCHEMA.runs SET args = $1 WHERE id = 'bad'", b"\xff")
        assert [start.run.id for start in await store.start_pending("n", 10)] == ["good"]
        found = await store.get_run("bad")
        assert found is not None
        assert (found.state, "arguments" in (found.reason or "")) == ("failed", True)
        assert await store.next_wakeup() is None


async def test_waiting_runs_of_an_unreadable_job_wait_with_it_parked(postgres_schema: str) -> None:
    async with opened(postgres_schema) as store:
        await store.add([job(due_at=None)], runs=[_waiting("run")])
        _poison(postgres_schema, "job", "garbage policies")
        assert await store.start_pending("n", 10) == []
        assert await store.next_wakeup() is None
        assert await store.get_run("run") == _waiting("run")
        assert len(await store.parked()) == 1


async def test_recurring_jobs_are_decoded_once_and_edits_are_seen(postgres_schema: str) -> None:
    made = context(prefix="fired")
    async with opened(postgres_schema) as store, opened(postgres_schema, prefix="other") as other:
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


async def test_run_id_that_is_taken_parks_the_job(postgres_schema: str) -> None:
    async with opened(postgres_schema) as store:
        await store.add([job("a"), job("b", due_at=NOW + 1)])
        fired = await store.fire_due("n", 10, starting("n", lambda: "the same"))
        assert [start.job.id for start in fired.starts] == ["a"]
        assert [parked.job_id for parked in fired.parked] == ["b"]
        (kept,) = await store.get(["b"])
        assert "cannot be recorded" in (kept.reason or "")


async def test_enqueue_may_be_repeated(postgres_schema: str) -> None:
    async with opened(postgres_schema) as store:
        await store.add([job(due_at=None)], runs=[_waiting("run")])
        await store.enqueue([_waiting("run")])
        assert await store.query_runs() == [_waiting("run")]
