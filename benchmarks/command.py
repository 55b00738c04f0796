"""Measure asyncsched beside its peers, on the same work, in turns.

    python benchmarks/run.py [--quick] [--only QUESTION ...] [--store memory|sqlite|postgres ...]
                             [--system NAME ...] [--repeat N] [--json FILE]

Each measurement is a process of its own, in an environment of its own that is made under ``.bench/``
on the first run. For PostgreSQL a private server is started, as it comes. The table goes to standard output, progress to standard error, JSON lines to the
file. The exit code is 1 when a measurement failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import environments, questions, report
from benchmarks.questions.base import METRICS
from benchmarks.server import private_server
from benchmarks.systems import SYSTEMS

_NOT_BY_DEFAULT: Final = ("asyncsched-uvloop", "asyncsched-trio")
_DEFAULT_STORES: Final = ("memory", "sqlite")
_TIME_LIMIT: Final = 900.0


@dataclass(frozen=True, slots=True)
class _Turn:
    question: str
    store: str
    case: int
    label: str
    system: str
    turn: int


@dataclass(slots=True)
class _Gathered:
    measured: list[report.Measurement] = field(default_factory=list[report.Measurement])
    said: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    lifted: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failed: list[str] = field(default_factory=list[str])


def _turns(arguments: argparse.Namespace) -> Iterator[_Turn]:
    for name in arguments.only or questions.QUESTIONS:
        question = questions.load(name)
        for store in question.STORES:
            if store not in arguments.store:
                continue
            able = [s for s in arguments.system if question.NEEDS in SYSTEMS[s].able and store in SYSTEMS[s].stores]
            for number, case in enumerate(question.cases(quick=arguments.quick)):
                for turn in range(arguments.repeat or (1 if arguments.quick else question.ROUNDS)):
                    for system in able:
                        yield _Turn(name, store, number, case.label, system, turn)


def _measure(turn: _Turn, python: Path, server: str | None, *, quick: bool) -> dict[str, Any] | None:
    command = [str(python), "-m", "benchmarks.worker", turn.system, turn.question, turn.store, str(turn.case)]
    if quick:
        command.append("--quick")
    if server is not None:
        command += ["--server", server]
    try:
        done = subprocess.run(
            command, cwd=environments.ROOT, capture_output=True, text=True, timeout=_TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"not done within {_TIME_LIMIT:.0f} s"
        raise RuntimeError(message) from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(said[-1])
    lines = done.stdout.strip().splitlines()
    answer: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    return answer


def _gather(gathered: _Gathered, turn: _Turn, answer: dict[str, Any] | None) -> str:
    if answer is None:
        return "cannot be asked"
    gathered.lifted[turn.system] = answer["lifted"]
    for note in answer["notes"]:
        places = gathered.said.setdefault((turn.system, note), [])
        if (place := f"{turn.question} {turn.store}, {turn.label}") not in places:
            places.append(place)
    for metric, value in answer["figures"].items():
        gathered.measured.append(
            report.Measurement(
                question=turn.question,
                store=turn.store,
                case=turn.label,
                metric=metric,
                more_is_better=METRICS[metric],
                system=turn.system,
                turn=turn.turn,
                value=value,
            )
        )
    return ", ".join(f"{value:,.4g} {metric}" for metric, value in answer["figures"].items())


def _run(arguments: argparse.Namespace, pythons: dict[str, Path], server: str | None) -> _Gathered:
    gathered = _Gathered()
    for turn in _turns(arguments):
        what = f"{turn.question} {turn.store}, {turn.label}, {turn.system}"
        begun = time.monotonic()
        try:
            answer = _measure(turn, pythons[turn.system], server, quick=arguments.quick)
            outcome = _gather(gathered, turn, answer)
        except RuntimeError as error:
            outcome = f"FAILED: {error}"
            gathered.failed.append(f"{what}: {error}")
        print(f"{what}: {outcome} [{time.monotonic() - begun:.0f} s]", file=sys.stderr, flush=True)
    return gathered


def _print(gathered: _Gathered, summaries: Sequence[report.Summary], arguments: argparse.Namespace) -> None:
    print(report.table(summaries, arguments.system))
    print(f"\nMedians over the rounds, the systems in turns. (4.2x): {report.OURS} is 4.2 times better.")
    for title, lines in (
        ("What each system is", [f"{name}: {text}" for name, said in gathered.lifted.items() for text in said]),
        ("Read with care", [f"{name}: {text} ({'; '.join(at)})" for (name, text), at in gathered.said.items()]),
        ("Failed", gathered.failed),
    ):
        if lines:
            print(f"\n{title}:")
            print("\n".join(f"- {line}" for line in lines))


def _write(path: Path, gathered: _Gathered, summaries: Sequence[report.Summary], header: dict[str, Any]) -> None:
    lines = [header, *({"kind": "measurement", **asdict(m)} for m in gathered.measured)]
    lines += [summary.as_line() for summary in summaries]
    lines += [{"kind": "note", "system": name, "text": text, "at": at} for (name, text), at in gathered.said.items()]
    lines += [{"kind": "failed", "text": text} for text in gathered.failed]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and shorter windows; one round")
    parser.add_argument("--only", action="append", choices=questions.QUESTIONS, help="ask this question only")
    stores = ("memory", "sqlite", "postgres")
    parser.add_argument("--store", action="append", choices=stores, help="on this store only (memory and SQLite)")
    parser.add_argument("--system", action="append", choices=tuple(SYSTEMS), help="this system only")
    parser.add_argument("--repeat", type=int, help="rounds of every question (3 or 1; 1 with --quick)")
    parser.add_argument("--json", type=Path, help="write JSON lines to this file")
    arguments = parser.parse_args()
    arguments.store = arguments.store or list(_DEFAULT_STORES)
    arguments.system = arguments.system or [name for name in SYSTEMS if name not in _NOT_BY_DEFAULT]
    return arguments


def main() -> int:
    """Measure what was asked for; return the exit code."""
    arguments = _arguments()
    asked = {turn.system for turn in _turns(arguments)}
    arguments.system = [system for system in arguments.system if system in asked]
    pythons = {system: environments.prepare(SYSTEMS[system].environment) for system in arguments.system}
    versions = {
        environment: environments.versions(environment)
        for environment in dict.fromkeys(SYSTEMS[system].environment for system in arguments.system)
    }
    for environment, found in versions.items():
        print(f"{environment}: " + ", ".join(f"{name} {version}" for name, version in found.items()))
    print(f"machine: {platform.machine()}, {platform.system()}, {_cores()} cores", flush=True)
    with private_server() if "postgres" in arguments.store else nullcontext() as server:
        if server is not None:
            print("server: " + ", ".join(f"{name} {value}" for name, value in server.settings.items()))
        print(flush=True)
        gathered = _run(arguments, pythons, None if server is None else server.dsn)
    summaries = report.summarise(gathered.measured)
    _print(gathered, summaries, arguments)
    if arguments.json is not None:
        header = {
            "kind": "versions",
            "cores": _cores(),
            "environments": versions,
            "server": None if server is None else server.settings,
        }
        _write(arguments.json, gathered, summaries, header)
    return 1 if gathered.failed else 0


def _cores() -> int:
    return os.cpu_count() or 1
