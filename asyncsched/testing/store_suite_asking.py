"""Checks of the store contract: runs that somebody asks for, what identifies them, and what tells of an instant."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from asyncsched.job import Policies
from asyncsched.run import RunError, RunRecord
from asyncsched.stores.base import Unique
from asyncsched.testing.store_suite_trial import (
    AHEAD,
    LEASE,
    SECOND,
    Check,
    Trial,
    found,
    ids,
    over,
    run_ids,
    same,
    store_check,
)

__all__ = ["ASKING_CHECKS"]

HOUR: Final = 3600 * SECOND
MANY: Final = Policies(max_instances=None, keep_runs=None)


@store_check
async def runs_keep_every_field(trial: Trial) -> None:
    """A row with every field set is read back equal: waiting, running, over, and after close and open."""
    await trial.store.add([trial.job(due=AHEAD, policies=MANY)])
    run = trial.run(
        at=-9,
        cause="chain",
        attempt=3,
        lost_count=1,
        snoozes=2,
        reason="attempt 3 failed",
        error=RunError("ValueError", "\u00fc", "traceback"),
        args=(1, "zwei"),
        kwargs={"drei": 3},
        limit_key="l:\u00fc",
        unique_key="\u00fc" * 100,
        unbound=True,
        parent="parent",
        input=b"\x00\xff",
        logs="first\n\U0001f570",
        started_at=trial.start - 20,
    )
    same(await trial.store.enqueue([run]), [run], "what stands for a new run is itself")
    same(await found(trial, run.id), run, "as it waits")
    (start,) = await trial.store.start_pending("node-a", 9)
    running = replace(run, state="running", attempt=4, node="node-a", started_at=start.run.started_at)
    same(start.run, running, "as it is claimed")
    fields: dict[str, Any] = {"snoozes": 3, "reason": "snoozed", "error": None, "logs": "second"}
    again = replace(running, state="pending", scheduled_time=trial.start - 1, **fields)
    await trial.store.finish([again])
    same(await found(trial, run.id), replace(again, node=None), "as it waits again")
    (start,) = await trial.store.start_pending("node-a", 9)
    error = RunError("ValueError", "no", "traceback")
    end = over(start.run, trial.start, state="failed", error=error, reason="x", result=b"\xff", logs="third")
    await trial.store.finish([end])
    await trial.store.close()
    await trial.store.open(trial.context)
    same(await found(trial, run.id), end, "as it is over")
    same(await trial.store.query_runs(), [end], "and among others")


@store_check
async def verdicts_can_be_added(trial: Trial) -> None:
    """``enqueue`` takes rows that are over already; they are neither waited for nor started, and added once."""
    await trial.store.add([trial.job(due=None, state="paused", policies=MANY)])
    fields: dict[str, Any] = {"state": "skipped", "reason": "queue_full", "finished_at": trial.start}
    rows = [
        trial.run(at=-9, cause="backfill", **fields),
        trial.run(at=-8, cause="schedule", until=trial.start - 5, count=None, **fields),
    ]
    same(await trial.store.enqueue(rows), rows, "they stand for themselves")
    same(await trial.store.next_wakeup(), None, "nothing waits")
    same(await trial.store.start_pending("node-a", 9), [], "nothing starts")
    same(await trial.store.enqueue(rows), rows, "adding them again changes nothing")
    same(await trial.store.query_runs(), [rows[1], rows[0]], "they are in the ledger, once")


@store_check
async def only_a_trigger_has_one_row_an_instant(trial: Trial) -> None:
    """Runs that were asked for may share an instant with a planned one and with each other; two planned ones may not."""
    await trial.started(trial.job(policies=MANY), following=-1)
    asked = [trial.run(cause=cause) for cause in ("manual", "backfill", "chain", "manual", "backfill", "chain")]
    await trial.store.enqueue(asked)
    same(len(await trial.store.query_runs(at=trial.start)), 7, "all of them are there")
    fired = await trial.fire_all(trial.deciding(fire_time=trial.start, cause="catchup", state="pending"))
    same(len(fired.parked), 1, "a second planned row parks the job")


async def _asked(trial: Trial, unique: Unique, key: str | None = "k", *, at: int = 0) -> tuple[str, str]:
    """Ask for a run; return its id and that of the row which stands for it."""
    run = trial.run(at=at, unique_key=key)
    (row,) = await trial.store.enqueue([run], unique)
    return run.id, row.id


@store_check
async def uniqueness_keeps(trial: Trial) -> None:
    """With ``keep`` a run of the same key stands for the new one, in whatever state, unless it is old or cancelled."""
    unique = Unique(HOUR)
    await trial.store.add([trial.job(due=AHEAD, policies=MANY), trial.job("other", due=AHEAD)])
    first, stands = await _asked(trial, unique)
    same(stands, first, "a new one stands for itself")
    same((await _asked(trial, unique))[1], first, "one that waits stands for another")
    (start,) = await trial.store.start_pending("node-a", 9)
    same((await _asked(trial, unique))[1], first, "one that runs does")
    await trial.store.finish([over(start.run, trial.start, state="failed")])
    same((await _asked(trial, unique))[1], first, "one that is over does")
    elsewhere = trial.run("other", unique_key="k")
    same(ids(await trial.store.enqueue([elsewhere], unique)), [first], "a key is the same for every job")
    for key in ("K", None, None):
        run_id, stands = await _asked(trial, unique, key)
        same(stands, run_id, "another key, or none, is nobody else's")
    twice = [trial.run(at=9, unique_key="new"), trial.run(at=9, unique_key="new")]
    same(ids(await trial.store.enqueue(twice, unique)), [twice[0].id] * 2, "also within one call")
    same(len(await trial.store.query_runs()), 5, "nothing was added for those that others stand for")


@store_check
async def uniqueness_ends(trial: Trial) -> None:
    """What is older than the window or was cancelled does not count; what is older than a cancelled one may."""
    await trial.store.add([trial.job(due=AHEAD, policies=MANY)])
    first, _ = await _asked(trial, Unique(HOUR), at=-HOUR // 2)
    same((await _asked(trial, Unique(HOUR)))[1], first, "within the window it counts")
    run_id, stands = await _asked(trial, Unique(HOUR // 4))
    same(stands, run_id, "before the window it does not")
    await trial.store.cancel_pending(run_id)
    same((await _asked(trial, Unique(HOUR)))[1], first, "a cancelled one does not stand before an older one")
    await trial.store.cancel_pending(first)
    run_id, stands = await _asked(trial, Unique(HOUR))
    same(stands, run_id, "with all of them cancelled a new one is added")
    plain = trial.run(unique_key="k")
    same(ids(await trial.store.enqueue([plain])), [plain.id], "nobody asked for uniqueness")


@store_check
async def uniqueness_replaces(trial: Trial) -> None:
    """With ``replace`` one that waits for its first attempt is cancelled; any other is left alone."""
    unique = Unique(HOUR, "replace")
    await trial.store.add([trial.job(due=AHEAD, policies=MANY)])
    first, _ = await _asked(trial, unique)
    second, stands = await _asked(trial, unique)
    same(stands, second, "the new one is added")
    same(await trial.states(first, second), ["cancelled", "pending"], "in the place of the old")
    (start,) = await trial.store.start_pending("node-a", 9)
    await trial.store.finish([replace(start.run, state="pending", scheduled_time=trial.start + AHEAD)])
    third, _ = await _asked(trial, unique)
    same(await trial.states(second, third), ["pending", "pending"], "one that waits for another attempt goes on")
    same(run_ids(await trial.store.start_pending("node-a", 9)), [third], "the new one starts")
    fourth, _ = await _asked(trial, unique)
    same(await trial.states(third, fourth), ["running", "pending"], "and so does one that runs")


@store_check
async def uniqueness_puts_off(trial: Trial) -> None:
    """With ``debounce`` one that waits for its first attempt is put off by a window; a new one begins after one."""
    window = 2 * LEASE
    unique = Unique(window, "debounce")
    await trial.store.add([trial.job(due=AHEAD, policies=MANY)])

    async def ask() -> RunRecord:
        before = await trial.store.now()
        (row,) = await trial.store.enqueue([trial.run(unique_key="k", fire_time=before, scheduled_time=before)], unique)
        after = await trial.store.now()
        same(before + window <= row.scheduled_time <= after + window, True, "it begins one window from now")
        same(await found(trial, row.id), row, "what is returned is what is stored")
        return row

    first = await ask()
    await trial.pass_time(LEASE // 4)
    put_off = await ask()
    same((put_off.id, put_off.scheduled_time > first.scheduled_time), (first.id, True), "the old one, later")
    same(put_off, replace(first, scheduled_time=put_off.scheduled_time), "and otherwise as it was")
    same(await trial.store.next_wakeup(), put_off.scheduled_time, "it is waited for at its new time")
    same(await trial.store.start_pending("node-a", 9), [], "and not started before")
    await trial.pass_time(window)
    same(run_ids(await trial.store.start_pending("node-a", 9)), [first.id], "after the window it starts")
    same((await ask()).id != first.id, True, "one that runs is not put off: another is added")
    (late,) = await trial.store.enqueue([trial.run(at=AHEAD, unique_key="late")], unique)
    same(late.scheduled_time, trial.start + AHEAD, "one that begins later anyway is not brought forward")


@store_check
async def around_tells_of_an_instant(trial: Trial) -> None:
    """``around``: of each revision the newest planned row up to the instant, and the newest 20 of any cause."""
    await trial.store.add([trial.job(due=AHEAD, policies=MANY), trial.job("other", due=AHEAD, policies=MANY)])
    fields: dict[str, Any] = {"state": "skipped", "finished_at": trial.start}
    manual = [trial.run(at=at, cause="manual" if at % 2 else "chain", **fields) for at in range(-60, -30)]
    planned = [
        trial.run(at=-99, cause="schedule", **fields),
        trial.run(at=-98, cause="catchup", until=trial.start - 61, count=38, **fields),
        trial.run(at=-25, cause="schedule", revision=2, **fields),
        trial.run(at=-24, cause="schedule", revision=2),
        trial.run(at=-20, cause="schedule", revision=2, **fields),
        trial.run(at=-10, cause="schedule", revision=3, **fields),
    ]
    await trial.store.enqueue([*manual, *planned, trial.run("other", at=-40, **fields)])
    rows = await trial.store.around("job", trial.start - 24)
    expected = [planned[1], *manual[10:], *planned[2:4]]
    same(sorted(ids(rows)), sorted(ids(expected)), "of each revision what was there, each once, the instant included")
    same({row.id: row for row in rows}, {row.id: row for row in expected}, "as they are stored")
    same(await trial.store.around("nobody", trial.start), [], "of an unknown job there is nothing")
    same(await trial.store.around("job", trial.start - 100), [], "nor before the first row")


ASKING_CHECKS: Final[Sequence[Check]] = (
    runs_keep_every_field,
    verdicts_can_be_added,
    only_a_trigger_has_one_row_an_instant,
    uniqueness_keeps,
    uniqueness_ends,
    uniqueness_replaces,
    uniqueness_puts_off,
    around_tells_of_an_instant,
)
