"""Simulate nodes that share a store while everything fails, and check the invariants after every step.

Prints a line for each seed that breaks something, what led to it, and a smaller script that breaks
the same; fails if there was one. The same seed brings the same history again.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.simulation.drawing import draw_script
from tests.simulation.endings import superseded
from tests.simulation.regressions import FOLDER
from tests.simulation.script import Script
from tests.simulation.shrinking import shrink
from tests.simulation.world import Report, simulate

LINES: int = 25


def main() -> None:
    options = _parse()
    if options.script is not None:
        scripts = [msgspec.json.decode(path.read_bytes(), type=Script) for path in options.script]
    else:
        seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
        scripts = [draw_script(seed, nodes=options.nodes, minutes=options.minutes, mode=options.mode) for seed in seeds]
    began_at, broken, counts, modes = time.process_time(), 0, Counter[str](), Counter[str]()
    for script in scripts:
        report = simulate(script)
        if options.twice and report.violation is None and (again := simulate(script)).digest != report.digest:
            print(f"seed {script.seed} breaks I23: {report.digest} and then {again.digest}", flush=True)
            broken += 1
        if report.violation is not None:
            broken += 1
            _tell(report)
            if options.shrink:
                _keep(report, options.keep)
        elif options.verbose:
            print(
                f"seed {script.seed} {script.mode}: {report.steps} steps, {report.runs} rows, {report.digest}",
                flush=True,
            )
        counts += Counter(
            steps=report.steps,
            rows=report.runs,
            superseded=superseded(report.store.book),
            begun=len(report.store.book.begun),
        )
        modes[script.mode] += 1
    took_s = time.process_time() - began_at
    shown = ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items()))
    print(
        f"{len(scripts)} scripts ({shown}), {options.nodes} nodes, {options.minutes:g} minutes each, {took_s:.0f} s of "
        f"processor time: {counts['steps']:,} store steps, {counts['rows']:,} rows of the ledger, {counts['begun']:,} runs "
        f"begun; {counts['superseded']:,} instants ended without a verdict because an edit or a removal came before "
        f"their plan; {broken} broken"
    )
    sys.exit(1 if broken else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only that one")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30, help="of virtual time, before the world heals")
    parser.add_argument("--mode", choices=("safety", "liveness"), help="by default each seed draws its own")
    parser.add_argument("--script", type=Path, action="append", help="a script that was kept, instead of drawn ones")
    parser.add_argument("--twice", action="store_true", help="run each twice, and compare: I23")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    parser.add_argument("--keep", type=Path, default=FOLDER, help="where smaller scripts are kept")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def _tell(report: Report) -> None:
    """Print the seed, the invariant, the step, and what happened to the job before."""
    script, violation = report.script, report.violation
    assert violation is not None
    print(f"seed {script.seed} ({script.mode}, {script.nodes} nodes) breaks {violation}", flush=True)
    steps = [step for step in report.store.history if violation.job_id is None or step.concerns(violation.job_id)]
    print(f"  the last steps of {violation.job_id or 'all jobs'}; instants in seconds since {script.start}:")
    start = report.store.start
    for step in steps[-LINES:]:
        print(f"  {(step.at - start) / 1e6:>10.3f} {step}"[:400])


def _keep(report: Report, folder: Path) -> None:
    """Look for a smaller script that breaks the same, and write it down."""
    violation = report.violation
    assert violation is not None
    smaller = shrink(report.script, violation.invariant, _broken_by)
    path = folder / f"{violation.invariant.lower()}-{smaller.seed}-{smaller.mode}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(smaller), indent=1) + b"\n")
    print(f"  smaller: {len(smaller.jobs)} jobs, {len(smaller.actions)} actions, {len(smaller.faults)} faults, "
          f"{smaller.nodes} nodes, {smaller.seconds:.0f} s; kept as {path.name}", flush=True)  # fmt: skip


def _broken_by(script: Script) -> str | None:
    found = simulate(script).violation
    return None if found is None else found.invariant


if __name__ == "__main__":
    main()
