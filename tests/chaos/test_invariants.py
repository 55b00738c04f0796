"""Each invariant accepts a sound history and names what is wrong with a broken one."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from tests.chaos import invariants
from tests.chaos.evidence import Evidence, Look
from tests.chaos.invariants import INVARIANTS, Check
from tests.chaos.jobs import EDITED, MAX_LOST, RECURRING
from tests.chaos.witness import Line

START: Final = 1_800_000_000_000_000
LEASE: Final = 2_000_000
PLAIN: Final = RECURRING[0]
STEP: Final = PLAIN.every_ms * 1000


def instant(number: int) -> int:
    """The instants of the first job, from 1."""
    return START + number * STEP


def row(number: int, **changes: Any) -> RunRecord:
    """A run of the first job's, done as it should be."""
    sound = RunRecord(
        id=f"run-{number}",
        job_id=PLAIN.id,
        revision=1,
        fire_time=instant(number),
        scheduled_time=instant(number),
        state="succeeded",
        attempt=1,
        node="node-a",
    )
    return replace(sound, **changes)


def job(definition: str = PLAIN.id, **changes: Any) -> JobRecord:
    [found] = [one for one in RECURRING if one.id == definition]
    first = found.trigger.next_us(START)
    record = JobRecord(id=definition, task="work", name="", executor="async", trigger=found.trigger,
                       written=found.trigger, policies=Policies(), added_at=START, next_fire=first)  # fmt: skip
    return replace(record, **changes)


class History:
    """Puts evidence together; sound until something is done to it."""

    def __init__(self, rows: int = 3) -> None:
        self.lines: list[Line] = []
        self.rows = [row(number) for number in range(1, rows + 1)]
        self.jobs = [job(one.id) for one in RECURRING if one.id != PLAIN.id]
        self.jobs.append(job(next_fire=instant(rows + 1)))
        self.looks: list[Look] = []
        self.rest: dict[str, Any] = {}
        self.say("LEASE", "node-a", START, at=START, pid=1)
        for number in range(1, rows + 1):
            self.attempt(f"run-{number}", at=instant(number))

    def say(self, word: str, *arguments: object, at: int, pid: int) -> None:
        self.lines.append(Line(0, at, pid, word, tuple(map(str, arguments))))

    def attempt(self, run: str, number: int = 1, *, at: int, node: str = "node-a", pid: int = 1,
                job_id: str = PLAIN.id, is_done: bool = True) -> None:  # fmt: skip
        self.say("BEGIN", run, number, job_id, node, at=at, pid=pid)
        if is_done:
            self.say("END", run, number, job_id, node, at=at + 10, pid=pid)
            self.say("DONE", run, number, "succeeded", at=at + 20, pid=pid)

    def evidence(self) -> Evidence:
        looks = [*self.looks, Look(self.rows, self.jobs)]
        return Evidence(lines=self.lines, looks=looks, lease_us=LEASE, **self.rest)


Break = Callable[[History], None]


def test_a_sound_history_breaks_nothing() -> None:
    assert [sentence for check in INVARIANTS for sentence in check(History().evidence())] == []


def a_gap(history: History) -> None:
    del history.rows[1]


def an_instant_twice(history: History) -> None:
    history.rows.append(row(2, id="run-x", revision=2))


def a_range_that_is_miscounted(history: History) -> None:
    history.rows[1:] = [row(2, state="coalesced", until=instant(3), count=3)]


def a_first_instant_that_is_missing(history: History) -> None:
    del history.rows[0]


def a_last_instant_that_is_missing(history: History) -> None:
    del history.rows[-1]


def a_job_that_is_gone(history: History) -> None:
    history.jobs = [one for one in history.jobs if one.id != PLAIN.id]


def a_gap_in_a_revision(history: History) -> None:
    history.say("EDIT", EDITED, 5, 200, START, at=START, pid=1)
    history.rows += [row(number, id=f"edited-{number}", job_id=EDITED, revision=5) for number in (1, 3)]


def an_accepted_job_without_a_run(history: History) -> None:
    history.say("ACCEPT", "job", "once-retry-x-0", at=START, pid=1)


def an_accepted_run_that_is_gone(history: History) -> None:
    history.say("ACCEPT", "run", "run-9", at=START, pid=1)


def a_failed_run(history: History) -> None:
    history.rows[1] = row(2, state="failed")


def a_run_given_up_that_is_to_be_retried(history: History) -> None:
    history.rows[1] = row(2, state="lost", lost_count=MAX_LOST)


def a_fire_twice(history: History) -> None:
    history.rows.append(row(2, id="run-x"))


def a_one_shot_with_two_runs(history: History) -> None:
    history.rows += [row(5, id="x", job_id="once-retry-a-0"), row(6, id="y", job_id="once-retry-a-0")]


def an_early_start(history: History) -> None:
    history.rows[1] = row(2, scheduled_time=instant(2) + 1)


def a_second_attempt_beside_the_first(history: History) -> None:
    history.say("LEASE", "node-b", instant(4), at=instant(4), pid=2)
    history.attempt("run-4", 1, at=instant(4), is_done=False)
    history.attempt("run-4", 2, at=instant(4) + 10, node="node-b", pid=2)


def a_second_attempt_after_the_first_one_ended(history: History) -> None:
    history.say("LEASE", "node-b", instant(4), at=instant(4), pid=2)
    history.say("BEGIN", "run-4", 1, PLAIN.id, "node-a", at=instant(4), pid=1)
    history.say("END", "run-4", 1, PLAIN.id, "node-a", at=instant(4) + 5, pid=1)
    history.attempt("run-4", 2, at=instant(4) + 10, node="node-b", pid=2)


def an_attempt_that_goes_back(history: History) -> None:
    history.attempt("run-4", 2, at=instant(4))
    history.attempt("run-4", 1, at=instant(4) + 100)


def an_attempt_that_is_begun_twice(history: History) -> None:
    history.attempt("run-4", 1, at=instant(4))
    history.attempt("run-4", 1, at=instant(4) + LEASE * 2, pid=2)


def a_completion_twice(history: History) -> None:
    history.say("DONE", "run-2", 1, "succeeded", at=instant(4), pid=2)


def a_completion_by_another_attempt(history: History) -> None:
    history.rows[1] = row(2, attempt=2)


def an_attempt_after_the_completion(history: History) -> None:
    history.attempt("run-2", 2, at=instant(4))


def a_success_without_witness(history: History) -> None:
    history.lines = [line for line in history.lines if not (line.word == "END" and "run-2" in line.arguments)]


def a_job_twice_at_once(history: History) -> None:
    history.attempt("run-4", at=instant(4), is_done=False)
    history.attempt("run-5", at=instant(5), is_done=False)


def too_many_in_one_process(history: History) -> None:
    for number in range(Evidence([], []).max_concurrent_runs + 1):
        history.attempt(f"once-{number}", at=instant(4), job_id=f"once-retry-{number}", is_done=False)


def a_run_twice_in_one_process(history: History) -> None:
    history.attempt("run-4", 1, at=instant(4), is_done=False)
    history.attempt("run-4", 2, at=instant(4) + LEASE * 2, node="node-b", is_done=False)


def a_next_fire_that_goes_back(history: History) -> None:
    history.looks = [Look([], [job(next_fire=instant(9))])]


def a_fire_from_before_an_edit(history: History) -> None:
    history.say("EDIT", EDITED, 5, 200, instant(2), at=instant(2), pid=1)
    history.rows.append(row(1, id="edited-1", job_id=EDITED, revision=5))


def an_over_run_that_goes_on(history: History) -> None:
    history.looks = [Look([row(2, state="lost")], [])]


def a_run_that_was_never_started_and_then_skipped(history: History) -> None:
    history.looks = [Look([row(2, state="running")], [])]
    history.rows[1] = row(2, state="skipped")


def an_attempt_of_the_ledger_that_goes_back(history: History) -> None:
    history.looks = [Look([row(2, state="running", attempt=2)], [])]


def a_row_that_goes(history: History) -> None:
    history.looks = [Look([row(9)], [])]


def an_end_without_a_beginning(history: History) -> None:
    history.say("EVENT", "JobExecuted", "run-2", 1, at=instant(4), pid=1)


def an_end_twice(history: History) -> None:
    history.say("EVENT", "JobSubmitted", "run-2", 1, at=instant(4), pid=1)
    history.say("EVENT", "JobExecuted", "run-2", 1, at=instant(4), pid=1)
    history.say("EVENT", "JobExecuted", "run-2", 1, at=instant(4), pid=1)


def an_end_that_the_ledger_does_not_have(history: History) -> None:
    history.say("EVENT", "JobLost", "run-2", 1, at=instant(4), pid=1)


def a_node_that_is_left(history: History) -> None:
    history.rest["nodes"] = ["node-a"]


def a_run_that_is_left(history: History) -> None:
    history.rows[1] = row(2, state="running")


def a_file_that_is_left(history: History) -> None:
    history.rest["leftovers"] = ["jobs.db-wal is still there"]


def something_due(history: History) -> None:
    history.rest["overdue"] = ["something is due"]


def a_process_that_ended(history: History) -> None:
    history.rest["strays"] = ["a process ended by itself"]


def a_fragile_run_begun_twice(history: History) -> None:
    history.attempt("once", 1, at=instant(4), job_id="once-fail-a")
    history.attempt("once", 2, at=instant(5), job_id="once-fail-a")
    history.rows.append(row(4, id="once", job_id="once-fail-a", attempt=2, lost_count=1))


def a_run_lost_by_the_living(history: History) -> None:
    history.rows[1] = row(2, state="lost", lost_count=1, finished_at=instant(3))


def more_attempts_than_deaths(history: History) -> None:
    history.attempt("run-3", 2, at=instant(4))


BROKEN: Final[dict[Break, Check]] = {
    a_gap: invariants.i1_every_instant_has_its_verdict,
    an_instant_twice: invariants.i1_every_instant_has_its_verdict,
    a_range_that_is_miscounted: invariants.i1_every_instant_has_its_verdict,
    a_first_instant_that_is_missing: invariants.i1_every_instant_has_its_verdict,
    a_last_instant_that_is_missing: invariants.i1_every_instant_has_its_verdict,
    a_job_that_is_gone: invariants.i1_every_instant_has_its_verdict,
    a_gap_in_a_revision: invariants.i1_every_revision_is_without_gaps,
    an_accepted_job_without_a_run: invariants.i1_what_was_accepted_is_there,
    an_accepted_run_that_is_gone: invariants.i1_what_was_accepted_is_there,
    a_failed_run: invariants.i1_nothing_ends_without_cause,
    a_run_given_up_that_is_to_be_retried: invariants.i1_nothing_ends_without_cause,
    a_fire_twice: invariants.i2_no_fire_is_doubled,
    a_one_shot_with_two_runs: invariants.i2_no_fire_is_doubled,
    an_early_start: invariants.i3_nothing_starts_early,
    a_second_attempt_beside_the_first: invariants.i4_attempts_do_not_overlap,
    a_second_attempt_after_the_first_one_ended: invariants.i4_nothing_is_taken_from_the_living,
    an_attempt_that_goes_back: invariants.i5_attempts_increase,
    an_attempt_that_is_begun_twice: invariants.i5_attempts_increase,
    a_completion_twice: invariants.i6_a_run_completes_once,
    a_completion_by_another_attempt: invariants.i6_a_run_completes_once,
    an_attempt_after_the_completion: invariants.i6_nothing_begins_after_completion,
    a_success_without_witness: invariants.i6_what_succeeded_was_witnessed,
    a_job_twice_at_once: invariants.i7_limits_hold,
    too_many_in_one_process: invariants.i8_nodes_keep_to_their_bound,
    a_run_twice_in_one_process: invariants.i8_nodes_keep_to_their_bound,
    a_next_fire_that_goes_back: invariants.i9_next_fire_increases,
    a_fire_from_before_an_edit: invariants.i10_no_fire_from_before_an_edit,
    a_run_that_was_never_started_and_then_skipped: invariants.i11_states_follow_one_another,
    an_attempt_of_the_ledger_that_goes_back: invariants.i11_states_follow_one_another,
    an_over_run_that_goes_on: invariants.i12_what_is_over_stays,
    a_row_that_goes: invariants.i12_what_is_over_stays,
    an_end_without_a_beginning: invariants.i13_events_tell_what_happened,
    an_end_twice: invariants.i13_events_tell_what_happened,
    an_end_that_the_ledger_does_not_have: invariants.i13_events_tell_what_happened,
    a_node_that_is_left: invariants.i14_no_lease_is_left,
    a_run_that_is_left: invariants.i14_no_lease_is_left,
    a_file_that_is_left: invariants.i15_nothing_is_held,
    something_due: invariants.i16_nothing_due_is_left,
    a_fragile_run_begun_twice: invariants.promise_starts_are_bounded,
    more_attempts_than_deaths: invariants.promise_starts_are_bounded,
    a_run_lost_by_the_living: invariants.promise_only_the_dead_lose_runs,
    a_process_that_ended: invariants.promise_processes_live,
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_history_is_noticed(broken: Break) -> None:
    history = History()
    broken(history)
    assert list(BROKEN[broken](history.evidence()))


def test_every_invariant_is_tried() -> None:
    assert set(BROKEN.values()) == set(INVARIANTS)


def test_what_a_dead_or_frozen_node_did_is_excused() -> None:
    history = History()
    history.say("LEASE", "node-b", instant(4), at=instant(4), pid=2)
    history.say("LEASE", "node-c", instant(4), at=instant(4), pid=3)
    history.attempt("run-4", 1, at=instant(4), node="node-b", pid=2, is_done=False)
    history.say("KILL", at=instant(4) + 5, pid=2)
    history.attempt("run-4", 2, at=instant(4) + 10, node="node-c", pid=3, is_done=False)
    later = instant(4) + 10 + LEASE
    history.say("LEASE", "node-a", later, at=later, pid=1)
    history.attempt("run-4", 3, at=later)
    history.say("END", "run-4", 2, PLAIN.id, "node-c", at=later + 50, pid=3)
    history.rows.append(row(4, attempt=3, lost_count=2))
    history.jobs[-1] = job(next_fire=instant(5))
    assert [sentence for check in INVARIANTS for sentence in check(history.evidence())] == []
