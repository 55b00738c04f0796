"""Drive stores at random for long, and stop at the first operation after which they tell what must not be.

Prints the seed of each batch and how many operations have been done; the same seed brings the same
operations again.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import StoreMachine
from tests.model.sides import ALL

LENGTH: int = 60
"""How many rules make one history."""
HISTORIES: int = 100
"""How many histories have one seed."""


def main() -> None:
    options = _parse()
    unknown = set(options.stores) - set(ALL)
    if unknown:
        sys.exit(f"there is no store {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    began_at, number = time.monotonic(), options.seed
    with asyncio.Runner() as runner:
        StoreMachine.runner = runner
        while StoreMachine.steps < options.steps:
            _run(options.stores, number, shrink=options.shrink, histories=options.histories)
            took_s = time.monotonic() - began_at
            print(f"seed {number}: {StoreMachine.steps:,} of {options.steps:,} steps, {took_s:.0f} s", flush=True)
            number += 1
    print(
        f"{StoreMachine.steps:,} steps on {', '.join(options.stores)}, seeds {options.seed} to {number - 1}: 0 broken"
    )


def _run(stores: Sequence[str], number: int, *, shrink: bool, histories: int) -> None:
    class Machine(StoreMachine):
        pass

    Machine.stores = stores
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    seed(number)(Machine)
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=histories,
                stateful_step_count=LENGTH,
                deadline=None,
                database=None,
                phases=phases,
                report_multiple_bugs=False,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    except BaseException:
        print(f"seed {number} breaks; {StoreMachine.steps:,} steps, and those of shrinking", flush=True)
        raise


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="how many operations at least")
    parser.add_argument("--stores", type=lambda text: tuple(text.split(",")), default=ALL[:1], help=",".join(ALL))
    parser.add_argument("--seed", type=int, default=1, help="the first; each batch has one")
    parser.add_argument("--histories", type=int, default=HISTORIES, help="how many have one seed")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    return parser.parse_args()


if __name__ == "__main__":
    main()
