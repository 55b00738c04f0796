"""Measure one system once, in the environment that this interpreter belongs to, and print JSON lines.

Started by ``run.py``: ``worker.py SYSTEM QUESTION STORE CASE [--quick] [--server DSN]``, or ``worker.py --versions``.
"""

import argparse
import json
import sys
from dataclasses import replace
from importlib.metadata import distributions
from itertools import starmap

from benchmarks import questions, systems
from benchmarks.questions.base import Answer, Case, Place
from benchmarks.systems.base import System

_NOT_NAMED = {"pip", "setuptools", "wheel"}


def _versions() -> dict[str, str]:
    found = starmap(
        lambda name, version: (str(name), str(version)), ((d.metadata["Name"], d.version) for d in distributions())
    )
    return {name: version for name, version in sorted(found) if name not in _NOT_NAMED}


def _cut_down(system: System, store: str, case: Case) -> tuple[Case, list[str]]:
    limit = system.feasible.get(store)
    if limit is None or (case.jobs <= limit.jobs and case.sleeping <= limit.sleeping):
        return case, []
    smaller = replace(case, jobs=min(case.jobs, limit.jobs), sleeping=min(case.sleeping, limit.sleeping))
    notes: list[str] = []
    if smaller.jobs < case.jobs:
        notes.append(f"measured with {smaller.jobs:,} jobs: {case.jobs:,} would take too long")
    if smaller.sleeping < case.sleeping:
        notes.append(f"measured with {smaller.sleeping:,} sleeping: laying out {case.sleeping:,} would take too long")
    return smaller, notes


def _measure(arguments: argparse.Namespace) -> None:
    system = systems.load(arguments.system)
    question = questions.load(arguments.question)
    case, notes = _cut_down(system, arguments.store, question.cases(quick=arguments.quick)[arguments.case])

    async def ask() -> Answer | None:
        return await question.measure(system, Place(arguments.store, arguments.server), case)

    answer = system.run(ask)
    if answer is not None:
        answered = {"figures": dict(answer.figures), "notes": [*notes, *answer.notes], "lifted": list(system.lifted)}
        print(json.dumps(answered))


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", nargs="?", choices=sorted(systems.SYSTEMS))
    parser.add_argument("question", nargs="?", choices=questions.QUESTIONS)
    parser.add_argument("store", nargs="?", choices=("memory", "sqlite", "postgres"))
    parser.add_argument("case", nargs="?", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--server", help="the DSN of the PostgreSQL server")
    parser.add_argument("--versions", action="store_true")
    arguments = parser.parse_args()
    if arguments.versions:
        print(json.dumps({"python": sys.version.split()[0], **_versions()}))
    else:
        _measure(arguments)


if __name__ == "__main__":
    main()
