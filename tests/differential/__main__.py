"""Compare more, or with other questions: ``python -m tests.differential --count 20000 --seed 7``."""

import argparse
import sys
from random import SystemRandom

from tests.differential.campaign import run
from tests.differential.peers import PEERS


def main() -> int:
    """Print what each library disagrees about; 1 when no listed disagreement explains something."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="questions to each library (default: 20000)")
    parser.add_argument("--seed", type=int, help="what the questions are drawn from (default: a new one)")
    parser.add_argument("--peer", choices=PEERS, action="append", help="only this library; may be repeated")
    options = parser.parse_args()
    seed = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    failed = False
    for peer in options.peer or PEERS:
        campaign = run(peer, seed, options.count)
        print(f"{peer}: {campaign.asked} questions (seed {seed}), {campaign.answered} with instants, ", end="")
        print(f"{len(campaign.unexplained)} unexplained differences")
        for name, times in campaign.seen.most_common():
            print(f"  {times:6} {name}")
        for account in campaign.unexplained:
            print(account)
        failed = failed or bool(campaign.unexplained)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
