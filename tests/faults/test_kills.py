"""kill -9 at every point of a run's life, with an independent witness beside the ledger."""

import signal
from pathlib import Path

import pytest

from tests.faults.kill_cycles import Account, cycles
from tests.faults.processes import ledger, run_program, witnessed

# How often the work was begun when the process died at that point and another one came after it.
STARTS = {"claim": (1, 1), "start": (0, 1), "work": (1, 2), "finish": (1, 2), "done": (1, 1)}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("on_lost", ["retry", "fail"])
@pytest.mark.parametrize("point", STARTS)
def test_killed_at_a_point_and_recovered_at_once(tmp_path: Path, point: str, on_lost: str, backend: str) -> None:
    database, lines = tmp_path / "jobs.db", tmp_path / "witness"
    arguments = (database, lines, "--backend", backend, "--jobs", 1, "--on-lost", on_lost)
    killed = run_program("witness.py", *arguments, "--die", point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    after = run_program("witness.py", database, lines, "--backend", backend)  # with a lease of 30 s nobody waited for
    assert after.returncode == 0, after.stderr
    [run] = ledger(database)
    starts = [line for line in witnessed(lines) if line.word == "start"]
    is_lost = on_lost == "fail" and point in {"start", "work", "finish"}
    assert run.state == ("lost" if is_lost else "succeeded")
    assert len(starts) == STARTS[point][0 if is_lost or point in {"claim", "done"} else 1]
    assert {line.run_id for line in starts} <= {run.id}
    assert [line.attempt for line in starts] == sorted({line.attempt for line in starts})
    assert run.attempt == (2 if point in {"start", "work", "finish"} and not is_lost else 1)
    if not is_lost:
        assert run.result == run.id


def test_a_run_that_kills_its_node_is_given_up_after_max_lost(tmp_path: Path) -> None:
    database, lines = tmp_path / "jobs.db", tmp_path / "witness"
    for _ in range(4):
        killed = run_program("witness.py", database, lines, "--jobs", 1, "--die", "work")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert run_program("witness.py", database, lines).returncode == 0
    [run] = ledger(database)
    assert (run.state, run.attempt) == ("lost", 4)
    assert [line.attempt for line in witnessed(lines)] == [1, 2, 3, 4]


def test_killed_at_random_again_and_again(tmp_path: Path) -> None:
    account = cycles(tmp_path, count=15, seed=20_260_101)
    assert account == Account(cycles=15, jobs=account.jobs)
    assert account.jobs >= 15
