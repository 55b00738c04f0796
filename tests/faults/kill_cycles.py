"""Kill a scheduler at random points, again and again, and compare its ledger with the witness.

``python -m tests.faults.kill_cycles --cycles 200 --seed 1`` prints the account and fails if anything
was lost or completed twice.
"""

import argparse
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.processes import completions, ledger, run_program, witnessed

JOBS_A_CYCLE = 5
POINTS = ("claim", "start", "work", "finish", "done", None)


@dataclass(frozen=True)
class Account:
    """What came of it; ``lost``, ``doubled`` and ``unwitnessed`` are to be zero."""

    cycles: int
    jobs: int
    lost: int = 0
    doubled: int = 0
    unwitnessed: int = 0


def cycles(directory: Path, *, count: int, seed: int) -> Account:
    """Kill so many processes, each with jobs of its own beside those left over, then let one finish."""
    draw = random.Random(seed)
    database, lines = directory / "jobs.db", directory / "witness"
    for cycle in range(count):
        point, backend = draw.choice(POINTS), draw.choice(("asyncio", "trio"))
        die = ("--die", point) if point else ("--kill-within", 0.25, "--seed", draw.randrange(2**32))
        run_program(
            "witness.py", database, lines, "--jobs", JOBS_A_CYCLE, "--prefix", f"cycle-{cycle}", "--max-lost", 10**6,
            "--length", draw.choice((0.0, 0.02)), "--backend", backend, *die,
        )  # fmt: skip
    last = run_program("witness.py", database, lines)
    if last.returncode != 0:
        raise AssertionError(last.stderr)
    return _account(count, database, lines)


def _account(count: int, database: Path, lines: Path) -> Account:
    seen = witnessed(lines)
    runs = ledger(database)
    over = [run for run in runs if run.state == "succeeded"]
    jobs = {run.job_id for run in runs}
    ends = completions(seen)
    return Account(
        cycles=count,
        jobs=len(jobs),
        lost=len(runs) - len(over),
        doubled=len(over) - len({run.job_id for run in over}),
        unwitnessed=sum(1 for run in over if not ends[run.id]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        account = cycles(Path(directory), count=options.cycles, seed=options.seed)
    print(f"seed {options.seed}: {account}")
    if account.lost or account.doubled or account.unwitnessed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
