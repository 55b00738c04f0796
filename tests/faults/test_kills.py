"""kill -9 at every point of a run's life, with an independent witness beside the ledger."""

import signal
from pathlib import Path

import pytest

from tests.faults.processes import ledger, run_program, witnessed

# Until where it was done when the process died, and so how often the work is begun in all: where it is given up
# after the death of its node, and where it is tried again.
STARTS = {
    "claim.before": (1, 1),
    "claim.inside": (1, 1),
    "claim.after": (0, 1),
    "work.begun": (1, 2),
    "finish.before": (1, 2),
    "finish.inside": (1, 2),
    "finish.after": (1, 1),
}
UNCLAIMED = {"claim.before", "claim.inside"}
DONE = {"finish.after"}


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
    starts = [line for line in witnessed(lines) if line.word == "BEGIN"]
    was_running = point not in UNCLAIMED | DONE
    is_lost = on_lost == "fail" and was_running
    assert run.state == ("lost" if is_lost else "succeeded")
    assert len(starts) == STARTS[point][0 if on_lost == "fail" else 1]
    assert {line.run_id for line in starts} <= {run.id}
    assert [line.attempt for line in starts] == sorted({line.attempt for line in starts})
    assert run.attempt == (2 if was_running and not is_lost else 1)
    if not is_lost:
        assert run.result == run.id


def test_a_run_that_kills_its_node_is_given_up_after_max_lost(tmp_path: Path) -> None:
    database, lines = tmp_path / "jobs.db", tmp_path / "witness"
    for _ in range(4):
        killed = run_program("witness.py", database, lines, "--jobs", 1, "--die", "work.begun")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert run_program("witness.py", database, lines).returncode == 0
    [run] = ledger(database)
    assert (run.state, run.attempt) == ("lost", 4)
    assert [line.attempt for line in witnessed(lines)] == [1, 2, 3, 4]
