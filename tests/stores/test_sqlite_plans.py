"""How SQLite finds what is due: by index, whatever sleeps beside it."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncsched._engine.limiting import LimitRow
from asyncsched.job import Policies
from asyncsched.run import RunRecord
from asyncsched.stores import (
    sqlite_enqueue,
    sqlite_firing,
    sqlite_jobs,
    sqlite_ledger,
    sqlite_limits,
    sqlite_nodes,
    sqlite_outcomes,
    sqlite_waiting,
)
from asyncsched.stores.base import Foreign
from asyncsched.stores.sqlite_jobs import add, finished
from asyncsched.stores.sqlite_session import DEFINITIONS, RUNS, STATES, Session, levels, passing_over
from tests.stores.sqlite_support import NOW, SECOND, context, job, starting

SLEEPING = 50_000
FOREIGN = Foreign(tasks=("m:other", "m:third"), executors=("gpu",))
FAR = NOW * 2


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Session(tmp_path_factory.mktemp("plans") / "jobs.db", context())
    connection = made.connect("OFF", 1.0)
    add(made, [job(f"sleeping-{number:06}", due_at=FAR + number) for number in range(SLEEPING)], None, ())
    yield made
    connection.close()


def _plan(session: Session, statement: str) -> str:
    parameters = (None,) * 510
    for count in range(510):
        try:
            rows = session.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters[:count]).fetchall()
        except sqlite3.ProgrammingError:  # that was not how many it takes
            continue
        return "\n".join(row[3] for row in rows)
    raise AssertionError(statement)


def _but_foreign(statement: str, number: str) -> str:
    return passing_over(FOREIGN, statement, number)[0]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (sqlite_firing._DUE_LEVEL, "jobs_due"),
        (sqlite_firing._DUE_FIRST, "jobs_due"),
        (sqlite_firing._DUE, "jobs_due"),
        (sqlite_waiting._WAITING_LEVEL, "runs_pending"),
        (sqlite_waiting._WAITING_FIRST, "runs_pending"),
        (sqlite_waiting._WAITING, "runs_pending"),
        (_but_foreign(sqlite_firing._DUE_FIRST, sqlite_firing._DUE_JOB), "jobs_due"),
        (_but_foreign(sqlite_firing._DUE, sqlite_firing._DUE_JOB), "jobs_due"),
        (_but_foreign(sqlite_waiting._WAITING_FIRST, sqlite_waiting._JOB_OF_RUN), "runs_pending"),
        (_but_foreign(sqlite_waiting._WAITING, sqlite_waiting._JOB_OF_RUN), "runs_pending"),
        (sqlite_waiting._HELD_BACK_FIRST, "runs_held_back"),
        (sqlite_waiting._HELD_BACK_DUE, "runs_held_back"),
        (sqlite_waiting._MANY_FIRST, "runs_held_back"),
        (sqlite_waiting._MANY_DUE, "runs_held_back"),
        (sqlite_waiting._FULL.format(sqlite_waiting._HOLDING), "runs_again"),
        (sqlite_waiting._TAKEN, "runs_waiting"),
        (sqlite_limits._LANES, "runs_held_back"),
        (sqlite_limits._RUNNING, "runs_running"),
        (sqlite_limits._BUCKETS.replace("{}", "?, ?"), "PRIMARY KEY"),
        (sqlite_firing._HOLDING[0], "runs_running"),
        (sqlite_firing._HOLDING[1], "runs_waiting"),
        (sqlite_enqueue._OF_LATE, "runs_unique"),
        (f"{sqlite_ledger._COVERING} ORDER BY r.fire_time DESC, r.number DESC LIMIT ?", "runs_fire"),
        (sqlite_ledger._AROUND, "runs_fire"),
        (sqlite_ledger._PRUNE_BUCKETS, "buckets_full"),
        (sqlite_firing._RUNNING_COUNTS.replace("{}", "?, ?"), "runs_running"),
        (sqlite_firing._PENDING_COUNTS.replace("{}", "?, ?"), "runs_waiting"),
        (sqlite_outcomes._FINISH, "sqlite_autoindex_runs_1"),
        (sqlite_outcomes._END, "sqlite_autoindex_runs_1"),
        (sqlite_outcomes._ENDED_SO, "sqlite_autoindex_runs_1"),
        (sqlite_nodes._ORPHANS, "runs_running"),
        (sqlite_outcomes._ASK_TO_CANCEL, "sqlite_autoindex_runs_1"),
        (sqlite_outcomes._ASKED, "runs_cancel_asked"),
        (sqlite_nodes._ALL_ASKED, "runs_cancel_asked"),
        (sqlite_nodes._FORGET_ASKED, "runs_cancel_asked"),
        (sqlite_nodes._NODES, "runs_running"),
        (sqlite_ledger._PRUNE_JOB, "runs_fire"),
        (sqlite_ledger._PRUNE_OLD, "runs_newest"),
        (sqlite_jobs._PARKED, "jobs_parked"),
        (f"{STATES} WHERE j.id IN (?, ?)", "sqlite_autoindex_jobs_1"),
        (f"{DEFINITIONS} WHERE number IN (?, ?)", "PRIMARY KEY"),
        (f"{RUNS} ORDER BY r.fire_time DESC, r.number DESC LIMIT ?", "runs_newest"),
        (f"{RUNS} WHERE r.job_id = ? ORDER BY r.fire_time DESC, r.number DESC LIMIT ?", "runs_fire"),
        ("SELECT job_id, max(revision) FROM runs WHERE job_id IN (?, ?) GROUP BY job_id", "runs_fire"),
    ],
)
def test_statements_use_their_index(session: Session, statement: str, index: str) -> None:
    plan = _plan(session, statement)
    assert index in plan
    assert "SCAN jobs" not in plan
    # What holds a slot is looked through: as many rows as runs run, or wait for another attempt.
    assert "SCAN runs" not in re.sub(f"SCAN runs USING (COVERING )?INDEX ({index}|runs_running|runs_again)", "", plan)
    assert "SCAN j\n" not in f"{plan}\n".replace(f"SCAN j USING INDEX {index}", "")
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan or "job_id" in statement


def _steps(session: Session, call: Any) -> int:
    """Return the work that SQLite does for a call, in hundreds of instructions of its machine."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    session.connection.set_progress_handler(count, 100)
    call()
    session.connection.set_progress_handler(None, 0)
    return steps


def test_sleeping_jobs_cost_nothing(session: Session, tmp_path: Path) -> None:
    small = Session(tmp_path / "jobs.db", context())
    connection = small.connect("OFF", 1.0)
    add(small, [job(f"sleeping-{number:06}", due_at=FAR + number) for number in range(50)], None, ())
    work: list[int] = []
    for each in (small, session):
        add(each, [job(f"due-{number}", due_at=NOW - number) for number in range(20)], None, ())
        work.append(_steps(each, lambda each=each: sqlite_waiting.next_wakeup(each)))
        work.append(_steps(each, lambda each=each: sqlite_waiting.next_wakeup(each, FOREIGN)))
        work.append(_steps(each, lambda each=each: sqlite_firing.fire_due(each, "n", 10, starting("n"), FOREIGN)))
        work.append(_steps(each, lambda each=each: sqlite_firing.fire_due(each, "n", 500, starting("n"))))
    connection.close()
    assert work[4:] == pytest.approx(work[:4], abs=2)


def test_priorities_cost_a_seek_each(session: Session) -> None:
    records = [job(f"level-{level}", due_at=NOW + SECOND, policies=Policies(priority=level)) for level in range(10)]
    add(session, records, None, ())
    assert list(levels(session, sqlite_firing._DUE_LEVEL)) == list(range(9, -1, -1))
    assert _steps(session, lambda: sqlite_waiting.next_wakeup(session)) < 10
    assert finished(session, [record.id for record in records]) == []


def test_long_queue_behind_one_slot_is_not_walked_through(tmp_path: Path) -> None:
    session = Session(tmp_path / "jobs.db", context())
    connection = session.connect("OFF", 1.0)
    add(session, [job("long", due_at=None), job("other", due_at=None)], None, ())
    sqlite_enqueue.enqueue(session, [waiting("long", number) for number in range(5000)])
    sqlite_enqueue.enqueue(session, [waiting("other", 6000)])
    started = [sqlite_waiting.start_pending(session, "n", 100) for _ in range(3)]
    assert [[start.job.id for start in starts] for starts in started] == [["long"], ["other"], []]
    assert sqlite_waiting.next_wakeup(session) is None
    connection.close()


def waiting(job_id: str, number: int) -> RunRecord:
    instant = NOW + number
    return RunRecord(
        id=f"{job_id}-{number}", job_id=job_id, revision=1, fire_time=instant, scheduled_time=instant, state="pending"
    )


def test_long_queue_behind_a_full_limit_is_not_walked_through(tmp_path: Path) -> None:
    work: list[list[int]] = []
    for length in (50, 5000):
        session = Session(tmp_path / f"{length}.db", context())
        connection = session.connect("OFF", 1.0)
        sqlite_limits.set_limits(session, [LimitRow("api", concurrency=1), LimitRow("mail", count=1, period=FAR)])
        policies = Policies(max_instances=None)
        add(session, [job(name, due_at=None, policies=policies) for name in ("long", "other")], None, ())
        for key in ("api", "mail"):
            queue = [replace(waiting("long", number), id=f"{key}-{number}", limit_key=key) for number in range(length)]
            sqlite_enqueue.enqueue(session, [replace(run, cause="manual") for run in queue])
        sqlite_enqueue.enqueue(session, [waiting("other", 2 * length)])
        started = sqlite_waiting.start_pending(session, "n", 100)
        assert [start.run.id for start in started] == ["api-0", "mail-0", f"other-{2 * length}"]
        steps = [
            _steps(session, lambda session=session: sqlite_waiting.start_pending(session, "n", 100)),
            _steps(session, lambda session=session: sqlite_waiting.next_wakeup(session)),
        ]
        assert sqlite_waiting.start_pending(session, "n", 100) == []
        work.append(steps)
        connection.close()
    assert work[0] == pytest.approx(work[1], abs=3)


@pytest.mark.parametrize("keys", [40, 700])
def test_runs_start_in_order_however_many_keys_they_wait_at(tmp_path: Path, keys: int) -> None:
    session = Session(tmp_path / "jobs.db", context())
    connection = session.connect("OFF", 1.0)
    sqlite_limits.set_limits(session, [LimitRow("api", concurrency=1, key="{tenant}")])
    for name, priority in {"low": 0, "high": 1}.items():
        add(session, [job(name, due_at=None, policies=Policies(max_instances=None, priority=priority))], None, ())
        runs = [replace(waiting(name, number), limit_key=f"api:{number % keys}") for number in range(keys + 200)]
        sqlite_enqueue.enqueue(session, [replace(run, cause="manual") for run in runs])
    sqlite_enqueue.enqueue(session, [replace(waiting("low", 1), id="free", cause="manual")])
    started = [start.run.id for start in sqlite_waiting.start_pending(session, "n", keys - 10)]
    assert started == [f"high-{number}" for number in range(keys - 10)]
    assert sqlite_waiting.next_wakeup(session) == NOW + 1
    started = [start.run.id for start in sqlite_waiting.start_pending(session, "n", keys)]
    assert started == [*(f"high-{number}" for number in range(keys - 10, keys)), "free"]
    assert sqlite_waiting.start_pending(session, "n", keys) == []
    assert sqlite_waiting.next_wakeup(session) is None
    connection.close()


def test_an_instant_is_looked_up_by_seeks(tmp_path: Path) -> None:
    work: list[list[int]] = []
    for length in (100, 10_000):
        session = Session(tmp_path / f"{length}.db", context())
        connection = session.connect("OFF", 1.0)
        add(session, [job("job")], None, ())
        planned = [replace(waiting("job", number), state="succeeded") for number in range(1, length)]
        asked = [replace(run, id=f"asked-{run.id}", cause="manual", fire_time=NOW + length) for run in planned]
        paused = replace(waiting("job", 0), id="range", state="skipped", fire_time=NOW - 10, until=NOW - 5)
        edited = replace(waiting("job", 0), id="edited", revision=2, state="succeeded", fire_time=NOW)
        sqlite_enqueue.enqueue(session, [*planned, *asked, paused, edited])
        at, within = NOW + length // 2, NOW - 7
        (exact,) = sqlite_ledger.query_runs(session, "job", None, None, at, 100)
        (covering,) = sqlite_ledger.query_runs(session, "job", None, None, within, 100)
        assert (exact.fire_time, covering.id) == (at, "range")
        assert len(sqlite_ledger.around(session, "job", at)) == 21
        told = {run.id for run in sqlite_ledger.around(session, "job", NOW + length)}
        assert {f"job-{length - 1}", "edited"} < told
        assert len(told) == 22
        work.append(
            [
                _steps(
                    session, lambda session=session, at=at: sqlite_ledger.query_runs(session, "job", None, None, at, 9)
                ),
                _steps(
                    session, lambda session=session: sqlite_ledger.query_runs(session, "job", None, None, NOW - 7, 9)
                ),
                _steps(session, lambda session=session, at=at: sqlite_ledger.around(session, "job", at)),
                _steps(session, lambda session=session: sqlite_ledger.around(session, "job", FAR)),
            ]
        )
        connection.close()
    assert work[0] == pytest.approx(work[1], abs=3)
