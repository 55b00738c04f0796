"""Measure the cron triggers beside their peers: ``python benchmarks/cron_triggers.py [--repeat N] [--quick] [--json FILE]``.

What one `next` costs, an aware datetime in and out, for 13 expressions in three zones; what parsing
costs; and, for asyncsched alone, the engine's own path and catching up over ten years. The systems
take turns, each turn a fresh process in an environment of its own under ``.bench/``; printed are
medians and the ratios within each round.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import environments
from benchmarks.cron_peers import ENVIRONMENT_OF
from benchmarks.cron_peers.base import EXPRESSIONS, ZONES

_OURS: Final = "asyncsched"
_CASES: Final = tuple(f"{expression.name}, {zone}" for expression in EXPRESSIONS for zone in ZONES)


def _ask(python: Path, *arguments: str) -> dict[str, Any]:
    command = [str(python), "-m", *arguments]
    done = subprocess.run(command, cwd=environments.ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _medians(rounds: Sequence[Mapping[str, Any]], case: str) -> float:
    return median(answered["steps"][case] for answered in rounds)


def _fastest_peer(rounds: Mapping[str, Sequence[Mapping[str, Any]]], case: str, number: int) -> float:
    return min(rounds[name][number]["steps"][case] for name in rounds if name != _OURS)


def _print_steps(rounds: Mapping[str, Sequence[Mapping[str, Any]]], count: int) -> None:
    names = list(rounds)
    print("microseconds of one next time\n")
    print(f"{'':46}" + "".join(f"{name:>14}" for name in names) + f"{'fastest peer':>15}")
    slower = list[str]()
    for case in _CASES:
        ratio = median(
            _fastest_peer(rounds, case, number) / rounds[_OURS][number]["steps"][case] for number in range(count)
        )
        if ratio < 1:
            slower.append(case)
        row = "".join(f"{_medians(rounds[name], case):14.2f}" for name in names)
        ends = {name: rounds[name][0]["ends"][case] for name in names}
        others = [name for name in names if ends[name] != ends[_OURS]]
        said = f"  ({' and '.join(others)}: elsewhere)" if others else ""
        print(f"{case:46}{row}{ratio:14.1f}x{said}")
    means = {name: geometric_mean(_medians(rounds[name], case) for case in _CASES) for name in names}
    print(f"{'geometric mean':46}" + "".join(f"{means[name]:14.2f}" for name in names))
    for name in names:
        if name != _OURS:
            ratio = median(
                geometric_mean(rounds[name][n]["steps"][case] / rounds[_OURS][n]["steps"][case] for case in _CASES)
                for n in range(count)
            )
            print(f"  {ratio:6.1f} times as fast as {name}")
    print(f"slower than a peer on: {', '.join(slower) or 'none'}")


def _print_parsing(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    print("\nmicroseconds to parse a usual expression: the first time / the same text again")
    for name, answers in rounds.items():
        first, again = (median(answer[key] for answer in answers) for key in ("parse", "parse again"))
        print(f"  {name:14}{first:10.1f}{again:10.1f}")


def _print_own(own: Mapping[str, Mapping[str, float]]) -> None:
    for title, figures in own.items():
        print(f"\n{title}")
        for name, value in figures.items():
            print(f"  {name:60}{value:10.2f}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    arguments = parser.parse_args()
    count, seconds = (1, 0.02) if arguments.quick else (arguments.repeat, 0.2)
    pythons = {name: environments.prepare(environment) for name, environment in ENVIRONMENT_OF.items()}
    for name, environment in ENVIRONMENT_OF.items():
        found = {key.lower(): version for key, version in environments.versions(environment).items()}
        print(f"{name}: {found[name.rstrip('34')]} on Python {found['python']}", flush=True)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for turn, (name, python) in itertools.product(range(count), pythons.items()):
        begun = time.monotonic()
        rounds[name].append(_ask(python, "benchmarks.cron_worker", name, str(seconds)))
        print(f"round {turn + 1}, {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    own = _ask(pythons[_OURS], "benchmarks.cron_engine")
    print()
    _print_steps(rounds, count)
    _print_parsing(rounds)
    _print_own(own)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rounds": rounds, "own": own}) + "\n")


if __name__ == "__main__":
    main()
