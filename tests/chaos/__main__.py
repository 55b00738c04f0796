"""Kill and freeze processes on a real store, and hold the ledger against what the jobs themselves have witnessed.

``cycles`` fails one process after another, at every step of what it does; ``cluster`` has nodes share
many runs while they are killed one after the other; without either, all of it is run. Prints an
account, and fails if anything was lost, doubled or broken, or if 200 cycles have missed a point of
failure. ``--seed`` brings the same faults again.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.account import Account
from tests.chaos.cluster import Plan, share
from tests.chaos.episodes import CYCLES_AN_EPISODE, endure
from tests.chaos.places import KINDS, Kind

FULL = 200
"""How many cycles give every point of failure its turn several times over."""


def main() -> None:
    options = _parse()
    forms = ("cycles", "cluster") if options.form == "all" else (options.form,)
    print(f"seed {options.seed}", flush=True)
    is_sound = True
    for form in forms:
        run = _cycles if form == "cycles" else _cluster
        for store in _stores(form, options):
            is_sound = _reported(run, store, options) and is_sound
    sys.exit(0 if is_sound else 1)


def _stores(form: str, options: argparse.Namespace) -> tuple[Kind, ...]:
    if options.store:
        return tuple(options.store)
    return KINDS if form == "cycles" else ("postgres",)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("form", nargs="?", choices=("all", "cycles", "cluster"), default="all")
    parser.add_argument("--store", choices=KINDS, action="append", help="by default both; the cluster's is PostgreSQL")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--cycles", type=int, default=FULL)
    parser.add_argument("--nodes", type=int, help="by default 3, and 4 in the cluster")
    parser.add_argument("--runs", type=int, default=Plan.runs, help="how many the cluster shares")
    parser.add_argument("--kill-every", type=float, default=Plan.kill_every, help="seconds, in the cluster")
    parser.add_argument("--keep", type=Path, help="an empty directory: what there is to see is left in it")
    return parser.parse_args()


def _reported(
    run: Callable[[Path, Kind, argparse.Namespace], tuple[str, Account]], store: Kind, options: argparse.Namespace
) -> bool:
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        title, account = run(options.keep or Path(directory), store, options)
    print(f"-- {store}: {title}, {time.monotonic() - began_at:.0f} s, seed {options.seed}\n{account}", flush=True)
    return not account.broken and not (account.cycles >= FULL and run is _cycles and account.never_reached)


def _cycles(directory: Path, store: Kind, options: argparse.Namespace) -> tuple[str, Account]:
    account = endure(directory, store, seed=options.seed, cycles=options.cycles, nodes=options.nodes or 3)
    return f"episodes of {CYCLES_AN_EPISODE} cycles", account


def _cluster(directory: Path, store: Kind, options: argparse.Namespace) -> tuple[str, Account]:
    plan = Plan(nodes=options.nodes or Plan.nodes, runs=options.runs, kill_every=options.kill_every)
    account, took_s = share(directory, store, plan, seed=options.seed)
    return (
        f"{plan.nodes} nodes shared {plan.runs:,} runs in {took_s:.0f} s, a kill every {plan.kill_every:g} s",
        account,
    )


if __name__ == "__main__":
    main()
