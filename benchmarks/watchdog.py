"""What the watchdog of the event loop costs: ``python benchmarks/watchdog.py``.

Each measurement is a process of its own, with the watchdog and without in turns: an idle scheduler with
10,000 sleeping jobs, and one that fires 10,000 no-op jobs at once, again and again. Printed are the
processor seconds of the process and their ratio with and without, and how often the thread of the loop
was woken (its voluntary context switches). The ratio shakes with whatever else the machine does; the
processor time of the watchdog's own thread, which the system counts apart, hardly does. The exit code is
1 when that thread took 0.5 % of the time or more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from asyncsched import JobSpec, Scheduler, at, every
from asyncsched._engine.watchdog import Watchdog

JOBS: Final = 10_000
LIMIT: Final = 0.005
LOOPS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
Figures = dict[str, float]


async def nothing() -> None:
    """Be a job."""


def _read() -> Figures:
    status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text(encoding="ascii")
    (own,) = [one.ident for one in threading.enumerate() if one.name == "asyncsched-watchdog"] or [None]
    return {
        "seconds": time.perf_counter(),
        "used": time.process_time(),
        "by it": 0.0 if own is None else time.clock_gettime(time.pthread_getcpuclockid(own)),
        "woken": float(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]),
    }


def _since(before: Figures) -> Figures:
    return {name: value - before[name] for name, value in _read().items()}


async def idle(seconds: float) -> Figures:
    """Measure a scheduler that sleeps for that long."""
    async with Scheduler() as s:
        await s.add_jobs([JobSpec(nothing, every(days=1), id=f"job{number}") for number in range(JOBS)])
        await anyio.sleep(2)
        before = _read()
        await anyio.sleep(seconds)
        return _since(before)


async def busy(seconds: float) -> Figures:
    """Measure a scheduler that fires the jobs, until it has taken that long; the figures are of one time."""
    total: Figures = {}
    rounds = 0
    async with Scheduler() as s:
        while total.get("seconds", 0.0) < seconds:
            await s.pause()
            due = at("2020-01-01T00:00:00+00:00")
            await s.add_jobs([JobSpec(nothing, due, id=f"job{rounds}-{number}") for number in range(JOBS)])
            before = _read()
            await s.resume()
            await s.wait_until_idle()
            total = {name: total.get(name, 0.0) + value for name, value in _since(before).items()}
            rounds += 1
    return {name: value / rounds for name, value in total.items()}


SITUATIONS: Final = {"idle": idle, "busy": busy}


def _measure(situation: str, loop: str, seconds: float, *, watched: bool) -> Figures:
    command = [sys.executable, __file__, "--one", situation, "--loop", loop, "--seconds", str(seconds)]
    if not watched:
        command.append("--unwatched")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def _stay_away(self: Watchdog) -> None:
    """Start nothing."""


def _one(situation: str, loop: str, seconds: float, *, watched: bool) -> None:
    if not watched:
        Watchdog.start = _stay_away  # type: ignore[method-assign]
    backend, options = LOOPS[loop]
    print(json.dumps(anyio.run(SITUATIONS[situation], seconds, backend=backend, backend_options=options)))


def _median(figures: Sequence[Figures], name: str) -> float:
    return statistics.median(one[name] for one in figures)


def _compare(situation: str, loop: str, seconds: float, rounds: int) -> float:
    """Print a line; return what part of the time went to the watchdog's thread."""
    watched: list[Figures] = []
    unwatched: list[Figures] = []
    for _ in range(rounds):
        unwatched.append(_measure(situation, loop, seconds, watched=False))
        watched.append(_measure(situation, loop, seconds, watched=True))
    ratio = statistics.median(one["used"] / other["used"] for one, other in zip(watched, unwatched, strict=True))
    share = statistics.median(one["by it"] / one["seconds"] for one in watched)
    print(
        f"{situation:5} {loop:8} {_median(unwatched, 'seconds'):7.2f} s  "
        f"CPU without {_median(unwatched, 'used'):8.4f} s, with {_median(watched, 'used'):8.4f} s, ratio {ratio:6.3f};  "
        f"its thread {share:8.4%} of the time;  "
        f"loop woken {_median(unwatched, 'woken'):.0f} and {_median(watched, 'woken'):.0f} times",
        flush=True,
    )
    return share


def main() -> int:
    """Print a line for each loop and situation; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="the window of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", choices=LOOPS, action="append", help="this loop only")
    parser.add_argument("--one", choices=SITUATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--unwatched", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    loops: list[str] = options.loop or list(LOOPS)
    if options.one is not None:
        _one(options.one, loops[0], options.seconds, watched=not options.unwatched)
        return 0
    shares = [_compare(name, loop, options.seconds, options.rounds) for name in SITUATIONS for loop in loops]
    print(f"at most {max(shares):.4%} of the time; the limit is {LIMIT:.1%}")
    return 0 if max(shares) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
