"""Several processes on one SQLite file: each fire once, limits exact, the dead and the frozen taken over."""

import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.faults.processes import ledger, program, run_program, wait_for_line, wait_until, witnessed


def _most_at_once(lines: list[tuple[str, str]]) -> int:
    """Return the largest number of runs that had begun and not ended, in the order of the witness."""
    open_runs: set[str] = set()
    most = 0
    for word, run_id in lines:
        (open_runs.add if word == "BEGIN" else open_runs.discard)(run_id)
        most = max(most, len(open_runs))
    return most


def test_each_fire_happens_once_within_the_limit_also_when_a_process_is_killed(tmp_path: Path) -> None:
    database, lines = tmp_path / "jobs.db", tmp_path / "witness"
    assert run_program("witness.py", database, lines).returncode == 0  # makes the file
    common = (database, lines, "--hold", "--length", 0.03, "--lease", 2)
    beat = ("--every", 0.02, "--max-instances", 2, "--overlap", "queue_all")
    with ExitStack() as stack:
        first = stack.enter_context(program("witness.py", *common, *beat, "--jobs", 200))
        wait_for_line(first, "ready")
        others = [stack.enter_context(program("witness.py", *common)) for _ in range(2)]
        for other in others:
            wait_for_line(other, "ready")
        wait_until(lambda: len({line.pid for line in witnessed(lines)}) == 3)
        others[0].kill()
        killed_pid = others[0].pid
        before = len(witnessed(lines))
        wait_until(lambda: len(witnessed(lines)) > before + 100)
        for process in (first, others[1]):
            _out, err = process.communicate(input="\n", timeout=30)
            assert process.returncode == 0, err
    assert run_program("witness.py", database, lines, "--every", 3600).returncode == 0
    runs, seen = ledger(database), witnessed(lines)
    fires = Counter((run.job_id, run.fire_time) for run in runs)
    assert set(fires.values()) == {1}
    assert {run.state for run in runs} <= {"succeeded", "pending", "coalesced", "skipped", "cancelled"}
    once = Counter(line.run_id for line in seen if line.word == "END")
    again = {run.id for run in runs if run.attempt > 1}
    assert {run_id for run_id, count in once.items() if count > 1} <= again
    assert len([run for run in runs if run.job_id.startswith("job-") and run.state == "succeeded"]) == 200
    cut = {line.run_id for line in seen if line.pid == killed_pid} - {
        line.run_id for line in seen if line.pid == killed_pid and line.word == "END"
    }
    beats = [(line.word, line.run_id) for line in seen if line.job_id == "beat" and line.run_id not in cut]
    assert 1 <= _most_at_once(beats) <= 2


def test_a_frozen_node_is_taken_over_and_comes_back_under_a_new_id(tmp_path: Path) -> None:
    database, lines = tmp_path / "jobs.db", tmp_path / "witness"
    with program(
        "witness.py", database, lines, "--hold", "--jobs", 1, "--length", 4, "--lease", 2, "--max-lost", 9
    ) as frozen:
        wait_for_line(frozen, "ready")
        wait_until(lambda: len(witnessed(lines)) == 1)
        frozen.send_signal(signal.SIGSTOP)
        with program("witness.py", database, lines, "--hold", "--lease", 2, "--length", 0.1) as other:
            wait_until(lambda: [line.attempt for line in witnessed(lines) if line.word == "END"] == [2])
            other.communicate(input="\n", timeout=30)
        frozen.send_signal(signal.SIGCONT)
        more = run_program  # it works on: what another process adds now, it runs
        assert more("witness.py", database, lines, "--jobs", 1, "--prefix", "later", "--hold").returncode == 0
        wait_until(lambda: any(line.word == "END" and line.job_id == "later-0000" for line in witnessed(lines)))
        _out, err = frozen.communicate(input="\n", timeout=30)
        assert frozen.returncode == 0
        assert "is lost: it was given up by another node" in err
    states = {run.job_id: (run.state, run.attempt) for run in ledger(database)}
    assert states["job-0000"] == ("succeeded", 2)
    assert states["later-0000"][0] == "succeeded"
